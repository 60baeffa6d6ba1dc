import t from 'tap';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { History } from '../../src/history/history.js';
import { sequencesSchema } from '../../src/config/sequences-config.js';
import { startTrialEngine } from '../../src/trial-engine/engine.js';
import { RESET, talk, type RawTarget } from '../support/raw.js';
import { json, type Behaviour } from '../support/recording-upstream.js';
import { file, tar } from '../support/tar.js';
import {
  startGuarded,
  unpaired,
  type AuditLine,
  type Guarded,
  type GuardedOptions,
} from '../guard/guarded.js';

// Attacks in several calls over real sockets: what reaches the engine, what the client gets as an answer, and what is on record.

const everything = (permit: readonly string[] = [], more: object = {}): object => ({
  ...more,
  rules: [{ id: 'all', sources: ['*'], operations: ['*'], permit: ['privileged', 'opaque:**', ...permit] }],
});

type Sequence = { sequence: string; action: string; calls: string[]; since: string };
interface Got {
  readonly status: number;
  readonly body: string;
  readonly line: AuditLine & { readonly sequences?: readonly Sequence[] };
}

const started: Guarded[] = [];
async function open(options: Partial<GuardedOptions> = {}): Promise<Guarded> {
  const guarded = await startGuarded({ policy: everything(), ...options });
  started.push(guarded);
  t.teardown(() => guarded.close());
  return guarded;
}

async function ask(guarded: Guarded, line: string, body?: object | Buffer, from?: string): Promise<Got> {
  guarded.audit();
  const bytes =
    body === undefined ? Buffer.alloc(0) : Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
  const head = [`${line} HTTP/1.1`, 'Host: docker'];
  if (body !== undefined) head.push(`Content-Type: application/${Buffer.isBuffer(body) ? 'x-tar' : 'json'}`);
  if (!line.startsWith('GET ')) head.push(`Content-Length: ${bytes.length}`);
  const target = { ...guarded.tcp, ...(from !== undefined && { localAddress: from }) } as RawTarget;
  const { answers } = await talk(
    target,
    [Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), bytes])],
    {
      linger: 0,
    },
  );
  const found = guarded.audit().find(({ event }) => event === 'decision');
  return { status: answers[0]?.status ?? 0, body: answers[0]?.body.toString() ?? '', line: found! };
}

const CONTEXT = tar(file('Dockerfile', 'FROM alpine\nRUN echo hello\n'));
const LIST = 'GET /v1.41/containers/json?all=0';
const CREATE = 'POST /v1.41/containers/create';

/** Look, list, build; the ids of the calls. */
async function until(guarded: Guarded, tag = 'x9', from?: string): Promise<string[]> {
  const calls = [
    await ask(guarded, 'GET /_ping', undefined, from),
    await ask(guarded, LIST, undefined, from),
    await ask(guarded, `POST /v1.41/build?t=${tag}`, CONTEXT, from),
  ];
  for (const { status, body } of calls) t.equal(status, 200, body.slice(-200));
  return calls.map(({ line }) => line.call);
}

await t.test('the published attack, before the trial engine', async (t) => {
  const engine = await startTrialEngine();
  t.teardown(() => engine.close());
  const guarded = await open({ upstreamUrl: engine.url });
  const calls = await until(guarded);
  const { status, body, line } = await ask(guarded, CREATE, { Image: 'x9' });
  t.equal(status, 403);
  t.match(
    body,
    /does not permit sequence:build-and-run \(its image was made on this engine, by ImageBuild \(call /,
  );
  t.match(body, /add \\"sequence:build-and-run\\" to its permit if it should/);
  t.match(line, { code: 'hazard', hazards: ['sequence:build-and-run'] });
  t.match(line.sequences, [{ sequence: 'build-and-run', action: 'deny', calls }]);
  t.match(line.sequences?.[0]?.since, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  t.match(
    guarded.auditText(),
    /"sequences":\[\{[^\]]+\],"since":"[^"]+"\}\],"verdict":"deny"/,
    'before the verdict',
  );
  t.equal((await ask(guarded, CREATE, { Image: 'x9' }, '127.0.0.2')).status, 403, 'nor does another address');
  t.equal((await ask(guarded, CREATE, { Image: 'alpine' })).status, 201, 'another image passes');
});

await t.test('with the permit nothing is denied, and the record has it all the same', async (t) => {
  const engine = await startTrialEngine();
  t.teardown(() => engine.close());
  const guarded = await open({ upstreamUrl: engine.url, policy: everything(['sequence:build-and-run']) });
  await until(guarded);
  const { status, body, line } = await ask(guarded, CREATE, { Image: 'x9' });
  t.equal(status, 201);
  t.match(line, { verdict: 'allow', hazards: ['sequence:build-and-run'] });
  const { Id } = JSON.parse(body) as { Id: string };
  const first = await ask(guarded, `POST /v1.41/containers/${Id.slice(0, 12)}/start`);
  t.equal(first.status, 204);
  t.match(first.line, { verdict: 'allow', hazards: ['sequence:build-and-run'] }, 'its start is one too');
  const again = await ask(guarded, `POST /v1.41/containers/${Id}/start`);
  t.match(again.line, { verdict: 'allow', hazards: [] }, 'once it has run, it is none any more');
});

await t.test('action alert, and observe mode: on record, and let through', async (t) => {
  const engine = await startTrialEngine();
  t.teardown(() => engine.close());
  const alert = { sequences: { 'build-and-run': { action: 'alert' } } };
  const alerting = await open({ upstreamUrl: engine.url, config: alert });
  await until(alerting);
  const alerted = await ask(alerting, CREATE, { Image: 'x9' });
  t.equal(alerted.status, 201);
  t.match(alerted.line, {
    verdict: 'allow',
    hazards: [],
    sequences: [{ sequence: 'build-and-run', action: 'alert' }],
  });
  const observing = await open({ upstreamUrl: engine.url, policy: everything([], { mode: 'observe' }) });
  await until(observing);
  const observed = await ask(observing, CREATE, { Image: 'x9' });
  t.equal(observed.status, 201);
  t.match(observed.line, { verdict: 'deny', enforced: false, hazards: ['sequence:build-and-run'] });
});

const ID = 'ab12'.repeat(16);

/** An engine that builds image `ID`, and knows the names that it is given. */
function engineOf(names: Readonly<Record<string, string>>, repositories: readonly string[] = []): Behaviour {
  return (request, socket) => {
    const [, image] = /^GET \/images\/(.+)\/json$/.exec(request.call) ?? [];
    const [, filter] = /^GET \/images\/json\?filters=(.+)$/.exec(request.call) ?? [];
    if (image !== undefined) {
      const id = names[decodeURIComponent(image)];
      const answer = JSON.stringify({
        Id: `sha256:${id}`,
        RepoTags: [image],
        Created: '2020-01-01T00:00:00Z',
      });
      json(id === undefined ? 404 : 200, id === undefined ? '{}' : answer)(request, socket);
    } else if (filter !== undefined) {
      const { reference } = JSON.parse(decodeURIComponent(filter)) as { reference: string[] };
      json(200, repositories.includes(reference[0]!) ? '[{"Id":"sha256:1"}]' : '[]')(request, socket);
    } else if (request.call.includes('/build?')) {
      json(200, `{"aux":{"ID":"sha256:${ID}"}}\r\n`)(request, socket);
    } else {
      json()(request, socket);
    }
  };
}

await t.test('the engine’s word goes before a name', async (t) => {
  const guarded = await open();
  guarded.upstream.behave = engineOf({ x9: 'cc'.repeat(32), other: ID });
  await until(guarded);
  t.equal(
    (await ask(guarded, CREATE, { Image: 'x9' })).status,
    200,
    'the name has moved on to another image',
  );
  t.match(guarded.upstream.questions.at(-1)?.call, 'GET /images/x9/json');
  const moved = await ask(guarded, CREATE, { Image: 'other' });
  t.equal(moved.status, 403, 'a name that nobody gave through the guard');
  t.match(moved.line.hazards, ['sequence:build-and-run']);
  t.equal((await ask(guarded, CREATE, { Image: 'unknown' })).status, 200);
});

await t.test(
  'an engine that does not answer questions stops nobody for long, and names decide',
  async (t) => {
    const guarded = await open();
    const engine = engineOf({});
    guarded.upstream.behave = (request, socket) => {
      if (!request.call.startsWith('GET /images')) engine(request, socket);
    };
    await until(guarded);
    t.equal((await ask(guarded, CREATE, { Image: 'x9' })).status, 403);
    const from = performance.now();
    t.equal((await ask(guarded, CREATE, { Image: 'alpine' })).status, 200);
    t.ok(performance.now() - from < 4_500, 'within its patience');
    // The pulled repository counts as new then.
    t.equal((await ask(guarded, 'POST /v1.41/images/create?fromImage=alpine&tag=3')).status, 200);
    const escape = await ask(guarded, CREATE, { Image: 'alpine:3', HostConfig: { Privileged: true } });
    t.match(escape.line.hazards, ['privileged', 'sequence:pull-and-escape']);
  },
);

await t.test('a client that leaves while the engine is asked', async (t) => {
  const guarded = await open();
  guarded.upstream.behave = engineOf({});
  await until(guarded);
  guarded.upstream.forget();
  const engine = engineOf({});
  guarded.upstream.behave = (request, socket) => void setTimeout(() => engine(request, socket), 200);
  const body = JSON.stringify({ Image: 'alpine' });
  const head = `${CREATE} HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
  await talk(guarded.tcp, [head + body, 50, RESET]);
  await sleep(500);
  t.same(
    guarded.upstream.requests.map(({ call }) => call),
    [],
    'the call was not made',
  );
});

await t.test('what a rule rewrites is judged as it is sent', async (t) => {
  const policy = {
    rules: [
      {
        id: 'all',
        sources: ['*'],
        operations: ['*'],
        permit: ['opaque:**'],
        rewrite: { images: { 'docker.io/library/alpine': 'mirror.example/alpine' } },
      },
    ],
  };
  const guarded = await open({ policy });
  guarded.upstream.behave = engineOf({ 'mirror.example/alpine:latest': ID, 'mirror.example/alpine': ID });
  await until(guarded);
  const { status, body } = await ask(guarded, CREATE, { Image: 'alpine' });
  t.equal(status, 403, body);
  t.match(body, 'sequence:build-and-run');
});

await t.test('a pull of a new repository, and the host', async (t) => {
  const guarded = await open();
  guarded.upstream.behave = engineOf({}, ['known']);
  for (const [image, status] of [
    ['evil/x', 403],
    ['known', 200],
  ] as const) {
    guarded.upstream.forget();
    const pulled = await ask(
      guarded,
      `POST /v1.41/images/create?fromImage=${encodeURIComponent(image)}&tag=1`,
    );
    t.equal(pulled.status, 200);
    t.match(
      guarded.upstream.questions.map(({ call }) => call),
      [/^GET \/images\/json\?filters=/],
      'asked first',
    );
    t.equal((await ask(guarded, CREATE, { Image: `${image}:1` })).status, 200, 'without the host');
    const { line, ...got } = await ask(guarded, CREATE, {
      Image: `${image}:1`,
      HostConfig: { Privileged: true },
    });
    t.equal(got.status, status);
    if (status === 403) t.match(line.sequences, [{ sequence: 'pull-and-escape', calls: [pulled.line.call] }]);
  }
});

await t.test('who is denied a pull does not make the engine be asked', async (t) => {
  const guarded = await open({
    policy: { rules: [{ id: 'look', sources: ['*'], operations: ['SystemPing'] }] },
  });
  t.equal((await ask(guarded, 'POST /v1.41/images/create?fromImage=alpine&tag=1')).status, 403);
  t.same(guarded.upstream.questions, []);
});

await t.test('exec into many containers of others', async (t) => {
  const guarded = await open({ config: { sequences: { 'exec-spread': { containers: 3 } } } });
  const into = (n: number): Promise<Got> =>
    ask(guarded, `POST /v1.41/containers/box${n}/exec`, { Cmd: ['id'] });
  for (const n of [1, 2, 3, 1, 2, 3]) t.equal((await into(n)).status, 200);
  const { status, body, line } = await into(4);
  t.equal(status, 403);
  t.match(body, /sequence:exec-spread \(this caller went into 3 other containers within 5m: calls /);
  t.equal(line.sequences?.[0]?.calls.length, 3);
  t.equal((await into(1)).status, 200, 'those that it was in stay open to it');
});

const PROBES: readonly string[] = [
  'GET /v1.41/secrets',
  'GET /v1.41/nodes',
  'GET /v1.41/swarm',
  'GET /v1.41/nonsense',
  'GET /admin.php',
  'GET /v9.99/info',
  'GET /v1.41/tasks',
  'GET /v1.41/plugins',
  'GET /v1.41/configs',
  'GET /v1.41/containers/json?all=%zz',
];

await t.test('probing: denied, unknown and unreadable calls alike', async (t) => {
  const policy = { rules: [{ id: 'look', sources: ['*'], operations: ['SystemPing'] }] };
  const scan = async (guarded: Guarded, from?: string): Promise<Got[]> => {
    const got: Got[] = [];
    for (const line of [...PROBES, ...PROBES]) got.push(await ask(guarded, line, undefined, from));
    return got;
  };
  const guarded = await open({ policy });
  const heard = await scan(guarded);
  t.notOk(heard.some(({ status }) => status === 200));
  t.notOk(
    heard.slice(0, 19).some(({ line }) => line.sequences),
    'not the first ones',
  );
  t.match(heard.at(-1)?.line.sequences, [{ sequence: 'probing', action: 'alert' }]);
  await talk(guarded.tcp, ['\x16\x03\x01 this is no HTTP\r\n\r\n'], { linger: 50 });
  const broken = guarded.audit().find(({ event }) => event === 'decision') as Got['line'];
  t.match(broken.sequences, [{ sequence: 'probing', action: 'alert' }], 'what is no request as well');
  t.equal((await ask(guarded, 'GET /_ping')).status, 200, 'and shuts nobody out');

  const strict = await open({ policy, config: { sequences: { probing: { action: 'deny' } } } });
  await scan(strict);
  const shut = await ask(strict, 'GET /_ping');
  t.equal(shut.status, 403);
  t.match(shut.body, /sequence:probing \(at least 20 calls of this caller were refused within 5m/);
  t.equal((await ask(strict, 'GET /_ping', undefined, '127.0.0.2')).status, 200, 'another address is not');
});

await t.test(
  'a million clients: memory stays bounded, and strangers push out nobody with a source',
  async (t) => {
    const settings = sequencesSchema.parse({});
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const heap = (): number => {
      collect();
      return process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
    };
    const before = heap();
    const history = new History(settings.clients, settings);
    history.discovered('ci\n192.0.2.1', 'look', { call: 'p', at: 1 });
    let at = 1_700_000_000_000;
    for (let n = 0; n < 1_000_000; n++) {
      at += 7;
      const client = `\n10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`;
      const step = { call: `call-${n}`, at };
      history.discovered(client, 'look', step);
      history.discovered(client, 'list', step);
      history.enters(client, `box-${n % 50}`, step);
      history.refuses(client, `kind ${n % 30}`, step);
      if (n % 10 === 0) {
        const origin = history.makes(client, 'ImageBuild', step);
        history.builds(origin);
        history.addImage(n.toString(16).padStart(64, '0'), origin);
        history.addImageName(`n${n}:latest`, origin);
        history.ended(step.call, at);
        history.addPull(`repository-${n}`, step);
        history.addContainer(n.toString(16).padStart(64, '0'), `name-${n}`, client, step);
      }
    }
    const grown = (heap() - before) / 2 ** 20;
    t.comment(`${grown.toFixed(1)} MiB after 1,000,000 clients`);
    t.ok(grown < 96, `${grown.toFixed(1)} MiB`);
    t.match(
      history.discovery('ci\n192.0.2.1', 'look', 0, 2),
      { call: 'p' },
      'a client with a source is still known',
    );
    t.notOk(history.discovery('\n10.0.0.0', 'look', 0, at), 'the first strangers are forgotten');

    // Long texts, each a part of a longer one.
    const texts = new History(settings.clients, settings);
    const none = heap();
    for (let n = 0; n < 40_000; n++) {
      const request = `${n} ${'x'.repeat(16_000)}`;
      const step = { call: `call-${n}`, at };
      const part = (from: number, to: number): string => request.slice(from, to);
      texts.refuses(`\n${n % 10_000}`, part(0, 128), step);
      texts.enters(`\n${n % 10_000}`, part(0, 127), step);
      texts.addImageName(part(0, 200), texts.makes('\n', 'ImageBuild', step));
      texts.addImageName(part(0, 15_000), texts.makes('\n', 'ImageBuild', step));
      texts.addContainer(n.toString(16).padStart(64, '0'), part(0, 15_000), '\n', step);
      texts.addPull(part(0, 250), step);
      texts.ended(step.call, at);
    }
    const long = (heap() - none) / 2 ** 20;
    t.comment(`${long.toFixed(1)} MiB of long texts`);
    t.ok(long < 64, `${long.toFixed(1)} MiB`);
    t.ok(texts.entered('\n1').size > 0);

    // The longest histories that one client can have, for all clients that are kept.
    const full = new History(settings.clients, settings);
    const base = heap();
    for (let n = 0; n < settings.clients; n++) {
      for (let round = 0; round < 40; round++) {
        const step = { call: `call-${n}-${round}`, at: at + round * 300_000 };
        full.discovered(`\n${n}`, 'look', step);
        full.discovered(`\n${n}`, 'list', step);
        full.enters(`\n${n}`, `box-${round}`, step);
        full.refuses(`\n${n}`, `kind ${round}`, step);
      }
    }
    const worst = (heap() - base) / 2 ** 20;
    t.ok(history.entered('\n10.15.66.63').size > 0 && full.entered('\n1').size > 0, 'both are still there');
    t.comment(`${worst.toFixed(1)} MiB at the worst for ${settings.clients} clients`);
    t.ok(worst < 160, `${worst.toFixed(1)} MiB`);
  },
);

await t.test('one decision and one outcome for each call, in all of them', async (t) => {
  t.ok(started.length > 0);
  for (const guarded of started) t.same(unpaired(guarded.auditText()), []);
});
