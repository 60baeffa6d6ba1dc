import t, { type Test } from 'tap';
import { talk, type Part } from '../support/raw.js';
import { chunked, create, CREATE, form, get, lines, PING, postJson } from './case.js';
import { ping, startGuarded, unpaired, type Guarded } from './guarded.js';

// A caller whom no rule could let pass costs nothing: nothing of what it sends is decoded or inspected.

const SIZE = 4 * 2 ** 20;
/** Many binds, in about 4 MiB: each a hazard, if anybody looked. */
const binds = (size: number): string =>
  `{"Image":"alpine","HostConfig":{"Binds":[${'"/etc:/x",'.repeat(size / 10)}"/etc:/x"]}}`;
const BINDS = binds(SIZE);
const UNKNOWN = `{"Image":"alpine",${Array.from({ length: SIZE / 16 }, (_, n) => `"f${String(n).padStart(6, '0')}":"x"`).join(',')}}`;
/** No JSON at all: nobody may find out. */
const NOISE = '{"Image":'.repeat(SIZE / 9);

const LOOK = { id: 'look', sources: ['*'], operations: ['SystemPing'] };
const rule = (more: object): object => ({
  sources: ['*'],
  operations: ['ContainerCreate', 'ContainerRename'],
  ...more,
});
const policy = (...rules: object[]): object => ({
  sources: { inside: { cidr: ['10.0.0.0/8'] }, net: { listener: ['tcp'] } },
  rules: [LOOK, ...rules],
});

/** Policies under which a create is stopped by its head alone. */
const STOPS: readonly (readonly [name: string, policy: object, code: string])[] = [
  ['no rule', policy(), 'no-rule'],
  ['a rule for others', policy(rule({ id: 'make', sources: ['inside'], permit: ['*'] })), 'source'],
  [
    'a deny rule without a condition',
    policy(rule({ id: 'make', permit: ['*'] }), rule({ id: 'never', effect: 'deny' })),
    'deny-rule',
  ],
];

const limits = { body: 2 * SIZE };

async function start(t: Test, value: object): Promise<Guarded> {
  const guarded = await startGuarded({ policy: value, limits });
  t.teardown(() => guarded.close());
  return guarded;
}

interface Decision {
  readonly event: string;
  readonly operation: string;
  readonly code: string;
  readonly verdict: string;
  readonly enforced: boolean;
  readonly facts: object;
  readonly hazards: readonly string[];
}

const decisionsOf = (guarded: Guarded): Decision[] =>
  (guarded.audit() as unknown as Decision[]).filter(
    ({ event, operation }) => event === 'decision' && operation !== 'SystemPing',
  );

/** What a caller without a rule sends, with a ping behind it where another request can follow. */
const SENDS: Readonly<Record<string, { readonly parts: readonly Part[]; readonly closes?: true }>> = {
  'many binds': { parts: [create(BINDS), PING] },
  'many unknown fields': { parts: [create(UNKNOWN), PING] },
  'no JSON': { parts: [create(NOISE), PING] },
  'a form': { parts: [form('/v1.41/containers/web/rename', `name=${'x'.repeat(60_000)}`), PING] },
  'in chunks': {
    parts: [chunked('POST', '/v1.41/containers/create', ['Content-Type: application/json'], BINDS) + PING],
  },
  'half of it, then the rest': {
    parts: [create(BINDS).slice(0, SIZE / 2), 100, create(BINDS).slice(SIZE / 2) + PING],
  },
  'with an upgrade': {
    parts: [create(BINDS, 'Connection: Upgrade', 'Upgrade: tcp') + PING],
    closes: true,
  },
};

for (const [reason, value, code] of STOPS) {
  await t.test(`${reason}: the body is neither decoded nor inspected`, async (t) => {
    const g = await start(t, value);
    for (const [name, { parts, closes }] of Object.entries(SENDS)) {
      g.audit();
      const got = await talk(g.tcp, parts, { answers: closes ? 0 : 2, timeout: 8_000 });
      t.equal(got.answers[0]?.status, 403, `${name}: denied`);
      t.notOk(got.text.includes('100 Continue'), name);
      if (closes) {
        t.equal(got.answers.length, 1, `${name}: what follows is not served`);
        t.equal(got.closed, 'end', name);
      } else t.equal(got.answers[1]?.status, 200, `${name}: the next request is served`);
      const decisions = decisionsOf(g);
      t.equal(decisions.length, 1, name);
      t.match(decisions[0], { code, verdict: 'deny', enforced: true, hazards: [] }, name);
      t.strictSame(decisions[0]?.facts, {}, `${name}: nothing was inspected`);
    }
    t.same(
      g.upstream.requests.filter(({ call }) => call.startsWith(CREATE)),
      [],
      'the engine saw nothing',
    );
    t.same(unpaired(g.auditText()), []);
  });

  await t.test(`${reason}: no 100 Continue for a body that nobody will read`, async (t) => {
    const g = await start(t, value);
    const head = [
      'POST /v1.41/containers/create HTTP/1.1',
      'Host: docker',
      'Content-Type: application/json',
      `Content-Length: ${SIZE}`,
      'Expect: 100-continue',
    ];
    for (const more of [[], ['Connection: Upgrade', 'Upgrade: tcp']]) {
      const got = await talk(g.tcp, [lines([...head, ...more])], { answers: 0, timeout: 4_000 });
      t.notOk(got.text.includes('100 Continue'), got.text);
      t.match(got.answers, [{ status: 403, headers: { connection: 'close' } }]);
      t.equal(got.closed, 'end', 'what would follow cannot be told from a body');
    }
    t.same(unpaired(g.auditText()), []);
  });
}

await t.test('near misses: these are read, and judged by what they say', async (t) => {
  const SAYS_NO = rule({ id: 'never', effect: 'deny', where: { image: 'alpine*' } });
  const cases: readonly (readonly [string, object, number, string, boolean])[] = [
    ['a rule for this source', policy(rule({ id: 'make', sources: ['net'] })), 403, 'hazard', true],
    ['a rule that permits all', policy(rule({ id: 'make', permit: ['*'] })), 200, 'allowed', true],
    ['observed without a rule', { ...policy(), mode: 'observe' }, 200, 'no-rule', false],
    [
      'an observed deny rule',
      { ...policy(rule({ id: 'never', effect: 'deny' })), mode: 'observe' },
      200,
      'deny-rule',
      false,
    ],
    [
      'a deny rule with a condition that holds',
      policy(rule({ id: 'make', permit: ['*'] }), SAYS_NO),
      403,
      'deny-rule',
      true,
    ],
  ];
  for (const [name, value, status, code, enforced] of cases) {
    const g = await start(t, value);
    const body = '{"Image":"alpine","HostConfig":{"Binds":["/etc:/x"]}}';
    const got = await talk(g.tcp, [create(body) + PING], { answers: 2 });
    t.same(
      got.answers.map((answer) => answer.status),
      [status, 200],
      name,
    );
    const [decision] = decisionsOf(g);
    t.match(decision, { code, enforced, facts: { image: /alpine/ }, hazards: ['bind:/etc'] }, name);
    t.equal(
      g.upstream.requests.some(({ call }) => call === CREATE),
      status === 200,
      name,
    );
    t.same(unpaired(g.auditText()), [], name);
  }
  const g = await start(t, policy(rule({ id: 'make', permit: ['*'] }), SAYS_NO));
  const other = postJson('/v1.41/containers/create', '{"Image":"busybox"}');
  t.match((await talk(g.tcp, [other])).answers, [{ status: 200 }], 'a condition that does not hold');
});

await t.test('over a rate limit the body is not read either', async (t) => {
  const g = await start(t, {
    sources: { net: { listener: ['tcp'], limits: { calls: '2/1h' } } },
    rules: [{ id: 'all', sources: ['*'], operations: ['*'], permit: ['*'] }],
  });
  t.equal(await ping(g.tcp), 200);
  t.equal(await ping(g.tcp), 200);
  for (const [name, { parts, closes }] of Object.entries(SENDS)) {
    g.audit();
    const got = await talk(g.tcp, parts, { answers: closes ? 0 : 2, timeout: 8_000 });
    t.same(
      got.answers.map(({ status }) => status),
      closes ? [429] : [429, 429],
      name,
    );
    t.ok(Number(got.answers[0]?.headers['retry-after']) > 0, name);
    const [decision, ...more] = decisionsOf(g);
    t.strictSame(more, []);
    t.match(decision, { code: 'rate-limit', hazards: [] }, name);
    t.strictSame(decision?.facts, {}, name);
  }
  t.notMatch(g.upstream.raw(), /create|rename/);
  t.equal(await ping(g.unix), 200, 'others are served');
  t.same(unpaired(g.auditText()), []);
});

await t.test('what a denied body costs others is small beside what reading it would cost', async (t) => {
  const denied = await start(t, policy());
  const read = await start(t, policy(rule({ id: 'make', permit: ['*'], where: { image: 'nothing' } })));
  const request = create(binds(SIZE / 32));
  /** Processor time of this process for three of them, with one client waiting for each answer. */
  const cost = async (guarded: Guarded): Promise<number> => {
    const before = process.cpuUsage();
    for (let n = 0; n < 3; n++) {
      const got = await talk(guarded.tcp, [request], { linger: 0, timeout: 20_000 });
      t.equal(got.answers[0]?.status, 403);
    }
    const { user, system } = process.cpuUsage(before);
    return user + system;
  };
  await cost(denied);
  const [unread, whole] = [await cost(denied), await cost(read)];
  t.ok(unread < whole / 2, `${Math.round(unread / 1000)} ms unread, ${Math.round(whole / 1000)} ms read`);
});

await t.test('eleven denied uploads on one connection leave nothing behind on it', async (t) => {
  const warnings: string[] = [];
  const warn = (warning: Error): void => void warnings.push(warning.message);
  process.on('warning', warn);
  t.teardown(() => process.off('warning', warn));
  const g = await start(t, policy());
  const upload = create(BINDS.slice(0, 300_000));
  const parts = Array.from({ length: 15 }, () => [upload, 30]).flat();
  const got = await talk(g.tcp, [...parts, PING, get('/_ping')], { answers: 17, timeout: 10_000 });
  t.equal(got.answers.length, 17);
  t.equal(got.answers.at(-1)?.status, 200);
  t.strictSame(warnings, []);
});
