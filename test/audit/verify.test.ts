import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { readPublicKey } from '../../src/audit/checkpoint.js';
import { openJournal } from '../../src/audit/journal.js';
import { readCheckpoint, verifyJournal } from '../../src/audit/verify.js';
import { JOURNAL } from '../support/journal-options.js';

// An attacker who can write the journal can compute every hash anew; what the checkpoints say he cannot.

const root = mkdtempSync(join(tmpdir(), 'bw-verify-'));
t.teardown(() => rmSync(root, { recursive: true, force: true }));

/** Where a journal of 30 records is, with a checkpoint behind every ten. */
async function filled(name: string): Promise<{ file: string; directory: string; key: string }> {
  const directory = join(root, name);
  const key = join(root, `${name}.pem`);
  const journal = openJournal({ ...JOURNAL, directory, key, checkpointRecords: 10 });
  for (let n = 0; n < 30; n++) {
    await new Promise<void>((resolve) =>
      journal.record(
        {
          event: 'outcome',
          call: `c${n}`,
          operation: 'SystemPing',
          status: 200,
          end: 'complete',
          duration: 1,
          bytesIn: 0,
          bytesOut: 2,
        },
        () => resolve(),
      ),
    );
  }
  journal.close();
  const [segment = ''] = readdirSync(directory).filter((entry) => entry.endsWith('.jsonl'));
  return { file: join(directory, segment), directory, key };
}

/** Changes lines of a journal and then all hashes from there on, so that the chain holds again. */
function forge(file: string, change: (line: string, number: number) => string): void {
  let previous = '0'.repeat(64);
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line, n) => {
      const open = change(line, n + 1).replace(/"hash":"[0-9a-f]{64}",/, '');
      previous = createHash('sha256').update(`${previous}\n${open}`).digest('hex');
      return open.replace(/^(\{"seq":\d+,)/, `$1"hash":"${previous}",`);
    });
  writeFileSync(file, `${lines.join('\n')}\n`);
}

/** The number of the first checkpoint. */
const firstCheckpoint = (file: string): number =>
  readFileSync(file, 'utf8')
    .split('\n')
    .findIndex((line) => line.includes('"event":"checkpoint"')) + 1;

await t.test('the forgery is good: with nothing changed the journal verifies', async (t) => {
  const { file, directory, key } = await filled('same');
  const before = readFileSync(file, 'utf8');
  forge(file, (line) => line);
  t.equal(readFileSync(file, 'utf8'), before);
  const { problem, checkpoints } = await verifyJournal(directory, { key: readPublicKey(`${key}.pub`) });
  t.equal(problem, undefined);
  t.ok(checkpoints >= 3);
});

const SPEAKS = /checkpoint that does not speak of the record before it/;

for (const [name, change, expected] of [
  [
    'a record before it was changed',
    (line, at, n) => (n === at - 2 ? line.replace('"status":200', '"status":404') : line),
    SPEAKS,
  ],
  [
    'it names another hash',
    (line, at, n) => (n === at ? line.replace(/"head":"[0-9a-f]{64}"/, `"head":"${'1'.repeat(64)}"`) : line),
    SPEAKS,
  ],
  [
    'it names another record',
    (line, at, n) => (n === at ? line.replace(/"upTo":\d+/, '"upTo":3') : line),
    SPEAKS,
  ],
  [
    'it names another journal',
    (line, at, n) => (n === at ? line.replace(/"journal":"[^"]+"/, '"journal":"other"') : line),
    SPEAKS,
  ],
  [
    'its hash is missing',
    (line, at, n) => (n === at ? line.replace('"head":', '"tail":') : line),
    /checkpoint that cannot be read/,
  ],
] satisfies readonly (readonly [string, (line: string, at: number, n: number) => string, RegExp])[]) {
  await t.test(`a checkpoint, and the chain computed anew: ${name}`, async (t) => {
    const { file, directory } = await filled(name.replaceAll(' ', '-'));
    const at = firstCheckpoint(file);
    const before = readFileSync(file, 'utf8');
    forge(file, (line, n) => change(line, at, n));
    t.not(readFileSync(file, 'utf8'), before);
    // Without the public key, as anyone who has only the journal.
    const { problem } = await verifyJournal(directory);
    t.match(problem?.what, expected);
    t.equal(problem?.seq, at, 'the first one behind the change');
  });
}

await t.test(
  'a journal written anew with its checkpoints is not what one that was kept elsewhere says',
  async (t) => {
    const { file, directory } = await filled('kept-elsewhere');
    const at = firstCheckpoint(file);
    const line = readFileSync(file, 'utf8').split('\n')[at - 1]!;
    const kept = readCheckpoint(JSON.parse(line) as Record<string, unknown>)!;
    t.equal((await verifyJournal(directory, { shipped: [kept] })).problem, undefined, 'before');
    for (const other of [{ hash: '1'.repeat(64) }, { seq: kept.seq + 1 }, { journal: 'other' }]) {
      const { problem } = await verifyJournal(directory, { shipped: [{ ...kept, ...other }] });
      t.match(problem?.what, /kept elsewhere/, JSON.stringify(other));
    }
  },
);

await t.test('checkpoints written anew as well are recognised by their signature', async (t) => {
  const { file, directory, key } = await filled('signature');
  const at = firstCheckpoint(file);
  forge(file, (line, n) => (n === at - 2 ? line.replace('"status":200', '"status":404') : line));
  const head = /"hash":"([0-9a-f]{64})"/.exec(readFileSync(file, 'utf8').split('\n')[at - 2]!)![1]!;
  forge(file, (line, n) => (n === at ? line.replace(/"head":"[0-9a-f]{64}"/, `"head":"${head}"`) : line));
  const { problem } = await verifyJournal(directory, { key: readPublicKey(`${key}.pub`) });
  t.match(problem, { seq: at, what: /signature is wrong/ });
});
