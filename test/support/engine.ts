import { spawn, spawnSync, execFileSync } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { copyFileSync, mkdtempSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { run, sleep, until } from './command.js';

/** A real dockerd of our own, with `alpine:latest` and `busybox:latest` made from the machine's busybox. */
export interface Engine {
  readonly socket: string;
  /** `unix://…`, for DOCKER_HOST. */
  readonly host: string;
  /** `20.10.24+dfsg1` … */
  readonly version: string;
  /** A scratch directory that goes away with the engine. */
  readonly dir: string;
  /** DOCKER_CONFIG directory with the Compose plugin, when there is one. */
  readonly dockerConfig: string;
  readonly compose: boolean;
  stop(): Promise<void>;
}

/**
 * Whether end-to-end tests must run: with `BREAKWATER_E2E=required` a missing dockerd, CLI or SDK is a failure,
 * otherwise the test file is skipped.
 */
export const required = process.env['BREAKWATER_E2E'] === 'required';

/** The words to skip with, or undefined when everything is there. Throws when e2e tests are required. */
export function missing(needs: { readonly cli?: boolean; readonly sdk?: boolean } = {}): string | undefined {
  const reason = whatIsMissing(needs);
  if (reason === undefined) return undefined;
  if (required) throw new Error(`BREAKWATER_E2E=required, but ${reason}`);
  return `SKIPPED, NOT TESTED: ${reason} (set BREAKWATER_E2E=required to make this a failure)`;
}

function whatIsMissing(needs: { readonly cli?: boolean; readonly sdk?: boolean }): string | undefined {
  if (process.platform !== 'linux') return 'end-to-end tests need Linux';
  if (process.getuid?.() !== 0) return 'starting dockerd needs root';
  for (const file of [dockerdPath(), 'containerd', 'runc', 'iptables', 'ip', 'busybox']) {
    if (!onPath(file)) return `there is no ${file} on PATH`;
  }
  if (needs.cli === true && !onPath('docker')) return 'there is no docker CLI on PATH';
  if (needs.sdk === true && !hasSdk()) return `${python} has no Docker SDK (package python3-docker)`;
  return undefined;
}

/** The system's Python: the one that distribution packages such as python3-docker install into. */
export const python = process.env['BREAKWATER_PYTHON'] ?? '/usr/bin/python3';

function hasSdk(): boolean {
  try {
    execFileSync(python, ['-c', 'import docker'], { stdio: 'ignore', timeout: 20_000 });
    return true;
  } catch {
    return false;
  }
}

function dockerdPath(): string {
  return process.env['BREAKWATER_DOCKERD'] ?? 'dockerd';
}

function onPath(file: string): boolean {
  return findOnPath(file) !== undefined;
}

function findOnPath(file: string): string | undefined {
  const candidates = file.includes('/')
    ? [file]
    : (process.env['PATH'] ?? '').split(delimiter).map((dir) => join(dir, file));
  return candidates.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Starts dockerd on a socket, data directory and bridge of its own, beside any other daemon of the machine:
 * no iptables rules, no change of forwarding. Rejects, with the end of its log, if it does not answer in 40 s.
 *
 * @param options more of the daemon's options.
 */
export async function startEngine(dockerd = dockerdPath(), options: readonly string[] = []): Promise<Engine> {
  const dir = mkdtempSync(join(tmpdir(), 'bw-e2e-'));
  const network = await createBridge();
  const socket = join(dir, 'docker.sock');
  const log = openSync(join(dir, 'dockerd.log'), 'w');
  const child = spawn(
    dockerd,
    [
      ...['--data-root', join(dir, 'data'), '--exec-root', join(dir, 'exec'), '-p', join(dir, 'pid')],
      ...['-H', `unix://${socket}`, '--bridge', network.bridge, '--shutdown-timeout', '3'],
      ...['--default-address-pool', `base=10.${network.octet}.128.0/17,size=24`],
      ...['--iptables=false', '--ip6tables=false', '--ip-forward=false', '--ip-masq=false'],
      ...['--config-file', emptyConfig(dir)],
      ...options,
    ],
    { stdio: ['ignore', log, log] },
  );
  let exited = false;
  child.on('exit', () => (exited = true));
  child.on('error', () => (exited = true));

  let tidied = false;
  const tidy = (): void => {
    if (tidied) return;
    tidied = true;
    unmountBelow(dir);
    rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
    deleteBridges(network.octet);
  };
  const stop = async (): Promise<void> => {
    if (!exited) {
      await removeContainers(socket).catch(() => {});
      child.kill('SIGTERM');
      if (!(await until(() => exited, 20_000))) child.kill('SIGKILL');
    }
    tidy();
  };
  // A test file that dies must leave neither a daemon with its containers behind, nor mounts, nor the bridge.
  process.on('exit', () => {
    if (!exited && child.pid !== undefined) {
      child.kill('SIGTERM');
      waitForEnd(child.pid);
    }
    tidy();
  });

  const up = await until(async () => exited || (await ping(socket)), 40_000, 100);
  if (!up || exited) {
    const tail = readFileSync(join(dir, 'dockerd.log'), 'utf8').split('\n').slice(-8).join('\n');
    await stop();
    throw new Error(`dockerd did not start:\n${tail}`);
  }
  await importBaseImages(dir, socket);
  const { dockerConfig, compose } = makeDockerConfig(dir);
  const version = JSON.parse((await get(socket, '/version')).body.toString()) as { Version: string };
  return { socket, host: `unix://${socket}`, version: version.Version, dir, dockerConfig, compose, stop };
}

/** Waits, without the event loop, until a child is a zombie or gone; 20 s at most (a container may take 10 to stop). */
function waitForEnd(pid: number): void {
  const alive = `grep -q '^State:[[:space:]]*[A-Y]' /proc/${pid}/status 2>/dev/null`;
  spawnSync('sh', ['-c', `i=0; while ${alive} && [ $i -lt 200 ]; do sleep 0.1; i=$((i+1)); done`]);
}

/** Its own bridge, and those of the networks that were made on it: a daemon leaves them behind. */
function deleteBridges(octet: number): void {
  const { stdout } = spawnSync('ip', ['-o', '-4', 'address'], { encoding: 'utf8' });
  for (const [, bridge = '', taken] of stdout.matchAll(/^\d+: (b[rw]-?\w+) +inet 10\.(\d+)\./gm)) {
    if (Number(taken) === octet) spawnSync('ip', ['link', 'delete', bridge], { stdio: 'ignore' });
  }
}

function emptyConfig(dir: string): string {
  const file = join(dir, 'daemon.json');
  writeFileSync(file, '{}');
  return file;
}

/** A bridge with a /24 that no interface of the machine uses, so that several daemons can run side by side. */
async function createBridge(): Promise<{ bridge: string; octet: number }> {
  for (let tries = 0; tries < 20; tries++) {
    const octet = 100 + Math.floor(Math.random() * 150);
    const used = (await run('ip', ['-o', '-4', 'address'])).stdout;
    if (used.includes(` 10.${octet}.`)) continue;
    const bridge = `bw${octet}`;
    if ((await run('ip', ['link', 'add', bridge, 'type', 'bridge'])).code !== 0) continue;
    await run('ip', ['address', 'add', `10.${octet}.0.1/24`, 'dev', bridge]);
    await run('ip', ['link', 'set', bridge, 'up']);
    return { bridge, octet };
  }
  throw new Error('found no free bridge name and 10.x network');
}

async function importBaseImages(dir: string, socket: string): Promise<void> {
  const root = join(dir, 'rootfs');
  for (const name of ['bin', 'etc', 'tmp', 'root', 'proc', 'sys', 'dev', 'var/tmp']) {
    mkdirSync(join(root, name), { recursive: true });
  }
  copyFileSync(findOnPath('busybox') ?? '/bin/busybox', join(root, 'bin/busybox'));
  for (const applet of execFileSync('busybox', ['--list'], { encoding: 'utf8' }).trim().split('\n')) {
    if (applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet));
  }
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n');
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nuser:x:1000:\n');
  const tar = join(dir, 'rootfs.tar');
  execFileSync('tar', ['-C', root, '--owner=0', '--group=0', '-cf', tar, '.']);
  // Two names and two images: pull, tag and rmi tests must not touch one through the other.
  for (const [repo, label] of [
    ['alpine', 'one'],
    ['busybox', 'two'],
  ]) {
    const query = new URLSearchParams({ fromSrc: '-', repo: repo ?? '', tag: 'latest' });
    query.append('changes', 'CMD ["/bin/sh"]');
    query.append('changes', `LABEL base=${label}`);
    query.append('changes', 'ENV PATH=/bin');
    const answer = await send(socket, 'POST', `/images/create?${query.toString()}`, readFileSync(tar));
    if (answer.status !== 200 || answer.body.includes('errorDetail')) {
      throw new Error(`import of ${repo} failed: ${answer.status} ${answer.body.toString()}`);
    }
  }
  rmSync(root, { recursive: true, force: true });
}

/** Compose v2 as a CLI plugin: from `BREAKWATER_TRIXIE` (see fetch-trixie.sh), else what the machine has. */
function makeDockerConfig(dir: string): { dockerConfig: string; compose: boolean } {
  const dockerConfig = join(dir, 'docker-config');
  mkdirSync(join(dockerConfig, 'cli-plugins'), { recursive: true });
  writeFileSync(join(dockerConfig, 'config.json'), '{}');
  const extras = process.env['BREAKWATER_TRIXIE'];
  const plugin = [
    ...(extras === undefined ? [] : [join(extras, 'docker-compose')]),
    '/usr/libexec/docker/cli-plugins/docker-compose',
    '/usr/lib/docker/cli-plugins/docker-compose',
    '/usr/local/lib/docker/cli-plugins/docker-compose',
  ].find((path) => existsSync(path));
  if (plugin !== undefined) symlinkSync(plugin, join(dockerConfig, 'cli-plugins/docker-compose'));
  return { dockerConfig, compose: plugin !== undefined };
}

async function removeContainers(socket: string): Promise<void> {
  const list = JSON.parse((await get(socket, '/containers/json?all=1')).body.toString()) as { Id: string }[];
  for (const { Id } of list) await send(socket, 'DELETE', `/containers/${Id}?force=1&v=1`);
  await sleep(100);
}

/** Overlay, shm and network namespace mounts that a killed daemon leaves; without this the tree cannot be removed. */
function unmountBelow(dir: string): void {
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${dir}/`))
    .sort((a, b) => b.length - a.length);
  for (const path of mounts) {
    try {
      execFileSync('umount', ['-l', path], { stdio: 'ignore' });
    } catch {
      // Gone with its parent.
    }
  }
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** One plain request on a unix socket, for fixtures and for looking at the daemon behind the guard's back. */
export function send(
  socket: string,
  method: string,
  path: string,
  body?: Buffer | string,
  ms = 60_000,
  type = 'application/x-tar',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        socketPath: socket,
        method,
        path,
        agent: false,
        timeout: ms,
        headers: {
          host: 'docker',
          ...(body === undefined ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(body) }),
        },
      },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', reject);
        incoming.on('end', () =>
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            body: Buffer.concat(chunks),
          }),
        );
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer to ${method} ${path} in ${ms} ms`)));
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

export function get(socket: string, path: string): Promise<Answer> {
  return send(socket, 'GET', path);
}

/** Does a daemon (or the guard before it) answer at this socket? */
export async function ping(socket: string): Promise<boolean> {
  try {
    return (await get(socket, '/_ping')).status === 200;
  } catch {
    return false;
  }
}
