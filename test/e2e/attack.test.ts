import t, { type Test } from 'tap';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { projectRoot, run, supportDir } from '../support/command.js';
import { get, missing, python, startEngine, type Engine } from '../support/engine.js';
import { selfCheck, startGuard, type Guard, type Target } from '../support/guard.js';
import { startRecorder } from '../support/recorder.js';
import { formatTable } from '../support/table.js';

// The published attack, with the Docker SDK for Python, under policies/default.json: nobody builds over the network,
// a trusted caller on the unix socket builds what he uploads, and nobody makes the daemon fetch a Dockerfile.

const skip = missing({ sdk: true }) ?? (selfCheck ? 'self-check: nothing is denied by a relay' : undefined);
if (skip !== undefined) {
  t.comment(skip);
  t.plan(0, skip);
} else {
  await main();
}

interface Step {
  readonly step: string;
  readonly ok: boolean;
  readonly status: number;
  readonly text: string;
}

async function main(): Promise<void> {
  t.setTimeout(150_000);
  const engine = await startEngine();
  const recorder = await startRecorder(join(engine.dir, 'recorder.sock'), engine.socket);
  const guard = await startGuard({
    upstream: recorder.host,
    policy: join(projectRoot, 'policies', 'default.json'),
  });
  let hits = 0;
  const web = createServer((_, response) => {
    hits++;
    response.end('FROM alpine\nRUN echo remote > /main.sh\n');
  });
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(web.address() as AddressInfo).port}/Dockerfile`;
  t.teardown(async () => {
    web.close();
    await guard.stop();
    await recorder.close();
    await engine.stop();
  });

  await t.test('the attack works on an unguarded daemon', async (t) => {
    const direct: Target = { name: 'direct', host: engine.host };
    const uploaded = await attack(t, engine, direct, ['upload', 'unguarded-a']);
    t.ok(
      [...uploaded.values()].every((step) => step.ok),
      'every step with an uploaded Dockerfile',
    );
    const remote = await attack(t, engine, direct, ['remote', 'unguarded-b', url]);
    t.ok(
      [...remote.values()].every((step) => step.ok),
      'every step with a remote Dockerfile',
    );
    t.ok(hits > 0, 'the daemon fetched it');
  });

  await t.test('from the network every harmful step is denied', async (t) => {
    for (const args of [
      ['upload', 'evil-a'],
      ['remote', 'evil-b', url],
    ]) {
      await untouched(
        t,
        engine,
        () => hits,
        async () => {
          recorder.forget();
          const steps = await attack(t, engine, guard.tcp, args);
          for (const name of ['ping', 'list', 'list again']) t.ok(steps.get(name)?.ok, `${name} passes`);
          for (const name of ['build', 'create', 'start']) denied(t, steps.get(name), name);
          t.notMatch(recorder.sent(), /POST /, 'no POST reached the daemon');
        },
      );
    }
    t.ok(auditHas(guard, 'ImageBuild', 'deny'), 'the audit trail has the denied build');
  });

  await t.test('a trusted caller builds what he uploads', async (t) => {
    const steps = await attack(t, engine, guard.unix, ['upload', 'trusted-a']);
    for (const step of steps.values()) t.ok(step.ok, `${step.step} passes: ${step.text.slice(0, 200)}`);
    t.match(steps.get('build')?.text, /Step 2\/3/, 'the build log arrives');
    t.ok((await imageTags(engine)).includes('trusted-a:latest'), 'the image is on the daemon');
    t.ok(auditHas(guard, 'ImageBuild', 'allow'), 'the audit trail has the allowed build');
  });

  await t.test('a trusted caller does not make the daemon fetch a Dockerfile', async (t) => {
    await untouched(
      t,
      engine,
      () => hits,
      async () => {
        recorder.forget();
        const steps = await attack(t, engine, guard.unix, ['remote', 'trusted-b', url]);
        denied(t, steps.get('build'), 'build');
        t.match(steps.get('build')?.text, /remote-context/, 'the reason names the hazard');
        t.notMatch(recorder.sent(), /POST [^ ]*\/build/, 'no build reached the daemon');
      },
    );
  });
}

async function attack(
  t: Test,
  engine: Engine,
  target: Target,
  args: readonly string[],
): Promise<Map<string, Step>> {
  const outcome = await run(python, [join(supportDir, 'attack.py'), ...args], {
    timeout: 30_000,
    env: { DOCKER_HOST: target.host, HOME: engine.dir },
  });
  const steps = outcome.stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Step);
  const rows = steps.map((step) => [
    step.step,
    step.ok ? 'passed' : `refused ${step.status}`,
    step.ok ? '' : step.text.slice(0, 160),
  ]);
  t.comment(`${target.name}: ${args[0]}\n${formatTable(['step', 'result', 'reason'], rows)}`);
  t.equal(steps.length, 7, `seven steps ${outcome.stderr.slice(-500)}`);
  return new Map(steps.map((step) => [step.step, step]));
}

function denied(t: Test, step: Step | undefined, name: string): void {
  t.notOk(step?.ok, `${name} is refused`);
  // `start` is of a container that does not exist: the guard denies it all the same, before dockerd can say so.
  t.equal(step?.status, 403, `${name}: 403`);
  t.match(
    step?.text,
    /^breakwater: .*(not for this caller|does not permit).*\(call [^)]+\)/,
    `${name}: the SDK shows the reason: ${step?.text.slice(0, 200)}`,
  );
}

/** Neither images nor containers of the daemon change, and no server is visited. */
async function untouched(
  t: Test,
  engine: Engine,
  visits: () => number,
  act: () => Promise<void>,
): Promise<void> {
  const images = (await get(engine.socket, '/images/json?all=1')).body.toString();
  const containers = await ids(engine, '/containers/json?all=1');
  const before = visits();
  await act();
  t.same(
    await ids(engine, '/images/json?all=1'),
    (JSON.parse(images) as { Id: string }[]).map((image) => image.Id).sort(),
    'images -a before and after are the same',
  );
  t.same(await ids(engine, '/containers/json?all=1'), containers, 'no container was made');
  t.equal(visits(), before, 'the daemon fetched nothing');
}

async function ids(engine: Engine, path: string): Promise<string[]> {
  return (JSON.parse((await get(engine.socket, path)).body.toString()) as { Id: string }[])
    .map((one) => one.Id)
    .sort();
}

async function imageTags(engine: Engine): Promise<string[]> {
  const images = JSON.parse((await get(engine.socket, '/images/json')).body.toString()) as {
    RepoTags: string[] | null;
  }[];
  return images.flatMap((image) => image.RepoTags ?? []);
}

function auditHas(guard: Guard, operation: string, verdict: string): boolean {
  return guard.audit().some((line) => line['operation'] === operation && line['verdict'] === verdict);
}
