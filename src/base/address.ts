/** An IPv6 address: four unsigned 32-bit numbers, the first the highest. */
export type Words = readonly [number, number, number, number];

/**
 * An address as one number of its family, for ranges and look-ups. An IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) is the
 * IPv4 address, because that is how a socket for both families names IPv4 clients.
 */
export type Address =
  { readonly family: 4; readonly value: number } | { readonly family: 6; readonly value: bigint };

/** Longest text of an IPv6 address: eight groups, the last two as a dotted quad. */
const MAX_IPV6_LENGTH = 45;

/**
 * Reads an IPv4 address as inet_aton and the WHATWG URL standard do: one to four parts, each decimal, octal (`0306`) or
 * hexadecimal (`0xc6`), the last one filling what is left: `198.51.25607`, `0xc6336407`, `3325256711`.
 *
 * @returns an unsigned 32-bit number; undefined for anything else.
 */
export function parseLooseIpv4(text: string): number | undefined {
  if (text.length === 0 || text.length > 64) return undefined;
  let value = 0;
  let parts = 0;
  let from = 0;
  for (;;) {
    const dot = text.indexOf('.', from);
    const part = parsePart(text, from, dot === -1 ? text.length : dot);
    if (part === -1 || parts === 4) return undefined;
    parts++;
    if (dot === -1) {
      if (part >= 256 ** (5 - parts)) return undefined;
      return value * 256 ** (5 - parts) + part;
    }
    if (part > 255) return undefined;
    value = value * 256 + part;
    from = dot + 1;
  }
}

/** One part of an IPv4 address; -1 for what is no number. More than 2^53 loses digits, but is too much anyway. */
function parsePart(text: string, from: number, to: number): number {
  if (from === to) return -1;
  let base = 10;
  if (to - from > 1 && text.charCodeAt(from) === 0x30) {
    base = 8;
    from++;
    if ((text.charCodeAt(from) | 32) === 0x78) {
      base = 16;
      from++;
      // WHATWG reads `0x` as 0, inet_aton refuses it: programs that connect to it read it like WHATWG.
    }
  }
  let value = 0;
  for (let at = from; at < to; at++) {
    const digit = digitOf(text.charCodeAt(at));
    if (digit >= base) return -1;
    value = value * base + digit;
  }
  return value;
}

function digitOf(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 32;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : 99;
}

/**
 * Reads an IPv4 address as a list means it: four decimal parts. A leading zero is taken only where the octal reading is
 * the same (`001`): `010` may be 8 or 10.
 */
export function parseIpv4(text: string): number | undefined {
  if (!/^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(text)) return undefined;
  if (/(?:^|\.)0(?!0*[0-7]?(?:\.|$))/.test(text)) return undefined;
  return parseLooseIpv4(text);
}

/** Reads an IPv6 address without brackets; a zone (`%eth0`) is left out. */
export function parseIpv6(text: string): Words | undefined {
  const zone = text.indexOf('%');
  const end = zone === -1 ? text.length : zone;
  if (end < 2 || end > MAX_IPV6_LENGTH) return undefined;
  const groups = [0, 0, 0, 0, 0, 0, 0, 0];
  let count = 0;
  let gap = -1;
  let at = 0;
  if (text.charCodeAt(0) === 0x3a) {
    if (text.charCodeAt(1) !== 0x3a) return undefined;
    gap = 0;
    at = 2;
  }
  while (at < end) {
    if (count === 8) return undefined;
    const from = at;
    let value = 0;
    for (; at < end; at++) {
      const digit = digitOf(text.charCodeAt(at));
      if (digit > 15) break;
      value = value * 16 + digit;
    }
    if (at < end && text.charCodeAt(at) === 0x2e) {
      const written = text.slice(from, end);
      const quad = parseIpv4(written);
      if (quad === undefined || count > 6 || /(?:^|\.)0\d/.test(written)) return undefined;
      groups[count++] = quad >>> 16;
      groups[count++] = quad & 0xffff;
      at = end;
      break;
    }
    if (at === from || at - from > 4) return undefined;
    groups[count++] = value;
    if (at === end) break;
    if (text.charCodeAt(at) !== 0x3a) return undefined;
    at++;
    if (at === end) return undefined;
    if (text.charCodeAt(at) === 0x3a) {
      if (gap !== -1) return undefined;
      gap = count;
      at++;
    }
  }
  if (gap === -1 ? count !== 8 : count === 8) return undefined;
  if (gap !== -1) {
    const tail = groups.splice(gap, count - gap);
    groups.push(...tail);
  }
  const word = (i: number): number => groups[i]! * 0x10000 + groups[i + 1]!;
  return [word(0), word(2), word(4), word(6)];
}

/**
 * The IPv4 address that an IPv6 address is a coat for: mapped (`::ffff:c633:6407`), compatible (`::c633:6407`), translated
 * (`::ffff:0:c633:6407`), NAT64 (`64:ff9b::c633:6407`) or 6to4 (`2002:c633:6407::`). The attack: the same server spelled so
 * that a comparison misses it.
 */
export function embeddedIpv4([a, b, c, d]: Words): number | undefined {
  if (a === 0 && b === 0) {
    // `::` and `::1` are not IPv4, nor is anything that would be in 0.0.0.0/16.
    if (c === 0xffff || c === 0xffff0000 || (c === 0 && d > 0xffff)) return d;
  }
  if (a === 0x0064ff9b && b === 0 && c === 0) return d;
  if (a >>> 16 === 0x2002) return (((a & 0xffff) << 16) | (b >>> 16)) >>> 0;
  return undefined;
}

export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups as `::`. */
export function formatIpv6(address: Words | bigint): string {
  const words = typeof address === 'bigint' ? toWords(address) : address;
  const groups = words.flatMap((word) => [word >>> 16, word & 0xffff]);
  let best = -1;
  let length = 1;
  for (let from = 0; from < 8; from++) {
    let to = from;
    while (to < 8 && groups[to] === 0) to++;
    if (to - from > length) {
      best = from;
      length = to - from;
    }
    from = Math.max(from, to - 1);
  }
  const hex = (list: readonly number[]): string => list.map((group) => group.toString(16)).join(':');
  if (best === -1) return hex(groups);
  return `${hex(groups.slice(0, best))}::${hex(groups.slice(best + length))}`;
}

/**
 * Reads one address; undefined for anything that has no single clear reading: leading zeros (`010` is 8 to some readers
 * and 10 to others), zones, ports, brackets.
 */
export function parseAddress(text: string): Address | undefined {
  if (text.length > MAX_IPV6_LENGTH) return undefined;
  if (!text.includes(':')) {
    const value = /(?:^|\.)0\d/.test(text) ? undefined : parseIpv4(text);
    return value === undefined ? undefined : { family: 4, value };
  }
  const words = text.includes('%') ? undefined : parseIpv6(text);
  if (words === undefined) return undefined;
  const [a, b, c, d] = words;
  if (a === 0 && b === 0 && c === 0xffff) return { family: 4, value: d };
  return { family: 6, value: toBigInt(words) };
}

/**
 * What stands for one client in limits, history and alerts: an IPv4 address as it is, of an IPv6 address the /64, because
 * one machine has all addresses of that. A zone (`%eth0`) is no part of it.
 *
 * @returns canonical text (`198.51.100.7`, `2001:db8::/64`); `""` for what is not an address.
 */
export function clientNetwork(address: string): string {
  const parsed = parseAddress(address.split('%', 1)[0]!);
  if (parsed === undefined) return '';
  if (parsed.family === 4) return formatIpv4(parsed.value);
  return `${formatIpv6((parsed.value >> 64n) << 64n)}/64`;
}

/** The number that ranges are computed with. */
export function toBigInt([a, b, c, d]: Words): bigint {
  return (BigInt(a) << 96n) | (BigInt(b) << 64n) | (BigInt(c) << 32n) | BigInt(d);
}

export function toWords(value: bigint): Words {
  const word = (shift: bigint): number => Number((value >> shift) & 0xffffffffn);
  return [word(96n), word(64n), word(32n), word(0n)];
}
