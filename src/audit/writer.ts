import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { timestamp } from './clock.js';
import { formatEvent, type AuditEvent } from './event.js';

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

/** How long a full pipe may hold the guard up before the write counts as failed (milliseconds). */
const PIPE_PATIENCE = 2_000;

/**
 * @param file path (appended to, created 0600) or `-` for stdout.
 * @throws Error when the file cannot be opened.
 */
export function openAuditWriter(file: string): AuditWriter {
  const open = (): number => (file === '-' ? 1 : openSync(file, 'a', 0o600));
  let fd = open();
  const stats = { lines: 0, failures: 0, healthy: true };
  let lines: string[] = [];
  let waiting: Written[] = [];
  let scheduled = false;
  // What an interrupted write left over: it must come first, or two lines would run into each other.
  let torn: Buffer | undefined;

  const flush = (): void => {
    scheduled = false;
    if (lines.length === 0 && torn === undefined) return;
    const batch = lines;
    const callbacks = waiting;
    lines = [];
    waiting = [];
    let failure: Error | undefined;
    try {
      if (torn !== undefined) {
        torn = writeAll(fd, torn);
        if (torn !== undefined) throw new Error('the audit output takes no more data');
      }
      torn = writeAll(fd, Buffer.from(batch.length === 1 ? batch[0]! : batch.join('')));
      if (torn !== undefined) throw new Error('the audit output takes no more data');
      stats.lines += batch.length;
      stats.healthy = true;
    } catch (error) {
      failure = error as Error;
      stats.failures += batch.length;
      stats.healthy = false;
    }
    for (const callback of callbacks) callback(failure);
  };

  return {
    stats,
    flush,
    record(event, written) {
      lines.push(formatEvent(event, timestamp()));
      if (written !== undefined) waiting.push(written);
      if (!scheduled) {
        scheduled = true;
        setImmediate(flush);
      }
    },
    reopen() {
      if (fd === 1) return;
      flush();
      const old = fd;
      fd = open();
      closeSync(old);
    },
    close() {
      flush();
      if (fd !== 1) {
        try {
          fsyncSync(fd);
        } catch {
          // Pipes and devices cannot be synchronised.
        }
        closeSync(fd);
      }
    },
  };
}

/**
 * Writes all of `data`. A non-blocking pipe may be full: waits for the reader, bounded.
 *
 * @returns what could not be written after a part of it was, else undefined.
 * @throws Error when nothing could be written.
 */
function writeAll(fd: number, data: Buffer): Buffer | undefined {
  let at = 0;
  let deadline = 0;
  while (at < data.length) {
    try {
      at += writeSync(fd, data, at);
    } catch (error) {
      const now = Date.now();
      if (deadline === 0) deadline = now + PIPE_PATIENCE;
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN' && now < deadline) {
        Atomics.wait(PAUSE, 0, 0, 2);
        continue;
      }
      if (at === 0) throw error;
      return data.subarray(at);
    }
  }
  return undefined;
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4));
