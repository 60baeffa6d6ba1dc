import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { isObject } from '../base/json.js';
import { readRecord } from './chain.js';
import { listSegments } from './journal-files.js';

/** One event of an audit trail, decoded. */
export type TrailEvent = Readonly<Record<string, unknown>>;

/** One line of an audit trail. */
export interface TrailLine {
  /** As it stands, without its end. */
  readonly bytes: Buffer;
  /** Undefined: it is no event, or no record of the journal. */
  readonly event: TrailEvent | undefined;
}

export interface TrailOptions {
  /** Goes on with what is written from now on, until this is aborted. */
  readonly follow?: AbortSignal;
  /** Segments of a journal that hold nothing from then on (milliseconds since 1970) may be left out. */
  readonly since?: number;
}

/** Between two reads of a file that may have grown. */
const POLL_INTERVAL_MS = 250;
const READ_SIZE = 256 * 1024;
const MAX_LINE_LENGTH = 4 * 2 ** 20;
/** A clock may have been set back by this much (ms) without `since` skipping a segment that is needed. */
const CLOCK_SET_BACK = 600_000;

/**
 * The lines of an audit trail, oldest first, several at a time: of a journal (a directory), or of a file with one event a
 * line. In constant memory.
 *
 * @throws Error when it cannot be read.
 */
export async function* readTrail(
  path: string,
  { follow, since }: TrailOptions = {},
): AsyncGenerator<readonly TrailLine[]> {
  const isJournal = statSync(path).isDirectory();
  const parse = isJournal ? parseRecord : parseEvent;
  const files = (): string[] => (isJournal ? listSegments(path).map((segment) => segment.path) : [path]);
  const all = files();
  let current = isJournal && since !== undefined ? all[firstNeeded(all, since)] : all[0];
  if (current === undefined && follow === undefined) {
    throw new Error(`${path}: there is no journal in this directory`);
  }
  while (follow?.aborted !== true) {
    if (current !== undefined) {
      const file: string = current;
      const next = (): string | undefined => files().find((name) => name > file);
      yield* readFile(file, parse, () => (isJournal && next() !== undefined ? 'done' : follow));
      current = isJournal ? next() : undefined;
      if (current === undefined) return;
    } else {
      await pause(follow);
      current = files()[0];
    }
  }
}

/** Every record of a segment is older than the first one of the next, unless the clock was set back. */
function firstNeeded(files: readonly string[], since: number): number {
  for (let at = files.length - 1; at > 0; at--) {
    const began = beginning(files[at]!);
    if (began !== undefined && began <= since - CLOCK_SET_BACK) return at;
  }
  return 0;
}

/** Time of the first record of a segment. */
function beginning(path: string): number | undefined {
  const buffer = Buffer.alloc(4096);
  const fd = openSync(path, 'r');
  try {
    const text = buffer.toString('utf8', 0, readSync(fd, buffer, 0, buffer.length, 0));
    const ms = Date.parse(String(parseRecord(text.split('\n', 1)[0]!)?.['time']));
    return Number.isNaN(ms) ? undefined : ms;
  } finally {
    closeSync(fd);
  }
}

type Parse = (line: string) => TrailEvent | undefined;

/** Reads to the end, and on for as long as `more` gives a signal that is not aborted. */
async function* readFile(
  path: string,
  parse: Parse,
  more: () => AbortSignal | 'done' | undefined,
): AsyncGenerator<readonly TrailLine[]> {
  const file = await open(path);
  const buffer = Buffer.alloc(READ_SIZE);
  let rest: Buffer = Buffer.alloc(0);
  let last = false;
  try {
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, READ_SIZE);
      if (bytesRead === 0) {
        const waiting = more();
        // Read once more: records may have been written between the last read and the start of the next file.
        if (waiting === 'done' && !last) {
          last = true;
          continue;
        }
        if (waiting === undefined || waiting === 'done' || waiting.aborted) break;
        await pause(waiting);
        continue;
      }
      const bytes: Buffer = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
      const lines: TrailLine[] = [];
      let at = 0;
      for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, at)) {
        lines.push({ bytes: bytes.subarray(at, end), event: parse(bytes.toString('utf8', at, end)) });
        at = end + 1;
      }
      rest = bytes.subarray(at);
      if (rest.length > MAX_LINE_LENGTH)
        throw new Error(`${path} has a line of more than ${MAX_LINE_LENGTH} bytes`);
      if (lines.length > 0) yield lines;
    }
    // A file that was edited or cut out may end without a line end; a torn record of a journal was never on record.
    const event = parse === parseEvent ? parse(rest.toString('utf8')) : undefined;
    if (event !== undefined) yield [{ bytes: rest, event }];
  } finally {
    await file.close();
  }
}

const parseRecord: Parse = (line) => (readRecord(line) === undefined ? undefined : parseEvent(line));

const parseEvent: Parse = (line) => {
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
};

const pause = (signal: AbortSignal | undefined): Promise<void> =>
  sleep(POLL_INTERVAL_MS, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
