import t, { type Test } from 'tap';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run, type Outcome } from '../support/command.js';
import { missing, startEngine } from '../support/engine.js';
import { selfCheck, startGuard } from '../support/guard.js';

// Rate limits as somebody with the docker CLI meets them, in front of a real engine.

const skip = missing({ cli: true }) ?? (selfCheck ? 'self-check: a relay limits nothing' : undefined);
if (skip !== undefined) {
  t.comment(skip);
  t.plan(0, skip);
} else {
  t.setTimeout(280_000);
  await t.test('rate limits, with the docker CLI', { timeout: 270_000 }, main);
}

async function main(t: Test): Promise<void> {
  const engine = await startEngine();
  t.teardown(() => engine.stop());
  const context = join(engine.dir, 'context');
  mkdirSync(context);
  writeFileSync(join(context, 'Dockerfile'), 'FROM alpine\nCOPY data /data\n');
  writeFileSync(join(context, 'data'), Buffer.alloc(1_000_000, 'x'));
  const env = { DOCKER_CONFIG: engine.dockerConfig, DOCKER_BUILDKIT: '0' };
  const guardWith = async (limits: object) => {
    const guard = await startGuard({
      upstream: engine.host,
      policy: {
        sources: { ci: { listener: ['unix'], limits } },
        rules: [{ id: 'all', sources: ['*'], operations: ['*'], permit: ['*'] }],
      },
    });
    t.teardown(() => guard.stop());
    const docker = (...args: string[]): Promise<Outcome> =>
      run('docker', ['-H', guard.unix.host, ...args], { env, timeout: 60_000 });
    return { guard, docker };
  };

  const { guard, docker } = await guardWith({ builds: '1/1h', creates: '2/1h', streams: 8 });
  const first = await docker('build', '-t', 'one', context);
  t.equal(first.code, 0, first.stderr);
  const second = await docker('build', '-t', 'two', context);
  t.not(second.code, 0);
  t.match(
    second.stderr,
    /Error response from daemon: breakwater: source ci is at its limit of builds \(1\/1h\); try again in 60 min \(call /,
  );
  const ran = await docker('run', '--rm', 'one', 'sh', '-c', 'wc -c </data');
  t.match(ran.stdout, /1000000/, ran.stderr);
  t.equal(
    (await docker('run', '--rm', 'one', 'true')).code,
    0,
    'run, wait and attach gave their streams back',
  );
  const third = await docker('run', '--rm', 'one', 'true');
  t.match(third.stderr, /source ci is at its limit of creates \(2\/1h\); try again in (30|29) min/);
  t.equal((await docker('ps')).code, 0, 'all else goes on');
  const codes = guard
    .audit()
    .filter(({ code }) => code === 'rate-limit')
    .map(({ operation }) => operation);
  t.same(codes, ['ImageBuild', 'ContainerCreate']);

  const slow = await guardWith({ bytes: { rate: '500KiB/1s', burst: '100KiB' } });
  const began = performance.now();
  const built = await slow.docker('build', '-q', '-t', 'slow', context);
  t.equal(built.code, 0, built.stderr);
  t.ok(performance.now() - began > 1_400, 'a build is only slower');
  const checked = await slow.docker('run', '--rm', 'slow', 'sh', '-c', 'wc -c </data; cat /data');
  t.equal(checked.code, 0, checked.stderr);
  t.equal(checked.stdout.replace(/^1000000\n/, '').length, 1_000_000, 'an attached stream arrives whole');
}
