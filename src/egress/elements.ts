import type { IndicatorIndex } from '../intel/indicator.js';
import { boundsOf, type Network } from '../base/network.js';
import { parseNetwork } from '../policy/cidr.js';

/** What one nftables set holds: ascending, disjoint; ranges as pairs, `from` and `to` included. */
export interface Elements4 {
  readonly singles: Uint32Array;
  readonly ranges: Uint32Array;
}
export interface Elements6 {
  readonly singles: readonly bigint[];
  readonly ranges: readonly bigint[];
}

/** Everything listed that the table shall hold, by what is done with it. */
export interface Elements {
  readonly block4: Elements4;
  readonly block6: Elements6;
  readonly alert4: Elements4;
  readonly alert6: Elements6;
  /** Listed ranges of which something was left out because it is reserved, the host's own, or exempt. */
  readonly spared: number;
}

/**
 * What never gets into the table, whatever is listed: special-purpose addresses that are not for the public internet
 * (RFC 6890, RFC 5771, RFC 4291). The feeds refuse them too; this is the second check, since an error here cuts off a host.
 */
export const RESERVED_NETWORKS: readonly Network[] = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12'],
  ...['192.0.0.0/24', '192.168.0.0/16', '198.18.0.0/15', '224.0.0.0/4', '240.0.0.0/4'],
  ...['::/96', '64:ff9b::/96', 'fc00::/7', 'fe80::/10', 'fec0::/10', 'ff00::/8'],
]
  .map((text) => parseNetwork(text)!)
  // parseNetwork reads mapped addresses as the IPv4 ones they stand for.
  .concat({ family: 6, value: 0xffffn << 32n, bits: 96 });

/** More addresses than this (an eighth of IPv4, a /14 of IPv6) are no list of indicators: they cut the host off. */
const MAX_COVERED4 = 2 ** 29;
const MAX_COVERED6 = 2 ** 114;

interface Range {
  readonly from: bigint;
  readonly to: bigint;
}

/**
 * Takes what is listed out of an index.
 *
 * @param spare networks that are never in the table beside the reserved ones: the host's own addresses, resolvers.
 * @throws Error when the index lists more of the internet than any feed of indicators would.
 */
export function collectElements(
  index: IndicatorIndex,
  mode: 'block' | 'alert',
  spare: readonly Network[],
): Elements {
  // INVARIANT: no reserved address, none of the host's own and none that is exempt gets into the table.
  const holes4 = holes(4, spare);
  const holes6 = holes(6, spare);
  const block4 = collector4();
  const alert4 = collector4();
  const block6 = collector6();
  const alert6 = collector6();
  let spared = 0;
  let covered4 = 0;
  let covered6 = 0;
  for (const { from, to, hit } of index.ranges4()) {
    const target = mode === 'block' && hit.action === 'block' ? block4 : alert4;
    if (!meetsHole4(from, to, holes4)) {
      covered4 += to - from + 1;
      target.add(from, to);
      continue;
    }
    spared++;
    for (const rest of without({ from: BigInt(from), to: BigInt(to) }, holes4.list)) {
      covered4 += Number(rest.to - rest.from) + 1;
      target.add(Number(rest.from), Number(rest.to));
    }
  }
  for (const { from, to, hit } of index.ranges6()) {
    const target = mode === 'block' && hit.action === 'block' ? block6 : alert6;
    const rests = without({ from, to }, holes6.list);
    if (rests.length !== 1 || rests[0]!.from !== from || rests[0]!.to !== to) spared++;
    for (const rest of rests) {
      covered6 += Number(rest.to - rest.from) + 1;
      target.add(rest.from, rest.to);
    }
  }
  if (covered4 > MAX_COVERED4 || covered6 > MAX_COVERED6) {
    throw new Error(
      `so much is listed that it would cut the host off: ${covered4} IPv4 and ${covered6} IPv6 addresses`,
    );
  }
  return {
    block4: block4.done(),
    alert4: alert4.done(),
    block6: block6.done(),
    alert6: alert6.done(),
    spared,
  };
}

interface Holes {
  readonly list: readonly Range[];
  /** The same as numbers, pairs; only for IPv4. */
  readonly pairs: readonly number[];
}

function holes(family: 4 | 6, spare: readonly Network[]): Holes {
  const list = [...RESERVED_NETWORKS, ...spare]
    .filter((network) => network.family === family)
    .map(boundsOf)
    .sort((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0));
  return { list, pairs: family === 4 ? list.flatMap(({ from, to }) => [Number(from), Number(to)]) : [] };
}

function meetsHole4(from: number, to: number, { pairs }: Holes): boolean {
  for (let at = 0; at < pairs.length; at += 2) {
    if (pairs[at]! <= to && from <= pairs[at + 1]!) return true;
  }
  return false;
}

/** What is left of a range without the holes (ascending by `from`). */
function without(range: Range, list: readonly Range[]): Range[] {
  const rests: Range[] = [];
  let { from } = range;
  for (const hole of list) {
    if (hole.to < from || hole.from > range.to) continue;
    if (hole.from > from) rests.push({ from, to: hole.from - 1n });
    from = hole.to + 1n;
  }
  if (from <= range.to) rests.push({ from, to: range.to });
  return rests;
}

/** Neighbours up to this many stay single: the index joins them, but a hash set is cheaper to change. */
const MAX_SINGLE_NEIGHBOURS = 8;

/** Single addresses go into a hash set, ranges into an interval set: a million in one interval set takes minutes. */
function collector4() {
  let singles = new Uint32Array(1024);
  let count = 0;
  const ranges: number[] = [];
  return {
    add(from: number, to: number): void {
      if (to - from >= MAX_SINGLE_NEIGHBOURS) {
        // Neighbours become one: an interval set takes them, but is smaller without.
        if (ranges.at(-1) === from - 1) ranges[ranges.length - 1] = to;
        else ranges.push(from, to);
        return;
      }
      for (let address = from; address <= to; address++) {
        if (count === singles.length) {
          const larger = new Uint32Array(count * 2);
          larger.set(singles);
          singles = larger;
        }
        singles[count++] = address;
      }
    },
    done: (): Elements4 => ({ singles: singles.slice(0, count), ranges: Uint32Array.from(ranges) }),
  };
}

function collector6() {
  const singles: bigint[] = [];
  const ranges: bigint[] = [];
  return {
    add(from: bigint, to: bigint): void {
      if (to - from < BigInt(MAX_SINGLE_NEIGHBOURS))
        for (let address = from; address <= to; address++) singles.push(address);
      else if (ranges.at(-1) === from - 1n) ranges[ranges.length - 1] = to;
      else ranges.push(from, to);
    },
    done: (): Elements6 => ({ singles, ranges }),
  };
}

/** What to take away and what to add, ascending. */
export interface Difference<T> {
  readonly gone: readonly T[];
  readonly come: readonly T[];
}

/** The difference of two ascending lists, in one pass. */
export function difference<T extends number | bigint>(old: ArrayLike<T>, now: ArrayLike<T>): Difference<T> {
  const gone: T[] = [];
  const come: T[] = [];
  let a = 0;
  let b = 0;
  while (a < old.length || b < now.length) {
    const left = old[a];
    const right = now[b];
    if (right === undefined || (left !== undefined && left < right)) {
      gone.push(left!);
      a++;
    } else if (left === undefined || right < left) {
      come.push(right);
      b++;
    } else {
      a++;
      b++;
    }
  }
  return { gone, come };
}
