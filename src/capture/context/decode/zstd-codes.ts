import { damaged, type Part } from './input.js';

// Entropy codes of Zstandard (RFC 8878, section 4): finite state entropy and Huffman.

export const bad = (what: string): Error => damaged('zstd', what);

/** Bits that are read from the last one to the first. `bytes` has at least four bytes after the last one used. */
export interface Backward {
  readonly bytes: Uint8Array;
  /** Bits before this place are still to be read; negative: more was read than there is. */
  at: number;
  /** The first bit. */
  readonly start: number;
}

/** @param end after the last byte, whose highest bit marks the end of the bits. */
export function openBackward(bytes: Uint8Array, start: number, end: number): Backward {
  const last = end > start ? bytes[end - 1]! : 0;
  if (last === 0) throw bad('bits without an end');
  return { bytes, at: (end - 1) * 8 + 31 - Math.clz32(last), start: start * 8 };
}

/** At most 24 bits. @throws Refusal when there are not that many. */
export function bitsOf(from: Backward, count: number): number {
  const at = from.at - count;
  if (at < from.start) throw bad('too few bits');
  from.at = at;
  return (word(from.bytes, at >>> 3) >>> (at & 7)) & ((1 << count) - 1);
}

/** The next bits without taking them; zeros follow the last one. */
function peek(from: Backward, count: number): number {
  const at = from.at - count;
  if (at >= from.start) return (word(from.bytes, at >>> 3) >>> (at & 7)) & ((1 << count) - 1);
  const there = Math.max(0, from.at - from.start);
  const { start, bytes } = from;
  return (word(bytes, start >>> 3) & ((1 << there) - 1)) << (count - there);
}

const word = (bytes: Uint8Array, at: number): number =>
  bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);

export interface Fse {
  readonly log: number;
  /** By state. */
  readonly symbols: Uint8Array;
  readonly bits: Uint8Array;
  readonly base: Uint16Array;
}

export const single = (symbol: number): Fse => ({
  log: 0,
  symbols: Uint8Array.of(symbol),
  bits: Uint8Array.of(0),
  base: Uint16Array.of(0),
});

/** @param counts how often each symbol stands in the table; -1: once, rarely. */
export function makeFse(log: number, counts: readonly number[]): Fse {
  const size = 1 << log;
  const symbols = new Uint8Array(size);
  const next = new Uint16Array(counts.length);
  let high = size;
  for (const [symbol, count] of counts.entries()) {
    if (count === -1) symbols[--high] = symbol;
    next[symbol] = Math.abs(count);
  }
  const step = (size >> 1) + (size >> 3) + 3;
  let place = 0;
  for (const [symbol, count] of counts.entries()) {
    for (let i = 0; i < count; i++) {
      symbols[place] = symbol;
      do place = (place + step) & (size - 1);
      while (place >= high);
    }
  }
  const bits = new Uint8Array(size);
  const base = new Uint16Array(size);
  for (let state = 0; state < size; state++) {
    const symbol = symbols[state]!;
    const count = next[symbol]!++;
    const wide = log - (31 - Math.clz32(count));
    bits[state] = wide;
    base[state] = (count << wide) - size;
  }
  return { log, symbols, bits, base };
}

export interface Limits {
  readonly log: number;
  readonly symbol: number;
}

/** The description of a table, read forwards from byte `at`. */
export function readFse(
  bytes: Uint8Array,
  at: number,
  end: number,
  limits: Limits,
): { fse: Fse; at: number } {
  let bit = at * 8;
  const ahead = (count: number): number => (word(bytes, bit >>> 3) >>> (bit & 7)) & ((1 << count) - 1);
  const log = ahead(4) + 5;
  bit += 4;
  if (log > limits.log) throw bad('a table that is too large');
  const counts: number[] = [];
  let rest = (1 << log) + 1;
  let threshold = 1 << log;
  let wide = log + 1;
  while (rest > 1) {
    if (bit > end * 8) throw bad('a table that is cut');
    if (counts.length > limits.symbol) throw bad('a table with too many symbols');
    const most = 2 * threshold - 1 - rest;
    const value = ahead(wide);
    let count = value & (threshold - 1);
    if (count < most) {
      bit += wide - 1;
    } else {
      count = value >= threshold ? value - most : value;
      bit += wide;
    }
    count -= 1;
    counts.push(count);
    rest -= Math.abs(count);
    while (rest < threshold) {
      wide -= 1;
      threshold >>= 1;
    }
    if (count !== 0) continue;
    for (let more = 3; more === 3;) {
      more = ahead(2);
      bit += 2;
      for (let i = 0; i < more; i++) counts.push(0);
      if (counts.length > limits.symbol) throw bad('a table with too many symbols');
    }
  }
  at = (bit + 7) >>> 3;
  if (at > end) throw bad('a table that is cut');
  return { fse: makeFse(log, counts), at };
}

export interface Huffman {
  readonly log: number;
  /** By the next `log` bits: the symbol, and how many bits it takes. */
  readonly symbols: Uint8Array;
  readonly bits: Uint8Array;
}

const WEIGHTS: Limits = { log: 6, symbol: 255 };

function readWeights(bytes: Uint8Array, at: number, end: number): { weights: number[]; at: number } {
  const head = bytes[at]!;
  at += 1;
  const weights: number[] = [];
  if (head >= 128) {
    const count = head - 127;
    const after = at + ((count + 1) >> 1);
    if (after > end) throw bad('a Huffman table that is cut');
    for (let i = 0; i < count; i++) weights.push((bytes[at + (i >> 1)]! >> (i % 2 === 0 ? 4 : 0)) & 15);
    return { weights, at: after };
  }
  const after = at + head;
  if (after > end) throw bad('a Huffman table that is cut');
  const table = readFse(bytes, at, after, WEIGHTS);
  const { fse } = table;
  const from = openBackward(bytes, table.at, after);
  const states = [bitsOf(from, fse.log), bitsOf(from, fse.log)];
  // Two states by turns, until the bits of one are not there: then the other gives the last weight.
  for (let turn = 0; ; turn ^= 1) {
    const state = states[turn]!;
    weights.push(fse.symbols[state]!);
    if (weights.length > 254) throw bad('a Huffman table with too many symbols');
    const wide = fse.bits[state]!;
    if (from.at - wide < from.start) {
      weights.push(fse.symbols[states[turn ^ 1]!]!);
      return { weights, at: after };
    }
    states[turn] = fse.base[state]! + bitsOf(from, wide);
  }
}

export function readHuffman(bytes: Uint8Array, at: number, end: number): { huffman: Huffman; at: number } {
  if (at >= end) throw bad('a Huffman table that is cut');
  const read = readWeights(bytes, at, end);
  const { weights } = read;
  let sum = 0;
  for (const weight of weights) {
    if (weight > 11) throw bad('the weights of a Huffman table');
    if (weight > 0) sum += 1 << (weight - 1);
  }
  if (sum === 0) throw bad('the weights of a Huffman table');
  const log = 32 - Math.clz32(sum);
  const rest = (1 << log) - sum;
  if (log > 11 || (rest & (rest - 1)) !== 0) throw bad('the weights of a Huffman table');
  weights.push(32 - Math.clz32(rest));
  if (weights.filter((weight) => weight === 1).length < 2) throw bad('the weights of a Huffman table');
  const symbols = new Uint8Array(1 << log);
  const bits = new Uint8Array(1 << log);
  let place = 0;
  for (let weight = 1; weight <= log; weight++) {
    for (const [symbol, one] of weights.entries()) {
      if (one !== weight) continue;
      const next = place + (1 << (weight - 1));
      symbols.fill(symbol, place, next);
      bits.fill(log + 1 - weight, place, next);
      place = next;
    }
  }
  return { huffman: { log, symbols, bits }, at: read.at };
}

/** Symbols of one step. */
const TOGETHER = 4096;

/** Fills `out` with what the bytes from `start` to `end` stand for; they must be used up exactly. */
export function* unpack(
  huffman: Huffman,
  bytes: Uint8Array,
  start: number,
  end: number,
  out: Uint8Array,
): Part<void> {
  const from = openBackward(bytes, start, end);
  for (let at = 0; at < out.length; at += TOGETHER) {
    if (at > 0) yield 'turn';
    unpackSome(huffman, from, out, at, Math.min(at + TOGETHER, out.length));
  }
  if (from.at !== from.start) throw bad('literals of another length');
}

function unpackSome(huffman: Huffman, from: Backward, out: Uint8Array, at: number, end: number): void {
  const { log, symbols, bits } = huffman;
  for (let i = at; i < end; i++) {
    const index = peek(from, log);
    out[i] = symbols[index]!;
    from.at -= bits[index]!;
  }
}
