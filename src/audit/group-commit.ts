import type { SegmentWriter } from './segment.js';
import type { Written } from './writer.js';

export interface GroupCommitOptions {
  /** A disk that does not answer within this time counts as failed (milliseconds). */
  readonly timeout: number;
  /** Called with so many records that were not on the disk for certain, before their own callbacks. */
  readonly onFailure: (error: Error, records: number) => void;
}

/** Lets records wait for the disk together: those that come while one call to it runs share the next one. */
export class GroupCommit {
  /** The running call has not come back in time: no record waits for it any more, until it does. */
  stalled: Error | undefined;
  readonly #segment: SegmentWriter;
  readonly #options: GroupCommitOptions;
  /** Waiting for the call that runs, and for the next one. */
  #current: Written[] = [];
  #next: Written[] = [];

  constructor(segment: SegmentWriter, options: GroupCommitOptions) {
    this.#segment = segment;
    this.#options = options;
  }

  /** A record that was just appended waits for the next call. */
  join(written: Written): void {
    this.#next.push(written);
  }

  /** Begins a call for those that wait; while one runs, they go on waiting. */
  start(): void {
    if (this.#next.length > 0) this.sync();
  }

  /** Brings what was written to the disk, whether a record waits for it or not. */
  sync(): void {
    if (this.#segment.isSyncing) return;
    this.#current = this.#next;
    this.#next = [];
    // A device that hangs must not hang every caller: they get an error, and the guard decides what that means.
    const timer = setTimeout(() => this.#timedOut(), this.#options.timeout);
    this.#segment.sync((error) => {
      clearTimeout(timer);
      this.#finished(error);
    });
  }

  /** What waits for the next call was written to a file that did not get to the disk. @returns how many records that are. */
  failNext(error: Error): number {
    const failed = this.#next;
    this.#next = [];
    for (const written of failed) written(error);
    return failed.length;
  }

  #timedOut(): void {
    this.stalled = new Error(`the audit journal was not on the disk within ${this.#options.timeout} ms`);
    this.#fail(this.stalled);
  }

  #finished(error: Error | undefined): void {
    this.stalled = undefined;
    if (error === undefined) this.#settle(undefined);
    else {
      // After a failed fdatasync the kernel may drop dirty pages, of the records that wait for the next call as well: they
      // fail too, and the journal goes on in a new file.
      this.#segment.openedAt = 0;
      this.#fail(error);
    }
    this.start();
  }

  #fail(error: Error): void {
    this.#current.push(...this.#next);
    this.#next = [];
    this.#options.onFailure(error, this.#current.length);
    this.#settle(error);
  }

  #settle(error: Error | undefined): void {
    const settled = this.#current;
    this.#current = [];
    for (const written of settled) written(error);
  }
}
