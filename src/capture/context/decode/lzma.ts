import { damaged } from './input.js';
import { copyPast, type Window } from './window.js';

// The symbols of LZMA (the LZMA specification of the LZMA SDK; liblzma's reading of LZMA2 chunks).

const TOP = 0x1000000;
/** The state before any symbol; from 7 on, the last symbol was a match. */
const FIRST = 0;
const LITERALS = 1846;

// Where each table of probabilities begins.
const IS_MATCH = 0;
const IS_REP = 192;
const IS_REP0 = 204;
const IS_REP1 = 216;
const IS_REP2 = 228;
const IS_REP0_LONG = 240;
const SLOTS = 432;
const SPECIAL = 688;
const ALIGN = 802;
const MATCH_LENGTHS = 818;
const REP_LENGTHS = 1332;

// In a table of lengths.
const LOW = 2;
const MIDDLE = 130;
const HIGH = 258;

const bad = (what: string): Error => damaged('xz', what);

export interface Lzma {
  /** New properties byte (`(pb * 5 + lp) * 9 + lc`); all is reset. */
  properties(byte: number): void;
  reset(): void;
  /** A chunk begins; `chunk` is the whole of it, of its own. */
  begin(chunk: Buffer): void;
  /** Fills the window up to `until`, where a match may lead past it, but not past `most`. Room must have been made. */
  run(until: number, most: number): void;
  /** At the end of a chunk: all of it was used, and the coder is at its end. */
  finished(): boolean;
}

/** @param size of the dictionary. */
export function openLzma(window: Window, size: number): Lzma {
  let probs = new Uint16Array(LITERALS);
  let lc = 0;
  let literalMask = 0;
  let positionMask = 0;
  let state = FIRST;
  const reps = new Int32Array(4);
  /** Range and code; in an array because they are unsigned. */
  const coder = new Uint32Array(2);
  let bytes: Buffer = Buffer.alloc(0);
  let at = 0;

  const bit = (index: number): number => {
    const range = coder[0]!;
    const code = coder[1]!;
    const prob = probs[index]!;
    const bound = (range >>> 11) * prob;
    let value;
    let rest;
    if (code < bound) {
      rest = bound;
      probs[index] = prob + ((2048 - prob) >>> 5);
      value = 0;
    } else {
      rest = range - bound;
      coder[1] = code - bound;
      probs[index] = prob - (prob >>> 5);
      value = 1;
    }
    if (rest < TOP) {
      rest *= 256;
      coder[1] = (coder[1]! << 8) | bytes[at++]!;
    }
    coder[0] = rest;
    return value;
  };
  const direct = (count: number): number => {
    let value = 0;
    for (; count > 0; count--) {
      let range = coder[0]! >>> 1;
      const code = coder[1]!;
      if (code >= range) {
        coder[1] = code - range;
        value = (value << 1) | 1;
      } else {
        value <<= 1;
      }
      if (range < TOP) {
        range *= 256;
        coder[1] = (coder[1]! << 8) | bytes[at++]!;
      }
      coder[0] = range;
    }
    return value;
  };
  const tree = (from: number, count: number): number => {
    let symbol = 1;
    for (let i = 0; i < count; i++) symbol = (symbol << 1) | bit(from + symbol);
    return symbol - (1 << count);
  };
  const reverse = (from: number, count: number): number => {
    let symbol = 1;
    let value = 0;
    for (let i = 0; i < count; i++) {
      const one = bit(from + symbol);
      symbol = (symbol << 1) | one;
      value |= one << i;
    }
    return value;
  };
  const lengthOf = (from: number, position: number): number => {
    if (bit(from) === 0) return 2 + tree(from + LOW + position * 8, 3);
    if (bit(from + 1) === 0) return 10 + tree(from + MIDDLE + position * 8, 3);
    return 18 + tree(from + HIGH, 8);
  };
  const distanceOf = (length: number): number => {
    const slot = tree(SLOTS + Math.min(length - 2, 3) * 64, 6);
    if (slot < 4) return slot;
    const count = (slot >>> 1) - 1;
    const base = (2 | (slot & 1)) << count;
    if (slot < 14) return base + reverse(SPECIAL + base - slot - 1, count);
    return (base + (direct(count - 4) << 4) + reverse(ALIGN, 4)) | 0;
  };
  const literal = (position: number): void => {
    const out = window.bytes;
    const to = window.at;
    const before = window.past > 0 ? out[to - 1]! : 0;
    const from = LITERALS + 0x300 * (((position & literalMask) << lc) + (before >>> (8 - lc)));
    let symbol = 1;
    if (state >= 7) {
      const rep = reps[0]!;
      let match = out[to - rep - 1]!;
      do {
        const expected = (match >>> 7) & 1;
        match <<= 1;
        const one = bit(from + ((1 + expected) << 8) + symbol);
        symbol = (symbol << 1) | one;
        if (expected !== one) break;
      } while (symbol < 0x100);
    }
    while (symbol < 0x100) symbol = (symbol << 1) | bit(from + symbol);
    out[to] = symbol;
    window.at = to + 1;
    window.past += 1;
    window.position = (window.position + 1) | 0;
    state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
  };
  /** The length of the copy that begins here; its distance is then the first of the latest ones. */
  const match = (place: number): number => {
    if (bit(IS_REP + state) === 0) {
      reps.copyWithin(1, 0, 3);
      const length = lengthOf(MATCH_LENGTHS, place);
      reps[0] = distanceOf(length);
      state = state < 7 ? 7 : 10;
      return length;
    }
    if (bit(IS_REP0 + state) === 0) {
      if (bit(IS_REP0_LONG + state * 16 + place) === 0) {
        state = state < 7 ? 9 : 11;
        return 1;
      }
    } else {
      const which = bit(IS_REP1 + state) === 0 ? 1 : bit(IS_REP2 + state) === 0 ? 2 : 3;
      const distance = reps[which]!;
      reps.copyWithin(1, 0, which);
      reps[0] = distance;
    }
    const length = lengthOf(REP_LENGTHS, place);
    state = state < 7 ? 8 : 11;
    return length;
  };

  const reset = (): void => {
    probs.fill(1024);
    state = FIRST;
    reps.fill(0);
  };

  return {
    properties(byte) {
      if (byte > 224) throw bad('LZMA properties');
      lc = byte % 9;
      const lp = Math.floor(byte / 9) % 5;
      const pb = Math.floor(byte / 45);
      if (lc + lp > 4) throw bad('LZMA properties');
      literalMask = (1 << lp) - 1;
      positionMask = (1 << pb) - 1;
      const count = LITERALS + (0x300 << (lc + lp));
      if (probs.length !== count) probs = new Uint16Array(count);
      reset();
    },
    reset,
    begin(chunk) {
      if (chunk.length < 5 || chunk[0] !== 0) throw bad('the beginning of a chunk');
      bytes = chunk;
      coder[0] = 0xffffffff;
      coder[1] = chunk.readUInt32BE(1);
      at = 5;
    },
    run(until, most) {
      while (window.at < until) {
        const place = window.position & positionMask;
        if (bit(IS_MATCH + state * 16 + place) === 0) {
          literal(window.position);
        } else {
          const length = match(place);
          const distance = reps[0]! + 1;
          // INVARIANT: nothing from before the first byte is copied; `distance` is 0 or negative for the end mark.
          if (distance <= 0 || distance > window.past || distance > size)
            throw bad('a copy from before the beginning');
          if (window.at + length > most) throw bad('a chunk that is too long');
          copyPast(window, distance, length);
        }
        if (at > bytes.length) throw bad('a chunk that ends too early');
      }
    },
    finished: () => at === bytes.length && coder[1] === 0,
  };
}
