import { spawn, type ChildProcess } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sleep, until } from './command.js';
import { ping } from './engine.js';
import { freePort } from './free-port.js';
import { startRecorder } from './recorder.js';

/** Something a `docker` client can be pointed at. */
export interface Target {
  readonly name: string;
  /** The value for DOCKER_HOST. */
  readonly host: string;
}

/** A guard process under test. */
export interface Guard {
  readonly unix: Target & { readonly socket: string };
  readonly tcp: Target & { readonly port: number };
  readonly pid: number;
  /** All audit lines so far, decoded. */
  audit(): Record<string, unknown>[];
  /** What the process printed so far, both streams. */
  log(): string;
  /** Resident memory now and at its highest, in MiB (VmRSS, VmHWM). */
  memory(): { now: number; peak: number };
  /** Sockets the process holds open: listeners, clients and connections to the daemon. */
  sockets(): number;
  kill(signal: NodeJS.Signals): void;
  /** Exit code, or undefined when it has not ended within `ms`; -1 for a signal. */
  exited(ms: number): Promise<number | undefined>;
  stop(): Promise<void>;
}

export const allowEverything = {
  rules: [{ id: 'all', sources: ['*'], operations: ['*'], permit: ['*'] }],
};

export interface GuardOptions {
  /** DOCKER_HOST form: `unix:///…`. */
  readonly upstream: string;
  /** A policy value (written to a file) or a path. */
  readonly policy?: unknown;
  /** Contents of a config file; listeners, upstream, policy and audit come from flags all the same. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/**
 * Set to `relay` to run the tests against a plain byte relay in the guard's place. It proves that a test holds
 * where nothing stands in between; tests of denials skip themselves then.
 */
export const selfCheck = process.env['BREAKWATER_E2E_AGAINST'] === 'relay';

const main = join(dirname(fileURLToPath(import.meta.url)), '../../src/cli/main.js');

/**
 * Starts `breakwater run` on a TCP port and a unix socket, for tests with the `docker` command and a real engine, and for
 * what only a process shows (memory, sockets, signals, exit codes). Raw bytes are for `startGuarded` of guard/guarded.ts, a
 * kill and a restart over the same files for `runGuard` of guard-process.ts.
 *
 * @throws Error with what it printed if it is not up in 15 s.
 */
export async function startGuard(options: GuardOptions): Promise<Guard> {
  if (selfCheck) return startRelay(options.upstream);
  const dir = mkdtempSync(join(tmpdir(), 'bw-guard-'));
  const socket = join(dir, 'docker.sock');
  const audit = join(dir, 'audit.jsonl');
  const port = await freePort();
  const policy = typeof options.policy === 'string' ? options.policy : join(dir, 'policy.json');
  if (typeof options.policy !== 'string') {
    writeFileSync(policy, JSON.stringify(options.policy ?? allowEverything));
  }
  const args = ['run', '--listen', `tcp://127.0.0.1:${port}`, '--listen', `unix://${socket}`];
  args.push('--upstream', options.upstream, '--policy', policy, '--audit', audit);
  // No admin listener: its default port is one, and several guards run here at once. Guard and engine are of one host, even where
  // that is a container.
  writeFileSync(
    join(dir, 'config.json'),
    JSON.stringify({ admin: null, upstream: { hostRoot: '/' }, ...options.config }),
  );
  args.push('--config', join(dir, 'config.json'));
  const child = spawn(process.execPath, ['--enable-source-maps', main, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  let printed = '';
  child.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  const ending = watchEnd(child);
  // `listening` is printed when ready; a policy may well refuse a ping, so readiness is not judged by an answer.
  const up = await until(
    async () =>
      ending.code !== undefined || (await ping(socket)) || (existsSync(socket) && /listening/i.test(printed)),
    15_000,
  );
  if (!up || ending.code !== undefined) {
    child.kill('SIGKILL');
    throw new Error(`the guard did not start (exit ${ending.code ?? 'none'}):\n${printed}`);
  }
  return {
    ...targets(socket, port, 'guard'),
    pid: child.pid ?? 0,
    audit: () =>
      (existsSync(audit) ? readFileSync(audit, 'utf8') : '')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    log: () => printed,
    memory: () => memoryOf(child.pid ?? 0),
    sockets: () => socketsOf(child.pid ?? 0),
    kill: (signal) => child.kill(signal),
    exited: async (ms) => {
      await until(() => ending.code !== undefined, ms);
      return ending.code;
    },
    async stop() {
      if (ending.code === undefined) child.kill('SIGTERM');
      if (!(await until(() => ending.code !== undefined, 8000))) child.kill('SIGKILL');
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function watchEnd(child: ChildProcess): { code: number | undefined } {
  const ending: { code: number | undefined } = { code: undefined };
  child.on('exit', (code) => (ending.code = code ?? -1));
  process.on('exit', () => {
    if (ending.code === undefined) child.kill('SIGKILL');
  });
  return ending;
}

function targets(socket: string, port: number, name: string): Pick<Guard, 'unix' | 'tcp'> {
  return {
    unix: { name: `${name} unix`, host: `unix://${socket}`, socket },
    tcp: { name: `${name} tcp`, host: `tcp://127.0.0.1:${port}`, port },
  };
}

async function startRelay(upstream: string): Promise<Guard> {
  const dir = mkdtempSync(join(tmpdir(), 'bw-relay-'));
  const port = await freePort();
  const path = upstream.replace('unix://', '');
  const unix = await startRecorder(join(dir, 'docker.sock'), path);
  const tcp = await startRecorder(port, path);
  return {
    ...targets(join(dir, 'docker.sock'), port, 'relay'),
    pid: process.pid,
    audit: () => [],
    log: () => '',
    memory: () => ({ now: 0, peak: 0 }),
    sockets: () => 0,
    kill() {},
    exited: () => Promise.resolve(0),
    async stop() {
      await unix.close();
      await tcp.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function memoryOf(pid: number): { now: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mib = (field: string): number =>
    Math.round(Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) / 1024);
  return { now: mib('VmRSS'), peak: mib('VmHWM') };
}

function socketsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;
}

/** Waits until `sockets()` is at most `count`; false after `ms`. */
export async function socketsFall(guard: Guard, count: number, ms: number): Promise<boolean> {
  if (selfCheck) return sleep(0).then(() => true);
  return until(() => guard.sockets() <= count, ms, 25);
}
