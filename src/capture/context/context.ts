import { Readable } from 'node:stream';
import type { Compression, ContextReading } from '../../docker/build-context.js';
import { Refusal } from '../../docker/refusal.js';
import { detectCompression, openDecoder, type Decoder } from './decompress.js';
import { broken } from './header.js';
import { tooLarge, writeFresh, type FreshOptions } from './fresh.js';
import type { Flow } from '../relay-body.js';
import { ZEROS } from './render.js';

export { CONTEXT_LIMITS, type ContextLimits } from './fresh.js';

/** A small context of blanks packs very well; only from here on it counts. */
const RATIO_FROM = 64 * 1024 ** 2;

export interface ContextRelay {
  /**
   * A fresh, uncompressed tar of the clear entries, as they arrive, without end-of-archive, with back-pressure and in
   * constant memory. It must be read for the client's body to be read.
   */
  readonly output: Readable;
  /**
   * Resolves when the client's body was read to its end and everything but the end-of-archive is in `output`; rejects
   * with a Refusal: 400 unreadable or cut, 408 silent, 413 too large, 504 the engine takes nothing, 502 `output` was destroyed by its reader.
   */
  readonly read: Promise<ContextReading>;
  /** After the verdict: writes the end-of-archive and ends `output`. */
  release(): void;
  /** Gives up: `output` is destroyed, never ended. The client's stream is left alive, paused. */
  destroy(error?: Error): void;
  /** Bytes taken from the client so far. */
  readonly bytesIn: number;
}

export interface ContextOptions extends FreshOptions {
  /** Holds the client back; nobody is silent then. */
  readonly flow?: Flow | undefined;
  /** Longest time in which the client sends nothing, or the engine takes nothing of what was sent, milliseconds. */
  readonly idle: number;
}

/**
 * The context of a classic build on its way to the engine: understood entry by entry and written anew.
 *
 * INVARIANT: the engine gets only entries that have one clear reading, in one clear form. What is unclear is left out
 * and named in the reading, so that nothing arrives that was not understood, even where a policy permits it.
 */
export function relayContext(source: Readable, options: ContextOptions): ContextRelay {
  const { limits } = options;
  const reader = writeFresh(options);
  let bytesIn = 0;
  let head: Buffer | undefined = Buffer.alloc(0);
  let compression: Compression = '';
  let decoder: Decoder | undefined;
  let inflated = 0;
  let state: 'reading' | 'read' | 'over' = 'reading';
  let wanted = false;
  let held = false;
  let complete = false;
  let timer: NodeJS.Timeout | undefined;
  let resolve: (reading: ContextReading) => void;
  let reject: (error: Error) => void;
  const read = new Promise<ContextReading>((ok, bad) => {
    resolve = ok;
    reject = bad;
  });
  // The caller may have given up already.
  read.catch(() => {});

  /** Both ways: nothing is read from a client while the engine takes nothing, so its leaving would not be seen. */
  const onIdle = (): void => {
    if (held) return arm();
    fail(
      source.isPaused()
        ? new Refusal(
            504,
            'upstream-timeout',
            `the Docker engine took nothing of the build context for ${options.idle} ms`,
          )
        : new Refusal(408, 'body-idle', `the build context was silent for ${options.idle} ms`),
    );
  };
  const arm = (): void => {
    clearTimeout(timer);
    timer = setTimeout(onIdle, options.idle);
  };
  /** Takes more from the client, or not, after what the engine and the decoder can take. */
  const flow = (): void => {
    if (state !== 'reading') return;
    decoder?.flow(wanted);
    if (complete) return;
    if (!held && (decoder === undefined ? wanted : decoder.ready())) {
      if (timer === undefined || source.isPaused()) arm();
      source.resume();
    } else if (!source.isPaused()) {
      arm();
      source.pause();
    }
  };
  const detach = (): void => {
    clearTimeout(timer);
    source.off('data', onData).off('end', onEnd).off('close', onCut);
    source.pause();
  };
  const fail = (error: Error): void => {
    if (state === 'over') return;
    state = 'over';
    detach();
    decoder?.destroy();
    reject(error);
    output.destroy(error);
  };
  const guarded = (step: () => void): void => {
    if (state !== 'reading') return;
    try {
      step();
    } catch (error) {
      fail(error instanceof Refusal ? error : broken('it could not be read'));
    }
  };
  /** Uncompressed bytes. */
  const plain = (chunk: Buffer): void => {
    inflated += chunk.length;
    if (inflated > limits.inflated) {
      throw tooLarge(`it is larger than ${limits.inflated} bytes (limits.context)`);
    }
    if (inflated > RATIO_FROM && inflated > bytesIn * (limits.ratio ?? Infinity)) {
      throw tooLarge(`it inflates to more than ${limits.ratio} times its size`);
    }
    reader.feed(chunk);
    const pieces = reader.take();
    for (const piece of pieces) wanted = output.push(piece);
  };
  const start = (chunk: Buffer): void => {
    compression = detectCompression(chunk);
    if (compression === '') return plain(chunk);
    decoder = openDecoder(compression, {
      data: (piece) =>
        guarded(() => {
          // A little input can become much output: the engine takes it, so nobody is silent.
          timer?.refresh();
          plain(piece);
          flow();
        }),
      ready: flow,
      end: (rest) =>
        guarded(() => {
          if (rest) reader.unclear('bytes after the compressed data');
          finish();
        }),
      error: (error) => fail(error instanceof Refusal ? error : broken('it could not be decompressed')),
    });
    decoder.write(chunk);
  };
  const onData = (chunk: Buffer): void =>
    guarded(() => {
      bytesIn += chunk.length;
      timer?.refresh();
      if (options.flow?.(chunk.length, onRelease) === false) held = true;
      if (head !== undefined) {
        head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
        // dockerd looks at 10 bytes.
        if (head.length < 10) return flow();
        const first = head;
        head = undefined;
        start(first);
      } else if (decoder !== undefined) {
        decoder.write(chunk);
      } else {
        plain(chunk);
      }
      flow();
    });
  const onRelease = (): void => {
    held = false;
    flow();
  };
  const onEnd = (): void =>
    guarded(() => {
      complete = true;
      clearTimeout(timer);
      timer = undefined;
      if (head !== undefined && head.length > 0) {
        const first = head;
        head = undefined;
        start(first);
      }
      if (decoder !== undefined) decoder.end();
      else finish();
    });
  const finish = (): void => {
    reader.end();
    for (const piece of reader.take()) output.push(piece);
    const reading = reader.reading(compression);
    state = 'read';
    detach();
    resolve(reading);
  };
  const onCut = (): void => {
    if (!source.readableEnded) {
      fail(new Refusal(400, 'body-cut', 'the build context was cut short by the client'));
    }
  };
  const onError = (error: Error): void => {
    if (error instanceof Refusal) fail(error);
    else onCut();
  };

  const output = new Readable({
    highWaterMark: 256 * 1024,
    read() {
      wanted = true;
      flow();
    },
    destroy(error, callback) {
      if (state !== 'over') fail(error ?? new Refusal(502, 'context-unread', 'the engine stopped reading'));
      callback(error);
    },
  });
  // INVARIANT: an output that nobody listens to any more must not end the process with its error.
  output.on('error', () => {});
  source.on('data', onData).on('end', onEnd).on('close', onCut).on('error', onError);
  source.pause();
  if (source.readableEnded || source.destroyed) {
    process.nextTick(() => (source.readableEnded ? onEnd() : onCut()));
  }

  return {
    output,
    read,
    release() {
      // INVARIANT: no block of zeros, the mark for the end, reaches the engine before the verdict: dockerd starts to
      // build when it has read it.
      if (state !== 'read') throw new Error('the context was not read to its end');
      state = 'over';
      output.push(ZEROS);
      output.push(null);
    },
    destroy: (error) => fail(error ?? new Refusal(499, 'context-dropped', 'the build context was given up')),
    get bytesIn() {
      return bytesIn;
    },
  };
}
