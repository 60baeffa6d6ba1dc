import type { EngineHandler } from './engine-call.js';

/** Where a reader is at the time: in a queue, in a shared call, or with a call of its own. */
export interface Place {
  /** The reader is gone. */
  drop(): void;
  /** The reader was held up by its client, has taken all there was since, and takes more. */
  onDrain(): void;
}

/** The head of an answer, as `EngineHandler.onHeaders` is given it. */
export interface AnswerHead {
  readonly status: number;
  readonly headers: readonly string[];
  readonly length: number;
}

/** One caller of a shared read. It takes the pieces of an answer at its own pace; others may take the same pieces. */
export class Reader {
  place: Place | undefined;
  readonly #handler: EngineHandler;
  #pieces: readonly Buffer[] = [];
  /** Of the piece that it takes next. */
  #next = 0;
  #isPaused = false;
  #isWhole = false;
  #isOver = false;

  constructor(handler: EngineHandler) {
    this.#handler = handler;
  }

  /** Its client takes no more for now. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** The caller wants no answer any more, or has all of it; nothing more is called. */
  leave(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#pieces = [];
    this.place?.drop();
  }

  /** @param pieces the answer so far; more may be added while it is read. They are never written into. */
  begin({ status, headers, length }: AnswerHead, pieces: readonly Buffer[]): void {
    this.#pieces = pieces;
    this.#try(() => this.#handler.onHeaders(status, [...headers], length, this.#resume));
  }

  /** Takes what there is, until its client is full. */
  take(): void {
    this.#try(() => {
      while (!this.#isPaused && !this.#isOver && this.#next < this.#pieces.length) {
        this.#isPaused = !this.#handler.onData(this.#pieces[this.#next++]!);
      }
    });
    if (this.#isOver || this.#next < this.#pieces.length) return;
    if (this.#isWhole) this.#complete();
    else if (!this.#isPaused) this.place?.onDrain();
  }

  /** The pieces that it has were thrown away. */
  rewind(): void {
    this.#next = 0;
  }

  /** There are no more pieces than there are now. */
  finish(): void {
    this.#isWhole = true;
    this.take();
  }

  fail(error: Error): void {
    if (this.#isOver) return;
    this.leave();
    this.#handler.onError(error);
  }

  #complete(): void {
    this.leave();
    try {
      this.#handler.onComplete();
    } catch (error) {
      this.#handler.onError(error as Error);
    }
  }

  /** INVARIANT: what fails at one reader is that reader's failure alone. */
  #try(step: () => void): void {
    if (this.#isOver) return;
    try {
      step();
    } catch (error) {
      this.fail(error as Error);
    }
  }

  readonly #resume = (): void => {
    if (!this.#isPaused || this.#isOver) return;
    this.#isPaused = false;
    this.take();
  };
}
