import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import type { Call, NamedObject } from '../../src/docker/call.js';
import { NO_ENTITIES, type Entities } from '../../src/docker/entities.js';
import type { JsonObject } from '../../src/base/json.js';
import type { OperationId } from '../../src/docker/operation.js';
import { inspect } from '../../src/hazards/inspect.js';
import type { Inspection } from '../../src/hazards/inspection.js';
import { labelFilters, OWNER_LABEL, referencesOf } from '../../src/hazards/ownership.js';
import { queryJson, queryTexts } from '../../src/hazards/call-values.js';
import { VOCABULARY } from '../../src/policy/vocabulary.js';
import { compilePolicy, type CompiledPolicy } from '../../src/policy/compile.js';
import { decide } from '../../src/policy/decide.js';
import { withOwner, volumesToMake } from '../../src/policy/ownership.js';
import type { Verdict } from '../../src/policy/compiled.js';
import { makeCall, type Parts } from '../hazards/make-call.js';

const LABEL = `a.${'0'.repeat(32)}`;
const owner = { name: 'a', label: LABEL };
const nobody = { name: '', label: '' };

function compileText(rules: readonly object[]): ReturnType<typeof compilePolicy> {
  const sources = { a: { listener: ['tcp'] }, b: { listener: ['unix'] } };
  return compilePolicy([{ name: 'p', text: JSON.stringify({ sources, rules }) }], VOCABULARY);
}

function compile(...rules: object[]): CompiledPolicy {
  const result = compileText(
    rules.map((rule, n) => ({ id: `r${n}`, sources: ['a'], operations: ['*'], ...rule })),
  );
  if (!result.ok) throw new Error(result.problems.map((one) => `${one.pointer}: ${one.message}`).join('\n'));
  return result.policy;
}

/** What was looked up for a call; nothing for the others. */
const lookedUp = new WeakMap<Call, Entities>();
const entitiesOf = (call: Call): Entities => lookedUp.get(call) ?? NO_ENTITIES;

function judge(policy: CompiledPolicy, call: Call): Verdict {
  const look = (one: Call): Inspection => inspect(one, undefined, undefined, entitiesOf(call));
  return decide(policy, call, ['a'], look(call), look);
}

/** A call whose objects have been looked up: each with the relation that its name says (`other-x`). */
function owned(id: OperationId, parts: Parts, by = owner): Call {
  const call = { ...makeCall(id, parts), owner: by };
  const objects = referencesOf(call, {})
    .filter(({ name }) => name !== '')
    .map((one): NamedObject => {
      const relation = /self|nobody|shared|missing/.exec(one.name)?.[0] ?? 'other';
      return { ...one, id: `id-of-${one.name}`, relation: relation as NamedObject['relation'] };
    });
  lookedUp.set(call, { ...NO_ENTITIES, objects });
  return call;
}

t.test('calls that a condition about owners lets pass', async (t) => {
  const image = (Image: string, HostConfig: JsonObject = {}): Call =>
    owned('ContainerCreate', { body: { Image, HostConfig } });
  const named = (id: OperationId, name: string): Call => owned(id, { path: { id: name, name } });
  const self = { owner: 'self' };
  const bases = { owner: ['self', 'nobody:image'] };
  const rows: readonly (readonly [object, Call, 'allow' | 'deny'])[] = [
    [self, named('ContainerStart', 'self-x'), 'allow'],
    [self, named('ContainerStart', 'other-x'), 'deny'],
    [self, named('ContainerStart', 'nobody-x'), 'deny'],
    [self, named('ContainerStart', 'missing-x'), 'allow'],
    [self, named('ExecInspect', 'other-x'), 'deny'],
    [self, image('self-x'), 'allow'],
    [self, image('nobody-x'), 'deny'],
    [bases, image('nobody-x'), 'allow'],
    [bases, image('other-x'), 'deny'],
    [bases, image('nobody-x', { VolumesFrom: ['self-x'] }), 'allow'],
    // One of them is enough.
    [bases, image('nobody-x', { VolumesFrom: ['self-x', 'other-x'] }), 'deny'],
    [bases, image('nobody-x', { VolumesFrom: ['nobody-x'] }), 'deny'],
    [bases, image('nobody-x', { NetworkMode: 'other-x' }), 'deny'],
    [bases, image('nobody-x', { NetworkMode: 'bridge' }), 'allow'],
    [bases, image('nobody-x', { Binds: ['missing-x:/x'] }), 'allow'],
    // Many share a pulled image; taking its name away takes it from them.
    [self, named('ImageInspect', 'shared-x'), 'allow'],
    [self, named('ImageDelete', 'shared-x'), 'deny'],
    [{ owner: ['self', 'shared:image'] }, named('ImageDelete', 'shared-x'), 'allow'],
    [self, owned('SystemPing', {}), 'allow'],
    [self, owned('SystemDataUsage', {}), 'deny'],
    [{ owner: ['self', 'engine:disk-usage'] }, owned('SystemDataUsage', {}), 'allow'],
    [self, owned('BuildPrune', {}), 'deny'],
    [self, owned('Session', {}), 'deny'],
    [self, owned('ContainerTeleport' as OperationId, {}), 'deny'],
    [self, owned('ImageBuild', { dockerfile: 'FROM scratch\n' }), 'allow'],
    [self, owned('ImageBuild', { query: { remote: 'https://x.example/y.tar' } }), 'deny'],
    [self, owned('ImageBuild', { dockerfile: 'ARG B\nFROM $B\n' }), 'deny'],
    [self, owned('ImageBuild', { query: { version: '2' }, stream: true }), 'deny'],
    [
      { owner: ['self', 'engine:unread-build'] },
      owned('ImageBuild', { query: { remote: 'https://x.example/y.tar' } }),
      'allow',
    ],
    // A caller that the guard could not name owns nothing, and no list is limited to nothing.
    [self, owned('ContainerList', {}, nobody), 'deny'],
    [self, owned('ContainerList', {}), 'allow'],
    [self, owned('ImageList', {}), 'allow'],
    [self, owned('ImageList', {}, nobody), 'deny'],
  ];
  for (const [where, call, expected] of rows) {
    const { effect, reason } = judge(compile({ where, permit: ['*'] }), call);
    t.equal(effect, expected, `${JSON.stringify(where)} ${call.operation.id}: ${reason}`);
  }
  // Nobody was asked whose it is: the fact is not there, and a condition about it is not met.
  const unasked = { ...named('ContainerStart', 'self-x') };
  t.equal(judge(compile({ where: self }), unasked as unknown as Call).effect, 'deny');
  const others = compile({ permit: ['*'] }, { effect: 'deny', where: { owner: { any: ['other:*'] } } });
  t.equal(judge(others, named('ContainerStart', 'other-x')).effect, 'deny');
  t.equal(judge(others, named('ContainerStart', 'nobody-x')).effect, 'allow');
});

t.test('mistakes in rules about owners', async (t) => {
  const rule = { id: 'x', sources: ['a'], operations: ['@run'] };
  const of = (more: object): string[] => {
    const result = compileText([{ ...rule, ...more }]);
    return result.ok ? [] : result.problems.map(({ pointer, message }) => `${pointer}: ${message}`);
  };
  t.match(of({ sources: ['*'], where: { owner: 'self' } }), [
    /^\/rules\/0\/where\/owner: everyone has nothing/,
  ]);
  t.strictSame(of({ sources: ['*'], effect: 'deny', where: { owner: { any: ['other:*'] } } }), []);
  t.match(of({ where: { owmer: 'self' } }), [/^\/rules\/0\/where\/owmer: .*owner/]);
  t.match(of({ where: { owner: 7 } }), [/^\/rules\/0\/where\/owner/]);
});

const odd = fc.oneof(fc.constant(LABEL), fc.constant('b.x'), fc.constant(''), fc.string({ maxLength: 8 }));
const labels = fc.dictionary(
  fc.oneof(
    fc.constant(OWNER_LABEL),
    fc.constant('Breakwater.Owner'),
    fc.constant('app'),
    fc.string({ maxLength: 6 }),
  ),
  odd,
);

t.test('INVARIANT: new objects have the owner’s label, even if the client sends another', async (t) => {
  const bodies: readonly (readonly [
    OperationId,
    (given: JsonObject) => Parts,
    (sent: JsonObject) => unknown,
  ])[] = [
    ['ContainerCreate', (Labels) => ({ body: { Image: 'x', Labels } }), (body) => body['Labels']],
    ['VolumeCreate', (Labels) => ({ body: { Name: 'x', Labels } }), (body) => body['Labels']],
    ['NetworkCreate', (Labels) => ({ body: { Name: 'x', Labels } }), (body) => body['Labels']],
    ['SecretCreate', (Labels) => ({ body: { Name: 'x', Labels } }), (body) => body['Labels']],
    ['ConfigUpdate', (Labels) => ({ path: { id: 'x' }, body: { Labels } }), (body) => body['Labels']],
    ['ImageCommit', (Labels) => ({ query: { container: 'x' }, body: { Labels } }), (body) => body['Labels']],
    [
      'ServiceCreate',
      (Labels) => ({ body: { Name: 'x', Labels, TaskTemplate: { ContainerSpec: { Labels } } } }),
      (body) => body['Labels'],
    ],
    [
      'ServiceUpdate',
      (Labels) => ({
        path: { id: 'x' },
        body: { Labels, TaskTemplate: { ContainerSpec: { Image: 'x', Labels } } },
      }),
      (body) => ((body['TaskTemplate'] as JsonObject)['ContainerSpec'] as JsonObject)['Labels'],
    ],
    [
      'ServiceCreate',
      (Labels) => ({
        body: {
          TaskTemplate: {
            ContainerSpec: { Mounts: [{ Type: 'volume', Source: 'v', VolumeOptions: { Labels } }] },
          },
        },
      }),
      (body) =>
        (((body['TaskTemplate'] as JsonObject)['ContainerSpec'] as JsonObject)['Mounts'] as JsonObject[]).map(
          (mount) => (mount['VolumeOptions'] as JsonObject)['Labels'],
        )[0],
    ],
    ['ImageBuild', (given) => ({ query: { labels: { json: given } } }), () => undefined],
  ];
  for (const [id, parts, read] of bodies) {
    fc.assert(
      fc.property(labels, (given) => {
        const before = JSON.stringify(given);
        const { call, conflict } = withOwner({ ...makeCall(id, parts(given)), owner }, NO_ENTITIES);
        if (conflict !== '') throw new Error(conflict);
        const sent = (
          id === 'ImageBuild' ? queryJson(call, 'labels') : read((call.body as { value: JsonObject }).value)
        ) as JsonObject;
        const { [OWNER_LABEL]: ours, ...rest } = sent;
        const { [OWNER_LABEL]: _theirs, ...own } = given;
        if (JSON.stringify(given) !== before) throw new Error('the call itself was changed');
        // And all else as the client has written it.
        return ours === LABEL && isDeepStrictEqual({ ...rest }, { ...own });
      }),
      { numRuns: 300 },
    );
    t.pass(id);
  }
  for (const id of ['ContainerCreate', 'ServiceCreate'] as const) {
    const { call } = withOwner(
      { ...makeCall(id, { body: { Labels: { [OWNER_LABEL]: LABEL } } }), owner: nobody },
      NO_ENTITIES,
    );
    t.match(call.body, { value: { Labels: { [OWNER_LABEL]: '' } } }, `${id}: who owns nothing gives nothing`);
  }
  const volume = makeCall('VolumeCreate', { body: { Labels: { [OWNER_LABEL]: LABEL } } });
  // Signed by the guard, or it means nothing: see the labels' own test.
  t.strictSame(withOwner({ ...volume, owner: nobody }, NO_ENTITIES).changes, []);
});

t.test('instructions of a commit and an import cannot take the label away', async (t) => {
  const change = (changes: string[], body?: JsonObject): ReturnType<typeof withOwner> =>
    withOwner(
      { ...makeCall('ImageCreate', { query: { fromSrc: '-', changes }, ...(body && { body }) }), owner },
      NO_ENTITIES,
    );
  for (const plain of ['CMD ["sh"]', 'env A=b', ' ENTRYPOINT x', 'USER 1', 'EXPOSE 80']) {
    t.strictSame(
      queryTexts(change([plain]).call, 'changes'),
      [plain, `LABEL ${OWNER_LABEL}="${LABEL}"`],
      plain,
    );
  }
  for (const odd of [
    `LABEL ${OWNER_LABEL}=b`,
    'label x=y',
    'ENV A=b \\',
    'ENV A=b `',
    `ENV A=b\nLABEL ${OWNER_LABEL}=b`,
    `CMD x\r\nLABEL ${OWNER_LABEL}=b`,
    'ONBUILD LABEL x=y',
    'RUN <<EOF',
    'ENV A=<<EOF',
    '# escape=`',
    'FROM x',
  ]) {
    const { conflict, call } = change([odd]);
    t.match(conflict, /could remove the owner's label/, odd);
    t.strictSame(queryTexts(call, 'changes'), [odd], 'and nothing is half done');
  }
});

t.test('INVARIANT: a list shows objects with the owner’s label, with any filter of the client', async (t) => {
  const policy = compile({ where: { owner: 'self' } });
  const value = fc.oneof(
    fc.constantFrom(OWNER_LABEL, `${OWNER_LABEL}=b.x`, `${OWNER_LABEL}=${LABEL}`, 'app=web', 'app'),
    fc.string({ maxLength: 8 }),
  );
  const asList = fc.dictionary(fc.constantFrom('label', 'name', 'status', 'x'), fc.array(value));
  const asMap = fc.dictionary(
    fc.constantFrom('label', 'name', 'status', 'x'),
    fc.dictionary(value, fc.boolean()),
  );
  for (const id of [
    'ContainerList',
    'ContainerPrune',
    'NetworkList',
    'VolumePrune',
    'SystemEvents',
    'TaskList',
  ] as const) {
    fc.assert(
      fc.property(fc.oneof(asList, asMap), (filters) => {
        const call = owned(id, { query: { filters: { json: filters } } });
        const verdict = judge(policy, call);
        if (verdict.effect !== 'allow') throw new Error(verdict.reason);
        const sent = queryJson(verdict.call ?? call, 'filters') as JsonObject;
        const given = labelFilters(filters);
        const all = labelFilters(sent);
        const foreign = all.filter((one) => one.split('=', 1)[0] === OWNER_LABEL);
        const { label: _ours, ...rest } = sent;
        const { label: _theirs, ...own } = filters;
        return (
          foreign.length === 1 &&
          foreign[0] === `${OWNER_LABEL}=${LABEL}` &&
          given.every((one) => one.split('=', 1)[0] === OWNER_LABEL || all.includes(one)) &&
          JSON.stringify(rest) === JSON.stringify(own)
        );
      }),
      { numRuns: 300 },
    );
    t.pass(id);
  }
});

t.test('ids stand where the names stood, and nothing else changes', async (t) => {
  const name = fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,8}$/);
  fc.assert(
    fc.property(fc.array(name), fc.array(name), name, (from, links, mode) => {
      const call = owned('ContainerCreate', {
        body: {
          Image: 'self/app:1',
          Labels: {},
          HostConfig: {
            VolumesFrom: from.map((one) => `${one}:ro`),
            Links: links.map((one) => `${one}:al-${one}`),
            PidMode: `container:${mode}`,
            NetworkMode: `net-${mode}`,
            Memory: 7,
          },
        },
      });
      const { call: sent, conflict } = withOwner(call, entitiesOf(call));
      const id = (one: string): string => `id-of-${one}`;
      return (
        conflict === '' &&
        JSON.stringify((sent.body as { value: JsonObject }).value) ===
          JSON.stringify({
            Image: 'self/app:1',
            Labels: { [OWNER_LABEL]: LABEL },
            HostConfig: {
              VolumesFrom: from.map((one) => `${id(one)}:ro`),
              Links: links.map((one) => `${id(one)}:al-${one}`),
              PidMode: `container:${id(mode)}`,
              NetworkMode: `net-${mode}`,
              Memory: 7,
            },
          })
      );
    }),
  );
  t.pass('100 random containers');
});

t.test('volumes that the engine would make without a label', async (t) => {
  const call = owned('ContainerCreate', {
    body: {
      Image: 'x',
      HostConfig: {
        VolumeDriver: 'nfs',
        Binds: ['missing-a:/a', 'missing-a:/b', 'self-b:/b', '/srv:/c'],
        Mounts: [
          {
            Type: 'volume',
            Source: 'missing-m',
            Target: '/m',
            VolumeOptions: {
              Labels: { x: 'y', [OWNER_LABEL]: 'b' },
              DriverConfig: { Name: 'smb', Options: { o: '1' } },
            },
          },
        ],
      },
    },
  });
  t.strictSame(JSON.parse(JSON.stringify(volumesToMake(call, entitiesOf(call)))), [
    { Name: 'missing-a', Driver: 'nfs', DriverOpts: {}, Labels: { [OWNER_LABEL]: LABEL } },
    { Name: 'missing-m', Driver: 'smb', DriverOpts: { o: '1' }, Labels: { x: 'y', [OWNER_LABEL]: LABEL } },
  ]);
  t.strictSame(volumesToMake({ ...call, owner: undefined } as unknown as Call, entitiesOf(call)), []);
});
