import t, { type Test } from 'tap';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTrialEngine } from '../../src/trial-engine/engine.js';
import { verifyTrail } from '../../src/app/audit.js';
import type { TrailEvent } from '../../src/audit/trail.js';
import { trailEvents } from '../support/trail.js';
import { sleep, until } from '../support/command.js';
import { required } from '../support/engine.js';
import { freePort } from '../support/free-port.js';
import { runGuard, type GuardProcess } from '../support/guard-process.js';
import { talk } from '../support/raw.js';

// The guard itself, when there is no room for its audit journal: a full disk, a disk that has become read-only, and records
// that no receiver takes.

t.setTimeout(240_000);

const root = mkdtempSync(join(tmpdir(), 'bw-room-'));
t.teardown(() => rmSync(root, { recursive: true, force: true }));
const engine = await startTrialEngine();
t.teardown(() => engine.close());

interface Place {
  readonly guard: GuardProcess;
  create(): Promise<{ status: number; message: string }>;
  /** Status of a read. */
  list(): Promise<number>;
  /** Status and problems of `/readyz`. */
  ready(): Promise<{ status: number; problems: string }>;
  metric(name: string): Promise<number>;
}

async function start(t: Test, directory: string, audit: object): Promise<Place> {
  mkdirSync(directory, { recursive: true });
  const [port, admin] = [await freePort(), await freePort()];
  const guard = await runGuard(t, directory, { port, admin, upstream: engine.url, audit });
  const body = JSON.stringify({ Image: 'alpine', Labels: { padding: 'x'.repeat(800) } });
  const ask = async (to: number, text: string): Promise<{ status: number; body: string }> => {
    const { answers } = await talk({ port: to }, [text], { linger: 0 });
    return { status: answers[0]?.status ?? 0, body: answers[0]?.body.toString() ?? '' };
  };
  const get = (to: number, path: string) =>
    ask(to, `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
  return {
    guard,
    async create() {
      const head =
        'POST /v1.41/containers/create HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n';
      const answer = await ask(
        port,
        `${head}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
      );
      const found = answer.status >= 400 ? (JSON.parse(answer.body) as { message: string }) : undefined;
      return { status: answer.status, message: found?.message ?? '' };
    },
    list: async () => (await get(port, '/v1.41/containers/json')).status,
    async ready() {
      const { status, body: text } = await get(admin, '/readyz');
      return { status, problems: (JSON.parse(text) as { problems: string[] }).problems.join() };
    },
    async metric(name) {
      const line = (await get(admin, '/metrics')).body.split('\n').find((one) => one.startsWith(`${name} `));
      return line === undefined ? NaN : Number(line.slice(name.length + 1));
    },
  };
}

/** Denied for the audit trail; any answer of the engine is not. */
const isDenied = ({ status }: { status: number }): boolean => status === 503;

async function eventsOf(journal: string): Promise<TrailEvent[]> {
  const events: TrailEvent[] = [];
  for await (const event of trailEvents(journal)) if (event !== undefined) events.push(event);
  return events;
}

/** Its first segment was removed. */
const isGone = (journal: string): boolean => !existsSync(join(journal, '0000000000000001.jsonl'));

/** While the journal cannot be written. */
async function isRed(t: Test, place: Place, why: RegExp, read: 'allow' | 'deny'): Promise<void> {
  const refused = await place.create();
  t.equal(refused.status, 503);
  t.match(refused.message, /the audit trail cannot be written .*so the call was not made/);
  t.match(refused.message, why);
  t.notMatch(refused.message, root, 'nothing of the paths of the machine');
  t.equal(await place.list(), read === 'allow' ? 200 : 503, `reads: ${read}`);
  const { status, problems } = await place.ready();
  t.equal(status, 503);
  t.match(problems, 'the audit trail cannot be written');
  t.equal(await place.metric('breakwater_audit_healthy'), 0);
  t.match(place.guard.log(), /the audit journal cannot be written: /);
}

/** It goes on by itself. */
async function isGreen(t: Test, place: Place): Promise<void> {
  t.ok(await until(async () => !isDenied(await place.create()), 15_000, 50), 'without a restart');
  t.equal(await place.list(), 200);
  t.equal((await place.ready()).status, 200);
  t.equal(await place.metric('breakwater_audit_healthy'), 1);
  t.match(place.guard.log(), /the audit journal can be written again/);
}

/** A file system of its own; undefined where that is not possible. `must`: wherever everything has to be tested. */
function mount(t: Test, name: string, args: readonly string[], must: boolean): string | undefined {
  const at = join(root, name);
  mkdirSync(at);
  if (process.getuid?.() !== 0 || spawnSync('mount', [...args, at]).status !== 0) {
    const reason = `SKIPPED, NOT TESTED: ${name} needs root and mount ${args.join(' ')}`;
    if (must && required) t.fail(`BREAKWATER_E2E=required, but ${reason}`);
    else t.comment(reason);
    return undefined;
  }
  t.teardown(() => {
    spawnSync('umount', ['-l', at]);
  });
  return at;
}

await t.test('a full disk', async (t) => {
  const disk = mount(t, 'small', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs'], true);
  if (disk === undefined) return;
  for (const read of ['allow', 'deny'] as const) {
    const journal = join(disk, read);
    const place = await start(t, join(root, `full-${read}`), { journal, onFailure: { write: 'deny', read } });
    t.notOk(isDenied(await place.create()));
    t.equal((await place.ready()).status, 200);
    const ballast = join(disk, 'ballast');
    const { bavail, bsize } = statfsSync(disk);
    writeFileSync(ballast, Buffer.alloc(bavail * bsize));
    // What is left of the last block takes a few more.
    let count = 0;
    while (!isDenied(await place.create()) && count < 50) count += 1;
    t.ok(count < 50);
    await isRed(t, place, /no space is left on its disk/, read);
    rmSync(ballast);
    await isGreen(t, place);
    await place.guard.kill('SIGTERM');
    t.equal((await verifyTrail(journal, { keyFile: join(journal, 'key.pem.pub') })).problem, undefined);
    const events = await eventsOf(journal);
    t.match(
      events.find(({ kind }) => kind === 'recovered'),
      { event: 'journal', lost: 0 },
    );
    t.ok(events.filter(({ event, status }) => event === 'outcome' && status === 503).length >= 2);
    rmSync(journal, { recursive: true });
  }
});

// A file system that is in use cannot be made read-only; one that finds itself damaged becomes it.
await t.test('a disk that becomes read-only, and is mounted anew', async (t) => {
  let image = join(root, 'disk.img');
  writeFileSync(image, Buffer.alloc(8 * 2 ** 20));
  if (spawnSync('mkfs.ext4', ['-q', image]).status !== 0) {
    t.comment('SKIPPED, NOT TESTED: a read-only disk needs mkfs.ext4');
    return;
  }
  const loop = (): string[] => ['-o', 'loop', image];
  const disk = mount(t, 'ext4', loop(), false);
  if (disk === undefined) return;
  for (const read of ['allow', 'deny'] as const) {
    const journal = join(disk, read);
    const place = await start(t, join(root, `ro-${read}`), { journal, onFailure: { write: 'deny', read } });
    for (let n = 0; n < 20; n++) t.notOk(isDenied(await place.create()));
    // What is not to be outlasted by a power loss alone follows within a moment.
    await sleep(500);
    execFileSync('sync', ['-f', disk]);
    execFileSync('mount', ['-o', 'remount,abort', disk]);
    await isRed(t, place, /its file system is read-only/, read);
    execFileSync('umount', ['-l', disk]);
    // Nothing is mounted there: the guard must not begin a journal on the disk below.
    t.ok(isDenied(await place.create()));
    t.notOk(existsSync(journal));
    // A copy: a mount namespace that another program has made meanwhile still has the damaged file system.
    const copy = join(root, `disk-${read}.img`);
    copyFileSync(image, copy);
    image = copy;
    execFileSync('mount', [...loop(), disk]);
    await isGreen(t, place);
    await place.guard.kill('SIGTERM');
    t.equal((await verifyTrail(journal, { keyFile: join(journal, 'key.pem.pub') })).problem, undefined);
    const events = await eventsOf(journal);
    t.match(
      events.find(({ kind }) => kind === 'recovered'),
      { event: 'journal', lost: 0 },
    );
    const refused = events.filter(({ event, status }) => event === 'outcome' && status === 503);
    t.ok(refused.length >= 2, 'what was refused meanwhile is told later');
  }
});

/** Takes nothing until it is told to; then counts the records. */
async function receiver(t: Test, port: number): Promise<() => string> {
  let got = '';
  const server = createServer((socket) => {
    socket.on('error', () => {}).on('data', (piece: Buffer) => (got += piece.toString('utf8')));
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.teardown(() => void server.close());
  return () => got;
}

await t.test('records that no receiver takes use up audit.keep.size', async (t) => {
  for (const onFull of ['block', 'drop'] as const) {
    const directory = join(root, onFull);
    const journal = join(directory, 'journal');
    const port = await freePort();
    const sink = {
      ...{
        name: 'siem',
        type: 'syslog',
        url: `tcp://127.0.0.1:${port}`,
        retry: { min: '20ms', max: '100ms' },
      },
      ...{ batch: { interval: '10ms' }, confirm: { interval: '50ms', settle: '50ms' } },
    };
    const place = await start(t, directory, {
      ...{ journal, rotate: { size: '64KiB' }, keep: { size: '1MiB' }, onFull, sinks: [sink] },
      onFailure: { write: 'deny', read: 'deny' },
    });
    // Reads are cheaper, and they are on record as well.
    const fill = async (until: () => boolean | Promise<boolean>): Promise<boolean> => {
      for (let n = 0; n < 60; n++) {
        await Promise.all(Array.from({ length: 40 }, () => place.list()));
        if (await until()) return true;
      }
      return false;
    };
    const size = (): number => Number(execFileSync('du', ['-sb', journal]).toString().split('\t')[0]);
    if (onFull === 'block') {
      t.ok(await fill(async () => (await place.list()) === 503), 'it is used up');
      await isRed(t, place, /audit\.keep\.size is used up by records that a sink has not delivered/, 'deny');
      t.ok(size() < 1.5 * 2 ** 20, `${size()} bytes`);
    } else {
      t.ok(await fill(() => isGone(journal)), 'the oldest went');
      t.notOk(isDenied(await place.create()), 'calls go on');
      t.equal(await place.list(), 200);
      t.ok(size() < 1.5 * 2 ** 20, `${size()} bytes`);
    }
    const got = await receiver(t, port);
    if (onFull === 'block') await isGreen(t, place);
    t.ok(
      await until(async () => (await place.metric('breakwater_sink_behind{sink="siem"}')) === 0, 20_000, 50),
    );
    const events = await eventsOf(journal);
    const told = events.filter(({ kind, undelivered }) => kind === 'removed' && Number(undelivered) > 0);
    const dropped = told.reduce((sum, { undelivered }) => sum + Number(undelivered), 0);
    const counted = await place.metric('breakwater_sink_dropped{sink="siem"}');
    const seqs = new Set([...got().matchAll(/\] \{"seq":(\d+),/g)].map(([, seq]) => Number(seq)));
    const last = Number(events.at(-1)!['seq']);
    if (onFull === 'block') {
      t.equal(dropped, 0);
      t.equal(counted, 0);
      t.equal(seqs.size, last, 'every record is there, those of the refused calls too');
    } else {
      t.ok(counted > 0);
      t.equal(seqs.size, last - counted, 'all but those that were dropped, which were counted');
      t.ok(dropped > 0 && dropped <= counted, `the journal itself tells of ${dropped}`);
      t.match(got(), /"kind":"removed","upTo":\d+,"undelivered":[1-9]/, 'the receiver is told too');
    }
    await place.guard.kill('SIGTERM');
  }
});
