import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { talk } from '../support/raw.js';
import { create } from './case.js';
import { startGuarded, type AuditLine } from './guarded.js';

// `ln -s /etc innocent`: a permitted directory must not be a way out of it.

const directory = realpathSync(mkdtempSync(join(tmpdir(), 'bw-host-paths-')));
mkdirSync(join(directory, 'plain'));
symlinkSync('/etc', join(directory, 'innocent'));
symlinkSync(join(directory, 'plain'), join(directory, 'inside'));
symlinkSync('/', join(directory, 'root'));
symlinkSync(join(directory, 'circle'), join(directory, 'circle'));

const guarded = await startGuarded({
  policy: {
    rules: [
      {
        id: 'create',
        sources: ['*'],
        operations: ['ContainerCreate'],
        // Many mounts are a load to the engine; here it is about where they lead.
        permit: [`bind:${directory}`, `bind:${directory}/**`, 'engine-load:**'],
      },
    ],
  },
});
t.teardown(async () => {
  await guarded.close();
  rmSync(directory, { recursive: true });
});

const CASES: readonly [source: string, status: number, message: RegExp][] = [
  ['plain', 200, /ok/],
  ['inside', 200, /ok/],
  ['not/there/yet', 200, /ok/],
  ['innocent', 403, /bind:\/etc;|bind:\/etc /],
  ['innocent/ssh', 403, /bind:\/etc\/ssh/],
  ['innocent/not-there', 403, /bind:\/etc\/not-there/],
  ['root/var/run/docker.sock', 403, /docker-socket/],
  ['circle', 403, /cannot be looked up/],
];

for (const [source, status, message] of CASES) {
  for (const how of ['Binds', 'Mounts'] as const) {
    await t.test(`${how}: ${source}`, async (t) => {
      guarded.upstream.forget();
      const path = join(directory, source);
      const HostConfig =
        how === 'Binds'
          ? { Binds: [`${path}:/x`] }
          : { Mounts: [{ Type: 'bind', Source: path, Target: '/x' }] };
      const got = await talk(guarded.tcp, [create(JSON.stringify({ Image: 'alpine', HostConfig }))]);
      t.equal(got.answers[0]?.status, status);
      t.match(got.answers[0]?.body.toString(), message);
      t.equal(guarded.upstream.requests.length, status === 200 ? 1 : 0, 'what reached the engine');
    });
  }
}

await t.test('256 paths in one call, no more', async (t) => {
  for (const [count, status] of [
    [256, 200],
    [257, 403],
    [1000, 403],
  ] as const) {
    for (const how of ['Binds', 'Mounts'] as const) {
      guarded.upstream.forget();
      guarded.audit();
      const paths = Array.from({ length: count }, (_, n) => join(directory, `not-there-${n}`));
      const HostConfig =
        how === 'Binds'
          ? { Binds: paths.map((path, n) => `${path}:/x${n}`) }
          : { Mounts: paths.map((path, n) => ({ Type: 'bind', Source: path, Target: `/x${n}` })) };
      const got = await talk(guarded.tcp, [create(JSON.stringify({ Image: 'alpine', HostConfig }))]);
      t.equal(got.answers[0]?.status, status, `${count} ${how}`);
      t.equal(guarded.upstream.requests.length, status === 200 ? 1 : 0, 'what reached the engine');
      const decision = guarded.audit().find(({ event }) => event === 'decision');
      t.equal(decision?.code, status === 200 ? 'allowed' : 'host-paths');
    }
  }
});

// A guard in a container, a service with a /tmp of its own, an engine elsewhere: what is at a path of the guard's own says
// nothing about the host.

interface Answer {
  readonly status: number;
  readonly message: string;
  readonly reached: number;
  readonly line: AuditLine & { readonly enforced?: boolean };
}

/** A guard with these permits and this view of the host, and what it makes of a call. */
async function withView(
  t: Test,
  hostRoot: string | null,
  permit: readonly string[],
  more: object = {},
): Promise<(target: string, body: object) => Promise<Answer>> {
  const rule = {
    id: 'make',
    sources: ['*'],
    operations: ['ContainerCreate', 'ServiceCreate', 'VolumeCreate'],
  };
  const viewing = await startGuarded({
    policy: { rules: [{ ...rule, permit }], ...more },
    upstream: { hostRoot },
  });
  t.teardown(() => viewing.close());
  return async (target, body) => {
    viewing.upstream.forget();
    viewing.audit();
    const text = JSON.stringify(body);
    const head = `POST /v1.41${target} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n`;
    const { answers } = await talk(viewing.tcp, [head + text]);
    return {
      status: answers[0]?.status ?? 0,
      message: answers[0]?.body.toString() ?? '',
      reached: viewing.upstream.requests.length,
      line: viewing.audit().find(({ event }) => event === 'decision')!,
    };
  };
}

const binds = (...paths: readonly string[]): object => ({
  Image: 'alpine',
  HostConfig: { Binds: paths.map((path, n) => `${path}:/x${n}`) },
});

await t.test('where the host is mounted, links lead where they lead on the host', async (t) => {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'bw-host-root-')));
  t.teardown(() => rmSync(root, { recursive: true }));
  mkdirSync(join(root, 'srv/app/plain'), { recursive: true });
  mkdirSync(join(root, 'etc/own'), { recursive: true });
  writeFileSync(join(root, 'srv/app/file'), '');
  const link = (to: string, name: string): void => symlinkSync(to, join(root, 'srv/app', name));
  link('/etc', 'absolute');
  link('../../etc', 'relative');
  link('../../../../../../../../etc', 'far');
  link('/srv/app/plain', 'inside');
  link('plain/../plain', 'dots');
  link('absolute/own', 'twice');
  link('circle', 'circle');
  link('/', 'root');
  link('/srv/app/nothing', 'nowhere');
  link('/run/docker.sock', 'socket');
  const ask = await withView(t, root, ['bind:/srv/app/**']);
  for (const [path, status, message] of [
    ['plain', 200, /ok/],
    ['file', 200, /ok/],
    ['inside', 200, /ok/],
    ['inside/deeper/still', 200, /ok/],
    ['dots', 200, /ok/],
    ['nowhere', 200, /ok/],
    ['not-there/yet', 200, /ok/],
    ['absolute', 403, /bind:\/etc[; ]/],
    ['absolute/shadow', 403, /bind:\/etc\/shadow[; ]/],
    ['relative', 403, /bind:\/etc[; ]/],
    ['far', 403, /bind:\/etc[; ]/],
    ['twice', 403, /bind:\/etc\/own[; ]/],
    ['root/proc/1/root', 403, /docker-socket/],
    ['root', 403, /docker-socket/],
    ['socket', 403, /docker-socket/],
    ['circle', 403, /cannot be looked up \(ELOOP\)/],
    ['circle/x', 403, /cannot be looked up \(ELOOP\)/],
  ] as const) {
    const answer = await ask('/containers/create', binds(`/srv/app/${path}`));
    t.match(answer, { status, message, reached: status === 200 ? 1 : 0 }, path);
  }
  await t.rejects(withView(t, join(root, 'none'), []), /upstream\.hostRoot .*none is no directory/);
});

await t.test('where the host cannot be seen, only what is permitted as it is written passes', async (t) => {
  const ask = await withView(t, null, [
    'bind:/srv/app',
    'bind:/srv/data/**',
    'bind:/srv/o?e',
    'volume-option:**',
  ]);
  const volume = (device: string): object => ({ Name: 'v', DriverOpts: { type: 'none', o: 'bind', device } });
  const mount = (Source: string): object => ({ Type: 'bind', Source, Target: '/x' });
  const service = (path: string): object => ({
    TaskTemplate: { ContainerSpec: { Image: 'alpine', Mounts: [mount(path)] } },
  });
  for (const [what, target, body, passes] of [
    ['the directory itself', '/containers/create', binds('/srv/app'), true],
    ['with a slash', '/containers/create', binds('/srv/app/'), true],
    ['as a mount', '/containers/create', { Image: 'a', HostConfig: { Mounts: [mount('/srv/app')] } }, true],
    ['of a service', '/services/create', service('/srv/app'), true],
    ['of a volume', '/volumes/create', volume('/srv/app'), true],
    ['a named volume', '/containers/create', binds('data'), true],
    ['no bind', '/containers/create', { Image: 'alpine' }, true],
    ['below a pattern', '/containers/create', binds('/srv/data/esc'), false],
    [
      'below it as a mount',
      '/containers/create',
      { Image: 'a', HostConfig: { Mounts: [mount('/srv/data/esc')] } },
      false,
    ],
    ['below it, of a service', '/services/create', service('/srv/data/esc'), false],
    ['below it, of a volume', '/volumes/create', volume('/srv/data/esc'), false],
    ['another pattern', '/containers/create', binds('/srv/one'), false],
    ['both', '/containers/create', binds('/srv/app', '/srv/data/esc'), false],
  ] as const) {
    const answer = await ask(target, body);
    t.equal(answer.status, passes ? 200 : 403, what);
    t.equal(answer.reached, passes ? 1 : 0, what);
    if (!passes) t.match(answer.message, /does not permit unseen:bind/, what);
  }
  t.match(await ask('/containers/create', binds('/srv/other')), {
    status: 403,
    message: /bind:\/srv\/other/,
  });
});

await t.test('what else covers it', async (t) => {
  for (const [permit, status] of [
    [['bind:/srv/**', 'unseen:bind'], 200],
    [['bind:/srv/**', 'unseen:**'], 200],
    [['bind:/srv/**', 'unseen:volume'], 403],
    [['bind:/srv/data/esc'], 200],
    [['bind:**'], 403],
    [['bind:**', 'docker-socket'], 200],
    [['*'], 200],
  ] as const) {
    const ask = await withView(t, null, permit);
    t.equal((await ask('/containers/create', binds('/srv/data/esc'))).status, status, permit.join(' '));
  }
});

await t.test('a policy that only observes stops nothing', async (t) => {
  for (const [what, hostRoot, paths, hazard] of [
    ['a circle', '/', ['circle'], ''],
    ['too many', '/', Array.from({ length: 300 }, (_, n) => `p${n}`), ''],
    ['a host that cannot be seen', null, ['plain'], 'unseen:bind'],
  ] as const) {
    const ask = await withView(t, hostRoot, [`bind:${directory}/**`, 'engine-load:**'], {
      mode: 'observe',
    });
    const { status, line } = await ask(
      '/containers/create',
      binds(...paths.map((path) => join(directory, path))),
    );
    t.equal(status, 200, what);
    t.match(line, { verdict: 'deny', enforced: false, code: hazard === '' ? 'host-paths' : 'hazard' }, what);
    if (hazard !== '') t.ok(line.hazards.includes(hazard), what);
  }
});
