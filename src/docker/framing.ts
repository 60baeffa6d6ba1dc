import { Refusal } from './refusal.js';
import { parseMediaType } from './media-type.js';

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

const NONE: Framing = { kind: 'none' };
const CHUNKED: Framing = { kind: 'chunked' };
const BAD_NAME = /[^!#$%&'*+.^_`|~0-9A-Za-z-]/;
const BAD_VALUE = /[\0-\x08\x0a-\x1f\x7f]/;
const BEARER = /^bearer +([A-Za-z0-9._~+/=-]+)$/i;

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
  let host: string | undefined;
  let expect: string | undefined;
  let upgrade: string | undefined;
  let contentType: string | undefined;
  let contentLength: string | undefined;
  let authorization: string | undefined;
  let contentEncoding: string | undefined;
  let transferEncoding: string | undefined;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const value = raw[index + 1] ?? '';
    if (name === '' || BAD_NAME.test(name)) throw badHeader('the name', name);
    if (BAD_VALUE.test(value)) throw badHeader('the value', name);
    // The length alone rules out nearly every other header without a lower-case copy of its name.
    switch (name.length) {
      case 4:
        if (name === 'Host' || name.toLowerCase() === 'host') host = once(host, value, name);
        break;
      case 6:
        if (name.toLowerCase() === 'expect') expect = once(expect, value, name);
        break;
      case 7:
        if (name.toLowerCase() === 'upgrade') upgrade = once(upgrade, value, name);
        break;
      case 12:
        if (name.toLowerCase() === 'content-type') contentType = once(contentType, value, name);
        break;
      case 13:
        if (name.toLowerCase() === 'authorization') authorization = once(authorization, value, name);
        break;
      case 14:
        if (name.toLowerCase() === 'content-length') contentLength = once(contentLength, value, name);
        break;
      case 16:
        if (name.toLowerCase() === 'content-encoding') contentEncoding = once(contentEncoding, value, name);
        break;
      case 17:
        if (name.toLowerCase() === 'transfer-encoding')
          transferEncoding = once(transferEncoding, value, name);
        break;
      default:
    }
  }
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
  if (contentEncoding !== undefined && contentEncoding.trim().toLowerCase() !== 'identity') {
    // dockerd ignores the header: it would read the bytes as they are, an inspector that inflates reads others.
    throw new Refusal(415, 'content-encoding', 'a Content-Encoding is not served: send the body as it is');
  }
  return {
    framing: readFraming(contentLength, transferEncoding, httpVersion),
    contentType: contentType ?? '',
    mediaType: contentType === undefined ? '' : parseMediaType(contentType.trim()),
    upgrade: upgrade?.trim().toLowerCase(),
    expectContinue: expect !== undefined,
    bearerToken: authorization === undefined ? '' : (BEARER.exec(authorization.trim())?.[1] ?? ''),
  };
}

function once(earlier: string | undefined, value: string, name: string): string {
  if (earlier !== undefined) {
    throw new Refusal(400, 'duplicate-header', `the header ${name} comes twice: send it once`);
  }
  return value;
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
  if (length === undefined) return NONE;
  const bytes = /^[0-9]{1,16}$/.test(length) ? Number(length) : NaN;
  if (!Number.isSafeInteger(bytes)) {
    throw new Refusal(
      400,
      'framing',
      `the Content-Length "${length.slice(0, 40)}" is not a decimal number of bytes`,
    );
  }
  return bytes === 0 ? NONE : { kind: 'length', length: bytes };
}
