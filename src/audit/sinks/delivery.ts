import { setMaxListeners } from 'node:events';
import { join } from 'node:path';
import type { Sender } from '../formats/format.js';
import { listSegments } from '../journal-files.js';
import { BEGINNING, keepCursor, loadCursor, type Cursor } from './cursor.js';
import { messagesOf } from './messages.js';
import { putAside } from './put-aside.js';
import { readBatch } from './reader.js';
import { RetryLater, type Outgoing, type SinkConfig, type Transport } from './sink.js';

/** How it stands with one sink. */
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
  stop(patience: number): Promise<void>;
}

export interface DeliveryOptions {
  readonly config: SinkConfig;
  /** The journal. */
  readonly directory: string;
  readonly sender: Sender;
  readonly transport: Transport;
  readonly warn: (message: string) => void;
}

/** The journal is looked at this often, also when nobody tells of new records (ms). */
const LOOK = 1_000;
/** Before the first record that there is: what is removed from then on was missed. */
function oldest(directory: string): Cursor {
  const first = listSegments(directory)[0]?.first;
  return first === undefined ? BEGINNING : { ...BEGINNING, segment: first, seq: first - 1 };
}

/** Bytes after which a confirmation is asked for. */
const PORTION = 8 * 2 ** 20;
/**
 * On their way unconfirmed at most. They lie in the journal, not in memory; but a failure sends them again, so that after
 * failures there are fewer.
 */
const UNCONFIRMED = { records: 160_000, bytes: 64 * 2 ** 20, portions: 1_000 };

/** Messages that were sent, and that the receiver was asked to confirm. */
interface Portion {
  /** Behind the last of them. */
  readonly end: Cursor;
  readonly records: number;
  readonly bytes: number;
  isConfirmed: boolean;
}

/**
 * Delivers the journal to one receiver: reads from its cursor, sends, and moves the cursor when the receiver has
 * confirmed. After any failure it goes back to the cursor.
 *
 * INVARIANT: the cursor stands behind confirmed records only, so that each record is delivered at least once.
 */
export function startDelivery({ config, directory, sender, transport, warn }: DeliveryOptions): Delivery {
  const file = join(directory, `cursor-${config.name}.json`);
  const say = (message: string): void => warn(`audit sink ${config.name}: ${message}`);
  const stored = loadCursor(file);
  if (typeof stored === 'string') say(`${file} cannot be used (${stored}): all of the journal is sent again`);
  let confirmed: Cursor = typeof stored === 'object' ? stored : oldest(directory);
  let position = confirmed;
  /** Sent since the last portion, and when that began. */
  let pending = { records: 0, bytes: 0, since: 0 };
  /** Between `confirmed` and that, oldest first. */
  let portions: Portion[] = [];
  /** A confirmation failed. */
  let broken: Error | undefined;
  /** Ids of the messages behind `position` that are done with: the rest of their batch is sent again without them. */
  const settled = new Set<string>();
  /** Records between two confirmations: fewer where connections do not last that long. */
  let window = config.confirm.records;
  /** Records that may be on their way. */
  let ahead = UNCONFIRMED.records;
  let attempts = 0;
  const stats = { dropped: 0, refused: 0, error: '' };
  let missed = 0;

  const soft = new AbortController();
  const hard = new AbortController();
  // Each portion that is on its way listens to it.
  setMaxListeners(2 * UNCONFIRMED.portions, hard.signal);
  let wakeUp: (() => void) | undefined;
  let onConfirmation: (() => void) | undefined;
  let isNews = true;

  /** Waits, at most until the sender is stopped; `untilNews`: or until there is something to do. */
  const pause = (ms: number, untilNews: boolean): Promise<void> =>
    new Promise((resolve) => {
      if (soft.signal.aborted || (untilNews && isNews)) return resolve();
      const done = (): void => {
        clearTimeout(timer);
        soft.signal.removeEventListener('abort', done);
        wakeUp = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      timer.unref();
      soft.signal.addEventListener('abort', done);
      if (untilNews) wakeUp = done;
    });

  /** Waits for the oldest portion. */
  const confirmation = (): Promise<void> =>
    new Promise((resolve) => {
      onConfirmation = () => {
        onConfirmation = undefined;
        resolve();
      };
      if (broken !== undefined || portions.length === 0) onConfirmation();
    });

  // What was delivered is delivered: a full disk must not keep the journal from making room.
  const keeper = keepCursor(file, (error) => (stats.error = `${file} cannot be written: ${error.message}`));

  const arrived = (end: Cursor): void => {
    confirmed = end;
    window = Math.min(config.confirm.records, window * 2);
    ahead = Math.min(UNCONFIRMED.records, ahead * 2);
    attempts = 0;
    if (stats.error !== '') say('works again');
    stats.error = '';
  };

  const ask = async (): Promise<void> => {
    const { records, bytes } = pending;
    const portion: Portion = { end: position, records, bytes, isConfirmed: false };
    pending = { records: 0, bytes: 0, since: 0 };
    if (transport.confirm === undefined) {
      arrived(portion.end);
      return keeper.save(confirmed);
    }
    portions.push(portion);
    transport.confirm(hard.signal).then(
      () => {
        portion.isConfirmed = true;
        // After a failure the list is another one.
        if (portions[0] !== portion) return;
        for (let one = portions[0]; one?.isConfirmed; one = portions[0]) {
          portions.shift();
          arrived(one.end);
        }
        void keeper.save(confirmed);
        onConfirmation?.();
      },
      (error: Error) => {
        if (!portions.includes(portion)) return;
        broken ??= error;
        wakeUp?.();
        onConfirmation?.();
      },
    );
  };

  const settle = async (messages: readonly Outgoing[]): Promise<void> => {
    const todo = messages.filter(({ id }) => !settled.has(id));
    if (todo.length === 0) return;
    const { refused, again, unnamed, retryAfter } = await transport.send(todo, hard.signal);
    for (const one of todo) if (!again.has(one)) settled.add(one.id);
    if (unnamed !== undefined) {
      stats.refused += unnamed.count;
      const range = `${todo[0]!.seq} to ${todo.at(-1)!.seq}`;
      say(`${unnamed.count} of the records ${range} were refused for good: ${unnamed.reason}`);
    }
    if (refused.size > 0) {
      stats.refused += refused.size;
      const list = [...refused].map(([message, reason]) => ({ message, reason }));
      const path = join(directory, `refused-${config.name}.jsonl`);
      say(`${refused.size} records were refused for good (${list[0]!.reason}); they are put into ${path}`);
      await putAside(path, list).catch((error: Error) => say(`${path} cannot be written: ${error.message}`));
    }
    if (again.size > 0) {
      const why = [...again.values()][0] ?? '';
      throw new RetryLater(`${again.size} of ${todo.length} records were not taken: ${why}`, retryAfter ?? 0);
    }
  };

  /** @returns false at the end of the journal. */
  const step = async (): Promise<boolean> => {
    isNews = false;
    const limits = { records: Math.min(config.batch.records, window), bytes: config.batch.bytes };
    const { records, missing, missingTo, damaged, end } = readBatch(directory, position, limits);
    // What is read again after a failure is counted once.
    if (missingTo > missed) {
      missed = missingTo;
      stats.dropped += missing;
      say(`${missing} records were gone from the journal before they were delivered`);
    }
    if (damaged > 0) say(`${damaged} lines of the journal are no records; see breakwater audit verify`);
    if (records.length > 0) {
      const messages = records.flatMap((record) => messagesOf(record, config, sender));
      await settle(messages);
      for (const { id } of messages) settled.delete(id);
      // Where nothing was for this receiver, there is nothing that it could confirm.
      if (messages.length > 0) {
        pending.records += records.length;
        pending.bytes += records.reduce((sum, { line }) => sum + line.length, 0);
        pending.since ||= performance.now();
      }
    }
    position = end;
    const due =
      transport.confirm === undefined ||
      pending.records >= window ||
      pending.bytes >= PORTION ||
      soft.signal.aborted ||
      performance.now() - pending.since >= config.confirm.interval;
    if (pending.records > 0 && due) await ask();
    else if (pending.records === 0 && portions.length === 0) {
      const { segment, offset } = confirmed;
      if (segment !== position.segment || offset !== position.offset) confirmed = position;
      await keeper.save(confirmed);
    }
    return records.length > 0;
  };

  const failed = async (error: Error): Promise<void> => {
    const message =
      error.message.split('\n', 1)[0]!.slice(0, 400) || String((error as NodeJS.ErrnoException).code);
    if (stats.error !== message) say(message);
    stats.error = message;
    transport.reset();
    // What went over a connection that failed did not arrive, as far as is known.
    if (transport.confirm !== undefined) settled.clear();
    position = confirmed;
    pending = { records: 0, bytes: 0, since: 0 };
    portions = [];
    broken = undefined;
    window = Math.max(1, window >> 1);
    ahead = Math.max(window, ahead >> 1);
    const wait = Math.min(config.retry.max, config.retry.min * 2 ** Math.min(attempts, 30));
    attempts += 1;
    // Many guards that lost one receiver must not all come back at once.
    const jitter = wait / 2 + (Math.random() * wait) / 2;
    await pause(Math.max(jitter, error instanceof RetryLater ? error.retryAfter : 0), false);
  };

  const isFull = (): boolean => {
    let [records, bytes] = [0, 0];
    for (const one of portions) {
      records += one.records;
      bytes += one.bytes;
    }
    return records >= ahead || bytes >= UNCONFIRMED.bytes || portions.length >= UNCONFIRMED.portions;
  };

  /** @throws Error where a confirmation failed meanwhile. */
  const check = (): void => {
    if (broken !== undefined) throw broken;
  };

  const run = async (): Promise<void> => {
    while (!hard.signal.aborted) {
      const last = soft.signal.aborted;
      try {
        check();
        if (isFull()) {
          await confirmation();
          continue;
        }
        if (await step()) continue;
        check();
        if (last) {
          if (portions.length > 0) {
            await confirmation();
            continue;
          }
          return await keeper.save(confirmed);
        }
        await pause(pending.records > 0 ? Math.min(LOOK, config.confirm.interval) : LOOK, true);
        // So that records go together.
        if (isNews) await pause(config.batch.interval, false);
      } catch (error) {
        if (last) return;
        await failed(error as Error);
      }
    }
  };
  // A receiver that is new and one that was never reached differ by it.
  if (stored !== confirmed) void keeper.save(confirmed);
  const running = run();

  return {
    wake() {
      isNews = true;
      wakeUp?.();
    },
    delivered: () => confirmed.seq,
    status: (head) => ({
      name: config.name,
      type: config.type,
      delivered: confirmed.seq,
      behind: Math.max(0, head - confirmed.seq),
      ...stats,
    }),
    async stop(patience) {
      soft.abort();
      const timer = setTimeout(() => {
        hard.abort();
        onConfirmation?.();
      }, patience);
      await running;
      clearTimeout(timer);
      await transport.close();
    },
  };
}
