import {
  embeddedIpv4,
  formatIpv4,
  formatIpv6,
  parseIpv6,
  parseLooseIpv4,
  type Words,
} from '../base/address.js';

/** What stands in the place of a host. */
export type Host =
  | { readonly kind: 'ipv4'; readonly address: number }
  | { readonly kind: 'ipv6'; readonly words: Words }
  | { readonly kind: 'domain'; readonly name: string };

/** Names as they are given to hosts; a name server of one's own answers to others, too: `a+b.evil.example`. */
export const PLAIN = /^[a-z0-9._-]+$/;
const MAX_NAME_LENGTH = 253;
const MAX_LABEL_LENGTH = 63;
/** Before `%31` and full-width characters are read. */
const MAX_TEXT_LENGTH = 2048;

/**
 * Reads a host as a client would that connects to it: any spelling of an IPv4 address (see parseLooseIpv4), IPv6 with or
 * without brackets and zone, a domain in Unicode or percent-encoded (WHATWG URL, UTS 46), with trailing dots, with
 * tabs and line ends inside. IPv6 that stands for an IPv4 address is that address.
 *
 * @returns undefined for what cannot be a host.
 */
export function readHost(text: string): Host | undefined {
  if (text.length > MAX_TEXT_LENGTH) return undefined;
  const bare = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text;
  if (bare.includes(':')) return readIpv6(bare);
  if (bare !== text) return undefined;
  let name = text.toLowerCase();
  if (!PLAIN.test(name)) {
    const ascii = toAscii(text);
    if (ascii === undefined) return undefined;
    name = ascii;
  }
  let end = name.length;
  while (end > 0 && name.charCodeAt(end - 1) === 0x2e) end--;
  if (end < name.length) name = name.slice(0, end);
  if (endsInNumber(name)) {
    const address = parseLooseIpv4(name);
    return address === undefined ? undefined : { kind: 'ipv4', address };
  }
  return isName(name) ? { kind: 'domain', name } : undefined;
}

function readIpv6(text: string): Host | undefined {
  const words = parseIpv6(text.toLowerCase());
  if (words === undefined) return undefined;
  const address = embeddedIpv4(words);
  return address === undefined ? { kind: 'ipv6', words } : { kind: 'ipv4', address };
}

/** What the URL standard makes of a host with other characters in it: IDNA, percent-encoding, full-width forms. */
function toAscii(text: string): string | undefined {
  // These would end the host, or start a port or a user; tabs and line ends the standard takes out.
  if (/[/\\?#@:[\]]/.test(text)) return undefined;
  return parseUrl(`http://${text}/`)?.hostname;
}

/** Not with URL.canParse: in Node 20, once V8 has optimised the call, that refuses `é` and all other Latin-1. */
export function parseUrl(text: string, base?: URL): URL | undefined {
  try {
    return new URL(text, base);
  } catch {
    return undefined;
  }
}

/** "Ends in a number" of the URL standard: then it is an IPv4 address or nothing. */
function endsInNumber(name: string): boolean {
  const last = name.slice(name.lastIndexOf('.') + 1);
  return /^(?:\d+|0x[0-9a-f]*)$/.test(last);
}

function isName(name: string): boolean {
  if (name.length === 0 || name.length > MAX_NAME_LENGTH) return false;
  let from = 0;
  for (;;) {
    const dot = name.indexOf('.', from);
    const to = dot === -1 ? name.length : dot;
    if (to === from || to - from > MAX_LABEL_LENGTH) return false;
    if (dot === -1) return true;
    from = dot + 1;
  }
}

/** Canonical text of a host as in indicator.ts; IPv6 without brackets. */
export function formatHost(host: Host): string {
  if (host.kind === 'domain') return host.name;
  return host.kind === 'ipv4' ? formatIpv4(host.address) : formatIpv6(host.words);
}

/**
 * Takes a port off: `host:443`, `[2001:db8::1]:443`. An IPv6 address without brackets has none.
 *
 * @returns the host as it is written, and the port or 0.
 */
export function splitPort(text: string): { readonly host: string; readonly port: number } {
  const match = /^(\[[^\]]*\]|[^:]*):(\d{1,5})$/.exec(text);
  if (match === null) return { host: text, port: 0 };
  const port = Number(match[2]);
  return port > 65_535 ? { host: text, port: 0 } : { host: match[1]!, port };
}
