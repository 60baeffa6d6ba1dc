import { statSync } from 'node:fs';
import { parseArgs } from 'node:util';
import pino from 'pino';
import { startGuard, TRIAL_ENGINE } from '../app/guard.js';
import { VERSION } from '../app/version.js';
import { command, configOf, notifyReady, stopSignal, UsageError } from './command.js';

const HELP = `breakwater run: guard a Docker engine

  --config F        config file (JSON); flags override it
  --listen URL      tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH; may be given several times
                    (default tcp://127.0.0.1:2375)
  --upstream URL    unix:///PATH, tcp://… or tls://… (default unix:///var/run/docker.sock)
  --trial           no Docker at all: the built-in trial engine answers, from memory, and runs nothing
  --policy PATH     policy file or directory; may be given several times (default: policies/default.json)
  --audit FILE|-    where the audit lines go (default -, stdout)
  --insecure-tcp    allow plain tcp:// listeners beyond loopback: anyone who reaches them is a client
  --log-level L     process log on stderr: error, warn, info (default), debug

Exit codes: 0 stopped by a signal, 1 what was named cannot be used (a port, a certificate, a directory), 2 wrong usage, a
bad config file or a bad policy.
`;

const LOG_LEVELS = [...Object.values(pino.levels.labels), 'silent'];

/** `breakwater run`: until SIGTERM or SIGINT; then a graceful stop. */
export const run = command('run', HELP, async (args, io) => {
  const { values } = parseArgs({
    args,
    options: {
      config: { type: 'string' },
      listen: { type: 'string', multiple: true },
      upstream: { type: 'string' },
      trial: { type: 'boolean' },
      policy: { type: 'string', multiple: true },
      audit: { type: 'string' },
      'insecure-tcp': { type: 'boolean' },
      'log-level': { type: 'string' },
    },
  });
  const level = values['log-level'] ?? 'info';
  if (!LOG_LEVELS.includes(level))
    throw new UsageError(
      `--log-level ${JSON.stringify(level)} is none; it is one of ${LOG_LEVELS.join(', ')}`,
    );
  const loaded = configOf(values.config, {
    listen: values.listen ?? [],
    policy: values.policy ?? [],
    ...(values.upstream !== undefined && { upstream: values.upstream }),
    ...(values.audit !== undefined && { audit: values.audit }),
    ...(values['insecure-tcp'] !== undefined && { insecureTcp: values['insecure-tcp'] }),
  });
  const log = pino({ level }, pino.destination(2));
  const trial = values.trial === true;
  // An engine that was named must not be replaced by one that runs nothing.
  if (trial && !loaded.defaults.includes('upstream'))
    throw new UsageError(
      '--trial is an engine of its own: leave out --upstream, and "upstream" in the config',
    );
  const config = trial
    ? { ...loaded.config, upstream: { ...loaded.config.upstream, url: TRIAL_ENGINE } }
    : loaded.config;

  const guard = await startGuard({ config, log, adminOptional: values.config === undefined });
  // As daemons do: reload the policy, reopen the audit file. Without a handler a signal would end the guard, and from the
  // first line of its report on there may be one.
  process.on('SIGHUP', () => void guard.reload());
  const stop = stopSignal();
  const report = (line: string): void => void io.stderr.write(`${line}\n`);
  report(`breakwater ${VERSION}`);
  for (const { name, url } of guard.listeners) report(`  listening  ${url} (${name})`);
  report(
    `  engine     ${trial ? 'the built-in trial engine: it answers from memory and runs nothing' : config.upstream.url}`,
  );
  const missing = trial ? undefined : missingSocket(config.upstream.url);
  if (missing !== undefined)
    report(
      `  warning    there is no engine at ${missing} yet: calls are answered with 502 until there is (to try the guard without Docker: --trial)`,
    );
  report(`  policy     ${config.policy.join(', ')}`);
  const { journal, file } = config.audit;
  report(`  audit      ${journal?.directory ?? (file === '-' ? 'stdout' : file)}`);
  if (guard.adminUrl !== undefined) report(`  admin      ${guard.adminUrl}/healthz /readyz /metrics`);
  const first = guard.listeners[0]?.url.replace('tls://', 'tcp://') ?? '';
  // A policy of the user's own is not commented on.
  if (loaded.defaults.includes('policy') && first.startsWith('tcp:')) {
    report('Try next, in another terminal:');
    report(`  docker -H ${first} version     passes: anyone may look`);
    report(`  docker -H ${first} run alpine  is denied, with the reason`);
    // From a checkout there is no `breakwater` on the PATH.
    const demo = process.env['npm_lifecycle_event'] === 'start' ? 'npm run demo' : 'breakwater demo';
    report(`  ${demo.padEnd(first.length + 22)} replays the build attack, step by step`);
  }

  await notifyReady(io);
  await stop;
  report('breakwater: stopping');
  await guard.close();
  return 0;
});

/** The path of the engine's socket, where there is none. */
function missingSocket(upstream: string): string | undefined {
  const url = new URL(upstream);
  if (url.protocol !== 'unix:') return undefined;
  const path = decodeURIComponent(url.pathname);
  return statSync(path, { throwIfNoEntry: false })?.isSocket() === true ? undefined : path;
}
