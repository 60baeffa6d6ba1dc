import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { openOwnerLabels } from '../../src/ownership/owner-labels.js';
import { sleep, until } from '../support/command.js';
import { json, type Arrived, type Behaviour } from '../support/recording-upstream.js';
import { talk, type RawAnswer } from '../support/raw.js';
import { create, get, lines, post, POLICY } from './case.js';
import { ping, startGuarded, unpaired, type Guarded } from './guarded.js';

// What the guard asks the engine before it judges a call: how much, at once, and what becomes of the call when the engine
// or the host do not answer.

const root = mkdtempSync(join(tmpdir(), 'bw-look-up-'));
t.teardown(() => rmSync(root, { recursive: true, force: true }));

const labels = openOwnerLabels(join(root, 'owner.key'));
const OF_A = { 'breakwater.owner': labels.labelFor('a') };

const OWNERS = {
  sources: { a: { listener: ['tcp'] }, b: { listener: ['unix'] } },
  rules: [
    {
      id: 'own',
      sources: ['a', 'b'],
      operations: ['*'],
      permit: ['*'],
      where: { owner: ['self', 'shared', 'nobody:image', 'nobody:volume', 'nobody:network'] },
    },
  ],
};

const id = (digit: string): string => digit.repeat(64);
const isQuestion = ({ headers }: Arrived): boolean =>
  headers.some(([name, value]) => name === 'User-Agent' && value === 'breakwater');

/** A guard whose engine answers calls with 200 and the guard's own requests with `question`. */
async function start(
  t: Test,
  policy: unknown,
  question: Behaviour,
  config: Readonly<Record<string, unknown>> = {},
): Promise<Guarded> {
  const state = mkdtempSync(join(root, 'state-'));
  copyFileSync(join(root, 'owner.key'), join(state, 'owner.key'));
  const guarded = await startGuarded({ policy, config: { ownership: { state }, ...config } });
  t.teardown(() => guarded.close());
  guarded.upstream.behave = (request, socket) =>
    isQuestion(request) ? question(request, socket) : json()(request, socket);
  return guarded;
}

const createWith = (image: string, volumes: number): string =>
  create(
    JSON.stringify({
      Image: image,
      HostConfig: { Binds: Array.from({ length: volumes }, (_, n) => `vol${n}:/v${n}`) },
    }),
  );

async function ask({ tcp }: Guarded, request: string, timeout = 5_000): Promise<RawAnswer> {
  const { answers, timedOut } = await talk(tcp, [request], { linger: 0, timeout });
  if (timedOut || answers[0] === undefined) throw new Error('no answer');
  return answers[0];
}

const targets = ({ upstream }: Guarded): string[] => upstream.questions.map(({ call }) => call).sort();

const absent: Behaviour = json(404, '{"message":"no such object"}');
const OBJECT = JSON.stringify({
  Id: id('a'),
  Name: 'x',
  RepoTags: ['alpine:latest'],
  Config: { Labels: null },
});

await t.test(
  'objects are asked for side by side, at most 16 at once; more than 256 are refused',
  async (t) => {
    let open = 0;
    let most = 0;
    const g = await start(t, OWNERS, (request, socket) => {
      open += 1;
      most = Math.max(most, open);
      setTimeout(() => {
        open -= 1;
        json(request.call.startsWith('POST') ? 201 : 404, '{"message":"no"}')(request, socket);
      }, 30);
    });
    await ask(g, createWith('alpine', 40));
    const asked = targets(g).filter((call) => call.startsWith('GET /volumes/'));
    t.equal(asked.length, 40);
    t.equal(new Set(asked).size, 40, 'each once');
    t.ok(most > 4, `side by side (${most})`);
    // The history of calls asks for the image beside them.
    t.ok(most <= 17, `bounded (${most})`);
    g.upstream.forget();
    const refused = await ask(g, createWith('alpine', 300));
    t.equal(refused.status, 403);
    t.match(refused.body.toString(), /at most 256 objects/);
    t.same(
      targets(g).filter((call) => call.startsWith('GET /volumes/')),
      [],
      'nothing is asked for it',
    );
    t.equal(g.upstream.requests.length, 0);
    t.same(unpaired(g.auditText()), []);
  },
);

await t.test('one request for an image that both ownership and history want', async (t) => {
  const g = await start(t, OWNERS, json(200, OBJECT));
  t.equal((await ask(g, createWith('alpine', 0))).status, 200);
  t.equal(targets(g).filter((call) => call.includes('alpine')).length, 1, targets(g).join('\n'));
});

await t.test('nothing is asked for reads, nor for what a rule permits whatever it is', async (t) => {
  const g = await start(
    t,
    { rules: [{ id: 'all', sources: ['*'], operations: ['*'], permit: ['*'] }] },
    json(200, OBJECT),
    { sequences: { 'build-and-run': false, 'pull-and-escape': false, 'exec-spread': false, probing: false } },
  );
  for (const request of [
    get('/_ping'),
    get('/v1.41/containers/json'),
    get('/v1.41/containers/x/json'),
    get('/v1.41/images/alpine/json'),
    createWith('alpine', 20),
    create(JSON.stringify({ Image: 'alpine', HostConfig: { Binds: ['/etc:/x'] } })),
    post('/v1.41/containers/x/start'),
  ])
    t.equal((await ask(g, request)).status, 200, request.split('\r\n', 1)[0]!);
  t.same(targets(g), []);
});

await t.test(
  'what is kept: whole ids of containers, execs and networks; a start is asked anew',
  async (t) => {
    const whole = id('a');
    const answer = JSON.stringify({ Id: whole, Labels: OF_A, State: {}, HostConfig: {} });
    const g = await start(t, OWNERS, (request, socket) =>
      json(
        200,
        request.call.includes('/exec/') ? JSON.stringify({ ID: id('e'), ContainerID: whole }) : answer,
      )(request, socket),
    );
    const asks = async (request: string): Promise<number> => {
      g.upstream.forget();
      t.equal((await ask(g, request)).status, 200, request.split('\r\n', 1)[0]!);
      return g.upstream.questions.length;
    };
    const named = get('/v1.41/containers/web/logs?stdout=1');
    t.same([await asks(named), await asks(named)], [1, 1], 'a name may stand for another one now');
    const byId = get(`/v1.41/containers/${whole}/logs?stdout=1`);
    t.same([await asks(byId), await asks(byId)], [1, 0], 'a whole id cannot');
    const exec = get(`/v1.41/exec/${id('e')}/json`);
    t.same([await asks(exec), await asks(exec)], [1, 0], 'nor that of an exec');
    const network = get(`/v1.41/networks/${whole}`);
    t.same([await asks(network), await asks(network)], [1, 0], 'nor that of a network');
    const begin = post(`/v1.41/containers/${whole}/start`);
    t.ok((await asks(begin)) >= 1, 'a container that starts is asked for');
    t.ok((await asks(begin)) >= 1, 'each time');
    const prefix = get(`/v1.41/containers/${whole.slice(0, 12)}/logs?stdout=1`);
    t.same([await asks(prefix), await asks(prefix)], [1, 1], 'a part of an id may become ambiguous');
  },
);

await t.test('an engine that is silent: sequences go on by names, ownership refuses', async (t) => {
  const silent: Behaviour = () => {};
  const free = await start(t, POLICY, silent);
  const asked = performance.now();
  const pull = post('/v1.41/images/create?fromImage=alpine&tag=latest');
  t.equal((await ask(free, pull, 10_000)).status, 200, 'goes on by its name');
  t.ok(performance.now() - asked >= 1_900, 'after it has waited');
  t.ok(free.upstream.questions.length >= 1);
  t.same(unpaired(free.auditText()), []);

  const owners = await start(t, OWNERS, silent);
  const refused = await ask(owners, create('{"Image":"alpine"}'), 30_000);
  t.equal(refused.status, 502);
  t.match(refused.body.toString(), /could not be asked whose/);
  t.equal(owners.upstream.requests.length, 0, 'the engine does not get it');
  t.same(unpaired(owners.auditText()), []);
});

await t.test(
  'an engine that breaks off, errs or babbles about what is owned: refused, on record',
  async (t) => {
    let behave: Behaviour = absent;
    const g = await start(t, OWNERS, (request, socket) => behave(request, socket));
    const odd: readonly (readonly [string, Behaviour])[] = [
      ['breaks off', (_request, socket) => void socket.destroy()],
      ['fails', json(500, '{"message":"boom"}')],
      ['no JSON', json(200, 'hello')],
      ['a list', json(200, '[]')],
      ['no id', json(200, '{}')],
      ['null', json(200, 'null')],
    ];
    for (const [name, behaviour] of odd) {
      behave = behaviour;
      g.upstream.forget();
      const got = await ask(g, createWith('alpine', 1));
      t.equal(got.status, 502, `${name}: ${got.body.toString()}`);
      t.equal(g.upstream.requests.length, 0, name);
    }
    // The users of an anonymous volume cannot be listed.
    behave = (request, socket) => {
      if (request.call.includes('/containers/json')) socket.destroy();
      else json(200, JSON.stringify({ Name: id('d'), Labels: null }))(request, socket);
    };
    const got = await ask(g, get(`/v1.41/volumes/${id('d')}`));
    t.equal(got.status, 502, got.body.toString());
    t.same(unpaired(g.auditText()), []);
  },
);

await t.test('a lock that is won after its call has ended is given back', async (t) => {
  let going: Socket | undefined;
  let lists = 0;
  const g = await start(t, OWNERS, (request, socket) => {
    if (!request.call.includes('/images/json?all')) return absent(request, socket);
    lists += 1;
    // The second one cannot be listed, while it waits for the name.
    json(lists === 2 ? 500 : 200, lists === 2 ? '{"message":"boom"}' : '[]')(request, socket);
  });
  const { behave } = g.upstream;
  g.upstream.behave = (request, socket) => {
    if (isQuestion(request) || going !== undefined) behave(request, socket);
    else going = socket;
  };
  const tag = '/v1.41/images/x/tag?repo=web&tag=1';
  const pull = post('/v1.41/images/create?fromImage=web&tag=1');
  const first = talk(g.unix, [pull], { timeout: 8_000 });
  t.ok(await until(() => going !== undefined, 4_000), 'the first pull holds the name');
  const second = await ask(g, pull, 8_000);
  t.not(second.status, 200, 'the second one cannot be judged');
  json()({ call: 'X' } as Arrived, going!);
  await first;
  await sleep(100);
  const started = performance.now();
  const third = await talk(g.unix, [pull], { timeout: 8_000 });
  t.equal(third.answers[0]?.status, 200, third.text);
  t.ok(performance.now() - started < 4_000, 'nobody holds the name any more');
  t.not((await ask(g, post(tag), 8_000)).status, 409);
});

await t.test('host paths that cannot be looked up stop only a call that would pass', async (t) => {
  mkdirSync(join(root, 'plain'), { recursive: true });
  const g = await start(
    t,
    {
      rules: [
        {
          id: 'make',
          sources: ['*'],
          operations: ['ContainerCreate'],
          permit: [`bind:${root}/**`, 'engine-load:volumes=300'],
        },
      ],
    },
    absent,
    { sequences: { 'build-and-run': false, 'pull-and-escape': false, 'exec-spread': false, probing: false } },
  );
  const binds = (prefix: string): string =>
    create(
      JSON.stringify({
        Image: 'alpine',
        HostConfig: { Binds: Array.from({ length: 300 }, (_, n) => `${prefix}${n}:/x${n}`) },
      }),
    );
  const codes = async (request: string): Promise<readonly (string | undefined)[]> => {
    g.audit();
    await ask(g, request);
    return g
      .audit()
      .filter(({ event }) => event === 'decision')
      .map(({ code }) => code);
  };
  t.same(await codes(binds(`${root}/plain/`)), ['host-paths'], 'it would pass');
  t.same(await codes(binds('/elsewhere/')), ['hazard'], 'policy says no, and says why');
  t.equal(g.upstream.requests.length, 0);
  t.same(unpaired(g.auditText()), []);
});

await t.test(
  'a build that the engine refuses while nothing can be put on record ends nothing else',
  async (t) => {
    const g = await startGuarded({
      policy: { rules: [{ id: 'all', sources: ['*'], operations: ['*'], permit: ['*'] }] },
      config: { audit: { file: '/dev/full', alerts: false } },
    });
    t.teardown(() => g.close());
    g.upstream.onHead = (request, socket) => {
      if (!request.call.includes('/build')) return false;
      json(400, '{"message":"invalid tag"}')(request, socket);
      return true;
    };
    // In this process a rejection that nobody handles fails the test.
    const upload = lines(
      [
        'POST /v1.41/build?t=x HTTP/1.1',
        'Host: d',
        'Content-Type: application/x-tar',
        'Content-Length: 10240',
      ],
      'Dockerfile'.padEnd(100, '\0'),
    );
    const got = await talk(g.tcp, [upload], { linger: 0 });
    t.equal(got.answers[0]?.status, 400, got.text);
    await sleep(100);
    t.type(await ping(g.tcp), 'number', 'the guard still answers');
  },
);

await t.test(
  'a call that is looked up anew under another policy does not wait for its own locks',
  async (t) => {
    let asked = 0;
    const g = await start(t, OWNERS, (request, socket) => {
      asked += 1;
      const answer = json(200, JSON.stringify({ Name: 'vol', Labels: OF_A }));
      if (asked > 1) answer(request, socket);
      else void g.enforce({ ...OWNERS, description: 'another revision' }).then(() => answer(request, socket));
    });
    const removed = await ask(
      g,
      'DELETE /v1.41/volumes/vol HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n',
      20_000,
    );
    t.equal(removed.status, 200, removed.body.toString());
    t.ok(asked > 1, 'it was looked up again');
    t.same(
      g.upstream.requests.map(({ call }) => call),
      ['DELETE /v1.41/volumes/vol'],
      'the engine got it once',
    );
  },
);
