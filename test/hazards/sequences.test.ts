import fc from 'fast-check';
import t from 'tap';
import type { OperationId } from '../../src/docker/operation.js';
import { reachesHost } from '../../src/hazards/host-access.js';
import { clientKey } from '../../src/history/sequences.js';
import { aux, id, newPlayer, raisedBy, type Act } from '../support/sequence-player.js';

// Which calls, in which order, are an attack: each step alone is harmless, and so is every story that lacks one.

const IMAGE = 'abcdef012345';
const BOX = 'b0b0b0b0b0b0';

const ping: Act = { operation: 'SystemPing' };
const list: Act = { operation: 'ContainerList' };
const build = (query: object = { t: ['x9f3'] }): Act => ({
  operation: 'ImageBuild',
  parts: { query: query as never },
  answer: aux(IMAGE),
});
const create = (Image: string, more: Partial<Act> = {}): Act => ({
  operation: 'ContainerCreate',
  parts: { query: { name: 'box' }, body: { Image } },
  answer: `{"Id":"${id(BOX)}","Warnings":[]}`,
  ...more,
});
const start = (name: string, more: Partial<Act> = {}): Act => ({
  operation: 'ContainerStart',
  parts: { path: { id: name } },
  ...more,
});
const tag = (from: string, repo: string): Act => ({
  operation: 'ImageTag',
  parts: { path: { name: from }, query: { repo, tag: '' } },
});

/** The image as the engine knows it. */
const engineImage = (
  reference: string,
  digits = IMAGE,
  names: readonly string[] = [],
  created = NaN,
): Partial<Act> => ({
  engine: { image: { reference, id: id(digits), names, created } },
});

const look = [ping, list];

const ATTACKS: readonly (readonly [name: string, acts: readonly Act[], section?: object])[] = [
  ['as published', [...look, build(), create('x9f3')]],
  ['a tag with a registry', [...look, build({ t: ['r.example/a/b:7'] }), create('r.example/a/b:7')]],
  ['the long form of a short name', [...look, build({ t: ['x9'] }), create('docker.io/library/x9:latest')]],
  ['one of several tags', [...look, build({ t: ['a', 'b:2'] }), create('b:2')]],
  ['no tag: the short id', [...look, build({}), create(IMAGE)]],
  ['a few digits of the id', [...look, build({}), create(IMAGE.slice(0, 5))]],
  ['the whole id', [...look, build({}), create(id(IMAGE))]],
  ['the whole id, with its algorithm', [...look, build({}), create(`sha256:${id(IMAGE)}`)]],
  ['a digest', [...look, build(), create(`other@sha256:${id(IMAGE)}`)]],
  ['a name given later', [...look, build({}), tag(IMAGE, 'alpine'), create('alpine')]],
  ['two names given later', [...look, build({}), tag(IMAGE, 'a1'), tag('a1', 'b1'), create('b1')]],
  ['a name the guard never saw', [...look, build({}), create('y', engineImage('y'))]],
  ['version instead of ping', [{ operation: 'SystemVersion' }, list, build(), create('x9f3')]],
  [
    'info instead of ping, disk usage instead of the list',
    [{ operation: 'SystemInfo' }, { operation: 'SystemDataUsage' }, build(), create('x9f3')],
  ],
  ['HEAD', [{ operation: 'SystemPingHead' }, list, build(), create('x9f3')]],
  ['a list first', [list, ping, build(), create('x9f3')]],
  [
    'a list with another filter',
    [
      ping,
      { operation: 'ContainerList', parts: { query: { filters: { status: ['running'] } } } },
      build(),
      create('x9f3'),
    ],
  ],
  [
    'pauses',
    [
      ping,
      { ...list, after: 600_000 },
      { ...build(), after: 2_700_000 },
      create('x9f3', { after: 3_500_000 }),
    ],
  ],
  [
    'an old API, whose builds print only text',
    [
      ...look,
      {
        operation: 'ImageBuild',
        parts: { version: '1.24' },
        answer: `{"stream":"Successfully built ${IMAGE}\\n"}`,
      },
      create(IMAGE),
    ],
  ],
  [
    'an old API, quiet',
    [
      ...look,
      { operation: 'ImageBuild', parts: { version: '1.24' }, answer: `{"stream":"sha256:${id(IMAGE)}\\n"}` },
      create(IMAGE),
    ],
  ],
  [
    'BuildKit in one request',
    [
      ...look,
      {
        operation: 'ImageBuild',
        parts: { query: { version: '2' } },
        answer: `{"id":"moby.image.id","aux":{"ID":"sha256:${id(IMAGE)}"}}`,
      },
      create(IMAGE),
    ],
  ],
  [
    'commit',
    [
      ...look,
      {
        operation: 'ImageCommit',
        parts: { query: { container: 'c', repo: 'x' } },
        answer: `{"Id":"sha256:${id(IMAGE)}"}`,
      },
      create('x'),
    ],
  ],
  [
    'commit without a name',
    [...look, { operation: 'ImageCommit', answer: `{"Id":"sha256:${id(IMAGE)}"}` }, create(IMAGE)],
  ],
  [
    'import',
    [
      ...look,
      {
        operation: 'ImageCreate',
        parts: { query: { fromSrc: '-', repo: 'x', tag: '3' } },
        answer: `{"status":"sha256:${id(IMAGE)}"}`,
      },
      create('x:3'),
    ],
  ],
  [
    'load, by name',
    [
      ...look,
      { operation: 'ImageLoad', answer: '{"stream":"Loaded image: r.example:5000/x:3\\n"}' },
      create('r.example:5000/x:3'),
    ],
  ],
  [
    'load, by name, and the engine says so',
    [
      ...look,
      { operation: 'ImageLoad', answer: '{"stream":"Loaded image: x:3\\n"}' },
      create('77', engineImage('77', '776655443322', ['x:3'])),
    ],
  ],
  [
    'load, by id',
    [
      ...look,
      { operation: 'ImageLoad', answer: `{"stream":"Loaded image ID: sha256:${id(IMAGE)}\\n"}` },
      create(IMAGE),
    ],
  ],
  ['another client runs it', [...look, build(), create('x9f3', { by: '192.0.2.99' })]],
  [
    'the one who runs it looked around',
    [
      { ...ping, by: '192.0.2.99' },
      { ...list, by: '192.0.2.99' },
      build(),
      create('x9f3', { by: '192.0.2.99' }),
    ],
  ],
  [
    'each looked at one thing',
    [{ ...ping, by: '192.0.2.99' }, list, build(), create('x9f3', { by: '192.0.2.99' })],
  ],
  [
    'another /64 address',
    [
      { ...ping, by: '2001:db8::1' },
      { ...list, by: '2001:db8::2' },
      { ...build(), by: '2001:db8::3' },
      create('x9f3', { by: '192.0.2.8' }),
    ],
  ],
  [
    'built again by a client that looked at nothing',
    [...look, build(), { ...build(), by: '192.0.2.99' }, create('x9f3', { by: '192.0.2.99' })],
  ],
  [
    'built again by a client that looked at nothing, and run by its id',
    [...look, build({}), { ...build({}), by: '192.0.2.99' }, create(IMAGE, { by: '192.0.2.99' })],
  ],
  [
    'another image under the same name, built by a client that looked at nothing',
    [
      ...look,
      build(),
      { ...build(), by: '192.0.2.99', answer: aux('111111111111') },
      create('x9f3', { by: '192.0.2.99' }),
    ],
  ],
  [
    'a flood of pings after the build',
    [...look, build(), ...Array<Act>(300).fill({ ...ping, after: 7_000 }), create('x9f3')],
  ],
  [
    'a flood of other builds',
    [
      ...look,
      build(),
      ...Array.from({ length: 300 }, (_, n) => ({
        ...build({ t: [`n${n}`] }),
        answer: aux(n.toString(16).padStart(12, '0')),
      })),
      create('x9f3'),
    ],
  ],
  [
    'a service',
    [
      ...look,
      build(),
      { operation: 'ServiceCreate', parts: { body: { TaskTemplate: { ContainerSpec: { Image: 'x9f3' } } } } },
    ],
  ],
  [
    'without a look around, where that is not asked for',
    [build(), create('x9f3')],
    { 'build-and-run': { discovery: false } },
  ],
];

await t.test('build and run: raised however it is called', async (t) => {
  for (const [name, acts, section] of ATTACKS) {
    t.strictSame(raisedBy(acts, section), ['build-and-run'], name);
  }
  t.comment(`${ATTACKS.length} of ${ATTACKS.length} forms`);
});

await t.test('build and run: an intermediate image of a build is recognised by its age', async (t) => {
  const player = newPlayer();
  for (const act of look) player.play(act);
  const before = player.now();
  player.play({ ...build({}), answer: '{"stream":"Step"}' });
  const step = (created: number): readonly string[] => {
    const digits = `55${String(created).slice(-10)}`;
    return player.play(create('55', engineImage('55', digits, [], created))).hazards;
  };
  t.strictSame(step(before + 15), ['build-and-run'], 'made while the build ran');
  t.strictSame(step(before - 60_000), [], 'older');
  t.strictSame(step(before + 9_000_000), [], 'made when nothing was built');
});

await t.test('build and run: BuildKit’s own connections count while they are open', async (t) => {
  const player = newPlayer();
  for (const act of look) player.play(act);
  const before = player.now();
  player.play({ operation: 'Grpc', runs: true });
  const acts = create('kit', {
    after: 600_000,
    ...engineImage('kit', '556655443322', ['kit:latest'], before + 300_000),
  });
  t.strictSame(player.play(acts).hazards, ['build-and-run']);
});

const between = (player: ReturnType<typeof newPlayer>, acts: readonly Act[]): string[] =>
  acts.flatMap((act) => player.play(act).hazards);

await t.test('build and run: at the start, where the look around came after the create', async (t) => {
  for (const [how, act] of [
    ['name', start('box')],
    ['a slash before it', start('/box')],
    ['short id', start(BOX)],
    ['whole id', start(id(BOX))],
    ['restart', { ...start('box'), operation: 'ContainerRestart' }],
  ] as const) {
    const player = newPlayer();
    // The creator looked at nothing, who starts it did, before the build.
    const acts = [{ ...ping, by: '192.0.2.9' }, { ...list, by: '192.0.2.9' }, build(), create('x9f3')];
    t.strictSame(between(player, acts), [], 'not yet');
    t.strictSame(player.play({ ...act, by: '192.0.2.9' }).hazards, ['build-and-run'], how);
  }
  const player = newPlayer();
  const rename: Act = {
    operation: 'ContainerRename',
    parts: { path: { id: 'box' }, query: { name: '/nginx' } },
  };
  between(player, [...look, build(), create('x9f3'), rename]);
  t.strictSame(player.play(start('nginx')).hazards, ['build-and-run'], 'renamed');
});

await t.test(
  'build and run: a restart of a container that another client was permitted to run',
  async (t) => {
    const player = newPlayer();
    between(player, [...look, build(), create('x9f3')]);
    const restart: Act = { operation: 'ContainerRestart', parts: { path: { id: 'box' } }, by: '192.0.2.9' };
    t.strictSame(player.play(restart).hazards, ['build-and-run'], 'before it ran');
    t.strictSame(player.play(restart).hazards, [], 'after that was let pass');
  },
);

await t.test("build and run: at the start, by the engine's record of the container", async (t) => {
  const container = (created: number, image = IMAGE, started = false): Partial<Act> => ({
    engine: { container: { id: id('c1c1c1c1c1c1'), image: id(image), created, started } },
  });
  const player = newPlayer();
  between(player, [...look, build({})]);
  t.strictSame(
    player.play(start('x', container(player.now() + 5))).hazards,
    ['build-and-run'],
    'unseen create',
  );
  t.strictSame(player.play(start('x', container(player.now(), '111111111111'))).hazards, [], 'another image');
  t.strictSame(
    player.play(start('x', container(player.now() - 90_000))).hazards,
    [],
    'a container from before',
  );
  const ran = container(player.now() + 5, IMAGE, true);
  t.strictSame(player.play(start('x', ran)).hazards, [], 'one that was let run before');
});

const HONEST: readonly (readonly [name: string, acts: readonly Act[], section?: object])[] = [
  ['no look at the engine', [list, build(), create('x9f3')]],
  ['no list of containers', [ping, build(), create('x9f3')]],
  [
    'a list by label, as Compose does',
    [
      ping,
      {
        operation: 'ContainerList',
        parts: { query: { filters: { label: ['com.docker.compose.project=x'] } } },
      },
      build(),
      create('x9f3'),
    ],
  ],
  ['no build', [...look, create('x9f3')]],
  ['another image', [...look, build(), create('alpine')]],
  ['another image, whose id is alike', [...look, build({}), create('abcdef012346')]],
  [
    'the name was taken by another image since',
    [...look, build(), create('x9f3', engineImage('x9f3', '999999999999', ['x9f3:latest']))],
  ],
  ['another tag', [...look, build({ t: ['x:1'] }), create('x:2')]],
  ['no run', [...look, build(), start('other')]],
  ['the look around came after the build', [build(), ...look, create('x9f3')]],
  ['the look around was long ago', [...look, { ...build(), after: 3_700_000 }, create('x9f3')]],
  ['the build was long ago', [...look, build(), create('x9f3', { after: 3_700_000 })]],
  [
    'a build that a step only pretends',
    [
      ...look,
      {
        ...build({}),
        answer: `{"stream":"{\\"aux\\":{\\"ID\\":\\"sha256:${id('111111111111')}\\"}}\\n"}{"stream":"Successfully built 111111111111\\n"}`,
      },
      create('111111111111'),
    ],
  ],
  ['a build that was refused', [...look, { ...build(), refused: 'hazard' }, create('x9f3')]],
  ['switched off', [...look, build(), create('x9f3')], { 'build-and-run': false }],
  ['alert only', [...look, build(), create('x9f3')], { 'build-and-run': { action: 'alert' } }],
  [
    'a short window',
    [...look, build(), create('x9f3', { after: 70_000 })],
    { 'build-and-run': { window: '1m' } },
  ],
];

await t.test('build and run: calls that complete nothing', async (t) => {
  for (const [name, acts, section] of HONEST) t.strictSame(raisedBy(acts, section), [], name);
});

await t.test('records name the calls, and denials say why', async (t) => {
  const player = newPlayer({ 'build-and-run': { action: 'alert' } });
  const from = player.now();
  between(player, [...look, build()]);
  const { findings, hazards } = player.play(create('x9f3'));
  t.strictSame(hazards, []);
  t.match(findings, [
    {
      sequence: 'build-and-run',
      action: 'alert',
      calls: ['SystemPing-1', 'ContainerList-2', 'ImageBuild-3'],
      since: from + 10,
    },
  ]);
  t.match(
    findings[0]?.why,
    /by ImageBuild \(call ImageBuild-3\) after a look around \(calls SystemPing-1, ContainerList-2\)/,
  );
});

const BENIGN: readonly Act[] = [
  ping,
  list,
  { operation: 'ImageList' },
  { operation: 'ContainerInspect', parts: { path: { id: 'web' } } },
  { operation: 'ContainerStats', parts: { path: { id: 'web' } } },
  { operation: 'ImageInspect', parts: { path: { name: 'alpine' } } },
  {
    operation: 'ImageCreate',
    parts: { query: { fromImage: 'alpine', tag: '3' } },
    engine: { hadRepository: true },
  },
  create('alpine', { parts: { body: { Image: 'alpine' } }, answer: `{"Id":"${id('d0d0d0d0d0d0')}"}` }),
  start('web'),
  { operation: 'ContainerExec', parts: { path: { id: 'web' }, body: { Cmd: ['true'] } } },
  { operation: 'SystemEvents' },
  { ...ping, by: '198.51.100.7' },
  { ...list, by: '198.51.100.7/ci' },
  { operation: 'ImageTag', parts: { path: { name: 'alpine' }, query: { repo: 'other', tag: '1' } } },
];

await t.test('property: whatever is done in between, the order decides', async (t) => {
  const [steps] = [[ping, list, build(), create('x9f3')]];
  const gaps = fc.array(fc.array(fc.constantFrom(...BENIGN), { maxLength: 12 }), {
    minLength: 4,
    maxLength: 4,
  });
  fc.assert(
    fc.property(gaps, (fill) => {
      const acts = steps.flatMap((step, n) => [...fill[n]!, step]);
      return raisedBy(acts).join() === 'build-and-run';
    }),
    { numRuns: 150 },
  );
  const others = BENIGN.filter((act) => !['SystemPing', 'ContainerList'].includes(act.operation));
  const missing = fc.tuple(
    fc.integer({ min: 0, max: 3 }),
    fc.array(fc.array(fc.constantFrom(...others), { maxLength: 12 }), { minLength: 4, maxLength: 4 }),
  );
  fc.assert(
    fc.property(missing, ([without, fill]) => {
      const acts = steps.flatMap((step, n) => [...fill[n]!, ...(n === without ? [] : [step])]);
      return raisedBy(acts).length === 0;
    }),
    { numRuns: 150 },
  );
  t.pass('300 stories');
});

const pull = (fromImage: string, hadRepository?: boolean): Act => ({
  operation: 'ImageCreate',
  parts: { query: { fromImage, tag: '1' } },
  ...(hadRepository === undefined ? {} : { engine: { hadRepository } }),
});
const run = (Image: string, HostConfig: object, more: Partial<Act> = {}): Act => ({
  operation: 'ContainerCreate',
  parts: { body: { Image, HostConfig } as never },
  ...more,
});
const ROOT = { Binds: ['/:/host'] };

await t.test('pull and escape', async (t) => {
  for (const [name, acts] of [
    ['privileged', [pull('evil/x', false), run('evil/x:1', { Privileged: true })]],
    ['the root of the host', [pull('evil/x', false), run('evil/x:1', ROOT)]],
    ['the engine’s socket', [pull('evil/x', false), run('evil/x:1', { Binds: ['/var/run/docker.sock:/s'] })]],
    ['host processes', [pull('evil/x', false), run('evil/x:1', { PidMode: 'host' })]],
    ['a device', [pull('evil/x', false), run('evil/x:1', { Devices: [{ PathOnHost: '/dev/sda' }] })]],
    ['a capability', [pull('evil/x', false), run('evil/x:1', { CapAdd: ['CAP_SYS_ADMIN'] })]],
    ['confinement', [pull('evil/x', false), run('evil/x:1', { SecurityOpt: ['apparmor=unconfined'] })]],
    [
      'a volume that is a bind',
      [
        pull('evil/x', false),
        run('evil/x:1', {
          Mounts: [
            {
              Type: 'volume',
              Target: '/h',
              VolumeOptions: {
                DriverConfig: { Name: 'local', Options: { type: 'none', o: 'bind', device: '/etc' } },
              },
            },
          ],
        }),
      ],
    ],
    ['another tag of it', [pull('evil/x', false), run('evil/x:2', ROOT)]],
    ['the engine did not say', [pull('evil/x'), run('evil/x:1', ROOT)]],
    ['pulled twice', [pull('evil/x', false), pull('evil/x', true), run('evil/x:1', ROOT)]],
    ['run by another client', [pull('evil/x', false), run('evil/x:1', ROOT, { by: '192.0.2.77' })]],
    ['by id', [pull('evil/x', false), run('abc1', ROOT, engineImage('abc1', 'abc1abc1abc1', ['evil/x:1']))]],
    [
      'under another name, the first one removed',
      [
        pull('evil/x', false),
        { ...tag('evil/x:1', 'nginx'), ...engineImage('evil/x:1', 'abc1abc1abc1', ['evil/x:1']) },
        run('nginx', ROOT, engineImage('nginx', 'abc1abc1abc1', ['nginx:latest'])),
      ],
    ],
  ] as const) {
    t.strictSame(raisedBy(acts), ['pull-and-escape'], name);
  }
  for (const [name, acts] of [
    ['known before, as an update is', [pull('app/x', true), run('app/x:1', ROOT)]],
    [
      'nothing of the host',
      [
        pull('evil/x', false),
        run('evil/x:1', { NetworkMode: 'bridge', PortBindings: { '80/tcp': [{ HostPort: '80' }] } }),
      ],
    ],
    [
      'data of an application',
      [
        pull('app/x', false),
        run('app/x:1', {
          Binds: [
            '/srv/app/data:/data',
            '/home/me/project/conf:/etc/app',
            '/etc/localtime:/etc/localtime:ro',
          ],
        }),
      ],
    ],
    ['another image', [pull('evil/x', false), run('alpine', ROOT)]],
    ['long ago', [pull('evil/x', false), run('evil/x:1', ROOT, { after: 3_700_000 })]],
    ['a pull that was refused', [{ ...pull('evil/x', false), refused: 'condition' }, run('evil/x:1', ROOT)]],
  ] as const) {
    t.strictSame(raisedBy(acts), [], name);
  }
});

await t.test('which paths are the host’s own', async (t) => {
  const own = (argument: string): boolean => reachesHost({ kind: 'bind', argument });
  for (const path of [
    '/',
    '/etc',
    '/etc/cron.d',
    '/root/.ssh',
    '/home',
    '/home/me',
    '/home/me/.ssh',
    '/var',
    '/var/lib/docker/volumes',
    '/proc',
    '/usr/local/bin',
    '/dev/sda',
    'C:\\',
  ]) {
    t.ok(own(path), path);
  }
  for (const path of [
    '/srv/x',
    '/home/me/project',
    '/opt/app',
    '/data',
    '/var/www',
    '/var/lib/postgresql',
    '/mnt/disk',
    '/etc/timezone',
    '/etcetera',
  ]) {
    t.notOk(own(path), path);
  }
});

const exec = (container: string, more: Partial<Act> = {}): Act => ({
  operation: 'ContainerExec',
  parts: { path: { id: container }, body: { Cmd: ['id'] } },
  ...more,
});
const boxes = (count: number, more: Partial<Act> = {}): Act[] =>
  Array.from({ length: count }, (_, n) => exec(`box-${n}`, more));

await t.test('exec spread', async (t) => {
  t.strictSame(raisedBy(boxes(11)), ['exec-spread'], 'the eleventh');
  t.strictSame(raisedBy(boxes(10)), [], 'ten');
  t.strictSame(raisedBy([...boxes(10), ...boxes(10), ...boxes(10)]), [], 'the same ten again');
  t.strictSame(raisedBy(boxes(40, { after: 31_000 })), [], 'slowly');
  t.strictSame(raisedBy(boxes(12).map((act, n) => ({ ...act, by: `192.0.2.${n % 2}` }))), [], 'two clients');
  const stdin = (n: number, flag: boolean): Act => ({
    operation: 'ContainerAttach',
    parts: { path: { id: `box-${n}` }, query: { stdin: flag, stream: true } },
  });
  t.strictSame(
    raisedBy(Array.from({ length: 11 }, (_, n) => stdin(n, true))),
    ['exec-spread'],
    'attach with input',
  );
  t.strictSame(raisedBy(Array.from({ length: 30 }, (_, n) => stdin(n, false))), [], 'attach without');
  const ids = Array.from({ length: 30 }, (_, n) => n.toString(16).padStart(12, '0'));
  const runs = ids.flatMap((one): Act[] => [
    { operation: 'ContainerCreate', parts: { body: { Image: 'alpine' } }, answer: `{"Id":"${id(one)}"}` },
    { operation: 'ContainerAttach', parts: { path: { id: id(one) }, query: { stdin: true } } },
    exec(one),
  ]);
  t.strictSame(raisedBy(runs), [], 'its own containers');
  t.strictSame(
    raisedBy(runs.map((act) => (act.operation === 'ContainerExec' ? { ...act, by: '192.0.2.66' } : act))),
    Array<string>(20).fill('exec-spread'),
    'those of others',
  );
  t.strictSame(
    raisedBy([...boxes(9), ...boxes(300, { refused: 'condition' })]),
    [],
    'what is refused is no entry',
  );
});

const refused = (operation: OperationId, more: Partial<Act> = {}): Act => ({
  operation,
  refused: 'no-rule',
  ...more,
});
const KINDS: readonly OperationId[] = [
  'ImageBuild',
  'ImageLoad',
  'SwarmInspect',
  'SecretList',
  'NodeList',
  'PluginList',
  'ConfigList',
  'TaskList',
  'VolumeList',
];
const scan = (rounds: number, kinds: readonly OperationId[] = KINDS, more: Partial<Act> = {}): Act[] =>
  Array.from({ length: rounds }, () => kinds.map((one) => refused(one, more))).flat();

await t.test('probing', async (t) => {
  const counts = (acts: readonly Act[], section: object = {}): [alerts: number, hazards: number] => {
    const player = newPlayer(section);
    const heard = acts.map((act) => player.play(act));
    return [
      heard.filter(({ findings }) => findings.length > 0).length,
      heard.flatMap(({ hazards }) => hazards).length,
    ];
  };
  t.strictSame(counts(scan(3)), [8, 0], 'on record from the twentieth on, and no hazard');
  t.strictSame(counts(scan(3).slice(0, 19)), [0, 0], 'nineteen');
  t.strictSame(counts(scan(500, ['SecretList'])), [0, 0], 'a poll that is denied');
  t.strictSame(counts(scan(500, KINDS.slice(0, 7))), [0, 0], 'seven such polls');
  t.strictSame(counts(scan(3, KINDS, { after: 60_000 })), [0, 0], 'slowly');
  t.strictSame(counts(scan(3).map((act, n) => ({ ...act, by: `192.0.2.${n}` }))), [0, 0], 'many clients');
  const deny = { probing: { action: 'deny' } };
  t.strictSame(counts([...scan(3), ping, list], deny), [9, 9], 'with deny, every further call');
  t.strictSame(counts([...scan(3), { ...ping, by: '192.0.2.7' }], deny), [7, 7], 'of that client alone');
  t.strictSame(
    counts([...scan(3), ...scan(90, ['ImageList'], { after: 5_000, refused: 'hazard' }), ping], deny)[1] < 80,
    true,
    'what is refused for it does not prolong it',
  );
});

await t.test('clients are distinguished by source and address, of IPv6 by the /64', async (t) => {
  const key = (address: string, sources: readonly string[] = []): string =>
    clientKey({ listener: 'tcp', address, port: 1, certificate: [], tokenSha256: '' }, sources);
  for (const [one, other, same] of [
    ['2001:db8::1', '2001:db8::ffff:1', true],
    ['2001:db8:0:0:1::', '2001:db8::5', true],
    ['2001:0db8::1', '2001:DB8::', true],
    ['2001:db8:0:1::1', '2001:db8::1', false],
    ['2001:db8:1::', '2001:db8::', false],
    ['::1', '::2', true],
    ['fe80::1%eth0', 'fe80::1%eth1', true],
    ['192.0.2.1', '192.0.2.2', false],
  ] as const) {
    t.equal(key(one) === key(other), same, `${one} ${other}`);
  }
  t.not(key('192.0.2.1'), key('192.0.2.1', ['ci']));
  t.not(key(''), key('192.0.2.1'));
});
