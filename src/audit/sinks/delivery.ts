import { setMaxListeners } from 'node:events';
import { join } from 'node:path';
import type { Sender } from '../formats/format.js';
import { listSegments } from '../journal-files.js';
import { BEGINNING, CursorFile, loadCursor, type Cursor } from './cursor.js';
import { messagesOf, putAside } from './messages.js';
import { readBatch, type Reading } from './reader.js';
import { RetryLater, type Outgoing, type SinkConfig, type Transport } from './sink.js';
import { DeliveryWindow, MAX_UNCONFIRMED } from './window.js';

/** How delivery to one receiver is going. */
export interface SinkStatus {
  readonly name: string;
  readonly type: string;
  /** The last record that the receiver has confirmed. */
  readonly delivered: number;
  /** Records of the journal that it has not. */
  readonly behind: number;
  /** Records that were gone from the journal before they were delivered. */
  readonly dropped: number;
  /** Records that the receiver refuses for good; put aside. */
  readonly refused: number;
  /** Empty while it works. */
  readonly error: string;
}

export interface Delivery {
  /** There is something new in the journal. */
  wake(): void;
  delivered(): number;
  status(head: number): SinkStatus;
  /** Delivers what is there, or gives up after so many milliseconds. */
  stop(timeout: number): Promise<void>;
}

export interface DeliveryOptions {
  readonly config: SinkConfig;
  /** The journal. */
  readonly directory: string;
  readonly sender: Sender;
  readonly transport: Transport;
  readonly warn: (message: string) => void;
}

/** The journal is read this often even when no new record was announced. */
const POLL_INTERVAL_MS = 1_000;
/** The place before the oldest record: whatever is removed later counts as dropped. */
function oldest(directory: string): Cursor {
  const first = listSegments(directory)[0]?.first;
  return first === undefined ? BEGINNING : { ...BEGINNING, segment: first, seq: first - 1 };
}

/**
 * Delivers the journal to one receiver: reads from its cursor, sends, and moves the cursor when the receiver has
 * confirmed. After any failure it goes back to the cursor.
 *
 * INVARIANT: the cursor stands behind confirmed records only, so that each record is delivered at least once.
 */
export function startDelivery(options: DeliveryOptions): Delivery {
  const { config, directory, warn } = options;
  const file = join(directory, `cursor-${config.name}.json`);
  const stored = loadCursor(file);
  if (typeof stored === 'string') {
    warn(`audit sink ${config.name}: ${file} cannot be used (${stored}): all of the journal is sent again`);
  }
  const isKnown = typeof stored === 'object';
  const delivery = new JournalDelivery(options, file, isKnown ? stored : oldest(directory));
  delivery.start(!isKnown);
  return delivery;
}

class JournalDelivery implements Delivery {
  readonly #config: SinkConfig;
  readonly #directory: string;
  readonly #sender: Sender;
  readonly #transport: Transport;
  readonly #warn: (message: string) => void;
  readonly #cursorFile: CursorFile;
  readonly #window: DeliveryWindow;
  readonly #stats = { dropped: 0, refused: 0, error: '' };
  /** Ids of delivered or refused messages behind the cursor: when their batch is sent again, they are left out. */
  readonly #settled = new Set<string>();
  /** The last record that is counted as dropped. */
  #droppedTo = 0;
  /** Failures since the last confirmation. */
  #attempts = 0;
  /** `stopping`: deliver what is in the journal, then end. `stopped`: deliver nothing more. */
  readonly #stopping = new AbortController();
  readonly #stopped = new AbortController();
  #running: Promise<void> | undefined;
  #wakeUp: (() => void) | undefined;
  /** There may be something new in the journal. */
  #hasNews = true;

  constructor({ config, directory, sender, transport, warn }: DeliveryOptions, file: string, from: Cursor) {
    this.#config = config;
    this.#directory = directory;
    this.#sender = sender;
    this.#transport = transport;
    this.#warn = (message) => warn(`audit sink ${config.name}: ${message}`);
    // Delivery counts even if the cursor cannot be saved: a full disk must not keep the journal from removing old records.
    this.#cursorFile = new CursorFile(file, (error) => {
      this.#stats.error = `${file} cannot be written: ${error.message}`;
    });
    this.#window = new DeliveryWindow(from, config.confirm);
    // Each portion that is on its way listens to it.
    setMaxListeners(2 * MAX_UNCONFIRMED.portions, this.#stopped.signal);
  }

  /** @param isNew there is no cursor yet; it is written now, so that a new receiver can be distinguished from an unreachable one. */
  start(isNew: boolean): void {
    if (isNew) void this.#cursorFile.save(this.#window.confirmed);
    this.#running = this.#run();
  }

  wake(): void {
    this.#hasNews = true;
    this.#wakeUp?.();
  }

  delivered(): number {
    return this.#window.confirmed.seq;
  }

  status(head: number): SinkStatus {
    const delivered = this.delivered();
    const { name, type } = this.#config;
    return { name, type, delivered, behind: Math.max(0, head - delivered), ...this.#stats };
  }

  async stop(timeout: number): Promise<void> {
    this.#stopping.abort();
    const timer = setTimeout(() => {
      this.#stopped.abort();
      this.#window.release();
    }, timeout);
    await this.#running;
    clearTimeout(timer);
    await this.#transport.close();
  }

  async #run(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const isLast = this.#stopping.signal.aborted;
      try {
        if (await this.#turn(isLast)) return;
      } catch (error) {
        if (isLast) return;
        await this.#recover(error as Error);
      }
    }
  }

  /** Waits for a confirmation, delivers a batch, or waits for records. @returns whether everything is delivered. */
  async #turn(isLast: boolean): Promise<boolean> {
    const window = this.#window;
    window.check();
    if (window.isFull) {
      await window.change();
      return false;
    }
    if (await this.#deliverBatch()) return false;
    // The failure may have occurred while the journal was read.
    window.check();
    if (isLast) {
      if (!window.hasPortions) {
        await this.#cursorFile.save(window.confirmed);
        return true;
      }
      await window.change();
      return false;
    }
    const { confirm, batch } = this.#config;
    const interval = window.hasPending ? Math.min(POLL_INTERVAL_MS, confirm.interval) : POLL_INTERVAL_MS;
    await this.#pause(interval, true);
    // Lets records gather into one batch.
    if (this.#hasNews) await this.#pause(batch.interval, false);
    return false;
  }

  /** @returns false at the end of the journal. */
  async #deliverBatch(): Promise<boolean> {
    this.#hasNews = false;
    const window = this.#window;
    const { batch } = this.#config;
    const limits = { records: Math.min(batch.records, window.portionRecords), bytes: batch.bytes };
    const reading = readBatch(this.#directory, window.position, limits);
    this.#countMissing(reading);
    const { records, end } = reading;
    if (records.length > 0) {
      const messages = records.flatMap((record) => messagesOf(record, this.#config, this.#sender));
      await this.#settle(messages);
      for (const { id } of messages) this.#settled.delete(id);
      // Without a message for this receiver there is nothing that it could confirm.
      if (messages.length > 0) {
        window.sent(
          records.length,
          records.reduce((sum, { line }) => sum + line.length, 0),
        );
      }
    }
    window.position = end;
    if (window.hasPending) {
      if (this.#transport.confirm === undefined || this.#stopping.signal.aborted || window.isDue())
        await this.#askToConfirm();
    } else if (!window.hasPortions) await this.#skip(end);
    return records.length > 0;
  }

  #countMissing({ missing, missingTo, damaged }: Reading): void {
    // What is read again after a failure is counted once.
    if (missingTo > this.#droppedTo) {
      this.#droppedTo = missingTo;
      this.#stats.dropped += missing;
      this.#warn(`${missing} records were gone from the journal before they were delivered`);
    }
    if (damaged > 0)
      this.#warn(`${damaged} lines of the journal are no records; see breakwater audit verify`);
  }

  /** Sends the messages that are not settled yet. @throws RetryLater when some were not accepted. */
  async #settle(messages: readonly Outgoing[]): Promise<void> {
    const todo = messages.filter(({ id }) => !this.#settled.has(id));
    if (todo.length === 0) return;
    const { refused, again, unnamed, retryAfter } = await this.#transport.send(todo, this.#stopped.signal);
    for (const message of todo) if (!again.has(message)) this.#settled.add(message.id);
    if (unnamed !== undefined) {
      this.#stats.refused += unnamed.count;
      const range = `${todo[0]!.seq} to ${todo.at(-1)!.seq}`;
      this.#warn(`${unnamed.count} of the records ${range} were refused for good: ${unnamed.reason}`);
    }
    if (refused.size > 0) await this.#putAside(refused);
    if (again.size > 0) {
      const why = [...again.values()][0] ?? '';
      throw new RetryLater(`${again.size} of ${todo.length} records were not taken: ${why}`, retryAfter ?? 0);
    }
  }

  async #putAside(refused: ReadonlyMap<Outgoing, string>): Promise<void> {
    this.#stats.refused += refused.size;
    const list = [...refused].map(([message, reason]) => ({ message, reason }));
    const path = join(this.#directory, `refused-${this.#config.name}.jsonl`);
    this.#warn(
      `${refused.size} records were refused for good (${list[0]!.reason}); they are put into ${path}`,
    );
    await putAside(path, list).catch((error: Error) =>
      this.#warn(`${path} cannot be written: ${error.message}`),
    );
  }

  async #askToConfirm(): Promise<void> {
    const window = this.#window;
    const portion = window.close();
    if (this.#transport.confirm === undefined) {
      if (window.confirm(portion)) this.#works();
      return this.#cursorFile.save(window.confirmed);
    }
    this.#transport.confirm(this.#stopped.signal).then(
      () => {
        if (!window.confirm(portion)) return;
        this.#works();
        void this.#cursorFile.save(window.confirmed);
      },
      (error: Error) => {
        if (window.fail(portion, error)) this.#wakeUp?.();
      },
    );
  }

  /** No record of the batch is for this receiver: the cursor moves past it. */
  async #skip(end: Cursor): Promise<void> {
    const { segment, offset } = this.#window.confirmed;
    if (segment !== end.segment || offset !== end.offset) this.#window.confirmed = end;
    await this.#cursorFile.save(this.#window.confirmed);
  }

  #works(): void {
    this.#attempts = 0;
    if (this.#stats.error !== '') this.#warn('works again');
    this.#stats.error = '';
  }

  /** After a failure: reports it once, goes back to the cursor, and waits. */
  async #recover(error: Error): Promise<void> {
    const message =
      error.message.split('\n', 1)[0]!.slice(0, 400) || String((error as NodeJS.ErrnoException).code);
    if (this.#stats.error !== message) this.#warn(message);
    this.#stats.error = message;
    this.#transport.reset();
    // Messages of a connection that failed count as not delivered.
    if (this.#transport.confirm !== undefined) this.#settled.clear();
    this.#window.rewind();
    const { min, max } = this.#config.retry;
    const wait = Math.min(max, min * 2 ** Math.min(this.#attempts, 30));
    this.#attempts += 1;
    // Many guards that lost one receiver must not all come back at once.
    const jitter = wait / 2 + (Math.random() * wait) / 2;
    await this.#pause(Math.max(jitter, error instanceof RetryLater ? error.retryAfter : 0), false);
  }

  /** Waits, at most until delivery is to stop; `untilNews`: or until there is something to do. */
  #pause(ms: number, untilNews: boolean): Promise<void> {
    const { signal } = this.#stopping;
    if (signal.aborted || (untilNews && this.#hasNews)) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        this.#wakeUp = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      timer.unref();
      signal.addEventListener('abort', done);
      if (untilNews) this.#wakeUp = done;
    });
  }
}
