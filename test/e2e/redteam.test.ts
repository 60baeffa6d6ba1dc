import t, { type Test } from 'tap';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { killGroup, projectRoot, run, until } from '../support/command.js';
import { missing, python, required, startEngine } from '../support/engine.js';
import { selfCheck, startGuard } from '../support/guard.js';

// Runs an external corpus of attacks and near misses (BREAKWATER_REDTEAM: a directory with run.py, servers.py and
// sample.json) against the guard under test/redteam/config.json and policy.json, with a real dockerd behind it.

const FAMILIES = '';

/** Cases whose defence is not in this version, with the reason. They are reported, and must not grow in number. */
const LATER: Readonly<Record<string, string>> = {};

const corpus = process.env['BREAKWATER_REDTEAM'] ?? '';
const skip = whySkip();
if (skip !== undefined) {
  t.comment(skip);
  t.plan(0, skip);
} else {
  t.setTimeout(560_000);
  await t.test('the corpus against the guard', { timeout: 280_000 }, (t) => main(t));
  // fetch-trixie.sh puts a newer dockerd there.
  const newer = join(process.env['BREAKWATER_TRIXIE'] ?? '', 'dockerd');
  if (existsSync(newer)) {
    await t.test('the corpus against the guard, newer engine', { timeout: 280_000 }, (t) => main(t, newer));
  } else {
    t.comment('NOT TESTED with a newer dockerd: BREAKWATER_TRIXIE is not set');
  }
}

function whySkip(): string | undefined {
  if (selfCheck) return 'self-check: nothing is denied by a relay';
  if (corpus === '') {
    return 'SKIPPED, NOT TESTED: BREAKWATER_REDTEAM is not set (a directory with run.py, servers.py, sample.json)';
  }
  for (const file of ['run.py', 'servers.py', 'sample.json']) {
    if (existsSync(join(corpus, file))) continue;
    const reason = `BREAKWATER_REDTEAM has no ${file}`;
    if (required) throw new Error(reason);
    return `SKIPPED, NOT TESTED: ${reason}`;
  }
  return missing();
}

async function main(t: Test, dockerd?: string): Promise<void> {
  const engine = await startEngine(dockerd);
  const redteam = join(projectRoot, 'test', 'redteam');
  const { feeds } = JSON.parse(readFileSync(join(redteam, 'config.json'), 'utf8')) as {
    feeds: { sources: { url: string }[] };
  };
  // The guard's own file stands elsewhere, and what feeds keep belongs beside it.
  const sources = feeds.sources.map((source) => ({
    ...source,
    url: pathToFileURL(join(redteam, source.url.replace(/^file:/, ''))).href,
  }));
  const guard = await startGuard({
    upstream: engine.host,
    policy: join(redteam, 'policy.json'),
    config: { feeds: { ...feeds, sources, state: 'feeds' } },
  });
  const env = { PYTHONDONTWRITEBYTECODE: '1' };
  const servers = spawn(python, [join(corpus, 'servers.py')], {
    detached: true,
    stdio: 'ignore',
    env: { ...process.env, ...env },
  });
  t.teardown(async () => {
    killGroup(servers);
    await guard.stop();
    await engine.stop();
  });
  t.ok(await until(() => answers(8067), 10_000), "the corpus's own servers are up");

  const outcome = await run(
    python,
    [
      join(corpus, 'run.py'),
      ...['--addr', guard.unix.socket, '--direct', engine.socket, '--only', FAMILIES],
      ...['--engine', engine.version.startsWith('20.10') ? '20.10' : '26.1'],
    ],
    { timeout: 240_000, env },
  );
  t.equal(outcome.timedOut, false, 'the runner ends');
  t.equal(outcome.stderr, '', 'and does not fail itself');
  t.comment(outcome.stdout);

  // `PASS  path-010  deny  st=403 eff=True  title  [hint]`
  const lines = outcome.stdout
    .split('\n')
    .filter((line) => /^(PASS|INERT|LIMIT|FAIL) +[a-z]+-\d+ /.test(line));
  t.ok(lines.length > 20, `${lines.length} cases were run`);
  for (const line of lines) {
    const [verdict, id = '', expected] = line.split(/ +/);
    const later = LATER[id];
    if (later !== undefined && verdict === 'FAIL') {
      t.comment(`NOT YET ${id}: ${later}`);
    } else {
      t.ok(verdict !== 'FAIL', `${expected === 'allow' ? 'control passes' : 'attack is stopped'}: ${line}`);
    }
  }
  t.equal(await guard.exited(0), undefined, 'the guard is still running');
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
