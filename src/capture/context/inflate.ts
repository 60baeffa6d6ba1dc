import type { Compression } from '../../docker/build-context.js';
import { detectCompression, openDecoder, type Decoder } from './decompress.js';
import { tooLarge, type ContextLimits } from './rewrite.js';

/** The ratio is checked from this many bytes on: a small context of blanks compresses very well. */
const RATIO_FROM = 64 * 1024 ** 2;
/** dockerd determines the compression by this many bytes. */
const MAGIC_LENGTH = 10;

export interface InflaterEvents {
  /** Uncompressed bytes. */
  data(chunk: Buffer): void;
  /** All of it was read. `hasRest`: bytes follow the compressed data. */
  end(hasRest: boolean): void;
  /** The decoder can take more, or has given something. */
  ready(): void;
  /** Runs a step that the decoder begins, and deals with what it throws. */
  run(step: () => void): void;
  error(error: Error): void;
}

/** The bytes of a build context, decompressed as dockerd would, within limits. */
export class Inflater {
  /** Bytes taken from the client so far. */
  bytesIn = 0;
  compression: Compression = '';
  readonly #limits: ContextLimits;
  readonly #events: InflaterEvents;
  /** The first bytes, until there are enough to determine the compression. */
  #head: Buffer | undefined = Buffer.alloc(0);
  #decoder: Decoder | undefined;
  #bytesOut = 0;

  constructor(limits: ContextLimits, events: InflaterEvents) {
    this.#limits = limits;
    this.#events = events;
  }

  /** Can it take more from the client? @param isOutputWanted the engine can take more. */
  isReady(isOutputWanted: boolean): boolean {
    return this.#decoder === undefined ? isOutputWanted : this.#decoder.ready();
  }

  /** Lets the decoder give its output, or holds it back. */
  flow(isOutputWanted: boolean): void {
    this.#decoder?.flow(isOutputWanted);
  }

  /** @throws Refusal 413 */
  write(chunk: Buffer): void {
    this.bytesIn += chunk.length;
    if (this.#head !== undefined) {
      this.#head = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]);
      if (this.#head.length >= MAGIC_LENGTH) this.#start();
    } else if (this.#decoder !== undefined) this.#decoder.write(chunk);
    else this.#pass(chunk);
  }

  /** The client has sent everything. */
  end(): void {
    if (this.#head !== undefined && this.#head.length > 0) this.#start();
    if (this.#decoder !== undefined) this.#decoder.end();
    else this.#events.end(false);
  }

  destroy(): void {
    this.#decoder?.destroy();
  }

  #start(): void {
    const head = this.#head!;
    this.#head = undefined;
    this.compression = detectCompression(head);
    if (this.compression === '') return this.#pass(head);
    const events = this.#events;
    this.#decoder = openDecoder(this.compression, {
      data: (piece) =>
        events.run(() => {
          this.#pass(piece);
          events.ready();
        }),
      ready: () => events.ready(),
      end: (hasRest) => events.run(() => events.end(hasRest)),
      error: (error) => events.error(error),
    });
    this.#decoder.write(head);
  }

  #pass(chunk: Buffer): void {
    this.#bytesOut += chunk.length;
    const { inflated, ratio = Infinity } = this.#limits;
    if (this.#bytesOut > inflated) throw tooLarge(`it is larger than ${inflated} bytes (limits.context)`);
    if (this.#bytesOut > RATIO_FROM && this.#bytesOut > this.bytesIn * ratio) {
      throw tooLarge(`it inflates to more than ${ratio} times its size`);
    }
    this.#events.data(chunk);
  }
}
