import IPCIDR from 'ip-cidr';

/** An address or a network's first address, as a number of its family. IPv4-mapped IPv6 is IPv4. */
type Parsed = { readonly family: 4; readonly value: number } | { readonly family: 6; readonly value: bigint };
export type Network = Parsed & { readonly bits: number };

const MAPPED = 0xffffn << 32n;
const ALL128 = (1n << 128n) - 1n;

function parseV4(text: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return undefined;
  let value = 0;
  for (const part of match.slice(1)) {
    // 010 is 8 to some readers and 10 to others: no clear reading.
    if (Number(part) > 255 || (part.length > 1 && part.startsWith('0'))) return undefined;
    value = value * 256 + Number(part);
  }
  return value;
}

function parseV6(text: string): bigint | undefined {
  let source = text;
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (dotted !== null) {
    const v4 = parseV4(dotted[2]!);
    if (v4 === undefined) return undefined;
    source = `${dotted[1]}${(v4 >>> 16).toString(16)}:${(v4 & 0xffff).toString(16)}`;
  }
  const halves = source.split('::');
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half) => (half === '' ? [] : half.split(':')));
  const gap = tail === undefined ? 0 : 8 - head!.length - tail.length;
  if (tail === undefined ? head!.length !== 8 : gap < 1) return undefined;
  let value = 0n;
  for (const group of [...head!, ...Array.from({ length: gap }, () => '0'), ...(tail ?? [])]) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
    value = (value << 16n) | BigInt(`0x${group}`);
  }
  return value;
}

/** Reads one address; undefined for anything that has no single clear reading (octal parts, zones, ports). */
export function parseAddress(text: string): Parsed | undefined {
  if (text.length > 45) return undefined;
  if (!text.includes(':')) {
    const value = parseV4(text);
    return value === undefined ? undefined : { family: 4, value };
  }
  const value = parseV6(text);
  if (value === undefined) return undefined;
  if (value >> 32n === MAPPED >> 32n) return { family: 4, value: Number(value & 0xffffffffn) };
  return { family: 6, value };
}

function mask4(value: number, bits: number): number {
  return bits === 0 ? 0 : (value & (0xffffffff << (32 - bits))) >>> 0;
}

function mask6(value: bigint, bits: number): bigint {
  return value & ((ALL128 << BigInt(128 - bits)) & ALL128);
}

/**
 * Reads `10.0.0.0/8`, `2001:db8::/32` or a single address, normalised: host bits are cleared and a range inside
 * `::ffff:0:0/96` becomes the IPv4 range it stands for, because that is how client addresses come.
 */
export function parseNetwork(text: string): Network | undefined {
  const [address = '', length, ...more] = text.split('/');
  const parsed = parseAddress(address);
  if (parsed === undefined || more.length > 0) return undefined;
  const full = address.includes(':') ? 128 : 32;
  if (length !== undefined && !/^(0|[1-9]\d{0,2})$/.test(length)) return undefined;
  if (!IPCIDR.isValidCIDR(`${address}/${length ?? full}`)) return undefined;
  const bits = length === undefined ? full : Number(length);
  if (bits > full) return undefined;
  if (parsed.family === 6) return { family: 6, value: mask6(parsed.value, bits), bits };
  if (full === 32) return { family: 4, value: mask4(parsed.value, bits), bits };
  // ip-cidr drops the length of a mapped range (it reads ::ffff:10.0.0.0/104 as one host), so this one is ours.
  if (bits >= 96) return { family: 4, value: mask4(parsed.value, bits - 96), bits: bits - 96 };
  return { family: 6, value: mask6(MAPPED | BigInt(parsed.value), bits), bits };
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
        for (const [bits, table] of v4) found.push(...(table.get(mask4(parsed.value, bits)) ?? []));
      } else {
        for (const [bits, table] of v6) found.push(...(table.get(mask6(parsed.value, bits)) ?? []));
      }
      return found;
    },
  };
}
