import fc from 'fast-check';
import t from 'tap';
import { pendingContext, type Client } from '../../src/docker/call.js';
import { NO_ENTITIES } from '../../src/docker/entities.js';
import { readCall, readHead } from '../../src/docker/read.js';
import { admit, type CallSnapshot } from '../../src/guard/admit.js';
import { openSequences } from '../../src/history/sequences.js';
import { EMPTY_INDEX } from '../../src/intel/indicator-index.js';
import { compilePolicy, type CompiledPolicy } from '../../src/policy/compile.js';
import { sourcesOf } from '../../src/policy/decide.js';
import { judge } from '../../src/policy/judge.js';
import { VOCABULARY } from '../../src/policy/vocabulary.js';

// What is denied on its head alone would be denied whatever its body said, and what is let on to be read has a rule that may
// allow it: the two judgements of a call agree.

const LIMITS = { target: 16_384, jsonDepth: 64, jsonBody: 2 ** 20 };
const OFF = {
  'build-and-run': false,
  'pull-and-escape': false,
  'exec-spread': false,
  probing: false,
} as const;

/** Requests with a body that is buffered, that streams, and without one. */
const REQUESTS: Readonly<
  Record<string, { readonly method: string; readonly target: string; readonly bodies: readonly string[] }>
> = {
  SystemPing: { method: 'GET', target: '/_ping', bodies: [] },
  ContainerList: { method: 'GET', target: '/v1.41/containers/json?all=1', bodies: [] },
  ContainerDelete: { method: 'DELETE', target: '/v1.41/containers/web?force=1', bodies: [] },
  ContainerCreate: {
    method: 'POST',
    target: '/v1.41/containers/create?name=n1',
    bodies: [
      '{"Image":"alpine"}',
      '{"Image":"evil","HostConfig":{"Privileged":true}}',
      '{"Image":"evil:2","HostConfig":{"Binds":["/etc:/x"]},"Odd":1}',
    ],
  },
  ContainerExec: {
    method: 'POST',
    target: '/v1.41/containers/web/exec',
    bodies: ['{"Cmd":["id"]}', '{"Cmd":["id"],"Privileged":true}'],
  },
  ImageBuild: { method: 'POST', target: '/v1.41/build?t=evil', bodies: ['archive'] },
};

const ids = Object.keys(REQUESTS);
const source = fc.constantFrom('*', 'one', 'two');
const list = <T>(item: fc.Arbitrary<T>) => fc.uniqueArray(item, { minLength: 1, maxLength: 2 });
const operations = list(fc.constantFrom(...ids, '@run', '*'));
const withImages = fc.constantFrom(['ContainerCreate'], ['ContainerCreate', 'SystemPing'], ['@run'], ['*']);
const where = fc.constantFrom({ image: 'evil*' }, { image: { not: ['evil*'] } }, { 'container.name': 'n*' });
const permit = fc.constantFrom([], ['*'], ['privileged'], ['bind:**', 'opaque:context']);
const effect = fc.constant('deny');
const rule = fc.oneof(
  fc.record({ sources: list(source), operations, permit }),
  fc.record({ sources: list(source), operations: withImages, where, permit }),
  fc.record({ sources: list(source), operations, effect }),
  fc.record({ sources: list(source), operations: withImages, where, effect }),
);
const file = fc.record({
  mode: fc.constantFrom('enforce', 'enforce', 'observe'),
  rules: fc.array(rule, { minLength: 1, maxLength: 3 }),
});

function compiled(files: readonly { mode: string; rules: readonly object[] }[]): CompiledPolicy {
  const sources = { one: { listener: ['one'] }, two: { listener: ['two'] } };
  const texts = files.map(({ mode, rules }, n) => {
    const named = rules.map((rule, at) => ({ id: `f${n}r${at}`, ...rule }));
    return { name: `f${n}`, text: JSON.stringify({ mode, ...(n === 0 && { sources }), rules: named }) };
  });
  const result = compilePolicy(texts, VOCABULARY);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.policy;
}

function snapshotOf(policy: CompiledPolicy, listener: string): CallSnapshot {
  const client: Client = { listener, address: '10.0.0.1', port: 1, certificate: [], tokenSha256: '' };
  const sources = sourcesOf(policy, client);
  const history = openSequences({ clients: 10, ...OFF }, () => 0).view(client, sources);
  return {
    ...{ client, policy, sources, history },
    ...{ revision: 'x', index: EMPTY_INDEX, owner: undefined, quota: undefined },
  };
}

function headOf(id: string, body: string | undefined): ReturnType<typeof readHead> {
  const { method, target } = REQUESTS[id]!;
  const type = id === 'ImageBuild' ? 'application/x-tar' : 'application/json';
  const framing = body === undefined ? [] : ['Content-Type', type, 'Content-Length', String(body.length)];
  return readHead({ method, target, rawHeaders: ['Host', 'docker', ...framing], httpVersion: '1.1' }, LIMITS);
}

await t.test('admission and judgement agree on every call', async (t) => {
  const found = { refused: 0, read: 0, allowed: 0 };
  fc.assert(
    fc.property(
      fc.array(file, { minLength: 1, maxLength: 2 }),
      fc.constantFrom(...ids),
      fc.constantFrom('one', 'two', 'else'),
      (files, id, listener) => {
        const policy = compiled(files);
        const snapshot = snapshotOf(policy, listener);
        const { bodies } = REQUESTS[id]!;
        for (const body of bodies.length === 0 ? [undefined] : bodies) {
          const head = headOf(id, body);
          const early = admit('c', head, snapshot, LIMITS);
          const bytes = head.body === 'buffer' ? new TextEncoder().encode(body) : undefined;
          const call = pendingContext(readCall(head, bytes, 'c', snapshot.client, LIMITS));
          const { verdict, passes } = judge(call, NO_ENTITIES, snapshot);
          const isRulesOwn = verdict.code === 'deny-rule';
          if (early !== undefined) {
            found.refused += 1;
            t.equal(early.passes, false);
            t.match(early.verdict, { effect: 'deny', observe: false });
            t.equal(passes, false, 'the whole call would not have passed');
            t.match(verdict, { effect: 'deny', observe: false });
            t.ok(verdict.code === early.verdict.code || isRulesOwn, `${early.verdict.code} ${verdict.code}`);
            if (head.body === 'buffer') t.strictSame(early.inspection, { facts: {}, hazards: [] });
            else t.equal(early.verdict.code, verdict.code, 'what needs no body is judged as a whole');
            continue;
          }
          found.read += 1;
          if (passes) found.allowed += 1;
          if (policy.observe) t.equal(passes, true, 'a policy that only observes stops nothing');
          else {
            t.notOk(['no-rule', 'source'].includes(verdict.code), 'nobody is read without a rule for it');
            const [, n, at] = /^f(\d)r(\d)$/.exec(verdict.rule) ?? [];
            const denying = files[Number(n)]?.rules[Number(at)];
            if (isRulesOwn && !verdict.observe)
              t.ok(denying !== undefined && 'where' in denying, 'a denial for all is known from the head');
          }
        }
      },
    ),
    { numRuns: 1_500 },
  );
  t.ok(found.refused > 100 && found.allowed > 100 && found.read > found.allowed, JSON.stringify(found));
});
