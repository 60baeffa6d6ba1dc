import {
  embeddedIpv4,
  formatIpv4,
  formatIpv6,
  parseAddress,
  parseIpv4,
  parseIpv6,
  toBigInt,
  toWords,
  type Address,
  type Words,
} from './address.js';

/** An address (then `bits` is 32 or 128) or a prefix; what is below `bits` is zero. */
export type Prefix =
  | { readonly family: 4; readonly address: number; readonly bits: number }
  | { readonly family: 6; readonly words: Words; readonly bits: number };

/** The same as numbers that ranges are computed with: the first address, and how many of its bits all share. */
export type Network = Address & { readonly bits: number };

/** Text of an address or prefix as in indicator.ts. */
export function formatPrefix(prefix: Prefix): string {
  if (prefix.family === 4) {
    return prefix.bits === 32 ? formatIpv4(prefix.address) : `${formatIpv4(prefix.address)}/${prefix.bits}`;
  }
  return prefix.bits === 128 ? formatIpv6(prefix.words) : `${formatIpv6(prefix.words)}/${prefix.bits}`;
}

/**
 * Reads `198.51.100.7`, `198.51.100.0/24` or the like in IPv6. Host bits are cleared, and IPv6 that stands for IPv4
 * addresses alone becomes these: `::ffff:198.51.100.0/120` is `198.51.100.0/24`.
 */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  const address = slash === -1 ? text : text.slice(0, slash);
  const length = slash === -1 ? undefined : text.slice(slash + 1);
  if (length !== undefined && !/^(?:0|[1-9]\d{0,2})$/.test(length)) return undefined;
  if (!address.includes(':')) {
    const value = parseIpv4(address);
    const bits = length === undefined ? 32 : Number(length);
    return value === undefined || bits > 32 ? undefined : prefix4(value, bits);
  }
  if (address.includes('%')) return undefined;
  const words = parseIpv6(address);
  const bits = length === undefined ? 128 : Number(length);
  if (words === undefined || bits > 128) return undefined;
  const inside = embeddedIpv4(words);
  if (inside !== undefined) {
    const start = words[0] >>> 16 === 0x2002 ? 16 : 96;
    if (bits >= start) return prefix4(inside, Math.min(bits - start, 32));
  }
  const masked = words.map((word, i) => maskWord(word, bits - 32 * i)) as [number, number, number, number];
  return { family: 6, words: masked, bits };
}

function prefix4(address: number, bits: number): Prefix {
  return { family: 4, address: maskWord(address, bits), bits };
}

/** A 32-bit word with all but its highest `bits` (less than 0: none, more than 32: all) cleared. */
export function maskWord(word: number, bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? word : (word & (0xffffffff << (32 - bits))) >>> 0;
}

/**
 * The fewest prefixes that make up a range of addresses, both ends included, as texts; at most 62 (IPv4) or 254 (IPv6).
 * Undefined when an end is no address, the ends are of two families, or the first is above the last.
 */
export function rangeToPrefixes(first: string, last: string): string[] | undefined {
  const [from, to] = [parsePrefix(first), parsePrefix(last)];
  if (first.includes('/') || last.includes('/') || from === undefined || to === undefined) return undefined;
  if (from.family === 4 && to.family === 4) {
    return split(BigInt(from.address), BigInt(to.address), 32, (value, bits) =>
      formatPrefix({ family: 4, address: Number(value), bits }),
    );
  }
  if (from.family === 4 || to.family === 4) return undefined;
  return split(toBigInt(from.words), toBigInt(to.words), 128, (value, bits) =>
    formatPrefix({ family: 6, words: toWords(value), bits }),
  );
}

function split(
  first: bigint,
  last: bigint,
  width: number,
  text: (value: bigint, bits: number) => string,
): string[] | undefined {
  if (first > last) return undefined;
  const prefixes: string[] = [];
  for (let at = first; at <= last;) {
    let bits = width;
    // The block doubles while its start is aligned to the double and its end stays inside.
    while (bits > 0) {
      const size = 1n << BigInt(width - bits + 1);
      if (at % size !== 0n || at + size - 1n > last) break;
      bits--;
    }
    prefixes.push(text(at, bits));
    at += 1n << BigInt(width - bits);
  }
  return prefixes;
}

/** Have the two prefixes an address in common? Then one of them is inside the other. */
export function overlap(a: Prefix, b: Prefix): boolean {
  const bits = Math.min(a.bits, b.bits);
  if (a.family === 4) return b.family === 4 && maskWord(a.address, bits) === maskWord(b.address, bits);
  return (
    b.family === 6 &&
    a.words.every((word, i) => maskWord(word, bits - 32 * i) === maskWord(b.words[i]!, bits - 32 * i))
  );
}

/** First and last address of a network. */
export function boundsOf(network: Network): { readonly from: bigint; readonly to: bigint } {
  const from = BigInt(network.value);
  const full = network.family === 4 ? 32 : 128;
  return { from, to: from + (1n << BigInt(full - network.bits)) - 1n };
}

/** Is the address in one of the networks? */
export function isWithin(address: Address, networks: readonly Network[]): boolean {
  const value = BigInt(address.value);
  return networks.some((network) => {
    if (network.family !== address.family) return false;
    const { from, to } = boundsOf(network);
    return from <= value && value <= to;
  });
}

/** CIDR text, made from numbers. */
export function formatNetwork(network: Network): string {
  const address = network.family === 4 ? formatIpv4(network.value) : formatIpv6(network.value);
  return `${address}/${network.bits}`;
}

/** The network of `bits` bits that an address is in: host bits are cleared. */
export function networkOf(address: Address, bits: number): Network {
  if (address.family === 4) return { family: 4, value: maskWord(address.value, bits), bits };
  return { family: 6, value: mask6(address.value, bits), bits };
}

const ALL128 = (1n << 128n) - 1n;

function mask6(value: bigint, bits: number): bigint {
  return value & ((ALL128 << BigInt(128 - bits)) & ALL128);
}

/** Finds what is filed under the networks that contain an address. One map look-up per prefix length in use. */
export interface NetworkIndex<T> {
  find(address: string): T[];
}

export function indexNetworks<T>(entries: Iterable<readonly [Network, T]>): NetworkIndex<T> {
  const v4 = new Map<number, Map<number, T[]>>();
  const v6 = new Map<number, Map<bigint, T[]>>();
  const file = <K>(tables: Map<number, Map<K, T[]>>, bits: number, key: K, item: T): void => {
    const table = tables.get(bits) ?? new Map<K, T[]>();
    tables.set(bits, table);
    const items = table.get(key) ?? [];
    table.set(key, items);
    items.push(item);
  };
  for (const [network, item] of entries) {
    if (network.family === 4) file(v4, network.bits, network.value, item);
    else file(v6, network.bits, network.value, item);
  }
  return {
    find(address) {
      const parsed = parseAddress(address.split('%', 1)[0]!);
      const found: T[] = [];
      if (parsed === undefined) return found;
      if (parsed.family === 4) {
        for (const [bits, table] of v4) found.push(...(table.get(maskWord(parsed.value, bits)) ?? []));
      } else {
        for (const [bits, table] of v6) found.push(...(table.get(mask6(parsed.value, bits)) ?? []));
      }
      return found;
    },
  };
}
