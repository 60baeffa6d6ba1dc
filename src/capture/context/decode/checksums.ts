/** Checksums that node:zlib and node:crypto do not have. */

/** bzip2's CRC-32: the polynomial of Ethernet, highest bit first. */
const BZIP2 = Int32Array.from({ length: 256 }, (_, n) => {
  let c = n << 24;
  for (let k = 0; k < 8; k++) c = c < 0 ? (c << 1) ^ 0x04c11db7 : c << 1;
  return c;
});

/** @param crc the state, -1 at first; the checksum is its complement. */
export function bzip2Crc(piece: Uint8Array, crc: number): number {
  for (let i = 0; i < piece.length; i++) crc = (crc << 8) ^ BZIP2[(crc >>> 24) ^ piece[i]!]!;
  return crc;
}

/** CRC-64 of ECMA-182, reflected, as xz has it; low halves in even places, high halves in odd ones. */
const CRC64 = new Int32Array(512);
for (let n = 0; n < 256; n++) {
  let low = n;
  let high = 0;
  for (let k = 0; k < 8; k++) {
    const bit = low & 1;
    low = (low >>> 1) | (high << 31);
    high >>>= 1;
    if (bit === 1) {
      low ^= 0xd7870f42;
      high ^= 0xc96c5795;
    }
  }
  CRC64[n * 2] = low;
  CRC64[n * 2 + 1] = high;
}

export interface Digest {
  update(piece: Uint8Array): void;
  /** As the file has it. */
  bytes(): Buffer;
}

export function openCrc64(): Digest {
  let low = -1;
  let high = -1;
  return {
    update(piece) {
      let a = low;
      let b = high;
      for (let i = 0; i < piece.length; i++) {
        const n = ((a ^ piece[i]!) & 0xff) << 1;
        a = ((a >>> 8) | (b << 24)) ^ CRC64[n]!;
        b = (b >>> 8) ^ CRC64[n + 1]!;
      }
      low = a;
      high = b;
    },
    bytes() {
      const out = Buffer.alloc(8);
      out.writeInt32LE(~low, 0);
      out.writeInt32LE(~high, 4);
      return out;
    },
  };
}

// XXH64 (the specification at github.com/Cyan4973/xxHash, doc/xxhash_spec.md) on halves of 32 bits: low, high.
const P1 = [0x85ebca87, 0x9e3779b1] as const;
const P2 = [0x27d4eb4f, 0xc2b2ae3d] as const;
const P3 = [0x9e3779f9, 0x165667b1] as const;
const P4 = [0xc2b2ae63, 0x85ebca77] as const;
const P5 = [0x165667c5, 0x27d4eb2f] as const;
type Half2 = readonly [low: number, high: number];

/** The high half of a product of two unsigned 32-bit numbers. */
function mulHigh(a: number, b: number): number {
  const al = a & 0xffff;
  const ah = a >>> 16;
  const bl = b & 0xffff;
  const bh = b >>> 16;
  const mid = ah * bl + ((al * bl) >>> 16);
  const low = al * bh + (mid & 0xffff);
  return (ah * bh + (mid >>> 16) + (low >>> 16)) | 0;
}

/** `s[i], s[i + 1]` times `p`. */
function times(s: Int32Array, i: number, p: Half2): void {
  const low = s[i]!;
  const high = s[i + 1]!;
  s[i] = Math.imul(low, p[0]);
  s[i + 1] = mulHigh(low >>> 0, p[0]) + Math.imul(low, p[1]) + Math.imul(high, p[0]);
}

function plus(s: Int32Array, i: number, low: number, high: number): void {
  const sum = (s[i]! >>> 0) + (low >>> 0);
  s[i] = sum;
  s[i + 1] = s[i + 1]! + high + (sum > 0xffffffff ? 1 : 0);
}

function rotate(s: Int32Array, i: number, by: number): void {
  const low = s[i]!;
  const high = s[i + 1]!;
  s[i] = (low << by) | (high >>> (32 - by));
  s[i + 1] = (high << by) | (low >>> (32 - by));
}

function xor(s: Int32Array, i: number, low: number, high: number): void {
  s[i] = s[i]! ^ low;
  s[i + 1] = s[i + 1]! ^ high;
}

function shiftXor(s: Int32Array, i: number, by: number): void {
  const low = s[i]!;
  const high = s[i + 1]!;
  if (by >= 32) xor(s, i, high >>> (by - 32), 0);
  else xor(s, i, (low >>> by) | (high << (32 - by)), high >>> by);
}

/** Seed 0, as zstd has it. `bytes()`: the low 32 bits. */
export function openXxh64(): Digest {
  // Four lanes, then a place to work.
  const s = new Int32Array(12);
  plus(s, 0, P1[0], P1[1]);
  plus(s, 0, P2[0], P2[1]);
  plus(s, 2, P2[0], P2[1]);
  plus(s, 6, -P1[0], ~P1[1]);
  const rest = Buffer.alloc(32);
  let kept = 0;
  let total = 0;
  const round = (i: number, low: number, high: number): void => {
    s[10] = low;
    s[11] = high;
    times(s, 10, P2);
    plus(s, i, s[10], s[11]);
    rotate(s, i, 31);
    times(s, i, P1);
  };
  const stripe = (piece: Uint8Array, at: number): void => {
    for (let lane = 0; lane < 8; lane += 2, at += 8) round(lane, word(piece, at), word(piece, at + 4));
  };
  return {
    update(piece) {
      total += piece.length;
      let at = 0;
      if (kept > 0) {
        at = Math.min(32 - kept, piece.length);
        rest.set(piece.subarray(0, at), kept);
        kept += at;
        if (kept < 32) return;
        stripe(rest, 0);
      }
      for (; at + 32 <= piece.length; at += 32) stripe(piece, at);
      kept = piece.length - at;
      rest.set(piece.subarray(at));
    },
    bytes() {
      const lanes = s.slice(0, 8);
      const h = 8;
      s[h] = 0;
      s[h + 1] = 0;
      if (total >= 32) {
        for (const [i, by] of [1, 7, 12, 18].entries()) {
          rotate(s, i * 2, by);
          plus(s, h, s[i * 2]!, s[i * 2 + 1]!);
        }
        s.set(lanes);
        for (let i = 0; i < 8; i += 2) {
          const [low, high] = mixed(lanes[i]!, lanes[i + 1]!);
          xor(s, h, low, high);
          times(s, h, P1);
          plus(s, h, P4[0], P4[1]);
        }
      } else {
        plus(s, h, P5[0], P5[1]);
      }
      plus(s, h, total | 0, Math.floor(total / 2 ** 32));
      let at = 0;
      for (; at + 8 <= kept; at += 8) {
        const [low, high] = mixed(word(rest, at), word(rest, at + 4));
        xor(s, h, low, high);
        rotate(s, h, 27);
        times(s, h, P1);
        plus(s, h, P4[0], P4[1]);
      }
      if (at + 4 <= kept) {
        const one = Int32Array.of(word(rest, at), 0);
        times(one, 0, P1);
        xor(s, h, one[0]!, one[1]!);
        rotate(s, h, 23);
        times(s, h, P2);
        plus(s, h, P3[0], P3[1]);
        at += 4;
      }
      for (; at < kept; at++) {
        const one = Int32Array.of(rest[at]!, 0);
        times(one, 0, P5);
        xor(s, h, one[0]!, one[1]!);
        rotate(s, h, 11);
        times(s, h, P1);
      }
      shiftXor(s, h, 33);
      times(s, h, P2);
      shiftXor(s, h, 29);
      times(s, h, P3);
      shiftXor(s, h, 32);
      const out = Buffer.alloc(4);
      out.writeInt32LE(s[h]);
      return out;
    },
  };
}

function mixed(low: number, high: number): Half2 {
  const one = Int32Array.of(low, high);
  times(one, 0, P2);
  rotate(one, 0, 31);
  times(one, 0, P1);
  return [one[0]!, one[1]!];
}

const word = (piece: Uint8Array, at: number): number =>
  piece[at]! | (piece[at + 1]! << 8) | (piece[at + 2]! << 16) | (piece[at + 3]! << 24);
