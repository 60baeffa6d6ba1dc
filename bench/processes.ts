import { spawn, type ChildProcess } from 'node:child_process';
import { accessSync, constants, mkdtempSync, openSync, closeSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { delimiter, dirname, join } from 'node:path';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';

/** The programs this needs and the Debian packages they come in. */
const TOOLS = { wrk: 'wrk', haproxy: 'haproxy', taskset: 'util-linux' };

/** Directory of the compiled benchmark; the guard's own `main.js` lies beside it. */
export const here = dirname(fileURLToPath(import.meta.url));

/** A reason to stop that is not a bug of the benchmark: printed as one line. */
export class Malfunction extends Error {}

/** @throws Malfunction that names the missing programs and what to install. */
export function requireTools(): void {
  if (process.platform !== 'linux') throw new Malfunction('the benchmark needs Linux (/proc, taskset)');
  const path = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  process.env['PATH'] = path.join(delimiter);
  const missing = Object.entries(TOOLS).filter(([tool]) => !path.some((dir) => executable(join(dir, tool))));
  if (missing.length === 0) return;
  const names = missing.map(([tool]) => tool).join(', ');
  const packages = [...new Set(missing.map(([, name]) => name))].join(' ');
  throw new Malfunction(`not on PATH: ${names}. On Debian: apt-get install ${packages}`);
}

function executable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Which CPU the thing under test and everything else may use; `undefined` where there is just one. */
export interface Cores {
  readonly tested: number | undefined;
  readonly rest: number | undefined;
}

/** The first two CPUs that this process may run on. */
export function chooseCores(): Cores {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
  const cpus = list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: Math.min(last - first + 1, 2) }, (_, i) => first + i);
  });
  return cpus.length < 2 ? { tested: undefined, rest: undefined } : { tested: cpus[0], rest: cpus[1] };
}

const children = new Set<ChildProcess>();
const directories: string[] = [];

export interface Started {
  readonly pid: number;
  /** End of what it wrote to stderr. */
  printed(): string;
  /** SIGTERM, SIGKILL after 10 s; resolves when it is gone. */
  stop(): Promise<void>;
}

export interface StartOptions {
  readonly core: number | undefined;
  readonly env?: Readonly<Record<string, string>>;
  /** Appended to; default: thrown away. */
  readonly stdout?: string;
}

/** Starts a program on one core; `taskset` becomes that program, so the pid is its own. */
export function start(file: string, args: readonly string[], options: StartOptions): Started {
  const [command, all] = pinned(file, args, options.core);
  const out = options.stdout === undefined ? undefined : openSync(options.stdout, 'a');
  const child = spawn(command, all, {
    stdio: ['ignore', out ?? 'ignore', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '', ...options.env },
  });
  if (out !== undefined) closeSync(out);
  children.add(child);
  let text = '';
  child.stderr?.on('data', (chunk: Buffer) => (text = (text + chunk.toString()).slice(-4000)));
  const gone = new Promise<void>((resolve) => {
    child.on('error', (error) => {
      text += error.message;
      children.delete(child);
      resolve();
    });
    child.on('exit', () => {
      children.delete(child);
      resolve();
    });
  });
  return {
    pid: child.pid ?? 0,
    printed: () => text,
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await gone;
      clearTimeout(timer);
    },
  };
}

/** Runs a program on one core to its end. @throws Malfunction when it fails or takes longer than `ms`. */
export function run(
  file: string,
  args: readonly string[],
  core: number | undefined,
  ms: number,
): Promise<string> {
  const [command, all] = pinned(file, args, core);
  return new Promise((resolve, reject) => {
    const child = spawn(command, all, { stdio: ['ignore', 'pipe', 'pipe'] });
    children.add(child);
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    const timer = setTimeout(() => child.kill('SIGKILL'), ms);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      children.delete(child);
      if (code === 0) resolve(out);
      else reject(new Malfunction(`${file} ${args.join(' ')}: ${signal ?? `exit ${code}`}: ${err || out}`));
    });
  });
}

function pinned(file: string, args: readonly string[], core: number | undefined): [string, string[]] {
  return core === undefined ? [file, [...args]] : ['taskset', ['-c', String(core), file, ...args]];
}

/** A directory that goes away with this process: short in the system's for sockets, or below `parent`. */
export function scratch(parent = tmpdir()): string {
  const dir = mkdtempSync(join(parent, 'bw-bench-'));
  directories.push(dir);
  return dir;
}

/** Ends what is still running and removes every scratch directory; safe to call in an `exit` handler. */
export function cleanUp(): void {
  for (const child of children) child.kill('SIGKILL');
  for (const dir of directories.splice(0)) rmSync(dir, { recursive: true, force: true });
}

/** A TCP port on 127.0.0.1 that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

/** Waits until something listens. @throws Malfunction, with what the process printed, after 15 s. */
export async function listening(
  where: number | string,
  who: Started,
  name: string,
  patience = 15_000,
): Promise<void> {
  const end = Date.now() + patience;
  for (;;) {
    if (await accepts(where)) return;
    if (Date.now() > end) throw new Malfunction(`${name} does not listen on ${where}:\n${who.printed()}`);
    await sleep(50);
  }
}

function accepts(where: number | string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket =
      typeof where === 'number' ? connect(where, '127.0.0.1') : connect({ path: where, host: undefined });
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Ticks per second in /proc: 100 on every Linux, whatever the kernel's own clock. */
const TICKS = 100;

/** User and system time a process used so far, all its threads, in milliseconds (10 ms steps). */
export function cpuTime(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS;
}

/** Time a CPU was not idle since the machine started, in milliseconds; 0 without a CPU. */
export function coreTime(core: number | undefined): number {
  const line =
    new RegExp(`^cpu${core ?? 'none'} (.*)$`, 'm').exec(readFileSync('/proc/stat', 'utf8'))?.[1] ?? '';
  const [user = 0, nice = 0, system = 0, , , interrupts = 0, soft = 0, stolen = 0] = line
    .split(' ')
    .map(Number);
  return ((user + nice + system + interrupts + soft + stolen) * 1000) / TICKS;
}

/** Resident memory in MB (10^6 bytes): now, and the highest of the process's whole life. */
export function memory(pid: number): { now: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mb = (field: string): number =>
    (Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) * 1024) / 1e6;
  return { now: mb('VmRSS'), peak: mb('VmHWM') };
}
