import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { copyDirectory, readMeta } from '../../src/feeds/copy.js';
import { guardedLookup, refuseUrl } from '../../src/feeds/destination.js';
import { FeedError } from '../../src/feeds/feed-error.js';
import { refreshFeed, type RefreshOutcome } from '../../src/feeds/refresh.js';
import type { FeedSource } from '../../src/intel/feed-source.js';
import { addresses, makeCertificate, makeConfig, makeSource, serveFeeds } from './feed-server.js';

const LIST = `# a list\n${addresses(20)}\n`;

/** A state directory, and refreshes in it. */
function feedIn(t: Test): (source: FeedSource, acceptShrink?: boolean) => Promise<RefreshOutcome> {
  const state = t.testdir({});
  return (source, acceptShrink = false) => {
    const { limits } = makeConfig(state, []);
    return refreshFeed({ kind: 'refresh', state, source, limits, acceptShrink }, () => undefined);
  };
}

/** The one readable line of a refresh that must fail. */
async function failure(refresh: Promise<RefreshOutcome>): Promise<FeedError> {
  try {
    await refresh;
  } catch (error) {
    if (error instanceof FeedError) return error;
    throw error;
  }
  throw new Error('the refresh went well');
}

const send = (
  response: ServerResponse,
  body: string | Buffer,
  headers: Record<string, string> = {},
): void => {
  response.writeHead(200, { 'content-type': 'text/plain', ...headers }).end(body);
};

await t.test('a list, and then nothing new', async (t) => {
  const server = await serveFeeds(t);
  const refresh = feedIn(t);
  server.answer((request, response) => {
    if (request.headers['if-none-match'] === '"v1"') response.writeHead(304).end();
    else send(response, LIST, { etag: '"v1"', 'last-modified': 'Tue, 24 Nov 2026 10:00:00 GMT' });
  });
  const first = await refresh(makeSource({ url: server.url }));
  t.match(first, { hasChanged: true, meta: { indicators: 20, format: 'list', etag: '"v1"' } });
  const second = await refresh(makeSource({ url: server.url }));
  t.equal(second.hasChanged, false);
  t.equal(second.meta.fetchedAt, first.meta.fetchedAt);
  t.ok(second.meta.checkedAt >= first.meta.checkedAt);
  t.match(server.seen[1]?.headers, {
    'if-none-match': '"v1"',
    'if-modified-since': 'Tue, 24 Nov 2026 10:00:00 GMT',
  });
  const moved = await refresh(makeSource({ url: `${server.url}other` }));
  t.equal(moved.hasChanged, true, 'another URL is another list');
  t.equal(server.seen[2]?.headers['if-none-match'], undefined);

  server.answer((_, response) => send(response, LIST, { etag: '"v2"' }));
  const same = await refresh(makeSource({ url: `${server.url}other` }));
  t.equal(same.hasChanged, false, 'the same bytes under a new ETag are nothing new');
  t.equal(same.meta.etag, '"v2"');
});

await t.test('a damaged copy is fetched again in spite of its ETag', async (t) => {
  const server = await serveFeeds(t);
  const state = t.testdir({});
  const { limits } = makeConfig(state, []);
  const job = {
    kind: 'refresh',
    state,
    source: makeSource({ url: server.url }),
    limits,
    acceptShrink: false,
  } as const;
  server.answer((request, response) => {
    if (request.headers['if-none-match'] !== undefined) response.writeHead(304).end();
    else send(response, LIST, { etag: '"v1"' });
  });
  const { meta } = await refreshFeed(job, () => undefined);
  const path = join(copyDirectory(state, 'feed'), meta.files[0]?.name ?? '');
  writeFileSync(path, (await readFile(path, 'utf8')).replace('45.', '46.'));
  t.match(await refreshFeed(job, () => undefined), { hasChanged: true, meta: { indicators: 20 } });
});

await t.test('packed answers', async (t) => {
  const server = await serveFeeds(t);
  for (const [name, body, headers] of [
    ['gzip on the way', gzipSync(LIST), { 'content-encoding': 'gzip' }],
    ['brotli on the way', brotliCompressSync(LIST), { 'content-encoding': 'br' }],
    ['a gzip file', gzipSync(LIST), { 'content-type': 'application/gzip' }],
    ['a gzip file, gzip on the way', gzipSync(gzipSync(LIST)), { 'content-encoding': 'gzip' }],
  ] as const) {
    server.answer((_, response) => send(response, body, headers));
    t.equal((await feedIn(t)(makeSource({ url: server.url }))).meta.indicators, 20, name);
  }
});

await t.test('servers that misbehave leave the last good copy alone', async (t) => {
  const server = await serveFeeds(t);
  const refresh = feedIn(t);
  server.answer((_, response) => send(response, LIST));
  const good = await refresh(makeSource({ url: server.url }));
  const bomb = gzipSync(Buffer.alloc(64 * 2 ** 20));
  const cases: [string, (response: ServerResponse) => void, RegExp, Partial<FeedSource>?][] = [
    ['not found', (r) => r.writeHead(404).end(), /^answered 404$/],
    ['broken', (r) => r.writeHead(500).end('oops'), /^answered 500$/],
    ['wants a key', (r) => r.writeHead(403).end(), /^answered 403: it wants a key; see "headers"$/],
    [
      'a page for people',
      (r) => send(r, LIST, { 'content-type': 'text/html; charset=utf-8' }),
      /web page \(text\/html\)/,
    ],
    ['of no format', (r) => send(r, '\u0000\u0001'), /cannot be used|no indicators/],
    ['empty', (r) => send(r, ''), /cannot be used|no indicators/],
    ['comments alone', (r) => send(r, '# nothing today\n'), /no indicators|cannot be used/],
    ['less than half', (r) => send(r, addresses(9)), /shrank from 20 to 9 .*--accept-shrink feed/],
    ['no answer', () => undefined, /no answer within "idle"/, { idle: 100 }],
    [
      'an answer that stops',
      (r) => void r.writeHead(200, { 'content-type': 'text/plain' }).write(LIST),
      /nothing more came within "idle"/,
      { idle: 100 },
    ],
    [
      'a byte at a time',
      (r) => {
        r.writeHead(200, { 'content-type': 'text/plain' });
        const drip = setInterval(() => void r.write('1'), 20);
        r.on('close', () => clearInterval(drip));
      },
      /took longer than "timeout", 300 ms/,
      { timeout: 300 },
    ],
    [
      'cut short',
      (r) => r.writeHead(200, { 'content-length': '9999' }).write(LIST, () => r.destroy()),
      /cut short|broke/,
    ],
    [
      'cut short in chunks',
      (r) => r.writeHead(200, { 'content-type': 'text/plain' }).write(LIST, () => r.destroy()),
      /cut short|broke/,
    ],
    [
      'a gzip cut short',
      (r) => send(r, gzipSync(LIST).subarray(0, 40), { 'content-encoding': 'gzip' }),
      /packed answer/,
    ],
    ['no gzip at all', (r) => send(r, LIST, { 'content-encoding': 'gzip' }), /packed answer is damaged/],
    [
      'an unknown encoding',
      (r) => send(r, LIST, { 'content-encoding': 'zstd' }),
      /encoding "zstd" is not known/,
    ],
    [
      'packed often',
      (r) => send(r, LIST, { 'content-encoding': 'gzip, gzip, gzip' }),
      /packed more than twice/,
    ],
    [
      'said to be huge',
      (r) => r.writeHead(200, { 'content-length': '99999999' }).write('x'),
      /larger than maxSize/,
    ],
    [
      'endless',
      (r) => {
        const more = (): void => {
          while (!r.destroyed && r.write('45.0.0.1\n'.repeat(1000)));
        };
        r.writeHead(200, { 'content-type': 'text/plain' }).on('drain', more);
        more();
      },
      /larger than maxSize/,
    ],
    ['a bomb on the way', (r) => send(r, bomb, { 'content-encoding': 'gzip' }), /larger than maxSize/],
    ['a bomb as a file', (r) => send(r, bomb), /larger than maxSize when unpacked/],
    ['hanging up', (r) => r.destroy(), /connection broke/],
    ['resetting', (r) => void (r.socket?.resetAndDestroy() ?? r.destroy()), /connection broke/],
    [
      '304 without a question',
      (r) => r.writeHead(304).end(),
      /304 without having been asked/,
      { url: `${server.url}new` },
    ],
    ['round and round', (r) => r.writeHead(302, { location: '/' }).end(), /redirected more than 3 times/],
    ['to nowhere', (r) => r.writeHead(302).end(), /redirected to nowhere/],
    [
      'to a file',
      (r) => r.writeHead(302, { location: 'file:///etc/passwd' }).end(),
      /redirected from http: ?\/\/ to file/,
    ],
  ];
  for (const [name, misbehave, expected, overrides] of cases) {
    server.answer((_, response) => misbehave(response));
    const error = await failure(refresh(makeSource({ url: server.url, ...overrides })));
    t.match(error.message, expected, name);
    t.notMatch(error.message, /\n/, `${name}: one line`);
  }
  server.answer((_, response) => response.writeHead(304).end());
  t.match(await refresh(makeSource({ url: server.url })), {
    hasChanged: false,
    meta: { files: good.meta.files },
  });
});

await t.test('what a server wants to be asked next is kept', async (t) => {
  const server = await serveFeeds(t);
  const at = new Date(Date.now() + 100_000).toUTCString();
  for (const [header, least, most] of [
    ['120', 120_000, 120_000],
    [at, 60_000, 101_000],
    ['999999999', 86_400_000, 86_400_000],
    ['soon', 0, 0],
    ['-5', 0, 0],
  ] as const) {
    for (const status of [429, 503]) {
      server.answer((_, response) => response.writeHead(status, { 'retry-after': header }).end());
      const error = await failure(feedIn(t)(makeSource({ url: server.url })));
      t.equal(error.status, status);
      t.ok(error.retryAfter >= least && error.retryAfter <= most, `${header}: ${error.retryAfter}`);
    }
  }
});

await t.test('an empty or a smaller feed passes when the user says so', async (t) => {
  const server = await serveFeeds(t);
  const refresh = feedIn(t);
  server.answer((_, response) => send(response, LIST));
  await refresh(makeSource({ url: server.url }));
  server.answer((_, response) => send(response, addresses(2)));
  await t.rejects(refresh(makeSource({ url: server.url })), /shrank from 20 to 2/);
  t.match(await refresh(makeSource({ url: server.url }), true), {
    hasChanged: true,
    meta: { indicators: 2 },
  });
  t.match(await readFile(join(t.testdirName, 'sources/feed/meta.json'), 'utf8'), '"indicators":2');
});

await t.test('redirects do not lead to where feeds must not', async (t) => {
  const server = await serveFeeds(t);
  const port = new URL(server.url).port;
  const targets = [
    `http://169.254.169.254/latest/meta-data/`,
    `http://[::ffff:169.254.169.254]/`,
    `http://[64:ff9b::a9fe:a9fe]/`,
    'http://2852039166/',
    'http://10.0.0.1/',
    'http://192.168.1.1/',
    'http://[fd00::1]/',
    'http://[fe80::1]/',
    'http://0.0.0.0/',
    'http://127.1:1/',
    `http://localhost:${port}/x`,
    `http://a.localhost:${port}/x`,
    'http://100.100.100.200/',
    'http://168.63.129.16/',
  ];
  for (const target of targets) {
    server.answer((_, response) => response.writeHead(302, { location: target }).end());
    const refused = refuseUrl(new URL(target), { host: 'feeds.example.com', internal: true });
    t.match(refused, /is not a public address/, target);
    // The same over the wire; the feed itself is on 127.0.0.1, which is then the one place that is allowed.
    if (!target.includes('127.1')) {
      t.match(
        (await failure(feedIn(t)(makeSource({ url: server.url })))).message,
        /redirected: .* not a public address/,
      );
    }
  }
  t.equal(
    refuseUrl(new URL('http://198.51.100.7/'), { host: 'feeds.example.com', internal: false }),
    undefined,
  );
  server.answer((request, response) => {
    if (request.url === '/') response.writeHead(302, { location: '/moved' }).end();
    else send(response, LIST);
  });
  t.equal((await feedIn(t)(makeSource({ url: server.url }))).meta.indicators, 20, 'on the same host');
});

await t.test('names are judged by the address that is connected to', async (t) => {
  const look = (name: string, host: string, internal = false): Promise<string> =>
    new Promise((resolve) => {
      guardedLookup({ host, internal })(name, { all: true }, (error, found) => {
        resolve(error === null ? JSON.stringify(found) : error.message);
      });
    });
  t.match(await look('localhost', 'feeds.example.com'), /localhost has the address .* which is not public/);
  t.match(await look('localhost', 'localhost'), /127\.0\.0\.1|::1/, 'where the config says so');
  t.match(await look('no-such-name.invalid', 'no-such-name.invalid'), /ENOTFOUND|EAI_AGAIN/);
});

await t.test('keys go to the server of the feed alone', async (t) => {
  const server = await serveFeeds(t);
  const other = await serveFeeds(t);
  const refresh = feedIn(t);
  const key = join(t.testdirName, 'key');
  writeFileSync(key, 'from-file\n');
  process.env['BW_TEST_KEY'] = 'from-env';
  t.teardown(() => delete process.env['BW_TEST_KEY']);
  const headers = {
    'Auth-Key': { text: 'secret' },
    'X-Env': { env: 'BW_TEST_KEY' },
    'X-File': { file: key },
  };
  server.answer((request, response) => {
    if (request.url === '/') response.writeHead(302, { location: `${other.url}there` }).end();
    else send(response, LIST);
  });
  other.answer((_, response) => send(response, LIST));
  await refresh(makeSource({ url: server.url, headers }));
  t.match(server.seen[0]?.headers, { 'auth-key': 'secret', 'x-env': 'from-env', 'x-file': 'from-file' });
  for (const name of ['auth-key', 'x-env', 'x-file']) t.notOk(other.seen[0]?.headers[name], name);

  const missing = await failure(
    refresh(makeSource({ url: server.url, headers: { K: { env: 'BW_NOT_SET' } } })),
  );
  t.match(missing.message, /header K: there is no BW_NOT_SET in the environment/);
  const split = await failure(
    refresh(makeSource({ url: server.url, headers: { K: { text: 'hush\r\nX: y' } } })),
  );
  t.match(split.message, /header K: its value/);
  t.notMatch(split.message, /hush/);
});

await t.test('TLS is verified', async (t) => {
  const certificate = makeCertificate(t);
  if (certificate === undefined) {
    t.comment('SKIPPED, NOT TESTED: there is no openssl');
    return;
  }
  const server = await serveFeeds(t, certificate);
  server.answer((_, response) => send(response, LIST));
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
  t.teardown(() => delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']);
  t.match((await failure(feedIn(t)(makeSource({ url: server.url })))).message, /self-signed certificate/);
  const tls = { ca: certificate.cert };
  t.equal((await feedIn(t)(makeSource({ url: server.url, tls }))).meta.indicators, 20);
  const wrong = server.url.replace('localhost', '127.0.0.1');
  t.match((await failure(feedIn(t)(makeSource({ url: wrong, tls })))).message, /IP|altname/i, 'another name');
  const plain = await serveFeeds(t);
  server.answer((_, response) => response.writeHead(302, { location: plain.url }).end());
  const down = await failure(feedIn(t)(makeSource({ url: server.url, tls })));
  t.match(down.message, /redirected from https:\/\/ to http:/, 'no way down to plain HTTP');
  t.equal(plain.seen.length, 0);
});

await t.test('through a proxy', async (t) => {
  const server = await serveFeeds(t);
  server.answer((_, response) => send(response, LIST));
  const tunnels: string[] = [];
  const proxy = createServer().on('connect', (request, socket) => {
    tunnels.push(request.url ?? '');
    const [, port] = (request.url ?? '').split(':');
    const upstream = connect(Number(port), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      upstream.pipe(socket).pipe(upstream);
    });
    socket.on('error', () => upstream.destroy()).on('close', () => upstream.destroy());
    upstream.on('error', () => socket.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.teardown(() => proxy.close());
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  t.equal(
    (await feedIn(t)(makeSource({ url: server.url, proxy: url }))).meta.indicators,
    20,
    'from the config',
  );
  t.same(tunnels, [new URL(server.url).host]);
  process.env['HTTP_PROXY'] = url;
  t.teardown(() => delete process.env['HTTP_PROXY']);
  await feedIn(t)(makeSource({ url: server.url, proxy: undefined }));
  t.equal(tunnels.length, 2, 'from the environment');
  await feedIn(t)(makeSource({ url: server.url, proxy: null }));
  t.equal(tunnels.length, 2, 'none where the config says so');
});

await t.test('files', async (t) => {
  const directory = t.testdir({ 'list.txt': LIST, 'empty.txt': '', sub: {} });
  const at = (name: string): FeedSource => makeSource({ url: `file://${join(directory, name)}` });
  const { limits } = makeConfig(directory, []);
  const refresh = (source: FeedSource): Promise<RefreshOutcome> =>
    refreshFeed(
      { kind: 'refresh', state: join(directory, 'state'), source, limits, acceptShrink: false },
      () => undefined,
    );
  t.match(await refresh(at('list.txt')), { hasChanged: true, meta: { indicators: 20 } });
  t.match(await refresh(at('list.txt')), { hasChanged: false });
  writeFileSync(join(directory, 'list.txt'), addresses(3));
  t.match((await failure(refresh(at('list.txt')))).message, /shrank from 20 to 3/);
  writeFileSync(join(directory, 'list.txt'), '');
  t.match((await failure(refresh(at('list.txt')))).message, /no indicators|cannot be used/);
  t.match((await failure(refresh(at('missing.txt')))).message, /cannot be read: ENOENT/);
  t.match((await failure(refresh(at('sub')))).message, /is no plain file/);
  t.match((await failure(refresh(makeSource({ url: 'file:///dev/zero' })))).message, /is no plain file/);
  t.equal((await readMeta(join(directory, 'state'), 'feed'))?.indicators, 20, 'the last good copy stays');
});
