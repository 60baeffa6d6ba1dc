import { once } from 'node:events';
import { createServer as createHttp, request } from 'node:http';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../src/config/load.js';
import { startServices, type ServiceParts } from '../../src/app/egress-services.js';
import { readHello } from '../../src/egress/client-hello.js';
import { listenGateway } from '../../src/egress/gateway.js';
import { createTargetDecider, readTarget } from '../../src/egress/gateway-target.js';
import { RESERVED_NETWORKS } from '../../src/egress/elements.js';
import type { Allow } from '../../src/egress/networks.js';
import { buildIndex } from '../../src/intel/index-build.js';
import { openIndex } from '../../src/intel/indicator-index.js';
import type { IndicatorType } from '../../src/intel/indicator.js';
import { parseNetwork } from '../../src/policy/cidr.js';
import { freePort } from '../support/free-port.js';
import { LEAVINGS, sendAndLeave } from '../support/leave.js';

const INDEX = openIndex(
  buildIndex(
    (
      [
        ['domain', 'c2.example'],
        ['ipv4', '198.51.100.66'],
        ['url', 'shared.example/bad/main.sh'],
      ] as [IndicatorType, string][]
    ).map(([type, value]) => ({
      type,
      value,
      action: 'block',
      feed: 'f',
      confidence: 1,
      threat: '',
      port: 0,
    })),
    { seed: [3, 4] },
  ),
);

/** What a real TLS client sends first. */
async function helloOf(servername: string): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connectTls({ host: '127.0.0.1', port, servername, rejectUnauthorized: false });
  client.on('error', () => undefined);
  const [socket] = (await once(server, 'connection')) as [Socket];
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return bytes;
}

t.test('ClientHello: the server name, however the bytes come', async (t) => {
  const hello = await helloOf('www.Example.test');
  t.strictSame(readHello(hello), { state: 'complete', name: 'www.example.test' });
  t.strictSame(readHello(await helloOf('')), { state: 'complete', name: undefined });
  for (let end = 0; end < hello.length; end++) {
    if (readHello(hello.subarray(0, end)).state !== 'partial') t.fail(`complete after ${end} bytes`);
  }
  // Cut into records of 40 bytes.
  const body = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < body.length; at += 40) {
    const part = body.subarray(at, at + 40);
    records.push(Buffer.from([22, 3, 1, 0, part.length]), part);
  }
  t.strictSame(readHello(Buffer.concat(records)), { state: 'complete', name: 'www.example.test' });
  t.strictSame(
    readHello(Buffer.concat([hello, Buffer.from([23, 3, 3, 0, 1, 0])])).state,
    'complete',
    'what follows',
  );
  t.match(readHello(Buffer.from('GET / HTTP/1.1\r\n')), { state: 'bad', reason: 'that is no TLS' });
  t.match(readHello(Buffer.from([22, 3, 1, 0xff, 0xff])), { state: 'bad' });
  t.match(readHello(Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])), { state: 'bad', reason: /no ClientHello/ });
  t.match(readHello(Buffer.from([22, 3, 1, 0, 4, 1, 1, 0, 0])), { state: 'bad', reason: /too long/ });
  // The extension twice: one name for us, one for the server.
  const extension = (name: string): Buffer => {
    const text = Buffer.from(name);
    const length = text.length;
    return Buffer.concat([Buffer.from([0, 0, 0, length + 5, 0, length + 3, 0, 0, length]), text]);
  };
  const made = (extensions: Buffer): Buffer => {
    const inner = Buffer.concat([
      Buffer.alloc(34),
      Buffer.from([0, 0, 2, 0, 1, 1, 0, 0, extensions.length]),
      extensions,
    ]);
    return Buffer.concat([Buffer.from([22, 3, 1, 0, inner.length + 4, 1, 0, 0, inner.length]), inner]);
  };
  t.strictSame(readHello(made(extension('a.test'))), { state: 'complete', name: 'a.test' });
  t.match(readHello(made(Buffer.concat([extension('a.test'), extension('b.test')]))), {
    state: 'bad',
    reason: /twice/,
  });
  t.match(readHello(made(extension('a\0.test'))), { state: 'bad', reason: /damaged/ });
  const flips = fc.array(fc.tuple(fc.nat(hello.length - 1), fc.nat(255)), { maxLength: 8 });
  fc.assert(
    fc.property(flips, fc.uint8Array({ maxLength: 300 }), (changes, noise) => {
      const bytes = Buffer.from(hello);
      for (const [at, value] of changes) bytes[at] = value;
      const states = [readHello(bytes).state, readHello(Buffer.from(noise)).state];
      return states.every((state) => ['partial', 'complete', 'bad'].includes(state));
    }),
    { numRuns: 2_000 },
  );
});

t.test('targets: one reading, or none', async (t) => {
  const cases: [string, string, object | RegExp][] = [
    [
      'GET',
      'http://Shared.Example/bad/%6dain.sh',
      { host: 'shared.example', port: 80, url: 'shared.example/bad/main.sh' },
    ],
    ['GET', 'http://0xc6336442:8080/x?y', { host: '198.51.100.66', port: 8080, path: '/x?y' }],
    ['GET', 'http://c2.example./', { host: 'c2.example', authority: 'c2.example.' }],
    ['GET', 'http://[::ffff:198.51.100.66]/', { host: '::ffff:c633:6442' }],
    ['CONNECT', 'c2.example:443', { host: 'c2.example', port: 443, url: '' }],
    ['CONNECT', '[2001:db8::1]:443', { host: '2001:db8::1', port: 443 }],
    ['GET', '/path', /this is a proxy/],
    ['GET', 'https://a.example/', /this is a proxy/],
    ['GET', 'http://user@a.example/', /two readings/],
    ['CONNECT', 'a.example', /HOST:PORT/],
    ['CONNECT', 'a.example:443/x', /HOST:PORT/],
    ['CONNECT', 'a@b.example:443', /HOST:PORT/],
    ['CONNECT', 'a.example:0', /no port/],
    ['CONNECT', 'a.example:99999', /no URL/],
  ];
  for (const [method, text, wanted] of cases) t.match(readTarget(method, text), wanted, text);
});

/** A gateway for names that lead to loopback, where the test's servers are. */
async function gatewayOf(
  t: Test,
  names: Record<string, string[]>,
  ports: number[],
  extra: { allow?: Allow; network?: Allow; mode?: 'alert'; clients?: string } = {},
) {
  const attempts: string[] = [];
  const decider = createTargetDecider({
    mode: extra.mode ?? 'block',
    ports,
    allow: extra.allow ?? { networks: [parseNetwork('127.0.0.0/8')!], names: [] },
    closed: () => RESERVED_NETWORKS,
    index: () => INDEX,
    allowOf: () => extra.network,
    lookUp: async (name) => {
      const hit = INDEX.domain(name);
      return {
        addresses: names[name] ?? [],
        findings: hit === undefined ? [] : [{ hit, name, address: '' }],
      };
    },
    onAttempt: (_client, target, hit, address, refused) =>
      void attempts.push(
        `${target.url || target.host} ${hit?.indicator ?? '-'} ${address} ${refused ? 'refused' : 'reported'}`,
      ),
  });
  const port = await freePort();
  const gateway = await listenGateway({
    listen: { host: '127.0.0.1', port },
    clients: [parseNetwork(extra.clients ?? '127.0.0.0/8')!],
    decider,
  });
  t.teardown(() => gateway.close());
  return { port, attempts };
}

async function listening(t: Test, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

function get(
  port: number,
  path: string,
  options: { method?: string; body?: string; headers?: Record<string, string> } = {},
) {
  return new Promise<{ status: number; body: string; headers: NodeJS.Dict<string | string[]> }>(
    (resolve, reject) => {
      const outgoing = request(
        {
          host: '127.0.0.1',
          port,
          path,
          method: options.method ?? 'GET',
          headers: { host: 'x', ...options.headers },
          agent: false,
        },
        (incoming) => {
          let body = '';
          incoming.on('data', (piece: Buffer) => (body += piece.toString()));
          incoming.on('end', () =>
            resolve({ status: incoming.statusCode ?? 0, body, headers: incoming.headers }),
          );
          incoming.on('error', reject);
        },
      );
      outgoing.on('error', reject);
      outgoing.end(options.body);
    },
  );
}

t.test('plain HTTP: written anew, to the checked address', async (t) => {
  const seen: string[] = [];
  const origin = await listening(
    t,
    createHttp((incoming, answer) => {
      let body = '';
      incoming.on('data', (piece: Buffer) => (body += piece.toString()));
      incoming.on('end', () => {
        seen.push(`${incoming.method} ${incoming.url} ${body} ${JSON.stringify(incoming.headers)}`);
        answer.setHeader('Connection', 'keep-alive, x-hop');
        answer.setHeader('X-Hop', '1');
        answer.end('origin');
      });
    }),
  );
  const names = {
    'good.example': ['127.0.0.1'],
    'shared.example': ['127.0.0.1'],
    'meta.example': ['169.254.169.254'],
  };
  const { port, attempts } = await gatewayOf(t, names, [origin, 80]);
  const good = `http://good.example:${origin}`;
  t.match(
    await get(port, `${good}/a?b`, {
      headers: { 'proxy-authorization': 'secret', connection: 'x-mine', 'x-mine': '1' },
    }),
    {
      status: 200,
      body: 'origin',
    },
  );
  t.match(seen[0], /^GET \/a\?b  /);
  t.match(seen[0], `"host":"good.example:${origin}"`);
  t.notMatch(seen[0], /proxy-authorization|x-mine/);
  t.equal((await get(port, good)).headers['x-hop'], undefined);
  await get(port, `${good}/p`, { method: 'POST', body: 'hello' });
  t.match(seen[2], /^POST \/p hello /);
  await get(port, `${good}/g`, { method: 'GET', body: 'body', headers: { 'transfer-encoding': 'chunked' } });
  t.match(seen[3], /^GET \/g body .*"transfer-encoding":"chunked"/, 'the body of a GET stays framed');
  t.match(await get(port, 'http://shared.example/bad/main.sh'), {
    status: 403,
    body: /shared.example\/bad\/main.sh is listed by f/,
  });
  t.match(await get(port, 'http://x.c2.example/'), { status: 403, body: /c2.example is listed/ });
  t.match(await get(port, 'http://198.51.100.66/'), { status: 403, body: /198.51.100.66 is listed/ });
  t.match(await get(port, 'http://[::ffff:c633:6442]/'), { status: 403, body: /198.51.100.66 is listed/ });
  t.match(await get(port, 'http://meta.example/latest/'), {
    status: 403,
    body: /169.254.169.254, which is not public/,
  });
  t.match(await get(port, 'http://[64:ff9b::a9fe:a9fe]/'), { status: 403, body: /not public/ });
  t.match(await get(port, 'http://good.example:81/'), { status: 403, body: /port 81 is not open/ });
  t.match(await get(port, 'http://nowhere.example/'), { status: 502 });
  t.match(await get(port, '/admin'), { status: 400 });
  t.match(await get(port, good, { headers: { 'transfer-encoding': 'gzip, chunked' }, body: 'x' }), {
    status: 400,
  });
  t.equal(seen.length, 4, 'nothing else got through');
  t.ok(attempts.includes('shared.example/bad/main.sh shared.example/bad/main.sh  refused'));
  const denied = await gatewayOf(t, names, [origin], { network: { networks: [], names: ['other.example'] } });
  t.match(await get(denied.port, good), { status: 403, body: /not allowed from this network/ });
  const strange = await gatewayOf(t, names, [origin], { clients: '10.0.0.0/8' });
  await t.rejects(get(strange.port, good), 'strangers are not served');
  const alert = await gatewayOf(t, { 'c2.example': ['127.0.0.1'] }, [origin], { mode: 'alert' });
  t.match(await get(alert.port, `http://c2.example:${origin}/`), { status: 200 });
  t.match(alert.attempts, [/c2.example .* reported/]);
});

/** A server that keeps what it gets and answers a whole head with `reply`. */
async function scripted(
  t: Test,
  reply: (socket: Socket, head: string) => void,
): Promise<{ port: number; got: () => string; sockets: Socket[] }> {
  const pieces: Buffer[] = [];
  const sockets: Socket[] = [];
  const port = await listening(
    t,
    createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined);
      let head = '';
      socket.on('data', (piece: Buffer) => {
        pieces.push(piece);
        const before = head;
        head += piece.toString('latin1');
        if (!before.includes('\r\n\r\n') && head.includes('\r\n\r\n')) reply(socket, head);
      });
    }),
  );
  t.teardown(() => sockets.forEach((socket) => socket.destroy()));
  return { port, got: () => Buffer.concat(pieces).toString('latin1'), sockets };
}

/** Writes to the gateway; all that comes back until the connection is closed, or for `wait` ms. */
function speak(port: number, text: string, wait = 3_000): Promise<{ text: string; closed: boolean }> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text, 'latin1'));
    let all = '';
    const timer = setTimeout(() => {
      resolve({ text: all, closed: false });
      socket.destroy();
    }, wait);
    socket.on('data', (piece: Buffer) => (all += piece.toString('latin1')));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve({ text: all, closed: true });
    });
  });
}

const OK_ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok';

t.test('plain HTTP: one request stays one request, with the framing it came with', async (t) => {
  // Answers late, so that whatever would stand behind the request is there.
  const origin = await scripted(t, (socket) => setTimeout(() => socket.end(OK_ANSWER), 100));
  const { port } = await gatewayOf(t, { 'good.example': ['127.0.0.1'] }, [origin.port]);
  const at = `http://good.example:${origin.port}`;
  const inner = 'GET /bad/main.sh HTTP/1.1\r\nHost: shared.example\r\n\r\n';
  const chunked = `Transfer-Encoding: chunked\r\n\r\n${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`;
  const close = 'Host: x\r\nConnection: close\r\n';
  for (const method of ['DELETE', 'OPTIONS', 'GET', 'POST', 'PATCH']) {
    const before = origin.got().length;
    t.match(await speak(port, `${method} ${at}/m HTTP/1.1\r\n${close}${chunked}`), {
      text: /^HTTP\/1.1 200/,
    });
    const got = origin.got().slice(before);
    t.match(got, /\r\ntransfer-encoding: chunked\r\n/i, `${method}: chunked`);
    t.notMatch(got, /content-length/i, `${method}: and nothing else`);
    t.ok(
      got.includes(`\r\n\r\n${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`),
      `${method}: its body`,
    );
  }
  const cases: [string, string, RegExp | undefined][] = [
    ['both lengths', `POST ${at}/ HTTP/1.1\r\n${close}Content-Length: 5\r\n${chunked}`, undefined],
    [
      'two lengths',
      `POST ${at}/ HTTP/1.1\r\n${close}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`,
      undefined,
    ],
    [
      'a length that Connection names',
      `POST ${at}/ HTTP/1.1\r\nHost: x\r\nConnection: close, content-length\r\nContent-Length: 5\r\n\r\nhello`,
      /content-length: 5\r\n.*\r\n\r\nhello$/is,
    ],
    [
      'a coding that Connection names',
      `POST ${at}/ HTTP/1.1\r\nHost: x\r\nConnection: close, transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
      /transfer-encoding: chunked\r\n.*hello\r\n0\r\n\r\n$/is,
    ],
    [
      'an expectation',
      `POST ${at}/ HTTP/1.1\r\n${close}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello`,
      /^(?!.*expect).*\r\n\r\nhello$/is,
    ],
    [
      'another host in the header',
      `GET ${at}/ HTTP/1.1\r\nHost: c2.example\r\nConnection: close\r\n\r\n`,
      new RegExp(`^(?!.*c2\\.example).*host: good.example:${origin.port}\r\n`, 'is'),
    ],
    [
      'headers twice, as they are spelt',
      `GET ${at}/?a?b=c HTTP/1.1\r\n${close}X-One: 1\r\nx-one: 2\r\n\r\n`,
      /^GET \/\?a\?b=c HTTP.*X-One: 1\r\nX-One: 2\r\n/s,
    ],
    ['slashes', `GET ${at}//a///b HTTP/1.1\r\n${close}\r\n`, /^GET \/\/a\/\/\/b HTTP/],
    ['who asks stays here', `GET ${at}/ HTTP/1.1\r\n${close}\r\n`, /^(?!.*x-forwarded)(?!.*via)GET/is],
    [
      'trailers and hops',
      `GET ${at}/ HTTP/1.1\r\nHost: x\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nTrailer: x\r\nProxy-Authorization: s\r\n\r\n`,
      /^(?!.*(x-mine|keep-alive|\nte:|trailer|proxy-))GET/is,
    ],
  ];
  for (const [what, text, wanted] of cases) {
    const before = origin.got().length;
    const answer = await speak(port, text);
    const got = origin.got().slice(before);
    t.ok(answer.closed, `${what}: answered`);
    if (wanted === undefined) {
      t.match(answer.text, /^HTTP\/1.1 400/, what);
      t.equal(got, '', `${what}: nothing got through`);
    } else {
      t.match(got, wanted, what);
      t.equal(got.match(/ HTTP\/1\.1\r\n/g)?.length, 1, `${what}: one request`);
    }
  }
});

t.test('plain HTTP: servers that answer badly, break off or point elsewhere', async (t) => {
  process.env['FORCE_FETCH_PATH'] = 'true';
  t.teardown(() => delete process.env['FORCE_FETCH_PATH']);
  let reply = '';
  let reset = false;
  const origin = await scripted(t, (socket) => {
    if (reset) socket.write(reply, () => setTimeout(() => socket.resetAndDestroy(), 50));
    else socket.end(reply, 'latin1');
  });
  const { port } = await gatewayOf(t, { 'good.example': ['127.0.0.1'] }, [origin.port]);
  const request = `GET http://good.example:${origin.port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
  const cases: [string, string, boolean, RegExp][] = [
    ['good', OK_ANSWER, false, /^HTTP\/1.1 200 OK.*ok$/s],
    ['nothing', '', false, /^HTTP\/1.1 502/],
    ['no HTTP', 'hello\r\n\r\n', false, /^HTTP\/1.1 502/],
    ['a status of zero', 'HTTP/1.1 000 x\r\nContent-Length: 0\r\n\r\n', false, /^HTTP\/1.1 502/],
    [
      'a control character in the reason',
      'HTTP/1.1 200 a\x01b\r\nContent-Length: 0\r\n\r\n',
      false,
      /^HTTP\/1.1 (200 a\?b|502)/,
    ],
    [
      'another protocol, unasked',
      'HTTP/1.1 101 x\r\nUpgrade: y\r\nConnection: upgrade\r\n\r\nbytes',
      false,
      /^(?!.*bytes)/s,
    ],
    ['a bare 101', 'HTTP/1.1 101 x\r\n\r\n', false, /^(?!HTTP\/1.1 101)/],
    [
      'a redirect, which is not followed',
      'HTTP/1.1 302 Found\r\nLocation: http://198.51.100.66/\r\nContent-Length: 0\r\n\r\n',
      false,
      /^HTTP\/1.1 302.*Location: http:\/\/198\.51\.100\.66\//s,
    ],
    [
      'cookies and spelling',
      'HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX-Abc: 1\r\nContent-Length: 0\r\n\r\n',
      false,
      /Set-Cookie: a\r\nSet-Cookie: b\r\nX-Abc: 1\r\n/,
    ],
    ['cut by a reset', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf', true, /^HTTP\/1.1 200.*half$/s],
    [
      'chunks cut by a reset',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n',
      true,
      /^HTTP\/1.1 200(?!.*\r\n0\r\n\r\n).*half/s,
    ],
    ['a reset at once', '', true, /^HTTP\/1.1 502/],
    ['still there', OK_ANSWER, false, /^HTTP\/1.1 200 OK.*ok$/s],
  ];
  for (const [what, text, broken, wanted] of cases) {
    reply = text;
    reset = broken;
    const seen = await speak(port, request);
    t.ok(seen.closed, `${what}: the client is not left waiting`);
    t.match(seen.text, wanted, what);
  }
});

t.test('plain HTTP: clients that leave, and those that do not read', async (t) => {
  const origin = await scripted(t, (socket, head) => {
    if (!head.startsWith('GET /endless')) return;
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    const more = (): void => {
      while (!socket.destroyed && socket.write(Buffer.alloc(65_536)));
    };
    socket.on('drain', more);
    more();
  });
  const { port } = await gatewayOf(t, { 'good.example': ['127.0.0.1'] }, [origin.port]);
  const at = `http://good.example:${origin.port}`;
  const leaves: [string, string][] = [
    ['before an answer', `GET ${at}/silent HTTP/1.1\r\nHost: x\r\n\r\n`],
    ['in the middle of a body', `POST ${at}/silent HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf`],
    ['in the middle of an answer', `GET ${at}/endless HTTP/1.1\r\nHost: x\r\n\r\n`],
    ['with an upgrade', `GET ${at}/silent HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n`],
  ];
  for (const [what, text] of leaves) {
    for (let round = 0; round < 10; round++) {
      const socket = connect(port, '127.0.0.1', () => socket.write(text));
      socket.on('error', () => undefined);
      await new Promise((resolve) => setTimeout(resolve, round * 5));
      socket.resetAndDestroy();
    }
    for (let wait = 0; wait < 200 && !origin.sockets.every(({ destroyed }) => destroyed); wait++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    t.ok(
      origin.sockets.every(({ destroyed }) => destroyed),
      `${what}: the server is left, too`,
    );
  }
  const slow = connect(port, '127.0.0.1', () => slow.write(`GET ${at}/endless HTTP/1.1\r\nHost: x\r\n\r\n`));
  slow.on('error', () => undefined);
  slow.pause();
  const sent = (): number => origin.sockets.at(-1)?.bytesWritten ?? 0;
  let before = -1;
  for (let wait = 0; wait < 20 && (sent() === 0 || sent() !== before); wait++) {
    before = sent();
    await new Promise((resolve) => setTimeout(resolve, 400));
  }
  t.equal(sent(), before, 'no more is taken from the server than the client reads');
  t.ok(before > 0 && before < 32 * 1024 ** 2, `${before} bytes wait`);
  slow.destroy();
});

t.test('CONNECT: nothing passes before the server name is checked', async (t) => {
  const got: Buffer[] = [];
  const sockets: Socket[] = [];
  const origin = await listening(
    t,
    createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined);
      socket.on('data', (piece: Buffer) => {
        got.push(piece);
        socket.write('pong');
      });
    }),
  );
  t.teardown(() => sockets.forEach((socket) => socket.destroy()));
  const { port, attempts } = await gatewayOf(t, { 'good.example': ['127.0.0.1'] }, [origin]);
  const through = async (target: string, first: Buffer): Promise<{ head: string; rest: string }> => {
    const socket = connect(port, '127.0.0.1');
    t.teardown(() => socket.destroy());
    socket.on('error', () => undefined);
    socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    let text = '';
    const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    const answered = new Promise<void>((resolve) =>
      socket.on('data', (piece: Buffer) => {
        const before = text;
        text += piece.toString('latin1');
        if (before === '' && text.startsWith('HTTP/1.1 200')) socket.write(first);
        if (text.endsWith('pong')) resolve();
      }),
    );
    await Promise.race([ended, answered]);
    const end = text.indexOf('\r\n\r\n');
    return { head: text.slice(0, end), rest: text.slice(end + 4) };
  };
  const good = await helloOf('good.example');
  t.match(await through(`good.example:${origin}`, good), { head: /^HTTP\/1.1 200/, rest: 'pong' });
  t.ok(Buffer.concat(got).equals(good), 'the hello arrives as it was');
  got.length = 0;
  const refusals: [string, Buffer][] = [
    ['another name', await helloOf('c2.example')],
    ['no name', await helloOf('')],
    ['no TLS', Buffer.from('GET / HTTP/1.1\r\nHost: c2.example\r\n\r\n')],
    ['a damaged hello', Buffer.concat([good.subarray(0, 60), Buffer.alloc(good.length - 60, 0xff)])],
  ];
  for (const [what, first] of refusals)
    t.match(await through(`good.example:${origin}`, first), { rest: '' }, what);
  t.equal(got.length, 0, 'not a byte of them got through');
  t.ok(
    attempts.some((one) => one.startsWith('c2.example - ')),
    'the other name is reported',
  );
  t.match(await through(`c2.example:${origin}`, good), {
    head: /^HTTP\/1.1 403/,
    rest: /c2.example is listed/,
  });
  t.match(await through('good.example:22', good), { head: /^HTTP\/1.1 403/ });
  t.match(await through('nonsense', good), { head: /^HTTP\/1.1 400/ });
});

t.test('an address that cannot be listened on is reported with its key and what to do', async (t) => {
  const taken = await listening(
    t,
    createServer((socket) => socket.destroy()),
  );
  const file = join(mkdtempSync(join(tmpdir(), 'bw-services-')), 'c.json');
  const started = (egress: Record<string, unknown>): Promise<unknown> => {
    writeFileSync(file, JSON.stringify({ feeds: { state: '/nowhere' }, egress }));
    const loaded = loadConfig(file, { listen: [], policy: [] });
    if (!loaded.ok || loaded.config.egress === null) throw new Error('the config is wrong');
    // Nothing of the rest is used before something listens.
    const parts = { config: loaded.config.egress } as ServiceParts;
    return startServices(parts);
  };
  await t.rejects(
    started({ gateway: { listen: `127.0.0.1:${taken}` } }),
    new RegExp(
      `^egress.gateway.listen: cannot listen on 127.0.0.1:${taken}: another process .* choose another port`,
    ),
  );
  await t.rejects(
    started({ dns: { listen: '198.51.100.1:5300', upstream: ['127.0.0.1'] } }),
    /^egress.dns.listen: cannot listen on 198.51.100.1:5300: this host does not have the address/,
  );
});

t.test('clients that leave at any point end nothing', async (t) => {
  const origin = await listening(
    t,
    createServer((socket) => socket.on('error', () => undefined).resume()),
  );
  const { port } = await gatewayOf(t, { 'good.example': ['127.0.0.1'] }, [origin]);
  const upgrade = 'Connection: Upgrade\r\nUpgrade: x\r\n';
  const begun = [
    '',
    'GET http://go',
    `GET http://good.example:${origin}/ HTTP/1.1\r\nHost: x\r\n\r\n`,
    `GET http://good.example:${origin}/ HTTP/1.1\r\nHost: x\r\n${upgrade}\r\n`,
    `POST http://good.example:${origin}/ HTTP/1.1\r\nHost: x\r\n${upgrade}Content-Length: 18\r\n\r\nhalf`,
    `CONNECT good.example:${origin} HTTP/1.1\r\nHost: x\r\n\r\n`,
    `CONNECT good.example:${origin} HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03\x01\x02\x00`,
    'CONNECT other.example:1 HTTP/1.1\r\nHost: x\r\n\r\n',
    `CONNECT c2.example:443 HTTP/1.1\r\nHost: x\r\n\r\n${'x'.repeat(70_000)}`,
  ];
  // An unhandled error would end this process.
  for (const text of begun) {
    for (const how of LEAVINGS) {
      const clients = Array.from({ length: 40 }, (_, i) => sendAndLeave({ port }, text, i % 4, how));
      await Promise.all(clients);
    }
  }
  t.match(await get(port, 'http://c2.example/'), { status: 403 }, 'the gateway answers');
});

t.test('a client that was turned away and sends on is not kept', async (t) => {
  const { port } = await gatewayOf(t, {}, []);
  for (const text of [
    'CONNECT c2.example:443 HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET http://c2.example/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n',
  ]) {
    const client = connect({ port, host: '127.0.0.1' });
    client.write(text + 'x'.repeat(200_000));
    let answer = '';
    client.on('data', (piece: Buffer) => (answer += piece.toString()));
    await once(client, 'close');
    t.match(answer, /^HTTP\/1\.1 (403|501) /);
  }
});
