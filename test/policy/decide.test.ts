import t from 'tap';
import { sourcesOf } from '../../src/policy/decide.js';
import { ask, call, compile } from './words.js';

const everyone = (rule: object): object => ({ rules: [{ id: 'r', sources: ['*'], ...rule }] });

t.test('default deny: no rule, no pass', async (t) => {
  t.match(ask(compile({}), 'SystemPing'), { effect: 'deny', rule: '', code: 'no-rule', observe: false });
  const policy = compile(everyone({ operations: ['ContainerList'] }));
  t.match(ask(policy, 'SystemPing'), { effect: 'deny', code: 'no-rule', reason: /SystemPing/ });
  t.match(ask(policy, 'ContainerList'), { effect: 'allow', rule: 'r', code: 'allowed', missing: [] });
});

t.test('an allow grants the operation, never its hazards', async (t) => {
  const rule = {
    operations: ['ContainerCreate'],
    permit: ['bind:/srv/ci/**', 'remote-context:https://a.example/*'],
  };
  const policy = compile(everyone(rule));
  const verdict = (...hazards: string[]) => ask(policy, 'ContainerCreate', {}, hazards);
  t.match(verdict('bind:/srv/ci/x', 'remote-context:https://a.example/x'), { effect: 'allow' });
  t.match(verdict('bind:/srv/ci/x', 'bind:/etc'), {
    effect: 'deny',
    code: 'hazard',
    missing: [{ argument: '/etc' }],
  });
  t.match(verdict('privileged'), { effect: 'deny', reason: /does not permit privileged; add "privileged"/ });
  t.match(verdict('never-heard-of:x'), { effect: 'deny', code: 'hazard' });
  t.match(verdict('bind:/srv/ci'), { effect: 'deny' });
  t.match(verdict('bind:/srv/cicd/x'), { effect: 'deny' });
  t.match(verdict('remote-context:https://a.example/x/y'), { effect: 'deny' }, '* stops at a slash');
  for (const path of ['/srv/ci/../../etc', '/srv/ci/..', '/srv/ci/./x', '/srv/ci//x', '/srv/ci/\0/x']) {
    t.match(
      verdict(`bind:${path}`),
      { effect: 'deny' },
      `${JSON.stringify(path)} is not in its shortest form`,
    );
  }
  const all = compile(everyone({ operations: ['ContainerCreate'], permit: ['*'] }));
  t.match(ask(all, 'ContainerCreate', {}, ['privileged', 'bind:/a/../b', 'new-kind:x']), { effect: 'allow' });
  const any = compile(everyone({ operations: ['ContainerCreate'], permit: ['bind:**'] }));
  t.match(ask(any, 'ContainerCreate', {}, [`bind:/${'x'.repeat(200_000)}`]), { effect: 'allow' });
  const some = compile(everyone({ operations: ['ContainerCreate'], permit: ['bind:/**'] }));
  t.match(ask(some, 'ContainerCreate', {}, [`bind:/${'x'.repeat(200_000)}`]), { effect: 'deny' });
});

t.test(
  'the first allow rule that fits decides; another rule may cover what the first does not',
  async (t) => {
    const policy = compile({
      rules: [
        { id: 'plain', sources: ['*'], operations: ['ContainerCreate'] },
        { id: 'bound', sources: ['*'], operations: ['ContainerCreate'], permit: ['bind:/srv/**'] },
        {
          id: 'late',
          sources: ['*'],
          operations: ['ContainerCreate'],
          permit: ['*'],
          where: { image: 'lab/**' },
        },
      ],
    });
    t.equal(ask(policy, 'ContainerCreate', { image: 'a' }).rule, 'plain');
    t.equal(ask(policy, 'ContainerCreate', { image: 'a' }, ['bind:/srv/x']).rule, 'bound');
    t.equal(ask(policy, 'ContainerCreate', { image: 'lab/a' }, ['privileged']).rule, 'late');
    const denied = ask(policy, 'ContainerCreate', { image: 'a' }, ['privileged', 'bind:/srv/x']);
    t.match(
      denied,
      { effect: 'deny', rule: 'bound', missing: [{ kind: 'privileged' }] },
      'the nearest lacks least',
    );
    t.equal(denied.missing.length, 1, 'two rules never add up');
  },
);

t.test('a matching deny rule wins, wherever it stands', async (t) => {
  const policy = compile(
    { rules: [{ id: 'all', sources: ['*'], operations: ['*'], permit: ['*'] }] },
    {
      rules: [
        {
          id: 'no-root',
          description: 'Nobody runs as root.',
          effect: 'deny',
          sources: ['*'],
          operations: ['ContainerExec'],
          where: { 'exec.user': ['', '0', 'root'] },
        },
      ],
    },
  );
  t.match(ask(policy, 'ContainerExec', { 'exec.user': 'root' }), {
    effect: 'deny',
    rule: 'no-root',
    code: 'deny-rule',
    reason: 'rule no-root denies ContainerExec: Nobody runs as root.',
  });
  t.match(ask(policy, 'ContainerExec', { 'exec.user': 'app' }), { effect: 'allow', rule: 'all' });
  t.match(ask(policy, 'ContainerList'), { effect: 'allow' });
});

t.test('an unknown fact: no allow rule holds, every deny rule does', async (t) => {
  const where = { 'exec.user': { not: ['root'] } };
  const allow = compile(everyone({ operations: ['ContainerExec'], where }));
  t.match(ask(allow, 'ContainerExec', { 'exec.user': 'app' }), { effect: 'allow' });
  const long = 'x'.repeat(70_000);
  const unknowns: Record<string, never>[] = [{}, { 'exec.user': 7 as never }, { 'exec.user': long as never }];
  for (const facts of unknowns)
    t.match(ask(allow, 'ContainerExec', facts), { effect: 'deny', code: 'condition' });
  const deny = compile({
    rules: [
      { id: 'a', sources: ['*'], operations: ['*'] },
      { id: 'd', effect: 'deny', sources: ['*'], operations: ['*'], where: { 'exec.user': 'root' } },
    ],
  });
  for (const facts of unknowns) t.match(ask(deny, 'ContainerExec', facts), { effect: 'deny', rule: 'd' });
  t.match(
    ask(deny, 'SystemPing'),
    { effect: 'allow' },
    'an operation that never states the fact is not concerned',
  );
  t.match(ask(deny, 'SystemPing', { 'exec.user': 'root' }), { effect: 'deny' }, 'but if it does, it counts');
  const named = compile({
    rules: [
      { id: 'a', sources: ['*'], operations: ['*'] },
      { id: 'd', effect: 'deny', sources: ['*'], operations: ['*'], where: { name: 'prod-*' } },
    ],
  });
  t.match(ask(named, 'SystemPing'), { effect: 'allow' }, 'a call without a name has none');
  t.match(ask(named, 'ContainerStart', { name: 'prod-db' }), { effect: 'deny' });
});

t.test('conditions by type', async (t) => {
  const holds = (operation: string, where: object, facts: Record<string, never>): boolean =>
    ask(compile(everyone({ operations: [operation], where })), operation, facts).effect === 'allow';
  const cases: [string, string, unknown, unknown, boolean][] = [
    ['ContainerCreate', 'image', 'alpine:*', 'alpine:3', true],
    ['ContainerCreate', 'image', 'alpine:*', 'x/alpine:3', false],
    ['ContainerCreate', 'image', ['a', 'b'], 'b', true],
    ['ContainerCreate', 'image', { not: ['**evil**'] }, 'some/evil:1', false],
    ['ContainerCreate', 'image', { not: ['**evil**'] }, 'some/good:1', true],
    ['ContainerCreate', 'image', { any: ['r/**'], not: ['r/x/**'] }, 'r/x/1', false],
    ['ContainerCreate', 'image', { any: ['r/**'], not: ['r/x/**'] }, 'r/y/1', true],
    ['ContainerCreate', 'memory', 5, 5, true],
    ['ContainerCreate', 'memory', [1, 2], 3, false],
    ['ContainerCreate', 'memory', { min: 1, max: 10 }, 10, true],
    ['ContainerCreate', 'memory', { min: 1, max: 10 }, 0, false],
    ['ContainerCreate', 'memory', { min: 1 }, Number.NaN, false],
    ['ContainerCreate', 'memory', { not: [0] }, 0, false],
    ['ContainerCreate', 'read-only', true, true, true],
    ['ContainerCreate', 'read-only', true, false, false],
    ['ImageBuild', 'build.from', { each: ['a:*', 'b:*'] }, ['a:1', 'b:2'], true],
    ['ImageBuild', 'build.from', { each: ['a:*'] }, ['a:1', 'b:2'], false],
    ['ImageBuild', 'build.from', { each: ['a:*'] }, [], true],
    ['ImageBuild', 'build.from', { any: ['a:*'] }, ['b:1', 'a:2'], true],
    ['ImageBuild', 'build.from', { any: ['a:*'] }, [], false],
    ['ImageBuild', 'build.from', { none: ['a:*'] }, ['b:1', 'a:2'], false],
    ['ImageBuild', 'build.from', { none: ['a:*'] }, [], true],
    ['ImageBuild', 'build.from', { any: ['**'], each: ['a:*'], none: ['a:evil'] }, ['a:1', 'a:evil'], false],
    ['ImageBuild', 'build.from', { each: ['a:*'] }, ['a:1', 'a:'.padEnd(70_000, 'x')], false],
  ];
  for (const [operation, fact, matcher, value, expected] of cases) {
    const name = `${fact} ${JSON.stringify(matcher)} with ${String(JSON.stringify(value)).slice(0, 40)}`;
    t.equal(holds(operation, { [fact]: matcher }, { [fact]: value as never }), expected, name);
  }
});

t.test('sources: every key must hold, one entry of its list is enough', async (t) => {
  const token = 'ab'.repeat(32);
  const policy = compile({
    sources: {
      net: { cidr: ['10.20.0.0/16', '2001:db8::/32', '192.0.2.7', '::ffff:198.51.100.0/120'] },
      cert: { certificate: ['CN=ci-*', 'DNS=*.ci.example'] },
      both: { cidr: ['10.0.0.0/8'], certificate: ['CN=ci-*'] },
      local: { listener: ['unix', 'unix-*'] },
      bearer: { token: [`sha256:${token.toUpperCase()}`] },
      everywhere: { cidr: ['0.0.0.0/0'] },
    },
  });
  const names = (client: object): string[] => [...sourcesOf(policy, call('SystemPing', client).client)];
  t.same(names({ address: '10.20.255.255' }), ['net', 'everywhere']);
  t.same(names({ address: '10.21.0.0' }), ['everywhere']);
  t.same(names({ address: '192.0.2.7' }), ['net', 'everywhere']);
  t.same(names({ address: '198.51.100.9' }), ['net', 'everywhere'], 'a mapped range is the IPv4 range');
  t.same(names({ address: '2001:db8:1::5' }), ['net']);
  t.same(names({ address: '2001:db9::' }), []);
  t.same(names({ address: 'fe80::1%eth0' }), []);
  t.same(names({ address: '' }), [], 'a unix socket has no address, not even for 0.0.0.0/0');
  t.same(names({ address: '010.20.0.1' }), [], 'an address with two readings matches nothing');
  t.same(names({ address: '10.1.1.1', certificate: ['CN=ci-7'] }), ['cert', 'both', 'everywhere']);
  t.same(names({ address: '', certificate: ['O=x', 'DNS=a.ci.example'] }), ['cert']);
  t.same(names({ address: '', certificate: ['CN=x-ci-7'] }), []);
  t.same(names({ address: '', listener: 'unix-2' }), ['local']);
  t.same(names({ address: '', tokenSha256: token }), ['bearer']);
  t.same(names({ address: '', tokenSha256: 'cd'.repeat(32) }), []);
});

t.test('denials name the sources of the rule and the caller', async (t) => {
  const policy = compile({
    sources: { ci: { cidr: ['10.0.0.0/8'] }, ops: { listener: ['unix'] } },
    rules: [
      {
        id: 'b',
        sources: ['ci'],
        operations: ['ImageBuild'],
        where: { 'build.from': { each: ['alpine:*'] } },
      },
    ],
  });
  const facts = { 'build.from': ['debian:12'] };
  t.match(ask(policy, 'ImageBuild', facts, [], { address: '203.0.113.9' }), {
    code: 'source',
    rule: 'b',
    reason:
      'rule b allows ImageBuild for source ci, not for this caller; this caller belongs to no source (listener tcp, address 203.0.113.9)',
  });
  t.match(ask(policy, 'ImageBuild', facts, [], { listener: 'unix', address: '' }), {
    reason: /this caller is ops/,
  });
  t.match(ask(policy, 'ImageBuild', facts, [], { address: '10.1.1.1' }), {
    code: 'condition',
    reason:
      'rule b allows ImageBuild for source ci only under a condition: build.from must be {"each":["alpine:*"]} and the call has ["debian:12"]',
  });
});

t.test('reasons are short and printable, whatever the call holds', async (t) => {
  const policy = compile(everyone({ operations: ['ContainerCreate', 'ImageBuild'], where: { name: 'a' } }));
  const nasty = `\u001b[2J\r\nX-Evil: 1\u202e\u2028${'é'.repeat(10_000)}`;
  const open = compile(everyone({ operations: ['ContainerCreate'] }));
  const many = Array.from({ length: 500 }, (_, n) => `bind:${nasty}${n}`);
  for (const verdict of [
    ask(open, 'ContainerCreate', {}, many),
    ask(policy, 'ContainerCreate', { name: nasty }),
    ask(policy, 'ImageBuild', {}, [], { listener: nasty, address: nasty }),
    ask(
      compile({
        sources: { s: { listener: ['x'] } },
        rules: [{ id: 'r', sources: ['s'], operations: ['*'] }],
      }),
      'SystemPing',
      {},
      [],
      { listener: nasty, address: nasty },
    ),
  ]) {
    t.equal(verdict.effect, 'deny');
    t.match(verdict.reason, /^[\x20-\x7e]{1,2500}$/);
    t.ok(verdict.missing.length <= 64);
  }
  t.match(ask(open, 'ContainerCreate', {}, many).reason, / and many more; extend its permit/);
});

t.test('observe mode', async (t) => {
  const enforced = { rules: [{ id: 'e', sources: ['*'], operations: ['ContainerList', 'ContainerStart'] }] };
  const trial = {
    mode: 'observe',
    rules: [
      { id: 'o', effect: 'deny', sources: ['*'], operations: ['ContainerList', 'SystemPing'] },
      { id: 'p', sources: ['*'], operations: ['ContainerCreate'] },
    ],
  };
  const mixed = compile(enforced, trial);
  t.match(
    ask(mixed, 'ContainerList'),
    { effect: 'deny', rule: 'o', observe: true },
    'its deny is only logged',
  );
  t.match(
    ask(mixed, 'SystemPing'),
    { effect: 'deny', observe: false },
    'but it opens nothing that is closed',
  );
  t.match(ask(mixed, 'ImageBuild'), { effect: 'deny', code: 'no-rule', observe: false });
  t.match(ask(mixed, 'ContainerCreate'), { effect: 'allow', rule: 'p' });
  t.match(ask(mixed, 'ContainerCreate', {}, ['privileged']), { effect: 'deny', observe: false });
  const all = compile(trial);
  t.match(ask(all, 'ImageBuild'), { effect: 'deny', code: 'no-rule', observe: true });
  t.match(ask(all, 'SystemPing'), { effect: 'deny', rule: 'o', observe: true });
  t.match(ask(all, 'ContainerCreate', {}, ['privileged']), { effect: 'deny', code: 'hazard', observe: true });
  t.equal(compile().observe, false, 'no file at all is not observe mode');
  const strict = compile(trial, {
    rules: [{ id: 'd', effect: 'deny', sources: ['*'], operations: ['ContainerList'] }],
  });
  t.match(
    ask(strict, 'ContainerList'),
    { rule: 'd', observe: false },
    'an enforced deny rule comes before it',
  );
});
