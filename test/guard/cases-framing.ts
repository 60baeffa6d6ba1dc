import { CREATE, create, EVIL, get, HARMLESS, lines, PING, post, PRIVILEGED } from './case.js';
import type { Case } from './case.js';
import { FIN } from '../support/raw.js';

const JSON_TYPE = 'Content-Type: application/json';
const START = 'POST /v1.41/containers/create HTTP/1.1';
/** A harmless create with these framing headers; behind its real body waits another request. */
const framed = (headers: readonly string[], body: string): string =>
  lines([START, 'Host: docker', JSON_TYPE, ...headers], body);
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
const LENGTH = `Content-Length: ${HARMLESS.length}`;
const CHUNKED = 'Transfer-Encoding: chunked';
const LAST = '0\r\n\r\n';

/** Refused by the HTTP parser itself; the connection is cut, so that nothing behind it is read as a request. */
const parser = (name: string, bytes: Case['bytes'], status = 400): Case => ({
  name: `framing: ${name}`,
  bytes,
  expect: 'refused',
  status,
  upstream: [],
  closes: true,
});

const BOTH = `${chunk(HARMLESS)}${LAST}${EVIL}`;

export const FRAMING_CASES: readonly Case[] = [
  // ---- two ways to tell where the body ends
  parser('Content-Length before Transfer-Encoding', framed(['Content-Length: 5', CHUNKED], BOTH)),
  parser('Transfer-Encoding before Content-Length', framed([CHUNKED, 'Content-Length: 5'], BOTH)),
  parser('two different lengths', framed([LENGTH, 'Content-Length: 0'], HARMLESS + EVIL)),
  parser('the same length twice', framed([LENGTH, LENGTH], HARMLESS + EVIL)),
  ...(
    ['33, 33', '+33', '0x21', '-1', '33 33', '3_3', '٣', '1e1', '33;', '18446744073709551649', ''] as const
  ).map((length) =>
    parser(
      `Content-Length: ${length === '' ? 'nothing' : length}`,
      framed([`Content-Length: ${Buffer.from(length).toString('latin1')}`], HARMLESS + EVIL),
    ),
  ),
  ...(
    [
      'xchunked',
      'identity',
      'chunked, identity',
      'identity, chunked',
      'chunked, chunked',
      'gzip, chunked',
      'chunked;q=1',
      '"chunked"',
      'chu nked',
      '\x0bchunked',
    ] as const
  ).map((encoding) => ({
    ...parser(
      `Transfer-Encoding: ${JSON.stringify(encoding).slice(1, -1)}`,
      framed([`Transfer-Encoding: ${encoding}`], BOTH),
    ),
  })),
  parser('Transfer-Encoding twice', framed([CHUNKED, 'Transfer-Encoding: identity'], BOTH)),
  parser('Transfer-Encoding: chunked twice', framed([CHUNKED, CHUNKED], BOTH)),
  parser(
    'Transfer-Encoding on HTTP/1.0',
    lines(['POST /v1.41/containers/create HTTP/1.0', 'Host: docker', JSON_TYPE, CHUNKED], BOTH),
  ),
  // ---- header syntax
  parser('a blank before the colon', framed(['Transfer-Encoding : chunked'], BOTH)),
  parser('a tab before the colon', framed(['Content-Length\t: 0', LENGTH], HARMLESS + EVIL)),
  parser('a folded header', framed(['X-A: b', ' Transfer-Encoding: chunked', LENGTH], HARMLESS + EVIL)),
  parser('a folded header with a tab', framed(['X-A: b\r\n\tc', LENGTH], HARMLESS + EVIL)),
  parser(
    'a header that begins with a blank',
    `${START}\r\n Host: docker\r\n${JSON_TYPE}\r\n${LENGTH}\r\n\r\n${HARMLESS}${EVIL}`,
  ),
  parser('bare line feeds', framed([LENGTH], HARMLESS).replaceAll('\r\n', '\n') + EVIL),
  parser('a bare line feed between two headers', framed([`X-A: b\n${LENGTH}`], HARMLESS + EVIL)),
  parser(
    'a bare line feed at the end of the head',
    `${START}\r\nHost: docker\r\n${JSON_TYPE}\r\n${LENGTH}\r\n\n${HARMLESS}${EVIL}`,
  ),
  parser('a bare carriage return in a value', framed([`X-A: b\rTransfer-Encoding: chunked`], BOTH)),
  parser('a bare carriage return between headers', framed([`X-A: b\r${LENGTH}`], HARMLESS + EVIL)),
  parser('a NUL in a value', framed(['X-A: a\0b', LENGTH], HARMLESS + EVIL)),
  parser('a NUL in a name', framed(['X-A\0: b', LENGTH], HARMLESS + EVIL)),
  parser('a DEL in a value', framed(['X-A: a\x7fb', LENGTH], HARMLESS + EVIL)),
  parser('a name that is no token', framed(['X(A): b', LENGTH], HARMLESS + EVIL)),
  parser('a header without a colon', framed(['Transfer-Encoding', LENGTH], HARMLESS + EVIL)),
  parser('a header without a name', framed([': chunked', LENGTH], HARMLESS + EVIL)),
  parser('a non-ASCII letter in Transfer-Encoding', framed(['Tran\u017ffer-Encoding: chunked'], BOTH)),
  // ---- chunks
  ...(
    [
      ['a size beyond 64 bits', 'FFFFFFFFFFFFFFFFF\r\nx\r\n'],
      ['a size that wraps round to 3', '10000000000000003\r\nabc\r\n'],
      ['a negative size', '-1\r\nx\r\n'],
      ['a size with 0x', '0x5\r\nhello\r\n'],
      ['a size with a plus', '+5\r\nhello\r\n'],
      ['no size', '\r\nhello\r\n'],
      ['a size with an underscore', '0_5\r\nhello\r\n'],
      ['a blank before the size', ' 5\r\nhello\r\n'],
      ['a bare line feed behind the size', '5\nhello\r\n'],
      ['a bare line feed behind the data', '5\r\nhello\n'],
      ['data longer than its size', '5\r\nhelloworld\r\n'],
      ['data shorter than its size', '9\r\nhello\r\n0\r\n\r\n'],
      ['a bare line feed in an extension', '5;a\nb\r\nhello\r\n'],
      ['a carriage return in an extension', '5;a\rb\r\nhello\r\n'],
      ['a bare line feed behind the last size', '0\n\r\n'],
    ] as const
  ).map(([name, body]) => ({
    ...parser(`chunked with ${name}`, framed([CHUNKED], `${body}${EVIL}`)),
  })),
  {
    name: 'framing: 20 KB of chunk extensions',
    bytes: framed([CHUNKED], `5;${'a'.repeat(20_000)}\r\nhello\r\n${LAST}${EVIL}`),
    expect: 'refused',
    status: 413,
    upstream: [],
    closes: true,
  },
  // ---- what follows a request on its connection
  {
    name: 'framing: a denied request pipelined behind an allowed one',
    bytes: PING + EVIL,
    expect: 'denied',
    status: [200, 403],
    code: 'hazard',
    upstream: ['GET /_ping'],
    talk: { answers: 2 },
  },
  {
    name: 'framing: a denied request between two allowed ones',
    bytes: PING + EVIL + get('/version'),
    expect: 'denied',
    status: [200, 403, 200],
    upstream: ['GET /_ping', 'GET /version'],
    talk: { answers: 3 },
  },
  {
    name: 'framing: a denied request behind one with a body',
    bytes: create(HARMLESS) + EVIL,
    expect: 'denied',
    status: [200, 403],
    upstream: [`${CREATE} ${HARMLESS}`],
    talk: { answers: 2 },
  },
  {
    name: 'framing: a request in the body of a GET with a length',
    bytes: lines(
      ['GET /v1.41/containers/json HTTP/1.1', 'Host: docker', `Content-Length: ${EVIL.length}`],
      EVIL,
    ),
    expect: 'refused',
    status: 400,
    code: 'unexpected-body',
    upstream: [],
  },
  {
    name: 'framing: a request in the body of a GET in chunks',
    bytes: lines(['GET /v1.41/containers/json HTTP/1.1', 'Host: docker', CHUNKED], chunk(EVIL) + LAST),
    expect: 'refused',
    status: 400,
    code: 'unexpected-body',
    upstream: [],
  },
  {
    name: 'framing: a request in the body of an operation without one',
    bytes: lines(
      ['POST /v1.41/containers/web/start HTTP/1.1', 'Host: docker', `Content-Length: ${EVIL.length}`],
      EVIL,
    ),
    expect: 'refused',
    status: 400,
    code: 'unexpected-body',
    upstream: [],
  },
  {
    name: 'framing: a length of 0, and a body all the same, which is the next request',
    bytes: lines(['POST /v1.41/containers/web/start HTTP/1.1', 'Host: docker', 'Content-Length: 0'], EVIL),
    expect: 'denied',
    status: [200, 403],
    upstream: ['POST /v1.41/containers/web/start'],
    talk: { answers: 2 },
  },
  {
    name: 'framing: a length shorter than the body, so that its rest is the next request',
    bytes: framed(['Content-Length: 2'], `{}${EVIL}`),
    expect: 'denied',
    status: [200, 403],
    upstream: [`${CREATE} {}`],
    talk: { answers: 2 },
  },
  {
    name: 'framing: a length longer than the body, and the end of the connection',
    bytes: [framed(['Content-Length: 500'], HARMLESS), FIN],
    expect: 'refused',
    status: 400,
    upstream: [],
    talk: { answers: 0 },
  },
  {
    name: 'framing: chunks without a last one, and the end of the connection',
    bytes: [framed([CHUNKED], chunk(HARMLESS)), FIN],
    expect: 'refused',
    status: 400,
    upstream: [],
    talk: { answers: 0 },
  },
  // ---- request line and version
  ...(
    [
      ['a tab behind the method', 'POST\t/containers/create HTTP/1.1'],
      ['a blank at the end', 'POST /containers/create HTTP/1.1 '],
      ['a blank at the start', ' POST /containers/create HTTP/1.1'],
      ['a blank in the target', 'POST /containers/create x HTTP/1.1'],
      ['HTTP/1.9', 'POST /containers/create HTTP/1.9'],
      ['HTTP/1.2', 'POST /containers/create HTTP/1.2'],
      ['HTTP/01.1', 'POST /containers/create HTTP/01.1'],
      ['HTTP/1.1x', 'POST /containers/create HTTP/1.1x'],
      ['HTTP/1,1', 'POST /containers/create HTTP/1,1'],
      ['http/1.1', 'POST /containers/create http/1.1'],
      ['ICE/1.0', 'POST /containers/create ICE/1.0'],
      ['a PROXY line before it', 'PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nPOST /containers/create HTTP/1.1'],
    ] as const
  ).map(([name, line]) =>
    parser(
      `request line with ${name}`,
      lines([line, 'Host: docker', JSON_TYPE, `Content-Length: ${PRIVILEGED.length}`], PRIVILEGED),
    ),
  ),
  ...(['POST /containers/create', 'POST /containers/create HTTP/2.0'] as const).map((line) =>
    parser(
      `a request line that ends in ${line.slice(-8)}`,
      lines([line, 'Host: docker', JSON_TYPE, `Content-Length: ${PRIVILEGED.length}`], PRIVILEGED),
      505,
    ),
  ),
  ...(
    [
      ['two blanks behind the method', 'POST  /containers/create HTTP/1.1'],
      ['two blanks before the version', 'POST /containers/create  HTTP/1.1'],
      ['RTSP/1.0', 'POST /containers/create RTSP/1.0'],
    ] as const
  ).map(([name, line]): Case => ({
    name: `framing: request line with ${name}, which the parser lets pass, and which nobody else gets to see`,
    bytes: lines([line, 'Host: docker', JSON_TYPE, `Content-Length: ${PRIVILEGED.length}`], PRIVILEGED),
    expect: 'denied',
    status: 403,
    code: 'hazard',
    upstream: [],
  })),
  {
    name: 'framing: trailers with a Content-Length',
    bytes: framed([CHUNKED], `${chunk(HARMLESS)}0\r\nContent-Length: 5\r\n\r\n${EVIL}`),
    expect: 'refused',
    status: 400,
    upstream: [],
    closes: true,
  },
  {
    name: 'framing: HTTP/0.9, a line and nothing else',
    bytes: ['GET /containers/json\r\n', FIN],
    expect: 'refused',
    status: 400,
    upstream: [],
    closes: true,
  },
  {
    name: 'framing: two Host headers',
    bytes: get('/_ping', 'Host: other'),
    expect: 'refused',
    status: 400,
    code: 'duplicate-header',
    upstream: [],
  },
  {
    name: 'framing: no Host header',
    bytes: lines(['GET /_ping HTTP/1.1', 'X-Host: docker']),
    expect: 'refused',
    status: 400,
    code: 'host',
    upstream: [],
  },
  {
    name: 'framing: a Content-Type hidden behind 2,100 other headers',
    bytes: lines(
      [
        'POST /v1.41/containers/web/rename?name=a HTTP/1.1',
        'Host: docker',
        ...Array.from({ length: 2100 }, () => 'a:b'),
        'Content-Type: application/x-www-form-urlencoded',
        'Content-Length: 6',
      ],
      'name=b',
    ),
    expect: 'refused',
    status: 400,
    code: 'duplicate-parameter',
    upstream: [],
  },
  // ---- near misses
  {
    name: 'framing: Transfer-Encoding with a tab before chunked, a blank behind it, and in capitals',
    bytes: framed(['Transfer-Encoding:\tCHUNKED '], chunk(HARMLESS) + LAST),
    expect: 'passes',
    status: 200,
    upstream: [`${CREATE} ${HARMLESS}`],
  },
  {
    name: 'framing: chunks with extensions and leading zeros arrive without them',
    bytes: framed([CHUNKED], `000${HARMLESS.length.toString(16)};a="b;c"\r\n${HARMLESS}\r\n0;x\r\n\r\n`),
    expect: 'passes',
    status: 200,
    upstream: [`${CREATE} ${HARMLESS}`],
    carries: [`content-length: ${HARMLESS.length}`],
  },
  {
    name: 'framing: trailers that name headers do not become headers',
    bytes: framed(
      [CHUNKED, 'Trailer: X-Registry-Auth, Content-Length'],
      `${chunk(HARMLESS)}0\r\nX-Registry-Auth: e30=\r\nContent-Type: text/x\r\nAuthorization: Bearer x\r\n\r\n`,
    ),
    expect: 'passes',
    status: 200,
    upstream: [`${CREATE} ${HARMLESS}`],
    carries: [`content-length: ${HARMLESS.length}`],
  },
  {
    name: 'framing: allowed requests pipelined are answered in order',
    bytes: PING + get('/version') + create(HARMLESS) + post('/v1.41/containers/web/start'),
    expect: 'passes',
    status: [200, 200, 200, 200],
    upstream: ['GET /_ping', 'GET /version', `${CREATE} ${HARMLESS}`, 'POST /v1.41/containers/web/start'],
    talk: { answers: 4 },
  },
  {
    name: 'framing: an empty line before the request',
    bytes: `\r\n${PING}`,
    expect: 'passes',
    status: 200,
    upstream: ['GET /_ping'],
  },
  {
    name: 'framing: an empty Host',
    bytes: lines(['GET /_ping HTTP/1.1', 'Host:']),
    expect: 'passes',
    status: 200,
    upstream: ['GET /_ping'],
  },
  {
    name: 'framing: HTTP/1.0 without a Host',
    bytes: lines(['GET /_ping HTTP/1.0']),
    expect: 'passes',
    status: 200,
    upstream: ['GET /_ping'],
    closes: true,
  },
  {
    name: 'framing: a head in pieces of one byte',
    bytes: PING.split(''),
    expect: 'passes',
    status: 200,
    upstream: ['GET /_ping'],
  },
  {
    name: 'framing: a length with blanks about it and leading zeros',
    bytes: framed([`Content-Length:   00${HARMLESS.length}  `], HARMLESS),
    expect: 'passes',
    status: 200,
    upstream: [`${CREATE} ${HARMLESS}`],
  },
  {
    name: 'framing: 500 short headers',
    bytes: get('/_ping', ...Array.from({ length: 500 }, (_, i) => `X-${i}: y`)),
    expect: 'passes',
    status: 200,
    upstream: ['GET /_ping'],
  },
];
