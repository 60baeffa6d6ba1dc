import { Refusal } from './refusal.js';
import { parseMediaType } from './media-type.js';

/*
 * What HTTP itself says about a message, before Docker comes into it: the target, the headers that decide how the rest is
 * read, the framing of the body, and what belongs to one connection alone.
 */

/** A request target taken apart: the path decoded once and without its version prefix, the query still raw. */
export interface Target {
  /** Percent-decoded path without the version prefix: `/containers/json`. */
  readonly path: string;
  /** `1.41`, or `""` for an unversioned path. */
  readonly apiVersion: string;
  /** The N of 1.N, or -1 for an unversioned path. */
  readonly minor: number;
  /** What follows the first `?`, undecoded, or `""`. */
  readonly rawQuery: string;
}

const AUTHORITY = /^https?:\/\/(?:[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?([/?#].*)?$/i;
const CONTROL = /[\0-\x1f\x7f]/;
// INVARIANT: the only spelling of a version that passes; the router of dockerd takes any `/v[0-9.]+` (server.go).
const VERSION = /^1\.([1-9][0-9]{0,2})$/;
const VERSION_LIKE = /^[0-9.]+$/;

/**
 * Takes a request target apart as net/http and the router of dockerd do (url.ParseRequestURI, daemon/server/server.go),
 * refusing every target that has a second reading: dot segments and `//` (redirected there), control characters,
 * raw non-ASCII bytes, fragments, bad escapes, other spellings of a version.
 *
 * @param maximum longest target, in bytes
 * @throws Refusal 400, 414
 */
export function parseTarget(target: string, maximum: number): Target {
  if (target.length > maximum) {
    throw new Refusal(414, 'target-too-long', `the request target is longer than ${maximum} bytes`);
  }
  let origin = target;
  if (target.charCodeAt(0) !== 0x2f) origin = originOf(target);
  let queryAt = -1;
  let escaped = false;
  let suspicious = false;
  let previous = 0;
  for (let index = 0; index < origin.length; index++) {
    const code = origin.charCodeAt(index);
    if (code <= 0x20 || code >= 0x7f || code === 0x23) throw badCharacter(code, index);
    if (queryAt < 0) {
      if (code === 0x3f) queryAt = index;
      else if (code === 0x25) escaped = true;
      // `//`, `/.x`: most are harmless (`/.hidden`), the segments are checked below.
      else if (previous === 0x2f && (code === 0x2f || code === 0x2e)) suspicious = true;
    }
    previous = code;
  }
  const rawPath = queryAt < 0 ? origin : origin.slice(0, queryAt);
  const rawQuery = queryAt < 0 ? '' : origin.slice(queryAt + 1);
  const path = escaped ? decodePath(rawPath) : rawPath;
  if (suspicious || escaped) checkSegments(path);
  const end = path.charCodeAt(1) === 0x76 ? path.indexOf('/', 2) : -1;
  if (end < 0) return { path, apiVersion: '', minor: -1, rawQuery };
  const apiVersion = path.slice(2, end);
  const minor = VERSION.exec(apiVersion)?.[1];
  if (minor !== undefined) return { path: path.slice(end), apiVersion, minor: Number(minor), rawQuery };
  if (!VERSION_LIKE.test(apiVersion)) return { path, apiVersion: '', minor: -1, rawQuery };
  // dockerd routes `/v1.41.0.0/` and `/v01.041/` too: a guard that does not see the prefix would see another path.
  throw new Refusal(
    400,
    'api-version',
    `"/v${apiVersion.slice(0, 32)}" is not a canonical API version: write it as /v1.41`,
  );
}

/** The path and query of an absolute-form target; Go serves these by their path alone and ignores the authority. */
function originOf(target: string): string {
  const match = AUTHORITY.exec(target);
  const rest = match?.[1];
  if (rest === undefined || !rest.startsWith('/')) {
    throw new Refusal(
      400,
      'target-form',
      'the request target must be a path such as /v1.41/containers/json, not an authority, an asterisk or another scheme',
    );
  }
  return rest;
}

function badCharacter(code: number, index: number): Refusal {
  if (code === 0x23)
    return new Refusal(400, 'target-fragment', `"#" at offset ${index} of the request target`);
  return new Refusal(
    400,
    'target-character',
    `the request target has the byte 0x${code.toString(16)} at offset ${index}: it must be percent-encoded`,
  );
}

function decodePath(raw: string): string {
  let path: string;
  try {
    path = decodeURIComponent(raw);
  } catch {
    throw new Refusal(
      400,
      'path-encoding',
      'the path has an invalid percent escape, or one that is not UTF-8',
    );
  }
  if (CONTROL.test(path))
    throw new Refusal(400, 'path-character', 'the path has an encoded control character');
  return path;
}

/** `/a/../b` routes as `/b` for some readers, is redirected by dockerd, and is a name for others: refused. */
function checkSegments(path: string): void {
  const segments = path.split('/');
  for (let index = 1; index < segments.length; index++) {
    const segment = segments[index];
    const empty = segment === '' && index < segments.length - 1;
    if (empty || segment === '.' || segment === '..') {
      throw new Refusal(
        400,
        'path-segment',
        'the path has an empty, "." or ".." segment: write it without them',
      );
    }
  }
}

/** How the body of a request is delimited; exactly one of these applies. */
export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' };

/** The headers that decide how a request is read; the other ones matter only where an operation names them. */
export interface HeaderReading {
  readonly framing: Framing;
  readonly contentType: string;
  readonly mediaType: string;
  /** The `Upgrade` value, trimmed and lower-case; undefined when there is no such header. */
  readonly upgrade: string | undefined;
  readonly expectContinue: boolean;
  readonly bearerToken: string;
}

export const NO_FRAMING: Framing = { kind: 'none' };
const CHUNKED: Framing = { kind: 'chunked' };
const BAD_NAME = /[^!#$%&'*+.^_`|~0-9A-Za-z-]/;
const BAD_VALUE = /[\0-\x08\x0a-\x1f\x7f]/;
const JSON_TYPE = 'application/json';
const BEARER = /^bearer +([A-Za-z0-9._~+/=-]+)$/i;

/** The headers that decide how a request is read. Each has a length of its own. */
export const DECIDING = [
  'host',
  'expect',
  'upgrade',
  'content-type',
  'authorization',
  'content-length',
  'content-encoding',
  'transfer-encoding',
] as const;
type Deciding = (typeof DECIDING)[number];
const BY_LENGTH: readonly (Deciding | undefined)[] = Array.from({ length: 18 }, (_, length) =>
  DECIDING.find((name) => name.length === length),
);

/**
 * Reads the headers in one pass (RFC 9112 section 6). A header that matters and comes twice is refused, also where Go
 * would take the first or join them: the next hop may take the other one (request smuggling).
 *
 * @param raw node's flat list: name, value, name, value …
 * @throws Refusal 400, 415, 417, 505
 */
export function readHeaders(raw: readonly string[], httpVersion: string): HeaderReading {
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    throw new Refusal(505, 'http-version', `HTTP/${httpVersion.slice(0, 8)} is not served: use HTTP/1.1`);
  }
  const found: Record<Deciding, string | undefined> = {
    host: undefined,
    expect: undefined,
    upgrade: undefined,
    'content-type': undefined,
    authorization: undefined,
    'content-length': undefined,
    'content-encoding': undefined,
    'transfer-encoding': undefined,
  };
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const value = raw[index + 1] ?? '';
    if (name === '' || BAD_NAME.test(name)) throw badHeader('the name', name);
    if (BAD_VALUE.test(value)) throw badHeader('the value', name);
    // The length alone rules out nearly every other header without a lower-case copy of its name.
    const deciding = BY_LENGTH[name.length];
    if (deciding === undefined || (name !== deciding && name.toLowerCase() !== deciding)) continue;
    if (found[deciding] !== undefined) {
      throw new Refusal(400, 'duplicate-header', `the header ${name} comes twice: send it once`);
    }
    found[deciding] = value;
  }
  const { host, expect, upgrade, authorization } = found;
  const { 'content-type': type, 'content-length': length } = found;
  const { 'content-encoding': coding, 'transfer-encoding': transfer } = found;
  if (host === undefined && httpVersion === '1.1') {
    throw new Refusal(400, 'host', 'HTTP/1.1 needs a Host header');
  }
  if (expect !== undefined && expect.trim().toLowerCase() !== '100-continue') {
    throw new Refusal(
      417,
      'expectation',
      `the expectation "${expect.slice(0, 40)}" is not known: only 100-continue is`,
    );
  }
  if (coding !== undefined && coding.trim().toLowerCase() !== 'identity') {
    // dockerd ignores the header: it would read the bytes as they are, an inspector that inflates reads others.
    throw new Refusal(415, 'content-encoding', 'a Content-Encoding is not served: send the body as it is');
  }
  return {
    framing:
      length === undefined && transfer === undefined
        ? NO_FRAMING
        : readFraming(length, transfer, httpVersion),
    contentType: type ?? '',
    mediaType: type === undefined || type === JSON_TYPE ? (type ?? '') : parseMediaType(type.trim()),
    upgrade: upgrade?.trim().toLowerCase(),
    expectContinue: expect !== undefined,
    bearerToken: authorization === undefined ? '' : (BEARER.exec(authorization.trim())?.[1] ?? ''),
  };
}

function badHeader(what: string, name: string): Refusal {
  return new Refusal(
    400,
    'header-character',
    `${what} of the header ${JSON.stringify(name.slice(0, 40))} has a character that headers may not have`,
  );
}

// INVARIANT: one way to delimit the body, or none (RFC 9112 section 6.3; a request with both lengths is an attack).
function readFraming(length: string | undefined, encoding: string | undefined, httpVersion: string): Framing {
  if (encoding !== undefined) {
    if (length !== undefined) {
      throw new Refusal(400, 'framing', 'both Content-Length and Transfer-Encoding: send one of them');
    }
    if (httpVersion === '1.0') throw new Refusal(400, 'framing', 'Transfer-Encoding needs HTTP/1.1');
    if (encoding.trim().toLowerCase() !== 'chunked') {
      throw new Refusal(
        400,
        'framing',
        `the Transfer-Encoding "${encoding.slice(0, 40)}" is not served: only chunked is`,
      );
    }
    return CHUNKED;
  }
  if (length === undefined) return NO_FRAMING;
  const bytes = /^[0-9]{1,16}$/.test(length) ? Number(length) : NaN;
  if (!Number.isSafeInteger(bytes)) {
    throw new Refusal(
      400,
      'framing',
      `the Content-Length "${length.slice(0, 40)}" is not a decimal number of bytes`,
    );
  }
  return bytes === 0 ? NO_FRAMING : { kind: 'length', length: bytes };
}

/** Headers that belong to one connection, not to the message (RFC 9110 section 7.6.1). */
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const HOP_LENGTHS = new Set([...HOP_BY_HOP].map((name) => name.length));

/** The headers of an answer without those that belong to one connection, by name or by being listed in Connection. */
export function endToEnd(raw: readonly string[]): string[] {
  let listed: string[] | undefined;
  const headers: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!;
    if (HOP_LENGTHS.has(name.length)) {
      const lower = name.toLowerCase();
      if (lower === 'connection') (listed ??= []).push(...raw[i + 1]!.toLowerCase().split(/[ \t,]+/));
      if (HOP_BY_HOP.has(lower)) continue;
    }
    headers.push(name, raw[i + 1]!);
  }
  if (listed === undefined) return headers;
  return headers.filter((_, i) => !listed.includes(headers[i - (i % 2)]!.toLowerCase()));
}
