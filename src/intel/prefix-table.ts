import type { ClassTable } from './class-table.js';
import { growing, type Growing } from './growing.js';
import { CLASS_BITS, EXEMPT, MAX_CLASSES } from './index-layout.js';

/** Prefixes of one family while they are collected: the words of each one's first address, and its rank. */
export interface PrefixList {
  readonly words: readonly Growing[];
  readonly ranks: Growing;
}

/** Disjoint ranges, ascending; `from` and `to` hold as many words an address as the family has. */
export interface Ranges {
  readonly from: Uint32Array;
  readonly to: Uint32Array;
  readonly rank: Uint32Array;
  /** Different prefixes that are listed. */
  readonly listed: number;
}

/** Numbers that addresses of a family are computed with. */
interface Family<N extends number | bigint> {
  readonly width: number;
  at(columns: readonly Uint32Array[], entry: number): N;
  last(first: N, bits: number): N;
  next(address: N): N;
  before(address: N): N;
  words(address: N): readonly number[];
}

const IPV4: Family<number> = {
  width: 32,
  at: (columns, entry) => columns[0]![entry]!,
  last: (first, bits) => first + 2 ** (32 - bits) - 1,
  next: (address) => address + 1,
  before: (address) => address - 1,
  words: (address) => [address],
};

const IPV6: Family<bigint> = {
  width: 128,
  at: (columns, entry) => columns.reduce((sum, column) => (sum << 32n) | BigInt(column[entry]!), 0n),
  last: (first, bits) => first + (1n << BigInt(128 - bits)) - 1n,
  next: (address) => address + 1n,
  before: (address) => address - 1n,
  words: (address) => [96n, 64n, 32n, 0n].map((shift) => Number((address >> shift) & 0xffffffffn)),
};

export function prefixList(words: 1 | 4): PrefixList {
  return { words: Array.from({ length: words }, () => growing()), ranks: growing() };
}

export function rankOf(bits: number, entryClass: number): number {
  return ((bits << CLASS_BITS) | entryClass) >>> 0;
}

export function toRanges(list: PrefixList, classes: ClassTable): Ranges {
  return list.words.length === 1 ? sweep(list, classes, IPV4) : sweep(list, classes, IPV6);
}

/**
 * Cuts prefixes, which lie beside or inside each other, into disjoint ranges, each with the one that wins there (see
 * `compareRanks`). Where an exemption wins there is no range.
 */
function sweep<N extends number | bigint>(list: PrefixList, classes: ClassTable, family: Family<N>): Ranges {
  const columns = list.words.map((column) => column.view());
  const ranks = list.ranks.view();
  const result = { from: growing(), to: growing(), rank: growing() };
  let listed = 0;
  /** The open prefixes, each inside the one before: where it ends, and the winning rank so far. */
  const ends: N[] = [];
  const winners: number[] = [];
  let cursor: N | undefined;
  let held: { from: N; to: N; rank: number } | undefined;

  const flush = (): void => {
    if (held === undefined) return;
    for (const word of family.words(held.from)) result.from.push(word);
    for (const word of family.words(held.to)) result.to.push(word);
    result.rank.push(held.rank);
  };
  const emit = (from: N, to: N, rank: number): void => {
    if (from > to || (rank & (MAX_CLASSES - 1)) === EXEMPT) return;
    // The pieces around a weaker prefix inside a stronger one are one range.
    if (held !== undefined && held.rank === rank && family.next(held.to) === from) {
      held.to = to;
      return;
    }
    flush();
    held = { from, to, rank };
  };
  const close = (): void => {
    const end = ends.pop()!;
    emit(cursor!, end, winners.pop()!);
    cursor = family.next(end);
  };

  let previous: { first: N; bits: number; listed: boolean } | undefined;
  for (const entry of sorted(columns, ranks)) {
    const first = family.at(columns, entry);
    const rank = ranks[entry]!;
    const bits = rank >>> CLASS_BITS;
    const isListed = (rank & (MAX_CLASSES - 1)) !== EXEMPT;
    if (previous?.first !== first || previous.bits !== bits) previous = { first, bits, listed: false };
    if (isListed && !previous.listed) {
      previous.listed = true;
      listed++;
    }
    while (ends.length > 0 && ends.at(-1)! < first) close();
    if (ends.length > 0 && cursor! < first) emit(cursor!, family.before(first), winners.at(-1)!);
    const outer = winners.at(-1);
    cursor = first;
    ends.push(family.last(first, bits));
    winners.push(outer !== undefined && classes.compareRanks(outer, rank) <= 0 ? outer : rank);
  }
  while (ends.length > 0) close();
  flush();
  return { from: result.from.view(), to: result.to.view(), rank: result.rank.view(), listed };
}

/** Numbers of the entries by first address, the wider prefix first: least significant digit first, 16 bits at a time. */
function sorted(columns: readonly Uint32Array[], ranks: Uint32Array): Uint32Array {
  let order = new Uint32Array(ranks.length).map((_, entry) => entry);
  let nextOrder = new Uint32Array(ranks.length);
  const pass = (column: Uint32Array, shift: number): void => {
    const starts = new Uint32Array(0x10001);
    for (const value of column) starts[((value >>> shift) & 0xffff) + 1]!++;
    for (let digit = 0; digit < 0x10000; digit++) starts[digit + 1]! += starts[digit]!;
    for (const entry of order) nextOrder[starts[(column[entry]! >>> shift) & 0xffff]!++] = entry;
    [order, nextOrder] = [nextOrder, order];
  };
  pass(ranks, CLASS_BITS);
  for (const column of columns.toReversed()) {
    pass(column, 0);
    pass(column, 16);
  }
  return order;
}
