import { formatHost, parseUrl, readHost, type Host } from './canonical-host.js';

/** Longest URL that is read: what browsers, proxies and the feeds themselves keep to. */
export const MAX_URL_LENGTH = 2048;

/** A URL taken apart; `origin` is its host, in brackets where it is IPv6, with a port that is no default. */
export interface ReadUrl {
  readonly host: Host;
  readonly origin: string;
  /** Path, query and fragment as they are written. */
  readonly rest: string;
}

/** Schemes of which the URL standard reads any number of slashes, in either direction, and none as two. */
const SPECIAL = new Set(['http', 'https', 'ftp', 'ws', 'wss', 'hxxp', 'hxxps']);

/** 80 and 443 are left out with any scheme, because the scheme is left out as well. */
const DEFAULT_PORTS: Readonly<Record<string, number>> = { ftp: 21, ssh: 22, git: 9418, sftp: 22, tftp: 69 };

/**
 * Takes a URL apart, of any scheme or none, as the URL standard does for http: tabs and line ends are no part of it, a
 * backslash is a slash, everything up to the last `@` is a user.
 *
 * @returns undefined when it is longer than MAX_URL_LENGTH or has no readable host.
 */
export function readUrl(text: string): ReadUrl | undefined {
  if (text.length > MAX_URL_LENGTH) return undefined;
  const plain = text.replace(/[\t\n\r]+/g, '').replace(/^[\u0000- ]+|[\u0000- ]+$/g, '');
  const { scheme, rest } = splitScheme(plain);
  const end = rest.search(/[/\\?#]/);
  const authority = end === -1 ? rest : rest.slice(0, end);
  const place = authority.slice(authority.lastIndexOf('@') + 1);
  const port = /:(\d*)$/.exec(place);
  const host = readHost(port === null ? place : place.slice(0, port.index));
  if (host === undefined) return undefined;
  // `a::1` without brackets: no telling what is the port.
  if (port !== null && host.kind === 'ipv6' && !place.startsWith('[')) return undefined;
  const number = port === null || port[1] === '' ? 0 : Number(port[1]);
  if (number > 65_535) return undefined;
  const name = host.kind === 'ipv6' ? `[${formatHost(host)}]` : formatHost(host);
  const kept = number !== 0 && number !== 80 && number !== 443 && number !== DEFAULT_PORTS[scheme];
  return { host, origin: kept ? `${name}:${number}` : name, rest: end === -1 ? '' : rest.slice(end) };
}

function splitScheme(text: string): { scheme: string; rest: string } {
  const match = /^([a-z][a-z0-9+.-]*):([/\\]*)/i.exec(text);
  if (match !== null) {
    const scheme = match[1]!.toLowerCase();
    if (match[2]!.length >= 2 || SPECIAL.has(scheme)) return { scheme, rest: text.slice(match[0].length) };
  }
  const slashes = /^[/\\]{2,}/.exec(text);
  return { scheme: '', rest: slashes === null ? text : text.slice(slashes[0].length) };
}

/** Characters that mean the same to servers whether they are percent-encoded or not; the others stay or become encoded. */
const DECODED = /[A-Za-z0-9\-._~!$&'()*+,;=:@|[\]]/;
const SIMPLE = /^\/[A-Za-z0-9\-_~/]*(?:\.[A-Za-z0-9\-_~]+)*$/;

/** Path and query as in indicator.ts: dot segments resolved, plain percent-encoding, no fragment, no empty query. */
export function canonicalRest(rest: string): string | undefined {
  if (SIMPLE.test(rest)) return rest;
  const url = parseUrl(`http://h${rest}`);
  if (url === undefined) return undefined;
  return decodePlain(url.pathname) + (url.search === '?' ? '' : decodePlain(url.search));
}

/** Decodes what needs no encoding, encodes what the standard leaves to taste, and writes the rest in upper case. */
function decodePlain(text: string): string {
  return text
    .replace(/%(?:[0-9a-f]{2})?/gi, (escape) => {
      // A lone percent sign would become an escape with what is decoded behind it: `%a%61`.
      if (escape === '%') return '%25';
      const character = String.fromCharCode(Number.parseInt(escape.slice(1), 16));
      return DECODED.test(character) ? character : escape.toUpperCase();
    })
    .replace(/[\\^`{}"<> ]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/**
 * A URL as in indicator.ts: `HTTP://user@EVIL.example:80/%61/../b?c#d` is `evil.example/b?c`.
 *
 * @returns undefined when it is no URL with a host.
 */
export function canonicalUrl(text: string): string | undefined {
  const url = readUrl(text);
  const rest = url === undefined ? undefined : canonicalRest(url.rest);
  return url === undefined || rest === undefined ? undefined : url.origin + rest;
}
