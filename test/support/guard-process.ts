import { spawn, type ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { killGroup, until } from './command.js';
import { allowEverything } from './guard.js';

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

export interface GuardProcess {
  readonly child: ChildProcess;
  /** What it printed so far, both streams. */
  log(): string;
  /** Resolves when it is gone. */
  kill(signal: NodeJS.Signals): Promise<void>;
}

/**
 * For tests of what outlives a guard: a journal, its delivery, a full disk. The directory is the test's, so that a second
 * guard goes on where a killed one stopped; `startGuard` of guard.ts has a new one each time.
 *
 * `breakwater run` with a config file alone, so that the audit trail is what the file says. Ends with the test.
 *
 * @param directory gets the file, and a policy that allows everything.
 * @throws Error with what it printed when it does not listen within 15 s.
 */
export async function runGuard(
  t: Test,
  directory: string,
  config: {
    readonly port: number;
    readonly upstream: string;
    readonly admin?: number;
    readonly audit: object;
    /** More of the config file. */
    readonly more?: object;
  },
): Promise<GuardProcess> {
  const { port, upstream, admin, audit, more } = config;
  const file = join(directory, 'config.json');
  writeFileSync(join(directory, 'policy.json'), JSON.stringify(allowEverything));
  writeFileSync(
    file,
    JSON.stringify({
      listen: [{ name: 'tcp', url: `tcp://127.0.0.1:${port}` }],
      upstream: { url: upstream },
      policy: ['policy.json'],
      admin: admin === undefined ? null : { url: `tcp://127.0.0.1:${admin}` },
      audit,
      ...more,
    }),
  );
  const child = spawn(process.execPath, ['--enable-source-maps', main, 'run', '--config', file], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  t.teardown(() => killGroup(child));
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (piece: string) => (printed += piece));
  }
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const isUp = await until(() => child.exitCode !== null || /listening/i.test(printed), 15_000, 20);
  if (!isUp || child.exitCode !== null) throw new Error(`the guard did not start:\n${printed}`);
  return {
    child,
    log: () => printed,
    async kill(signal) {
      child.kill(signal);
      await ended;
    },
  };
}
