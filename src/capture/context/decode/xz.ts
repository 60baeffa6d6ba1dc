import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { broken } from '../header.js';
import { openCrc64, type Digest } from './checksums.js';
import { another, damaged, need, type Decoding, type Input, type Part } from './input.js';
import { openLzma } from './lzma.js';
import {
  append,
  checkWindow,
  closeWindow,
  forget,
  makeRoom,
  openWindow,
  taken,
  type Window,
} from './window.js';

// The .xz file format (tukaani.org/xz/xz-file-format.txt), as the `xz -dc` that dockerd runs reads it: streams one
// after the other, zeros between them. Filters other than LZMA2 are refused.

const MAGIC = Buffer.from('fd377a585a00', 'hex');
const PIECE = 16 * 1024;
const LZMA2 = 0x21;

const bad = (what: string): Error => damaged('xz', what);
const wait = (input: Input, count: number): Part<void> => need(input, count, 'xz');

type MakeCheck = () => Digest;
/** By the type's number in the stream's flags. */
const CHECKS: Readonly<Record<number, MakeCheck>> = {
  0: () => ({ update: () => {}, bytes: () => Buffer.alloc(0) }),
  1: openCrc32,
  4: openCrc64,
  10: () => {
    const hash = createHash('sha256');
    return { update: (piece) => void hash.update(piece), bytes: () => hash.digest() };
  },
};

function openCrc32(): Digest {
  let crc = 0;
  return {
    update(piece) {
      crc = crc32(piece, crc);
    },
    bytes() {
      const out = Buffer.alloc(4);
      out.writeUInt32LE(crc);
      return out;
    },
  };
}

/** What the index must say again: how many blocks, and a digest of their sizes. */
interface Records {
  count: number;
  readonly digest: ReturnType<typeof createHash>;
}
const openRecords = (): Records => ({ count: 0, digest: createHash('sha256') });
function record(records: Records, unpadded: number, size: number): void {
  records.count += 1;
  records.digest.update(`${unpadded} ${size}\n`);
}

/** A number of seven bits for each byte, lowest first, from bytes that are there. */
function number(bytes: Buffer, at: number, end: number): { value: number; at: number } {
  let value = 0;
  for (let i = 0; i < 8; i++) {
    if (at >= end) break;
    const byte = bytes[at++]!;
    if (byte === 0 && i > 0) break;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) {
      if (!Number.isSafeInteger(value)) break;
      return { value, at };
    }
  }
  throw bad('a number');
}

function checkedCrc(bytes: Buffer, what: string): void {
  const end = bytes.length - 4;
  if (crc32(bytes.subarray(0, end)) !== bytes.readUInt32LE(end))
    throw bad(`the checksum of ${what} is wrong`);
}

/** Takes `count` bytes out of the input. */
function* take(input: Input, count: number): Part<Buffer> {
  yield* wait(input, count);
  input.at += count;
  return input.bytes.subarray(input.at - count, input.at);
}

interface BlockHeader {
  readonly size: number;
  readonly compressed: number | undefined;
  readonly uncompressed: number | undefined;
  readonly dictionary: number;
}

function readBlockHeader(header: Buffer): BlockHeader {
  checkedCrc(header, 'a block header');
  const end = header.length - 4;
  const flags = header[1]!;
  if ((flags & 0x3c) !== 0) throw bad('the flags of a block');
  let at = 2;
  const next = (): number => {
    const one = number(header, at, end);
    at = one.at;
    return one.value;
  };
  const compressed = (flags & 0x40) === 0 ? undefined : next();
  const uncompressed = (flags & 0x80) === 0 ? undefined : next();
  if ((flags & 3) !== 0 || next() !== LZMA2) {
    throw broken('the xz data uses a filter other than LZMA2, which is not read here');
  }
  if (next() !== 1 || at >= end) throw bad('the properties of LZMA2');
  const bits = header[at++]!;
  if (bits > 40) throw bad('the size of the dictionary');
  for (; at < end; at++) if (header[at] !== 0) throw bad('the padding of a block header');
  const dictionary = bits === 40 ? 2 ** 32 - 1 : (2 | (bits & 1)) * 2 ** ((bits >> 1) + 11);
  checkWindow(dictionary, 'xz');
  return { size: header.length, compressed, uncompressed, dictionary };
}

/** The chunks of a block. @returns its compressed and uncompressed sizes. */
function* readChunks(
  input: Input,
  window: Window,
  dictionary: number,
  check: Digest,
): Part<{ packed: number; unpacked: number }> {
  const lzma = openLzma(window, dictionary);
  let packed = 0;
  let unpacked = 0;
  /** What the next chunk must at least reset: 2 the dictionary, 1 the properties. */
  let due = 2;
  for (;;) {
    yield* wait(input, 1);
    const control = input.bytes[input.at]!;
    const head = control === 0 ? 1 : control < 0x80 ? 3 : control < 0xc0 ? 5 : 6;
    yield* wait(input, head);
    const { bytes, at } = input;
    input.at += head;
    packed += head;
    if (control === 0) return { packed, unpacked };
    const low = bytes.readUInt16BE(at + 1) + 1;
    if (control === 1 || control >= 0xe0) {
      forget(window);
      due = 1;
    } else if (due === 2) {
      throw bad('no dictionary to begin with');
    }
    if (control < 0x80) {
      if (control > 2) throw bad('an unknown kind of chunk');
      yield* wait(input, low);
      makeRoom(window, low, dictionary);
      append(window, input.bytes.subarray(input.at, input.at + low));
      input.at += low;
      packed += low;
      unpacked += low;
      const piece = taken(window, window.at - low);
      check.update(piece);
      yield piece;
      continue;
    }
    const size = low + (control & 0x1f) * 65536;
    const length = bytes.readUInt16BE(at + 3) + 1;
    if (control >= 0xc0) lzma.properties(bytes[at + 5]!);
    else if (due === 1) throw bad('no properties to begin with');
    else if (control >= 0xa0) lzma.reset();
    due = 0;
    yield* wait(input, length);
    lzma.begin(Buffer.from(input.bytes.subarray(input.at, input.at + length)));
    input.at += length;
    packed += length;
    unpacked += size;
    for (let todo = size; todo > 0;) {
      // A match may lead up to 273 bytes past the piece.
      const room = Math.min(todo, PIECE + 273);
      makeRoom(window, room, dictionary);
      const from = window.at;
      lzma.run(from + Math.min(todo, PIECE), from + room);
      todo -= window.at - from;
      const piece = taken(window, from);
      check.update(piece);
      yield piece;
    }
    if (!lzma.finished()) throw bad('a chunk that is too long');
  }
}

function* readBlock(input: Input, window: Window, makeCheck: MakeCheck, records: Records): Part<void> {
  yield* wait(input, 1);
  const header = readBlockHeader(yield* take(input, (input.bytes[input.at]! + 1) * 4));
  const check = makeCheck();
  forget(window);
  const { packed, unpacked } = yield* readChunks(input, window, header.dictionary, check);
  if (packed !== (header.compressed ?? packed) || unpacked !== (header.uncompressed ?? unpacked)) {
    throw bad('the size of a block is not the one that was stated');
  }
  for (const byte of yield* take(input, -packed & 3)) if (byte !== 0) throw bad('the padding of a block');
  const expected = check.bytes();
  if (!(yield* take(input, expected.length)).equals(expected)) throw bad('the checksum of a block is wrong');
  record(records, header.size + packed + expected.length, unpacked);
}

/** @returns the size of the index. */
function* readIndex(input: Input, records: Records): Part<number> {
  const found = openRecords();
  let crc = 0;
  let size = 0;
  const took = (bytes: Buffer): void => {
    crc = crc32(bytes, crc);
    size += bytes.length;
  };
  took(yield* take(input, 1));
  function* next(): Part<number> {
    // As much as a number can take, or all there is before one ends.
    for (let count = 1; ; count++) {
      yield* wait(input, count);
      if (input.bytes[input.at + count - 1]! >= 0x80 && count < 9) continue;
      const { value } = number(input.bytes, input.at, input.at + count);
      took(yield* take(input, count));
      return value;
    }
  }
  const count = yield* next();
  if (count !== records.count) throw bad('the index has another number of blocks');
  for (let i = 0; i < count; i++) {
    record(found, yield* next(), yield* next());
    if (i % 1000 === 999) yield 'turn';
  }
  if (!found.digest.digest().equals(records.digest.digest())) throw bad('the index has other sizes');
  const padding = yield* take(input, -size & 3);
  for (const byte of padding) if (byte !== 0) throw bad('the padding of the index');
  took(padding);
  if ((yield* take(input, 4)).readUInt32LE() !== crc) throw bad('the checksum of the index is wrong');
  return size + 4;
}

function* readStream(input: Input, window: Window): Part<void> {
  const head = yield* take(input, 12);
  if (!head.subarray(0, 6).equals(MAGIC)) throw bad('something else where a stream begins');
  checkedCrc(head.subarray(6), 'a stream header');
  const flags = head.readUInt16BE(6);
  const makeCheck = CHECKS[flags];
  if (makeCheck === undefined) throw broken('the xz data has a kind of checksum that is not known here');
  const records = openRecords();
  for (;;) {
    yield* wait(input, 1);
    if (input.bytes[input.at] === 0) break;
    yield* readBlock(input, window, makeCheck, records);
    yield 'turn';
  }
  const index = yield* readIndex(input, records);
  const foot = yield* take(input, 12);
  if (crc32(foot.subarray(4, 10)) !== foot.readUInt32LE(0))
    throw bad('the checksum of a stream footer is wrong');
  if (foot.toString('latin1', 10) !== 'YZ') throw bad('the end of a stream');
  if ((foot.readUInt32LE(4) + 1) * 4 !== index) throw bad('the size of the index');
  if (foot.readUInt16BE(8) !== flags) throw bad('the flags at the end are not those at the beginning');
}

export function* decodeXz(input: Input): Decoding {
  const window = openWindow();
  try {
    do {
      yield* readStream(input, window);
      // Padding between and after streams: zeros, in fours.
      while ((yield* another(input)) && input.bytes[input.at] === 0) {
        const four = yield* take(input, 4);
        if (four.readUInt32LE() !== 0) throw bad('the padding of a stream');
      }
    } while (yield* another(input));
  } finally {
    closeWindow(window);
  }
}
