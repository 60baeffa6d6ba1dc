import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { lockFile } from '../store/lock.js';
import { makeNamedDirectory } from '../store/named-files.js';
import { openSigner, type Signer } from './checkpoint.js';
import type { AuditEvent } from './event.js';
import { formatEvent } from './event-line.js';
import { GroupCommit } from './group-commit.js';
import { recover } from './journal-files.js';
import { makeRoom, type Retention } from './journal-room.js';
import { SegmentWriter } from './segment.js';
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
  readonly timeout: number;
  /** Called when it can no longer be written, and when it can again. */
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
const MAX_LATE_BYTES = 8 * 2 ** 20;
/** The longest that a record waits for the disk, and between two tries while nothing comes in. */
const SYNC_INTERVAL_MS = 200;

/** Codes of a file system that is gone or read-only: its open files will not work again, whatever is mended. */
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
  makeNamedDirectory('audit.journal', directory, 0o700);
  const unlock = lockFile(
    join(directory, 'lock'),
    (pid) => `the audit journal is in use by process ${pid}; give each guard its own`,
  );
  const found = recover(directory);
  const segment = new SegmentWriter(directory, found.journal ?? randomUUID(), found.head);
  const signer = openSigner(options.key);
  segment.begin();
  const journal = new SegmentedJournal(options, segment, signer, unlock);
  if (found.torn > 0 || found.damage !== undefined) journal.appendRepair(found.torn, found.damage);
  return journal;
}

/** A record that is to be written, and whether it has to be on the disk itself. */
interface Waiting {
  readonly written: Written;
  readonly durable: boolean;
}

class SegmentedJournal implements Journal {
  readonly directory: string;
  readonly stats = { lines: 0, failures: 0, healthy: true };
  readonly #options: JournalOptions;
  readonly #segment: SegmentWriter;
  readonly #signer: Signer;
  readonly #commit: GroupCommit;
  readonly #unlock: () => void;
  readonly #ticker: NodeJS.Timeout;
  readonly #listeners: (() => void)[] = [];
  /** Events of this turn of the event loop, and those that wait for them to be written. */
  #lines: string[] = [];
  #waiting: Waiting[] = [];
  #isScheduled = false;
  /** Events whose write failed, oldest first, and how many there was no room for. */
  #late: { lines: string[]; bytes: number; lost: number } = { lines: [], bytes: 0, lost: 0 };
  /** Records up to this one are signed. */
  #checkpointed: { seq: number; at: number };

  constructor(options: JournalOptions, segment: SegmentWriter, signer: Signer, unlock: () => void) {
    this.directory = options.directory;
    this.#options = options;
    this.#segment = segment;
    this.#signer = signer;
    this.#unlock = unlock;
    // The segment's own first record is not signed yet.
    this.#checkpointed = { seq: segment.head.seq - 1, at: Date.now() };
    this.#commit = new GroupCommit(segment, {
      timeout: options.timeout,
      onFailure: (error, records) => this.#failed(error, records),
    });
    this.stats.lines = 1;
    this.#ticker = setInterval(() => this.#tick(), SYNC_INTERVAL_MS);
    this.#ticker.unref();
  }

  get id(): string {
    return this.#segment.id;
  }

  last(): number {
    return this.#segment.head.seq;
  }

  onRecords(listener: () => void): void {
    this.#listeners.push(listener);
  }

  record(event: AuditEvent, written?: Written, durable = false): void {
    this.#lines.push(formatEvent(event));
    if (written !== undefined) this.#waiting.push({ written, durable });
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(this.flush);
  }

  readonly flush = (): void => {
    this.#isScheduled = false;
    const lines = this.#lines;
    const waiting = this.#waiting;
    this.#lines = [];
    this.#waiting = [];
    let failure: Error | undefined;
    try {
      this.#write(lines);
    } catch (error) {
      failure = error as Error;
      this.#failed(failure, lines.length);
      this.#keepForLater(lines);
    }
    const commit = this.#commit;
    for (const { written, durable } of waiting) {
      if (failure === undefined && durable && commit.stalled === undefined) commit.join(written);
      else written(failure ?? (durable ? commit.stalled : undefined));
    }
    commit.start();
    if (failure === undefined && lines.length > 0) for (const listener of this.#listeners) listener();
  };

  reopen(): void {
    // Segments rotate by themselves.
  }

  close(): void {
    clearInterval(this.#ticker);
    this.flush();
    try {
      if (this.#segment.head.seq > this.#checkpointed.seq) this.#appendCheckpoint();
      // A device that does not answer would hang this call as well.
      if (this.#commit.stalled === undefined) this.#segment.syncNow();
    } catch {
      this.stats.healthy = false;
    }
    this.#segment.close();
    this.#unlock();
  }

  /** @param torn bytes of a torn last record that were cut off; `damage`: what is wrong beyond that. */
  appendRepair(torn: number, damage: string | undefined): void {
    const more = damage === undefined ? '' : `,"damage":${JSON.stringify(damage)}`;
    this.#append([this.#segment.ownEvent('journal', `"kind":"repaired","torn":${torn}${more}`)]);
  }

  /** Everything that one turn of the event loop writes. @throws Error */
  #write(lines: readonly string[]): void {
    const now = Date.now();
    if (this.#segment.isAbandoned) this.#beginSegment();
    else if (this.#isSegmentFull(now)) this.#rotate(now);
    if (this.#late.lines.length > 0 || this.#late.lost > 0) this.#writeLate();
    if (lines.length > 0) this.#append(lines);
    if (this.#isCheckpointDue(now)) this.#appendCheckpoint();
    if (this.stats.healthy || this.#commit.stalled !== undefined) return;
    this.#options.warn('the audit journal can be written again');
    this.stats.healthy = true;
  }

  #append(events: readonly string[]): void {
    this.#segment.append(events);
    this.stats.lines += events.length;
  }

  #isSegmentFull(now: number): boolean {
    const { length, openedAt } = this.#segment;
    const { segmentSize, segmentAge } = this.#options;
    if (this.#commit.stalled !== undefined) return false;
    return length >= segmentSize || now - openedAt >= segmentAge;
  }

  #rotate(now: number): void {
    const removed = makeRoom(this.directory, this.#options.retention, now);
    if (this.#segment.head.seq > this.#checkpointed.seq) this.#appendCheckpoint();
    this.#beginSegment();
    if (removed !== undefined) this.#append([this.#segment.ownEvent('journal', removed)]);
  }

  #beginSegment(): void {
    const before = this.#segment.begin();
    this.stats.lines += 1;
    try {
      this.#segment.retire(before);
    } catch (error) {
      // The next call to the disk is for the new file: it must not count for records in the old one.
      this.stats.failures += this.#commit.failNext(error as Error);
      throw error;
    }
  }

  #appendCheckpoint(): void {
    const { id, head } = this.#segment;
    const { seq, hash, key, signature } = this.#signer.sign(id, head);
    const members = `"journal":"${id}","upTo":${seq},"head":"${hash}","key":"${key}","signature":"${signature}"`;
    this.#append([this.#segment.ownEvent('checkpoint', members)]);
    this.#checkpointed = { seq: this.#segment.head.seq, at: Date.now() };
  }

  #isCheckpointDue(now: number): boolean {
    const unsigned = this.#segment.head.seq - this.#checkpointed.seq;
    const { checkpointRecords, checkpointInterval } = this.#options;
    return (
      unsigned > 0 && (unsigned >= checkpointRecords || now - this.#checkpointed.at >= checkpointInterval)
    );
  }

  #failed(error: Error, records: number): void {
    if (GONE.has((error as NodeJS.ErrnoException).code)) {
      this.#segment.abandon();
      this.stats.failures += this.#commit.failNext(error);
    }
    if (this.stats.healthy) this.#options.warn(`the audit journal cannot be written: ${error.message}`);
    this.stats.healthy = false;
    this.stats.failures += records;
  }

  #keepForLater(lines: readonly string[]): void {
    for (const line of lines) {
      if (this.#late.bytes + line.length > MAX_LATE_BYTES) this.#late.lost += 1;
      else {
        this.#late.lines.push(line);
        this.#late.bytes += line.length;
      }
    }
  }

  /** What could not be written while the disk was full, and how much of it is lost. */
  #writeLate(): void {
    const { lines, lost } = this.#late;
    const members = `"kind":"recovered","late":${lines.length},"lost":${lost}`;
    this.#append([...lines, this.#segment.ownEvent('journal', members)]);
    this.#late = { lines: [], bytes: 0, lost: 0 };
  }

  /** Tries again after a failure, signs what is due, and brings to the disk what no record waits for. */
  #tick(): void {
    if (!this.stats.healthy || this.#isCheckpointDue(Date.now())) this.flush();
    else if (this.#segment.isDirty && !this.#segment.isSyncing) this.#commit.sync();
  }
}
