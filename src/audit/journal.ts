import { randomUUID } from 'node:crypto';
import {
  closeSync,
  fdatasync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { chain, type Head } from './chain.js';
import { openSigner } from './checkpoint.js';
import { timestamp } from './clock.js';
import { formatEvent } from './event.js';
import { lockFile } from '../store/lock.js';
import { makeRoom, type Retention } from './journal-room.js';
import { recover, segmentName, syncDirectory } from './journal-files.js';
import type { AuditWriter, Written } from './writer.js';

export interface JournalOptions {
  readonly directory: string;
  /** A segment is closed when it has this many bytes, or this many milliseconds. */
  readonly segmentSize: number;
  readonly segmentAge: number;
  readonly retention: Retention;
  /** A checkpoint is signed after this many records, and after this many milliseconds in which there were any. */
  readonly checkpointRecords: number;
  readonly checkpointInterval: number;
  /** Private key in PEM; made when it is not there. */
  readonly key: string;
  /** A device that does not answer within this time counts as failed (milliseconds). */
  readonly patience: number;
  /** Told when it can no longer be written, and when it can again. */
  readonly warn: (message: string) => void;
}

/** The audit journal of a guard, open for writing. */
export interface Journal extends AuditWriter {
  readonly directory: string;
  readonly id: string;
  /** Number of the last record. */
  last(): number;
  /** Called after records were written; senders read them from the files. */
  onRecords(listener: () => void): void;
}

/** Records whose write failed are tried again; up to this many bytes of them are kept. */
const RETRY_LIMIT = 8 * 2 ** 20;
/** The longest that a record waits for the disk, and between two tries while nothing comes in (milliseconds). */
const SYNC_BEHIND = 200;

/** What the system says of a file system that is gone or read-only: its open files will not work again, whatever is mended. */
const GONE: ReadonlySet<unknown> = new Set(['EROFS', 'EIO', 'ESTALE', 'ENODEV', 'ENXIO']);

/**
 * Opens the journal: finds its end, cuts off what a crash tore, begins a segment.
 *
 * All records of one event-loop turn are written with one call. A record that asks for it is also on the disk itself
 * (fdatasync) before its `written` is called; several wait for one such call. The others are handed to the system,
 * which survives the guard's own end, and follow on the disk within 200 ms.
 *
 * INVARIANT: `written` is called without an error only for what is in the journal.
 *
 * @throws Error when the directory, the key or the end of the journal cannot be used.
 */
export function openJournal(options: JournalOptions): Journal {
  const { directory } = options;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const unlock = lockFile(
    join(directory, 'lock'),
    (pid) => `the audit journal is in use by process ${pid}; give each guard its own`,
  );
  const found = recover(directory);
  const id = found.journal ?? randomUUID();
  const signer = openSigner(options.key);
  const stats = { lines: 0, failures: 0, healthy: true };
  const listeners: (() => void)[] = [];

  let head: Head = found.head;
  let fd = -1;
  let length = 0;
  let opened = 0;
  /** The file was on a file system that is gone: it goes on in a new one, as soon as that can be made. */
  let isGone = false;
  /** It happened while the file was on its way to the disk. */
  let isSyncLost = false;

  let lines: string[] = [];
  let waiting: { readonly written: Written; readonly durable: boolean }[] = [];
  let scheduled = false;
  /** Formatted lines whose write failed, oldest first. */
  let retry: string[] = [];
  let retryBytes = 0;
  let lost = 0;
  let checkpointed = { seq: head.seq, at: Date.now() };

  let syncing = false;
  /** The call to the disk has not come back within the patience: nobody waits for it any more. */
  let stalled: Error | undefined;
  let unsynced = false;
  let awaiting: Written[] = [];
  /** Closed segments that are still on their way to the disk. */
  let closing: number[] = [];

  const own = (kind: string, members: string): string =>
    `{"v":1,"event":"${kind}","time":"${timestamp()}","id":"${id}.${head.seq + 1}",${members}}\n`;

  /** Writes lines behind the head; the head moves when all of them are written. @throws Error */
  const append = (events: readonly string[]): void => {
    let next = head;
    let text = '';
    for (const event of events) {
      const { line, head: after } = chain(next, event);
      text += line;
      next = after;
    }
    const bytes = Buffer.from(text);
    try {
      for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
    } catch (error) {
      // A record is there whole or not at all.
      ftruncateSync(fd, length);
      throw error;
    }
    length += bytes.length;
    head = next;
    unsynced = true;
    stats.lines += events.length;
  };

  /** @throws Error when the new segment cannot be made; the old one stays in use. */
  const beginSegment = (): void => {
    const path = join(directory, segmentName(head.seq + 1));
    const before = { fd, length };
    fd = openSync(path, 'ax', 0o600);
    length = 0;
    try {
      append([own('segment', `"journal":"${id}","previous":"${head.hash}"`)]);
      syncDirectory(directory);
    } catch (error) {
      closeSync(fd);
      rmSync(path, { force: true });
      ({ fd, length } = before);
      throw error;
    }
    opened = Date.now();
    if (before.fd < 0) return;
    fsyncSync(before.fd);
    if (syncing) closing.push(before.fd);
    else closeSync(before.fd);
  };

  const checkpoint = (): void => {
    const { seq, hash, key, signature } = signer.sign(id, head);
    append([
      own(
        'checkpoint',
        `"journal":"${id}","upTo":${seq},"head":"${hash}","key":"${key}","signature":"${signature}"`,
      ),
    ]);
    checkpointed = { seq: head.seq, at: Date.now() };
  };

  const isDue = (now: number): boolean =>
    head.seq > checkpointed.seq &&
    (head.seq - checkpointed.seq >= options.checkpointRecords ||
      now - checkpointed.at >= options.checkpointInterval);

  const flush = (): void => {
    scheduled = false;
    const batch = lines;
    const callbacks = waiting;
    lines = [];
    waiting = [];
    let failure: Error | undefined;
    try {
      const now = Date.now();
      if (isGone) {
        beginSegment();
        isGone = false;
      } else if (
        stalled === undefined &&
        (length >= options.segmentSize || now - opened >= options.segmentAge)
      ) {
        const removed = makeRoom(directory, options.retention, now);
        if (head.seq > checkpointed.seq) checkpoint();
        beginSegment();
        if (removed !== undefined) append([own('journal', removed)]);
      }
      if (retry.length > 0 || lost > 0) writeAgain();
      if (batch.length > 0) append(batch);
      if (isDue(now)) checkpoint();
      if (!stats.healthy && stalled === undefined) {
        options.warn('the audit journal can be written again');
        stats.healthy = true;
      }
    } catch (error) {
      failure = error as Error;
      failed(failure, batch.length);
      keepForLater(batch);
    }
    for (const { written, durable } of callbacks) {
      if (failure === undefined && durable && stalled === undefined) awaiting.push(written);
      else written(failure ?? (durable ? stalled : undefined));
    }
    if (awaiting.length > 0) sync();
    if (failure === undefined && batch.length > 0) for (const listener of listeners) listener();
  };

  const failed = (error: Error, records: number): void => {
    if (GONE.has((error as NodeJS.ErrnoException).code)) leave();
    if (stats.healthy) options.warn(`the audit journal cannot be written: ${error.message}`);
    stats.healthy = false;
    stats.failures += records;
  };

  /** Gives the file up. As long as it were open, nobody could mend the file system or mount it anew. */
  const leave = (): void => {
    isGone = true;
    if (fd < 0) return;
    if (syncing) {
      closing.push(fd);
      isSyncLost = true;
    } else {
      try {
        closeSync(fd);
      } catch {
        // It is given up all the same.
      }
    }
    fd = -1;
    unsynced = false;
  };

  const keepForLater = (batch: readonly string[]): void => {
    for (const line of batch) {
      if (retryBytes + line.length > RETRY_LIMIT) lost += 1;
      else {
        retry.push(line);
        retryBytes += line.length;
      }
    }
  };

  /** What could not be written while the disk was full, and how much of it there is no memory of. */
  const writeAgain = (): void => {
    append([...retry, own('journal', `"kind":"recovered","late":${retry.length},"lost":${lost}`)]);
    retry = [];
    retryBytes = 0;
    lost = 0;
  };

  /** One at a time: those that come while it runs share the next one. */
  const sync = (): void => {
    if (syncing) return;
    syncing = true;
    isSyncLost = false;
    unsynced = false;
    let waiters = awaiting;
    awaiting = [];
    const tell = (error: Error | undefined): void => {
      const told = waiters;
      waiters = [];
      for (const written of told) written(error);
    };
    // A device that hangs must not hang every caller: they are told, and the guard decides what that means.
    const timer = setTimeout(() => {
      stalled = new Error(`the audit journal was not on the disk within ${options.patience} ms`);
      waiters.push(...awaiting);
      awaiting = [];
      failed(stalled, waiters.length);
      tell(stalled);
    }, options.patience);
    const file = fd;
    fdatasync(file, (error) => {
      clearTimeout(timer);
      syncing = false;
      stalled = undefined;
      // A segment that was closed meanwhile was synchronised then.
      const failure = file === fd || isSyncLost ? error : null;
      if (failure !== null) {
        // What a failed call has not written will never be written by the next one, and it may have been at these as
        // well: it goes on in a new file.
        waiters.push(...awaiting);
        awaiting = [];
        failed(failure, waiters.length);
        opened = 0;
      }
      tell(failure ?? undefined);
      for (const one of closing) closeSync(one);
      closing = [];
      if (awaiting.length > 0) sync();
    });
  };

  beginSegment();
  if (found.torn > 0 || found.damage !== undefined) {
    const damage = found.damage === undefined ? '' : `,"damage":${JSON.stringify(found.damage)}`;
    append([own('journal', `"kind":"repaired","torn":${found.torn}${damage}`)]);
  }
  const ticker = setInterval(() => {
    if (!stats.healthy || isDue(Date.now())) flush();
    else if (unsynced && !syncing) sync();
  }, SYNC_BEHIND);
  ticker.unref();

  return {
    directory,
    id,
    last: () => head.seq,
    stats,
    flush,
    onRecords: (listener) => void listeners.push(listener),
    record(event, written, durable = false) {
      lines.push(formatEvent(event, timestamp()));
      if (written !== undefined) waiting.push({ written, durable });
      if (!scheduled) {
        scheduled = true;
        setImmediate(flush);
      }
    },
    reopen() {},
    close() {
      clearInterval(ticker);
      flush();
      try {
        if (head.seq > checkpointed.seq) checkpoint();
        // It would hang as well.
        if (stalled === undefined) fsyncSync(fd);
      } catch {
        stats.healthy = false;
      }
      if (syncing) closing.push(fd);
      else if (fd >= 0) closeSync(fd);
      unlock();
    },
  };
}
