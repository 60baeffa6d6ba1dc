import type { Abort, Dispatcher, EngineHandler, EngineRequest } from './engine-call.js';
import { Reader } from './reader.js';
import { SharedCall, type SharedCallEvents } from './shared-call.js';

/**
 * A read that waits for the one before it starts a call of its own when that has not ended this long after its start
 * (ms). The slowest ordinary answer, `stats?stream=false`, takes one to two seconds.
 */
const MAX_RUN_MS = 3_000;

/**
 * Clients that poll ask again as soon as they are answered. The call after one for several waits for them for this long at
 * most (ms), and no longer than that one took; without it every second call would be for the first of them alone.
 */
const MAX_GATHERING_MS = 25;

/** Longest answer that is collected for several readers (bytes). */
const MAX_ANSWER_BYTES = 8 * 2 ** 20;

/** All collected answers together (bytes), until their last readers have them. */
const MAX_TOTAL_BYTES = 64 * 2 ** 20;

export interface ShareLimits {
  /** ms */
  readonly run: number;
  /** ms */
  readonly gathering: number;
  /** Bytes. */
  readonly answer: number;
  /** Bytes. */
  readonly total: number;
}

const LIMITS: ShareLimits = {
  run: MAX_RUN_MS,
  gathering: MAX_GATHERING_MS,
  answer: MAX_ANSWER_BYTES,
  total: MAX_TOTAL_BYTES,
};

/**
 * Answers equal reads together, as a group commit writes together: reads that arrive while an equal one is on its way
 * wait until that has ended, and then one call is made for all of them. The engine gives it the requests marked `shared`
 * alone; equal means the same method, target and headers.
 *
 * INVARIANT: no caller gets an answer that was begun before it asked. What was changed, and answered as changed, before a
 * read was asked for is therefore in its answer, as without sharing.
 *
 * INVARIANT: no answer crosses owners. What makes the answers of two callers different is in the request, because it was
 * written from the judged call: filters for an owner's label are in the target, credentials are in the headers. What the
 * guard itself changes or learns (redaction, own images, history, byte limits) are handlers of each caller, after this.
 */
export class SharedReads implements Dispatcher {
  readonly engine: Dispatcher;
  readonly limits: ShareLimits;
  /** Of the reads that are on their way. */
  readonly #queues = new Map<string, Queue>();
  /** Bytes of collected answers. */
  #collected = 0;

  constructor(engine: Dispatcher, limits: ShareLimits = LIMITS) {
    this.engine = engine;
    this.limits = limits;
  }

  dispatch(request: EngineRequest, handler: EngineHandler): Abort {
    // A list keeps apart what a joined text would mix up.
    const key = JSON.stringify([request.method, request.target, ...request.headers]);
    let queue = this.#queues.get(key);
    if (queue === undefined) {
      const once = { ...request, shared: false };
      // No answer can be collected now: each call goes its own way.
      if (this.#collected >= this.limits.total) return this.engine.dispatch(once, handler);
      queue = new Queue(once, this, () => this.#queues.delete(key));
      this.#queues.set(key, queue);
    }
    const reader = new Reader(handler);
    queue.join(reader);
    return () => reader.leave();
  }

  /** @returns whether there is room for this many bytes more; only then they count. */
  collect(bytes: number): boolean {
    if (this.#collected + bytes > this.limits.total) return false;
    this.#collected += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#collected -= bytes;
  }
}

/** Equal reads: the call that was started last, and those who wait for the next one. */
class Queue implements SharedCallEvents {
  readonly #request: EngineRequest;
  readonly #all: SharedReads;
  readonly #onIdle: () => void;
  readonly #waiting = new Set<Reader>();
  #running: SharedCall | undefined;
  /** No call runs, and the next one waits until there are this many readers. */
  #expected = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(request: EngineRequest, all: SharedReads, onIdle: () => void) {
    this.#request = request;
    this.#all = all;
    this.#onIdle = onIdle;
  }

  join(reader: Reader): void {
    this.#waiting.add(reader);
    reader.place = { drop: () => this.#waiting.delete(reader), onDrain: () => {} };
    if (this.#expected > 0) {
      if (this.#waiting.size >= this.#expected) this.#start();
    } else if (this.#running === undefined || this.#running.isHeldUp) this.#start();
    else this.#startIn(this.#running.startedAt + this.#all.limits.run - performance.now());
  }

  onEnd(call: SharedCall): void {
    if (call !== this.#running) return;
    this.#running = undefined;
    const window = Math.min(this.#all.limits.gathering, call.duration);
    if (window === 0 || call.served < 2) return this.#start();
    this.#expected = call.served + this.#waiting.size;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#startIn(window);
  }

  onHeldUp(call: SharedCall): void {
    if (call === this.#running && this.#waiting.size > 0) this.#start();
  }

  #startIn(ms: number): void {
    this.#timer ??= setTimeout(() => this.#start(), Math.max(0, ms)).unref();
  }

  /** One call for all that wait, beside any that still runs. Without them the queue is no more. */
  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#expected = 0;
    const readers = [...this.#waiting];
    this.#waiting.clear();
    if (readers.length > 0) {
      this.#running = new SharedCall(this.#request, readers, this.#all, this);
    } else if (this.#running === undefined) this.#onIdle();
  }
}
