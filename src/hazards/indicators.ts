import type { Call, QueryValue } from '../docker/call.js';
import { readDockerfile } from '../docker/dockerfile/read.js';
import { type JsonObject, type JsonValue, asObject, asStrings, isBareObject } from '../base/json.js';
import type { Work } from '../base/work.js';
import { authHosts } from '../docker/registry-auth.js';
import type { Variable } from '../docker/shell-command.js';
import type { IndicatorIndex, IndicatorMatch } from '../intel/indicator.js';
import { addHazard, type Findings, type ContextMatches } from './inspection.js';
import {
  MAX_WORD_LENGTH,
  classifyWithin,
  searchClassified,
  searchText,
  MIN_LENGTH,
  startSearch,
  type Meaning,
  type Search,
  scan,
} from './indicator-search.js';
import type { DockerfileReading } from '../docker/dockerfile/model.js';

/**
 * Looks for indicators in every string of a call: path, parameters, headers, body, the Dockerfile of its context; no
 * field can be forgotten, because none is named. Those that are to be blocked become hazards, all are returned.
 *
 * @param contextMatches what was seen of the build context while it went by.
 */
export function inspectIndicators(
  call: Call,
  findings: Findings,
  index: IndicatorIndex,
  contextMatches: ContextMatches,
): readonly IndicatorMatch[] {
  const search = startSearch(index, findings.work);
  searchCall(search, call);
  if (findings.dockerfile !== undefined) {
    const { content, reading } = findings.dockerfile;
    const found = dockerfileMatches(content, reading, index, findings.work);
    search.matches.push(...found.matches);
    if (found.truncated) search.truncated = true;
  }
  const matches =
    contextMatches.matches.length === 0 ? search.matches : [...search.matches, ...contextMatches.matches];
  for (const { hit } of matches) if (hit.action === 'block') addHazard(findings, 'indicator', hit.indicator);
  if (search.truncated || contextMatches.truncated) addHazard(findings, 'opaque', 'text');
  return matches;
}

/** By reading, as found with this index. */
const searched = new WeakMap<DockerfileReading, { readonly index: IndicatorIndex; readonly found: Search }>();

/** The indicators in a Dockerfile. It is searched once for all the calls that rules with a rewrite make of one. */
function dockerfileMatches(
  content: Uint8Array,
  reading: DockerfileReading,
  index: IndicatorIndex,
  work: Work,
): Search {
  const known = searched.get(reading);
  if (known?.index === index) return known.found;
  const found = startSearch(index, work);
  searchDockerfile(found, content, reading);
  searched.set(reading, { index, found });
  return found;
}

function searchCall(search: Search, call: Call): void {
  for (const name in call.path) searchText(search, call.path[name]!, `path ${name}`, 'key');
  for (const name in call.query) searchParameter(search, name, call.query[name]!);
  for (const name in call.headers) searchHeader(search, name, call.headers[name]!);
  if (call.body.kind === 'json') {
    const body = call.body.value;
    search.variable = environmentOf(search, body);
    searchCommand(search, asObject(body));
    searchValue(search, body, []);
  }
  for (const { where, value } of call.unknown) within(search, where, value);
}

function searchParameter(search: Search, name: string, given: QueryValue): void {
  switch (given.type) {
    case 'string':
      searchText(search, given.value, `?${name}`, HOSTS.has(name) ? 'host' : 'text');
      return;
    case 'strings':
      for (const text of given.value) {
        searchText(search, text, `?${name}`, HOSTS.has(name) ? 'host' : 'text');
      }
      if (name === 'changes') searchChanges(search, given.value, `?${name}`);
      return;
    case 'json':
      within(search, `?${name}`, given.value);
      return;
    default:
      return;
  }
}

/** These headers hold credentials: only the hosts in them are searched. */
function searchHeader(search: Search, name: string, value: string): void {
  if (name === 'x-registry-auth' || name === 'x-registry-config') {
    for (const host of authHosts(name, value)) searchText(search, host, `header ${name}`, 'host');
  } else {
    searchText(search, value, `header ${name}`);
  }
}

/** Instructions that are given apart from a Dockerfile: `ENV A=c2.`, then `CMD wget ${A}example`. */
function searchChanges(search: Search, changes: readonly string[], where: string): void {
  const text = `FROM scratch\n${changes.join('\n')}\n`;
  const reading = readDockerfile(
    new TextEncoder().encode(text),
    { buildArgs: {}, target: '', platform: '' },
    search.work,
  );
  if (!reading.clear) return;
  for (const step of reading.steps) searchText(search, step.text, where, 'command', step.variable);
}

/** Fields and parameters whose values are hosts, or maps whose values may name some: a bare number is an address there. */
const HOSTS = new Set([
  ...['Dns', 'DNS', 'DnsSearch', 'ExtraHosts', 'Hosts', 'Nameservers', 'Search', 'extrahosts', 'remote'],
  ...['RemoteAddrs', 'ListenAddr', 'AdvertiseAddr', 'DataPathAddr', 'HostIp', 'serveraddress', 'URL'],
  ...['Options', 'DriverOpts', 'Config', 'fromSrc', 'ExternalIPs', 'AuxiliaryAddresses', 'Gateway'],
]);
/** Lists and texts that are commands, or parts of one. */
const COMMANDS = new Set(['Cmd', 'Entrypoint', 'Command', 'Args', 'Test', 'Shell', 'OnBuild']);
/** Lists of unrelated elements. */
const APART = new Set<string | number>(['Env', 'ExtraHosts', 'Hosts', 'Binds', 'PortSpecs']);

const MEANINGS: ReadonlyMap<string | number, Meaning> = new Map([
  ...Array.from(HOSTS, (name) => [name, 'host'] as const),
  ...Array.from(COMMANDS, (name) => [name, 'command'] as const),
]);

function within(search: Search, prefix: string, value: JsonValue): void {
  search.prefix = prefix;
  searchValue(search, value, []);
  search.prefix = '';
}

/**
 * Every string below a value, keys too but for those that a schema names. `at` is the pointer of the value; it is as
 * before when this returns.
 */
function searchValue(search: Search, value: JsonValue, at: (string | number)[]): void {
  if (search.truncated) return;
  if (typeof value === 'string') {
    const flags = classifyWithin(search, value);
    if (flags !== 0) searchClassified(search, value, flags, at, meaningAt(at), search.variable);
  } else if (Array.isArray(value)) {
    let strings = value.length > 1;
    for (let n = 0; n < value.length && !search.truncated; n++) {
      const item = value[n]!;
      if (typeof item !== 'string') strings = false;
      at.push(n);
      searchValue(search, item, at);
      at.pop();
    }
    if (strings && !APART.has(at.at(-1) ?? '')) searchJoined(search, value as string[], at);
  } else if (typeof value === 'object' && value !== null) {
    const known = isBareObject(value);
    for (const key of Object.keys(value)) {
      if (search.truncated) return;
      const item = value[key]!;
      // Most of a call: numbers and flags in fields that the API has.
      if (known && (typeof item === 'string' ? item.length < MIN_LENGTH : typeof item !== 'object')) continue;
      at.push(key);
      if (!known) searchText(search, key, at, 'key');
      searchValue(search, item, at);
      at.pop();
    }
  }
}

/** The meaning of a value, by the nearest field around it that has one. */
function meaningAt(at: readonly (string | number)[]): Meaning {
  for (let n = at.length - 1; n >= 0; n--) {
    const meaning = MEANINGS.get(at[n]!);
    if (meaning !== undefined) return meaning;
  }
  return 'text';
}

/** The elements of a list as one text: an address may begin in one and end in another. */
function searchJoined(search: Search, words: readonly string[], at: readonly (string | number)[]): void {
  const meaning = meaningAt(at);
  const text = words.join(' ');
  // Joined without decoding, the text holds no more than its elements do.
  if (text.length > MAX_WORD_LENGTH) return;
  const variable = meaning === 'command' ? positional(words, search.variable) : search.variable;
  searchText(search, text, at, meaning, variable);
}

/** The command of a container is its entrypoint and its arguments together. */
function searchCommand(search: Search, body: JsonObject): void {
  const { Entrypoint, Cmd, TaskTemplate } = body;
  searchArguments(search, Entrypoint, Cmd, '/Cmd');
  if (TaskTemplate === undefined) return;
  const { Command, Args } = asObject(asObject(TaskTemplate)['ContainerSpec']);
  searchArguments(search, Command, Args, '/TaskTemplate/ContainerSpec/Args');
}

function searchArguments(
  search: Search,
  program: JsonValue | undefined,
  args: JsonValue | undefined,
  where: string,
): void {
  if (program === undefined || args === undefined) return;
  const words = [...asStrings(program), ...asStrings(args)];
  searchText(search, words.join(' '), where, 'command', positional(words, search.variable));
}

/** `sh -c 'wget $1.$2' x c2 example` */
function positional(words: readonly string[], outer: Variable): Variable {
  const at = words.findIndex((word) => /^-[a-z]{0,8}c$/.test(word));
  if (at < 0) return outer;
  const given = words.slice(at + 2);
  return (name) => {
    if (/^[0-9]{1,2}$/.test(name)) return given[Number(name)];
    return name === '@' || name === '*' ? given.slice(1).join(' ') : outer(name);
  };
}

/** What one variable costs, in units of a ScanBudget. */
const VARIABLE_PRICE = 64;

/** Variables by the `Env` of a container, an exec or a task; the last of a name counts. */
function environmentOf(search: Search, body: JsonValue): Variable {
  let values: Map<string, string> | undefined;
  return (name) => {
    if (values === undefined) {
      values = new Map();
      const task = asObject(asObject(asObject(body)['TaskTemplate'])['ContainerSpec']);
      for (const entry of [...asStrings(asObject(body)['Env']), ...asStrings(task['Env'])]) {
        // As much as looking at it costs: the attack is a million of them.
        search.work.left -= VARIABLE_PRICE;
        if (search.work.left < 0) break;
        const equals = entry.indexOf('=');
        if (equals > 0) values.set(entry.slice(0, equals), entry.slice(equals + 1));
      }
    }
    return values.get(name);
  };
}

const lenient = new TextDecoder();

/**
 * Looks for indicators in a Dockerfile: every line as it stands, comments and stages that are not built too; every
 * instruction with its continuations joined, its variables substituted, and decoded; where it has no clear reading, the
 * whole text decoded as one.
 */
export function searchDockerfile(search: Search, content: Uint8Array, reading: DockerfileReading): void {
  const text = lenient.decode(content);
  for (const [at, line] of text.split('\n').entries()) {
    if (search.truncated) return;
    scan(search, line, `Dockerfile line ${at + 1}`);
  }
  if (!reading.clear) {
    searchText(search, text, 'Dockerfile', 'command');
    return;
  }
  const triggers = new Set<number>();
  for (const { text, line, variable } of reading.steps) {
    searchText(search, text, `Dockerfile line ${line}`, 'command', variable);
    if (/^onbuild\b/i.test(text)) triggers.add(line);
  }
  // A trigger runs with the variables of the stages that are built on its own.
  for (const { commands } of reading.stages) {
    for (const { args, line, variable } of commands) {
      if (!triggers.has(line)) continue;
      searchText(search, args.join(' '), `Dockerfile line ${line}`, 'command', variable);
    }
  }
}
