import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { killGroup, run } from './command.js';
import { required, type Engine } from './engine.js';
import { must } from './namespace.js';

// A small internet for end-to-end tests, in a network namespace of the test's own.

const INNER = 'BREAKWATER_TEST_NETWORK';

/**
 * Runs the scenes in a network namespace of their own, with daemon, bridges, routes and packet filter: nothing of the
 * machine is touched, and with the last process everything is gone. The test file runs itself once more, inside.
 *
 * @param file the `import.meta.url` of the test file.
 */
export async function inOwnNetwork(file: string, scenes: () => Promise<void>): Promise<void> {
  if (process.env[INNER] !== undefined || process.getuid?.() !== 0) return scenes();
  const child = spawn('unshare', ['--net', process.execPath, fileURLToPath(file)], {
    stdio: 'inherit',
    env: { ...process.env, [INNER]: '1' },
    detached: true,
  });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
    process.on(signal, () => killGroup(child, signal));
  process.on('exit', () => killGroup(child, 'SIGTERM'));
  child.on('error', (error) => {
    process.stdout.write(`TAP version 14\nnot ok 1 - unshare: ${error.message}\n1..1\n`);
    process.exitCode = 1;
  });
  child.on('exit', (code) => (process.exitCode = code ?? 1));
}

/** A command that a container runs. */
export const fetch = (url: string): string => `/usr/bin/curl -sS -m 20 http://${url}`;
/** What it says when it was refused, and at once: in less than a second. */
export const refused = (address: string): RegExp =>
  new RegExp(`Failed to connect to ${address} port 8080 after \\d{1,3} ms`);

export async function missingNft(): Promise<string | undefined> {
  const works = await run('nft', ['list', 'tables']).then(
    ({ code }) => code === 0,
    () => false,
  );
  if (works) return undefined;
  if (required) throw new Error('BREAKWATER_E2E=required, but nft does not work here');
  return 'SKIPPED, NOT TESTED: nft does not work here (set BREAKWATER_E2E=required to make this a failure)';
}

/** The engine's alpine with the machine's curl: the static busybox cannot open connections by name. */
export async function importTools({ host, dir }: Engine): Promise<void> {
  const root = join(dir, 'tools');
  const { stdout } = await run('sh', ['-c', 'ldd "$(command -v curl)"; command -v curl']);
  const files = stdout.split('\n').flatMap((line) => /(?:^|\s)(\/\S+)/.exec(line)?.[1] ?? []);
  for (const file of files) {
    const to = join(root, file);
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(file, to);
  }
  writeFileSync(join(root, 'Dockerfile'), 'FROM alpine\nCOPY . /\nENV PATH=/bin:/usr/bin\n');
  await must('docker', ['-H', host, 'build', '-t', 'tools', root]);
}

/** The bridge that the engine was started with. */
export async function ownBridge(): Promise<{ readonly name: string; readonly prefix: string }> {
  const { stdout } = await run('ip', ['-o', '-4', 'address']);
  const match = /\s(bw\d+)\s+inet (10\.\d+\.0)\.1\//.exec(stdout);
  if (match === null) throw new Error(`no bridge: ${stdout}`);
  return { name: match[1]!, prefix: match[2]! };
}
