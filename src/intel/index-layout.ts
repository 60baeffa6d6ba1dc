/**
 * How an index lies in its one ArrayBuffer, which is the snapshot file byte for byte: a head of 32-bit words (see HEAD),
 * then the sections, each at a multiple of four bytes. Little-endian, as every machine that Node runs on here.
 */
export const MAGIC = 0x58495742;
export const VERSION = 1;

/** Words of the head. Counts stand in the order of TYPES, sections as pairs (offset, length) in bytes, in the order of SECTIONS. */
export const HEAD = {
  magic: 0,
  version: 1,
  bytes: 2,
  checksum: 3,
  seed: 5,
  counts: 7,
  lengths: 12,
  sections: 13,
} as const;

export const TYPES = ['ipv4', 'ipv6', 'domain', 'url', 'hash'] as const;

/** Lengths of hashes in hex digits; the bits of the word `lengths`. */
export const HASH_LENGTHS = [32, 40, 64, 128] as const;

export const SECTIONS = [
  // Disjoint ranges in ascending order; `Rank` of each, and for each upper half of an IPv4 address the first range that starts there.
  'from4',
  'to4',
  'rank4',
  'top4',
  'from6',
  'to6',
  'rank6',
  // Open addressing: slots of (tag, place of the record + 1), records of a class (3 bytes), a length (2 bytes) and that many bytes.
  'domainSlots',
  'domainText',
  'urlSlots',
  'urlText',
  'hashSlots',
  'hashText',
  // Filters of one bit a fingerprint: last labels of listed domains, these domains, hosts of listed URLs. They save the way
  // to the tables, which are too large for any cache.
  'lastLabels',
  'domainNames',
  'urlHosts',
  // (feed, action, confidence; threat; port): see `class-table.ts`. Strings: offsets, one more than there are strings, and UTF-8.
  'classes',
  'stringAt',
  'strings',
] as const;
export type Section = (typeof SECTIONS)[number];

export const HEAD_WORDS = HEAD.sections + 2 * SECTIONS.length;
export const RECORD_HEAD = 5;

/** A class, or a class and the length of a prefix above it. Class 0 is no listing: it is exempt, even if it is listed. */
export const CLASS_BITS = 24;
export const EXEMPT = 0;
export const MAX_CLASSES = 2 ** CLASS_BITS;

/** Bit of the third word of a class; below are the confidence (from bit 16) and the port. */
export const BLOCK = 2 ** 30;
/** Bits of the filter of last labels: small enough to stay in the first-level cache. */
export const LAST_LABELS = 2 ** 16;
/** Places are 32-bit numbers, and so is a length. */
export const MAX_INDEX_BYTES = 2 ** 31;

/** Filters: the place of a tag's bit is its lowest bits, as many as the filter's length, a power of two, needs. */
export function setBit(filter: Uint32Array, tag: number): void {
  filter[(tag >>> 5) & (filter.length - 1)]! |= 1 << (tag & 31);
}

export function hasBit(filter: Uint32Array, tag: number): boolean {
  return (filter[(tag >>> 5) & (filter.length - 1)]! & (1 << (tag & 31))) !== 0;
}

/** Two 32-bit sums over all words but those of the checksum itself. Against damage, not against forgery. */
export function checksum(words: Uint32Array): readonly [number, number] {
  let a = 1;
  let b = 2;
  let c = 3;
  let d = 4;
  const add = (sum: number, word: number): number => {
    const next = Math.imul(sum ^ word, 0x9e3779b1);
    return (next << 15) | (next >>> 17);
  };
  const from = HEAD.checksum + 2;
  for (let at = 0; at < HEAD.checksum; at++) a = add(a, words[at]!);
  let at = from;
  for (; at + 4 <= words.length; at += 4) {
    a = add(a, words[at]!);
    b = add(b, words[at + 1]!);
    c = add(c, words[at + 2]!);
    d = add(d, words[at + 3]!);
  }
  for (; at < words.length; at++) a = add(a, words[at]!);
  return [mix(a ^ mix(b)), mix(c ^ mix(d ^ a))];
}

/** Spreads every bit of a 32-bit number over all of it. Unsigned. */
export function mix(value: number): number {
  let h = value ^ (value >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * Start values and multipliers of the two hashes of a text. The multipliers are secret, too, and each step rotates: else
 * texts could be made that collide under every seed, and a feed of these would make the tables crawl.
 */
export interface HashKey {
  readonly a: number;
  readonly b: number;
  readonly timesA: number;
  readonly timesB: number;
}

export function hashKey(seed: readonly [number, number]): HashKey {
  const [x, y] = seed;
  return {
    a: mix(x ^ 0x243f6a88),
    b: mix(y ^ 0x85a308d3),
    timesA: mix(x ^ mix(y ^ 0x13198a2e)) | 1,
    timesB: mix(y ^ mix(x ^ 0x03707344)) | 1,
  };
}

/** One character more; texts are read from their end, so that all suffixes of a domain come up in one pass. */
export function step(state: number, code: number, times: number): number {
  const next = Math.imul(state ^ code, times);
  return (next << 13) | (next >>> 19);
}

/** Slot at which the search for a text begins, from its mixed first hash. */
export function slotOf(mixed: number, slots: number): number {
  return Math.floor((mixed * slots) / 2 ** 32);
}

/** Bytes of a hash as a text of characters below 256: half as long as hex. */
export function packHex(hex: string): string {
  let text = '';
  for (let at = 0; at < hex.length; at += 2)
    text += String.fromCharCode(Number.parseInt(hex.slice(at, at + 2), 16));
  return text;
}
