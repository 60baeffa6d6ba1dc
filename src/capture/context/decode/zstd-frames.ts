import { broken } from '../header.js';
import { another, damaged, need, pass, type Input, type Reading } from './input.js';
import { checkWindow } from './memory.js';

// Where the frames of Zstandard data (RFC 8878) begin and end. node:zlib decodes what is in them; but on Node 22 it takes
// data that stops in the middle for complete, and on Node 22 and 24 it stops silently after the first frame of several.

const MAGIC = 0xfd2fb528;
/** All but the lowest four bits, which are free. */
const SKIPPABLE = 0x184d2a5;

interface Header {
  /** Bytes of the header, magic number included. */
  readonly size: number;
  /** Bytes of the window that decoding needs. */
  readonly window: number;
  readonly checked: boolean;
}

function* readHeader(input: Input): Reading<Header> {
  yield* need(input, 5, 'zstd');
  const flags = input.bytes[input.at + 4]!;
  if ((flags & 8) !== 0) throw damaged('zstd', 'the flags of a frame');
  /** The content is one segment, and itself the window. */
  const single = (flags & 0x20) !== 0;
  const windowBytes = single ? 0 : 1;
  const dictionaryBytes = [0, 1, 2, 4][flags & 3]!;
  const contentBytes = [single ? 1 : 0, 2, 4, 8][flags >> 6]!;
  const size = 5 + windowBytes + dictionaryBytes + contentBytes;
  yield* need(input, size, 'zstd');
  const { bytes, at } = input;
  for (let i = 0; i < dictionaryBytes; i++) {
    if (bytes[at + 5 + windowBytes + i] !== 0)
      throw broken('the zstd data needs a dictionary, which the engine has not');
  }
  let window = 0;
  if (single) {
    for (let i = size - 1; i >= size - contentBytes; i--) window = window * 256 + bytes[at + i]!;
    if (contentBytes === 2) window += 256;
  } else {
    const base = 2 ** (10 + (bytes[at + 5]! >> 3));
    window = base + (base / 8) * (bytes[at + 5]! & 7);
  }
  return { size, window, checked: (flags & 4) !== 0 };
}

/**
 * Gives the data as it is, and `frame` at the end of each frame.
 *
 * @param onWindow gets the bytes of each frame's window
 * @throws Refusal 400 when it stops in the middle, is damaged or needs a dictionary, 413 for a window that is too large
 */
export function* readFrames(
  input: Input,
  onWindow: (bytes: number) => void,
): Reading<void, Buffer | 'frame'> {
  while (yield* another(input)) {
    yield* need(input, 4, 'zstd');
    const magic = input.bytes.readUInt32LE(input.at);
    if (magic >>> 4 === SKIPPABLE) {
      yield* need(input, 8, 'zstd');
      yield* pass(input, 8 + input.bytes.readUInt32LE(input.at + 4), 'zstd');
    } else if (magic === MAGIC) {
      const { size, window, checked } = yield* readHeader(input);
      checkWindow(window, 'zstd');
      onWindow(window);
      yield* pass(input, size, 'zstd');
      for (let last = false; !last;) {
        yield* need(input, 3, 'zstd');
        const head = input.bytes.readUIntLE(input.at, 3);
        last = (head & 1) === 1;
        const type = (head >> 1) & 3;
        if (type === 3) throw damaged('zstd', 'an unknown kind of block');
        // A block of one repeated byte holds that byte alone.
        yield* pass(input, 3 + (type === 1 ? 1 : head >> 3), 'zstd');
      }
      if (checked) yield* pass(input, 4, 'zstd');
    } else {
      throw damaged('zstd', 'something else where a frame begins');
    }
    yield 'frame';
  }
}
