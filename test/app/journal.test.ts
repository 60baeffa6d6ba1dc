import t from 'tap';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { verifyTrail } from '../../src/app/audit.js';
import type { TrailEvent } from '../../src/audit/trail.js';
import { trailEvents } from '../support/trail.js';
import { sleep, until } from '../support/command.js';
import { required } from '../support/engine.js';
import { talk } from '../support/raw.js';
import { ping, startGuarded, type Guarded } from '../guard/guarded.js';

// A guard with a journal, on a disk that fills up.

const policy = { rules: [{ id: 'all', sources: ['*'], operations: ['*'], permit: ['*'] }] };
const body = JSON.stringify({ Image: 'alpine' });
const CREATE =
  'POST /v1.41/containers/create HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n' +
  `Content-Length: ${body.length}\r\n\r\n${body}`;

const create = async (guarded: Guarded): Promise<{ status: number; message: string }> => {
  const { answers } = await talk(guarded.tcp, [CREATE], { linger: 0 });
  return { status: answers[0]?.status ?? 0, message: answers[0]?.body.toString() ?? '' };
};

async function trailOf(directory: string): Promise<TrailEvent[]> {
  const events: TrailEvent[] = [];
  for await (const event of trailEvents(directory)) if (event !== undefined) events.push(event);
  return events;
}

await t.test('every decision and outcome is in the journal, and it verifies', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'bw-journal-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const journal = join(root, 'journal');
  const guarded = await startGuarded({ policy, config: { audit: { journal } } });
  for (let n = 0; n < 20; n++) {
    t.equal(await ping(guarded.tcp), 200);
    t.equal((await create(guarded)).status, 200);
  }
  const sent = guarded.upstream.requests.length;
  await guarded.close();
  const events = await trailOf(journal);
  t.equal(events.filter(({ event }) => event === 'decision').length, 40);
  t.equal(events.filter(({ event }) => event === 'outcome').length, 40);
  t.equal(sent, 40);
  const { problem, unsigned } = await verifyTrail(journal, { keyFile: join(journal, 'key.pem.pub') });
  t.equal(problem, undefined);
  t.equal(unsigned, 0);
});

const isRoot = process.getuid?.() === 0;
const disk = mkdtempSync(join(tmpdir(), 'bw-disk-'));
const mounted = isRoot && spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'tmpfs', disk]).status === 0;
t.teardown(() => {
  if (mounted) execFileSync('umount', ['-l', disk]);
  rmSync(disk, { recursive: true, force: true });
});
if (!mounted) {
  const reason = 'SKIPPED, NOT TESTED: a small disk needs root and mount';
  if (required) throw new Error(`BREAKWATER_E2E=required, but ${reason}`);
  t.comment(reason);
} else {
  await t.test(
    'a full disk: changes are denied, reads pass as configured, and it recovers by itself',
    async (t) => {
      for (const [read, status] of [
        ['allow', 200],
        ['deny', 503],
      ] as const) {
        const directory = join(disk, read);
        mkdirSync(directory);
        const journal = join(directory, 'journal');
        const audit = { journal, onFailure: { write: 'deny', read } };
        const guarded = await startGuarded({ policy, config: { audit } });
        t.equal((await create(guarded)).status, 200);
        const ballast = join(directory, 'ballast');
        const { bavail, bsize } = statfsSync(disk);
        writeFileSync(ballast, Buffer.alloc(bavail * bsize));
        let refused = await create(guarded);
        // What is left of the last block takes a few more.
        for (let n = 0; n < 20 && refused.status === 200; n++) refused = await create(guarded);
        const sent = guarded.upstream.requests.length;
        t.equal(refused.status, 503);
        t.match(
          refused.message,
          /the audit trail cannot be written \(no space is left on its disk\), so the call was not made/,
        );
        t.equal((await create(guarded)).status, 503);
        t.equal(guarded.upstream.requests.length, sent, 'no change reached the engine');
        t.equal(await ping(guarded.tcp), status, `reads: ${read}`);
        t.equal(await guarded.metric('breakwater_audit_healthy'), 0);
        rmSync(ballast);
        t.ok(
          await until(async () => (await create(guarded)).status === 200, 10_000, 50),
          'without a restart',
        );
        t.equal(await guarded.metric('breakwater_audit_healthy'), 1);
        await sleep(50);
        await guarded.close();
        const events = await trailOf(journal);
        t.match(
          events.find(({ kind }) => kind === 'recovered'),
          { event: 'journal', lost: 0 },
        );
        t.ok(
          events.filter(({ event, status: code }) => event === 'outcome' && code === 503).length >= 2,
          'what was refused meanwhile is reported later',
        );
        t.equal((await verifyTrail(journal, {})).problem, undefined);
      }
    },
  );
}
