import t, { type Test } from 'tap';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openImageOwners } from '../../src/ownership/image-owners.js';
import { openNameLocks } from '../../src/ownership/name-locks.js';
import { openOwnerLabels } from '../../src/ownership/owner-labels.js';
import { Refusal } from '../../src/docker/refusal.js';
import { sleep, until } from '../support/command.js';
import { json, type Arrived } from '../support/recording-upstream.js';
import { FIN, RESET, talk, type Part, type RawAnswer } from '../support/raw.js';
import { startGuarded, type Guarded } from '../guard/guarded.js';

// What reaches the engine, byte for byte, when a policy has rules about owners: two teams, one on each listener, in front of
// an engine whose objects stand in a table.

const root = mkdtempSync(join(tmpdir(), 'bw-owners-'));
t.teardown(() => rmSync(root, { recursive: true, force: true }));

const POLICY = {
  sources: { a: { listener: ['tcp'] }, b: { listener: ['unix'] } },
  rules: [
    {
      id: 'own',
      sources: ['a', 'b'],
      operations: ['*'],
      permit: ['*'],
      where: { owner: ['self', 'nobody:image'] },
    },
    {
      id: 'remote',
      sources: ['a', 'b'],
      operations: ['ImageBuild'],
      permit: ['*'],
      where: { owner: ['self', 'nobody:image', 'engine:unread-build'], 'build.remote': 'x' },
    },
  ],
};

const id = (digit: string): string => digit.repeat(64);
const labels = openOwnerLabels(join(root, 'owner.key'));
const label = (owner: string): object => ({ 'breakwater.owner': labels.labelFor(owner) });

const ALPINE = { Id: `sha256:${id('1')}`, RepoTags: ['alpine:latest'], Config: { Labels: null } };

/** The engine's answers to the guard's questions, by path. */
let objects: Record<string, object> = {};
function table(): Record<string, object> {
  const ofA = { Id: id('a'), Config: { Labels: label('a') } };
  const ofB = { Id: id('b'), Config: { Labels: label('b') } };
  return {
    '/containers/mine/json': ofA,
    '/containers/aaaa/json': ofA,
    '/containers/theirs/json': ofB,
    [`/containers/${id('b')}/json`]: ofB,
    '/containers/old/json': {
      Id: id('c'),
      Config: { Labels: { 'breakwater.owner': `b.${'0'.repeat(32)}` } },
    },
    '/containers/mine/peer/json': ofB,
    '/exec/e1/json': { ID: 'e1', ContainerID: id('b') },
    '/images/alpine/json': ALPINE,
    '/images/alpine:latest/json': ALPINE,
    // A step of another client's build.
    '/images/4444/json': { Id: `sha256:${id('4')}`, RepoTags: [], RepoDigests: [], Config: { Labels: null } },
    '/images/a/app:1/json': { Id: `sha256:${id('2')}`, Config: { Labels: label('a') } },
    '/images/b/app:1/json': { Id: `sha256:${id('3')}`, Config: { Labels: label('b') } },
    '/images/b/app/json': { Id: `sha256:${id('3')}`, Config: { Labels: label('b') } },
    '/images/222222/json': { Id: `sha256:${id('2')}`, Config: { Labels: label('a') } },
    '/networks/anet': { Id: id('d'), Labels: label('a') },
    '/networks/bnet': { Id: id('e'), Labels: label('b') },
    '/networks/bridge': { Id: id('f'), Labels: {} },
    '/volumes/avol': { Name: 'avol', Labels: label('a') },
    '/volumes/bvol': { Name: 'bvol', Labels: label('b') },
  };
}

function answer(socket: Socket, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  socket.write(
    `HTTP/1.1 ${status} X\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
  );
}

const isQuestion = ({ headers }: Arrived): boolean =>
  headers.some(([name, value]) => name.toLowerCase() === 'user-agent' && value === 'breakwater');

function engine(request: Arrived, socket: Socket): void {
  if (!isQuestion(request)) return json()(request, socket);
  const [method = '', target = ''] = request.call.split(' ');
  const path = decodeURIComponent(target.split('?', 1)[0]!);
  if (method === 'POST') {
    const { Name, Labels } = JSON.parse(request.body.toString()) as { Name: string; Labels: object };
    return answer(socket, 201, objects[`/volumes/${Name}`] ?? { Name, Labels });
  }
  if (path === '/images/json' || path === '/containers/json')
    return answer(socket, 200, objects[target] ?? []);
  const found = objects[path];
  answer(socket, found === undefined ? 404 : 200, found ?? { message: 'no such object' });
}

async function withGuard(t: Test, more: Partial<Parameters<typeof startGuarded>[0]> = {}): Promise<Guarded> {
  const guarded = await startGuarded({
    policy: POLICY,
    config: { ownership: { state: root }, sequences: OFF },
    ...more,
  });
  t.teardown(() => guarded.close());
  objects = table();
  guarded.upstream.behave = engine;
  return guarded;
}

const OFF = { 'build-and-run': false, 'pull-and-escape': false, 'exec-spread': false, probing: false };

const http = (method: string, path: string, body?: object): string => {
  const text = body === undefined ? '' : JSON.stringify(body);
  const type = body === undefined ? '' : 'Content-Type: application/json\r\n';
  return `${method} ${path} HTTP/1.1\r\nHost: x\r\n${type}Content-Length: ${text.length}\r\n\r\n${text}`;
};

/** As team a. */
async function ask(
  guarded: Guarded,
  ...parts: readonly Part[]
): Promise<RawAnswer & { sent: readonly Arrived[] }> {
  guarded.upstream.forget();
  const { answers } = await talk(guarded.tcp, parts, { timeout: 8_000 });
  if (answers[0] === undefined) throw new Error('no answer');
  return { ...answers[0], sent: [...guarded.upstream.requests] };
}

const bodyOf = ({ sent }: { sent: readonly Arrived[] }): Record<string, never> =>
  JSON.parse(sent[0]!.body.toString()) as Record<string, never>;

t.test('the engine gets the id that was judged', async (t) => {
  const guarded = await withGuard(t);
  const calls: [string, string][] = [
    [http('POST', '/containers/mine/start'), `POST /containers/${id('a')}/start`],
    [http('POST', '/v1.41/containers/aaaa/kill'), `POST /v1.41/containers/${id('a')}/kill`],
    [http('DELETE', '/containers/mine?force=1'), `DELETE /containers/${id('a')}?force=1`],
    [http('GET', '/networks/anet'), `GET /networks/${id('d')}`],
    [http('GET', '/images/a/app:1/json'), `GET /images/sha256%3A${id('2')}/json`],
    // A removal by name takes the name alone; an id is made whole.
    [http('DELETE', '/images/a/app:1'), 'DELETE /images/a/app%3A1'],
    [http('DELETE', '/images/222222'), `DELETE /images/sha256%3A${id('2')}`],
    [http('GET', '/images/a/app:1/get'), 'GET /images/a/app%3A1/get'],
    [http('DELETE', '/volumes/avol'), 'DELETE /volumes/avol'],
    [http('POST', '/commit?container=mine&repo=a/new'), `POST /commit?container=${id('a')}&repo=a%2Fnew`],
  ];
  for (const [request, expected] of calls) {
    const { status, sent } = await ask(guarded, request);
    t.equal(status, 200, request.slice(0, 60));
    t.same(
      sent.map(({ call }) => decodeURIComponent(call)),
      [decodeURIComponent(expected)],
    );
  }
  const connect = await ask(guarded, http('POST', '/networks/anet/connect', { Container: '/mine' }));
  t.equal(connect.sent[0]?.call, `POST /networks/${id('d')}/connect`);
  t.same(bodyOf(connect), { Container: id('a') });
});

t.test('creation: references by id, the label whatever the client says', async (t) => {
  const guarded = await withGuard(t);
  const created = await ask(
    guarded,
    http('POST', '/containers/create', {
      Image: '222222',
      Labels: { 'breakwater.owner': labels.labelFor('b'), mine: 'x' },
      HostConfig: {
        VolumesFrom: ['mine:ro', '/mine'],
        Links: ['mine:db', '/mine:/new/alias', 'aaaa'],
        NetworkMode: 'anet',
        PidMode: 'container:mine',
        Binds: ['avol:/data', '/srv/x:/x', '/anonymous'],
      },
    }),
  );
  t.same(bodyOf(created), {
    Image: `sha256:${id('2')}`,
    Labels: { ...label('a'), mine: 'x' },
    HostConfig: {
      VolumesFrom: [`${id('a')}:ro`, id('a')],
      Links: [`${id('a')}:db`, `/${id('a')}:/new/alias`, `${id('a')}:aaaa`],
      NetworkMode: 'anet',
      PidMode: `container:${id('a')}`,
      Binds: ['avol:/data', '/srv/x:/x', '/anonymous'],
    },
  });
  const named = await ask(guarded, http('POST', '/containers/create', { Image: 'a/app:1' }));
  t.match(bodyOf(named), { Image: 'a/app:1' }, 'a container shows the name of its image');
  const network = await ask(guarded, http('POST', '/networks/create', { Name: 'new' }));
  t.same(bodyOf(network), { Name: 'new', Labels: label('a'), CheckDuplicate: true });
  const unread = await ask(guarded, http('POST', '/build?remote=https://y.example/c.tar&t=a/app:1'));
  t.match([unread.status, unread.sent], [403, []], 'it could build from anybody’s image');
  const built = await ask(guarded, http('POST', '/build?remote=x&labels={"breakwater.owner":"b"}&t=a/app:1'));
  t.match(decodeURIComponent(built.sent[0]!.call), `labels=${JSON.stringify(label('a'))}`);
});

t.test('lists, events and prunes: the filter is the guard’s', async (t) => {
  const guarded = await withGuard(t);
  const own = `breakwater.owner=${labels.labelFor('a')}`;
  const filtersOf = ({ sent }: { sent: readonly Arrived[] }): unknown =>
    JSON.parse(new URLSearchParams(sent[0]!.call.split('?')[1]).get('filters') ?? 'null');
  const theirs = `breakwater.owner=${labels.labelFor('b')}`;
  const cases: [string, unknown][] = [
    ['', { label: { [own]: true } }],
    ['{"status":["running"],"label":["x=y"]}', { status: ['running'], label: ['x=y', own] }],
    ['{"label":{"x":true}}', { label: { x: true, [own]: true } }],
    [`{"label":["${theirs}","breakwater.owner"]}`, { label: [own] }],
    [`{"label":{"${theirs}":true}}`, { label: { [own]: true } }],
  ];
  for (const [method, path] of [
    ['GET', '/containers/json'],
    ['GET', '/events'],
    ['POST', '/containers/prune'],
    ['GET', '/services'],
    ['POST', '/volumes/prune'],
  ] as const) {
    for (const [given, expected] of cases) {
      const query = given === '' ? '' : `?filters=${encodeURIComponent(given)}`;
      t.same(filtersOf(await ask(guarded, http(method, `${path}${query}`))), expected, `${path} ${given}`);
    }
  }
  const mixed = encodeURIComponent('{"label":["x"],"status":{"running":true}}');
  const refused = await ask(guarded, http('GET', `/containers/json?filters=${mixed}`));
  t.match([refused.status, refused.sent], [400, []], 'written in two ways at once');
});

t.test('volumes that are not there are made before the container', async (t) => {
  const guarded = await withGuard(t);
  const Mounts = [
    {
      Type: 'volume',
      Source: 'new2',
      Target: '/b',
      VolumeOptions: { Labels: { x: 'y', 'breakwater.owner': 'b' } },
    },
  ];
  await ask(
    guarded,
    http('POST', '/containers/create', {
      Image: 'alpine',
      HostConfig: { Binds: ['new1:/a', 'avol:/c'], Mounts },
    }),
  );
  const made = guarded.upstream.questions.filter(({ call }) => call.startsWith('POST'));
  t.same(
    made.map(({ body }) => JSON.parse(body.toString()) as object),
    [
      { Name: 'new1', Driver: 'local', DriverOpts: {}, Labels: label('a') },
      { Name: 'new2', Driver: 'local', DriverOpts: {}, Labels: { x: 'y', ...label('a') } },
    ],
  );
  // A client that comes past the guard makes it at that very moment.
  guarded.upstream.behave = (request, socket) => {
    if (isQuestion(request) && request.call.startsWith('POST'))
      answer(socket, 201, { Name: 'new1', Labels: label('b') });
    else engine(request, socket);
  };
  const late = await ask(
    guarded,
    http('POST', '/containers/create', { Image: 'alpine', HostConfig: { Binds: ['new1:/a'] } }),
  );
  t.match([late.status, late.sent], [409, []]);
  guarded.upstream.behave = engine;
  const denied = await ask(
    guarded,
    http('POST', '/containers/create', { Image: 'alpine', HostConfig: { Binds: ['new3:/a', 'bvol:/b'] } }),
  );
  t.equal(denied.status, 403);
  t.same(
    guarded.upstream.questions.filter(({ call }) => call.startsWith('POST')),
    [],
    'nothing is made for a denied call',
  );
});

t.test('objects of other owners look as if they did not exist', async (t) => {
  const guarded = await withGuard(t);
  const calls: [string, string, object?][] = [
    ['GET', '/containers/theirs/json'],
    ['GET', `/containers/${id('b')}/json`],
    ['GET', '/containers/old/json'],
    ['POST', '/containers/theirs/attach'],
    ['POST', '/containers/mine/peer/exec', { Cmd: ['id'] }],
    ['POST', '/exec/e1/start', {}],
    ['GET', '/networks/bnet'],
    ['POST', '/networks/anet/connect', { Container: 'theirs' }],
    ['GET', '/images/b/app:1/json'],
    ['GET', '/images/4444/json'],
    ['POST', '/images/b/app/push'],
    ['DELETE', '/volumes/bvol'],
    ['POST', '/commit?container=theirs'],
    ['GET', '/images/get?names=a/app:1&names=b/app:1'],
    ...[
      { Image: 'b/app:1' },
      { Image: '4444' },
      { HostConfig: { VolumesFrom: ['theirs'] } },
      { HostConfig: { NetworkMode: 'bnet' } },
      { HostConfig: { NetworkMode: 'container:theirs' } },
      { HostConfig: { IpcMode: 'container:theirs' } },
      { HostConfig: { Links: ['theirs:x'] } },
      { HostConfig: { Mounts: [{ Type: 'image', Source: 'b/app:1', Target: '/m' }] } },
      { NetworkingConfig: { EndpointsConfig: { bnet: {} } } },
      { NetworkingConfig: { EndpointsConfig: { anet: { Links: ['theirs:x'] } } } },
      // Where engines honour it when HostConfig is null.
      { VolumesFrom: ['theirs'], HostConfig: null },
    ].map((body): [string, string, object] => ['POST', '/containers/create', { Image: 'alpine', ...body }]),
  ];
  for (const [method, path, body] of calls) {
    objects = table();
    const hidden = await ask(guarded, http(method, path, body));
    for (const key of Object.keys(objects))
      if (/theirs|\/b|e1|peer|old|4444/.test(key) && key !== '/networks/bridge') delete objects[key];
    const absent = await ask(guarded, http(method, path, body));
    const plain = ({ status, headers, body: bytes }: RawAnswer): unknown => [
      status,
      { ...headers, date: '', 'content-length': '' },
      bytes.toString().replace(/ \(call .*\)/, ''),
    ];
    t.equal(hidden.status, 404, `${method} ${path} ${JSON.stringify(body)}`);
    t.same(plain(hidden), plain(absent));
    t.same([...hidden.sent, ...absent.sent], [], 'nothing reached the engine');
  }
  objects = table();
  const taken = await ask(guarded, http('POST', '/volumes/create', { Name: 'bvol' }));
  t.match([taken.status, taken.sent], [403, []], 'a name that is to be given can be taken');
  for (const repo of ['b/app', `b/app@sha256:${id('1')}`, 'b/app:9', 'docker.io/b/app']) {
    const tagged = await ask(guarded, http('POST', `/images/a/app:1/tag?repo=${repo}&tag=1`));
    t.match([tagged.status, tagged.sent], [403, []], repo);
  }
  for (const from of ['b/app:1', 'b/app:&tag=1', 'b/app&tag=1']) {
    const pulled = await ask(guarded, http('POST', `/images/create?fromImage=${from}`));
    t.match([pulled.status, pulled.sent], [403, []], from);
  }
  t.equal((await ask(guarded, http('GET', '/system/df'))).status, 403);
});

t.test('a service runs what is there, or what has a digest', async (t) => {
  const guarded = await withGuard(t);
  const run = (Image: string): Promise<{ status: number; sent: readonly Arrived[] }> =>
    ask(guarded, http('POST', '/services/create', { Name: 's', TaskTemplate: { ContainerSpec: { Image } } }));
  for (const image of ['b/app:1', 'b/new:1', 'new']) {
    t.match(await run(image), { status: 404, sent: [] }, image);
  }
  for (const image of ['alpine', 'a/app:1', `r.example/new@sha256:${id('7')}`]) {
    t.equal((await run(image)).status, 200, image);
  }
});

t.test('all tags of a repository', async (t) => {
  const guarded = await withGuard(t);
  const list = `/images/json?filters=${encodeURIComponent('{"reference":["a/app"]}')}`;
  objects['/images/a/app/json'] = objects['/images/a/app:1/json']!;
  objects[list] = [{ Id: `sha256:${id('2')}`, Labels: label('a') }];
  t.equal((await ask(guarded, http('POST', '/images/a/app/push'))).status, 200, 'all of them one’s own');
  objects[list] = [
    { Id: `sha256:${id('2')}`, Labels: label('a') },
    { Id: `sha256:${id('3')}`, Labels: label('b') },
  ];
  t.match(
    await ask(guarded, http('POST', '/images/a/app/push')),
    { status: 403, sent: [] },
    'a push without a tag pushes all',
  );
  t.equal((await ask(guarded, http('POST', '/images/a/app/push?tag=1'))).status, 200);
  for (const saved of ['/images/a/app/get', '/images/get?names=a/app:1&names=a/app']) {
    const { status, sent } = await ask(guarded, http('GET', saved));
    t.match([status, sent], [403, []], `${saved}: an archive would hold all`);
  }
  t.equal((await ask(guarded, http('GET', '/images/a/app:1/get'))).status, 200);
  t.match(
    await ask(guarded, http('POST', '/images/create?fromImage=a/app')),
    { status: 403, sent: [] },
    'so does a pull',
  );
});

t.test('an engine that does not tell: nothing passes, nothing stays held', async (t) => {
  const guarded = await withGuard(t, { upstreamTimeout: 5_000 });
  const start = http('POST', '/containers/mine/start');
  for (const [what, behave, status] of [
    ['an error', (socket: Socket) => answer(socket, 500, { message: 'out of order' }), 502],
    [
      'a name that is not clear',
      (socket: Socket) => answer(socket, 400, { message: 'Multiple IDs found' }),
      400,
    ],
    ['no JSON', (socket: Socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{{'), 502],
    ['no id', (socket: Socket) => answer(socket, 200, {}), 502],
    ['a list', (socket: Socket) => answer(socket, 200, []), 502],
    [
      'a cut answer',
      (socket: Socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{'),
      502,
    ],
  ] as const) {
    guarded.upstream.behave = (request, socket) =>
      isQuestion(request) ? behave(socket) : engine(request, socket);
    const { status: got, sent } = await ask(guarded, start);
    t.match([got, sent], [status, []], what);
  }
  guarded.upstream.behave = engine;
  t.equal((await ask(guarded, start)).status, 200, 'and afterwards all is well');
});

t.test('names are held until the engine has answered', async (t) => {
  const guarded = await withGuard(t);
  const make = http('POST', '/containers/create', {
    Image: 'alpine',
    HostConfig: { Binds: ['shared:/data'] },
  });
  let going: Socket | undefined;
  guarded.upstream.behave = (request, socket) => {
    if (request.call.startsWith('POST /containers/create')) going = socket;
    else engine(request, socket);
  };
  const first = talk(guarded.tcp, [make], { timeout: 8_000 });
  t.ok(await until(() => going !== undefined, 4_000));
  guarded.upstream.forget();
  const second = talk(guarded.unix, [http('POST', '/volumes/create', { Name: 'shared' })], {
    timeout: 8_000,
  });
  await sleep(300);
  t.same([...guarded.upstream.requests, ...guarded.upstream.questions], [], 'the other team’s call waits');
  objects['/volumes/shared'] = { Name: 'shared', Labels: label('a') };
  json()({ call: 'POST /' } as Arrived, going!);
  t.equal((await first).answers[0]?.status, 200);
  t.equal((await second).answers[0]?.status, 403, 'and is judged on what is there then');

  // A client that leaves lets go.
  going = undefined;
  const gone = talk(guarded.tcp, [make, 200, RESET], { timeout: 3_000, answers: 0 });
  t.ok(await until(() => going !== undefined, 4_000));
  await gone;
  delete objects['/volumes/shared'];
  const after = await talk(guarded.unix, [http('POST', '/volumes/create', { Name: 'shared' }), 50, FIN], {
    timeout: 8_000,
  });
  t.equal(after.answers[0]?.status, 200);
});

t.test('without a place to keep owners', async (t) => {
  await t.rejects(startGuarded({ policy: POLICY }), /"ownership": \{"state"/, 'it does not start');
  const guarded = await startGuarded({ policy: { rules: [{ id: 'x', sources: ['*'], operations: ['*'] }] } });
  t.teardown(() => guarded.close());
  await guarded.enforce(POLICY);
  const { status, body, sent } = await ask(guarded, http('GET', '/_ping'));
  t.match([status, body.toString(), sent], [503, /ownership\.state/, []], 'a reload: everything is refused');
});

t.test('locks of names: which calls wait for each other', async (t) => {
  const locks = openNameLocks();
  const shared = { name: 'image:x', mode: 'shared' } as const;
  const byOwner = { name: 'image:x', mode: 'owner' } as const;
  const exclusive = { name: 'image:x', mode: 'exclusive' } as const;
  const tries: [
    typeof shared | typeof byOwner | typeof exclusive,
    string,
    typeof shared | typeof byOwner | typeof exclusive,
    string,
    boolean,
  ][] = [
    [shared, 'a', shared, 'b', true],
    [byOwner, 'a', byOwner, 'a', true],
    [byOwner, 'a', shared, 'a', true],
    [byOwner, 'a', byOwner, 'b', false],
    [byOwner, 'a', shared, 'b', false],
    [shared, 'a', byOwner, 'b', false],
    [exclusive, 'a', byOwner, 'a', false],
    [byOwner, 'a', exclusive, 'a', false],
  ];
  for (const [lock, holder, waitingLock, second, isFree] of tries) {
    const release = await locks.hold([lock], holder);
    let held = false;
    const waiting = locks.hold([waitingLock], second).then((letGo) => {
      held = true;
      letGo();
    });
    await sleep(60);
    t.equal(held, isFree, `${lock.mode} of ${holder}, ${waitingLock.mode} of ${second}`);
    release();
    release();
    await waiting;
    t.equal(locks.size, 0);
  }
  const release = await locks.hold([byOwner, { name: 'image:y', mode: 'owner' }], 'a');
  await t.rejects(
    locks.hold([{ name: 'image:y', mode: 'owner' }, byOwner], 'b'),
    Refusal,
    'no one waits for ever',
  );
  release();
  t.equal(locks.size, 0);
});

t.test('a call that ends while it still waits for a name lets go of the name', async (t) => {
  const guarded = await withGuard(t);
  let removes: Socket | undefined;
  guarded.upstream.behave = (request, socket) => {
    const listsImages = isQuestion(request) && request.call.startsWith('GET /images/json');
    if (request.call.startsWith('DELETE ')) removes = socket;
    else if (listsImages) answer(socket, 500, { message: 'no list' });
    else engine(request, socket);
  };
  const removal = http('DELETE', '/images/a/app:1');
  const first = talk(guarded.tcp, [removal], { timeout: 8_000 });
  t.ok(await until(() => removes !== undefined, 5_000), 'the name is held');
  // It waits for the name, and what it asks meanwhile fails.
  const pull = await talk(guarded.unix, [http('POST', '/images/create?fromImage=a/app&tag=1')]);
  t.equal(pull.answers[0]?.status, 502);
  answer(removes!, 200, []);
  t.equal((await first).answers[0]?.status, 200);
  await sleep(100);
  guarded.upstream.behave = engine;
  t.equal((await ask(guarded, removal)).status, 200, 'nobody holds the name');
});

t.test('the key, and who pulled what', async (t) => {
  const file = join(root, 'own.key');
  const one = openOwnerLabels(file);
  t.equal(statSync(file).mode & 0o777, 0o600);
  t.equal(
    openOwnerLabels(file).ownerOf({ 'breakwater.owner': one.labelFor('a.b') }),
    'a.b',
    'after a restart',
  );
  for (const made of [
    'a.b',
    'a.b.',
    `a.b.${'0'.repeat(32)}`,
    one.labelFor('a').replace('a.', 'b.'),
    '',
    'x'.repeat(10_000),
    7,
    null,
  ]) {
    t.equal(one.ownerOf({ 'breakwater.owner': made }), '', String(made).slice(0, 40));
  }
  for (const odd of [undefined, null, [], 'text', 7]) t.equal(one.ownerOf(odd), '');
  t.equal(one.labelFor(''), '');
  t.notOk(
    openOwnerLabels(join(root, 'other.key')).ownerOf({ 'breakwater.owner': one.labelFor('a') }),
    'another key',
  );
  writeFileSync(file, 'short');
  t.throws(() => openOwnerLabels(file), /own\.key is no key/);

  const pulled = join(root, 'pulled.jsonl');
  const warned: string[] = [];
  const images = openImageOwners(pulled, (message) => warned.push(message));
  images.add('sha256:1', 'a');
  images.add('sha256:1', 'b');
  images.add('sha256:1', 'a');
  images.add('sha256:2', 'a');
  images.remove('sha256:2');
  images.remove('sha256:9');
  images.close();
  t.equal(readFileSync(pulled, 'utf8').trim().split('\n').length, 4);
  writeFileSync(pulled, `${readFileSync(pulled, 'utf8')}{"image":"sha256:3","own`);
  const again = openImageOwners(pulled, () => {});
  again.add('sha256:4', 'c');
  again.close();
  const last = openImageOwners(pulled, () => {});
  t.same(
    [last.of('sha256:1'), last.of('sha256:2'), last.of('sha256:3'), last.of('sha256:4')],
    [['a', 'b'], [], [], ['c']],
  );
  last.close();
  t.ok(existsSync(pulled));
  chmodSync(pulled, 0o600);
});
