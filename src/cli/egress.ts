import { parseArgs } from 'node:util';
import type { EgressConfig } from '../config/egress-config.js';
import { loadConfig } from '../config/load.js';
import { startEgress } from '../app/egress.js';
import { applyEgress, removeEgress, viewEgress, type EgressView } from '../app/egress-status.js';
import type { Io } from './io.js';

const HELP = `breakwater egress run|apply|show|remove [--config F]: block outbound traffic to what is listed

  run      until SIGTERM: keeps the nftables table, answers DNS queries, serves the HTTP gateway, as the section
           "egress" of the config file says; needs CAP_NET_ADMIN, and no access to the engine
  apply    loads the table once and ends; addresses only: names need "run"
  show     what is in force; --json for programs
  remove   takes the table away

  --config F   config file (JSON); default: /etc/breakwater/breakwater.json

Exit codes: 0 fine; 1 it did not work, or (show) the table is not there; 2 wrong usage or a bad config file.
`;

const DEFAULT_CONFIG = '/etc/breakwater/breakwater.json';
const ACTIONS = { run, apply, show, remove } as const;

/** `breakwater egress …`. */
export async function runEgress(args: string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    options: {
      config: { type: 'string' },
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
    allowPositionals: true,
  });
  if (values.help === true) {
    io.stdout.write(HELP);
    return 0;
  }
  const usage = (message: string): number => {
    io.stderr.write(`breakwater egress: ${message}; try breakwater egress --help\n`);
    return 2;
  };
  const [name, ...more] = positionals;
  if (name === undefined) return usage('say what to do: run, apply, show or remove');
  if (!Object.hasOwn(ACTIONS, name)) return usage(`there is no "${name}"`);
  if (more.length > 0) return usage(`"${more[0]}" is too much`);
  if (values.json === true && name !== 'show') return usage('--json goes with show');
  const path = values.config ?? DEFAULT_CONFIG;
  const loaded = loadConfig(path, { listen: [], policy: [] });
  if (!loaded.ok) {
    for (const { file, pointer, message } of loaded.problems) {
      io.stderr.write(`breakwater egress: ${file}${pointer}: ${message}\n`);
    }
    return 2;
  }
  const { egress } = loaded.config;
  if (egress === null) return usage(`${path} has no section "egress"`);
  return ACTIONS[name as keyof typeof ACTIONS](egress, io, values.json === true);
}

async function run(config: EgressConfig, io: Io): Promise<number> {
  const report = (line: string): void => void io.stderr.write(`breakwater egress: ${line}\n`);
  const stop = stopSignal();
  const egress = await startEgress(config, report);
  report(`table inet ${config.table} is in force, mode ${config.mode}`);
  if (config.dns !== null)
    report(`answering DNS queries at ${config.dns.listen.host}:${config.dns.listen.port}`);
  if (config.gateway !== null) {
    report(`HTTP gateway at ${config.gateway.listen.host}:${config.gateway.listen.port}`);
  }
  await stop;
  report('stopping; what is in the table stays in force');
  await egress.stop();
  return 0;
}

async function apply(config: EgressConfig, io: Io): Promise<number> {
  const { block, alert, spared } = await applyEgress(config);
  io.stdout.write(
    `table inet ${config.table}: ${block} addresses and ranges blocked, ${alert} reported, ${spared} spared\n`,
  );
  return 0;
}

async function show(config: EgressConfig, io: Io, json: boolean): Promise<number> {
  const view = await viewEgress(config);
  io.stdout.write(json ? `${JSON.stringify(view)}\n` : describe(view));
  return view.present ? 0 : 1;
}

function describe({ table, present, status }: EgressView): string {
  const lines = [`table      inet ${table}: ${present ? 'in force' : 'NOT THERE, no address is blocked'}`];
  if (status === undefined) {
    lines.push(
      'process    none is running: nothing is reported, names are not blocked, the table is not watched',
    );
  } else {
    const { elements, listed } = status;
    lines.push(
      `process    ${status.pid}, since ${status.since}, mode ${status.mode}`,
      `index      ${status.loaded === '' ? 'none read yet' : `read at ${status.loaded}`}: ` +
        `${listed.ipv4} IPv4, ${listed.ipv6} IPv6, ${listed.domain} domains, ${listed.url} URLs`,
      `elements   ${elements.block} blocked, ${elements.alert} reported, ${elements.spared} spared`,
      `dns        ${status.dns === '' ? 'off' : status.dns}`,
      `gateway    ${status.gateway === '' ? 'off' : status.gateway}`,
      `networks   ${status.networks} with default deny`,
      `attempts   ${status.attempts} reported, ${status.dropped} lines dropped; table put back ${status.restored} times`,
    );
  }
  return `${lines.join('\n')}\n`;
}

async function remove(config: EgressConfig, io: Io): Promise<number> {
  const there = await removeEgress(config);
  io.stdout.write(
    there ? `table inet ${config.table} is gone\n` : `there was no table inet ${config.table}\n`,
  );
  return 0;
}

/** The first signal stops gracefully; a second one ends the process at once. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    const onSignal = (): void => {
      process.off('SIGTERM', onSignal).off('SIGINT', onSignal);
      resolve();
    };
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  });
}
