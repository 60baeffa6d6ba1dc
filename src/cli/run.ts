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
  --upstream URL    unix:///PATH, tcp://… or tls://… (default unix:///var/run/docker.sock; when there is no such
                    socket and nothing else was asked for, a small in-memory engine for trying out)
  --policy PATH     policy file or directory; may be given several times (default: policies/default.json)
  --audit FILE|-    where the audit lines go (default -, stdout)
  --insecure-tcp    allow plain tcp:// listeners beyond loopback: anyone who reaches them is a client
  --log-level L     process log on stderr: error, warn, info (default), debug

Exit codes: 0 stopped by a signal, 1 what was named cannot be used (a port, a certificate, a directory), 2 wrong usage, a
bad config file or a bad policy.
`;

const LOG_LEVELS = [...Object.values(pino.levels.labels), 'silent'];

const DEFAULT_SOCKET = '/var/run/docker.sock';

/** `breakwater run`: until SIGTERM or SIGINT; then a graceful stop. */
export const run = command('run', HELP, async (args, io) => {
  const { values } = parseArgs({
    args,
    options: {
      config: { type: 'string' },
      listen: { type: 'string', multiple: true },
      upstream: { type: 'string' },
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
  let config = loaded.config;
  const log = pino({ level }, pino.destination(2));
  // Only without `--upstream` and config: a typing error must not lead to the trial engine.
  const trial =
    values.config === undefined && loaded.defaults.includes('upstream') && !isSocket(DEFAULT_SOCKET);
  if (trial) config = { ...config, upstream: { ...config.upstream, url: TRIAL_ENGINE } };

  const guard = await startGuard({ config, log, adminOptional: values.config === undefined });
  const report = (line: string): void => void io.stderr.write(`${line}\n`);
  report(`breakwater ${VERSION}`);
  for (const { name, url } of guard.listeners) report(`  listening  ${url} (${name})`);
  if (!trial) {
    report(`  engine     ${config.upstream.url}`);
  } else {
    report(
      `  engine     the built-in trial engine: there is no ${DEFAULT_SOCKET}; it answers from memory and runs nothing`,
    );
  }
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

  // As daemons do: reload the policy, reopen the audit file. Without a handler the signal would end the guard.
  process.on('SIGHUP', () => void guard.reload());
  const stop = stopSignal();
  await notifyReady(io);
  await stop;
  report('breakwater: stopping');
  await guard.close();
  return 0;
});

function isSocket(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isSocket() === true;
}
