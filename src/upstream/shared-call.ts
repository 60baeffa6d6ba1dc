import type { Abort, Dispatcher, EngineHandler, EngineRequest } from './engine-call.js';
import type { AnswerHead, Reader } from './reader.js';

export interface SharedCallEvents {
  /** The engine is done with it: answered, failed, or without a reader. */
  onEnd(call: SharedCall): void;
  /** Its only reader is slow, and so the engine waits. */
  onHeldUp(call: SharedCall): void;
}

/** What a call needs of those around it. */
export interface SharedCallRoom {
  readonly engine: Dispatcher;
  readonly limits: { readonly answer: number };
  collect(bytes: number): boolean;
  release(bytes: number): void;
}

/**
 * One call of the engine and those who read its answer. A single reader gets it as it comes, and slows down the engine
 * when he is slow. For several it is collected first, and each takes it at his own pace: no slow reader holds up others.
 * An answer that grows too large to be collected goes on to the first of them; the others, who have seen nothing of it,
 * get calls of their own.
 */
export class SharedCall implements EngineHandler {
  readonly startedAt = performance.now();
  /** ms, handing out its answer included. */
  duration = 0;
  /** Several readers were answered at once, and how many. */
  served = 0;
  readonly #request: EngineRequest;
  readonly #readers: Set<Reader>;
  readonly #room: SharedCallRoom;
  readonly #events: SharedCallEvents;
  readonly #abort: Abort;
  #state: 'sent' | 'collecting' | 'streaming' | 'ended' = 'sent';
  #head: AnswerHead | undefined;
  #resumeEngine: () => void = () => {};
  #pieces: Buffer[] = [];
  /** Bytes that count as collected. */
  #collected = 0;

  constructor(
    request: EngineRequest,
    readers: readonly Reader[],
    room: SharedCallRoom,
    events: SharedCallEvents,
  ) {
    this.#request = request;
    this.#readers = new Set(readers);
    this.#room = room;
    this.#events = events;
    for (const reader of readers) {
      reader.place = { drop: () => this.#drop(reader), onDrain: () => this.#onDrain(reader) };
    }
    this.#abort = room.engine.dispatch(request, this);
  }

  get isHeldUp(): boolean {
    return this.#state === 'streaming' && [...this.#readers].some((reader) => reader.isPaused);
  }

  onHeaders(status: number, headers: string[], length: number, resume: () => void): void {
    this.#head = { status, headers, length };
    this.#resumeEngine = resume;
    this.#state = 'collecting';
    if (this.#readers.size === 1 || length > this.#room.limits.answer) this.#stream();
  }

  onData(piece: Buffer): boolean {
    this.#pieces.push(piece);
    if (this.#state === 'streaming') return this.#passOn();
    if (this.#collected + piece.length <= this.#room.limits.answer && this.#room.collect(piece.length)) {
      this.#collected += piece.length;
      return true;
    }
    return this.#stream();
  }

  onComplete(): void {
    const isCollected = this.#state === 'collecting';
    const readers = [...this.#readers];
    this.#state = 'ended';
    for (const reader of readers) {
      if (isCollected) reader.begin(this.#head!, this.#pieces);
      reader.finish();
    }
    if (isCollected) this.served = readers.length;
    this.duration = performance.now() - this.startedAt;
    this.#events.onEnd(this);
  }

  onError(error: Error): void {
    const readers = [...this.#readers];
    this.#state = 'ended';
    for (const reader of readers) reader.fail(error);
    this.#events.onEnd(this);
  }

  /** From here on there is one reader, who gets the answer as it comes. @returns whether he takes more. */
  #stream(): boolean {
    const [first, ...others] = this.#readers;
    this.#state = 'streaming';
    for (const reader of others) {
      this.#readers.delete(reader);
      new SharedCall(this.#request, [reader], this.#room, ALONE);
    }
    first!.begin(this.#head!, this.#pieces);
    return this.#passOn();
  }

  #passOn(): boolean {
    const [reader] = this.#readers;
    if (reader === undefined || this.#pieces.length === 0) return true;
    reader.take();
    if (!reader.isPaused) return true;
    this.#events.onHeldUp(this);
    return false;
  }

  /** What the only reader has is not kept. */
  #onDrain(reader: Reader): void {
    if (this.#state !== 'streaming') return;
    this.#pieces.length = 0;
    reader.rewind();
    this.#release();
    this.#resumeEngine();
  }

  /** The reader has all that he wants. The last one ends the call. */
  #drop(reader: Reader): void {
    if (!this.#readers.delete(reader) || this.#readers.size > 0) return;
    this.#release();
    if (this.#state === 'ended') return;
    this.#abort();
    this.#state = 'ended';
    this.#events.onEnd(this);
  }

  #release(): void {
    this.#room.release(this.#collected);
    this.#collected = 0;
  }
}

/** For a call without a waiting reader. */
const ALONE: SharedCallEvents = { onEnd: () => {}, onHeldUp: () => {} };
