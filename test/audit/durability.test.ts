import t, { type Test } from 'tap';
import fs, { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OutcomeEvent } from '../../src/audit/event.js';
import { openJournal, type Journal } from '../../src/audit/journal.js';
import { verifyJournal } from '../../src/audit/verify.js';
import { sleep, until } from '../support/command.js';
import { JOURNAL } from '../support/journal-options.js';

// A disk that takes its time, fails or hangs: which caller gets that a record is on it, and when. Only the answer of fdatasync is
// made up; what is written is in real files.

const root = mkdtempSync(join(tmpdir(), 'bw-durable-'));
const real = fs.fdatasync;
let calls: ((error: NodeJS.ErrnoException | null) => void)[] = [];
fs.fdatasync = ((_fd: number, done: (error: NodeJS.ErrnoException | null) => void) =>
  void calls.push(done)) as typeof fs.fdatasync;
syncBuiltinESMExports();
t.teardown(() => {
  fs.fdatasync = real;
  syncBuiltinESMExports();
  rmSync(root, { recursive: true, force: true });
});

interface Room {
  readonly journal: Journal;
  readonly directory: string;
  readonly warnings: string[];
  /** Calls that got a result, and which. */
  readonly reported: Map<string, string>;
  readonly write: (call: string, durable?: boolean) => void;
  /** What is in its files. */
  readonly text: () => string;
}

let rooms = 0;
function open(t: Test, timeout = 5_000): Room {
  calls = [];
  const directory = join(root, `${(rooms += 1)}`);
  const warnings: string[] = [];
  const journal = openJournal({
    ...JOURNAL,
    directory,
    key: join(root, `${rooms}.pem`),
    timeout,
    warn: (message) => void warnings.push(message),
  });
  t.teardown(() => journal.close());
  const reported = new Map<string, string>();
  const base: Omit<OutcomeEvent, 'call'> = {
    ...{ event: 'outcome', operation: 'SystemPing', status: 200, end: 'complete' },
    ...{ duration: 1, bytesIn: 0, bytesOut: 0 },
  };
  return {
    ...{ journal, directory, warnings, reported },
    write: (call, durable = true) =>
      journal.record(
        { ...base, call },
        (error) => void reported.set(call, error?.message ?? 'written'),
        durable,
      ),
    text: () =>
      readdirSync(directory)
        .filter((name) => name.endsWith('.jsonl'))
        .sort()
        .map((name) => readFileSync(join(directory, name), 'utf8'))
        .join(''),
  };
}

const turn = (): Promise<void> => sleep(20);
const oops = (code: string): NodeJS.ErrnoException =>
  Object.assign(new Error(`${code}: it failed`), { code });

t.test('a change is reported when its record is on the disk, and not before', async (t) => {
  const { write, reported, text, journal } = open(t);
  write('change');
  write('read', false);
  await turn();
  t.strictSame([...reported], [['read', 'written']]);
  t.match(text(), /"call":"change"/, 'it is written before the call to the disk');
  t.equal(calls.length, 1);
  for (let n = 0; n < 20; n++) write(`c${n}`);
  await turn();
  t.equal(reported.size, 1, 'those that come meanwhile wait for the next call');
  t.equal(calls.length, 1, 'one at a time');
  calls[0]!(null);
  t.equal(reported.get('change'), 'written');
  t.equal(reported.size, 2);
  t.equal(calls.length, 2, 'and share it');
  calls[1]!(null);
  t.strictSame([...reported.values()], Array<string>(22).fill('written'));
  t.equal(journal.stats.healthy, true);
});

for (const code of ['EIO', 'ENOSPC']) {
  t.test(`a disk that fails: ${code}`, async (t) => {
    const { write, reported, text, journal, directory, warnings } = open(t);
    write('a');
    await turn();
    write('b');
    await turn();
    calls[0]!(oops(code));
    // A second call would succeed, whatever had become of what the first one had at hand.
    t.strictSame([...reported.values()], [`${code}: it failed`, `${code}: it failed`]);
    t.equal(calls.length, 1);
    t.equal(journal.stats.healthy, false);
    t.match(warnings, [/cannot be written/]);
    write('c');
    await turn();
    t.equal(reported.has('c'), false);
    t.equal(readdirSync(directory).filter((name) => name.endsWith('.jsonl')).length, 2, 'in a new file');
    calls.at(-1)!(null);
    t.equal(reported.get('c'), 'written');
    t.equal(journal.stats.healthy, true);
    t.match(warnings.at(-1), /can be written again/);
    t.equal((await verifyJournal(directory)).problem, undefined);
    t.match(text(), /"call":"c"/);
  });
}

t.test('a disk that hangs', async (t) => {
  const { write, reported, journal, directory, warnings } = open(t, 150);
  write('a');
  await turn();
  write('b');
  t.ok(await until(() => reported.size === 2, 2_000, 5), 'every waiting call gets the error');
  t.match([...reported.values()], [/not on the disk within 150 ms/, /not on the disk within 150 ms/]);
  t.equal(journal.stats.healthy, false);
  const before = performance.now();
  write('c');
  write('d', false);
  t.ok(await until(() => reported.size === 4, 2_000, 2));
  t.ok(performance.now() - before < 140, 'who comes later does not wait for nothing');
  t.match(reported.get('c'), /not on the disk/);
  t.equal(reported.get('d'), 'written', 'the system has it');
  await sleep(500);
  t.equal(journal.stats.healthy, false, 'still');
  t.equal(warnings.length, 1, 'said once');
  t.equal(calls.length, 1, 'nothing piles up');
  calls[0]!(null);
  t.ok(await until(() => journal.stats.healthy, 2_000, 10), 'it comes back by itself');
  write('e');
  t.ok(await until(() => calls.length > 1, 2_000, 5));
  while (!reported.has('e')) {
    calls.at(-1)!(null);
    await turn();
  }
  t.equal(reported.get('e'), 'written');
  t.equal((await verifyJournal(directory)).problem, undefined);
});

t.test('a disk that hangs, and fails in the end', async (t) => {
  const { write, reported, journal, directory } = open(t, 100);
  write('a');
  t.ok(await until(() => reported.size === 1, 2_000, 5));
  calls[0]!(oops('EIO'));
  t.equal(journal.stats.healthy, false);
  write('b');
  await turn();
  t.equal(readdirSync(directory).filter((name) => name.endsWith('.jsonl')).length, 2, 'in a new file');
  calls.at(-1)!(null);
  t.equal(reported.get('b'), 'written');
});

t.test('a file system that goes away while records wait for the next call', async (t) => {
  const { write, reported, journal, directory } = open(t);
  write('a');
  await turn();
  write('b');
  await turn();
  t.equal(calls.length, 1);
  const { writeSync } = fs;
  fs.writeSync = () => {
    throw oops('EIO');
  };
  syncBuiltinESMExports();
  write('c');
  await turn();
  fs.writeSync = writeSync;
  syncBuiltinESMExports();
  t.equal(reported.get('c'), 'EIO: it failed');
  t.equal(reported.get('b'), 'EIO: it failed', 'the next call is for another file');
  t.equal(reported.has('a'), false);
  calls[0]!(null);
  t.equal(reported.get('a'), 'written', 'its own call succeeded');
  write('d');
  await turn();
  calls.at(-1)!(null);
  t.equal(reported.get('d'), 'written', 'in a new file');
  t.equal(readdirSync(directory).filter((name) => name.endsWith('.jsonl')).length, 2);
  t.ok(await until(() => journal.stats.healthy, 2_000, 10));
});

t.test('a closed segment that does not get to the disk', async (t) => {
  const { write, reported, journal } = open(t);
  write('a');
  await turn();
  calls[0]!(oops('ENOSPC'));
  t.equal(reported.get('a'), 'ENOSPC: it failed', 'the next record begins a new file');
  const { fsyncSync } = fs;
  write('b');
  let syncs = 0;
  fs.fsyncSync = (fd) => {
    // The first one is for the directory of the new file.
    if ((syncs += 1) === 2) throw oops('ENOSPC');
    fsyncSync(fd);
  };
  syncBuiltinESMExports();
  await turn();
  fs.fsyncSync = fsyncSync;
  syncBuiltinESMExports();
  t.equal(reported.get('b'), 'ENOSPC: it failed');
  write('c');
  await turn();
  calls.at(-1)!(null);
  t.equal(reported.get('c'), 'written');
  t.equal(journal.stats.healthy, true);
});
