import xzDecompress from 'xz-decompress';
import { Refusal } from '../../../docker/refusal.js';
import { broken } from '../header.js';
import { cut, damaged, PIECE, type Input, type Reading } from './input.js';
import { outOfMemory, WindowShare, WINDOW_LIMIT } from './memory.js';
import { BlockDigests, readContainer } from './xz-container.js';

/** What the WebAssembly of xz-decompress exports: xz-embedded, which reads several streams as one, as `xz -dc` does. */
interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  /** @returns where the context is in `memory`, a `struct` of the fields below. */
  create_context(): number;
  /** How many bytes were put into the input buffer; 0: there are no more. */
  supply_input(context: number, bytes: number): void;
  get_next_output(context: number): number;
  destroy_context(context: number): void;
}

/** Fields of a context, as places of 32-bit numbers. */
const INPUT = 1;
const INPUT_AT = 2;
const INPUT_END = 3;
const OUTPUT = 4;
const OUTPUT_AT = 5;

/** What `get_next_output` returns (xz-embedded, `enum xz_ret`); everything else is damage. */
const OK = 0;
const STREAM_END = 1;
const MEMORY_ERROR = 3;
const UNKNOWN_OPTIONS = 6;
const STOPS = 8;

/**
 * Bytes given to the decoder at once. One call must not take long, and a chunk of eleven bytes can make it set up all its
 * 28 kB of state anew.
 */
const STEP = 8 * 1024;

/** Of which the public `XzReadableStream` is made. */
interface Loader {
  _getModuleInstance(): Promise<void>;
  _moduleInstance?: { readonly exports: Exports };
}

export interface XzDecoder {
  readonly exports: Exports;
  /** Most bytes of its memory that a window filled. */
  filled: number;
}

/** One that was used and can be used again: a new one takes some milliseconds of CPU. */
let idle: XzDecoder | undefined;
/** Most of its memory that an idle decoder may have filled; others are left to the garbage collector. */
const MAX_IDLE = 16 * 1024 ** 2;
let opening: Promise<unknown> = Promise.resolve();

/**
 * A decoder with a memory of its own.
 *
 * The package's `XzReadableStream` is not used: it lets one stream of the whole process decode at a time and the others
 * wait until that one ends, so a client that sends slowly would keep all others waiting. It also keeps the memory of the
 * largest stream for ever.
 */
export async function openXz(): Promise<XzDecoder> {
  const used = idle;
  idle = undefined;
  if (used !== undefined) return used;
  const loader = xzDecompress.XzReadableStream as unknown as Loader;
  const opened = opening.then(async () => {
    await loader._getModuleInstance();
    return { exports: loader._moduleInstance!.exports, filled: 0 };
  });
  opening = opened.catch(() => undefined);
  return opened;
}

/** A decoder that failed by itself must not be given back. */
export function closeXz(decoder: XzDecoder): void {
  const { memory } = decoder.exports;
  if (decoder.filled <= MAX_IDLE && memory.buffer.byteLength <= 2 * WINDOW_LIMIT) idle = decoder;
}

function failure(result: number): Error {
  if (result === STOPS) return cut('xz');
  if (result === MEMORY_ERROR) return outOfMemory();
  if (result === UNKNOWN_OPTIONS) return broken('the xz data uses an option that is not read here');
  return damaged('xz', 'a checksum, a size or the compressed data is wrong');
}

/**
 * Decodes .xz files with a decoder of `openXz`, which it closes, as the `xz -dc` that dockerd runs does: several streams are one, and zeros may stand between them.
 * Checksums, sizes and the index are checked; filters other than LZMA2 are refused.
 */
export function* decodeXz(input: Input, decoder: XzDecoder): Reading<void, Buffer | 'turn'> {
  const share = new WindowShare();
  const { exports } = decoder;
  const context = exports.create_context();
  let sound = true;
  try {
    const digests = new BlockDigests();
    const container = readContainer(input, digests);
    /** The memory can grow, and is another buffer then. */
    const fields = (): Uint32Array => new Uint32Array(exports.memory.buffer, context, OUTPUT_AT + 1);
    let produced = 0;
    for (;;) {
      let given = 0;
      let over = false;
      const target = new Uint8Array(exports.memory.buffer, fields()[INPUT], STEP + PIECE);
      while (given < STEP && !over) {
        const next = container.next();
        if (next.done === true) {
          over = true;
        } else if (next.value !== 'more') {
          target.set(next.value, given);
          given += next.value.length;
        } else if (given > 0) {
          break;
        } else {
          yield 'more';
        }
      }
      // Zero bytes of input signal the end to the decoder.
      exports.supply_input(context, given);
      for (;;) {
        const result = exports.get_next_output(context);
        if (result !== OK && result !== STREAM_END) throw failure(result);
        const state = fields();
        const output = Buffer.from(new Uint8Array(exports.memory.buffer, state[OUTPUT], state[OUTPUT_AT]));
        state[OUTPUT_AT] = 0;
        produced += output.length;
        const filled = Math.min(produced, WINDOW_LIMIT);
        share.grow(filled);
        decoder.filled = Math.max(decoder.filled, filled);
        digests.update(output);
        yield output.length > 0 ? output : 'turn';
        if (result === STREAM_END) return digests.end();
        if (given > 0 && state[INPUT_AT] === state[INPUT_END]) break;
      }
    }
  } catch (error) {
    sound = error instanceof Refusal;
    throw error;
  } finally {
    share.close();
    if (sound) {
      exports.destroy_context(context);
      closeXz(decoder);
    }
  }
}
