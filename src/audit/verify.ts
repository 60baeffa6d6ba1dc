import type { KeyObject } from 'node:crypto';
import { follows, GENESIS, readRecord, type ChainedRecord } from './chain.js';
import { checkpointProblem, type Checkpoint } from './checkpoint.js';
import { listSegments, parseMembers, readLines, readSegmentHead, type Segment } from './journal-files.js';

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
  const check = new JournalCheck(options);
  const segments = listSegments(directory);
  if (segments.length === 0) {
    return check.result({ where: directory, seq: 0, what: 'there is no journal here' });
  }
  for (const [index, segment] of segments.entries()) {
    let number = 0;
    for await (const line of readLines(segment.path)) {
      number += 1;
      const wrong = check.line(line, number === 1 ? segment : undefined);
      if (wrong !== undefined) return check.result({ where: `${segment.path} line ${number}`, ...wrong });
    }
    if (number === 0 && index < segments.length - 1) {
      return check.result({ where: segment.path, seq: segment.first, what: 'is empty' });
    }
  }
  const missing = check.missingEnd();
  return check.result(missing === undefined ? undefined : { where: segments.at(-1)!.path, ...missing });
}

type Wrong = Omit<Problem, 'where'>;

/** What has been checked so far, record by record. */
class JournalCheck {
  readonly #key: KeyObject | undefined;
  /** Checkpoints that were kept elsewhere and are still to come, in order. */
  readonly #shipped: Checkpoint[];
  #journal = '';
  #previous: { readonly seq: number; readonly hash: string } | undefined;
  #first = 0;
  #records = 0;
  #checkpoints = 0;
  /** The last checkpoint. */
  #signed = 0;

  constructor({ key, shipped = [] }: VerifyOptions) {
    this.#key = key;
    this.#shipped = [...shipped].sort((a, b) => a.seq - b.seq);
  }

  /** @param opens the segment that begins with this line. */
  line(line: string, opens: Segment | undefined): Wrong | undefined {
    const previous = this.#previous;
    const record = readRecord(line);
    const expected = opens?.first ?? previous!.seq + 1;
    const at = (what: string): Wrong => ({ seq: record?.seq ?? expected, what });
    if (opens !== undefined && previous !== undefined && opens.first !== previous.seq + 1) {
      return at(`the segment begins with number ${opens.first}, the one before it ends with ${previous.seq}`);
    }
    if (record === undefined) return at('is no record of a journal');
    const wrong =
      this.#chainProblem(record, opens !== undefined, expected) ??
      this.#checkpointProblem(record) ??
      this.#shippedProblem(record);
    if (wrong !== undefined) return at(wrong);
    if (this.#first === 0) this.#first = record.seq;
    this.#previous = record;
    this.#records += 1;
    return undefined;
  }

  /** A checkpoint that was kept elsewhere speaks of more than there is. */
  missingEnd(): Wrong | undefined {
    const missing = this.#shipped[0];
    if (missing === undefined) return undefined;
    const last = this.#previous?.seq ?? 0;
    const what = `the journal ends with number ${last}, but a checkpoint that was kept elsewhere speaks of number ${missing.seq}: the end was cut off`;
    return { seq: last + 1, what };
  }

  result(problem: Problem | undefined): Verification {
    const last = this.#previous?.seq ?? 0;
    return {
      journal: this.#journal,
      records: this.#records,
      first: this.#first,
      last,
      checkpoints: this.#checkpoints,
      unsigned: last - this.#signed,
      problem,
    };
  }

  /** What is wrong with the record itself, in words. */
  #chainProblem(record: ChainedRecord, opens: boolean, expected: number): string | undefined {
    const previous = this.#previous;
    const head = opens ? readSegmentHead(record.members) : undefined;
    if (opens && head === undefined) return 'the segment does not begin with its own first record';
    if (head !== undefined) {
      if (this.#journal !== '' && head.journal !== this.#journal)
        return `belongs to another journal (${head.journal})`;
      if (previous !== undefined && head.previous !== previous.hash) {
        return 'does not follow the segment before it: records were removed or changed there';
      }
      this.#journal = head.journal;
    }
    if (record.seq !== expected)
      return `number ${record.seq} where ${expected} is expected: records were removed, inserted or swapped`;
    if (!follows(previous?.hash ?? head?.previous ?? GENESIS, record)) {
      return 'its hash is wrong: this record or the order of the records was changed';
    }
    return undefined;
  }

  #checkpointProblem(record: ChainedRecord): string | undefined {
    const event = parseMembers(record.members);
    if (event?.['event'] !== 'checkpoint') return undefined;
    const checkpoint = readCheckpoint(event);
    if (checkpoint === undefined) return 'a checkpoint that cannot be read';
    const { seq, hash, journal } = checkpoint;
    if (seq !== this.#previous?.seq || hash !== this.#previous.hash || journal !== this.#journal) {
      return 'a checkpoint that does not speak of the record before it';
    }
    this.#checkpoints += 1;
    this.#signed = record.seq;
    return this.#key === undefined ? undefined : checkpointProblem(checkpoint, this.#key);
  }

  /** Of the checkpoints that were kept elsewhere, those up to this record. */
  #shippedProblem(record: ChainedRecord): string | undefined {
    while (this.#shipped[0] !== undefined && this.#shipped[0].seq <= record.seq) {
      const checkpoint = this.#shipped.shift()!;
      const unsigned = this.#key === undefined ? undefined : checkpointProblem(checkpoint, this.#key);
      if (unsigned !== undefined) return `a checkpoint that was kept elsewhere: ${unsigned}`;
      if (checkpoint.journal !== this.#journal)
        return 'a checkpoint that was kept elsewhere is of another journal';
      // Older than what is kept.
      if (checkpoint.seq < (this.#first || record.seq)) continue;
      if (checkpoint.seq !== record.seq || checkpoint.hash !== record.hash)
        return `is not what a checkpoint that was kept elsewhere says of number ${checkpoint.seq}: the journal was written anew`;
    }
    return undefined;
  }
}

/** A checkpoint as an event of the journal, or as a SIEM gives it back; undefined when it is none. */
export function readCheckpoint(event: Readonly<Record<string, unknown>>): Checkpoint | undefined {
  const { journal, upTo, head, key, signature } = event;
  if (typeof journal !== 'string' || !Number.isSafeInteger(upTo) || typeof head !== 'string')
    return undefined;
  if (typeof key !== 'string' || typeof signature !== 'string') return undefined;
  return { journal, seq: upTo as number, hash: head, key, signature };
}
