import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { startGuarded, unpaired, type Guarded, type GuardedOptions } from './guarded.js';
import { talk, type RawAnswer, type RawTarget } from '../support/raw.js';
import { json, type Arrived, type Behaviour } from '../support/recording-upstream.js';

// Equal reads of many clients at once, over sockets, through a whole guard in front of an engine that is slow.

const CLIENTS = 32;
const LIST = '/v1.41/containers/json?all=1';
const ALL = { rules: [{ id: 'all', sources: ['*'], operations: ['*'], permit: ['*'] }] };
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function ask(target: RawTarget, path: string, method = 'GET', fields = ''): Promise<RawAnswer> {
  const length = method === 'GET' ? '' : 'Content-Length: 0\r\n';
  const text = `${method} ${path} HTTP/1.1\r\nHost: x\r\n${fields}${length}\r\n`;
  const { answers } = await talk(target, [text], { linger: 0, timeout: 20_000 });
  if (answers[0]?.complete !== true) throw new Error(`no whole answer to ${method} ${path}`);
  return answers[0];
}

/** The engine answers after `ms`. */
const slowly =
  (ms: number, behave: Behaviour): Behaviour =>
  (request, socket) =>
    void setTimeout(() => behave(request, socket), ms);

/** The engine answers when the guard has decided on the calls of all clients, counted from now. */
function whenAllAsked(guarded: Guarded, behave: Behaviour): Behaviour {
  const decisions = (): number => guarded.auditText().split('"event":"decision"').length;
  const all = decisions() + CLIENTS;
  const answer: Behaviour = (request, socket) => {
    if (decisions() >= all) behave(request, socket);
    else setTimeout(() => answer(request, socket), 20);
  };
  return answer;
}

async function withGuard(t: Test, options: Partial<GuardedOptions> = {}): Promise<Guarded> {
  const guarded = await startGuarded({ policy: ALL, upstreamTimeout: 20_000, ...options });
  t.teardown(() => guarded.close());
  return guarded;
}

const askAll = (guarded: Guarded, path: string): Promise<RawAnswer[]> =>
  Promise.all(Array.from({ length: CLIENTS }, () => ask(guarded.tcp, path)));

t.test('reads of 32 clients at once cost the engine two calls, and all get the whole answer', async (t) => {
  const guarded = await withGuard(t);
  const body = JSON.stringify(
    Array.from({ length: 3_000 }, (_, i) => ({ Id: String(i).repeat(10), Names: [`/${i}`] })),
  );
  for (const path of [LIST, '/v1.41/containers/web/stats?stream=false', '/v1.41/info']) {
    guarded.upstream.behave = whenAllAsked(guarded, json(200, body));
    guarded.upstream.forget();
    guarded.audit();
    const answers = await askAll(guarded, path);
    t.ok(guarded.upstream.requests.length <= 2, `${path}: ${guarded.upstream.requests.length} calls`);
    for (const { status, body: got } of answers) {
      if (status !== 200 || got.toString() !== body) t.fail(`${path}: not the whole right answer`);
    }
    await sleep(100);
    const lines = guarded.audit();
    t.equal(lines.filter(({ event }) => event === 'decision').length, CLIENTS, 'a decision for each');
    t.equal(lines.filter(({ event, end }) => event === 'outcome' && end === 'complete').length, CLIENTS);
  }
  t.strictSame(unpaired(guarded.auditText()), []);
});

t.test('what is not a read that ends is not shared', async (t) => {
  const guarded = await withGuard(t);
  guarded.upstream.behave = slowly(300, json());
  for (const [method, path] of [
    ['POST', '/v1.41/containers/web/pause'],
    ['GET', '/v1.41/containers/web/stats?stream=true'],
    ['GET', '/v1.41/containers/web/stats'],
    ['GET', '/v1.41/containers/web/logs?stdout=1'],
  ] as const) {
    guarded.upstream.forget();
    await Promise.all([1, 2, 3].map(() => ask(guarded.tcp, path, method)));
    t.equal(guarded.upstream.requests.length, 3, `${method} ${path}`);
  }
});

t.test('upstream.shareReads: false makes a call for each client', async (t) => {
  const other = await withGuard(t);
  const guarded = await withGuard(t, {
    config: { upstream: { url: other.upstream.url, timeout: 20_000, shareReads: false } },
  });
  other.upstream.behave = slowly(400, json());
  await askAll(guarded, LIST);
  t.equal(other.upstream.requests.length, CLIENTS);
});

t.test('an engine that fails: each client is refused, each call has an outcome', async (t) => {
  const guarded = await withGuard(t);
  guarded.upstream.behave = slowly(300, (_request, socket) => void socket.destroy());
  const answers = await askAll(guarded, LIST);
  const ids = answers.map(({ status, body }) => `${status} ${/\(call ([^)]+)\)/.exec(body.toString())?.[1]}`);
  t.ok(ids.every((id) => id.startsWith('502 ')));
  t.equal(new Set(ids).size, CLIENTS, 'each with its own call id');
  await sleep(100);
  t.equal(
    guarded.audit().filter(({ event, end }) => event === 'outcome' && end === 'upstream-error').length,
    CLIENTS,
  );
  guarded.upstream.behave = json();
  t.equal((await ask(guarded.tcp, LIST)).status, 200);
});

t.test('clients that leave, and clients that do not read, hold up nobody', async (t) => {
  const guarded = await withGuard(t);
  guarded.upstream.behave = slowly(300, json(200, `"${'x'.repeat(500_000)}"`));
  const request = `GET ${LIST} HTTP/1.1\r\nHost: x\r\n\r\n`;
  const leaving = Array.from({ length: 8 }, (_, i) => talk(guarded.tcp, [request], { timeout: 40 * i + 20 }));
  const deaf = Array.from({ length: 4 }, () => stopped(guarded.unix, request));
  const answers = await askAll(guarded, LIST);
  t.ok(answers.every(({ body }) => body.length === 500_002));
  await Promise.all(leaving);
  for (const socket of deaf) socket.destroy();
  await sleep(200);
  t.strictSame(unpaired(guarded.auditText()), []);
});

/** A client that sends a request and reads nothing. */
function stopped(target: RawTarget, text: string): Socket {
  const socket = connect({ ...target });
  socket.on('error', () => {});
  socket.pause();
  socket.write(text);
  return socket;
}

t.test('each caller gets the answer as his own rule changes it', async (t) => {
  const rule = { sources: [] as string[], operations: ['*'], permit: ['*'] };
  const guarded = await withGuard(t, {
    policy: {
      sources: { plain: { listener: ['tcp'] }, redacted: { listener: ['unix'] } },
      rules: [
        { ...rule, id: 'plain', sources: ['plain'] },
        { ...rule, id: 'redacted', sources: ['redacted'], redact: 'all' },
      ],
    },
  });
  guarded.upstream.behave = whenAllAsked(guarded, json(200, '{"Id":"web","Config":{"Env":["A=s3cret"]}}'));
  const path = '/v1.41/containers/web/json';
  const asking = Array.from({ length: CLIENTS }, (_, i) =>
    ask(i % 2 === 0 ? guarded.tcp : guarded.unix, path),
  );
  const answers = await Promise.all(asking);
  t.ok(guarded.upstream.requests.length <= 2);
  answers.forEach(({ status, body }, i) => {
    t.equal(status, 200);
    t.equal(body.includes('s3cret'), i % 2 === 0);
    t.equal((JSON.parse(body.toString()) as { Id: string }).Id, 'web');
  });
});

t.test('lists of two owners never mix', async (t) => {
  const state = mkdtempSync(join(tmpdir(), 'bw-share-'));
  t.teardown(() => rmSync(state, { recursive: true, force: true }));
  const guarded = await withGuard(t, {
    policy: {
      sources: { a: { listener: ['tcp'] }, b: { listener: ['unix'] } },
      rules: [{ id: 'own', sources: ['a', 'b'], operations: ['*'], permit: ['*'], where: { owner: 'self' } }],
    },
    config: { ownership: { state } },
  });
  // What the engine lists is what it was asked for.
  guarded.upstream.behave = whenAllAsked(guarded, (request, socket) => {
    const label = /breakwater\.owner=\w+/.exec(decodeURIComponent(request.call))?.[0] ?? 'everything';
    json(200, JSON.stringify([{ Id: '1', Labels: { of: label } }]))(request, socket);
  });
  const asking = Array.from({ length: CLIENTS }, (_, i) =>
    ask(i % 2 === 0 ? guarded.tcp : guarded.unix, LIST),
  );
  const answers = await Promise.all(asking);
  t.ok(guarded.upstream.requests.length <= 4, `${guarded.upstream.requests.length} calls`);
  answers.forEach(({ body }, i) => {
    const owner = i % 2 === 0 ? 'a' : 'b';
    t.match(body.toString(), new RegExp(`"breakwater\\.owner=${owner}`), 'his own');
  });
});

t.test('a read that is asked for after a change was answered sees it, over sockets', async (t) => {
  const guarded = await withGuard(t);
  const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 5 }), fc.boolean()), {
    minLength: 3,
    maxLength: 6,
  });
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { minLength: 4, maxLength: 8 }), async (clients) => {
      /** The engine's. */
      let version = 0;
      /** The latest change that a client was told of. */
      let answered = 0;
      let calls = 0;
      guarded.upstream.behave = (request: Arrived, socket) => {
        const before = calls++ % 4;
        // A read is answered long after the engine has looked: what changes meanwhile is not in it.
        const after = request.call.startsWith('GET ') ? (calls % 3) * 20 : 0;
        setTimeout(() => {
          if (request.call.startsWith('POST ')) version++;
          const seen = version;
          setTimeout(() => json(200, `{"version":${seen}}`)(request, socket), after);
        }, before);
      };
      await Promise.all(
        clients.map(async (own) => {
          for (const [wait, changes] of own) {
            await sleep(wait);
            const asked = answered;
            const path = changes ? '/v1.41/containers/web/pause' : '/v1.41/containers/json';
            const { body } = await ask(guarded.tcp, path, changes ? 'POST' : 'GET');
            const { version: got } = JSON.parse(body.toString()) as { version: number };
            if (changes) answered = Math.max(answered, got);
            else if (got < asked) throw new Error(`asked at ${asked}, answered with ${got}`);
          }
        }),
      );
    }),
    { numRuns: 10 },
  );
  t.pass();
});
