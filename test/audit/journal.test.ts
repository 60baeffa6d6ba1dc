import t from 'tap';
import { spawn } from 'node:child_process';
import { createHash, generateKeyPairSync } from 'node:crypto';
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readPublicKey } from '../../src/audit/checkpoint.js';
import type { OutcomeEvent } from '../../src/audit/event.js';
import { openJournal, type Journal, type JournalOptions } from '../../src/audit/journal.js';
import { readCheckpoint, verifyJournal } from '../../src/audit/verify.js';
import { until } from '../support/command.js';
import { JOURNAL } from '../support/journal-options.js';

const root = mkdtempSync(join(tmpdir(), 'bw-journal-'));
t.teardown(() => rmSync(root, { recursive: true, force: true }));

let rooms = 0;
function room(): { directory: string; key: string } {
  const directory = join(root, `journal-${(rooms += 1)}`);
  return { directory, key: join(root, `key-${rooms}.pem`) };
}

function open(where: { directory: string; key: string }, options: Partial<JournalOptions> = {}): Journal {
  return openJournal({ ...JOURNAL, ...where, ...options });
}

const event = (call: string): OutcomeEvent => ({
  event: 'outcome',
  call,
  operation: 'SystemPing',
  status: 200,
  end: 'complete',
  duration: 1.5,
  bytesIn: 0,
  bytesOut: 2,
});

const write = (journal: Journal, call: string, durable = false): Promise<Error | undefined> =>
  new Promise((resolve) => journal.record(event(call), resolve, durable));

const segments = (directory: string): string[] =>
  readdirSync(directory)
    .filter((name) => name.endsWith('.jsonl'))
    .sort()
    .map((name) => join(directory, name));

const recordsOf = (directory: string): Record<string, unknown>[] =>
  segments(directory).flatMap((path) =>
    readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>),
  );

async function filled(options: Partial<JournalOptions> = {}): Promise<{ directory: string; key: string }> {
  const where = room();
  const journal = open(where, options);
  for (let n = 0; n < 50; n++) await write(journal, `c${n}`, n % 2 === 0);
  journal.close();
  return where;
}

await t.test('what was written verifies, over restarts and segments', async (t) => {
  const where = await filled({ segmentSize: 4096, checkpointRecords: 7 });
  const again = open(where, { segmentSize: 4096 });
  await write(again, 'again');
  again.close();
  const key = readPublicKey(`${where.key}.pub`);
  const found = await verifyJournal(where.directory, { key });
  t.equal(found.problem, undefined);
  t.equal(found.records, found.last);
  t.equal(found.unsigned, 0, 'a journal that was closed ends with a checkpoint');
  t.ok(found.checkpoints > 7);
  t.ok(segments(where.directory).length > 3);
  const calls = recordsOf(where.directory).flatMap(({ call }) => (typeof call === 'string' ? [call] : []));
  t.same(calls, [...Array.from({ length: 50 }, (_, n) => `c${n}`), 'again']);
});

await t.test('verify finds what was done to a journal', async (t) => {
  const change = (path: string, how: (lines: string[]) => string[]): void => {
    const lines = readFileSync(path, 'utf8').split('\n');
    writeFileSync(path, how(lines).join('\n'));
  };
  const tampering: Readonly<Record<string, (directory: string) => void>> = {
    'a changed byte': (directory) =>
      change(segments(directory)[0]!, (lines) =>
        lines.map((line, n) => (n === 9 ? line.replace('"status":200', '"status":404') : line)),
      ),
    'a changed number': (directory) =>
      change(segments(directory)[0]!, (lines) =>
        lines.map((line, n) => (n === 9 ? line.replace('"seq":10', '"seq":11') : line)),
      ),
    'a removed record': (directory) =>
      change(segments(directory)[0]!, (lines) => lines.filter((_, n) => n !== 9)),
    'swapped records': (directory) =>
      change(segments(directory)[0]!, (lines) => [
        ...lines.slice(0, 9),
        lines[10]!,
        lines[9]!,
        ...lines.slice(11),
      ]),
    'an inserted record': (directory) =>
      change(segments(directory)[0]!, (lines) => [...lines.slice(0, 9), lines[9]!, ...lines.slice(9)]),
    'a line that is no record': (directory) =>
      change(segments(directory)[0]!, (lines) => [...lines.slice(0, 9), 'hello', ...lines.slice(10)]),
    'a removed segment': (directory) => unlinkSync(segments(directory)[1]!),
    'a segment of another journal': (directory) => {
      const other = readFileSync(segments(join(root, 'journal-other'))[1]!);
      writeFileSync(segments(directory)[1]!, other);
    },
    'an emptied segment': (directory) => truncateSync(segments(directory)[1]!, 0),
  };
  const other = open(
    { directory: join(root, 'journal-other'), key: join(root, 'other.pem') },
    { segmentSize: 4096 },
  );
  for (let n = 0; n < 50; n++) await write(other, `c${n}`);
  other.close();
  for (const [name, tamper] of Object.entries(tampering)) {
    const { directory } = await filled({ segmentSize: 4096 });
    tamper(directory);
    const { problem } = await verifyJournal(directory);
    t.ok(problem, name);
    t.ok(problem!.seq > 1, `${name}: ${problem!.where}: ${problem!.what}`);
  }
});

/** SHA-256 as the format says: over the hash of the record before, a line end, and the record without its own hash. */
const hashOf = (previous: string, line: string): string =>
  createHash('sha256')
    .update(`${previous}\n${line.replace(/"hash":"[0-9a-f]{64}",/, '')}`)
    .digest('hex');

await t.test('the chain, computed independently', async (t) => {
  const { directory } = await filled({ segmentSize: 4096 });
  const lines = segments(directory).flatMap((path) => readFileSync(path, 'utf8').split('\n').slice(0, -1));
  let previous = '0'.repeat(64);
  const wrong = lines.filter((line) => {
    const expected = hashOf(previous, line);
    previous = (JSON.parse(line) as { hash: string }).hash;
    return previous !== expected;
  });
  t.same(wrong, []);

  // Who changes a record can compute its hash as well: the one behind it tells.
  const path = segments(directory)[0]!;
  const whole = readFileSync(path, 'utf8').split('\n');
  const changed = whole[9]!.replace('"status":200', '"status":404');
  const before = (JSON.parse(whole[8]!) as { hash: string }).hash;
  whole[9] = changed.replace(/"hash":"[0-9a-f]{64}"/, `"hash":"${hashOf(before, changed)}"`);
  writeFileSync(path, whole.join('\n'));
  t.match((await verifyJournal(directory)).problem, { seq: 11, what: /hash is wrong/ });
});

await t.test('a cut tail shows against a checkpoint that was kept elsewhere', async (t) => {
  const where = await filled({ checkpointRecords: 10 });
  const shipped = recordsOf(where.directory).flatMap((record) => readCheckpoint(record) ?? []);
  const key = readPublicKey(`${where.key}.pub`);
  t.equal((await verifyJournal(where.directory, { key, shipped })).problem, undefined);
  const path = segments(where.directory)[0]!;
  const lines = readFileSync(path, 'utf8').split('\n');
  writeFileSync(path, `${lines.slice(0, 20).join('\n')}\n`);
  t.equal((await verifyJournal(where.directory, { key })).problem, undefined, 'by itself it looks whole');
  const { problem } = await verifyJournal(where.directory, { key, shipped });
  t.match(problem?.what, /the end was cut off/);
  t.equal(problem?.seq, 21);

  const { publicKey } = generateKeyPairSync('ed25519');
  t.match((await verifyJournal(where.directory, { key: publicKey })).problem?.what, /another key/);
  const forged = shipped.map((one) => ({ ...one, seq: one.seq + 1 }));
  t.match(
    (await verifyJournal(where.directory, { key, shipped: forged })).problem?.what,
    /signature is wrong/,
  );
});

await t.test('a torn last record is cut off, and said; other damage is left as evidence', async (t) => {
  const torn = await filled();
  const path = segments(torn.directory)[0]!;
  appendFileSync(path, '{"seq":99,"hash":"ab');
  open(torn).close();
  t.match(
    recordsOf(torn.directory).find(({ kind }) => kind === 'repaired'),
    { event: 'journal', torn: 20 },
  );
  t.equal((await verifyJournal(torn.directory)).problem, undefined);

  const empty = await filled();
  writeFileSync(join(empty.directory, '0000000000000099.jsonl'), '{"seq":99,');
  open(empty).close();
  t.equal((await verifyJournal(empty.directory)).problem, undefined);

  const damaged = await filled();
  const bytes = readFileSync(segments(damaged.directory)[0]!, 'utf8');
  writeFileSync(segments(damaged.directory)[0]!, bytes.replace('"status":200', '"status":204'));
  open(damaged).close();
  t.match(
    recordsOf(damaged.directory).find(({ kind }) => kind === 'repaired')?.['damage'],
    /does not follow/,
  );
  t.ok((await verifyJournal(damaged.directory)).problem);

  const foreign = room();
  open(foreign).close();
  writeFileSync(join(foreign.directory, '0000000000000099.jsonl'), 'hello\n');
  t.throws(() => open(foreign), /holds no record of an audit journal/);
});

await t.test('killed while it writes: what was reported as written is there', async (t) => {
  const where = room();
  const script = fileURLToPath(new URL('../support/journal-writer.js', import.meta.url));
  let reported = 0;
  for (let round = 0; round < 5; round++) {
    const child = spawn(process.execPath, [script, where.directory, where.key], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let printed = '';
    child.stdout.on('data', (piece: Buffer) => (printed += piece.toString()));
    t.ok(await until(() => printed.split('\n').length > 200, 20_000, 5), 'it is busy');
    child.kill('SIGKILL');
    await new Promise((resolve) => child.on('close', resolve));
    const calls = new Set(recordsWhole(where.directory).map(({ call }) => call));
    const lines = printed.split('\n').slice(0, -1);
    reported += lines.length;
    t.same(
      lines.filter((call) => !calls.has(call)),
      [],
      'each one that took effect is on record',
    );
  }
  t.ok(reported > 1000);
  open(where).close();
  t.equal((await verifyJournal(where.directory)).problem, undefined);
});

function recordsWhole(directory: string): Record<string, unknown>[] {
  return segments(directory).flatMap((path) =>
    readFileSync(path, 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>),
  );
}

await t.test('one journal, one process', async (t) => {
  const where = room();
  const script = fileURLToPath(new URL('../support/journal-writer.js', import.meta.url));
  const child = spawn(process.execPath, [script, where.directory, where.key], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  t.throws(() => open(where), /in use by process \d+/);
  child.kill('SIGKILL');
  await new Promise((resolve) => child.on('close', resolve));
  open(where).close();
  t.equal((await verifyJournal(where.directory)).problem, undefined);
});

await t.test('room: old segments go, undelivered ones block or are dropped and counted', async (t) => {
  const gone = room();
  const small = { segmentSize: 4096 };
  const keep = { size: 20_000, age: 86_400_000 };
  const journal = open(gone, { ...small, retention: { ...keep, needed: () => Infinity, onFull: 'block' } });
  for (let n = 0; n < 300; n++) t.equal(await write(journal, `c${n}`), undefined);
  journal.close();
  t.ok(segments(gone.directory).length < 9);
  t.match(
    recordsOf(gone.directory).findLast(({ kind }) => kind === 'removed'),
    { undelivered: 0 },
  );
  t.equal((await verifyJournal(gone.directory)).problem, undefined, 'what is left verifies');

  let needed = 5;
  const blocked = room();
  const blocking = open(blocked, { ...small, retention: { ...keep, needed: () => needed, onFull: 'block' } });
  let failure: Error | undefined;
  for (let n = 0; n < 300 && failure === undefined; n++) failure = await write(blocking, `c${n}`);
  t.match(failure?.message, /not delivered yet \(from number 5 on\)/);
  t.equal(blocking.stats.healthy, false);
  needed = Infinity;
  t.equal(await write(blocking, 'after'), undefined, 'goes on when they are delivered');
  t.equal(blocking.stats.healthy, true);
  blocking.close();

  const dropping = room();
  const leaky = open(dropping, { ...small, retention: { ...keep, needed: () => 5, onFull: 'drop' } });
  for (let n = 0; n < 300; n++) t.equal(await write(leaky, `c${n}`), undefined);
  leaky.close();
  const removed = recordsOf(dropping.directory).filter(({ kind }) => kind === 'removed');
  t.ok(
    removed.some(({ undelivered }) => (undelivered as number) > 0),
    'the dropped ones are counted',
  );
});
