import t, { type Test } from 'tap';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer as createPlain, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer, type ServerOptions } from 'node:https';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTls } from 'node:tls';
import type { SinkConfig } from '../../src/audit/sinks/sink.js';
import { until } from '../support/command.js';
import { acksOf, PRODUCTS, type Post, type Product } from '../support/receivers.js';
import {
  config,
  isDone,
  journalIn,
  linesOf,
  listen,
  room,
  root,
  start,
  write,
} from '../support/sink-room.js';

// Every type of receiver over HTTP, with all that goes wrong; certificates, proxies and credentials.

t.setTimeout(120_000);

/** Self-signed. @returns paths of PEM files. */
function certificate(name: string, subject: string): { cert: string; key: string } {
  const cert = join(root, `${name}.pem`);
  const key = join(root, `${name}.key`);
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const is = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${subject}`];
  execFileSync('openssl', ['req', ...kind, ...is, '-keyout', key, '-out', cert], { stdio: 'ignore' });
  return { cert, key };
}

const right = certificate('right', 'DNS:localhost,IP:127.0.0.1');
const other = certificate('other', 'DNS:other.example');
const pem = ({ cert, key }: { cert: string; key: string }): { cert: Buffer; key: Buffer } => ({
  cert: readFileSync(cert),
  key: readFileSync(key),
});

type Answer = (post: Post, response: ServerResponse) => void;

async function serve(t: Test, answer: Answer, options: ServerOptions | null = pem(right)): Promise<number> {
  const open = new Set<Socket>();
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece)).on('error', () => {});
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      answer({ method, path: url, headers, body: Buffer.concat(pieces).toString('utf8') }, response);
    });
  };
  const server = options === null ? createPlain(listener) : createServer(options, listener);
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('error', () => {}).on('close', () => open.delete(socket));
  });
  server.on('tlsClientError', () => {});
  t.teardown(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return listen(server);
}

/** What a receiver does wrong, one after the other. `take`: it has the records all the same. */
const FAULTS: readonly ((response: ServerResponse, take: () => void, post: Post) => void)[] = [
  (response) => response.writeHead(429, { 'retry-after': '1' }).end(),
  (response) => response.writeHead(503, { 'content-type': 'text/html' }).end('<h1>busy</h1>'),
  // The secret that it was sent comes back.
  (response, _, { headers }) => response.writeHead(500).end(`no: ${JSON.stringify(headers)}`),
  (response) => response.writeHead(302, { location: '/elsewhere' }).end(),
  (response) => response.writeHead(307, { location: '/elsewhere' }).end(),
  () => {},
  (_, take) => take(),
  (response) => response.socket?.destroy(),
  (response, take) => {
    take();
    response.writeHead(200, { 'content-length': '100' }).write('{"half', () => response.socket?.destroy());
  },
  // Says that it took them, in no way that this receiver would.
  (response) => response.writeHead(408).end(),
];

async function everything(t: Test, name: string, product: Product): Promise<void> {
  const complaints: string[] = [];
  const got: string[] = [];
  const faults = [...FAULTS];
  const posts: number[] = [];
  let tokens = 0;
  let isRevoked = false;
  const { oauth } = product.config;
  /** Splunk: what is not indexed yet, by channel and number; it is lost when the indexer is restarted. */
  const indexed = new Map<string, Set<number>>();
  let questions = 0;
  let isLost = false;
  const answerToken = (post: Post, response: ServerResponse): void => {
    tokens += 1;
    const form = new URLSearchParams(post.body);
    const is = [form.get('grant_type'), form.get('client_id'), form.get('client_secret'), form.get('scope')];
    if (is.join() !== `client_credentials,client-id,a-client-secret,${oauth!.scope}`)
      complaints.push(post.body);
    if (tokens === 1) return void response.writeHead(503, { 'retry-after': '0' }).end(post.body);
    // No JSON; and no text that may be printed.
    if (tokens === 2) return void response.end('access_token=a-token-of-tests-2');
    const body = { token_type: 'Bearer', expires_in: '61', access_token: `a-token-of-tests-${tokens}` };
    response.end(JSON.stringify(body));
  };
  const port = await serve(t, (post, response) => {
    if (post.path === '/token') return answerToken(post, response);
    if (post.path.startsWith('/services/collector/ack?channel=')) {
      questions += 1;
      const answer = acksOf(indexed, post.path.split('=')[1]!, post.body);
      if (questions === 1) return void response.writeHead(503).end();
      // Reported once, and lost on the way.
      if (!isLost && answer.includes('true')) {
        isLost = true;
        return void response.socket?.destroy();
      }
      return void response.end(answer);
    }
    posts.push(performance.now());
    if (post.path !== product.path || post.method !== 'POST') complaints.push(`${post.method} ${post.path}`);
    if (!post.headers['authorization']?.startsWith(product.authorization)) complaints.push('authorization');
    if (oauth !== undefined && post.headers['authorization'] !== `Bearer a-token-of-tests-${tokens}`) {
      return void response.writeHead(401).end();
    }
    if (oauth !== undefined && !isRevoked && faults.length < 3) {
      isRevoked = true;
      tokens += 1;
      return void response.writeHead(401).end('the token has expired');
    }
    let records: string[];
    try {
      records = product.read(post);
    } catch (error) {
      complaints.push((error as Error).message);
      return void response.writeHead(400).end();
    }
    const take = (): void => void got.push(...records);
    if (records.length > 30) return void response.writeHead(413).end();
    const fault = posts.length % 2 === 1 ? faults.shift() : undefined;
    if (fault !== undefined) return fault(response, take, post);
    if (!name.includes('acknowledgement')) {
      take();
      return product.accept(response, post);
    }
    const channel = String(post.headers['x-splunk-request-channel']);
    let number = 0;
    const end = response.end.bind(response);
    response.end = ((text: string) => {
      number = (JSON.parse(text) as { ackId: number }).ackId;
      return end(text);
    }) as typeof response.end;
    product.accept(response, post);
    setTimeout(() => {
      take();
      indexed.set(channel, (indexed.get(channel) ?? new Set()).add(number));
    }, 30);
  });
  const base = `https://127.0.0.1:${port}`;
  const directory = room();
  const journal = journalIn(directory);
  const log: string[] = [];
  const own: Partial<SinkConfig> = {
    ...product.config,
    ...(oauth === undefined ? {} : { oauth: { ...oauth, url: `${base}/token` } }),
    tls: { ca: right.cert },
    timeout: 500,
    retry: { min: 5, max: 20 },
  };
  const isWhole = product.config.type === 'sentinel' || product.config.type === 'webhook';
  const sinks = start(directory, journal, config(isWhole ? `${base}${product.path}` : base, own), log);
  for (let n = 0; n < 8; n++) await write(journal, 40);
  const done = await until(() => isDone(sinks) && faults.length === 0, 40_000);
  t.ok(done, `${name}: ${JSON.stringify(sinks.status())}, ${faults.length} faults left`);
  t.strictSame(complaints, [], `${name}: reads all of it as its documentation says`);
  const kept = new Set(got);
  t.strictSame(
    linesOf(directory, journal).filter((line) => !kept.has(line)),
    [],
    `${name}: has every record, byte for byte`,
  );
  t.equal(kept.size, journal.last(), `${name}: and no other`);
  t.equal(sinks.status()[0]!.refused, 0);
  t.ok(
    posts.some((at, index) => index > 0 && at - posts[index - 1]! >= 950),
    `${name}: honours Retry-After`,
  );
  t.notMatch(
    log.join('\n') + JSON.stringify(sinks.status()),
    /a-token-of-tests|a-client-secret/,
    `${name}: no credential is printed`,
  );
  t.match(log.join('\n'), /\*\*\*/, `${name}: though the receiver repeated it`);
  t.comment(`${name}: ${got.length - kept.size} came twice`);
  await sinks.stop(1_000);
  journal.close();
}

await t.test('each product gets every record, whatever goes wrong', async (t) => {
  await Promise.all(Object.entries(PRODUCTS).map(([name, product]) => everything(t, name, product)));
});

await t.test(
  'Splunk: an indexer that is restarted counts anew; what it forgot is posted again',
  async (t) => {
    const product = PRODUCTS['splunk-hec with acknowledgement']!;
    const kept = new Set<string>();
    const channelsSeen = new Set<string>();
    let posts = 0;
    let next = 0;
    let memory: string[][] = [];
    const port = await serve(t, (post, response) => {
      if (post.path.includes('/ack?')) {
        const { acks } = JSON.parse(post.body) as { acks: number[] };
        for (const id of acks) for (const line of memory[id] ?? []) kept.add(line);
        response.end(JSON.stringify({ acks: Object.fromEntries(acks.map((id) => [id, id in memory])) }));
        return;
      }
      posts += 1;
      channelsSeen.add(String(post.headers['x-splunk-request-channel']));
      // It forgets what was posted before, and its numbers begin at 0 in the same channel.
      if (posts === 3 || posts === 9) {
        memory = [];
        next = 0;
      }
      memory[next] = product.read(post);
      response.end(JSON.stringify({ text: 'Success', code: 0, ackId: next++ }));
    });
    const directory = room();
    const journal = journalIn(directory);
    const own = {
      ...product.config,
      tls: { ca: right.cert },
      batch: { records: 10, bytes: 65_536, interval: 1 },
    };
    const sinks = start(directory, journal, config(`https://127.0.0.1:${port}`, own));
    await write(journal, 200);
    t.ok(await until(() => isDone(sinks), 20_000), JSON.stringify(sinks.status()));
    t.strictSame(
      linesOf(directory, journal).filter((line) => !kept.has(line)),
      [],
    );
    t.ok(channelsSeen.size >= 2, 'a new channel after a restart');
    await sinks.stop(1_000);
    journal.close();
  },
);

/** A proxy that wants a password. Notes what it was asked for. */
async function proxy(t: Test): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const isKnown = (headers: IncomingMessage['headers']): boolean =>
    headers['proxy-authorization'] === `Basic ${Buffer.from('user:proxy-password').toString('base64')}`;
  const server = createPlain((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    if (!isKnown(request.headers)) return void response.writeHead(407).end();
    const to = new URL(request.url ?? '');
    const far = connect(Number(to.port), to.hostname, () => {
      const { 'proxy-authorization': _, ...headers } = request.headers;
      const lines = Object.entries(headers).map(([key, value]) => `${key}: ${String(value)}\r\n`);
      far.write(`${request.method} ${to.pathname} HTTP/1.1\r\n${lines.join('')}\r\n`);
      request.pipe(far, { end: false });
    });
    far.on('error', () => response.destroy());
    far.pipe(request.socket);
  });
  server.on('connect', (request: IncomingMessage, near: Socket) => {
    asked.push(`CONNECT ${request.url}`);
    near.on('error', () => {});
    if (!isKnown(request.headers)) return void near.end('HTTP/1.1 407 No\r\n\r\n');
    const [host = '', port = ''] = (request.url ?? '').split(':');
    const far = connect(Number(port), host, () => {
      near.write('HTTP/1.1 200 OK\r\n\r\n');
      near.pipe(far).pipe(near);
    });
    far.on('error', () => near.destroy());
    near.on('close', () => far.destroy());
  });
  const port = await listen(server);
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://user:proxy-password@127.0.0.1:${port}/`, asked };
}

interface Trial {
  readonly isDelivered: boolean;
  readonly error: string;
  readonly log: string;
}

/** Sends a few records, then mends what is wrong, if anything. */
async function attempt(one: SinkConfig, ms: number, mend?: () => void): Promise<readonly [Trial, Trial]> {
  const directory = room();
  const journal = journalIn(directory);
  const log: string[] = [];
  const sinks = start(directory, journal, one, log);
  await write(journal, 20);
  const look = async (patience: number): Promise<Trial> => {
    const isDelivered = await until(() => isDone(sinks), patience, 20);
    const { error } = sinks.status()[0]!;
    return { isDelivered, error, log: log.join('\n') + JSON.stringify(sinks.status()) };
  };
  const before = await look(mend === undefined ? ms : 500);
  mend?.();
  const after = mend === undefined ? before : await look(ms);
  await sinks.stop(500);
  journal.close();
  return [before, after];
}

await t.test('a proxy: tunnels for https, plain requests for http', async (t) => {
  const got: string[] = [];
  const answer: Answer = (post, response) => {
    got.push(post.headers['proxy-authorization'] === undefined ? 'post' : 'with the password of the proxy');
    response.end();
  };
  const secure = await serve(t, answer);
  const plain = await serve(t, answer, null);
  const between = await proxy(t);
  const ca = { ca: right.cert };
  const [tunnel] = await attempt(
    config(`https://127.0.0.1:${secure}/h`, { tls: ca, proxy: between.url }),
    5_000,
  );
  t.ok(tunnel.isDelivered, tunnel.error);
  t.ok(between.asked.every((one) => one === `CONNECT 127.0.0.1:${secure}`) && between.asked.length > 0);
  between.asked.length = 0;
  const [request] = await attempt(config(`http://127.0.0.1:${plain}/h`, { proxy: between.url }), 5_000);
  t.ok(request.isDelivered, request.error);
  t.ok(between.asked.length > 0);
  t.ok(
    between.asked.every((one) => one === `POST http://127.0.0.1:${plain}/h`),
    between.asked[0] ?? '',
  );
  t.strictSame([...new Set(got)], ['post']);
  const wrong = between.url.replace('proxy-password', 'wrong-password');
  for (const url of [`https://127.0.0.1:${secure}/h`, `http://127.0.0.1:${plain}/h`]) {
    const [refused] = await attempt(config(url, { tls: ca, proxy: wrong }), 500);
    t.notOk(refused.isDelivered);
    t.match(refused.error, /407/);
    t.notMatch(refused.log, /-password/);
  }
  // The environment names a proxy; null is none.
  process.env['https_proxy'] = between.url;
  between.asked.length = 0;
  const [fromEnvironment] = await attempt(config(`https://127.0.0.1:${secure}/h`, { tls: ca }), 5_000);
  t.ok(fromEnvironment.isDelivered && between.asked.length > 0);
  between.asked.length = 0;
  const [none] = await attempt(config(`https://127.0.0.1:${secure}/h`, { tls: ca, proxy: null }), 5_000);
  t.ok(none.isDelivered && between.asked.length === 0);
  delete process.env['https_proxy'];
});

/** A receiver of syslog over TLS that counts the bytes it was given. */
async function syslogOverTls(t: Test, options: object): Promise<{ port: number; bytes: () => number }> {
  let bytes = 0;
  const server = createTls(options, (socket) => {
    socket.on('error', () => {}).on('data', (piece: Buffer) => (bytes += piece.length));
  });
  server.on('tlsClientError', () => {});
  const port = await listen(server);
  t.teardown(() => void server.close());
  return { port, bytes: () => bytes };
}

await t.test('certificates are verified, whatever the environment says', async (t) => {
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
  t.teardown(() => delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']);
  const between = await proxy(t);
  for (const [what, served, ca] of [
    ['signed by nobody who is trusted', right, other.cert],
    ['no CA', right, undefined],
    ['another name', other, other.cert],
  ] as const) {
    let seen = 0;
    const port = await serve(
      t,
      (_, response) => {
        seen += 1;
        response.end();
      },
      pem(served),
    );
    const syslog = await syslogOverTls(t, pem(served));
    const tls = ca === undefined ? {} : { ca };
    const token = { text: 'a-token-of-tests' };
    for (const one of [
      config(`https://localhost:${port}/`, { tls, token, proxy: null }),
      config(`https://127.0.0.1:${port}/`, { tls, token, proxy: null }),
      config(`https://localhost:${port}/`, { tls, token, proxy: between.url }),
      config(`tls://localhost:${syslog.port}`, { tls, type: 'syslog' }),
      config(`tls://127.0.0.1:${syslog.port}`, { tls, type: 'syslog' }),
    ]) {
      const [trial] = await attempt(one, 400);
      t.notOk(trial.isDelivered, `${what}: ${one.url} ${one.proxy === null ? '' : 'through a proxy'}`);
      t.match(trial.error, /certificate|altnames/i);
    }
    t.equal(seen, 0, `${what}: no request, no token`);
    t.equal(syslog.bytes(), 0, `${what}: no record`);
  }
});

await t.test(
  'a CA, a client certificate and a token that are renewed are used without a restart',
  async (t) => {
    const ca = join(root, 'ca.pem');
    const cert = join(root, 'in-use.pem');
    const key = join(root, 'in-use.key');
    const token = join(root, 'token');
    const put = (from: { cert: string; key: string }): void => {
      writeFileSync(cert, readFileSync(from.cert));
      writeFileSync(key, readFileSync(from.key));
    };
    const client = certificate('client', 'DNS:client.example');
    const wants = {
      ...pem(right),
      requestCert: true,
      rejectUnauthorized: true,
      ca: readFileSync(client.cert),
    };
    let posts = 0;
    const port = await serve(
      t,
      (post, response) => {
        const isRight = post.headers['authorization'] === 'Bearer the-second-token';
        posts += Number(isRight);
        response.writeHead(isRight ? 200 : 401).end(`not ${post.headers['authorization']}`);
      },
      wants,
    );
    const server = createTls(wants, (socket) => {
      socket.on('error', () => {}).resume();
    });
    server.on('tlsClientError', () => {});
    const syslog = await listen(server);
    t.teardown(() => void server.close());

    const url = `https://localhost:${port}/`;
    const tls = { ca, cert, key };
    const steps: readonly (readonly [string, () => void])[] = [
      ['another CA', () => writeFileSync(ca, readFileSync(right.cert))],
      ['another client certificate', () => put(client)],
      ['another token', () => writeFileSync(token, 'the-second-token\n')],
    ];
    for (const [what] of steps) {
      writeFileSync(ca, readFileSync(what === 'another CA' ? other.cert : right.cert));
      put(what === 'another client certificate' ? other : client);
      writeFileSync(token, what === 'another token' ? 'the-first-token\n' : 'the-second-token\n');
      const mend = steps.find(([name]) => name === what)![1];
      const one = config(url, { tls, token: { file: token } });
      const [before, after] = await attempt(one, 5_000, mend);
      t.notOk(before.isDelivered, `${what}: ${before.error}`);
      t.ok(after.isDelivered, `${what}: ${after.error}`);
      t.notMatch(before.log + after.log, /the-(first|second)-token/);
      if (what === 'another token') continue;
      const [first, second] = await attempt(
        config(`tls://localhost:${syslog}`, { tls, type: 'syslog' }),
        5_000,
        () => {
          writeFileSync(ca, readFileSync(right.cert));
          put(client);
        },
      );
      t.ok(first.isDelivered || second.isDelivered, `${what}, syslog: ${second.error}`);
    }
    t.ok(posts >= 3);

    process.env['BW_TEST_TOKEN'] = 'the-second-token';
    const [fromEnvironment] = await attempt(config(url, { tls, token: { env: 'BW_TEST_TOKEN' } }), 5_000);
    t.ok(fromEnvironment.isDelivered, fromEnvironment.error);
    delete process.env['BW_TEST_TOKEN'];
    const [gone] = await attempt(config(url, { tls, token: { env: 'BW_TEST_TOKEN' } }), 300);
    t.match(gone.error, 'token: there is no BW_TEST_TOKEN in the environment');
    const [unset] = await attempt(config(url, { tls, token: { file: join(root, 'nowhere') } }), 300);
    t.match(unset.error, /token cannot be read: ENOENT/);
  },
);
