import t from 'tap';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { openJournal } from '../../src/audit/journal.js';
import { segmentName } from '../../src/audit/journal-files.js';
import { runAudit } from '../../src/cli/audit.js';
import { until } from '../support/command.js';
import { JOURNAL } from '../support/journal-options.js';

const root = mkdtempSync(join(tmpdir(), 'bw-audit-'));
t.teardown(() => rmSync(root, { recursive: true, force: true }));
const journal = join(root, 'journal');

async function audit(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const seen = { out: '', err: '' };
  const sink = (name: 'out' | 'err'): Writable =>
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        seen[name] += chunk.toString();
        done();
      },
    });
  const code = await runAudit(args, { stdout: sink('out'), stderr: sink('err') });
  return { code, ...seen };
}

const client = { listener: 'lan', address: '10.20.0.7', port: 4711, certificate: [], tokenSha256: '' };
const decision = {
  event: 'decision',
  call: 'abc-1',
  client,
  sources: ['ci'],
  method: 'POST',
  operation: 'ContainerCreate',
  apiVersion: '1.41',
  params: {},
  facts: { image: 'alpine' },
  hazards: ['bind:/etc'],
  verdict: 'deny',
  enforced: true,
  rule: '',
  code: 'hazard',
  reason: 'no rule permits bind:/etc \u001b[2J\r\nfaked line',
  rewrites: [],
  policy: 'p1',
} as const;

const open = openJournal({
  directory: journal,
  key: join(root, 'key.pem'),
  ...JOURNAL,
  segmentSize: 2048,
  checkpointRecords: 10,
});
const record = (event: Parameters<typeof open.record>[0]): Promise<unknown> =>
  new Promise((resolve) => open.record(event, resolve));
await record(decision);
await record({
  ...decision,
  call: 'abc-2',
  operation: 'SystemPing',
  hazards: [],
  verdict: 'allow',
  rule: 'look',
});
await record({
  event: 'outcome',
  call: 'abc-2',
  operation: 'SystemPing',
  status: 200,
  end: 'complete',
  duration: 1.5,
  bytesIn: 0,
  bytesOut: 2,
});
for (let n = 0; n < 12; n++) await record({ ...decision, call: `more-${n}` });
open.close();

await t.test('tail: words, filters, JSON', async (t) => {
  const all = await audit('tail', journal);
  t.equal(all.code, 0, all.err);
  t.match(
    all.out,
    /deny {2}ci \(10\.20\.0\.7\) ContainerCreate alpine \[bind:\/etc\]: no rule permits bind:\/etc/,
  );
  t.match(all.out, /allow ci \(10\.20\.0\.7\) SystemPing alpine: rule look abc-2/);
  t.match(all.out, /end {2} +SystemPing: 200 complete, 1\.5 ms abc-2/);
  t.notMatch(all.out, /\u001b|\r/, 'nothing reaches the terminal but text');
  t.equal((await audit('tail', journal, '--call', 'abc-2')).out.trim().split('\n').length, 2);
  t.equal((await audit('tail', journal, '--hazard', 'bind')).out.trim().split('\n').length, 13);
  t.equal((await audit('tail', journal, '--hazard', 'bi')).out, '');
  t.equal(
    (await audit('tail', journal, '--verdict', 'allow', '--source', 'ci')).out.trim().split('\n').length,
    1,
  );
  t.equal((await audit('tail', journal, '--source', 'nobody')).out, '');
  const json = await audit('tail', journal, '--json', '--event', 'outcome');
  t.match(JSON.parse(json.out) as object, { event: 'outcome', call: 'abc-2', status: 200 });
});

await t.test('tail of a plain file; lines that are none', async (t) => {
  const file = join(root, 'audit.jsonl');
  writeFileSync(file, '{"event":"outcome","call":"x","operation":"SystemPing"}\nhello\n');
  const { code, out, err } = await audit('tail', file);
  t.equal(code, 1);
  t.match(out, /SystemPing/);
  t.match(err, /1 lines of .* are no events/);
});

await t.test('tail -f sees what comes later, in the next segments too', async (t) => {
  const file = join(root, 'growing.jsonl');
  writeFileSync(file, '{"event":"outcome","call":"one"}\n');
  let out = '';
  const stdout = new Writable({
    write(chunk: Buffer, _encoding, done) {
      out += chunk.toString();
      done();
    },
  });
  const running = runAudit(['tail', '-f', '--json', file], { stdout, stderr: stdout });
  t.ok(await until(() => out.includes('one'), 5_000));
  appendFileSync(file, '{"event":"outcome","call":"two"}\n{"event":"outc');
  t.ok(await until(() => out.includes('two'), 5_000));
  appendFileSync(file, 'ome","call":"three"}\n');
  t.ok(await until(() => out.includes('three'), 5_000), 'a line that came in two pieces');
  stdout.emit('error', new Error('the reader left'));
  t.equal(await running, 0);
});

await t.test('verify: fine, changed, cut', async (t) => {
  const key = join(root, 'key.pem.pub');
  const fine = await audit('verify', journal, '--key', key);
  t.equal(fine.code, 0, fine.out);
  t.match(fine.out, /^ok: records 1 to \d+ \(\d+\), \d+ checkpoints, 0 records behind the last one\n$/);
  t.match((await audit('verify', journal)).out, /signatures not checked/);
  const shipped = join(root, 'shipped.jsonl');
  writeFileSync(shipped, (await audit('tail', journal, '--json', '--event', 'checkpoint')).out);
  t.equal((await audit('verify', journal, '--key', key, '--shipped', shipped)).code, 0);

  const first = join(journal, segmentName(1));
  const text = readFileSync(first, 'utf8');
  writeFileSync(first, text.replace('"verdict":"deny"', '"verdict":"allow"'));
  const changed = await audit('verify', journal, '--key', key);
  t.equal(changed.code, 1);
  t.match(changed.out, /^bad: .*0000000000000001\.jsonl line 2: record 2: its hash is wrong/);
  const json = JSON.parse((await audit('verify', journal, '--json')).out) as { problem: { seq: number } };
  t.equal(json.problem.seq, 2);
  writeFileSync(first, text);
  t.equal((await audit('verify', journal)).code, 0);
});

await t.test('wrong usage', async (t) => {
  for (const [args, message] of [
    [[], /say what to do/],
    [['verify'], /takes one path/],
    [['tail', 'a', 'b'], /takes one path/],
    [['verify', journal, '--follow'], /verify has no option --follow/],
    [['tail', journal, '--key', 'x'], /tail has no option --key/],
    [['tail', journal, '--verdict', 'maybe'], /"allow" or "deny"/],
  ] as const) {
    const { code, err } = await audit(...args);
    t.equal(code, 2);
    t.match(err, message);
  }
  await t.rejects(audit('verify', join(root, 'none')), /ENOENT/);
  await t.rejects(audit('verify', join(root, 'audit.jsonl')), /a plain file has no chain to verify/);
  t.match((await audit('--help')).out, /breakwater audit verify\|tail/);
});
