import { parseArgs } from 'node:util';
import type { EgressConfig } from '../config/egress-config.js';
import { startEgress } from '../app/egress.js';
import { applyEgress, removeEgress, viewEgress, type EgressView } from '../app/egress-status.js';
import { command, installedConfig, notifyReady, stopSignal, UsageError, type Io } from './command.js';

const HELP = `breakwater egress run|apply|show|remove [--config F]: block outbound traffic to what is listed

  run      until SIGTERM: keeps the nftables table, answers DNS queries, serves the HTTP gateway, as the section
           "egress" of the config file says; needs CAP_NET_ADMIN, and no access to the engine
  apply    loads the table once and ends; addresses only: names need "run"
  show     what is in force; --json for programs
  remove   takes the table away

  --config F   config file (JSON); default: /etc/breakwater/breakwater.json

Exit codes: 0 fine; 1 it did not work, or (show) the table is not there; 2 wrong usage or a bad config file.
`;

const ACTIONS = { run, apply, show, remove } as const;

/** `breakwater egress …`. */
export const runEgress = command('egress', HELP, async (args, io) => {
  const { values, positionals } = parseArgs({
    args,
    options: {
      config: { type: 'string' },
      json: { type: 'boolean' },
    },
    allowPositionals: true,
  });
  const [name, ...more] = positionals;
  if (name === undefined) throw new UsageError('say what to do: run, apply, show or remove');
  if (!Object.hasOwn(ACTIONS, name))
    throw new UsageError(`there is no "${name}": run, apply, show or remove`);
  if (more.length > 0) throw new UsageError(`"${more[0]}" is too much`);
  if (values.json === true && name !== 'show') throw new UsageError('--json goes with show');
  const { path, config } = installedConfig(values.config);
  const { egress } = config;
  if (egress === null) throw new UsageError(`${path} has no section "egress"`);
  return ACTIONS[name as keyof typeof ACTIONS](egress, io, values.json === true);
});

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
  await notifyReady(io);
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
