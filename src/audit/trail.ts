import { open, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { listSegments } from './journal-files.js';

/** One line of an audit trail, decoded. */
export type TrailEvent = Readonly<Record<string, unknown>>;

/** Between two looks at a file that may have grown (milliseconds). */
const POLL = 250;
const PIECE = 256 * 1024;
const LONGEST_LINE = 4 * 2 ** 20;

/**
 * The events of an audit trail, oldest first: of a journal (a directory), or of a file with one event a line. What is no
 * event comes as undefined.
 *
 * @param follow goes on with what is written from then on; ends with the signal.
 * @throws Error when it cannot be read.
 */
export async function* readTrail(path: string, follow?: AbortSignal): AsyncGenerator<TrailEvent | undefined> {
  const isJournal = (await stat(path)).isDirectory();
  const files = (): string[] => (isJournal ? listSegments(path).map((segment) => segment.path) : [path]);
  let current = files()[0];
  if (current === undefined && follow === undefined) {
    throw new Error(`${path}: there is no journal in this directory`);
  }
  while (follow?.aborted !== true) {
    if (current !== undefined) {
      const file: string = current;
      const next = (): string | undefined => files().find((one) => one > file);
      yield* readFile(file, () => (isJournal && next() !== undefined ? 'done' : follow));
      current = isJournal ? next() : undefined;
      if (current === undefined) return;
    } else {
      await pause(follow);
      current = files()[0];
    }
  }
}

/** Reads to the end, and on for as long as `more` gives a signal that is not aborted. */
async function* readFile(
  path: string,
  more: () => AbortSignal | 'done' | undefined,
): AsyncGenerator<TrailEvent | undefined> {
  const file = await open(path);
  const buffer = Buffer.alloc(PIECE);
  let rest: Buffer = Buffer.alloc(0);
  let last = false;
  try {
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, PIECE);
      if (bytesRead === 0) {
        const waiting = more();
        // What was written between the last look and the next file's beginning.
        if (waiting === 'done' && !last) {
          last = true;
          continue;
        }
        if (waiting === undefined || waiting === 'done' || waiting.aborted) break;
        await pause(waiting);
        continue;
      }
      const bytes: Buffer = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
      let at = 0;
      for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, at)) {
        yield parse(bytes.toString('utf8', at, end));
        at = end + 1;
      }
      rest = bytes.subarray(at);
      if (rest.length > LONGEST_LINE)
        throw new Error(`${path} has a line of more than ${LONGEST_LINE} bytes`);
    }
  } finally {
    await file.close();
  }
}

function parse(line: string): TrailEvent | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as TrailEvent)
      : undefined;
  } catch {
    return undefined;
  }
}

const pause = (signal: AbortSignal | undefined): Promise<void> =>
  sleep(POLL, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
