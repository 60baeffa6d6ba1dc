import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { talk } from '../support/raw.js';
import { create } from './case.js';
import { startGuarded } from './guarded.js';

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
        permit: [`bind:${directory}`, `bind:${directory}/**`],
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
