import { broken } from '../header.js';
import { openXxh64, type Digest } from './checksums.js';
import { another, need, type Decoding, type Input, type Part } from './input.js';
import { BLOCK_LIMIT, openMemory, readBlock } from './zstd-block.js';
import { bad } from './zstd-codes.js';
import { checkWindow, closeWindow, forget, makeRoom, openWindow, taken, type Window } from './window.js';

// Zstandard (RFC 8878): frames one after the other, with skippable ones between; no dictionaries.

/** Output of one step, bytes. */
const PIECE = 32 * 1024;
const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a5;

const wait = (input: Input, count: number): Part<void> => need(input, count, 'zstd');

interface Header {
  /** Stated size of the content, bytes. */
  readonly content: number | undefined;
  readonly window: number;
  readonly checked: boolean;
}

function* readHeader(input: Input): Part<Header> {
  yield* wait(input, 1);
  const flags = input.bytes[input.at++]!;
  if ((flags & 8) !== 0) throw bad('the flags of a frame');
  const whole = (flags & 0x20) !== 0;
  const contentBytes = [whole ? 1 : 0, 2, 4, 8][flags >> 6]!;
  const dictionaryBytes = [0, 1, 2, 4][flags & 3]!;
  yield* wait(input, (whole ? 0 : 1) + dictionaryBytes + contentBytes);
  let window = 0;
  if (!whole) {
    const byte = input.bytes[input.at++]!;
    const base = 2 ** (10 + (byte >> 3));
    window = base + (base / 8) * (byte & 7);
  }
  for (let i = 0; i < dictionaryBytes; i++) {
    if (input.bytes[input.at++] !== 0)
      throw broken('the zstd data needs a dictionary, which the engine has not');
  }
  let content: number | undefined;
  if (contentBytes > 0) {
    content = 0;
    for (let i = contentBytes - 1; i >= 0; i--) content = content * 256 + input.bytes[input.at + i]!;
    if (contentBytes === 2) content += 256;
    input.at += contentBytes;
  }
  if (whole) window = content!;
  checkWindow(window, 'zstd');
  return { content, window, checked: (flags & 4) !== 0 };
}

function* readFrame(input: Input, window: Window): Part<void> {
  const header = yield* readHeader(input);
  const digest: Digest | undefined = header.checked ? openXxh64() : undefined;
  const most = Math.min(header.window, BLOCK_LIMIT);
  const memory = openMemory();
  forget(window);
  let total = 0;
  for (let last = false; !last;) {
    yield* wait(input, 3);
    const head = input.bytes.readUIntLE(input.at, 3);
    input.at += 3;
    last = (head & 1) === 1;
    const type = (head >> 1) & 3;
    const size = head >> 3;
    if (type === 3) throw bad('an unknown kind of block');
    if (size > most) throw bad('a block that is too long');
    const there = type === 1 ? 1 : size;
    yield* wait(input, there);
    makeRoom(window, most, header.window);
    const from = window.at;
    const { bytes, at } = input;
    input.at += there;
    if (type === 2) {
      if (size < 2) throw bad('a block that is too short');
      const block = Buffer.alloc(size + 8);
      bytes.copy(block, 0, at, at + size);
      yield* readBlock(block, size, window, memory, most, header.window);
    } else {
      if (type === 0) bytes.copy(window.bytes, from, at, at + size);
      else window.bytes.fill(bytes[at]!, from, from + size);
      window.at += size;
      window.past += size;
    }
    const piece = taken(window, from);
    total += piece.length;
    if (total > (header.content ?? total)) throw bad('more than the stated size');
    if (piece.length === 0) yield 'turn';
    for (let start = 0; start < piece.length; start += PIECE) {
      const part = piece.subarray(start, start + PIECE);
      digest?.update(part);
      yield part;
    }
  }
  if (total !== (header.content ?? total)) throw bad('less than the stated size');
  if (digest === undefined) return;
  yield* wait(input, 4);
  const stated = input.bytes.subarray(input.at, input.at + 4);
  if (!stated.equals(digest.bytes())) throw bad('the checksum of a frame is wrong');
  input.at += 4;
}

export function* decodeZstd(input: Input): Decoding {
  const window = openWindow();
  try {
    while (yield* another(input)) {
      yield* wait(input, 4);
      const magic = input.bytes.readUInt32LE(input.at);
      input.at += 4;
      if (magic === MAGIC) {
        yield* readFrame(input, window);
      } else if (magic >>> 4 === SKIPPABLE) {
        yield* wait(input, 4);
        let rest = input.bytes.readUInt32LE(input.at);
        input.at += 4;
        while (rest > 0) {
          yield* wait(input, 1);
          const count = Math.min(rest, input.end - input.at);
          input.at += count;
          rest -= count;
        }
      } else {
        throw bad('something else where a frame begins');
      }
    }
  } finally {
    closeWindow(window);
  }
}
