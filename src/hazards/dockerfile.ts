import type { Base, Command, DockerfileReading, Source, Stage } from '../docker/dockerfile/model.js';
import { baseName } from '../docker/shell-decode.js';
import { UNKNOWN } from '../docker/shell-command.js';
import { inspectCommand } from './command.js';
import { BOUNDS, checkBound } from './engine-load.js';
import { addToFact, addHazard, setFact, type Findings } from './inspection.js';
import { imageFacts, shortImageName } from './image-name.js';

const LISTS = [
  'build.from',
  'build.copy-from',
  'build.registries',
  'build.add-urls',
  'build.run',
  'build.command',
  'build.users',
] as const;

/** Every fact that depends on the Dockerfile. */
export const DOCKERFILE_FACTS = [...LISTS, 'build.syntax', 'build.stages', 'build.unclear'] as const;

/**
 * Sets the facts of a build whose Dockerfile was not read. They are `?`, not empty: a condition such as `each` must
 * not hold because nothing is known.
 */
export function setUnreadDockerfile(findings: Findings): void {
  for (const name of LISTS) setFact(findings, name, ['?']);
  setFact(findings, 'build.syntax', []);
  setFact(findings, 'build.stages', []);
  setFact(findings, 'build.unclear', []);
}

/**
 * Sets the facts of what a Dockerfile builds from and runs, and adds the hazards that an allow of the build does not imply.
 * INVARIANT: a Dockerfile without a single clear reading is `opaque:dockerfile`.
 */
export function inspectDockerfile(reading: DockerfileReading, findings: Findings): void {
  if (!reading.clear) {
    setUnreadDockerfile(findings);
    addHazard(findings, 'opaque', 'dockerfile');
    addToFact(findings, 'build.unclear', reading.reason);
    return;
  }
  const { stages, syntax, steps } = reading;
  let volumes = 0;
  for (const { text } of steps) volumes += volumesOf(text);
  if (volumes > BOUNDS.volumes.most) checkBound('volumes', volumes, findings);
  if (steps.length > BOUNDS.instructions.most) checkBound('instructions', steps.length, findings);
  for (const name of LISTS) setFact(findings, name, []);
  setFact(findings, 'build.unclear', []);
  setFact(findings, 'build.syntax', syntax.map(shortImageName));
  setFact(
    findings,
    'build.stages',
    stages.map(({ name }, index) => (name === '' ? String(index) : name)),
  );
  for (const name of syntax) {
    addHazard(findings, 'syntax', shortImageName(name));
    appendRegistry(name, findings);
  }
  for (const stage of stages) {
    inspectStage(stage, findings);
    if (findings.work.left >= 0) continue;
    setUnreadDockerfile(findings);
    addHazard(findings, 'opaque', 'dockerfile');
    addToFact(findings, 'build.unclear', 'it takes longer to inspect than one call may');
    return;
  }
}

/** How many anonymous volumes a container of the image gets by this instruction, at most. */
function volumesOf(step: string): number {
  return /^(?:onbuild\s+)?volume\s/i.test(step) ? step.split(/[\s,]+/).length - 1 : 0;
}

/** The price of a source of ADD or COPY, or of a command, whatever is in it. */
const SOURCE_PRICE = 512;
const COMMAND_PRICE = 4096;
const FLAG_PRICE = 512;

function inspectStage({ base, copies, sources, commands, users, triggers }: Stage, findings: Findings): void {
  if (base.kind === 'image') {
    addToFact(findings, 'build.from', imageOf(base.image));
    if (base.image !== 'scratch') appendRegistry(base.image, findings);
  }
  for (const copy of copies) inspectCopy(copy, findings);
  for (const source of sources) {
    findings.work.left -= SOURCE_PRICE;
    if (findings.work.left < 0) return;
    inspectSource(source, findings);
  }
  for (const command of commands) {
    if (findings.work.left < 0) return;
    inspectStep(command, findings);
  }
  for (const user of users) addToFact(findings, 'build.users', user.replaceAll(UNKNOWN, '?'));
  for (const trigger of triggers) addHazard(findings, 'on-build', trigger);
}

function imageOf(text: string): string {
  return text === 'scratch' ? text : shortImageName(text);
}

function appendRegistry(image: string, findings: Findings): void {
  const { registry } = imageFacts(image);
  const known = findings.facts['build.registries'];
  if (!Array.isArray(known) || !known.includes(registry)) addToFact(findings, 'build.registries', registry);
}

function inspectCopy(base: Base, findings: Findings): void {
  if (base.kind === 'stage') return;
  const image = shortImageName(base.image.replaceAll(UNKNOWN, '?'));
  addToFact(findings, 'build.copy-from', image);
  appendRegistry(image, findings);
  addHazard(findings, 'copy-from-image', image);
}

const FETCHED = ['http://', 'https://', 'git@', 'git://', 'ssh://', 'github.com/'];

/**
 * The classic builder fetches what begins with `http://` or `https://` (builder/remotecontext/urlutil); BuildKit also
 * clones git repositories. Other schemes and capitals fail in today's engines, and are hazards all the same.
 */
function inspectSource({ text, written }: Source, findings: Findings): void {
  const plain = text.replaceAll(UNKNOWN, '');
  // A variable of the base image may complete a scheme: `ADD ${A}tp://…`.
  const before = text.split(UNKNOWN, 1)[0] ?? '';
  const open = plain !== text && (plain.includes('://') || FETCHED.some((start) => start.startsWith(before)));
  const url = /^[a-zA-Z][a-zA-Z0-9+.-]{0,30}:\/\//.test(plain);
  const git = /^(?:git@|git:\/\/|ssh:\/\/|github\.com\/)/.test(plain) || (url && isRepository(plain));
  if (!open && !url && !git) return;
  const address = open && !url ? written : plain;
  addToFact(findings, 'build.add-urls', address);
  if (git) addHazard(findings, 'add-git', address);
  if (!git || /^https?:/i.test(plain)) addHazard(findings, 'add-url', address);
}

function isRepository(url: string): boolean {
  const end = url.indexOf('#');
  return (end < 0 ? url : url.slice(0, end)).endsWith('.git');
}

function inspectStep(command: Command, findings: Findings): void {
  findings.work.left -= COMMAND_PRICE + FLAG_PRICE * command.flags.length;
  const { instruction, args, heredocs, flags } = command;
  const text = [args.join(' '), ...heredocs].join('\n');
  addToFact(findings, instruction === 'run' ? 'build.run' : 'build.command', text);
  for (const { name, value } of flags) inspectFlag(name, value, findings);
  const { variable, shell, form } = command;
  if (form === 'exec') inspectCommand(args, 'exec', variable, findings);
  else {
    inspectCommand([text], 'shell', variable, findings);
    // SHELL ["wget", "http://…"] makes a download of every RUN.
    if (!isPlainShell(shell)) inspectCommand([...shell, ...args], 'exec', variable, findings);
  }
}

/** `/bin/sh -c`, `/bin/bash -eo pipefail -c`: programs that read the text as a shell does, and do nothing else. */
function isPlainShell([program = '', ...options]: readonly string[]): boolean {
  return (
    /^(?:ba|da|a|z|k)?sh$/.test(baseName(program)) &&
    options.every((option) => /^(?:[-+][a-zA-Z]{1,10}|pipefail|errexit|nounset|xtrace|--login)$/.test(option))
  );
}

function inspectFlag(name: string, value: string, findings: Findings): void {
  if (name === 'mount') {
    const fields = value.replaceAll('"', '').split(',');
    const types = fields
      .filter((field) => /^type=/i.test(field))
      .map((field) => field.slice(5).toLowerCase());
    for (const type of types.length === 0 ? ['bind'] : types) addHazard(findings, 'run-mount', type);
  } else if (name === 'network') {
    const network = value.toLowerCase();
    if (network !== 'default' && network !== 'none') addHazard(findings, 'run-network', network);
  } else if (name === 'security') {
    const security = value.toLowerCase();
    if (security !== 'sandbox') addHazard(findings, 'run-security', security);
  } else if (name === 'device') addHazard(findings, 'run-device', value);
  else if (name === 'interval' || name === 'start-interval')
    checkBound('health-interval', goDuration(value) ?? BOUNDS['health-interval'].least, findings);
}

const GO_UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1e3,
  m: 60e3,
  h: 3_600e3,
};

/** time.ParseDuration: `1m30s`, in milliseconds; 0 and what engines refuse are undefined. */
function goDuration(text: string): number | undefined {
  if (!/^\+?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.test(text)) return undefined;
  let sum = 0;
  for (const [, number = '', unit = ''] of text.matchAll(/([\d.]+)([a-zµμ]+)/g))
    sum += Number(number) * (GO_UNITS[unit] ?? 0);
  return sum === 0 ? undefined : sum;
}
