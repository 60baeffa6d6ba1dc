import {
  connect,
  constants,
  createServer,
  type ClientHttp2Session,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import pino from 'pino';
import t, { type Test } from 'tap';
import { openAuditWriter } from '../../src/audit/writer.js';
import { openBodyBudget } from '../../src/capture/buffer-body.js';
import { loadConfig } from '../../src/config/load.js';
import { openPolicyStore } from '../../src/config/policy-store.js';
import { openFeeds } from '../../src/app/feeds.js';
import { Admission, Metrics, Turn, type Guard } from '../../src/guard/guard.js';
import { nextCallId, type Incoming, type IncomingBody } from '../../src/guard/incoming.js';
import type { Outcome } from '../../src/guard/outcome.js';
import { handle } from '../../src/guard/pipeline.js';
import { openQuotas } from '../../src/guard/quotas.js';
import { StreamReply } from '../../src/guard/stream-reply.js';
import { openSequences } from '../../src/history/sequences.js';
import { VOCABULARY } from '../../src/policy/vocabulary.js';
import { openEngine } from '../../src/upstream/engine.js';
import { openEntityReader } from '../../src/upstream/entity-reader.js';
import { requestEngine } from '../../src/upstream/request-engine.js';
import { until } from '../support/command.js';
import {
  bytes,
  hang,
  json,
  startRecordingUpstream,
  type RecordingUpstream,
} from '../support/recording-upstream.js';
import { unpaired } from './guarded.js';

// Streams of HTTP/2 take the same way as requests of HTTP/1.1: each stream of a real connection is an `Incoming`, and `handle`
// cannot tell what carried it.

const directory = mkdtempSync(join(tmpdir(), 'bw-stream-reply-'));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));

/** The body of a stream. */
class StreamBody implements IncomingBody {
  readonly #stream: ServerHttp2Stream;
  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream;
  }
  get isComplete(): boolean {
    return this.#stream.readableEnded;
  }
  takeWhole(): undefined {
    return undefined;
  }
  open(): Readable {
    return this.#stream;
  }
  discard(): void {
    this.#stream.resume();
  }
}

interface Carrier {
  readonly session: ClientHttp2Session;
  readonly upstream: RecordingUpstream;
  readonly guard: Guard;
  readonly outcomes: Outcome[];
  audit(): Record<string, unknown>[];
  auditText(): string;
}

function incomingOf(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Incoming {
  const rawHeaders = Object.entries(headers)
    .filter(([name]) => !name.startsWith(':'))
    .flatMap(([name, value]) => [name, String(value)]);
  if (headers['content-length'] === undefined && headers[':method'] === 'POST')
    rawHeaders.push('Transfer-Encoding', 'chunked');
  return {
    id: nextCallId(),
    started: performance.now(),
    client: { listener: 'session', address: '127.0.0.1', port: 1, certificate: [], tokenSha256: '' },
    head: {
      method: String(headers[':method']),
      target: String(headers[':path']),
      rawHeaders: ['Host', String(headers[':authority']), ...rawHeaders],
      httpVersion: '1.1',
    },
    body: new StreamBody(stream),
    reply: new StreamReply(stream),
  };
}

let number = 0;

async function openGuard(upstream: RecordingUpstream, file: (name: string) => string): Promise<Guard> {
  writeFileSync(
    file('policy.json'),
    JSON.stringify({
      rules: [
        {
          id: 'look',
          sources: ['*'],
          operations: ['SystemPing', 'SystemEvents', 'ContainerList', 'ContainerCreate'],
        },
      ],
    }),
  );
  writeFileSync(
    file('config.json'),
    JSON.stringify({
      listen: [{ name: 'session', url: 'tcp://127.0.0.1:0' }],
      upstream: { url: upstream.url, timeout: 2_000 },
      policy: [file('policy.json')],
      audit: { file: file('audit.jsonl'), alerts: false },
    }),
  );
  const loaded = loadConfig(file('config.json'), { listen: [], policy: [] });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const { config } = loaded;
  const log = pino({ level: 'silent' });
  const metrics = new Metrics();
  const engine = openEngine(config.upstream);
  const audit = openAuditWriter(file('audit.jsonl'));
  return {
    config,
    limits: { ...config.limits, jsonBody: config.limits.body },
    engine,
    hostRoot: undefined,
    entities: openEntityReader((...args) => requestEngine(engine, ...args)),
    policy: await openPolicyStore(config.policy, VOCABULARY, () => {}),
    feeds: await openFeeds(config, log),
    ownership: undefined,
    history: openSequences(config.sequences),
    audit,
    budget: openBodyBudget(config.limits.buffered),
    quotas: openQuotas(() => {}),
    admission: new Admission(config.upstream.maxConnections),
    turn: new Turn(audit),
    creators: undefined,
    metrics,
    log,
  };
}

async function carrier(t: Test): Promise<Carrier> {
  const upstream = await startRecordingUpstream();
  number += 1;
  const prefix = `${number}-`;
  const file = (name: string): string => join(directory, prefix + name);
  const guard = await openGuard(upstream, file);
  const outcomes: Outcome[] = [];
  const server: Http2Server = createServer();
  server.on('stream', (stream, headers) => {
    void handle(guard, incomingOf(stream, headers)).then((outcome) => outcomes.push(outcome));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const session = connect(`http://127.0.0.1:${port}`);
  t.teardown(async () => {
    session.destroy();
    server.close();
    guard.policy.close();
    await guard.feeds.stop();
    await guard.engine.destroy();
    guard.audit.close();
    await upstream.close();
  });
  const auditText = (): string => readFileSync(file('audit.jsonl'), 'utf8');
  return {
    ...{ session, upstream, guard, outcomes, auditText },
    audit: () =>
      auditText()
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
  };
}

interface StreamAnswer {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders | undefined;
  readonly body: Buffer;
  /** The first frame of headers ended the stream. */
  readonly isTrailersOnly: boolean;
  readonly rstCode: number;
}

function request(
  session: ClientHttp2Session,
  method: string,
  path: string,
  body?: string,
  more: Readonly<Record<string, string>> = {},
): Promise<StreamAnswer> {
  return new Promise((resolve) => {
    const stream = session.request(
      { ':method': method, ':path': path, ':authority': 'docker', ...more },
      { endStream: body === undefined },
    );
    let headers: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders | undefined;
    let isTrailersOnly = false;
    const pieces: Buffer[] = [];
    stream.on('response', (got, flags) => {
      headers = got;
      isTrailersOnly = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    });
    stream.on('trailers', (got: IncomingHttpHeaders) => {
      trailers = got;
    });
    stream.on('data', (piece: Buffer) => pieces.push(piece));
    stream.on('error', () => {});
    stream.on('close', () =>
      resolve({ headers, trailers, isTrailersOnly, body: Buffer.concat(pieces), rstCode: stream.rstCode }),
    );
    if (body !== undefined) stream.end(body);
  });
}

const JSON_TYPE = { 'content-type': 'application/json' };
const readable = (message: unknown): string => decodeURIComponent(String(message));

await t.test('an allowed call: head, body and end of the answer', async (t) => {
  const c = await carrier(t);
  c.upstream.behave = bytes(
    'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Two: 1\r\nX-Two: 2\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nContent-Length: 2\r\n\r\nOK',
  );
  const got = await request(c.session, 'GET', '/_ping');
  t.equal(got.headers[':status'], 200);
  t.equal(got.headers['content-type'], 'text/plain');
  t.equal(got.headers['x-two'], '1, 2');
  t.equal(got.headers['x-hop'], undefined);
  t.equal(got.body.toString(), 'OK');
  t.equal(got.rstCode, 0);
  t.same(c.outcomes, [{ status: 200, end: 'complete', bytesIn: 0, bytesOut: 2 }]);
  t.same(unpaired(c.auditText()), []);
  t.match(c.audit()[0], { event: 'decision', verdict: 'allow', client: { listener: 'session' } });
});

await t.test('a denial: a status of gRPC, in one frame, with a line that can be read', async (t) => {
  const c = await carrier(t);
  const denied = await request(c.session, 'POST', '/v1.41/containers/x/stop', '');
  t.equal(denied.headers[':status'], 200);
  t.equal(denied.headers['content-type'], 'application/grpc');
  t.equal(denied.headers['grpc-status'], '7');
  t.match(readable(denied.headers['grpc-message']), /^breakwater: .*ContainerStop.* \(call \S+\)$/);
  t.ok(denied.isTrailersOnly, 'trailers alone');
  t.equal(denied.body.length, 0);
  t.equal(denied.trailers, undefined);

  const hazard = await request(
    c.session,
    'POST',
    '/v1.41/containers/create',
    '{"Image":"al\u00fcpine","HostConfig":{"Privileged":true,"Binds":["/\u00e4 %:/x"]}}',
    JSON_TYPE,
  );
  t.equal(hazard.headers['grpc-status'], '7');
  t.notMatch(String(hazard.headers['grpc-message']), /[^\x20-\x7e]/, 'printable ASCII on the wire');
  t.match(readable(hazard.headers['grpc-message']), /^breakwater: [^\n]+$/);

  const unknown = await request(c.session, 'GET', '/v1.41/no/such/thing');
  t.equal(unknown.headers['grpc-status'], '5');
  t.equal(c.upstream.requests.length, 0, 'the engine saw nothing');
  t.same(unpaired(c.auditText()), []);
  t.same(
    c.outcomes.map(({ end }) => end),
    ['refused', 'refused', 'refused'],
  );
});

await t.test('a body is judged and sent on; many streams of one connection at once', async (t) => {
  const c = await carrier(t);
  const creates = Array.from({ length: 20 }, (_, n) =>
    request(c.session, 'POST', '/v1.41/containers/create', `{"Image":"img${n}"}`, JSON_TYPE),
  );
  const pings = Array.from({ length: 20 }, () => request(c.session, 'GET', '/_ping'));
  const answers = await Promise.all([...creates, ...pings]);
  t.ok(answers.every(({ headers }) => Number(headers[':status']) === 200 && !('grpc-status' in headers)));
  t.same(
    c.upstream.requests
      .filter(({ call }) => call.includes('create'))
      .map(({ body }) => body.toString())
      .sort(),
    Array.from({ length: 20 }, (_, n) => `{"Image":"img${n}"}`).sort(),
  );
  t.same(unpaired(c.auditText()), []);
  t.equal(c.outcomes.length, 40);
});

await t.test('a client that resets its stream ends the engine’s side, whatever code it gives', async (t) => {
  const c = await carrier(t);
  for (const code of [
    constants.NGHTTP2_CANCEL,
    constants.NGHTTP2_NO_ERROR,
    constants.NGHTTP2_INTERNAL_ERROR,
    constants.NGHTTP2_REFUSED_STREAM,
  ]) {
    for (const when of ['before the answer', 'in the answer'] as const) {
      c.upstream.forget();
      c.outcomes.length = 0;
      c.upstream.behave =
        when === 'in the answer'
          ? bytes('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n')
          : hang;
      const stream = c.session.request({
        ':method': 'GET',
        ':path': '/v1.41/events',
        ':authority': 'docker',
      });
      stream.on('error', () => {});
      if (when === 'in the answer') await new Promise((resolve) => stream.once('data', resolve));
      else await until(() => c.upstream.requests.length === 1, 4_000);
      stream.close(code);
      t.ok(await until(() => c.outcomes.length === 1, 4_000), `${when}, ${code}: the call has ended`);
      t.equal(c.outcomes[0]?.end, 'client-gone');
      t.ok(await until(() => c.upstream.requests[0]?.gone === true, 4_000), 'and so has the engine’s side');
    }
  }
  c.upstream.behave = json();
  t.equal((await request(c.session, 'GET', '/_ping')).headers[':status'], 200, 'other streams go on');
  t.same(unpaired(c.auditText()), []);
});

await t.test(
  'an answer that the engine cuts never looks complete; one that fails before it begins is refused',
  async (t) => {
    const c = await carrier(t);
    c.upstream.behave = bytes('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n', 'end');
    const cut = await request(c.session, 'GET', '/v1.41/events');
    t.equal(cut.rstCode, constants.NGHTTP2_INTERNAL_ERROR);
    c.upstream.behave = (_request, socket) => void socket.destroy();
    const gone = await request(c.session, 'GET', '/v1.41/containers/json');
    t.equal(gone.headers['grpc-status'], '14');
    t.match(readable(gone.headers['grpc-message']), /Docker engine at .* cannot be reached or broke off/);
    c.upstream.behave = json();
    t.equal((await request(c.session, 'GET', '/_ping')).headers[':status'], 200);
    t.same(
      c.outcomes.map(({ end }) => end),
      ['upstream-error', 'upstream-error', 'complete'],
    );
    t.same(unpaired(c.auditText()), []);
  },
);

await t.test('a slow reader holds the engine, not the memory of the guard', async (t) => {
  const c = await carrier(t);
  let sent = 0;
  let engine: Socket | undefined;
  const piece = Buffer.alloc(64 * 1024, 'x');
  c.upstream.behave = (_request, socket) => {
    engine = socket;
    socket.write('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n');
    const more = (): void => {
      while (!socket.destroyed && sent < 64 * 2 ** 20) {
        sent += piece.length;
        if (!socket.write(piece)) return void socket.once('drain', more);
      }
      socket.end();
    };
    more();
  };
  const stream = c.session.request({ ':method': 'GET', ':path': '/v1.41/events', ':authority': 'docker' });
  stream.on('error', () => {});
  await new Promise((resolve) => stream.once('response', resolve));
  let before = -1;
  await until(() => {
    const isStill = before === sent;
    before = sent;
    return isStill;
  }, 5_000);
  t.ok(sent < 16 * 2 ** 20, `${sent} bytes, then it waits`);
  t.notOk(engine?.destroyed);
  let got = 0;
  stream.on('data', (data: Buffer) => (got += data.length));
  await new Promise((resolve) => stream.once('close', resolve));
  t.equal(got, 64 * 2 ** 20, 'and goes on');
  t.same(
    c.outcomes.map(({ end }) => end),
    ['complete'],
  );
});

await t.test('an answer while the guard stops', async (t) => {
  const c = await carrier(t);
  let answer: (() => void) | undefined;
  c.upstream.behave = (asked, socket) => void (answer = () => json()(asked, socket));
  const going = request(c.session, 'GET', '/_ping');
  await until(() => answer !== undefined, 4_000);
  const drained = c.guard.admission.drain(5_000);
  answer!();
  t.equal((await going).headers[':status'], 200, 'what is on its way is answered');
  await drained;
  const late = await request(c.session, 'GET', '/_ping');
  t.equal(late.headers['grpc-status'], '14');
  t.match(readable(late.headers['grpc-message']), /shutting down/);
});
