import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { loadConfig } from '../config/load.js';
import type { Config } from '../config/config.js';
import { formatProblem, PolicyLoadError } from '../config/policy-store.js';

/** Where a command prints. */
export interface Io {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
}

/** A command: its arguments after the name; resolves to the exit code (0 fine, 1 the thing checked is bad, 2 usage). */
export type Command = (args: string[], io: Io) => Promise<number>;

/** The command line makes no sense. */
export class UsageError extends Error {}

/** The configuration cannot be used: one line for each problem. */
class ConfigError extends Error {}

/** A command that knows `--help` and says what is wrong with its command line. */
export function command(name: string, help: string, run: Command): Command {
  return async (args, io) => {
    if (args.includes('--help') || args.includes('-h')) {
      io.stdout.write(help);
      return 0;
    }
    try {
      return await run(args, io);
    } catch (error) {
      const { message } = error as Error;
      if (error instanceof ConfigError)
        for (const line of message.split('\n')) io.stderr.write(`breakwater ${name}: ${line}\n`);
      else if (error instanceof PolicyLoadError)
        for (const problem of error.problems)
          io.stderr.write(`breakwater ${name}: ${formatProblem(problem)}\n`);
      else if (error instanceof UsageError || isParseError(error))
        // The messages of parseArgs go on with advice of their own.
        io.stderr.write(
          `breakwater ${name}: ${isParseError(error) ? message.split('. ', 1)[0] : message}; try breakwater ${name} --help\n`,
        );
      else throw error;
      return 2;
    }
  };
}

/** node:util's parseArgs names its own errors so. */
const isParseError = (error: unknown): boolean =>
  String((error as NodeJS.ErrnoException | null)?.code ?? '').startsWith('ERR_PARSE_ARGS');

type Flags = Parameters<typeof loadConfig>[1];

/** @throws ConfigError */
export function configOf(
  path: string | undefined,
  flags: Flags,
): ReturnType<typeof loadConfig> & { ok: true } {
  const loaded = loadConfig(path, flags);
  if (loaded.ok) return loaded;
  throw new ConfigError(
    loaded.problems.map(({ file, pointer, message }) => `${file}${pointer}: ${message}`).join('\n'),
  );
}

const DEFAULT_CONFIG = '/etc/breakwater/breakwater.json';

/**
 * The configuration of a command that is about a guard which runs, or will.
 *
 * @returns the path as well, for messages.
 * @throws ConfigError
 */
export function installedConfig(path = DEFAULT_CONFIG): { readonly path: string; readonly config: Config } {
  return { path, config: configOf(path, { listen: [], policy: [] }).config };
}

/** The first signal stops gracefully; a second one ends the process at once. */
export function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    const onSignal = (): void => {
      process.off('SIGTERM', onSignal).off('SIGINT', onSignal);
      resolve();
    };
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  });
}

/**
 * Tells the service manager, where it asked for it (`Type=notify`), that the start is complete: only then does
 * `systemctl start` return, and what is ordered after the unit begin. Node has no datagram sockets of the unix
 * kind, so systemd's own program says it (sd_notify(3)).
 */
export async function notifyReady(io: Io): Promise<void> {
  if ((process.env['NOTIFY_SOCKET'] ?? '') === '') return;
  try {
    await promisify(execFile)('systemd-notify', ['--ready'], { timeout: 10_000 });
  } catch (error) {
    // The manager will take the start for one that failed, and this line says why.
    io.stderr.write(`breakwater: systemd cannot be told of the start: ${(error as Error).message.trim()}\n`);
  }
}
