import fc from 'fast-check';
import t from 'tap';
import type { Call, NamePlace, Reference } from '../../src/docker/call.js';
import { OPERATIONS } from '../../src/docker/catalogue.js';
import type { JsonObject, JsonValue } from '../../src/base/json.js';
import type { OperationId } from '../../src/docker/operation.js';
import { referencesOf, subjectOf } from '../../src/hazards/ownership.js';
import { makeCall, type Parts } from './make-call.js';

/** `kind name`, and how it is used where that is more than to use it. */
const show = ({ kind, name, use }: Reference): string => `${kind} ${name}${use === 'use' ? '' : ` (${use})`}`;

/** Is this what stands there? A link without an alias gets its name as one, so that an id can stand before it. */
const stands = (call: Call, { name, place }: Reference): boolean =>
  place === undefined ||
  [place.before + name + place.after, place.before + name].some(
    (whole, which) => textAt(call, place) === whole && (which === 0 || place.after === `:${name}`),
  );

/** The text that stands in a place of a call. */
function textAt(call: Call, { in: part, steps }: NamePlace): unknown {
  if (part === 'path') return call.path[steps[0]!];
  if (part === 'query') return call.query[steps[0]!]?.value;
  let value: JsonValue | undefined = call.body.kind === 'json' ? call.body.value : undefined;
  for (const step of steps) value = (value as JsonObject | undefined)?.[step];
  return value;
}

t.test('every operation of the catalogue has been looked at', async (t) => {
  const unknown = subjectOf('ContainerTeleport');
  t.strictSame(unknown, { kind: 'engine', what: 'unknown' }, 'one that nobody knows is about the engine');
  for (const name of ['constructor', '__proto__', 'toString']) t.equal(subjectOf(name), unknown, name);
  t.strictSame(
    OPERATIONS.map(({ id }) => id).filter((id) => subjectOf(id) === unknown),
    [],
  );
  // A parameter of the path that is not looked up would be a way to the objects of others.
  const named = OPERATIONS.filter(({ id, path }) => path.includes('{') && subjectOf(id).kind === 'names');
  t.ok(named.length > 50);
  for (const { id, path } of named) {
    const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
    const call = makeCall(id, {
      path: Object.fromEntries(parameters.map((name) => [name, `the-${name}`])),
      body: {},
    });
    const found = referencesOf(call, {}).map(({ name }) => name);
    // The name of a repository at a registry is nothing that the engine has; checkpoints belong to their container.
    const own = parameters.filter(
      (name) => name !== 'checkpoint' && id !== 'DistributionInspect' && !found.includes(`the-${name}`),
    );
    t.strictSame(own, [], `${id} ${path}`);
  }
});

const inside = (HostConfig: JsonObject): Parts => ({ body: { Image: '', HostConfig } });
const run = (ContainerSpec: JsonObject, task: JsonObject = {}, more: JsonObject = {}): Parts => ({
  body: { TaskTemplate: { ContainerSpec: { Image: '', ...ContainerSpec }, ...task }, ...more },
});

/** Operation, call, what it names besides nothing. */
const TABLE: readonly (readonly [OperationId, Parts, readonly string[], Record<string, string[]>?])[] = [
  ['ContainerCreate', { body: { Image: 'app:1' } }, ['image app:1']],
  ['ContainerCreate', inside({ VolumesFrom: ['one', '/two:ro'] }), ['container one', 'container /two']],
  [
    'ContainerCreate',
    inside({ Links: ['one', 'two:db', '/three:/own/db', ''] }),
    ['container one', 'container two', 'container three'],
  ],
  [
    'ContainerCreate',
    inside({
      NetworkMode: 'container:n',
      PidMode: 'container:p',
      IpcMode: 'container:i',
      UTSMode: 'container:u',
      UsernsMode: 'container:s',
      CgroupnsMode: 'container:c',
      Cgroup: 'container:g',
    }),
    ['n', 'p', 'i', 'u', 's', 'c', 'g'].map((name) => `container ${name}`),
  ],
  ['ContainerCreate', inside({ NetworkMode: 'net' }), ['network net']],
  ...['', 'default', 'bridge', 'none', 'host', 'nat'].map(
    (NetworkMode) => ['ContainerCreate', inside({ NetworkMode }), []] as const,
  ),
  ['ContainerCreate', inside({ PidMode: 'host', IpcMode: 'shareable', UTSMode: 'host' }), []],
  ['ContainerCreate', inside({ Binds: ['data:/a', '/srv:/b:ro', '/anonymous', 'alone'] }), ['volume data']],
  [
    'ContainerCreate',
    inside({
      Mounts: [
        { Type: 'volume', Source: 'data', Target: '/a' },
        { Type: 'volume', Target: '/b' },
        { Type: 'cluster', Source: 'far', Target: '/c' },
        { Type: 'image', Source: 'app:1', Target: '/d' },
        { Type: 'bind', Source: '/srv', Target: '/e' },
        { Type: 'tmpfs', Target: '/f' },
      ],
    }),
    ['volume data', 'volume far', 'image app:1'],
  ],
  [
    'ContainerCreate',
    {
      body: {
        Image: '',
        NetworkingConfig: {
          EndpointsConfig: { front: { NetworkID: 'back', Links: ['one:x'] }, bridge: {}, 'container:no': {} },
        },
      },
    },
    ['network front', 'network back', 'container one'],
  ],
  // Engines take host settings from the top level when there is no HostConfig.
  [
    'ContainerCreate',
    { body: { Image: '', VolumesFrom: ['one'], NetworkMode: 'net', Binds: ['data:/a'] } },
    ['container one', 'network net', 'volume data'],
  ],
  ['NetworkConnect', { path: { id: 'net' }, body: { Container: 'c' } }, ['network net', 'container c']],
  [
    'NetworkConnect',
    { path: { id: 'bridge' }, body: { Container: 'c', EndpointConfig: { Links: ['one:x'] } } },
    ['container c', 'container one'],
  ],
  ['NetworkCreate', { body: { Name: 'n', ConfigFrom: { Network: 'other' } } }, ['network other']],
  ['VolumeCreate', { body: { Name: 'data' } }, ['volume data']],
  ['VolumeCreate', { body: {} }, []],
  ['VolumeDelete', { path: { name: 'data' } }, ['volume data (change)']],
  [
    'ServiceCreate',
    run(
      {
        Image: 'app:1',
        Secrets: [{ SecretID: 's1', SecretName: 'x' }],
        Configs: [{ ConfigID: 'c1' }],
        Mounts: [{ Type: 'volume', Source: 'data', Target: '/a' }],
        Privileges: { CredentialSpec: { Config: 'c2' } },
      },
      { Networks: [{ Target: 'front' }] },
      { Networks: [{ Target: 'back' }] },
    ),
    ['image app:1', 'network front', 'network back', 'secret s1', 'config c1', 'config c2', 'volume data'],
  ],
  ['ServiceCreate', run({}, { NetworkAttachmentSpec: { ContainerID: 'c' } }), ['container c']],
  [
    'ServiceUpdate',
    { path: { id: 'web' }, ...run({ Secrets: [{ SecretID: 's1' }] }) },
    ['service web', 'secret s1'],
  ],
  ['ExecStart', { path: { id: 'e1' }, body: {} }, ['exec e1']],
  ['ImageGetAll', { query: { names: ['a:1', 'b'] } }, ['image a:1', 'image b', 'repository b']],
  ['ImageGet', { path: { name: 'team/b' } }, ['image team/b', 'repository team/b']],
  ['ImageGet', { path: { name: 'team/b:1' } }, ['image team/b:1']],
  [
    'ImageTag',
    { path: { name: 'a' }, query: { repo: 'team/b', tag: '1' } },
    ['image a', 'tag team/b:1 (change)'],
  ],
  [
    'ImageTag',
    { path: { name: 'a' }, query: { repo: 'docker.io/library/b' } },
    ['image a', 'tag b:latest (change)'],
  ],
  // The engine cuts the digest off, and moves the tag.
  [
    'ImageTag',
    { path: { name: 'a' }, query: { repo: `b@sha256:${'0'.repeat(64)}`, tag: '1' } },
    ['image a', 'tag b:1 (change)'],
  ],
  ['ImageCreate', { query: { fromImage: 'team/b:', tag: '1' } }, ['tag team/b:1 (pull)']],
  ['ImageCreate', { query: { fromImage: 'team/b:' } }, ['repository team/b (pull)']],
  // No name: the engine is asked for it as it stands.
  ['ImageCreate', { query: { fromImage: 'Team//b' } }, ['tag Team//b (pull)']],
  ['ImageDelete', { path: { name: 'a' } }, ['image a (change)']],
  ['ImagePush', { path: { name: 'team/b' }, query: { tag: '1' } }, ['image team/b:1']],
  ['ImagePush', { path: { name: 'team/b' } }, ['image team/b', 'repository team/b']],
  [
    'ImageCommit',
    { query: { container: 'c', repo: 'team/b', tag: '1' } },
    ['container c', 'tag team/b:1 (change)'],
  ],
  ['ImageCommit', { query: { container: 'c' } }, ['container c']],
  ['ImageCreate', { query: { fromImage: 'team/b', tag: '1' } }, ['tag team/b:1 (pull)']],
  ['ImageCreate', { query: { fromImage: 'team/b:1' } }, ['tag team/b:1 (pull)']],
  ['ImageCreate', { query: { fromImage: 'team/b' } }, ['repository team/b (pull)']],
  ['ImageCreate', { query: { fromSrc: '-', repo: 'team/b' } }, ['tag team/b:latest (change)']],
  [
    'ImageBuild',
    { query: { t: ['team/b:1', 'team/b'], cachefrom: { json: ['c:1'] }, networkmode: 'container:c' } },
    [
      'tag team/b:1 (change)',
      'tag team/b:latest (change)',
      'image a:1',
      'image beef',
      'image d',
      'image c:1',
      'container c',
    ],
    { 'build.from': ['a:1', 'scratch', '?', 'beef:latest'], 'build.copy-from': ['d'] },
  ],
  ['ImageBuild', { query: { networkmode: 'net' } }, ['network net']],
];

t.test('the objects that a call names, in all places', async (t) => {
  for (const [id, parts, expected, facts] of TABLE) {
    const call = makeCall(id, parts);
    const found = referencesOf(call, facts ?? {}).filter(({ name }) => name !== '');
    t.strictSame(found.map(show).sort(), [...expected].sort(), `${id} ${JSON.stringify(parts)}`);
    t.ok(
      found.every((one) => stands(call, one)),
      'in its place',
    );
  }
});

t.test('each network that every engine has: it is nobody’s', async (t) => {
  const networks = (NetworkMode: string): string[] =>
    referencesOf(makeCall('ContainerCreate', { body: { HostConfig: { NetworkMode } } }), {})
      .filter(({ kind }) => kind === 'network')
      .map(({ name }) => name);
  for (const name of ['', 'default', 'bridge', 'none', 'host', 'nat', 'ingress']) {
    t.same(networks(name), [], name);
    t.same(networks(`my${name}`), [`my${name}`], `my${name}: another network`);
  }
});

t.test('a service: an image that is not there yet must have a digest', async (t) => {
  const optional = (Image: string): unknown =>
    referencesOf(makeCall('ServiceCreate', run({ Image })), {})[0]?.optional;
  t.equal(optional('b/app:1'), undefined);
  t.equal(optional('b/app'), undefined);
  t.equal(optional(`r.example/b/app:1@sha256:${'0'.repeat(64)}`), true);
});

const text = fc.oneof(
  fc.constantFrom('c', '/c', 'c:ro', '/c:/own/x', ':', '/', ''),
  fc.string({ maxLength: 12 }),
);

t.test('any text in a field of names is looked up as it stands there', async (t) => {
  fc.assert(
    fc.property(fc.array(text), fc.array(text), text, text, (VolumesFrom, Links, mode, image) => {
      const call = makeCall('ContainerCreate', {
        body: {
          Image: image,
          HostConfig: { VolumesFrom, Links, PidMode: `container:${mode}` },
          NetworkingConfig: { EndpointsConfig: { net: { Links } } },
        },
      });
      const found = referencesOf(call, {});
      const lost = found.find((one) => !stands(call, one));
      if (lost !== undefined) throw new Error(`${lost.name} at ${lost.place?.steps.join('/')}`);
      // INVARIANT: none is passed by: each entry that names something has its reference.
      const containers = found.filter(({ kind }) => kind === 'container').length;
      const named = (entry: string): boolean => entry.split(':', 1)[0] !== '';
      const linked = (entry: string): boolean => !['', '/'].includes(entry.split(':', 1)[0]!);
      return containers === VolumesFrom.filter(named).length + 2 * Links.filter(linked).length + 1;
    }),
    { numRuns: 2_000 },
  );
  t.pass('2,000 random calls');
});
