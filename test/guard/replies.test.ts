import type { Socket } from 'node:net';
import { connect } from 'node:net';
import t from 'tap';
import { until } from '../support/command.js';
import { bytes, json } from '../support/recording-upstream.js';
import { FIN, talk } from '../support/raw.js';
import { get, lines, PING } from './case.js';
import { startGuarded, unpaired } from './guarded.js';

// What a client gets of the engine's answer: the same framing class with and without the guard.

const ALL = { rules: [{ id: 'all', sources: ['*'], operations: ['*'], permit: ['*'] }] };
const guarded = await startGuarded({ policy: ALL });
t.teardown(() => guarded.close());
const { upstream, tcp } = guarded;

const LIST = get('/v1.41/containers/json');
const HEAD = lines(['HEAD /_ping HTTP/1.1', 'Host: d']);
const OLD = lines(['GET /v1.41/containers/json HTTP/1.0', 'Host: d']);

interface Shape {
  readonly name: string;
  readonly request: string;
  readonly answer: string;
  readonly status: number;
  readonly body: string;
  /** `length`, `chunked`, `none` (no body), or `close`. */
  readonly framing: 'length' | 'chunked' | 'none' | 'close';
  readonly then?: 'open' | 'end';
}

const SHAPES: readonly Shape[] = [
  {
    name: 'a length',
    request: LIST,
    answer: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]',
    status: 200,
    body: '[]',
    framing: 'length',
  },
  {
    name: 'an empty body',
    request: LIST,
    answer: 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
    status: 200,
    body: '',
    framing: 'length',
  },
  {
    name: 'small and in chunks',
    request: LIST,
    answer: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n1\r\n]\r\n0\r\n\r\n',
    status: 200,
    body: '[]',
    framing: 'chunked',
  },
  {
    name: 'chunks with a trailer',
    request: LIST,
    answer:
      'HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\nX-Sum: 1\r\n\r\n',
    status: 200,
    body: '[]',
    framing: 'chunked',
  },
  {
    name: 'until it closes',
    request: LIST,
    answer: 'HTTP/1.1 200 OK\r\n\r\n[]',
    status: 200,
    body: '[]',
    framing: 'chunked',
    then: 'end',
  },
  {
    name: 'large, with a length',
    request: LIST,
    answer: `HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n${'x'.repeat(200_000)}`,
    status: 200,
    body: 'x'.repeat(200_000),
    framing: 'length',
  },
  {
    name: 'no content',
    request: LIST,
    answer: 'HTTP/1.1 204 No Content\r\n\r\n',
    status: 204,
    body: '',
    framing: 'none',
  },
  {
    name: 'not modified',
    request: LIST,
    answer: 'HTTP/1.1 304 Not Modified\r\n\r\n',
    status: 304,
    body: '',
    framing: 'none',
  },
  {
    name: 'a HEAD',
    request: HEAD,
    answer: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n',
    status: 200,
    body: '',
    framing: 'none',
  },
  {
    name: 'HTTP/1.0, a length',
    request: OLD,
    answer: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]',
    status: 200,
    body: '[]',
    framing: 'close',
  },
  {
    name: 'HTTP/1.0, chunks',
    request: OLD,
    answer: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n',
    status: 200,
    body: '[]',
    framing: 'close',
  },
];

await t.test('the framing of an answer stays', async (t) => {
  for (const { name, request, answer, status, body, framing, then } of SHAPES) {
    upstream.behave = (asked, socket) =>
      asked.call.includes('_ping') && !asked.call.startsWith('HEAD')
        ? json()(asked, socket)
        : bytes(answer, then)(asked, socket);
    const headAt = request.startsWith('HEAD') ? 0 : -1;
    const closes = framing === 'close';
    const got = await talk(tcp, [closes ? request : request + PING], { answers: closes ? 0 : 2, headAt });
    const [first, second] = got.answers;
    t.match(first, { status, complete: true }, name);
    t.equal(first?.body.toString(), body, name);
    const { 'content-length': length, 'transfer-encoding': coding, trailer } = first?.headers ?? {};
    if (framing === 'length') t.strictSame([length, coding], [String(body.length), undefined], name);
    if (framing === 'chunked') t.strictSame([length, coding], [undefined, 'chunked'], name);
    if (framing === 'none') t.equal(coding, undefined, name);
    t.equal(trailer, undefined, name);
    t.notMatch(got.text, /X-Sum/i, name);
    if (closes) t.equal(got.closed, 'end', name);
    else t.equal(second?.status, 200, `${name}: the next request is served`);
  }
  t.same(unpaired(guarded.auditText()), []);
});

await t.test('a half-closed client gets its answer', async (t) => {
  upstream.behave = (request, socket) => void setTimeout(() => json()(request, socket), 60);
  const got = await talk(tcp, [PING, FIN], { answers: 0 });
  t.match(got.answers, [{ status: 200, complete: true }]);
  t.equal(got.closed, 'end');
});

await t.test('a slow reader holds the engine; when it leaves, the engine’s side ends', async (t) => {
  let sent = 0;
  let engine: Socket | undefined;
  const piece = Buffer.alloc(64 * 1024, 'x');
  upstream.behave = (_request, socket) => {
    engine = socket;
    socket.write('HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\n\r\n');
    const more = (): void => {
      while (!socket.destroyed && sent < 512 * 2 ** 20) {
        sent += piece.length;
        if (!socket.write(piece)) return void socket.once('drain', more);
      }
    };
    more();
  };
  const client = connect(tcp);
  client.on('error', () => {});
  client.pause();
  client.write(get('/v1.41/images/x/get'));
  let before = -1;
  await until(async () => {
    await new Promise((resolve) => setTimeout(resolve, 200));
    const isStill = sent > 0 && before === sent;
    before = sent;
    return isStill;
  }, 10_000);
  t.ok(sent < 64 * 2 ** 20, `${sent} bytes, then it waits`);
  client.destroy();
  t.ok(await until(() => engine?.destroyed === true, 5_000), 'nobody reads it any more');
  t.same(unpaired(guarded.auditText()), []);
});

await t.test('a stop waits until a slow reader has the end of its answer', async (t) => {
  const stopping = await startGuarded({ policy: ALL });
  const body = Buffer.alloc(2 * 2 ** 20, 'x');
  stopping.upstream.behave = (_request, socket) =>
    void socket.end(
      Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`), body]),
    );
  const client = connect(stopping.unix);
  client.write(get('/v1.41/images/x/get'));
  let got = 0;
  const slowly = (): void => {
    const piece = client.read(32 * 1024) as Buffer | null;
    got += piece?.length ?? 0;
    if (!client.destroyed) setTimeout(slowly, 2);
  };
  const ended = new Promise((resolve) => client.once('close', resolve));
  client.on('error', () => {});
  setTimeout(slowly, 150);
  await new Promise((resolve) => setTimeout(resolve, 100));
  await stopping.close(5_000);
  await ended;
  t.ok(got > body.length, `${got} bytes`);
});
