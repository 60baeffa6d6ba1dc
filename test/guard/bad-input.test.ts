import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { FIN, RESET, talk, type Part } from '../support/raw.js';
import { bytes, echo, hang, json, reset, type Behaviour } from '../support/recording-upstream.js';
import { chunked, create, EVIL, get, HARMLESS, lines, PING, POLICY, post, postJson } from './case.js';
import { ping, startGuarded, unpaired, type Guarded } from './guarded.js';

const MIB = 2 ** 20;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until(check: () => boolean | Promise<boolean>, ms = 10_000): Promise<boolean> {
  const end = performance.now() + ms;
  for (;;) {
    if (await check()) return true;
    if (performance.now() > end) return false;
    await sleep(20);
  }
}

/** After whatever happened: the guard serves, nothing is left running or held, and the audit trail is whole. */
async function checkWell(t: Test, guarded: Guarded): Promise<void> {
  guarded.upstream.behave = json();
  guarded.upstream.onHead = undefined;
  t.equal(await ping(guarded.tcp), 200, 'the guard serves');
  t.ok(await until(async () => (await guarded.metric('breakwater_calls_open')) === 0), 'no call is left');
  t.equal(await guarded.metric('breakwater_buffered_body_bytes'), 0, 'no body is left in memory');
  t.strictSame(unpaired(guarded.auditText()), [], 'one decision and one outcome for each call');
}

/**
 * Opens 200 connections for each byte of its stdin, and keeps them until that ends. Not all at once: a server that is asked
 * for more than its backlog answers with SYN cookies, and forgets a connection whose last ACK finds the backlog full, while
 * the client, which has nothing to send, goes on believing in it.
 */
const MANY = `
  const { connect } = require('node:net');
  const port = Number(process.argv[1]);
  process.stdin.on('data', (asked) => {
    for (let i = 0; i < 200 * asked.length; i++) connect(port, '127.0.0.1').on('error', () => {});
  });
  process.stdin.on('end', () => process.exit());
`;

const small = await startGuarded({
  policy: POLICY,
  limits: {
    headersTimeout: 1_000,
    bodyTimeout: 400,
    bodyIdle: 400,
    idle: 600,
    body: 512 * 1024,
    buffered: MIB,
  },
  upstreamTimeout: 400,
  upstreamOn: 'tcp',
});
t.teardown(() => small.close());

const LOAD = ['POST /v1.41/images/load HTTP/1.1', 'Host: docker', 'Content-Type: application/x-tar'];
const CREATE_HEAD = [
  'POST /v1.41/containers/create HTTP/1.1',
  'Host: docker',
  'Content-Type: application/json',
];
const UPGRADE = ['Connection: Upgrade', 'Upgrade: tcp'];

await t.test('slow clients are cut within their limits', async (t) => {
  const slowHead: Part[] = [];
  for (const character of PING.slice(0, -4)) slowHead.push(character, 200);
  const [head, silent, idle, body, upgraded, trickle] = await Promise.all([
    talk(small.tcp, slowHead, { answers: 0 }),
    talk(small.tcp, [], { answers: 0 }),
    talk(small.tcp, [PING], { answers: 0 }),
    talk(small.tcp, [lines([...CREATE_HEAD, 'Content-Length: 50'], '{"Image"')], {}),
    talk(small.tcp, [lines([...CREATE_HEAD, ...UPGRADE, 'Content-Length: 50'], '{"Image"')], {}),
    talk(small.tcp, [
      lines([...CREATE_HEAD, 'Content-Length: 50'], '{'),
      ...Array.from({ length: 20 }, () => [60, ' ']).flat(),
    ]),
  ]);
  t.equal(head.answers[0]?.status, 408, 'a head of one byte every 200 ms');
  t.ok(head.closed !== 'open' && head.ms < 3_500, `cut after ${Math.round(head.ms)} ms`);
  t.ok(silent.closed !== 'open' && silent.ms < 3_500, 'a connection that says nothing is closed');
  t.equal(idle.answers[0]?.status, 200);
  t.ok(idle.closed === 'end' && idle.ms < 3_500, 'a kept connection without another request is closed');
  for (const [name, got] of Object.entries({ body, upgraded, trickle })) {
    t.equal(got.answers[0]?.status, 408, `${name}: a body that does not come`);
    t.ok(got.ms < 1_500, `${name}: after ${Math.round(got.ms)} ms`);
  }
  t.ok((await small.metric('breakwater_client_errors_total{reason="head-timeout"}')) >= 2, 'counted');
  const slow = 'breakwater_decisions_total{operation="ContainerCreate",verdict="deny",code="body-timeout"}';
  t.equal(await small.metric(slow), 3, 'counted');
  await checkWell(t, small);
});

await t.test(
  'a streamed body that falls silent is cut, and the engine does not take it for whole',
  async (t) => {
    for (const framing of ['Content-Length: 50', 'Transfer-Encoding: chunked']) {
      small.upstream.forget();
      small.upstream.behave = hang;
      const got = await talk(small.tcp, [lines([...LOAD, framing], '5\r\nhello\r\n')]);
      t.equal(got.answers[0]?.status, 408, framing);
      t.ok(got.ms < 1_500, `after ${Math.round(got.ms)} ms`);
      t.ok(await until(() => small.upstream.requests[0]?.gone === true), 'the engine’s side is gone');
      t.equal(small.upstream.requests[0]?.complete, false, 'and never was whole');
    }
    await checkWell(t, small);
  },
);

await t.test('heads that are too large are answered 431', async (t) => {
  const line = 'a'.repeat(64 * 1024);
  for (const [name, text] of Object.entries({
    value: get('/_ping', `X-A: ${line}`),
    name: get('/_ping', `${line}: x`),
    target: get(`/${line}`),
    method: `${line} / HTTP/1.1\r\n\r\n`,
    'many headers': get('/_ping', ...Array.from({ length: 5_000 }, (_, i) => `X-${i}: abc`)),
  })) {
    const got = await talk(small.tcp, [text], { answers: 0 });
    t.equal(got.answers[0]?.status, name === 'method' ? 400 : 431, name);
    t.not(got.closed, 'open', 'and the connection is closed');
  }
  t.equal(await small.metric('breakwater_client_errors_total{reason="header-too-large"}'), 4, 'counted');
  await checkWell(t, small);
});

await t.test('a head that never ends is cut at its limit, not collected', async (t) => {
  const endless = Array.from({ length: 400 }, () => `X-A: ${'b'.repeat(1000)}\r\n`);
  const got = await talk(small.tcp, ['GET /_ping HTTP/1.1\r\n', ...endless], { answers: 0 });
  t.equal(got.answers[0]?.status ?? 431, 431);
  t.not(got.closed, 'open');
  await checkWell(t, small);
});

await t.test('bodies of all calls together are bounded', async (t) => {
  const half = `{"Image":"${'a'.repeat(300 * 1024)}`;
  const parts = [lines([...CREATE_HEAD, `Content-Length: ${half.length + 10}`], half)];
  const running = Array.from({ length: 12 }, () => talk(small.tcp, parts));
  let most = 0;
  const watch = (async () => {
    for (let i = 0; i < 8; i++, await sleep(30)) {
      most = Math.max(most, await small.metric('breakwater_buffered_body_bytes'));
    }
  })();
  const statuses = (await Promise.all(running)).map(({ answers }) => answers[0]?.status);
  await watch;
  t.ok(most > 0 && most <= MIB, `at most ${most} bytes held`);
  t.ok(statuses.includes(503), 'some are turned away');
  t.ok(
    statuses.every((status) => status === 503 || status === 408),
    statuses.join(),
  );
  await checkWell(t, small);
});

await t.test('500 pipelined requests are answered or cut, and do not multiply', async (t) => {
  small.upstream.forget();
  const few = await talk(small.tcp, [PING.repeat(50)], { answers: 50 });
  t.equal(few.answers.filter(({ status }) => status === 200).length, 50, '50 are answered, in order');
  small.audit();
  const many = await talk(small.tcp, [PING.repeat(500)], { answers: 500 });
  const recorded = small.audit().length;
  t.ok(many.answers.length === 500 || many.closed !== 'open', `${many.answers.length}, ${many.closed}`);
  t.ok(recorded <= 1_010, `${recorded} lines on record`);
  if (many.answers.length < 500) {
    t.equal(await small.metric('breakwater_client_errors_total{reason="pipeline"}'), 1, 'counted once');
  }
  t.ok(small.upstream.open() <= 4, 'one call at a time for each connection');
  await checkWell(t, small);
});

await t.test('half-open connections', async (t) => {
  small.upstream.behave = (request, socket) => void setTimeout(() => json()(request, socket), 100);
  const whole = await talk(small.tcp, [PING, FIN], { answers: 0 });
  t.equal(whole.answers[0]?.status, 200, 'the end after a whole request: it is answered');
  t.equal(whole.closed, 'end');
  const body = await talk(small.tcp, [create(HARMLESS), FIN], { answers: 0 });
  t.equal(body.answers[0]?.status, 200, 'the same with a body');
  const two = await talk(small.tcp, [PING + PING, FIN], { answers: 0 });
  t.strictSame(
    two.answers.map(({ status }) => status),
    [200, 200],
    'the same with two requests',
  );
  for (const [name, part] of Object.entries({
    'in the request line': 'GET /_pi',
    'in a header': 'GET /_ping HTTP/1.1\r\nHos',
    'before the empty line': 'GET /_ping HTTP/1.1\r\nHost: docker\r\n',
    'in a body': lines([...CREATE_HEAD, 'Content-Length: 50'], '{"Im'),
    'in an upgraded body': lines([...CREATE_HEAD, ...UPGRADE, 'Content-Length: 50'], '{"Im'),
    'in chunks': lines([...CREATE_HEAD, 'Transfer-Encoding: chunked'], '5\r\n{"Im'),
  })) {
    small.upstream.forget();
    const got = await talk(small.tcp, [part, FIN], { answers: 0 });
    t.equal(got.answers[0]?.status, 400, `the end ${name}`);
    t.not(got.closed, 'open');
    t.equal(small.upstream.requests.length, 0);
  }
  const nothing = await talk(small.tcp, [FIN], { answers: 0 });
  t.equal(nothing.closed, 'end', 'the end before anything');
  await checkWell(t, small);
});

await t.test('a streamed body that ends early never ends cleanly for the engine', async (t) => {
  for (const end of [FIN, RESET] as const) {
    for (const text of [
      lines([...LOAD, 'Content-Length: 50'], 'context'),
      lines([...LOAD, 'Transfer-Encoding: chunked'], '7\r\ncontext\r\n'),
      lines([...LOAD, ...UPGRADE, 'Content-Length: 50'], 'context'),
      lines([...LOAD, ...UPGRADE, 'Transfer-Encoding: chunked'], '7\r\ncontext\r\n'),
    ]) {
      small.upstream.forget();
      small.upstream.behave = hang;
      const isAtEngine = (): Promise<boolean> => until(() => small.upstream.requests.length > 0);
      await talk(small.tcp, [text, isAtEngine, 40, end], { answers: 0, timeout: 5_000 });
      const name = `${end.toString()} of ${text.slice(80, 140)}`;
      t.ok(await until(() => small.upstream.requests[0]?.gone === true), name);
      t.equal(small.upstream.requests[0]?.complete, false, name);
    }
  }
  await checkWell(t, small);
});

await t.test('a client that leaves a silent stream closes the engine’s side within a second', async (t) => {
  const events = bytes('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n');
  for (const end of [FIN, RESET] as const) {
    small.upstream.forget();
    small.upstream.behave = events;
    const got = await talk(small.tcp, [get('/v1.41/events'), 100, end], { answers: 0, timeout: 1_500 });
    t.ok(got.text.includes('{}\n') || end === RESET, 'the event came');
    t.ok(await until(() => small.upstream.requests[0]?.gone === true, 1_000), 'the engine’s side is closed');
  }
  small.upstream.forget();
  small.upstream.behave = echo();
  await talk(small.tcp, [postJson('/exec/a/start', '{}', ...UPGRADE), 100, RESET], { timeout: 1_500 });
  t.ok(await until(() => small.upstream.requests[0]?.gone === true, 1_000), 'the same of a tunnel');
  await checkWell(t, small);
});

await t.test('an engine that misbehaves', async (t) => {
  const ask = (behave: Behaviour, text = get('/version')): ReturnType<typeof talk> => {
    small.upstream.behave = behave;
    return talk(small.tcp, [text], { linger: 60 });
  };
  const hung = await ask(hang);
  t.equal(hung.answers[0]?.status, 504, 'hangs');
  t.ok(hung.ms < 2_500, `answered after ${Math.round(hung.ms)} ms`);
  const halfHead = await ask(bytes('HTTP/1.1 200 OK\r\nContent-'));
  t.equal(halfHead.answers[0]?.status, 504, 'hangs within its head');

  for (const [name, behave] of Object.entries<Behaviour>({
    'resets at once': reset,
    'ends at once': bytes('', 'end'),
    'ends within its head': bytes('HTTP/1.1 200 OK\r\nContent-', 'end'),
    'is no HTTP server': bytes('SSH-2.0-OpenSSH_9.2\r\n', 'end'),
    'sends a bad status line': bytes('HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n', 'end'),
    'sends random bytes': bytes('\x00\xff\x10\r\n\r\n\x80'.repeat(20), 'end'),
    'upgrades what nobody asked to upgrade': bytes(
      'HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhello',
    ),
    'sends a head of 1 MiB': bytes(`HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(MIB)}\r\n\r\n`, 'end'),
    'sends a NUL in a header': bytes('HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n', 'end'),
    'sends two lengths': bytes(
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\nhello',
      'end',
    ),
  })) {
    const got = await ask(behave);
    t.equal(got.answers[0]?.status, 502, name);
    t.equal(got.answers.length, 1, name);
  }
  t.ok((await small.metric('breakwater_outcomes_total{end="upstream-error",status="5xx"}')) >= 10, 'counted');
  t.ok(
    (await small.metric('breakwater_outcomes_total{end="upstream-timeout",status="5xx"}')) >= 2,
    'counted',
  );

  for (const [name, behave] of Object.entries<Behaviour>({
    'resets within a body of known length': bytes(
      'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello',
      'reset',
    ),
    'ends within a body of known length': bytes('HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello', 'end'),
    'ends within a long body': bytes('HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\nhello', 'end'),
    'resets within chunks': bytes(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
      'reset',
    ),
    'ends within chunks': bytes('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n', 'end'),
    'sends a bad chunk': bytes('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n'),
    'falls silent within a body': bytes('HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\nhello'),
  })) {
    small.upstream.behave = behave;
    const got = await talk(small.tcp, [get('/version')]);
    const first = got.answers[0];
    t.notOk(first?.status === 200 && first.complete, `${name}: the answer does not look whole`);
    t.ok(got.closed !== 'open' || (first?.status ?? 0) >= 502, `${name}: it is an error, or cut`);
  }
  await checkWell(t, small);
});

await t.test('what an engine sends beyond its answer is nobody’s answer', async (t) => {
  const poison = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison';
  small.upstream.behave = bytes(`HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello${poison}`);
  const first = await talk(small.tcp, [get('/version')], { linger: 60 });
  t.equal(first.answers.length, 1);
  small.upstream.behave = json();
  for (let i = 0; i < 5; i++) {
    const next = await talk(small.tcp, [get('/version')]);
    t.equal(next.answers[0]?.body.toString(), '{"ok":true}', 'the next call gets its own answer');
  }
  await checkWell(t, small);
});

await t.test('an early answer of the engine reaches a client that is still sending', async (t) => {
  small.upstream.onHead = (_request, socket) => {
    socket.end(
      'HTTP/1.1 500 X\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{"message":"bad"}',
    );
    return true;
  };
  const piece = 'x'.repeat(64 * 1024);
  const got = await talk(small.tcp, [
    lines([...LOAD, `Content-Length: ${32 * piece.length}`], ''),
    ...Array.from({ length: 32 }, () => [piece, 2]).flat(),
  ]);
  t.equal(got.answers[0]?.status, 500, got.text.slice(0, 200));
  await checkWell(t, small);
});

await t.test('an engine that is not there', async (t) => {
  const alone = await startGuarded({ policy: POLICY, upstreamUrl: 'unix:///nowhere/docker.sock' });
  const got = await talk(alone.tcp, [PING + create(HARMLESS)], { answers: 2 });
  t.strictSame(
    got.answers.map(({ status }) => status),
    [502, 502],
  );
  t.match(got.answers[0]?.body.toString(), /is it running/);
  t.strictSame(unpaired(alone.auditText()), []);
  await alone.close();
});

await t.test('memory does not follow what one side sends and the other does not read', async (t) => {
  let written = 0;
  small.upstream.behave = (_request, socket) => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
    const piece = Buffer.from(`10000\r\n${'x'.repeat(0x10000)}\r\n`);
    const pour = (): void => {
      while (written < 512 * MIB && !socket.destroyed) {
        written += piece.length;
        if (!socket.write(piece)) break;
      }
    };
    socket.on('drain', pour);
    pour();
  };
  const reader = connect(small.tcp);
  reader.on('error', () => {});
  reader.write(get('/v1.41/containers/a/logs?stdout=1'));
  reader.pause();
  await sleep(500);
  t.ok(written < 32 * MIB, `a download nobody reads: ${Math.round(written / MIB)} MiB taken from the engine`);
  reader.destroy();

  small.upstream.onHead = (_request, socket) => {
    socket.pause();
    return true;
  };
  const writer = connect(small.tcp);
  writer.on('error', () => {});
  let sent = 0;
  const piece = Buffer.alloc(0x10000, 120);
  const pour = (): void => {
    while (sent < 512 * MIB && !writer.destroyed) {
      sent += piece.length;
      if (!writer.write(piece)) break;
    }
  };
  writer.write(lines([...LOAD, `Content-Length: ${512 * MIB}`]));
  writer.on('drain', pour);
  pour();
  await sleep(300);
  t.ok(sent < 32 * MIB, `an upload nobody reads: ${Math.round(sent / MIB)} MiB taken from the client`);
  writer.destroy();
  await checkWell(t, small);
});

/** A client that is cut off, or cuts itself off, at some point. */
const SCENARIOS: readonly (readonly [text: string, behave: Behaviour])[] = [
  [PING, json()],
  [PING + PING + EVIL, (request, socket) => void setTimeout(() => json()(request, socket), 20)],
  [create(HARMLESS), json()],
  [chunked('POST', '/v1.41/images/load', ['Content-Type: application/x-tar'], 'context'.repeat(50)), json()],
  [get('/v1.41/events'), bytes('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n')],
  [`${postJson('/exec/a/start', '{}', ...UPGRADE)}early stdin`, echo(10)],
  [post('/v1.41/containers/a/attach?stream=1', ...UPGRADE), echo()],
  [create(HARMLESS, ...UPGRADE), json()],
  [get('/version'), hang],
  [get('/version'), reset],
  [get('/version'), bytes('HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\nhello', 'reset')],
  [postJson('/exec/a/start', '{}', ...UPGRADE), reset],
  [EVIL, json()],
  [create('{"Image":'), json()],
];

await t.test('connections cut at any point leave nothing behind', async (t) => {
  const before = process.memoryUsage().rss;
  const cut = fc.record({
    scenario: fc.integer({ min: 0, max: SCENARIOS.length - 1 }),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    pause: fc.integer({ min: 0, max: 30 }),
    end: fc.constantFrom(FIN, RESET, undefined),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(cut, { minLength: 1, maxLength: 12 }), async (cuts) => {
      await Promise.all(
        cuts.map(async ({ scenario, at, pause, end }) => {
          const [text, behave] = SCENARIOS[scenario]!;
          small.upstream.behave = behave;
          const stop = Math.ceil(at * text.length);
          const parts: Part[] = [text.slice(0, stop), pause];
          if (end !== undefined) parts.push(end);
          await talk(small.tcp, parts, { answers: 0, timeout: pause + 60 });
        }),
      );
      small.upstream.behave = json();
      return (await ping(small.tcp)) === 200;
    }),
    { numRuns: 60, seed: 20260101 },
  );
  const bodies = small.upstream.requests.map(({ body }) => body.toString());
  t.notOk(
    bodies.some((body) => body.includes('Privileged')),
    'nothing denied has reached the engine',
  );
  await checkWell(t, small);
  t.ok(await until(() => small.upstream.open() <= 32), `${small.upstream.open()} connections to the engine`);
  const grown = (process.memoryUsage().rss - before) / MIB;
  t.ok(grown < 150, `memory grew by ${Math.round(grown)} MiB`);
});

await t.test('random bytes', async (t) => {
  const source = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 600 }).map((some) => Buffer.from(some).toString('latin1')),
    // A valid request with a few bytes replaced, removed or put in.
    fc
      .tuple(
        fc.constantFrom(EVIL, PING + EVIL, SCENARIOS[3]![0], SCENARIOS[5]![0], create(HARMLESS, ...UPGRADE)),
        fc.array(
          fc.tuple(
            fc.double({ min: 0, max: 0.999, noNaN: true }),
            fc.integer({ min: 0, max: 1 }),
            fc.constantFrom(
              '',
              '\r',
              '\n',
              '\0',
              ' ',
              ':',
              '\t',
              '/',
              '%',
              '\xff',
              '0',
              'chunked',
              '\r\n\r\n',
            ),
          ),
          { minLength: 1, maxLength: 4 },
        ),
      )
      .map(([text, edits]) => {
        let edited = text;
        for (const [place, remove, insert] of edits) {
          const at = Math.floor(place * edited.length);
          edited = edited.slice(0, at) + insert + edited.slice(at + remove);
        }
        return edited;
      }),
  );
  small.upstream.forget();
  await fc.assert(
    fc.asyncProperty(fc.array(source, { minLength: 8, maxLength: 8 }), async (texts) => {
      const got = await Promise.all(
        texts.map((text) => talk(small.tcp, [text, FIN], { answers: 0, timeout: 4_000 })),
      );
      if (got.some(({ timedOut }) => timedOut)) throw new Error('a connection stayed open');
    }),
    { numRuns: 50, seed: 20260102 },
  );
  const reached = small.upstream.requests;
  t.notOk(
    reached.some(({ body }) => /"Privileged":true/.test(body.toString())),
    `nothing denied among ${reached.length} requests that reached the engine`,
  );
  t.ok(reached.every(({ call }) => /^(GET|POST|HEAD|PUT|DELETE) \/[!-~]*$/.test(call)));
  await checkWell(t, small);
});

await t.test('more connections than are allowed are turned away and counted', async (t) => {
  const guarded = await startGuarded({ policy: POLICY, limits: { connections: 100 } });
  const sockets = await openMany(guarded.tcp.port, 300);
  t.ok(await until(async () => (await guarded.metric('breakwater_connections_dropped_total')) >= 200));
  t.equal(await guarded.metric('breakwater_connections_open'), 100);
  const one = sockets.find(({ destroyed }) => !destroyed)!;
  const answered = new Promise<string>((resolve) => one.once('data', (chunk) => resolve(chunk.toString())));
  one.write(PING);
  t.match(await answered, /^HTTP\/1.1 200/, 'those that are in are served');
  for (const socket of sockets) socket.destroy();
  t.ok(await until(async () => (await ping(guarded.tcp)) === 200), 'and others afterwards');
  await guarded.close();
});

await t.test('2,000 connections that say nothing are closed after the time for a head', async (t) => {
  const before = process.memoryUsage().rss;
  const sockets = await openMany(small.tcp.port, 2_000);
  t.equal(await ping(small.tcp), 200, 'another client is served meanwhile');
  t.ok(
    await until(async () => (await small.metric('breakwater_connections_open')) <= 5, 8_000),
    'all are closed',
  );
  for (const socket of sockets) socket.destroy();
  const grown = (process.memoryUsage().rss - before) / MIB;
  t.ok(grown < 150, `memory grew by ${Math.round(grown)} MiB`);
  await checkWell(t, small);
});

await t.test('10,000 idle connections', async (t) => {
  const limit = Number(
    /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? 1024,
  );
  const count = Math.min(10_000, limit - 500);
  if (count < 10_000)
    t.comment(`ONLY ${count} CONNECTIONS: this process may open ${limit} files (ulimit -n)`);
  const guarded = await startGuarded({ policy: POLICY, limits: { headersTimeout: 180_000 } });
  const before = process.memoryUsage().rss;
  // In another process: each end of a connection takes a file descriptor.
  const client = spawn(process.execPath, ['-e', MANY, String(guarded.tcp.port)], {
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const open = (): Promise<number> => guarded.metric('breakwater_connections_open');
  const deadline = performance.now() + 90_000;
  for (let asked = 200; asked <= count && performance.now() < deadline; asked += 200) {
    client.stdin.write('+');
    await until(async () => (await open()) >= asked, 5_000);
  }
  t.ok((await open()) >= count - (count % 200), `${await open()} connections are open`);
  const started = performance.now();
  t.equal(await ping(guarded.tcp), 200, 'another client is served');
  t.ok(performance.now() - started < 1_000, 'soon');
  const grown = (process.memoryUsage().rss - before) / MIB;
  t.comment(`${count} idle connections: ${Math.round(grown)} MiB`);
  t.ok(grown < 300, 'memory is bounded');
  client.stdin.end();
  t.ok(await until(async () => (await open()) === 0, 10_000), 'all are gone with their client');
  await guarded.close();
});

async function openMany(port: number, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  for (let i = 0; i < count; i += 200) {
    const some = Array.from({ length: Math.min(200, count - i) }, () => connect(port, '127.0.0.1'));
    for (const socket of some) socket.on('error', () => {}).resume();
    await Promise.all(some.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
    sockets.push(...some);
  }
  return sockets;
}

await t.test(
  'a graceful stop lets calls finish, refuses new ones, and cuts streams at the deadline',
  async (t) => {
    const guarded = await startGuarded({ policy: POLICY });
    const { upstream } = guarded;
    upstream.behave = (request, socket) => {
      if (request.call.includes('/events'))
        bytes('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')(request, socket);
      else if (request.call.includes('/start')) echo()(request, socket);
      else setTimeout(() => json()(request, socket), 300);
    };
    const events = talk(guarded.tcp, [get('/v1.41/events')], { answers: 0 });
    const tunnel = talk(guarded.tcp, [postJson('/exec/a/start', '{}', ...UPGRADE)], { answers: 0 });
    const slow = talk(guarded.tcp, [get('/version')], { answers: 0 });
    const kept = talk(guarded.tcp, [PING, 500, PING], { answers: 0 });
    await sleep(150);
    const started = performance.now();
    const closing = guarded.stop(900);
    await sleep(50);
    const refused = await talk(guarded.tcp, [PING], { answers: 0, timeout: 1_000 });
    t.notOk(
      refused.answers.some(({ status }) => status === 200),
      'no new connection is served',
    );
    await closing;
    const took = performance.now() - started;
    t.ok(took > 300 && took < 2_500, `stopped after ${Math.round(took)} ms`);
    t.equal((await slow).answers[0]?.status, 200, 'a running call has its answer');
    t.ok(
      (await kept).answers.every(({ status }, index) => status === (index === 0 ? 200 : 503)),
      'a kept connection gets no more than a refusal',
    );
    const cut = await events;
    t.not(cut.closed, 'open', 'the stream is cut');
    t.equal(cut.answers[0]?.complete, false, 'and does not look whole');
    t.not((await tunnel).closed, 'open', 'the tunnel is cut');
    t.strictSame(unpaired(guarded.auditText()), [], 'all of it is on record');
    const ends = guarded.audit().filter(({ event, end }) => event === 'outcome' && end === 'shutdown');
    t.equal(ends.length, 2, 'the stream and the tunnel ended by the stop');
    await guarded.close();
  },
);
