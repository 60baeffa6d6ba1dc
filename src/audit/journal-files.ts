import { createReadStream, readdirSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { follows, GENESIS, readRecord, type Head } from './chain.js';

/** One file of the journal. */
export interface Segment {
  readonly path: string;
  /** Sequence number of its first record; the file is named by it. */
  readonly first: number;
}

const NAME = /^(\d{16})\.jsonl$/;

export function segmentName(first: number): string {
  return `${String(first).padStart(16, '0')}.jsonl`;
}

/** The segments of a journal, oldest first. @throws Error when the directory cannot be read. */
export function listSegments(directory: string): Segment[] {
  return readdirSync(directory)
    .flatMap((name) => {
      const found = NAME.exec(name);
      return found === null ? [] : [{ path: join(directory, name), first: Number(found[1]) }];
    })
    .sort((a, b) => a.first - b.first);
}

/** The first record of every segment: it says which journal this is and what the segment follows. */
export interface SegmentHead {
  readonly journal: string;
  /** Hash of the record before this segment's first one. */
  readonly previous: string;
}

export function readSegmentHead(members: string): SegmentHead | undefined {
  const event = parseMembers(members);
  const { event: kind, journal, previous } = event ?? {};
  return kind === 'segment' && typeof journal === 'string' && typeof previous === 'string'
    ? { journal, previous }
    : undefined;
}

/** The event of a record, as JSON; undefined when it is no object. */
export function parseMembers(members: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return JSON.parse(`{${members}`) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

/** Where a journal that was left goes on. */
export interface Recovery {
  readonly journal: string | undefined;
  readonly head: Head;
  /** Bytes of a torn last record that were cut off. */
  readonly torn: number;
  /** What was found wrong beyond that, in words; it stays as it is, for `audit verify`. */
  readonly damage: string | undefined;
}

/**
 * Finds the head of a journal, reading its last segment only. A last line without its end was torn by a crash or a
 * power loss: it was never acknowledged, and it is cut off. Any other damage is evidence, and is
 * left alone.
 *
 * @throws Error when a file cannot be read or cut.
 */
export function recover(directory: string): Recovery {
  const segments = listSegments(directory);
  for (let at = segments.length - 1; at >= 0; at--) {
    const segment = segments[at]!;
    const found = recoverSegment(segment);
    if (found !== undefined) return found;
    if (segmentSize(segment).size > 0) throw new Error(`${segment.path} holds no record of an audit journal`);
    // Torn before its first record was whole: the one before it says where to go on.
    rmSync(segment.path);
  }
  return { journal: undefined, head: { seq: 0, hash: GENESIS }, torn: 0, damage: undefined };
}

function recoverSegment({ path, first }: Segment): Recovery | undefined {
  const bytes = readFileSync(path);
  const end = bytes.lastIndexOf(0x0a) + 1;
  const torn = bytes.length - end;
  if (torn > 0) truncateSync(path, end);
  const lines = bytes.toString('utf8', 0, Math.max(0, end - 1)).split('\n');
  let journal: string | undefined;
  let head: Head | undefined;
  let damage: string | undefined;
  lines.forEach((line, index) => {
    const record = readRecord(line);
    if (record === undefined) {
      if (line !== '') damage ??= `${path} line ${index + 1} is no record`;
      return;
    }
    if (head === undefined) {
      const opening = readSegmentHead(record.members);
      journal = opening?.journal;
      if (record.seq !== first || opening === undefined || !follows(opening.previous, record)) {
        damage ??= `${path} does not begin with its own first record`;
      }
    } else if (record.seq !== head.seq + 1 || !follows(head.hash, record)) {
      damage ??= `${path} line ${index + 1} does not follow the record before it`;
    }
    head = record;
  });
  return head === undefined ? undefined : { journal, head, torn, damage };
}

/** Bytes of a segment, and when it was last written (milliseconds since 1970). */
export function segmentSize({ path }: Segment): { readonly size: number; readonly changed: number } {
  const found = statSync(path, { throwIfNoEntry: false });
  return { size: found?.size ?? 0, changed: found?.mtimeMs ?? 0 };
}

/** Longer ones are no records: events are cut. */
const MAX_LINE_LENGTH = 4 * 2 ** 20;

/**
 * The lines of a file, without their ends. Only LF ends a line: a text may hold other characters that pass for one. What
 * follows the last LF is left out: it is being written, or torn.
 *
 * @throws Error when the file cannot be read, or a line is longer than any record.
 */
export async function* readLines(path: string): AsyncGenerator<string> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const piece of createReadStream(path) as AsyncIterable<Buffer>) {
    const bytes = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    let at = 0;
    for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, at)) {
      yield bytes.toString('utf8', at, end);
      at = end + 1;
    }
    rest = bytes.subarray(at);
    if (rest.length > MAX_LINE_LENGTH)
      throw new Error(`${path} has a line of more than ${MAX_LINE_LENGTH} bytes`);
  }
}
