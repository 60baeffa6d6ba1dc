import { bzip2Crc } from './checksums.js';
import { another, cut, damaged, left, need, type Decoding, type Input, type Part } from './input.js';

// bzip2 as Go's compress/bzip2 reads it: several streams one after the other, no randomised blocks.

const GROUP = 50;
/** A group takes at most 50 codes of 20 bits; other steps take less. */
const STEP = 256;
const PIECE = 64 * 1024;
const bad = (what: string): Error => damaged('bzip2', what);

interface Bits {
  readonly input: Input;
  hold: number;
  count: number;
}

/** At most 24 bits. */
function take(bits: Bits, count: number): number {
  while (bits.count < count) {
    const { input } = bits;
    if (input.at === input.end) throw cut('bzip2');
    bits.hold = (bits.hold << 8) | input.bytes[input.at++]!;
    bits.count += 8;
  }
  bits.count -= count;
  const value = bits.hold >>> bits.count;
  bits.hold &= (1 << bits.count) - 1;
  return value;
}

/** Waits until a step surely has its input, or all there is. */
function* ahead(bits: Bits): Part<void> {
  while (left(bits.input) < STEP && !bits.input.over) yield 'more';
}

interface Code {
  readonly least: number;
  /** For each length: the largest code of that length, -1 none. */
  readonly limit: Int32Array;
  /** For each length: what to take off a code to get its place in `symbols`. */
  readonly base: Int32Array;
  readonly symbols: Uint16Array;
}

function makeCode(lengths: Uint8Array): Code {
  const counts = new Int32Array(21);
  for (const length of lengths) counts[length]! += 1;
  const limit = new Int32Array(21).fill(-1);
  const base = new Int32Array(21);
  const symbols = new Uint16Array(lengths.length);
  let code = 0;
  let place = 0;
  let least = 0;
  for (let length = 1; length <= 20; length++) {
    code *= 2;
    base[length] = code - place;
    for (let symbol = 0; symbol < lengths.length; symbol++) {
      if (lengths[symbol] === length) symbols[place++] = symbol;
    }
    code += counts[length]!;
    if (code > 1 << length) throw bad('a code table with too many codes');
    if (counts[length]! > 0) {
      limit[length] = code - 1;
      if (least === 0) least = length;
    }
  }
  return { least, limit, base, symbols };
}

function symbolOf(bits: Bits, code: Code): number {
  let length = code.least;
  let value = take(bits, length);
  while (value > code.limit[length]!) {
    if (++length > 20) throw bad('a code that stands for nothing');
    value = (value << 1) | take(bits, 1);
  }
  const place = value - code.base[length]!;
  if (place < 0) throw bad('a code that stands for nothing');
  return code.symbols[place]!;
}

/** Which byte values are used, in order. */
function usedBytes(bits: Bits): Uint8Array {
  const used: number[] = [];
  const map = take(bits, 16);
  for (let i = 0; i < 16; i++) {
    if ((map & (0x8000 >> i)) === 0) continue;
    const part = take(bits, 16);
    for (let j = 0; j < 16; j++) if ((part & (0x8000 >> j)) !== 0) used.push(i * 16 + j);
  }
  if (used.length === 0) throw bad('a block without bytes');
  return Uint8Array.from(used);
}

function* readTables(bits: Bits, symbols: number): Part<{ codes: Code[]; selectors: Uint8Array }> {
  const tables = take(bits, 3);
  if (tables < 2 || tables > 6) throw bad('the number of code tables');
  const selectors = new Uint8Array(take(bits, 15));
  if (selectors.length === 0) throw bad('no code table is selected');
  const order = [0, 1, 2, 3, 4, 5];
  for (let i = 0; i < selectors.length; i++) {
    if ((i & 127) === 0) yield* ahead(bits);
    let place = 0;
    while (take(bits, 1) === 1) if (++place >= tables) throw bad('an unknown code table');
    const [table] = order.splice(place, 1);
    order.unshift(table!);
    selectors[i] = table!;
  }
  const codes: Code[] = [];
  for (let table = 0; table < tables; table++) {
    yield* ahead(bits);
    const lengths = new Uint8Array(symbols);
    let length = take(bits, 5);
    for (let symbol = 0; symbol < symbols; symbol++) {
      for (let steps = 0; ; steps++) {
        if ((steps & 127) === 0) yield* ahead(bits);
        if (length < 1 || length > 20) throw bad('the length of a code');
        if (take(bits, 1) === 0) break;
        length += take(bits, 1) === 0 ? 1 : -1;
      }
      lengths[symbol] = length;
    }
    codes.push(makeCode(lengths));
    yield 'turn';
  }
  return { codes, selectors };
}

/** The block's bytes after the sorting, in the low bytes of `block`. @returns how many. */
function* readBlock(bits: Bits, block: Int32Array, size: number): Part<number> {
  const order = usedBytes(bits);
  const endSymbol = order.length + 1;
  const { codes, selectors } = yield* readTables(bits, endSymbol + 1);
  let filled = 0;
  let run = 0;
  let weight = 1;
  for (let group = 0; group < selectors.length; group++) {
    if (group % 40 === 39) yield 'turn';
    yield* ahead(bits);
    const code = codes[selectors[group]!]!;
    for (let i = 0; i < GROUP; i++) {
      const symbol = symbolOf(bits, code);
      if (symbol < 2) {
        run += weight << symbol;
        weight *= 2;
        if (run > size) throw bad('a block that is too long');
        continue;
      }
      if (run > 0) {
        if (filled + run > size) throw bad('a block that is too long');
        block.fill(order[0]!, filled, filled + run);
        filled += run;
        run = 0;
        weight = 1;
      }
      if (symbol === endSymbol) return filled;
      if (filled === size) throw bad('a block that is too long');
      const place = symbol - 1;
      const byte = order[place]!;
      for (let j = place; j > 0; j--) order[j] = order[j - 1]!;
      order[0] = byte;
      block[filled++] = byte;
    }
  }
  throw bad('a block without an end');
}

/** Undoes the sorting: each place gets, in its high bytes, the place of what follows. */
function link(block: Int32Array, filled: number): void {
  const starts = new Int32Array(256);
  for (let i = 0; i < filled; i++) starts[block[i]!]! += 1;
  let sum = 0;
  for (let byte = 0; byte < 256; byte++) {
    const count = starts[byte]!;
    starts[byte] = sum;
    sum += count;
  }
  for (let i = 0; i < filled; i++) {
    const place = starts[block[i]! & 0xff]!++;
    block[place] = block[place]! | (i << 8);
  }
}

/** Gives the block's data; four equal bytes are followed by a count of more. @returns its checksum. */
function* writeBlock(block: Int32Array, filled: number, origin: number): Part<number> {
  let crc = -1;
  let next = block[origin]! >>> 8;
  let last = -1;
  let equal = 0;
  let out = Buffer.allocUnsafeSlow(PIECE);
  let at = 0;
  for (let i = 0; i < filled; i++) {
    const entry = block[next]!;
    const byte = entry & 0xff;
    next = entry >>> 8;
    if (equal === 4) {
      out.fill(last, at, at + byte);
      at += byte;
      equal = 0;
      last = -1;
    } else {
      equal = byte === last ? equal + 1 : 1;
      last = byte;
      out[at++] = byte;
    }
    if (at > PIECE - 256) {
      const piece = out.subarray(0, at);
      crc = bzip2Crc(piece, crc);
      yield piece;
      out = Buffer.allocUnsafeSlow(PIECE);
      at = 0;
    }
  }
  const piece = out.subarray(0, at);
  crc = bzip2Crc(piece, crc);
  if (at > 0) yield piece;
  return ~crc;
}

export function* decodeBzip2(input: Input): Decoding {
  let block = new Int32Array(0);
  do {
    yield* need(input, 4, 'bzip2');
    const head = input.bytes.toString('latin1', input.at, input.at + 4);
    if (!/^BZh[1-9]$/.test(head)) throw bad('something else where a stream begins');
    input.at += 4;
    const size = Number(head[3]) * 100_000;
    const bits: Bits = { input, hold: 0, count: 0 };
    let together = 0;
    for (;;) {
      yield* ahead(bits);
      const magic = `${take(bits, 24).toString(16)}${take(bits, 24).toString(16)}`;
      const crc = (take(bits, 16) << 16) | take(bits, 16);
      if (magic === '177245385090') {
        if (crc !== together) throw bad('the checksum of a stream is wrong');
        break;
      }
      if (magic !== '314159265359') throw bad('neither a block nor the end');
      if (take(bits, 1) === 1) throw bad('a randomised block, which is not read');
      const origin = take(bits, 24);
      if (block.length < size) block = new Int32Array(size);
      const filled = yield* readBlock(bits, block, size);
      if (origin >= filled) throw bad('the origin of a block');
      yield 'turn';
      link(block, filled);
      yield 'turn';
      if ((yield* writeBlock(block, filled, origin)) !== crc) throw bad('the checksum of a block is wrong');
      together = ((together << 1) | (together >>> 31)) ^ crc;
    }
    // The rest of the last byte is padding; what was taken ahead is less than a byte.
  } while (yield* another(input));
}
