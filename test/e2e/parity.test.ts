import t, { type Test } from 'tap';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { run, supportDir } from '../support/command.js';
import { missing, python, startEngine, type Engine } from '../support/engine.js';
import { startGuard, type Guard, type Target } from '../support/guard.js';
import { cases, normalise, prelude, type ParityCase } from '../support/parity-cases.js';
import { formatTable, sameWords } from '../support/table.js';

// The same commands direct and through a guard that allows everything must give the same results.

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
  readonly seconds: number;
}

const skip = missing({ cli: true });
if (skip !== undefined) {
  t.comment(skip);
  t.plan(0, skip);
} else {
  await main();
}

async function main(): Promise<void> {
  t.setTimeout(900_000);
  const only = process.env['BREAKWATER_E2E_ONLY'];
  const engine = await startEngine();
  const guard = await startGuard({ upstream: engine.host }).catch(async (error: unknown) => {
    await engine.stop();
    throw error;
  });
  t.teardown(async () => {
    await guard.stop();
    await engine.stop();
  });
  const direct: Target = { name: 'direct', host: engine.host };
  const rows: string[][] = [];
  const via = { tcp: [guard.tcp], unix: [guard.unix], both: [guard.tcp, guard.unix] };

  for (const [index, one] of cases.entries()) {
    if (only !== undefined && !one.name.includes(only)) continue;
    if (one.compose === true && !engine.compose) {
      const reason = 'SKIPPED, NOT TESTED: no Compose v2 plugin (see test/support/fetch-trixie.sh)';
      if (process.env['BREAKWATER_E2E'] === 'required') t.fail(`${one.name}: ${reason}`);
      else t.comment(`${one.name}: ${reason}`);
      rows.push([one.name, '-', '-', 'skipped']);
      continue;
    }
    await t.test(one.name, { timeout: 120_000 }, async (t) => {
      const expected = await runCase(one, index, engine, direct);
      t.notOk(expected.timedOut, 'the direct run ends by itself');
      t.match(expected.stdout, one.shows, 'the direct run does what it is for');
      for (const target of via[one.via ?? 'tcp']) {
        const found = await runCase(one, index, engine, target);
        t.equal(found.timedOut, false, `${target.name}: ends by itself`);
        t.equal(found.stdout, expected.stdout, `${target.name}: same stdout`);
        t.equal(found.stderr, expected.stderr, `${target.name}: same stderr`);
        t.equal(found.code, expected.code, `${target.name}: same exit code`);
        rows.push([
          one.name,
          describe(expected),
          `${target.name} ${describe(found)}`,
          sameWords(expected, found),
        ]);
      }
    });
  }

  if (only === undefined || only === 'sdk') await compareSdk(engine, direct, guard, rows);

  t.comment(`dockerd ${engine.version}\n${formatTable(['command', 'direct', 'guard', 'same'], rows)}`);
}

interface Step {
  readonly name: string;
  readonly result: unknown;
  readonly seconds: number;
}

/** The Docker SDK for Python: one process per target works through sdk-parity.py; each step's result must agree. */
async function compareSdk(engine: Engine, direct: Target, guard: Guard, rows: string[][]): Promise<void> {
  await t.test('Docker SDK for Python', { timeout: 480_000 }, async (t) => {
    const reason = missing({ sdk: true });
    if (reason !== undefined) {
      t.comment(reason);
      return;
    }
    const expected = await runSdk(t, engine, direct, 'sdka');
    t.ok(expected.length > 15, 'the direct run goes through all steps');
    for (const [target, name] of [
      [guard.tcp, 'sdkb'],
      [guard.unix, 'sdkc'],
    ] as const) {
      const found = new Map((await runSdk(t, engine, target, name)).map((step) => [step.name, step]));
      for (const step of expected) {
        const other = found.get(step.name);
        t.notMatch(step.result, { exception: /./ }, `direct: ${step.name} works`);
        const same = t.same(other?.result, step.result, `${target.name}: ${step.name}`);
        rows.push([
          `sdk ${step.name}`,
          `${step.seconds} s`,
          `${target.name} ${other?.seconds ?? '-'} s`,
          same ? 'yes' : 'NO',
        ]);
      }
    }
  });
}

async function runSdk(t: Test, engine: Engine, target: Target, name: string): Promise<Step[]> {
  const outcome = await run(python, [join(supportDir, 'sdk-parity.py'), name], {
    // About twenty seconds; on a slow disk several times that.
    timeout: 150_000,
    env: { DOCKER_HOST: target.host, HOME: engine.dir },
  });
  t.equal(outcome.code, 0, `${target.name}: runs to its end`);
  if (outcome.stderr !== '') t.comment(`${target.name}: ${outcome.stderr.slice(-3000)}`);
  return outcome.stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Step);
}

async function runCase(one: ParityCase, index: number, engine: Engine, target: Target): Promise<Result> {
  const dir = mkdtempSync(join(engine.dir, 'case-'));
  // The same length for every target, so that column widths agree.
  const name = `case${String(index).padStart(2, '0')}${{ d: 'a', t: 'b', u: 'c' }[target.name.split(' ').at(-1)?.[0] ?? 'd'] ?? 'z'}`;
  const start = Date.now();
  const outcome = await run('bash', ['-c', prelude + one.script], {
    timeout: 45_000,
    env: {
      DOCKER_HOST: target.host,
      DOCKER_CONFIG: engine.dockerConfig,
      DOCKER_BUILDKIT: '0',
      DOCKER_CLI_HINTS: 'false',
      N: name,
      D: dir,
      PTY: `${python} ${join(supportDir, 'dialogue.py')}`,
      HOME: dir,
      LC_ALL: 'C',
    },
  });
  rmSync(dir, { recursive: true, force: true });
  return {
    code: outcome.code,
    timedOut: outcome.timedOut,
    stdout: normalise(outcome.stdout, name, dir),
    stderr: normalise(outcome.stderr, name, dir),
    seconds: (Date.now() - start) / 1000,
  };
}

function describe(result: Result): string {
  return `exit ${result.code} ${result.seconds.toFixed(1)} s`;
}
