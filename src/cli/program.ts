import { VERSION } from '../app/version.js';
import type { Command, Io } from './command.js';

/** Loaded when asked for, so that `breakwater check` does not pay for the server. */
const COMMANDS: Readonly<Record<string, { readonly about: string; load(): Promise<Command> }>> = {
  run: { about: 'guard a Docker engine', load: async () => (await import('./run.js')).run },
  check: { about: 'validate policy files', load: async () => (await import('./check.js')).runCheck },
  audit: {
    about: 'verify, show or export an audit trail',
    load: async () => (await import('./audit.js')).runAudit,
  },
  feeds: {
    about: 'fetch threat feeds, look indicators up',
    load: async () => (await import('./feeds.js')).runFeeds,
  },
  egress: {
    about: 'block outbound traffic to what is listed',
    load: async () => (await import('./egress.js')).runEgress,
  },
  demo: {
    about: 'replay the build attack against the guard',
    load: async () => (await import('./demo.js')).runDemo,
  },
};

const USAGE = `breakwater ${VERSION}: a guard proxy for the Docker Engine API

Usage: breakwater COMMAND [options]

${Object.entries(COMMANDS)
  .map(([name, { about }]) => `  ${name.padEnd(8)} ${about}`)
  .join('\n')}

breakwater COMMAND --help tells more. Exit codes: 0 fine, 1 the thing checked is bad, 2 wrong usage.
`;

async function main(argv: string[], io: Io): Promise<number> {
  const [name, ...args] = argv;
  if (name === '--version' || name === '-v') {
    io.stdout.write(`${VERSION}\n`);
    return 0;
  }
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    (name === undefined ? io.stderr : io.stdout).write(USAGE);
    return name === undefined ? 2 : 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    io.stderr.write(`breakwater: there is no command "${name}"; try breakwater --help\n`);
    return 2;
  }
  try {
    return await (
      await command.load()
    )(args, io);
  } catch (error) {
    io.stderr.write(`breakwater ${name}: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

process.exitCode = await main(process.argv.slice(2), process);
