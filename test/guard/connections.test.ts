import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { freePort } from '../support/free-port.js';
import { startGuard } from '../support/guard.js';
import { LEAVINGS, sendAndLeave, type Place } from '../support/leave.js';
import { FIN, RESET, talk, type Part } from '../support/raw.js';
import { echo, hang, json, startRecordingUpstream } from '../support/recording-upstream.js';
import { create, EVIL, get, HARMLESS, lines, PING, post, postJson } from './case.js';
import { ping, startGuarded, unpaired } from './guarded.js';

const directory = mkdtempSync(join(tmpdir(), 'bw-connections-'));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));

const UPGRADE = ['Connection: Upgrade', 'Upgrade: tcp'];
const CREATE = ['POST /v1.41/containers/create HTTP/1.1', 'Host: docker', 'Content-Type: application/json'];
const ALL = { rules: [{ id: 'all', sources: ['*'], operations: ['*'], permit: ['*'] }] };

/** What a client has sent when it leaves. For some of it node's HTTP server hands the socket over. */
const BEGUN: Readonly<Record<string, string>> = {
  nothing: '',
  'half a head': 'GET /_pi',
  'no HTTP': '\x16\x03\x01\0\0\r\n\r\n',
  'the preface of HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  CONNECT: lines(['CONNECT /x HTTP/1.1', 'Host: d']),
  'CONNECT with bytes behind it': lines(['CONNECT d:1 HTTP/1.1', 'Host: d'], 'x'.repeat(70_000)),
  'CONNECT behind a ping': PING + lines(['CONNECT /x HTTP/1.1', 'Host: d']),
  'an upgraded ping': get('/_ping', ...UPGRADE),
  'an upgraded ping and more behind it': get('/_ping', ...UPGRADE) + EVIL.repeat(100),
  'an upgraded create without its body': lines([...CREATE, ...UPGRADE, 'Content-Length: 18']),
  'an upgraded create with half its body': lines([...CREATE, ...UPGRADE, 'Content-Length: 18'], '{"Image":'),
  'an upgraded create in chunks': lines([...CREATE, ...UPGRADE, 'Transfer-Encoding: chunked'], '5\r\n{"Im'),
  'an upgraded create in bad chunks': lines([...CREATE, ...UPGRADE, 'Transfer-Encoding: chunked'], 'x\r\n'),
  'an upgraded create': create(HARMLESS, ...UPGRADE),
  'an attach': post('/v1.41/containers/web/attach?stream=1&stdin=1', ...UPGRADE),
  'an exec with early stdin': `${postJson('/v1.41/exec/a/start', '{}', ...UPGRADE)}${'stdin'.repeat(20_000)}`,
  'an upgrade behind a ping': PING + create(HARMLESS, ...UPGRADE),
  'a request that waits for 100': lines([...CREATE, 'Expect: 100-continue', 'Content-Length: 18']),
  'a create in bad chunks': lines([...CREATE, 'Transfer-Encoding: chunked'], 'x\r\n'),
};

/** Every beginning, left in every way, soon and later. */
async function leaveAll(place: Place, rounds: number): Promise<number> {
  let left = 0;
  for (const text of Object.values(BEGUN)) {
    for (const how of LEAVINGS) {
      const waits = Array.from({ length: rounds }, (_, round) => [0, 1, 5][round % 3]!);
      await Promise.all(waits.map((wait) => sendAndLeave(place, text, wait, how)));
      left += waits.length;
    }
  }
  return left;
}

function makeCertificate(): { cert: string; key: string } {
  const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  execFileSync('openssl', ['req', ...kind, '-subj', '/CN=localhost', '-keyout', key, '-out', cert], {
    stdio: 'ignore',
  });
  return { cert, key };
}

await t.test('a guard process survives clients that leave at any point', async (t) => {
  const upstream = await startRecordingUpstream();
  t.teardown(() => upstream.close());
  upstream.behave = echo();
  const admin = await freePort();
  const guard = await startGuard({
    upstream: upstream.url,
    config: { admin: { url: `tcp://127.0.0.1:${admin}` } },
  });
  t.teardown(() => guard.stop());
  const places: Record<string, Place> = {
    tcp: { port: guard.tcp.port },
    unix: { path: guard.unix.socket },
    admin: { port: admin },
  };
  for (const [name, place] of Object.entries(places)) {
    const left = await leaveAll(place, 6);
    t.equal(await guard.exited(50), undefined, `${name}: runs after ${left} connections: ${guard.log()}`);
    t.equal(await ping({ port: guard.tcp.port }), 200, `${name}: and serves`);
  }
  // A few of the worst at once.
  for (const text of [BEGUN['CONNECT']!, BEGUN['an upgraded create without its body']!])
    await Promise.all(
      Array.from({ length: 100 }, (_, i) => sendAndLeave({ port: guard.tcp.port }, text, i % 4, 'reset')),
    );
  t.equal(await ping({ port: guard.tcp.port }), 200, 'serves after 200 at once');
});

await t.test('the same over TLS', async (t) => {
  const { cert, key } = makeCertificate();
  const port = await freePort();
  const guarded = await startGuarded({
    policy: ALL,
    limits: { idle: 500 },
    config: {
      listen: [
        { name: 'tcp', url: 'tcp://127.0.0.1:0' },
        { name: 'tls', url: `tls://127.0.0.1:${port}`, tls: { cert, key } },
      ],
    },
  });
  t.teardown(() => guarded.close());
  // A tunnel whose engine keeps it open stays as long.
  guarded.upstream.behave = (request, socket) => {
    if (!/attach|exec/.test(request.call)) json()(request, socket);
    else socket.end('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\noutput');
  };
  // In this process an error that nobody listens for fails the test.
  await leaveAll({ port, tls: true }, 3);
  t.equal(await ping(guarded.tcp), 200, 'clients that speak TLS');
  await leaveAll({ port }, 3);
  t.equal(await ping(guarded.tcp), 200, 'clients that do not');
});

/** No connection is kept for a client that is gone. */
async function noneOpen(t: Test, open: () => Promise<number>): Promise<void> {
  let last = -1;
  for (let i = 0; i < 100 && last !== 0; i++) {
    last = await open();
    if (last !== 0) await new Promise((resolve) => setTimeout(resolve, 50));
  }
  t.equal(last, 0, 'no connection is kept for a client that is gone');
}

await t.test('no connection is kept for a client that was answered and left', async (t) => {
  const guarded = await startGuarded({ policy: ALL });
  t.teardown(() => guarded.close());
  guarded.upstream.behave = echo();
  for (const text of Object.values(BEGUN))
    await talk(guarded.tcp, [text], { answers: 1, linger: 0, timeout: 150 });
  await noneOpen(t, () => guarded.metric('breakwater_connections_open'));
});

await t.test('a stream whose client has closed before it began ends at once', async (t) => {
  const guarded = await startGuarded({ policy: ALL });
  t.teardown(() => guarded.close());
  guarded.upstream.behave = (request, socket) => {
    if (request.call.startsWith('GET /_ping')) json()(request, socket);
  };
  const logs = get('/v1.41/containers/web/logs?follow=1&stdout=1');
  const shapes: Part[][] = [
    [logs, FIN],
    [PING + logs, FIN],
    [PING, PING + logs, FIN],
  ];
  for (const target of [guarded.tcp, guarded.unix]) {
    for (const parts of shapes) {
      const { closed } = await talk(target, parts, { answers: 0, timeout: 4_000 });
      t.equal(closed, 'end', 'it is closed although the engine is silent');
    }
  }
  t.equal(await guarded.metric('breakwater_calls_open'), 0);
  t.same(unpaired(guarded.auditText()), []);
});

await t.test('a body that waits behind a silent stream does not hide that the client has left', async (t) => {
  const guarded = await startGuarded({ policy: ALL });
  t.teardown(() => guarded.close());
  guarded.upstream.behave = hang;
  const events = get('/v1.41/events');
  const upload = ['POST /v1.41/images/load HTTP/1.1', 'Host: docker', 'Content-Type: application/x-tar'];
  const large = 'x'.repeat(300_000);
  const bodies: Readonly<Record<string, string>> = {
    'with a length': lines([...upload, `Content-Length: ${large.length}`], large),
    'in chunks': lines([...upload, 'Transfer-Encoding: chunked'], `${large.length.toString(16)}\r\n${large}`),
    'of which nothing comes': lines([...upload, `Content-Length: ${large.length}`]),
    'behind a ping, with a length': PING + lines([...upload, `Content-Length: ${large.length}`], large),
  };
  for (const [name, body] of Object.entries(bodies)) {
    for (const target of [guarded.tcp, guarded.unix]) {
      const shapes: Part[][] = [[events + body], [events, 20, body], [events + body, 20, FIN]];
      for (const parts of shapes) {
        await talk(target, parts, { answers: 0, timeout: 150 });
      }
    }
    await noneOpen(t, () => guarded.metric('breakwater_calls_open'));
    t.match(guarded.auditText(), /"pipeline".*a large body behind an unfinished request/, name);
  }
  t.same(unpaired(guarded.auditText()), []);
  const small = create(HARMLESS);
  guarded.upstream.behave = (request, socket) => void setTimeout(() => json()(request, socket), 20);
  const got = await talk(guarded.tcp, [PING + small + small + PING], { answers: 4 });
  t.same(
    got.answers.map(({ status }) => status),
    [200, 200, 200, 200],
    'small ones wait for their turn',
  );
});

await t.test('the kernel asks whether a silent client is still there', async (t) => {
  const guarded = await startGuarded({ policy: ALL });
  t.teardown(() => guarded.close());
  /** What /proc/net/tcp says of the timer of the guard's side of the connection: 2 is the keep-alive. */
  let timer = '';
  const look = async (): Promise<void> => {
    const port = guarded.tcp.port.toString(16).toUpperCase().padStart(4, '0');
    const row = new RegExp(`:${port} [0-9A-F]{8}:[0-9A-F]{4} 01 \\S+ (\\d\\d):`);
    timer = row.exec(readFileSync('/proc/net/tcp', 'utf8'))?.[1] ?? 'none';
  };
  await talk(guarded.tcp, [PING, 200, look], { answers: 0, timeout: 400 });
  t.equal(timer, '02');
});

await t.test('a client that is gone when its answer is written has sent nothing unreadable', async (t) => {
  const guarded = await startGuarded({ policy: ALL });
  t.teardown(() => guarded.close());
  guarded.upstream.behave = (request, socket) => void setTimeout(() => json()(request, socket), 40);
  const shapes: Part[][] = [
    [PING, FIN, 5, RESET],
    [PING + PING, FIN, 5, RESET],
  ];
  for (const parts of shapes) {
    for (let round = 0; round < 5; round++) await talk(guarded.tcp, parts, { answers: 0, timeout: 2_000 });
  }
  await noneOpen(t, () => guarded.metric('breakwater_connections_open'));
  t.same(unpaired(guarded.auditText()), []);
  t.notMatch(guarded.auditText(), /"http-parse"/, 'it is no attempt to probe');
});

await t.test('CONNECT behind a request that is still running cuts its answer', async (t) => {
  const guarded = await startGuarded({ policy: ALL });
  t.teardown(() => guarded.close());
  guarded.upstream.behave = hang;
  const got = await talk(guarded.tcp, [PING + BEGUN['CONNECT']!], { answers: 0, timeout: 2_000 });
  t.strictSame(got.answers, [], 'no answer takes the place of another');
  t.not(got.closed, 'open');
});

/** The engine's answer, in pieces that each come in a turn of their own. */
const ANSWERS: Readonly<Record<string, readonly string[]>> = {
  'in chunks, the end with the last of them': [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none \r\n',
    '4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n',
  ],
  'in chunks, the end alone': [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none \r\n',
    '4\r\ntwo \r\n5\r\nthree\r\n',
    '0\r\n\r\n',
  ],
  'with a length': ['HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\none ', 'two three'],
  'until it closes': ['HTTP/1.1 200 OK\r\n\r\none ', 'two three'],
};

await t.test('what the engine sends in one turn arrives in order, and the end behind it', async (t) => {
  const guarded = await startGuarded({ policy: ALL });
  t.teardown(() => guarded.close());
  const { upstream } = guarded;
  for (const [name, pieces] of Object.entries(ANSWERS)) {
    for (const target of ['/v1.41/events', '/v1.41/containers/json']) {
      upstream.behave = (_request, socket) => {
        pieces.forEach((piece, index) => setTimeout(() => socket.write(piece), 25 * index));
        if (name === 'until it closes') setTimeout(() => socket.end(), 25 * pieces.length);
      };
      const first = await talk(guarded.tcp, [get(target)], { answers: 1, linger: 40 });
      t.match(first.answers, [{ status: 200, complete: true }], `${name}: ${first.text}`);
      t.equal(first.answers[0]?.body.toString(), 'one two three', name);
      t.equal(first.answers.length, 1, 'and nothing behind it');
    }
    upstream.behave = json();
    t.equal(await ping(guarded.tcp), 200);
  }
});
