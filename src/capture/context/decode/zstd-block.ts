import {
  bad,
  bitsOf,
  makeFse,
  openBackward,
  readFse,
  readHuffman,
  single,
  unpack,
  type Backward,
  type Fse,
  type Huffman,
  type Limits,
} from './zstd-codes.js';
import type { Part } from './input.js';
import { append, copyPast, type Window } from './window.js';

// A compressed block of Zstandard (RFC 8878, section 3.1.1.3).

export const BLOCK_LIMIT = 128 * 1024;

/** What one block of a frame leaves for the next. */
export interface Memory {
  huffman: Huffman | undefined;
  /** Of literal lengths, offsets, match lengths. */
  readonly tables: (Fse | undefined)[];
  readonly offsets: [number, number, number];
}

export const openMemory = (): Memory => ({
  huffman: undefined,
  tables: [undefined, undefined, undefined],
  offsets: [1, 4, 8],
});

interface Kind {
  readonly limits: Limits;
  readonly usual: Fse;
}

const rare = (text: string): number[] => text.split(' ').map(Number);
/** Literal lengths, offsets, match lengths, in the order of their tables in a block. */
const KINDS: readonly Kind[] = [
  {
    limits: { log: 9, symbol: 35 },
    usual: makeFse(6, rare('4 3 2 2 2 2 2 2 2 2 2 2 2 1 1 1 2 2 2 2 2 2 2 2 2 3 2 1 1 1 1 1 -1 -1 -1 -1')),
  },
  {
    limits: { log: 8, symbol: 31 },
    usual: makeFse(5, rare('1 1 1 1 1 1 2 2 2 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 -1 -1 -1 -1 -1')),
  },
  {
    limits: { log: 9, symbol: 52 },
    usual: makeFse(
      6,
      rare(
        '1 4 3 2 2 2 2 2 2 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 -1 -1 -1 -1 -1 -1 -1',
      ),
    ),
  },
];

const LITERAL_BITS = rare('0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 1 1 1 2 2 3 3 4 6 7 8 9 10 11 12 13 14 15 16');
const MATCH_BITS = [
  ...Array.from({ length: 32 }, () => 0),
  ...rare('1 1 1 1 2 2 3 3 4 4 5 7 8 9 10 11 12 13 14 15 16'),
];
/** The least length of each code: each begins where the one before it ends. */
const LITERAL_BASE = bases(LITERAL_BITS, 0);
const MATCH_BASE = bases(MATCH_BITS, 3);

function bases(bits: readonly number[], first: number): number[] {
  let next = first;
  return bits.map((wide) => {
    const base = next;
    next += 2 ** wide;
    return base;
  });
}

/**
 * Puts the block's data into the window, at most `most` bytes; room must have been made.
 * @param bytes the block's content, then at least four zeros
 * @param end where they begin
 * @param reach the frame's window: the largest distance
 */
export function* readBlock(
  bytes: Uint8Array,
  end: number,
  window: Window,
  memory: Memory,
  most: number,
  reach: number,
): Part<void> {
  const { literals, at } = yield* readLiterals(bytes, end, memory, most);
  yield 'turn';
  yield* readSequences(bytes, at, end, literals, window, memory, window.at + most, reach);
}

function* readLiterals(
  bytes: Uint8Array,
  end: number,
  memory: Memory,
  most: number,
): Part<{ literals: Uint8Array; at: number }> {
  const first = bytes[0]!;
  const type = first & 3;
  const format = (first >> 2) & 3;
  const head = bytes[0]! | (bytes[1]! << 8) | (bytes[2]! << 16) | (bytes[3]! << 24);
  const checked = (size: number): number => {
    if (size > most) throw bad('too many literals');
    return size;
  };
  if (type < 2) {
    const length = format === 1 ? 2 : format === 3 ? 3 : 1;
    const size = checked(length === 1 ? first >> 3 : (head >>> 4) & (length === 2 ? 0xfff : 0xfffff));
    const after = length + (type === 0 ? size : 1);
    if (after > end) throw bad('literals that are cut');
    const literals = type === 0 ? bytes.subarray(length, after) : new Uint8Array(size).fill(bytes[length]!);
    return { literals, at: after };
  }
  const wide = format < 2 ? 10 : format === 2 ? 14 : 18;
  const length = format < 2 ? 3 : format + 2;
  const size = checked((head >>> 4) & ((1 << wide) - 1));
  const packed = wide === 18 ? (head >>> 22) | (bytes[4]! << 10) : (head >>> (4 + wide)) & ((1 << wide) - 1);
  const after = length + packed;
  if (after > end) throw bad('literals that are cut');
  let at = length;
  if (type === 2) {
    const read = readHuffman(bytes, at, after);
    memory.huffman = read.huffman;
    at = read.at;
  }
  const { huffman } = memory;
  if (huffman === undefined) throw bad('no Huffman table to begin with');
  const literals = new Uint8Array(size);
  if (format === 0) {
    yield* unpack(huffman, bytes, at, after, literals);
    return { literals, at: after };
  }
  const ends = [bytes[at]! | (bytes[at + 1]! << 8), bytes[at + 2]! | (bytes[at + 3]! << 8)];
  ends.push(bytes[at + 4]! | (bytes[at + 5]! << 8));
  at += 6;
  const quarter = (size + 3) >> 2;
  if (size < quarter * 3) throw bad('too few literals for four streams');
  for (let part = 0; part < 4; part++) {
    const stop = part === 3 ? after : at + ends[part]!;
    if (stop > after) throw bad('literals that are cut');
    const piece = literals.subarray(part * quarter, part === 3 ? size : (part + 1) * quarter);
    yield* unpack(huffman, bytes, at, stop, piece);
    yield 'turn';
    at = stop;
  }
  return { literals, at: after };
}

function* readSequences(
  bytes: Uint8Array,
  at: number,
  end: number,
  literals: Uint8Array,
  window: Window,
  memory: Memory,
  most: number,
  reach: number,
): Part<void> {
  if (at >= end) throw bad('no sequences');
  let count = bytes[at++]!;
  if (count === 255) {
    count = bytes[at]! + (bytes[at + 1]! << 8) + 0x7f00;
    at += 2;
  } else if (count >= 128) {
    count = ((count - 128) << 8) + bytes[at++]!;
  }
  if (count === 0) {
    if (at !== end) throw bad('bytes after a block');
    append(window, literals);
    return;
  }
  const modes = bytes[at++]!;
  if ((modes & 3) !== 0) throw bad('an unknown mode');
  const [lengths, offsets, matches] = KINDS.map((kind, which) => {
    if (at > end) throw bad('sequences that are cut');
    const mode = (modes >> (6 - 2 * which)) & 3;
    let table = memory.tables[which];
    if (mode === 0) table = kind.usual;
    if (mode === 1) {
      const symbol = bytes[at++]!;
      if (symbol > kind.limits.symbol) throw bad('an unknown code');
      table = single(symbol);
    }
    if (mode === 2) {
      const read = readFse(bytes, at, end, kind.limits);
      table = read.fse;
      at = read.at;
    }
    if (table === undefined) throw bad('no table to begin with');
    memory.tables[which] = table;
    return table;
  }) as [Fse, Fse, Fse];
  const from = openBackward(bytes, at, end);
  const states = { a: bitsOf(from, lengths.log), b: bitsOf(from, offsets.log), c: bitsOf(from, matches.log) };
  const run: Run = { from, lengths, offsets, matches, ...states, literals, used: 0, todo: count };
  while (run.todo > 0) {
    readSome(run, window, memory, most, reach);
    yield 'turn';
  }
  if (from.at !== from.start) throw bad('sequences of another length');
  if (window.at + literals.length - run.used > most) throw bad('a block that is too long');
  append(window, literals.subarray(run.used));
}

/** Sequences of one step. */
const TOGETHER = 1024;

/** The sequences of a block, half way. */
interface Run {
  readonly from: Backward;
  readonly lengths: Fse;
  readonly offsets: Fse;
  readonly matches: Fse;
  /** The states of the three. */
  a: number;
  b: number;
  c: number;
  readonly literals: Uint8Array;
  used: number;
  todo: number;
}

function readSome(run: Run, window: Window, memory: Memory, most: number, reach: number): void {
  const { from, lengths, offsets, matches, literals } = run;
  let { a, b, c, used } = run;
  const stop = Math.max(0, run.todo - TOGETHER);
  let { todo } = run;
  while (todo > stop) {
    const lengthCode = lengths.symbols[a]!;
    const matchCode = matches.symbols[c]!;
    const value = offsetOf(from, offsets.symbols[b]!);
    const length = MATCH_BASE[matchCode]! + bitsOf(from, MATCH_BITS[matchCode]!);
    const before = LITERAL_BASE[lengthCode]! + bitsOf(from, LITERAL_BITS[lengthCode]!);
    const distance = distanceOf(memory.offsets, value, before === 0);
    if (used + before > literals.length) throw bad('too few literals');
    if (window.at + before + length > most) throw bad('a block that is too long');
    append(window, literals.subarray(used, used + before));
    used += before;
    // INVARIANT: nothing from before the first byte is copied.
    if (distance < 1 || distance > window.past || distance > reach)
      throw bad('a copy from before the beginning');
    copyPast(window, distance, length);
    todo -= 1;
    if (todo === 0) break;
    a = lengths.base[a]! + bitsOf(from, lengths.bits[a]!);
    c = matches.base[c]! + bitsOf(from, matches.bits[c]!);
    b = offsets.base[b]! + bitsOf(from, offsets.bits[b]!);
  }
  run.a = a;
  run.b = b;
  run.c = c;
  run.used = used;
  run.todo = todo;
}

function offsetOf(from: Backward, code: number): number {
  // Larger than any window that is kept.
  if (code > 29) throw bad('a copy from before the beginning');
  const high = code > 16 ? bitsOf(from, code - 16) << 16 : 0;
  return (1 << code) + high + bitsOf(from, Math.min(code, 16));
}

/** The values 1 to 3 stand for one of the latest three distances, which change order with each. */
function distanceOf(latest: [number, number, number], value: number, noLiterals: boolean): number {
  const [first, second, third] = latest;
  if (value > 3) {
    latest[2] = second;
    latest[1] = first;
    return (latest[0] = value - 3);
  }
  const which = noLiterals ? value + 1 : value;
  if (which === 1) return first;
  latest[1] = first;
  if (which === 2) return (latest[0] = second);
  latest[2] = second;
  return (latest[0] = which === 3 ? third : first - 1);
}
