import type { KeyObject } from 'node:crypto';
import { follows, GENESIS, readRecord, type ChainedRecord } from './chain.js';
import { checkpointProblem, type Checkpoint } from './checkpoint.js';
import { listSegments, parseMembers, readLines, readSegmentHead } from './journal-files.js';

export interface VerifyOptions {
  /** Checks the signatures of checkpoints; without it only that they say what the chain says. */
  readonly key?: KeyObject;
  /** Checkpoints that were kept elsewhere: each must stand in the journal. */
  readonly shipped?: readonly Checkpoint[];
}

/** The first place where the journal was changed. */
export interface Problem {
  /** Path and line, or the directory. */
  readonly where: string;
  /** Number of the first record that is wrong; 0 where there is none. */
  readonly seq: number;
  readonly what: string;
}

export interface Verification {
  readonly journal: string;
  readonly records: number;
  readonly first: number;
  readonly last: number;
  readonly checkpoints: number;
  /** Checkpoint of the end: how many records come behind the last one. */
  readonly unsigned: number;
  /** The first thing that is wrong; undefined when nothing is. */
  readonly problem: Problem | undefined;
}

/**
 * Reads a whole journal and checks every record against the one before it, every segment against its name, and every
 * checkpoint. Stops at the first that is wrong. In constant memory.
 *
 * @throws Error when the directory or a segment cannot be read.
 */
export async function verifyJournal(directory: string, options: VerifyOptions = {}): Promise<Verification> {
  const shipped = [...(options.shipped ?? [])].sort((a, b) => a.seq - b.seq);
  let journal = '';
  let previous: { readonly seq: number; readonly hash: string } | undefined;
  let first = 0;
  let records = 0;
  let checkpoints = 0;
  let signed = 0;
  const result = (problem?: Problem): Verification => ({
    journal,
    records,
    first,
    last: previous?.seq ?? 0,
    checkpoints,
    unsigned: (previous?.seq ?? 0) - signed,
    problem,
  });

  /** What is wrong with the record, in words. */
  const check = (record: ChainedRecord, opens: boolean, expected: number): string | undefined => {
    const head = opens ? readSegmentHead(record.members) : undefined;
    if (opens && head === undefined) return 'the segment does not begin with its own first record';
    if (head !== undefined) {
      if (journal !== '' && head.journal !== journal) return `belongs to another journal (${head.journal})`;
      if (previous !== undefined && head.previous !== previous.hash) {
        return 'does not follow the segment before it: records were removed or changed there';
      }
      journal = head.journal;
    }
    if (record.seq !== expected)
      return `number ${record.seq} where ${expected} is expected: records were removed, inserted or swapped`;
    if (!follows(previous?.hash ?? head?.previous ?? GENESIS, record)) {
      return 'its hash is wrong: this record or the order of the records was changed';
    }
    return undefined;
  };

  const checkCheckpoint = (record: ChainedRecord): string | undefined => {
    const event = parseMembers(record.members);
    if (event?.['event'] !== 'checkpoint') return undefined;
    const checkpoint = readCheckpoint(event);
    if (checkpoint === undefined) return 'a checkpoint that cannot be read';
    if (
      checkpoint.seq !== previous?.seq ||
      checkpoint.hash !== previous.hash ||
      checkpoint.journal !== journal
    ) {
      return 'a checkpoint that does not speak of the record before it';
    }
    checkpoints += 1;
    signed = record.seq;
    return options.key === undefined ? undefined : checkpointProblem(checkpoint, options.key);
  };

  const segments = listSegments(directory);
  if (segments.length === 0) return result({ where: directory, seq: 0, what: 'there is no journal here' });
  for (const [index, segment] of segments.entries()) {
    let number = 0;
    for await (const line of readLines(segment.path)) {
      number += 1;
      const where = `${segment.path} line ${number}`;
      const record = readRecord(line);
      const expected: number = number === 1 ? segment.first : previous!.seq + 1;
      const at = (what: string): Verification => result({ where, seq: record?.seq ?? expected, what });
      if (number === 1 && previous !== undefined && segment.first !== previous.seq + 1) {
        return at(
          `the segment begins with number ${segment.first}, the one before it ends with ${previous.seq}`,
        );
      }
      if (record === undefined) return at('is no record of a journal');
      const wrong = check(record, number === 1, expected) ?? checkCheckpoint(record);
      if (wrong !== undefined) return at(wrong);
      while (shipped[0] !== undefined && shipped[0].seq <= record.seq) {
        const checkpoint = shipped.shift()!;
        const problem = shippedProblem(checkpoint, record, journal, first || record.seq, options.key);
        if (problem !== undefined) return at(problem);
      }
      if (first === 0) first = record.seq;
      previous = record;
      records += 1;
    }
    if (number === 0 && index < segments.length - 1) {
      return result({ where: segment.path, seq: segment.first, what: 'is empty' });
    }
  }
  const missing = shipped[0];
  if (missing === undefined) return result();
  const where = segments.at(-1)!.path;
  const last = previous?.seq ?? 0;
  const what = `the journal ends with number ${last}, but a checkpoint that was kept elsewhere speaks of number ${missing.seq}: the end was cut off`;
  return result({ where, seq: last + 1, what });
}

function shippedProblem(
  checkpoint: Checkpoint,
  record: ChainedRecord,
  journal: string,
  first: number,
  key: KeyObject | undefined,
): string | undefined {
  const unsigned = key === undefined ? undefined : checkpointProblem(checkpoint, key);
  if (unsigned !== undefined) return `a checkpoint that was kept elsewhere: ${unsigned}`;
  if (checkpoint.journal !== journal) return 'a checkpoint that was kept elsewhere is of another journal';
  // Older than what is kept.
  if (checkpoint.seq < first) return undefined;
  if (checkpoint.seq === record.seq && checkpoint.hash === record.hash) return undefined;
  return `is not what a checkpoint that was kept elsewhere says of number ${checkpoint.seq}: the journal was written anew`;
}

/** A checkpoint as an event of the journal, or as a SIEM gives it back; undefined when it is none. */
export function readCheckpoint(event: Readonly<Record<string, unknown>>): Checkpoint | undefined {
  const { journal, upTo, head, key, signature } = event;
  if (typeof journal !== 'string' || !Number.isSafeInteger(upTo) || typeof head !== 'string')
    return undefined;
  if (typeof key !== 'string' || typeof signature !== 'string') return undefined;
  return { journal, seq: upTo as number, hash: head, key, signature };
}
