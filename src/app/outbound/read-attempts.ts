import { open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isObject } from '../../base/json.js';
import { writeWhole } from '../../store/write-whole.js';

/** Reads the queue of the outbound process. */
export interface AttemptReader {
  stop(): Promise<void>;
}

const SEGMENT = /^\d{8}\.jsonl$/;
const POLL_INTERVAL_MS = 250;
/** Read at once (bytes). A longer line is nothing that the outbound process writes. */
const READ_SIZE = 256 * 1024;

interface Cursor {
  /** File name of the segment that is read. */
  readonly segment: string;
  /** Bytes of it that are on record. */
  readonly offset: number;
}

/**
 * Follows the segments in a directory in the order of their names, from where it stopped the last time, and takes away
 * those that are done. `take` has a line on record when it resolves; a crash before the cursor is kept shows it the
 * last lines again, so that each comes at least once.
 *
 * @param take one entry of the queue; its rejection stops the reading until the next poll.
 */
export function readAttempts(
  directory: string,
  take: (entry: Readonly<Record<string, unknown>>) => Promise<void>,
  warn: (message: string) => void,
): AttemptReader {
  const cursorFile = join(directory, 'cursor.json');
  const stopping = new AbortController();
  let cursor: Cursor | undefined;
  let warned = '';

  const keep = async (next: Cursor): Promise<void> => {
    await writeWhole(cursorFile, JSON.stringify(next));
    cursor = next;
  };

  /** @returns whether there may be more. */
  const readOn = async (): Promise<boolean> => {
    const segments = (await readdir(directory)).filter((name) => SEGMENT.test(name)).sort();
    cursor ??= await readCursor(cursorFile);
    const at = cursor;
    // Numbers below the cursor's: the directory was emptied, and the queue starts again.
    const segment = segments.find((name) => at === undefined || name >= at.segment) ?? segments[0];
    if (segment === undefined) return false;
    const offset = at?.segment === segment ? at.offset : 0;
    const path = join(directory, segment);
    const { text, bytes } = await readLines(path, offset, (skipped) =>
      warn(`${path}: ${skipped} bytes without a line end were left out`),
    );
    for (const line of text === '' ? [] : text.split('\n')) {
      const entry = parse(line);
      if (entry === undefined) warn(`${path}: a line that is no JSON object was left out`);
      else await take(entry);
    }
    if (bytes > 0) {
      await keep({ segment, offset: offset + bytes });
      return true;
    }
    // Nothing more in it, and a later one was begun: this one is done.
    if (segment === segments.at(-1) || (await stat(path)).size > offset) return false;
    await keep({ segment: segments[segments.indexOf(segment) + 1]!, offset: 0 });
    await rm(path, { force: true });
    return true;
  };

  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      let more = false;
      try {
        more = await readOn();
        warned = '';
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        // The outbound process has not been started yet.
        if (code !== 'ENOENT' && message !== warned) warn((warned = message));
      }
      if (!more) await sleep(POLL_INTERVAL_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  };
  const done = run();
  return {
    stop() {
      stopping.abort();
      return done;
    },
  };
}

async function readCursor(file: string): Promise<Cursor | undefined> {
  try {
    const { segment, offset } = JSON.parse(await readFile(file, 'utf8')) as Cursor;
    return SEGMENT.test(segment) && Number.isSafeInteger(offset) && offset >= 0
      ? { segment, offset }
      : undefined;
  } catch {
    // Lost or damaged: everything that is still there is reported once more.
    return undefined;
  }
}

/** The whole lines from `offset` on, without the last line end, and how many bytes they are. */
async function readLines(
  path: string,
  offset: number,
  onSkipped: (bytes: number) => void,
): Promise<{ readonly text: string; readonly bytes: number }> {
  const file = await open(path);
  try {
    const buffer = Buffer.alloc(READ_SIZE);
    const { bytesRead } = await file.read(buffer, 0, READ_SIZE, offset);
    const end = buffer.subarray(0, bytesRead).lastIndexOf(0x0a);
    if (end >= 0) return { text: buffer.toString('utf8', 0, end), bytes: end + 1 };
    if (bytesRead < READ_SIZE) return { text: '', bytes: 0 };
    onSkipped(bytesRead);
    return { text: '', bytes: bytesRead };
  } finally {
    await file.close();
  }
}

function parse(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
