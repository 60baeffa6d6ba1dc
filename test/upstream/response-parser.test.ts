import fc from 'fast-check';
import t from 'tap';
import { EngineError } from '../../src/upstream/engine-call.js';
import { HEAD_LIMIT, LINE_LIMIT, ResponseParser } from '../../src/upstream/response-parser.js';

interface Expect {
  readonly head?: boolean;
  readonly upgrade?: boolean;
}

interface Result {
  status: number;
  headers: string[];
  length: number;
  body: string;
  end: 'done' | 'upgrade' | 'cut' | 'malformed';
  keep: boolean;
  rest: string;
}

const isOver = ({ phase }: ResponseParser): boolean => phase === 'done' || phase === 'upgrade';

/** Feeds `wire` in pieces that end at `cuts`, then ends the connection. */
function parse(wire: string, cuts: readonly number[], expect: Expect = {}): Result {
  const result: Result = { status: 0, headers: [], length: 0, body: '', end: 'cut', keep: false, rest: '' };
  const parser = new ResponseParser({
    onHeaders(status, headers, length) {
      Object.assign(result, { status, headers, length });
    },
    onData(piece) {
      result.body += piece.toString('latin1');
    },
  });
  parser.begin(expect.head === true, expect.upgrade === true);
  const bytes = Buffer.from(wire, 'latin1');
  const points = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let from = 0;
  try {
    for (const to of [...points, bytes.length]) {
      if (isOver(parser)) break;
      if (to === from) continue;
      from += parser.feed(Buffer.from(bytes.subarray(from, to)));
    }
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== 'ENGINE_ANSWER') throw error;
    return { ...result, end: 'malformed' };
  }
  if (!isOver(parser)) parser.end();
  const { phase } = parser;
  result.end = phase === 'done' || phase === 'upgrade' ? phase : 'cut';
  result.keep = parser.keep;
  result.rest = bytes.toString('latin1', from);
  return result;
}

const ok = 'HTTP/1.1 200 OK\r\n';
const chunked = `${ok}Transfer-Encoding: chunked\r\n\r\n`;

/** name, wire, what comes of it, how it was asked for */
const GOOD: readonly (readonly [string, string, Partial<Result>, Expect?])[] = [
  ['a length', `${ok}Content-Length: 3\r\n\r\nabc`, { length: 3, body: 'abc', keep: true }],
  ['length 0', `${ok}Content-Length: 0\r\n\r\n`, { length: 0, body: '', keep: true }],
  ['bytes after the end', `${ok}Content-Length: 1\r\n\r\nabc`, { body: 'a', rest: 'bc' }],
  [
    'a second answer is not read',
    `${ok}Content-Length: 1\r\n\r\na${ok}\r\n`,
    { body: 'a', rest: `${ok}\r\n` },
  ],
  ['chunks', `${chunked}3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n`, { length: -1, body: 'abcd', keep: true }],
  ['chunk sizes in both cases', `${chunked}a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n`, {}],
  ['leading zeros', `${chunked}0003\r\nabc\r\n000\r\n\r\n`, { body: 'abc' }],
  ['chunk extensions', `${chunked}3;a=b\r\nabc\r\n0 ; x="y"\r\n\r\n`, { body: 'abc' }],
  ['trailers are dropped', `${chunked}1\r\na\r\n0\r\nX: 1\r\nY: 2\r\n\r\nz`, { body: 'a', rest: 'z' }],
  ['no chunk at all', `${chunked}0\r\n\r\n`, { body: '', keep: true }],
  ['100', `HTTP/1.1 100 Continue\r\n\r\n${ok}Content-Length: 1\r\n\r\na`, { status: 200, body: 'a' }],
  [
    'several interim answers',
    `HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 P\r\n\r\n${ok}Content-Length: 0\r\n\r\n`,
    { headers: ['Content-Length', '0'] },
  ],
  ['HEAD', `${ok}Content-Length: 9\r\n\r\n`, { length: 0, body: '', keep: true }, { head: true }],
  ['HEAD, chunked', `${chunked}`, { length: 0, keep: true }, { head: true }],
  ['204', 'HTTP/1.1 204 No Content\r\n\r\n', { status: 204, length: 0, keep: true }],
  ['304', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n', { status: 304, length: 0, keep: true }],
  ['no length: until the end', `${ok}\r\nabc`, { length: -1, body: 'abc', keep: false }],
  ['HTTP/1.0', 'HTTP/1.0 200 OK\r\n\r\nabc', { body: 'abc', keep: false }],
  ['HTTP/1.0 with a length', 'HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na', { body: 'a', keep: false }],
  ['Connection: close', `${ok}CONNECTION: x, Close\r\nContent-Length: 1\r\n\r\na`, { keep: false }],
  [
    'Connection: closed is another word',
    `${ok}Connection: closed\r\nContent-Length: 0\r\n\r\n`,
    { keep: true },
  ],
  ['no reason', 'HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n', { status: 200 }],
  ['an empty reason', 'HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n', { status: 404 }],
  [
    'blanks around values, empty ones, Latin-1',
    `${ok}A:\t b c \t\r\nB:\r\nC: caf\xe9\r\ncontent-length:0\r\n\r\n`,
    { headers: ['A', 'b c', 'B', '', 'C', 'caf\xe9', 'content-length', '0'] },
  ],
  [
    'an upgrade, with what follows',
    'HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly',
    { status: 101, end: 'upgrade', rest: 'early', keep: false },
    { upgrade: true },
  ],
  [
    'an upgrade refused',
    'HTTP/1.1 404 N\r\nContent-Length: 1\r\n\r\na',
    { status: 404, body: 'a' },
    { upgrade: true },
  ],
];

const long = 'a'.repeat(HEAD_LIMIT);

/** name, wire, asked for how; each is malformed however it is split */
const MALFORMED: readonly (readonly [string, string, Expect?])[] = [
  ['not HTTP', 'SSH-2.0-OpenSSH\r\n\r\n'],
  ['HTTP/2', 'HTTP/2 200 OK\r\n\r\n'],
  ['HTTP/1.2', 'HTTP/1.2 200 OK\r\n\r\n'],
  ['lower case', 'http/1.1 200 OK\r\n\r\n'],
  ['an empty line first', `\r\n${ok}\r\n`],
  ['two blanks before the status', 'HTTP/1.1  200 OK\r\n\r\n'],
  ['status 099', 'HTTP/1.1 099 X\r\n\r\n'],
  ['status 600', 'HTTP/1.1 600 X\r\n\r\n'],
  ['four digits', 'HTTP/1.1 2000\r\n\r\n'],
  ['no status', 'HTTP/1.1 OK\r\n\r\n'],
  ['a folded line', `${ok}A: b\r\n c\r\n\r\n`],
  ['a folded line, tab', `${ok}A: b\r\n\tc\r\n\r\n`],
  ['a bare LF', `${ok}A: b\nContent-Length: 1\r\n\r\n`],
  ['bare LFs only', 'HTTP/1.1 200 OK\nContent-Length: 1\n\na'],
  ['a bare CR', `${ok}A: b\rContent-Length: 1\r\n\r\n`],
  ['a CR before the CRLF', `${ok}A: b\r\r\nB: c\r\n\r\n`],
  ['NUL in a value', `${ok}A: b\0c\r\n\r\n`],
  ['a control byte in a value', `${ok}A: b\x1b[2Jc\r\n\r\n`],
  ['NUL in the reason', 'HTTP/1.1 200 O\0K\r\n\r\n'],
  ['a blank before the colon', `${ok}Content-Length : 1\r\n\r\na`],
  ['no name', `${ok}: b\r\n\r\n`],
  ['no colon', `${ok}Content-Length\r\n\r\n`],
  ['a name with a blank', `${ok}A b: c\r\n\r\n`],
  ['two lengths', `${ok}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`],
  ['the same length twice', `${ok}Content-Length: 1\r\ncontent-length: 1\r\n\r\na`],
  ['a list of lengths', `${ok}Content-Length: 1, 1\r\n\r\na`],
  ['a signed length', `${ok}Content-Length: +1\r\n\r\na`],
  ['a negative length', `${ok}Content-Length: -1\r\n\r\na`],
  ['a hexadecimal length', `${ok}Content-Length: 0x1\r\n\r\na`],
  ['an empty length', `${ok}Content-Length:\r\n\r\n`],
  ['a huge length', `${ok}Content-Length: 9999999999999999\r\n\r\n`],
  ['a length and chunked', `${ok}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ['gzip', `${ok}Transfer-Encoding: gzip\r\n\r\n`],
  ['gzip, chunked', `${ok}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`],
  ['chunked twice', `${ok}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ['identity', `${ok}Transfer-Encoding: identity\r\n\r\n`],
  ['HTTP/1.0 chunked', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['101 unasked', 'HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n'],
  ['endless interim answers', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(17)],
  ['an interim answer that lies', `HTTP/1.1 100 C\r\nContent-Length: 5\r\n\r\nhello${ok}\r\n`],
  ['a head that is too long', `${ok}A: ${long}\r\n\r\n`],
  ['a head that never ends', `${ok}A: ${long}${long}`],
  ['no chunk size', `${chunked}\r\nabc\r\n`],
  ['a chunk size that is no number', `${chunked}xyz\r\n`],
  ['0x before a chunk size', `${chunked}0x3\r\nabc\r\n0\r\n\r\n`],
  ['a signed chunk size', `${chunked}+3\r\nabc\r\n0\r\n\r\n`],
  ['a blank before a chunk size', `${chunked} 3\r\nabc\r\n0\r\n\r\n`],
  ['a blank after a chunk size', `${chunked}3 \r\nabc\r\n0\r\n\r\n`],
  ['a huge chunk size', `${chunked}${'f'.repeat(14)}\r\n`],
  ['a bare LF after a chunk size', `${chunked}3\nabc\r\n0\r\n\r\n`],
  ['a bare CR in a chunk line', `${chunked}3;a\rb\r\nabc\r\n0\r\n\r\n`],
  ['NUL in a chunk line', `${chunked}3;\0\r\nabc\r\n0\r\n\r\n`],
  ['an endless chunk line', `${chunked}3;${'a'.repeat(LINE_LIMIT)}`],
  ['a chunk that is longer', `${chunked}3\r\nabcd\r\n0\r\n\r\n`],
  ['a chunk that is shorter', `${chunked}3\r\nab\r\n0\r\n\r\n`],
  ['a bare LF after a chunk', `${chunked}3\r\nabc\n0\r\n\r\n`],
  ['a trailer that cannot be read', `${chunked}0\r\nno colon\r\n\r\n`],
  ['too many trailers', `${chunked}0\r\n${`X: ${'y'.repeat(1000)}\r\n`.repeat(70)}\r\n`],
];

/** Cut before the end: an error, never a clean end. */
const CUT: readonly (readonly [string, string])[] = [
  ['nothing', ''],
  ['within the head', `${ok}Content-`],
  ['after an interim answer', 'HTTP/1.1 100 Continue\r\n\r\n'],
  ['within a length', `${ok}Content-Length: 3\r\n\r\nab`],
  ['before a length', `${ok}Content-Length: 3\r\n\r\n`],
  ['within a chunk', `${chunked}3\r\nab`],
  ['between chunks', `${chunked}3\r\nabc\r\n`],
  ['after the last size', `${chunked}0\r\n`],
  ['within the last line', `${chunked}0\r\n\r`],
];

const everyByte = (wire: string): number[] =>
  Array.from({ length: Math.min(wire.length, 3000) }, (_, i) => i);

t.test('well-formed answers, whole and byte by byte', async (t) => {
  for (const [name, wire, expected, how] of GOOD) {
    const whole = parse(wire, [], how);
    t.match(whole, { end: 'done', status: 200, ...expected }, name);
    t.strictSame(parse(wire, everyByte(wire), how), whole, `${name}, byte by byte`);
  }
});

t.test('malformed answers are refused, whole and byte by byte', async (t) => {
  for (const [name, wire, how] of MALFORMED) {
    t.equal(parse(wire, [], how).end, 'malformed', name);
    t.equal(parse(wire, everyByte(wire), how).end, 'malformed', `${name}, byte by byte`);
  }
});

t.test('INVARIANT: an answer that was cut never looks complete', async (t) => {
  for (const [name, wire] of CUT) t.equal(parse(wire, [wire.length >> 1]).end, 'cut', name);
  // Every well-formed framed answer, cut at every place.
  for (const [name, wire, , how] of GOOD) {
    const whole = parse(wire, [], how);
    if (whole.end !== 'done' || (whole.length === -1 && !wire.includes('chunked'))) continue;
    const size = wire.length - whole.rest.length;
    for (let cut = 0; cut < size; cut++) {
      if (parse(wire.slice(0, cut), [], how).end !== 'cut') t.fail(`${name}, cut at ${cut}`);
    }
  }
  t.pass('every cut');
});

t.test('any split of any answer gives the same result', async (t) => {
  const wires = [...GOOD.map(([, wire]) => wire), ...MALFORMED.map(([, wire]) => wire)];
  const part = fc.oneof(
    fc.constantFrom(...wires, '\r\n', '\r', '\n', '0\r\n\r\n', 'Content-Length: 2\r\n', '3\r\nabc\r\n'),
    fc.string({ maxLength: 10 }),
  );
  const expect = fc.record({ head: fc.boolean(), upgrade: fc.boolean() });
  fc.assert(
    fc.property(
      fc.array(part, { minLength: 1, maxLength: 3 }),
      fc.array(fc.nat(300), { maxLength: 8 }),
      expect,
      (parts, cuts, how) => {
        const wire = parts.join('');
        return JSON.stringify(parse(wire, cuts, how)) === JSON.stringify(parse(wire, [], how));
      },
    ),
    { numRuns: 1500 },
  );
  t.pass('1,500 random answers');
});

t.test('linear time, bounded memory', async (t) => {
  const started = performance.now();
  const before = process.memoryUsage().external;
  const parser = new ResponseParser({ onHeaders() {}, onData() {} });
  parser.begin(false, false);
  const a = Buffer.from('a');
  parser.feed(Buffer.from(`${ok}A: `));
  for (let i = 0; i < HEAD_LIMIT - 100; i++) parser.feed(a);
  t.equal(parser.phase, 'head');
  t.ok(process.memoryUsage().external - before < 1_000_000, 'one buffer, not one for each read');
  parser.feed(Buffer.from('\r\nTransfer-Encoding: chunked\r\n\r\n'));
  const tiny = Buffer.from('1\r\na\r\n'.repeat(10_000));
  for (let i = 0; i < 20; i++) parser.feed(tiny);
  parser.feed(Buffer.from('0\r\n\r\n'));
  t.equal(parser.phase, 'done');
  t.ok(
    performance.now() - started < 3_000,
    `64 KiB byte by byte and 200,000 chunks: ${Math.round(performance.now() - started)} ms`,
  );
});
