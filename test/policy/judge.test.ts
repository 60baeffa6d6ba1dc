import fc from 'fast-check';
import t from 'tap';
import type { NamedObject } from '../../src/docker/call.js';
import { NO_ENTITIES, type Entities } from '../../src/docker/entities.js';
import { Refusal } from '../../src/docker/refusal.js';
import { openSequences } from '../../src/history/sequences.js';
import { EMPTY_INDEX } from '../../src/intel/indicator-index.js';
import { VOCABULARY } from '../../src/policy/vocabulary.js';
import { compilePolicy } from '../../src/policy/compile.js';
import { judge, type Snapshot } from '../../src/policy/judge.js';
import { refusalOf } from '../../src/policy/refusal.js';
import { makeCall } from '../hazards/make-call.js';

// The judgement of a call depends on its arguments alone.

const OFF = {
  'build-and-run': false,
  'pull-and-escape': false,
  'exec-spread': false,
  probing: false,
} as const;

function snapshotOf(mode: 'enforce' | 'observe', ...rules: object[]): Snapshot {
  const all = rules.map((rule, n) => ({ id: `r${n}`, sources: ['a'], operations: ['*'], ...rule }));
  const text = JSON.stringify({ mode, sources: { a: { listener: ['tcp'] } }, rules: all });
  const result = compilePolicy([{ name: 'p', text }], VOCABULARY);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  const client = makeCall('SystemPing').client;
  const history = openSequences({ clients: 10, ...OFF }, () => 0).view(client, ['a']);
  return { policy: result.policy, revision: 'x', sources: ['a'], index: EMPTY_INDEX, history };
}

const OWN = { permit: ['*'], where: { owner: ['self', 'nobody:image'] } };
const owner = { name: 'a', label: `a.${'0'.repeat(32)}` };

/** The same value with nothing in it that could be changed. */
function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value) && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const item of Object.values(value)) frozen(item);
  }
  return value;
}

await t.test('the same call gives the same judgement, and nothing of it is changed', (t) => {
  const snapshots = [
    snapshotOf('enforce', { permit: ['bind:/srv/**'] }),
    snapshotOf('observe', { permit: [] }),
    snapshotOf('enforce', { permit: ['*'], rewrite: { labels: { by: 'a' } } }),
    snapshotOf('enforce', { permit: ['*'] }, { effect: 'deny', where: { image: 'evil*' } }),
  ];
  const bodies = fc.record(
    {
      Image: fc.constantFrom('alpine', 'evil:1', 'busybox@x'),
      Labels: fc.dictionary(fc.string(), fc.string()),
      HostConfig: fc.record(
        {
          Privileged: fc.boolean(),
          Binds: fc.array(fc.constantFrom('/srv/a:/a', '/etc:/x', 'data:/d', '/:/host:ro')),
          NetworkMode: fc.constantFrom('host', 'bridge', 'container:x'),
        },
        { requiredKeys: [] },
      ),
    },
    { requiredKeys: ['Image'] },
  );
  fc.assert(
    fc.property(bodies, fc.constantFrom(...snapshots), (body, snapshot) => {
      const call = frozen(makeCall('ContainerCreate', { body }));
      const [one, other] = [judge(call, NO_ENTITIES, snapshot), judge(call, NO_ENTITIES, snapshot)];
      t.strictSame({ ...one, snapshot: undefined }, { ...other, snapshot: undefined });
      if (!one.passes) t.equal(one.sent, call, 'what is denied is not rewritten');
    }),
    { numRuns: 60 },
  );
  t.end();
});

const relatedTo = (relation: NamedObject['relation'], more: Partial<NamedObject> = {}): Entities => ({
  found: new Map(),
  objects: [{ kind: 'container', name: 'web', use: 'use', id: 'f'.repeat(64), relation, ...more }],
});

await t.test('to a caller that is limited to its own objects those of others are not there', (t) => {
  const snapshot = snapshotOf('enforce', OWN);
  const call = { ...makeCall('ContainerInspect', { path: { id: 'web' } }), owner };
  const refusalFor = (relation: NamedObject['relation']): Refusal | undefined =>
    refusalOf(judge(call, relatedTo(relation), snapshot));
  const absent = refusalFor('missing');
  t.match(absent, { status: 404, code: 'not-found', message: 'No such container: web' });
  for (const relation of ['other', 'nobody'] as const) {
    const got = refusalFor(relation);
    t.same([got?.status, got?.code, got?.message], [absent?.status, absent?.code, absent?.message], relation);
  }
  t.equal(refusalFor('self'), undefined);
  const unowned = makeCall('ContainerInspect', { path: { id: 'web' } });
  t.equal(
    refusalOf(judge({ ...unowned, owner: { name: '', label: '' } }, relatedTo('other'), snapshot))?.status,
    403,
    'a caller that is no owner gets the real answer',
  );
  t.end();
});

await t.test('what could not be looked up stops only what would pass', (t) => {
  const failure = new Refusal(503, 'host-paths', 'late');
  const entities = { ...NO_ENTITIES, failure };
  const body = { Image: 'alpine', HostConfig: { Binds: ['/srv/a:/a'] } };
  const call = makeCall('ContainerCreate', { body });
  t.throws(() => judge(call, entities, snapshotOf('enforce', { permit: ['*'] })), { code: 'host-paths' });
  const denied = judge(call, entities, snapshotOf('enforce', { permit: [] }));
  t.equal(denied.passes, false);
  t.equal(refusalOf(denied)?.code, 'hazard');
  t.end();
});
