import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import type { DecisionEvent } from '../../src/audit/event.js';
import { formatEvent, record } from '../../src/audit/event-line.js';
import { maskCredentials } from '../../src/base/mask.js';
import { openAuditWriter } from '../../src/audit/writer.js';

const decision: DecisionEvent = {
  event: 'decision',
  call: 'abc-1',
  client: {
    listener: 'tcp',
    address: '10.0.0.1',
    port: 4711,
    certificate: ['CN=ci-1'],
    tokenSha256: 'a'.repeat(64),
  },
  sources: ['ci'],
  method: 'POST',
  operation: 'ImageBuild',
  apiVersion: '1.41',
  params: {},
  facts: { 'build.tags': ['x:1', 'y"\n'], name: 'n', memory: 3, flag: true },
  hazards: ['remote-context:https://user:secret@host.example/x'],
  verdict: 'deny',
  enforced: true,
  rule: 'ci-build',
  code: 'hazard',
  reason: 'because',
  rewrites: [],
  policy: 'r1',
};

t.test('one JSON line for each event, complete and masked', async (t) => {
  const line = formatEvent(decision, Date.UTC(2026, 0, 1));
  t.ok(line.endsWith('\n') && line.indexOf('\n') === line.length - 1, 'one line, whatever the client sent');
  const parsed: unknown = JSON.parse(line);
  t.match(parsed, {
    v: 1,
    id: 'abc-1.d',
    call: 'abc-1',
    client: { listener: 'tcp', address: '10.0.0.1', port: 4711, certificate: ['CN=ci-1'] },
    facts: { 'build.tags': ['x:1', 'y"\n'], memory: 3, flag: true },
    hazards: ['remote-context:https://***@host.example/x'],
  });
  t.notOk(line.includes('a'.repeat(64)), 'the whole token hash is not in the line');
  t.notOk(line.includes('secret'));
  const found = {
    sequence: 'build-and-run' as const,
    action: 'alert' as const,
    calls: ['abc-7', 'abc-8'],
    since: 1_767_225_600_000,
    why: 'for who is denied',
  };
  const sequences = [
    {
      sequence: 'build-and-run',
      action: 'alert',
      calls: ['abc-7', 'abc-8'],
      since: '2026-01-01T00:00:00.000Z',
    },
  ];
  const led = formatEvent({ ...decision, sequences: [found] }, Date.UTC(2026, 0, 1));
  t.strictSame((JSON.parse(led) as DecisionEvent).sequences, sequences);
  t.ok(led.indexOf('"sequences"') < led.indexOf('"verdict"'), 'before the verdict');
  t.notOk('sequences' in (parsed as object), 'and not where there are none');
  const outcome: unknown = JSON.parse(
    formatEvent(
      {
        event: 'outcome',
        call: 'abc-1',
        operation: 'ImageBuild',
        status: 200,
        end: 'complete',
        duration: 1.5,
        bytesIn: 1,
        bytesOut: 2,
      },
      Date.UTC(2026, 0, 1),
    ),
  );
  t.match(outcome, { id: 'abc-1.o', call: 'abc-1', status: 200, end: 'complete', bytesIn: 1, bytesOut: 2 });
});

t.test('facts are cut and masked alike, few or many', async () => {
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom(
      'https://user:secret@host.example/x',
      'a@b',
      '"\\\n\u2028',
      'x'.repeat(1024),
      'y'.repeat(1025),
    ),
  );
  const value = fc.oneof(
    text,
    fc.integer(),
    fc.boolean(),
    fc.array(text, { maxLength: 3 }),
    fc.constantFrom(64, 65).map((length) => Array.from({ length }, () => 'z')),
  );
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), value), (facts) => {
      // One fact with an `@` takes all of them through one by one.
      const apart = record({ ...facts, last: '@' });
      return record(facts) === apart.replace(/,?"last":"@"\}$/, '}') && !apart.includes('secret');
    }),
    { numRuns: 2_000 },
  );
});

t.test('attacker-controlled text cannot make a line long', async (t) => {
  const line = formatEvent(
    {
      ...decision,
      reason: 'x'.repeat(1e6),
      hazards: Array.from({ length: 5000 }, (_, i) => `bind:/${'y'.repeat(3000)}${i}`),
    },
    Date.UTC(2026, 0, 1),
  );
  t.ok(line.length < 200_000, `${line.length} characters`);
  t.equal((JSON.parse(line) as { hazards: unknown[] }).hazards.length, 65);
  t.equal(maskCredentials('a://b@c d://e:f@g h@i'), 'a://***@c d://***@g h@i');
  const started = performance.now();
  maskCredentials('://'.repeat(100_000) + '@');
  t.ok(performance.now() - started < 1000, 'masking is linear');
});

t.test(
  'writer: events of one turn share a write, callbacks come after it, the file is private',
  async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'breakwater-audit-'));
    t.teardown(() => rmSync(dir, { recursive: true }));
    const file = join(dir, 'audit.log');
    const writer = openAuditWriter(file);
    let seen = '';
    writer.record(decision);
    await new Promise<void>((resolve) => {
      writer.record({ ...decision, call: 'abc-2' }, (error) => {
        t.equal(error, undefined);
        seen = readFileSync(file, 'utf8');
        resolve();
      });
    });
    t.equal(seen.trimEnd().split('\n').length, 2, 'both lines are in the file when the callback runs');
    t.equal(statSync(file).mode & 0o777, 0o600);
    writer.record({ ...decision, call: 'abc-3' });
    writer.close();
    t.equal(readFileSync(file, 'utf8').trimEnd().split('\n').length, 3, 'close writes what is queued');
  },
);

t.test('writer: a write that fails is reported to the caller', async (t) => {
  const writer = openAuditWriter('/dev/full');
  const error = await new Promise<Error | undefined>((resolve) => writer.record(decision, resolve));
  t.match(error, { code: 'ENOSPC' });
  t.match(writer.stats, { healthy: false, failures: 1, lines: 0 });
  t.throws(() => openAuditWriter('/nonexistent/dir/file'), {
    message: /^the audit trail cannot be opened: .*'\/nonexistent\/dir\/file'/,
    cause: { code: 'ENOENT' },
  });
});
