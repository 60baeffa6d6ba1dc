import { truncateSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { engineConfig, proxyConfig, proxyEnv } from './haproxy.js';
import type { Target } from './load.js';
import { freePort, here, listening, start, type Cores, type Started } from './processes.js';
import { policy, writeAnswers } from './workload.js';

/** Where things go: `short` holds sockets and configs, `disk` what is written while measuring. */
export interface Places {
  readonly short: string;
  /** On the disk of the checkout: a temporary directory may be memory, an audit trail never is. */
  readonly disk: string;
}

export interface GuardBuild {
  /** `main.js` of the guard to measure. */
  readonly main: string;
  /** More flags for node, such as `--cpu-prof`. */
  readonly nodeFlags?: readonly string[];
  /** A list of indicators that the guard looks for in every call. */
  readonly feed?: string;
  /** Default: that of the workload. */
  readonly policy?: object;
  /** Where its audit trail goes; default: a file. */
  readonly trail?: 'file' | 'journal' | 'none';
}

/** The guard of this build. */
export const ownGuard = resolve(here, '../src/cli/main.js');

/** The stand-in engine: HAProxy serving fixed answers, on the core that the load generator has. */
export async function startEngine(
  places: Places,
  core: number | undefined,
): Promise<{ target: Target; socket: string }> {
  const port = await freePort();
  const socket = join(places.short, 'engine.sock');
  const config = join(places.short, 'engine.cfg');
  writeFileSync(config, engineConfig(port, socket, writeAnswers(places.short)));
  const engine = start('haproxy', ['-db', '-f', config], { core });
  await listening(port, engine, 'the stand-in engine (haproxy)');
  return { target: { name: 'direct', port, pid: engine.pid }, socket };
}

/** HAProxy as a Docker socket proxy; with `log`, as the image does it. */
export async function startProxy(
  places: Places,
  cores: Cores,
  engine: string,
  log: boolean,
): Promise<Target> {
  const name = log ? 'haproxy-log' : 'haproxy';
  const port = await freePort();
  const config = join(places.short, `${name}-${port}.cfg`);
  const lines = join(places.disk, `${name}-${port}.log`);
  const socket = join(places.short, `${name}-${port}.sock`);
  writeFileSync(config, proxyConfig(port, socket, engine, log));
  const proxy = start('haproxy', ['-db', '-f', config], {
    core: cores.tested,
    env: proxyEnv,
    ...(log && { stdout: lines }),
  });
  await listening(port, proxy, name);
  return { name, port, socket, pid: proxy.pid, ...(log && { after: () => truncateSync(lines) }) };
}

/** The guard as anyone would run it: policy, audit file, metrics counted; only the admin listener is off. */
export async function startGuard(
  places: Places,
  cores: Cores,
  engine: string,
  build: GuardBuild,
): Promise<{ target: Target; process: Started }> {
  const port = await freePort();
  const files = join(places.short, `guard-${port}`);
  const file = join(places.disk, `audit-${port}.jsonl`);
  const { trail = 'file' } = build;
  const audit = {
    file: { file },
    none: { file: '/dev/null' },
    journal: { journal: join(places.disk, `journal-${port}`), keep: { size: '512MiB' } },
  }[trail];
  writeFileSync(`${files}-policy.json`, JSON.stringify(build.policy ?? policy));
  writeFileSync(
    `${files}.json`,
    JSON.stringify({
      listen: [{ url: `tcp://127.0.0.1:${port}` }, { url: `unix://${files}.sock` }],
      upstream: { url: `unix://${engine}` },
      policy: [`${files}-policy.json`],
      admin: null,
      audit,
      ...(build.feed !== undefined && {
        feeds: {
          state: `${files}-feeds`,
          required: true,
          sources: [{ name: 'bench', url: pathToFileURL(build.feed).href }],
        },
      }),
    }),
  );
  const args = [...(build.nodeFlags ?? []), build.main, 'run', '--config', `${files}.json`];
  const started = start(process.execPath, args, { core: cores.tested });
  await listening(port, started, 'the guard', build.feed === undefined ? undefined : 120_000);
  const socket = `${files}.sock`;
  const target: Target = {
    name: 'guard',
    port,
    socket,
    pid: started.pid,
    ...(trail === 'file' && { after: () => truncateSync(file) }),
  };
  return { target, process: started };
}
