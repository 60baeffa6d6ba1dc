import { closeSync, fdatasync, fsyncSync, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { syncDirectorySync } from '../store/write-whole.js';
import { chain, type Head } from './chain.js';
import { segmentName } from './journal-files.js';

/** The newest file of a journal: appends records to it, begins the next one, brings it to the disk. */
export class SegmentWriter {
  /** The last record of the journal. */
  head: Head;
  /** Bytes in the file. */
  length = 0;
  /** When the file was begun (milliseconds since 1970); 0: it is due to be replaced. */
  openedAt = 0;
  /** The file system under it is gone: a new file is needed before anything can be written. */
  isAbandoned = false;
  /** It holds bytes that no call to the disk has covered. */
  isDirty = false;
  isSyncing = false;
  /** Id of the journal. */
  readonly id: string;
  readonly #directory: string;
  #fd = -1;
  /** The file was abandoned while it was on its way to the disk. */
  #wasAbandonedInSync = false;
  /** Files that are done with, and still on their way to the disk: they are closed after that. */
  #closing: number[] = [];

  constructor(directory: string, id: string, head: Head) {
    this.#directory = directory;
    this.id = id;
    this.head = head;
  }

  /** A record of the journal itself, to be appended next. */
  ownEvent(kind: string, members: string): string {
    const time = new Date().toISOString();
    return `{"v":1,"event":"${kind}","time":"${time}","id":"${this.id}.${this.head.seq + 1}",${members}}\n`;
  }

  /** Writes lines behind the head; the head moves when all of them are written. @throws Error */
  append(events: readonly string[]): void {
    let next = this.head;
    let text = '';
    for (const event of events) {
      const { line, head } = chain(next, event);
      text += line;
      next = head;
    }
    const bytes = Buffer.from(text);
    try {
      for (let at = 0; at < bytes.length;) at += writeSync(this.#fd, bytes, at);
    } catch (error) {
      // A record is there whole or not at all.
      ftruncateSync(this.#fd, this.length);
      throw error;
    }
    this.length += bytes.length;
    this.head = next;
    this.isDirty = true;
  }

  /**
   * Begins a new file, whose first record names the journal and what it follows.
   *
   * @returns the file before, to be given to `retire`; -1 where there is none.
   * @throws Error when the new file cannot be made; the old one stays in use.
   */
  begin(): number {
    const path = join(this.#directory, segmentName(this.head.seq + 1));
    const before = { fd: this.#fd, length: this.length };
    this.#fd = openSync(path, 'ax', 0o600);
    this.length = 0;
    try {
      this.append([this.ownEvent('segment', `"journal":"${this.id}","previous":"${this.head.hash}"`)]);
      syncDirectorySync(this.#directory);
    } catch (error) {
      closeSync(this.#fd);
      rmSync(path, { force: true });
      this.#fd = before.fd;
      this.length = before.length;
      throw error;
    }
    this.openedAt = Date.now();
    this.isAbandoned = false;
    return before.fd;
  }

  /** Brings a file that `begin` has replaced to the disk and closes it. @throws Error when it did not get there. */
  retire(fd: number): void {
    if (fd < 0) return;
    try {
      fsyncSync(fd);
    } finally {
      if (this.isSyncing) this.#closing.push(fd);
      else closeSync(fd);
    }
  }

  /** Closes the file at once: an open file keeps the administrator from repairing or remounting the file system. */
  abandon(): void {
    this.isAbandoned = true;
    if (this.#fd < 0) return;
    if (this.isSyncing) {
      this.#closing.push(this.#fd);
      this.#wasAbandonedInSync = true;
    } else {
      try {
        closeSync(this.#fd);
      } catch {
        // It is given up all the same.
      }
    }
    this.#fd = -1;
    this.isDirty = false;
  }

  /** Brings the file to the disk (fdatasync). One call at a time; `done` gets its error. */
  sync(done: (error: Error | undefined) => void): void {
    const fd = this.#fd;
    this.isSyncing = true;
    this.isDirty = false;
    this.#wasAbandonedInSync = false;
    fdatasync(fd, (error) => {
      this.isSyncing = false;
      // A file that was replaced meanwhile was brought to the disk then.
      const counts = fd === this.#fd || this.#wasAbandonedInSync;
      const closing = this.#closing;
      this.#closing = [];
      for (const one of closing) closeSync(one);
      done(counts ? (error ?? undefined) : undefined);
    });
  }

  /** Brings the file to the disk and waits for it. @throws Error */
  syncNow(): void {
    fsyncSync(this.#fd);
  }

  close(): void {
    if (this.isSyncing) this.#closing.push(this.#fd);
    else if (this.#fd >= 0) closeSync(this.#fd);
  }
}
