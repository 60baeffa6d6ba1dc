import { createHash, type Hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { broken } from '../header.js';
import { another, damaged, need, pass, take, type Input, type Reading } from './input.js';
import { checkWindow } from './memory.js';

// The container of .xz files (tukaani.org/xz/xz-file-format.txt): streams one after the other, zeros between them. The
// decoder of xz.ts checks it. It is read here as well because that decoder knows no SHA-256, and because its errors are
// bare numbers that say neither which filter nor how large a dictionary was asked for.

const LZMA2 = 0x21;
const SHA256 = 10;
/** Bytes of a check, by its number in the stream's flags. */
const CHECKS: Readonly<Record<number, number>> = { 0: 0, 1: 4, 4: 8, [SHA256]: 32 };
/** The header of a stream without checks. */
const UNCHECKED = Buffer.from('fd377a585a000000ff12d941', 'hex');

const bad = (what: string): Error => damaged('xz', what);

interface Block {
  readonly hash: Hash | undefined;
  /** Where its output ends, counted from the beginning of all output; infinite until it is known. */
  end: number;
  /** What its SHA-256 must be. */
  digest: Buffer | undefined;
}

/** Compares the SHA-256 of blocks that have one with what came out of the decoder. */
export class BlockDigests {
  /** Blocks whose output is not complete. */
  readonly #blocks: Block[] = [];
  #position = 0;

  /** A block whose data comes now. */
  begin(hashed: boolean): Block {
    const block: Block = {
      hash: hashed ? createHash('sha256') : undefined,
      end: Infinity,
      digest: undefined,
    };
    this.#blocks.push(block);
    return block;
  }

  /** @throws Refusal 400 when a block that ended has another SHA-256. */
  update(output: Buffer): void {
    for (let at = 0; ;) {
      while (this.#blocks[0]?.end === this.#position) {
        const { hash, digest } = this.#blocks.shift()!;
        if (digest !== undefined && hash?.digest().equals(digest) !== true)
          throw bad('the checksum of a block is wrong');
      }
      const block = this.#blocks[0];
      if (at === output.length) return;
      if (block === undefined || block.end < this.#position) throw bad('the size of a block');
      const size = Math.min(output.length - at, block.end - this.#position);
      block.hash?.update(output.subarray(at, at + size));
      this.#position += size;
      at += size;
    }
  }

  /** @throws Refusal 400 when a block was not compared. */
  end(): void {
    if (this.#blocks.length > 0) throw bad('the size of a block');
  }
}

/** A number of seven bits for each byte, lowest first. @returns it and the place after it. */
function readNumber(bytes: Buffer, at: number, end: number): { value: number; at: number } {
  let value = 0;
  for (let i = 0; i < 8 && at + i < end; i++) {
    const byte = bytes[at + i]!;
    if (byte === 0 && i > 0) break;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte >= 0x80) continue;
    if (!Number.isSafeInteger(value)) break;
    return { value, at: at + i + 1 };
  }
  throw bad('a number');
}

function writeNumber(value: number): Buffer {
  const bytes: number[] = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80);
  return Buffer.from([...bytes, value]);
}

/** @throws Refusal 400 for other filters than LZMA2, 413 for a dictionary that is too large. */
function checkBlockHeader(header: Buffer): void {
  const end = header.length - 4;
  if (crc32(header.subarray(0, end)) !== header.readUInt32LE(end))
    throw bad('the checksum of a block header is wrong');
  const flags = header[1]!;
  let at = 2;
  const next = (): number => {
    const number = readNumber(header, at, end);
    at = number.at;
    return number.value;
  };
  // The compressed and the uncompressed size.
  if ((flags & 0x40) !== 0) next();
  if ((flags & 0x80) !== 0) next();
  if ((flags & 3) !== 0 || next() !== LZMA2)
    throw broken('the xz data uses a filter other than LZMA2, which is not read here');
  if (next() !== 1 || at >= end) throw bad('the properties of LZMA2');
  const bits = header[at]!;
  if (bits > 40) throw bad('the size of the dictionary');
  checkWindow(bits === 40 ? 2 ** 32 - 1 : (2 | (bits & 1)) * 2 ** ((bits >> 1) + 11), 'xz');
}

/** Chunks of LZMA2. @returns their bytes, and the bytes that will come out of them. */
function* readChunks(input: Input): Reading<{ packed: number; unpacked: number }, Buffer> {
  let packed = 0;
  let unpacked = 0;
  for (;;) {
    yield* need(input, 1, 'xz');
    const control = input.bytes[input.at]!;
    if (control > 2 && control < 0x80) throw bad('an unknown kind of chunk');
    const head = control === 0 ? 1 : control < 0x80 ? 3 : control < 0xc0 ? 5 : 6;
    yield* need(input, head, 'xz');
    let size = head;
    if (control !== 0) {
      const low = input.bytes.readUInt16BE(input.at + 1) + 1;
      unpacked += control < 0x80 ? low : low + (control & 0x1f) * 65536;
      size += control < 0x80 ? low : input.bytes.readUInt16BE(input.at + 3) + 1;
    }
    packed += size;
    yield* pass(input, size, 'xz');
    if (control === 0) return { packed, unpacked };
  }
}

/** Bytes of an index with their checksum. */
class Sum {
  size = 0;
  crc = 0;

  add(bytes: Buffer): Buffer {
    this.size += bytes.length;
    this.crc = crc32(bytes, this.crc);
    return bytes;
  }
}

/** The index and the footer; when the checks were taken out of the blocks, their sizes are `without` smaller. */
function* readIndex(input: Input, without: number): Reading<void, Buffer> {
  const read = new Sum();
  const written = new Sum();
  function* number(): Reading<number> {
    for (let count = 1; ; count++) {
      yield* need(input, count, 'xz');
      if (input.bytes[input.at + count - 1]! >= 0x80 && count < 9) continue;
      const { value } = readNumber(input.bytes, input.at, input.at + count);
      read.add(yield* take(input, count, 'xz'));
      return value;
    }
  }
  yield written.add(read.add(yield* take(input, 1, 'xz')));
  const count = yield* number();
  yield written.add(writeNumber(count));
  for (let i = 0; i < count; i++) {
    const size = (yield* number()) - without;
    if (size < 0) throw bad('the index has other sizes');
    yield written.add(writeNumber(size));
    yield written.add(writeNumber(yield* number()));
  }
  const padding = read.add(yield* take(input, -read.size & 3, 'xz'));
  if (padding.some((byte) => byte !== 0)) throw bad('the padding of the index');
  yield written.add(Buffer.alloc(-written.size & 3));
  const end = Buffer.from(yield* take(input, 16, 'xz'));
  if (without > 0) {
    if (end.readUInt32LE(0) !== read.crc) throw bad('the checksum of the index is wrong');
    if (crc32(end.subarray(8, 14)) !== end.readUInt32LE(4))
      throw bad('the checksum of a stream footer is wrong');
    if ((end.readUInt32LE(8) + 1) * 4 !== read.size + 4) throw bad('the size of the index');
    if (end.readUInt16BE(12) !== SHA256) throw bad('the flags at the end are not those at the beginning');
    end.writeUInt32LE(written.crc, 0);
    end.writeUInt32LE(written.size / 4, 8);
    end.writeUInt16BE(0, 12);
    end.writeUInt32LE(crc32(end.subarray(8, 14)), 4);
  }
  yield end;
}

function* readStream(input: Input, digests: BlockDigests, position: number): Reading<number, Buffer> {
  const head = yield* take(input, 12, 'xz');
  if (!head.subarray(0, 6).equals(UNCHECKED.subarray(0, 6)))
    throw bad('something else where a stream begins');
  if (crc32(head.subarray(6, 8)) !== head.readUInt32LE(8))
    throw bad('the checksum of a stream header is wrong');
  const kind = head.readUInt16BE(6);
  const check = CHECKS[kind];
  if (check === undefined) throw broken('the xz data has a kind of checksum that is not known here');
  const hashed = kind === SHA256;
  yield hashed ? UNCHECKED : head;
  for (;;) {
    yield* need(input, 1, 'xz');
    if (input.bytes[input.at] === 0) break;
    const header = yield* take(input, (input.bytes[input.at]! + 1) * 4, 'xz');
    checkBlockHeader(header);
    yield header;
    const block = digests.begin(hashed);
    const { packed, unpacked } = yield* readChunks(input);
    yield* pass(input, -packed & 3, 'xz');
    if (hashed) block.digest = Buffer.from(yield* take(input, check, 'xz'));
    else yield* pass(input, check, 'xz');
    position += unpacked;
    block.end = position;
  }
  yield* readIndex(input, hashed ? check : 0);
  return position;
}

/**
 * Gives the data as it is, but without SHA-256: streams that have it are given as streams without checks.
 *
 * @param digests learns of each block, and what its SHA-256 must be
 * @throws Refusal 400 when it stops in the middle, is damaged or uses what is not read here, 413 for a dictionary that is too large
 */
export function* readContainer(input: Input, digests: BlockDigests): Reading<void, Buffer> {
  let position = 0;
  do {
    position = yield* readStream(input, digests, position);
    // Padding between and after streams: zeros, in fours.
    while ((yield* another(input)) && input.bytes[input.at] === 0) yield yield* take(input, 4, 'xz');
  } while (yield* another(input));
}
