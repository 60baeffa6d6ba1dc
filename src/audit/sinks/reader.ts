import { closeSync, openSync, readSync } from 'node:fs';
import { readRecord } from '../chain.js';
import { listSegments, type Segment } from '../journal-files.js';
import { BEGINNING, type Cursor } from './cursor.js';

/** One record, and the cursor behind it. */
export interface ReadRecord {
  readonly line: string;
  readonly after: Cursor;
}

export interface Reading {
  readonly records: readonly ReadRecord[];
  /** Records that are gone from the journal and were not read. */
  readonly missing: number;
  /** The last one of these. */
  readonly missingTo: number;
  /** Lines that are no records: the journal was changed; `audit verify` shows where. */
  readonly damaged: number;
  /** Behind the last line that was looked at. */
  readonly end: Cursor;
}

const READ_SIZE = 256 * 1024;
/** Longer ones are no records: events are cut. */
const MAX_LINE_LENGTH = 4 * 2 ** 20;

/**
 * Reads what follows a cursor, up to so many records and bytes (one record at least). Empty at the end of the journal.
 *
 * It reads in the turn of the event loop, as the journal writes: what a failed write left for a moment is never seen.
 *
 * @throws Error when a file cannot be read, or a line is longer than any record.
 */
export function readBatch(
  directory: string,
  from: Cursor,
  limits: { records: number; bytes: number },
): Reading {
  const segments = listSegments(directory);
  const records: ReadRecord[] = [];
  let at = from;
  let missing = 0;
  let missingTo = 0;
  let damaged = 0;
  let bytes = 0;
  const known = segments.some(({ first }) => first === from.segment);
  for (const segment of segments) {
    if (segment.first < from.segment) continue;
    if (segment.first !== at.segment) {
      // Older records were removed (`onFull: drop`). A cursor ahead of the journal is from before a power loss.
      if (at.segment !== 0 && segment.first > at.seq + 1) {
        missing += segment.first - at.seq - 1;
        missingTo = segment.first - 1;
      }
      at = { ...at, segment: segment.first, start: 0, offset: 0 };
    } else if (at === from && known && !isThere(segment, from)) {
      // The journal is not the one that was read: from the beginning of the file, rather twice than never.
      at = { ...BEGINNING, segment: segment.first, seq: segment.first - 1 };
    }
    for (const { line, start, end } of linesOf(segment, at.offset)) {
      const record = readRecord(line);
      if (record === undefined) {
        damaged += 1;
        at = { ...at, offset: end };
        continue;
      }
      if (records.length > 0 && bytes + line.length > limits.bytes)
        return { records, missing, missingTo, damaged, end: at };
      at = { segment: segment.first, start, offset: end, seq: record.seq, hash: record.hash };
      records.push({ line, after: at });
      bytes += line.length;
      if (records.length >= limits.records) return { records, missing, missingTo, damaged, end: at };
    }
  }
  return { records, missing, missingTo, damaged, end: at };
}

/** Does the last record of the cursor still stand where it stood? */
function isThere(segment: Segment, { start, offset, seq, hash }: Cursor): boolean {
  if (offset === 0) return true;
  if (offset - start > MAX_LINE_LENGTH || start >= offset) return false;
  const buffer = Buffer.alloc(offset - start);
  const fd = openSync(segment.path, 'r');
  try {
    if (readSync(fd, buffer, 0, buffer.length, start) < buffer.length) return false;
  } finally {
    closeSync(fd);
  }
  const found = readRecord(buffer.toString('utf8', 0, buffer.indexOf(0x0a)));
  return found !== undefined && found.seq === seq && found.hash === hash;
}

function* linesOf({ path }: Segment, from: number): Generator<{ line: string; start: number; end: number }> {
  const buffer = Buffer.alloc(READ_SIZE);
  const fd = openSync(path, 'r');
  let rest: Buffer = Buffer.alloc(0);
  /** Where `rest` begins. */
  let start = from;
  try {
    for (;;) {
      const length = readSync(fd, buffer, 0, READ_SIZE, start + rest.length);
      if (length === 0) return;
      const bytes = Buffer.concat([rest, buffer.subarray(0, length)]);
      let at = 0;
      for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, at)) {
        yield { line: bytes.toString('utf8', at, end), start: start + at, end: start + end + 1 };
        at = end + 1;
      }
      rest = bytes.subarray(at);
      start += at;
      if (rest.length > MAX_LINE_LENGTH)
        throw new Error(`${path} has a line of more than ${MAX_LINE_LENGTH} bytes`);
    }
  } finally {
    closeSync(fd);
  }
}
