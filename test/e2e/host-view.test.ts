import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { killGroup, run, until } from '../support/command.js';
import { missing, startEngine } from '../support/engine.js';
import { startGuard } from '../support/guard.js';

// A container makes a link in a directory that it was permitted; the next one is to be bound through it. A guard on the host
// sees where it leads, one that sees another file system must not guess.

const main = join(dirname(fileURLToPath(import.meta.url)), '../../src/cli/main.js');
const SECRET = 'only-on-the-host';

const skip =
  missing({ cli: true }) ??
  ((await run('unshare', ['-m', 'true'])).code === 0 ? undefined : 'no mount namespaces');
if (skip !== undefined) {
  t.comment(skip);
  t.plan(0, skip);
} else {
  await t.test('links on the host', { timeout: 240_000 }, scenes);
}

/**
 * A guard in a mount namespace of its own, in which an empty directory hides the one that is permitted, as a container or
 * PrivateTmp would.
 *
 * @param config its section `upstream`; `ROOT` stands for where the host is mounted.
 */
async function startApart(
  t: Test,
  hidden: string,
  policy: object,
  upstream: Readonly<Record<string, unknown>>,
): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'bw-apart-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const root = join(dir, 'root');
  mkdirSync(root);
  const socket = join(dir, 'guard.sock');
  writeFileSync(join(dir, 'policy.json'), JSON.stringify(policy));
  writeFileSync(
    join(dir, 'config.json'),
    JSON.stringify({
      listen: [{ url: `unix://${socket}` }],
      upstream: upstream['hostRoot'] === 'ROOT' ? { ...upstream, hostRoot: root } : upstream,
      policy: ['policy.json'],
      admin: null,
      audit: { file: 'audit.jsonl' },
    }),
  );
  const script = `mount --make-rprivate / && mount --rbind -o ro / "$1" && mount -t tmpfs none "$2" && exec "$3" "$4" run --config "$5"`;
  const child = spawn(
    'unshare',
    ['-m', 'sh', '-c', script, 'sh', root, hidden, process.execPath, main, join(dir, 'config.json')],
    { stdio: ['ignore', 'pipe', 'pipe'], detached: true },
  );
  t.teardown(() => killGroup(child));
  let printed = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (piece: string) => (printed += piece));
  const isUp = await until(() => child.exitCode !== null || /policy /.test(printed), 15_000);
  if (!isUp || child.exitCode !== null) throw new Error(`the guard did not start:\n${printed}`);
  return `unix://${socket}`;
}

async function scenes(t: Test): Promise<void> {
  const engine = await startEngine();
  t.teardown(() => engine.stop());
  const base = realpathSync(mkdtempSync(join(tmpdir(), 'bw-view-')));
  t.teardown(() => rmSync(base, { recursive: true, force: true }));
  const secret = join(base, 'secret');
  const app = join(base, 'app');
  mkdirSync(join(app, 'real/plain'), { recursive: true });
  mkdirSync(secret);
  writeFileSync(join(secret, 'key'), SECRET);
  const docker = async (host: string, ...args: string[]): Promise<{ code: number; text: string }> => {
    const { code, stdout, stderr } = await run('docker', args, {
      env: { DOCKER_HOST: host, DOCKER_CONFIG: engine.dockerConfig },
    });
    return { code, text: stdout + stderr };
  };
  const read = (host: string, source: string): Promise<{ code: number; text: string }> =>
    docker(host, 'run', '--rm', '--network', 'none', '-v', `${source}:/y`, 'alpine', 'cat', '/y/key');

  const policy = {
    rules: [
      {
        id: 'run',
        sources: ['*'],
        operations: ['@run', 'SystemPing*', 'SystemVersion', 'SystemInfo'],
        permit: ['attach-stdin', `bind:${app}`, `bind:${app}/real/**`],
      },
    ],
  };
  // What the caller may do: it is permitted that directory, and root in its container.
  const first = await startGuard({ upstream: engine.host, policy });
  t.teardown(() => first.stop());
  const made = await docker(
    ...([
      first.unix.host,
      'run',
      '--rm',
      '--network',
      'none',
      '-v',
      `${app}:/x`,
      'alpine',
      'sh',
      '-c',
    ] as const),
    `ln -s ${secret} /x/real/esc && ln -s ../../secret /x/real/relative && ln -s plain /x/real/inside && echo ${SECRET} > /x/real/plain/key`,
  );
  t.equal(made.code, 0, made.text);
  t.match(
    await read(engine.host, `${app}/real/esc`),
    { code: 0, text: SECRET },
    'the engine follows the link',
  );

  const views = {
    'on the host': first.unix.host,
    'apart, with the host mounted': await startApart(t, base, policy, { url: engine.host, hostRoot: 'ROOT' }),
    apart: await startApart(t, base, policy, { url: engine.host }),
  };
  for (const [name, host] of Object.entries(views)) {
    await t.test(name, async (t) => {
      const sees = name !== 'apart';
      const through = sees ? new RegExp(`does not permit bind:${secret}`) : /does not permit unseen:bind/;
      for (const link of ['esc', 'relative']) {
        const { code, text } = await read(host, `${app}/real/${link}`);
        t.notMatch(text, SECRET, `${link}: nothing is read`);
        t.match({ code, text }, { code: 125, text: through }, link);
      }
      const inside = await read(host, `${app}/real/inside`);
      t.match(inside, sees ? { code: 0, text: SECRET } : { code: 125, text: /unseen:bind/ }, 'a link inside');
      const plain = await read(host, `${app}/real/plain`);
      t.match(plain, sees ? { code: 0, text: SECRET } : { code: 125, text: /unseen:bind/ }, 'no link');
      const itself = await docker(
        host,
        'run',
        '--rm',
        '--network',
        'none',
        '-v',
        `${app}:/y`,
        'alpine',
        'ls',
        '/y',
      );
      t.match(itself, { code: 0, text: /real/ }, 'the permitted directory itself');
    });
  }
}
