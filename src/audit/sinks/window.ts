import type { Cursor } from './cursor.js';

/** Bytes after which a confirmation is asked for. */
const PORTION_BYTES = 8 * 2 ** 20;
/** On their way unconfirmed at most. They lie in the journal, not in memory; but a failure sends them again. */
export const MAX_UNCONFIRMED = { records: 160_000, bytes: 64 * 2 ** 20, portions: 1_000 };

/** Messages that were sent, and that the receiver was asked to confirm. */
export interface Portion {
  /** Behind the last of them. */
  readonly end: Cursor;
  readonly records: number;
  readonly bytes: number;
  isConfirmed: boolean;
}

export interface WindowSettings {
  /** After so many records, or so many milliseconds, a confirmation is asked for. */
  readonly records: number;
  readonly interval: number;
}

/**
 * What is on its way to a receiver: sent, asked to be confirmed, confirmed. Like a TCP window it grows while
 * confirmations arrive, and shrinks with each failure, so that a connection that never lasts long still moves on.
 *
 * INVARIANT: `confirmed` stands behind confirmed records only, so that each record is delivered at least once.
 */
export class DeliveryWindow {
  /** Behind the last record that the receiver has confirmed, and behind the last that was read. */
  confirmed: Cursor;
  position: Cursor;
  /** A confirmation failed. */
  failure: Error | undefined;
  readonly #settings: WindowSettings;
  /** Sent since the last portion, and when that began (0: nothing was). */
  #pending = { records: 0, bytes: 0, since: 0 };
  /** Between `confirmed` and that, oldest first. */
  #portions: Portion[] = [];
  /** Records between two confirmations, and on their way altogether. */
  #portionRecords: number;
  #maxRecords = MAX_UNCONFIRMED.records;
  #onChange: (() => void) | undefined;

  constructor(confirmed: Cursor, settings: WindowSettings) {
    this.confirmed = this.position = confirmed;
    this.#settings = settings;
    this.#portionRecords = settings.records;
  }

  /** So many records may be sent before the next confirmation is asked for. */
  get portionRecords(): number {
    return this.#portionRecords;
  }

  get hasPending(): boolean {
    return this.#pending.records > 0;
  }

  get hasPortions(): boolean {
    return this.#portions.length > 0;
  }

  get isFull(): boolean {
    let [records, bytes] = [0, 0];
    for (const portion of this.#portions) {
      records += portion.records;
      bytes += portion.bytes;
    }
    return (
      records >= this.#maxRecords ||
      bytes >= MAX_UNCONFIRMED.bytes ||
      this.#portions.length >= MAX_UNCONFIRMED.portions
    );
  }

  /** Notes what was sent. */
  sent(records: number, bytes: number): void {
    this.#pending.records += records;
    this.#pending.bytes += bytes;
    this.#pending.since ||= performance.now();
  }

  /** Is it time to ask for a confirmation of what was sent? */
  isDue(): boolean {
    const { records, bytes, since } = this.#pending;
    return (
      records >= this.#portionRecords ||
      bytes >= PORTION_BYTES ||
      performance.now() - since >= this.#settings.interval
    );
  }

  /** What was sent up to here becomes a portion, to be confirmed next. */
  close(): Portion {
    const { records, bytes } = this.#pending;
    const portion: Portion = { end: this.position, records, bytes, isConfirmed: false };
    this.#pending = { records: 0, bytes: 0, since: 0 };
    this.#portions.push(portion);
    return portion;
  }

  /** The receiver has a portion. @returns whether `confirmed` moved: it waits for the oldest one. */
  confirm(portion: Portion): boolean {
    portion.isConfirmed = true;
    // After a failure the list is another one.
    if (this.#portions[0] !== portion) return false;
    for (let portion = this.#portions[0]; portion?.isConfirmed; portion = this.#portions[0]) {
      this.#portions.shift();
      this.confirmed = portion.end;
      this.#portionRecords = Math.min(this.#settings.records, this.#portionRecords * 2);
      this.#maxRecords = Math.min(MAX_UNCONFIRMED.records, this.#maxRecords * 2);
    }
    this.release();
    return true;
  }

  /** @throws Error when a confirmation has failed. */
  check(): void {
    if (this.failure !== undefined) throw this.failure;
  }

  /** A portion did not arrive. @returns whether that still matters. */
  fail(portion: Portion, error: Error): boolean {
    if (!this.#portions.includes(portion)) return false;
    this.failure ??= error;
    this.release();
    return true;
  }

  /** Goes back behind the last confirmed record, and is more careful from there on. */
  rewind(): void {
    this.position = this.confirmed;
    this.#pending = { records: 0, bytes: 0, since: 0 };
    this.#portions = [];
    this.failure = undefined;
    this.#portionRecords = Math.max(1, this.#portionRecords >> 1);
    this.#maxRecords = Math.max(this.#portionRecords, this.#maxRecords >> 1);
  }

  /** Waits until the oldest portion is confirmed or one has failed. */
  change(): Promise<void> {
    if (this.failure !== undefined || !this.hasPortions) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onChange = resolve;
    });
  }

  /** Ends the wait. */
  release(): void {
    this.#onChange?.();
    this.#onChange = undefined;
  }
}
