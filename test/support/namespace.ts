import { spawn, type ChildProcess } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { run, until } from './command.js';

/** A program in a network namespace of its own, joined to ours by a pair of interfaces. */
export interface Host {
  readonly child: ChildProcess;
  /** Lets the program begin. */
  begin(): void;
  /** The lines it has printed. */
  readonly lines: string[];
  stop(): void;
}

/**
 * Starts a compiled script of this directory. It waits for a byte on its standard input; the network is set up before.
 *
 * @param outer interface on this side; `inner` gets the addresses, and the default route through `via`.
 */
export async function startHost(
  script: URL,
  args: readonly string[],
  link: {
    readonly outer: string;
    readonly inner: string;
    readonly addresses: readonly string[];
    readonly via: string;
  },
): Promise<Host> {
  const child = spawn('unshare', ['--net', process.execPath, script.pathname, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  let rest = '';
  child.stdout.on('data', (piece: Buffer) => {
    const parts = (rest + piece.toString()).split('\n');
    rest = parts.pop()!;
    lines.push(...parts);
  });
  child.stdin.on('error', () => undefined);
  const stop = (): void => void child.kill('SIGKILL');
  process.on('exit', stop);
  const own = readlinkSync('/proc/self/ns/net');
  const apart = (): boolean => {
    try {
      return readlinkSync(`/proc/${child.pid}/ns/net`) !== own;
    } catch {
      return false;
    }
  };
  if (!(await until(apart, 10_000, 10))) throw new Error('no network namespace of its own');
  const pid = String(child.pid);
  await must('ip', ['link', 'add', link.outer, 'type', 'veth', 'peer', 'name', link.inner]);
  await must('ip', ['link', 'set', link.inner, 'netns', pid]);
  const inside = (...command: string[]): Promise<void> =>
    must('nsenter', ['-t', pid, '-n', 'ip', ...command]);
  await inside('link', 'set', 'lo', 'up');
  await inside('link', 'set', link.inner, 'up');
  for (const address of link.addresses) {
    // Usable at once: nobody else is there.
    const now = address.includes(':') ? ['nodad'] : [];
    await inside('address', 'add', address, 'dev', link.inner, ...now);
  }
  await must('ip', ['link', 'set', link.outer, 'up']);
  await inside('route', 'add', 'default', 'via', link.via);
  return { child, lines, stop, begin: () => void child.stdin.write('\n') };
}

/** Runs a command that has to work. */
export async function must(file: string, args: readonly string[]): Promise<void> {
  const { code, stderr } = await run(file, args);
  if (code !== 0) throw new Error(`${file} ${args.join(' ')}: ${stderr}`);
}
