import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import type { AuditEvent } from './event.js';
import { formatEvent } from './event-line.js';

/** Called when the line is written (or could not be). */
export type Written = (error: Error | undefined) => void;

export interface AuditWriter {
  /**
   * Queues one event. All events of one event-loop turn are written with one call to the system; `written` runs
   * after that. INVARIANT: a decision takes effect only in its `written` callback.
   *
   * @param durable it must outlast a power loss before it takes effect; a journal can promise that, a plain file or a
   *   pipe cannot.
   */
  record(event: AuditEvent, written?: Written, durable?: boolean): void;
  /** Writes what is queued now, synchronously. */
  flush(): void;
  /** Opens the file anew by its name, for log rotation. On failure the old one stays in use. @throws Error */
  reopen(): void;
  close(): void;
  /** Lines written, failed writes, and whether the last write worked. */
  readonly stats: { lines: number; failures: number; healthy: boolean };
}

/** Code of the error when records that are not delivered have used up the room of a journal. */
export const JOURNAL_FULL = 'JOURNAL_FULL';

/** The reason that a caller gets: without any path of this machine. */
const WHY: Readonly<Record<string, string>> = {
  ENOSPC: 'no space is left on its disk',
  EDQUOT: 'its quota is used up',
  EROFS: 'its file system is read-only',
  EIO: 'its disk fails',
  EFBIG: 'its file has become too large',
  [JOURNAL_FULL]: 'audit.keep.size is used up by records that a sink has not delivered',
};

/** The message for a call that was not made because its decision cannot be put on record. */
export function unrecorded(failure: Error): string {
  const why = WHY[String((failure as NodeJS.ErrnoException).code)];
  return `the audit trail cannot be written${why === undefined ? '' : ` (${why})`}, so the call was not made; tell the administrator of the guard`;
}

/** How long a full pipe may hold the guard up before the write counts as failed. */
const PIPE_TIMEOUT_MS = 2_000;

/**
 * @param file path (appended to, created 0600) or `-` for stdout.
 * @throws Error when the file cannot be opened.
 */
export function openAuditWriter(file: string): AuditWriter {
  try {
    return new LineWriter(file, open(file));
  } catch (error) {
    throw new Error(`the audit trail cannot be opened: ${(error as Error).message}`, { cause: error });
  }
}

const STDOUT = 1;
const open = (file: string): number => (file === '-' ? STDOUT : openSync(file, 'a', 0o600));

class LineWriter implements AuditWriter {
  readonly stats = { lines: 0, failures: 0, healthy: true };
  readonly #file: string;
  #fd: number;
  /** Lines of this turn of the event loop, and those that wait for them to be written. */
  #lines: string[] = [];
  #waiting: Written[] = [];
  #isScheduled = false;
  /** What an interrupted write left over: it must come first, or two lines would run into each other. */
  #rest: Buffer | undefined;

  constructor(file: string, fd: number) {
    this.#file = file;
    this.#fd = fd;
  }

  record(event: AuditEvent, written?: Written): void {
    this.#lines.push(formatEvent(event));
    if (written !== undefined) this.#waiting.push(written);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(this.flush);
  }

  readonly flush = (): void => {
    this.#isScheduled = false;
    if (this.#lines.length === 0 && this.#rest === undefined) return;
    const lines = this.#lines;
    const waiting = this.#waiting;
    this.#lines = [];
    this.#waiting = [];
    let failure: Error | undefined;
    try {
      if (this.#rest !== undefined) this.#write(this.#rest);
      this.#write(Buffer.from(lines.length === 1 ? lines[0]! : lines.join('')));
      this.stats.lines += lines.length;
      this.stats.healthy = true;
    } catch (error) {
      failure = error as Error;
      this.stats.failures += lines.length;
      this.stats.healthy = false;
    }
    for (const written of waiting) written(failure);
  };

  reopen(): void {
    if (this.#fd === STDOUT) return;
    this.flush();
    const old = this.#fd;
    this.#fd = open(this.#file);
    closeSync(old);
  }

  close(): void {
    this.flush();
    if (this.#fd === STDOUT) return;
    try {
      fsyncSync(this.#fd);
    } catch {
      // Pipes and devices cannot be synchronised.
    }
    closeSync(this.#fd);
  }

  /**
   * Writes all of it. A non-blocking pipe may be full: waits for the reader, bounded.
   *
   * @throws Error when not all of it could be written; what is left of a part comes first the next time.
   */
  #write(bytes: Buffer): void {
    let at = 0;
    let deadline = 0;
    while (at < bytes.length) {
      try {
        at += writeSync(this.#fd, bytes, at);
      } catch (error) {
        const now = Date.now();
        if (deadline === 0) deadline = now + PIPE_TIMEOUT_MS;
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN' && now < deadline) {
          Atomics.wait(PAUSE, 0, 0, 2);
          continue;
        }
        if (at === 0) throw error;
        this.#rest = bytes.subarray(at);
        throw new Error('the audit output takes no more data');
      }
    }
    this.#rest = undefined;
  }
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4));
