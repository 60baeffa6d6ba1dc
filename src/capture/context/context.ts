import { Readable } from 'node:stream';
import type { ContextReading } from '../../docker/build-context.js';
import { Refusal } from '../../docker/refusal.js';
import type { Flow } from '../relay-body.js';
import { broken } from './header.js';
import { Inflater } from './inflate.js';
import { ZEROS } from './render.js';
import { TarRewriter, type RewriteOptions } from './rewrite.js';

export { CONTEXT_LIMITS, type ContextLimits } from './rewrite.js';

/** Bytes that wait for the engine before the client is held back. */
const OUTPUT_BUFFER = 256 * 1024;

export interface ContextOptions extends RewriteOptions {
  /** Holds the client back; it does not count as silent then. */
  readonly flow?: Flow | undefined;
  /** Longest time in which the client sends nothing, or the engine takes nothing of what was sent, milliseconds. */
  readonly idle: number;
}

/** Starts to relay a context; see `ContextRelay`. */
export function relayContext(source: Readable, options: ContextOptions): ContextRelay {
  return new ContextRelay(source, options);
}

/** `read`: all but the end-of-archive is in the output. */
type State = 'reading' | 'read' | 'over';

/**
 * The context of a classic build on its way to the engine: understood entry by entry and written anew.
 *
 * INVARIANT: the engine gets only entries that have one clear reading, in one clear form. What is ambiguous is left out
 * and named in the reading, so that nothing arrives that was not understood, even where a policy permits it.
 */
export class ContextRelay {
  /**
   * A rewritten, uncompressed tar of the clear entries, as they arrive, without end-of-archive, with back-pressure and in
   * constant memory. It must be read for the client's body to be read.
   */
  readonly output: Readable;
  /**
   * Resolves when the client's body was read to its end and everything but the end-of-archive is in `output`; rejects
   * with a Refusal: 400 unreadable or cut, 408 silent, 413 too large, 504 the engine takes nothing, 502 `output` was destroyed by its reader.
   */
  readonly read: Promise<ContextReading>;
  readonly #source: Readable;
  readonly #options: ContextOptions;
  readonly #rewriter: TarRewriter;
  readonly #inflater: Inflater;
  #state: State = 'reading';
  /** The engine can take more. */
  #isOutputWanted = false;
  /** Quotas hold the client back. */
  #isHeld = false;
  /** The client has sent everything. */
  #isComplete = false;
  #timer: NodeJS.Timeout | undefined;
  #resolve!: (reading: ContextReading) => void;
  #reject!: (error: Error) => void;

  constructor(source: Readable, options: ContextOptions) {
    this.#source = source;
    this.#options = options;
    this.#rewriter = new TarRewriter(options);
    this.#inflater = new Inflater(options.limits, {
      data: (chunk) => this.#rewrite(chunk),
      end: (hasRest) => this.#finish(hasRest),
      ready: () => this.#flow(),
      run: (step) => this.#runDecoded(step),
      error: (error) => this.#fail(error instanceof Refusal ? error : broken('it could not be decompressed')),
    });
    this.read = new Promise<ContextReading>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // The caller may have given up already.
    this.read.catch(() => {});
    this.output = this.#makeOutput();
    source.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onCut);
    source.on('error', this.#onError);
    source.pause();
    if (source.readableEnded || source.destroyed) {
      process.nextTick(() => (source.readableEnded ? this.#onEnd() : this.#onCut()));
    }
  }

  /** Bytes taken from the client so far. */
  get bytesIn(): number {
    return this.#inflater.bytesIn;
  }

  /** After the verdict: writes the end-of-archive and ends `output`. */
  release(): void {
    // INVARIANT: no block of zeros, the mark for the end, reaches the engine before the verdict: dockerd starts to
    // build when it has read it.
    if (this.#state !== 'read') throw new Error('the context was not read to its end');
    this.#state = 'over';
    this.output.push(ZEROS);
    this.output.push(null);
  }

  /** Gives up: `output` is destroyed, never ended. The client's stream is left alive, paused. */
  destroy(error?: Error): void {
    this.#fail(error ?? new Refusal(499, 'context-dropped', 'the build context was given up'));
  }

  #makeOutput(): Readable {
    const output = new Readable({
      highWaterMark: OUTPUT_BUFFER,
      read: () => {
        this.#isOutputWanted = true;
        this.#flow();
      },
      destroy: (error, callback) => {
        if (this.#state !== 'over') {
          this.#fail(error ?? new Refusal(502, 'context-unread', 'the engine stopped reading'));
        }
        callback(error);
      },
    });
    // INVARIANT: an output without another listener must not end the process with its error.
    output.on('error', () => {});
    return output;
  }

  #rewrite(chunk: Buffer): void {
    this.#rewriter.feed(chunk);
    for (const piece of this.#rewriter.take()) this.#isOutputWanted = this.output.push(piece);
  }

  #finish(hasRest: boolean): void {
    if (hasRest) this.#rewriter.addAmbiguity('bytes after the compressed data');
    this.#rewriter.end();
    for (const piece of this.#rewriter.take()) this.output.push(piece);
    const reading = this.#rewriter.reading(this.#inflater.compression);
    this.#state = 'read';
    this.#detach();
    this.#resolve(reading);
  }

  /** Takes more from the client, or not, after what the engine and the decoder can take. */
  #flow(): void {
    if (this.#state !== 'reading') return;
    const source = this.#source;
    this.#inflater.flow(this.#isOutputWanted);
    if (this.#isComplete) return;
    if (!this.#isHeld && this.#inflater.isReady(this.#isOutputWanted)) {
      if (this.#timer === undefined || source.isPaused()) this.#restartTimer();
      source.resume();
    } else if (!source.isPaused()) {
      this.#restartTimer();
      source.pause();
    }
  }

  #restartTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#onIdle(), this.#options.idle);
  }

  /** Both ways: nothing is read from a client while the engine takes nothing, so its leaving would not be seen. */
  #onIdle(): void {
    if (this.#isHeld) return this.#restartTimer();
    const { idle } = this.#options;
    this.#fail(
      this.#source.isPaused()
        ? new Refusal(
            504,
            'upstream-timeout',
            `the Docker engine took nothing of the build context for ${idle} ms`,
          )
        : new Refusal(408, 'body-idle', `the build context was silent for ${idle} ms`),
    );
  }

  /** A little input can become much output: the engine takes it, so neither side is silent. */
  #runDecoded(step: () => void): void {
    this.#run(() => {
      this.#timer?.refresh();
      step();
    });
  }

  #run(step: () => void): void {
    if (this.#state !== 'reading') return;
    try {
      step();
    } catch (error) {
      this.#fail(error instanceof Refusal ? error : broken('it could not be read'));
    }
  }

  #fail(error: Error): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    this.#detach();
    this.#inflater.destroy();
    this.#reject(error);
    this.output.destroy(error);
  }

  #detach(): void {
    clearTimeout(this.#timer);
    this.#source.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onCut);
    this.#source.pause();
  }

  readonly #onData = (chunk: Buffer): void =>
    this.#run(() => {
      this.#timer?.refresh();
      if (this.#options.flow?.(chunk.length, this.#onRelease) === false) this.#isHeld = true;
      this.#inflater.write(chunk);
      this.#flow();
    });

  readonly #onRelease = (): void => {
    this.#isHeld = false;
    this.#flow();
  };

  readonly #onEnd = (): void =>
    this.#run(() => {
      this.#isComplete = true;
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#inflater.end();
    });

  readonly #onCut = (): void => {
    if (!this.#source.readableEnded) {
      this.#fail(new Refusal(400, 'body-cut', 'the build context was cut short by the client'));
    }
  };

  readonly #onError = (error: Error): void => {
    if (error instanceof Refusal) this.#fail(error);
    else this.#onCut();
  };
}
