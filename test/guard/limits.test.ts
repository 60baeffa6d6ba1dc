import { createHash } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t, { type Test } from 'tap';
import { clientKey, MAX_CLIENTS, openQuotas } from '../../src/guard/quotas.js';
import { VOCABULARY } from '../../src/policy/vocabulary.js';
import { compilePolicy } from '../../src/policy/compile.js';
import type { CompiledPolicy } from '../../src/policy/compiled.js';
import { file, tar, END } from '../support/tar.js';
import { until } from '../support/command.js';
import { talk, type Part, type RawAnswer, type RawTarget } from '../support/raw.js';
import { bytes, echo, json, type Behaviour } from '../support/recording-upstream.js';
import { startGuarded, unpaired, type Guarded } from './guarded.js';

// Rate limits over real sockets. Calls, builds and creates are told the time by the test; rates are so low that the real
// time between two calls does not matter. Bytes flow in real time, with lower bounds only.

const TOKEN = 'a-long-random-token';
const sha256 = (text: string): string => `sha256:${createHash('sha256').update(text).digest('hex')}`;

const ALL = { id: 'all', sources: ['*'], operations: ['*'], permit: ['*'] };
const NO_STOP = { id: 'no-stop', effect: 'deny', sources: ['*'], operations: ['ContainerStop'] };

/** A policy that allows all but ContainerStop, with these limits for the callers on `tcp`. */
const limited = (limits: object, more: object = {}, mode = 'enforce'): object => ({
  mode,
  sources: { net: { listener: ['tcp'], limits }, ...more },
  rules: [ALL, NO_STOP],
});

interface Clocked extends Guarded {
  /** Lets this many milliseconds pass, for the limits. */
  pass(ms: number): void;
}

async function start(t: Test, policy: object, limits: object = {}): Promise<Clocked> {
  let offset = 0;
  const guarded = await startGuarded({ policy, limits, clock: () => performance.now() + offset });
  t.teardown(() => guarded.close());
  return { ...guarded, upstream: guarded.upstream, pass: (ms) => void (offset += ms) };
}

const GET = (target: string, ...headers: string[]): string =>
  [`GET ${target} HTTP/1.1`, 'Host: docker', ...headers, '', ''].join('\r\n');
const POST = (target: string, body: string | Buffer = '', ...headers: string[]): Buffer =>
  Buffer.concat([
    Buffer.from(
      [`POST ${target} HTTP/1.1`, 'Host: docker', `Content-Length: ${body.length}`, ...headers, '', ''].join(
        '\r\n',
      ),
    ),
    Buffer.from(body),
  ]);
const JSON_TYPE = 'Content-Type: application/json';
const CREATE = POST('/v1.41/containers/create', '{"Image":"alpine"}', JSON_TYPE);
const STOP = POST('/v1.41/containers/c/stop');
const PING = GET('/_ping');
const UPGRADE = ['Connection: Upgrade', 'Upgrade: tcp'];
const EXEC = POST('/v1.41/exec/e/start', '{}', JSON_TYPE, ...UPGRADE);

async function ask(target: RawTarget, part: Part, timeout = 5_000): Promise<RawAnswer> {
  const { answers, timedOut } = await talk(target, [part], { linger: 0, timeout });
  if (timedOut || answers[0] === undefined) throw new Error(`no answer to ${String(part).slice(0, 60)}`);
  return answers[0];
}

const message = ({ body }: RawAnswer): string => (JSON.parse(body.toString()) as { message: string }).message;

/** The statuses of the same call, several times, each on a connection of its own. */
async function several(target: RawTarget, part: Part, times: number): Promise<number[]> {
  const statuses: number[] = [];
  for (let n = 0; n < times; n++) statuses.push((await ask(target, part)).status);
  return statuses;
}

const from = ({ tcp }: Guarded, localAddress: string): RawTarget => Object.assign({}, tcp, { localAddress });

t.test('calls: a burst passes, the next is told when to come back, and passes then', async (t) => {
  const g = await start(t, limited({ calls: { rate: '60/1h', burst: 3 } }));
  t.same(await several(g.tcp, PING, 3), [200, 200, 200]);
  g.audit();
  g.upstream.forget();
  const refused = await ask(g.tcp, PING);
  t.equal(refused.status, 429);
  t.equal(refused.headers['retry-after'], '60');
  t.equal(refused.headers['content-type'], 'application/json');
  t.match(
    message(refused),
    /^breakwater: source net is at its limit of calls \(60\/1h, 3 at once\); try again in 60 s \(call /,
  );
  t.equal(g.upstream.requests.length, 0, 'the engine saw nothing');
  const [decision, outcome] = g.audit();
  t.match(decision, {
    event: 'decision',
    verdict: 'deny',
    enforced: true,
    code: 'rate-limit',
    sources: ['net'],
    operation: 'SystemPing',
  });
  t.match(decision?.reason, /^source net is at its limit of calls/);
  t.match(outcome, { event: 'outcome', status: 429, end: 'refused' });
  t.equal(await g.metric('breakwater_rate_limited_total{source="net",limit="calls"}'), 1);
  t.equal(
    await g.metric('breakwater_decisions_total{operation="SystemPing",verdict="deny",code="rate-limit"}'),
    1,
  );
  t.same(await several(g.unix, PING, 5), [200, 200, 200, 200, 200], 'other sources are not affected');

  g.pass(55_000);
  const again = await ask(g.tcp, PING);
  t.equal(again.status, 429, 'a refused call has taken nothing, and brought nothing back');
  t.ok(Number(again.headers['retry-after']) <= 5);
  g.pass(5_000);
  t.same(await several(g.tcp, PING, 2), [200, 429]);
  const head = await talk(g.tcp, ['HEAD /_ping HTTP/1.1\r\nHost: docker\r\n\r\n'], { headAt: 0 });
  t.match(head.answers[0], { status: 429, headers: { 'retry-after': '60' }, body: Buffer.alloc(0) });
  t.same(unpaired(g.auditText()), []);
});

t.test('calls: what is denied or cannot be read counts, too', async (t) => {
  const g = await start(t, limited({ calls: '4/1h' }));
  t.same(await several(g.tcp, STOP, 2), [403, 403]);
  t.equal((await ask(g.tcp, GET('/v1.41/no/such/thing'))).status, 404);
  t.equal(
    (await ask(g.tcp, POST('/v1.41/containers/create', '{"Image":1,"image":2}', JSON_TYPE))).status,
    400,
  );
  t.same(await several(g.tcp, PING, 1), [429]);
  t.same(await several(g.tcp, STOP, 1), [429]);
  t.same(await several(g.unix, STOP, 1), [403]);
  const framing =
    'POST /v1.41/containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}';
  const doubt = await talk(g.tcp, [framing + PING], { answers: 0, timeout: 3_000 });
  t.equal(doubt.answers.length, 1, 'where the next request begins is in doubt: it is not answered');
  t.equal(doubt.answers[0]?.status, 400, 'and the limit does not hide that');
});

t.test('calls: kept and pipelined connections, with bodies', async (t) => {
  const g = await start(t, limited({ calls: '3/1h' }));
  const { answers, closed } = await talk(
    g.tcp,
    [Buffer.concat([Buffer.from(PING), CREATE, Buffer.from(PING), CREATE, Buffer.from(PING)])],
    {
      answers: 5,
    },
  );
  t.same(
    answers.map(({ status }) => status),
    [200, 200, 200, 429, 429],
  );
  t.equal(closed, 'open', 'a refused call costs its answer, not the connection');
  g.pass(3_600_000);
  const big = POST('/v1.41/images/load', Buffer.alloc(300_000), 'Content-Type: application/x-tar');
  t.same(await several(g.tcp, PING, 3), [200, 200, 200]);
  const drained = await talk(g.tcp, [big, PING], { answers: 2 });
  t.same(
    drained.answers.map(({ status }) => status),
    [429, 429],
    'the body of a refused call is read away',
  );
  t.same(unpaired(g.auditText()), []);
});

t.test('builds and creates: counted apart, when policy lets them pass', async (t) => {
  const policy = limited({ builds: '2/1h', creates: '3/1h' }) as { rules: object[] };
  policy.rules.push({ ...NO_STOP, id: 'no-volumes', operations: ['VolumeCreate'] });
  const g = await start(t, policy);
  t.same(await several(g.tcp, POST('/v1.41/volumes/create', '{}', JSON_TYPE), 5), [403, 403, 403, 403, 403]);
  t.same(await several(g.tcp, CREATE, 2), [200, 200], 'what is denied was not counted');
  t.same(await several(g.tcp, POST('/v1.41/containers/c/exec', '{"Cmd":["ls"]}', JSON_TYPE), 2), [200, 429]);
  t.match(message(await ask(g.tcp, CREATE)), /limit of creates \(3\/1h\); try again in 20 min/);
  t.same(await several(g.tcp, PING, 3), [200, 200, 200], 'reading is not creating');

  const context = Buffer.concat([tar(file('Dockerfile', 'FROM alpine\n')), END]);
  const build = POST('/v1.41/build?t=a', context, 'Content-Type: application/x-tar');
  t.same(await several(g.tcp, build, 2), [200, 200], 'builds have their own limit');
  g.upstream.forget();
  const refused = await ask(g.tcp, build);
  t.equal(refused.status, 429);
  t.equal(refused.headers['retry-after'], '1800');
  t.match(message(refused), /source net is at its limit of builds \(2\/1h\); try again in 30 min/);
  t.equal(g.upstream.requests.length, 0, 'not a byte of the context went to the engine');
  t.same(await several(g.tcp, POST('/v1.41/build?remote=https://example.com/x.git'), 1), [429]);
  t.same(await several(g.tcp, POST('/v1.41/build?version=2&session=x'), 1), [429], 'BuildKit is a build');
  t.same(await several(g.tcp, POST('/v1.41/grpc', '', 'Connection: Upgrade', 'Upgrade: h2c'), 1), [429]);
  t.same(await several(g.unix, build, 3), [200, 200, 200]);
  g.pass(1_801_000);
  t.same(await several(g.tcp, build, 2), [200, 429]);
  t.same(await several(g.tcp, CREATE, 2), [200, 429]);
  t.same(unpaired(g.auditText()), []);
});

/** A stream that has begun and stays open. */
const endless = bytes(
  'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n',
);

/** Opens a call and resolves when the first byte of its answer has come. */
function open(target: RawTarget, part: string | Buffer): Promise<{ socket: Socket; head: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...target, allowHalfOpen: true });
    socket.on('error', reject);
    socket.once('data', (chunk: Buffer) => resolve({ socket, head: chunk.toString('latin1').slice(0, 12) }));
    socket.write(part);
  });
}

t.test('streams: so many at the same time; who leaves makes room', async (t) => {
  const g = await start(t, limited({ streams: 2 }));
  g.upstream.behave = (request, socket) =>
    (request.call.includes('/events') ? endless : echo())(request, socket);
  const events = GET('/v1.41/events');
  const first = await open(g.tcp, events);
  const second = await open(g.tcp, EXEC);
  t.equal(first.head, 'HTTP/1.1 200');
  t.equal(second.head, 'HTTP/1.1 101');
  const refused = await ask(g.tcp, events);
  t.equal(refused.status, 429);
  t.equal(refused.headers['retry-after'], '1');
  t.match(
    message(refused),
    /source net is at its limit of streams \(2 at the same time\); try again when one of them has ended/,
  );
  const upgraded = await talk(g.tcp, [EXEC], { answers: 0 });
  t.equal(upgraded.answers[0]?.status, 429, 'upgrades as well');
  t.equal(upgraded.answers[0]?.headers['connection'], 'close');
  t.equal(upgraded.closed, 'end');
  t.same(await several(g.tcp, PING, 3), [200, 200, 200], 'what is answered at once is no stream');
  const other = await open(g.unix, events);
  t.equal(other.head, 'HTTP/1.1 200', 'other sources have their own');

  first.socket.destroy();
  t.ok(
    await until(async () => {
      const next = await open(g.tcp, events);
      if (next.head === 'HTTP/1.1 200') return (next.socket.destroy(), true);
      next.socket.destroy();
      return false;
    }, 5_000),
    'a client that left has made room',
  );
  second.socket.destroy();
  // Many come and go, some by a reset: none of them is counted for ever.
  for (let n = 0; n < 20; n++) {
    await until(async () => {
      const { socket, head } = await open(g.tcp, n % 2 === 0 ? events : EXEC);
      if (n % 3 === 0) socket.resetAndDestroy();
      else socket.destroy();
      return !head.endsWith('429');
    }, 5_000);
  }
  const both = await until(
    async () => {
      const [one, two, three] = [
        await open(g.tcp, events),
        await open(g.tcp, events),
        await open(g.tcp, events),
      ];
      for (const { socket } of [one, two, three]) socket.destroy();
      return [one, two, three].map(({ head }) => head.slice(9)).join() === '200,200,429';
    },
    8_000,
    150,
  );
  t.ok(both, 'two places again, and no more than two');
  other.socket.destroy();
});

const KIB = 1024;

/** Is it at least as slow as the limit, with what a busy machine needs besides? Milliseconds. */
function tookAtLeast(t: Test, started: number, ms: number, what: string): void {
  const took = performance.now() - started;
  t.ok(took >= ms * 0.9, `${what}: ${Math.round(took)} ms, at least ${ms} ms`);
}

t.test('bytes: an upload is slowed down, not cut, and arrives whole', async (t) => {
  // A client that is held back is not silent: it must outlast this.
  const g = await start(t, limited({ bytes: { rate: '200KiB/1s', burst: '100KiB' } }), { bodyIdle: 200 });
  const body = Buffer.alloc(400 * KIB, 'u');
  let began = performance.now();
  const loaded = await ask(
    g.tcp,
    POST('/v1.41/images/load', body, 'Content-Type: application/x-tar'),
    20_000,
  );
  t.equal(loaded.status, 200);
  tookAtLeast(t, began, ((400 - 100 - 64) / 200) * 1_000, 'upload');
  t.ok(g.upstream.requests[0]?.body.equals(body));

  const context = Buffer.concat([
    tar(file('Dockerfile', 'FROM alpine\n'), file('data', 'd'.repeat(400 * KIB))),
    END,
  ]);
  await ask(g.unix, PING);
  g.pass(2_000);
  began = performance.now();
  const built = await ask(
    g.tcp,
    POST('/v1.41/build?t=a', context, 'Content-Type: application/x-tar'),
    20_000,
  );
  t.equal(built.status, 200);
  tookAtLeast(t, began, ((400 - 100 - 64) / 200) * 1_000, 'build context');
  t.equal(g.upstream.requests.at(-1)?.complete, true);
  t.ok((await g.metric('breakwater_rate_limited_total{source="net",limit="bytes"}')) >= 2);
  began = performance.now();
  await ask(g.unix, POST('/v1.41/images/load', body, 'Content-Type: application/x-tar'));
  t.ok(performance.now() - began < 1_000, 'other sources are as fast as ever');
  t.same(unpaired(g.auditText()), []);
});

const download = (body: Buffer, chunked: boolean): Behaviour => {
  const head = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`;
  const framed = chunked
    ? `${body.length.toString(16)}\r\n${body.toString('latin1')}\r\n0\r\n\r\n`
    : body.toString('latin1');
  return bytes(`HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\n${head}\r\n\r\n${framed}`);
};

t.test('bytes: a download, and an exec stream both ways', async (t) => {
  const g = await start(t, limited({ bytes: { rate: '200KiB/1s', burst: '100KiB' } }));
  const body = Buffer.alloc(400 * KIB, 'd');
  for (const chunked of [false, true]) {
    g.upstream.behave = download(body, chunked);
    g.pass(5_000);
    const began = performance.now();
    const got = await ask(g.tcp, GET('/v1.41/images/get?names=a'), 20_000);
    tookAtLeast(t, began, ((400 - 100 - 128) / 200) * 1_000, `download, chunked: ${chunked}`);
    t.equal(got.status, 200);
    const text = got.body.toString('latin1').replaceAll(/\r\n[0-9a-f]+\r\n/g, '');
    t.equal(text.length, body.length, 'whole');
  }

  g.upstream.behave = echo();
  g.pass(5_000);
  const stdin = Buffer.alloc(200 * KIB, 's');
  const began = performance.now();
  const back = await new Promise<number>((resolve, reject) => {
    let size = 0;
    const socket = connect({ ...g.tcp, allowHalfOpen: true });
    socket.on('error', reject);
    socket.on('data', (chunk: Buffer) => (size += chunk.length));
    // Half-close passes, behind everything that was held back.
    socket.on('end', () => resolve(size));
    socket.on('close', () => resolve(size));
    socket.write(EXEC);
    socket.once('data', () => {
      socket.end(stdin);
    });
  });
  tookAtLeast(t, began, ((400 - 100 - 128) / 200) * 1_000, 'exec, 200 KiB in and 200 KiB out');
  t.ok(back >= stdin.length, `every byte came back: ${back}`);
  t.ok(back < stdin.length + 400, 'and none twice');
  t.ok(await until(() => unpaired(g.auditText()).length === 0, 5_000), 'every call has its outcome');
  t.match(g.audit().at(-1), { status: 101, end: 'complete' });
});

t.test(
  'bytes: a stream without end does not outrun its limit; its client can leave while it waits',
  async (t) => {
    const g = await start(t, limited({ bytes: { rate: '50KiB/1s', burst: '50KiB' } }));
    g.upstream.behave = (request, socket) => {
      if (!request.call.includes('/logs')) return json()(request, socket);
      socket.write(
        'HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n',
      );
      const more = (): void => {
        while (!socket.destroyed && socket.write(`4000\r\n${'x'.repeat(0x4000)}\r\n`));
      };
      socket.on('drain', more);
      more();
    };
    const { socket } = await open(g.tcp, GET('/v1.41/containers/c/logs?follow=1&stdout=1'));
    let size = 0;
    socket.on('data', (chunk: Buffer) => (size += chunk.length));
    const began = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    const seconds = (performance.now() - began) / 1_000;
    t.ok(size <= (50 + 50 * seconds + 128) * KIB * 1.1, `${size} bytes in ${seconds.toFixed(1)} s`);
    t.ok(size >= 50 * KIB, 'it does flow');
    socket.destroy();
    t.ok(
      await until(() => g.upstream.requests.every(({ gone }) => gone), 5_000),
      'the engine is let go at once',
    );
    t.same(unpaired(g.auditText()), []);
  },
);

t.test('bytes: many small pieces, which no socket would hold back', async (t) => {
  const g = await start(t, limited({ bytes: { rate: '100KiB/1s', burst: '50KiB' } }));
  const piece = Buffer.alloc(2 * KIB, 'p');
  g.upstream.behave = (_request, socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${150 * piece.length}\r\n\r\n`);
    let left = 150;
    const timer = setInterval(() => {
      if (left === 0 || socket.destroyed) clearInterval(timer);
      else socket.write(piece);
      left -= 1;
    }, 1);
  };
  const began = performance.now();
  const got = await ask(g.tcp, GET('/v1.41/containers/c/logs?stdout=1'), 20_000);
  tookAtLeast(t, began, ((300 - 50 - 64) / 100) * 1_000, 'logs');
  t.equal(got.body.length, 300 * KIB);
});

t.test('bytes: several streams at the same time share the limit', async (t) => {
  const g = await start(t, limited({ bytes: { rate: '200KiB/1s', burst: '100KiB' } }));
  const body = Buffer.alloc(150 * KIB, 'd');
  g.upstream.behave = (request, socket) =>
    (request.call.includes('/exec') ? raw(body) : download(body, false))(request, socket);
  const began = performance.now();
  const plainExec = POST('/v1.41/exec/e/start', '{}', JSON_TYPE);
  const got = await Promise.all([
    ask(g.tcp, GET('/v1.41/images/get?names=a'), 20_000),
    ask(g.tcp, GET('/v1.41/images/get?names=b'), 20_000),
    talk(g.tcp, [plainExec], { answers: 0, timeout: 20_000 }).then(({ answers }) => answers[0]!),
  ]);
  tookAtLeast(t, began, ((450 - 100 - 3 * 64) / 200) * 1_000, 'three streams of 150 KiB');
  t.same(
    got.map(({ status }) => status),
    [200, 200, 200],
  );
  t.ok(got.slice(0, 2).every((one) => one.body.equals(body)));
  t.ok(got[2].body.length >= body.length, 'a hijack without an upgrade arrives whole');
});

/** Answers 101, then these bytes, then ends. */
const raw =
  (body: Buffer): Behaviour =>
  (_request, socket) => {
    socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n');
    socket.end(body);
  };

t.test('bytes: while it waits, a client can leave and the guard can stop', async (t) => {
  const g = await start(t, limited({ bytes: { rate: '100KiB/1s', burst: '10KiB' } }));
  const upload = POST('/v1.41/images/load', Buffer.alloc(500 * KIB), 'Content-Type: application/x-tar');
  const left = connect(g.tcp);
  left.on('error', () => {});
  left.write(upload);
  await until(() => g.upstream.requests.length === 1, 5_000);
  left.resetAndDestroy();
  t.ok(await until(() => unpaired(g.auditText()).length === 0, 10_000), 'noticed when it may send again');
  t.equal(g.upstream.requests[0]?.complete, false, 'the engine never saw an end');

  g.pass(100_000);
  await g.enforce(limited({ bytes: '20KiB/1h' }));
  g.upstream.behave = download(Buffer.alloc(900 * KIB), false);
  const waiting = await open(g.tcp, GET('/v1.41/images/get?names=a'));
  const ended = new Promise((resolve) => waiting.socket.once('end', resolve));
  waiting.socket.resume();
  await g.stop(100);
  await ended;
  t.match(g.audit().at(-1), { event: 'outcome', end: 'shutdown' });
});

t.test('bytes: who would have to wait for long is told so', async (t) => {
  const g = await start(t, limited({ bytes: '100KiB/1h' }));
  g.upstream.behave = download(Buffer.alloc(110 * KIB), false);
  t.equal((await ask(g.tcp, GET('/v1.41/images/get?names=a'))).status, 200);
  const refused = await ask(g.tcp, PING);
  t.equal(refused.status, 429);
  t.ok(Number(refused.headers['retry-after']) > 300);
  t.match(message(refused), /source net is at its limit of bytes \(100KiB\/1h\); try again in \d+ min/);
  g.upstream.behave = json();
  t.equal((await ask(g.unix, PING)).status, 200);
  g.pass(Number(refused.headers['retry-after']) * 1_000);
  t.equal((await ask(g.tcp, PING)).status, 200);
});

t.test('a caller of several sources keeps the limits of each', async (t) => {
  const second = { cidr: ['127.0.0.0/8'], limits: { calls: '5/1h', creates: '1/1h' } };
  const g = await start(t, limited({ calls: '3/1h' }, { local: second }));
  t.same(await several(g.tcp, CREATE, 2), [200, 429]);
  t.match(message(await ask(g.tcp, CREATE)), /source local is at its limit of creates/);
  const refused = await ask(g.tcp, PING);
  t.match(message(refused), /source net is at its limit of calls \(3\/1h\)/);
  t.same(await several(g.tcp, PING, 4), [429, 429, 429, 429]);
  g.pass(3_600_000 / 3);
  t.same(await several(g.tcp, PING, 2), [200, 429], 'what one source stopped took nothing from the other');
});

t.test('everyone who comes over a unix socket can be limited', async (t) => {
  const g = await start(t, {
    sources: { sockets: { listener: ['*'], limits: { calls: '2/1h', per: 'client' } } },
    rules: [ALL],
  });
  t.same(await several(g.unix, PING, 3), [200, 200, 429]);
  t.same(await several(g.tcp, PING, 3), [200, 200, 429], 'a client of its own: its address');
});

t.test('per client: each address, and each token, by itself', async (t) => {
  const robots = {
    token: [sha256(TOKEN), sha256('another-token')],
    limits: { calls: '2/1h', per: 'client' },
  };
  const g = await start(t, limited({ calls: '3/1h', per: 'client' }, { robots }));
  t.same(await several(from(g, '127.0.0.1'), PING, 4), [200, 200, 200, 429]);
  t.match(
    message(await ask(from(g, '127.0.0.1'), PING)),
    /this client of source net is at its limit of calls/,
  );
  t.same(await several(from(g, '127.0.0.2'), PING, 4), [200, 200, 200, 429]);
  const bearer = (token: string): string => GET('/_ping', `Authorization: Bearer ${token}`);
  t.same(
    await several(from(g, '127.0.0.1'), bearer('made-up-1'), 2),
    [429, 429],
    'a made-up token is nobody new',
  );
  t.same(await several(g.unix, bearer(TOKEN), 3), [200, 200, 429]);
  t.same(await several(g.unix, bearer('another-token'), 3), [200, 200, 429]);
  t.same(await several(g.unix, PING, 3), [200, 200, 200]);
});

t.test('a reload keeps levels and open streams of limits that stay the same', async (t) => {
  const g = await start(t, limited({ calls: '4/1h', streams: 1 }));
  g.upstream.behave = (request, socket) =>
    (request.call.includes('/events') ? endless : json())(request, socket);
  const { socket } = await open(g.tcp, GET('/v1.41/events'));
  t.same(await several(g.tcp, PING, 2), [200, 200]);
  await g.enforce({ ...limited({ calls: '4/1h', streams: 1 }), description: 'another' });
  t.equal((await ask(g.tcp, GET('/v1.41/events'))).status, 429, 'the stream is still counted');
  t.same(await several(g.tcp, PING, 1), [429], 'and so are the calls');
  await g.enforce(limited({ calls: '5/1h', streams: 2 }));
  t.same(await several(g.tcp, PING, 5), [200, 200, 200, 200, 200], 'a limit that was changed begins anew');
  g.pass(3_600_000);
  const more = await open(g.tcp, GET('/v1.41/events'));
  t.equal(more.head, 'HTTP/1.1 200');
  t.equal((await ask(g.tcp, GET('/v1.41/events'))).status, 429);
  await g.enforce({ rules: [ALL] });
  t.same(
    await several(g.tcp, PING, 20),
    Array.from({ length: 20 }, () => 200),
    'no limits any more',
  );
  await g.enforce({ rules: 'nonsense' });
  t.equal((await ask(g.tcp, PING)).status, 200);
  socket.destroy();
  more.socket.destroy();
});

t.test('observe: on record, not enforced', async (t) => {
  const limits = { calls: '2/1h', builds: '1/1h', streams: 1, bytes: '1KiB/1h' };
  const g = await start(t, limited(limits, {}, 'observe'));
  const context = Buffer.concat([
    tar(file('Dockerfile', 'FROM alpine\n'), file('d', 'x'.repeat(9_000))),
    END,
  ]);
  const build = POST('/v1.41/build?t=a', context, 'Content-Type: application/x-tar');
  t.same(await several(g.tcp, build, 4), [200, 200, 200, 200]);
  t.same(await several(g.tcp, PING, 3), [200, 200, 200]);
  const seen = g.audit().filter(({ event }) => event === 'decision') as unknown as Record<string, unknown>[];
  t.equal(seen.length, 7, 'one decision a call');
  t.match(seen[0], { verdict: 'allow' });
  for (const line of seen.slice(1)) t.match(line, { verdict: 'deny', enforced: false, code: 'rate-limit' });
  t.ok((await g.metric('breakwater_rate_limited_total{source="net",limit="builds"}')) > 0);
  t.same(unpaired(g.auditText()), []);
  await g.enforce(limited(limits));
  t.equal((await ask(g.tcp, PING)).status, 429, 'the same, enforced');
});

t.test('client keys: nothing that a client can choose freely', async (t) => {
  const client = (address: string, more: object = {}) => ({
    listener: 'tcp',
    address,
    port: 1,
    certificate: [],
    tokenSha256: '',
    ...more,
  });
  const plain = { token: null };
  const key = (address: string): string => clientKey(plain, client(address));
  t.equal(key('2001:db8:1:2::1'), key('2001:db8:1:2:ffff:ffff:ffff:ffff'), 'one /64 is one client');
  t.not(key('2001:db8:1:2::1'), key('2001:db8:1:3::1'));
  t.equal(key('fe80::1%eth0'), key('fe80::1%eth1'));
  t.equal(key('::ffff:198.51.100.7'), key('198.51.100.7'));
  t.not(key('198.51.100.7'), key('198.51.100.8'));
  t.equal(clientKey(plain, client('198.51.100.7', { tokenSha256: 'ab' })), key('198.51.100.7'));
  const one = clientKey(plain, client('198.51.100.7', { certificate: ['CN=a'] }));
  t.equal(
    one,
    clientKey(plain, client('198.51.100.8', { certificate: ['CN=a'] })),
    'a certificate, wherever it is',
  );
  t.not(one, clientKey(plain, client('198.51.100.7', { certificate: ['CN=b'] })));
});

function compiled(policy: object): CompiledPolicy {
  const result = compilePolicy([{ name: 'p', text: JSON.stringify(policy) }], VOCABULARY);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.policy;
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

/** Many times what is kept. */
const CLIENTS = 300_000;

t.test('very many clients: bounded memory, and the busy ones are not forgotten', async (t) => {
  const policy = compiled(limited({ calls: '2/1h', bytes: '1GiB/1h', per: 'client' }));
  let over = 0;
  const rates = openQuotas(
    () => (over += 1),
    () => 0,
  );
  const ask = (n: number): boolean => {
    const address = `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`;
    const share = rates.of(policy, {
      listener: 'tcp',
      address,
      port: 1,
      certificate: [],
      tokenSha256: '',
    })!;
    const passes = share.admit() === undefined;
    share.flow?.(100, () => {});
    share.close();
    return passes;
  };
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  for (let n = 0; n < 3; n++) ask(0);
  for (let n = 1; n <= CLIENTS; n++) {
    ask(n);
    // Never silent for so long that it would be among the oldest.
    if (n % (MAX_CLIENTS / 2) === 0) t.notOk(ask(0), 'still at its limit');
  }
  t.equal(over, 1 + Math.floor(CLIENTS / (MAX_CLIENTS / 2)));
  collectGarbage();
  const grown = (process.memoryUsage().heapUsed - before) / 2 ** 20;
  t.ok(grown < 64, `heap grew by ${grown.toFixed(0)} MiB`);
  t.equal(
    rates.of(compiled({ rules: [ALL] }), {
      listener: 'tcp',
      address: '10.0.0.1',
      port: 1,
      certificate: [],
      tokenSha256: '',
    }),
    undefined,
  );
});
