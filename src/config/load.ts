import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseFile, describeValue, pointerOf, shapeProblems, type Problem } from '../policy/problems.js';
import {
  configFileSchema,
  configJsonSchema,
  type Config,
  type ConfigFileShape,
  type ListenConfig,
  type UpstreamConfig,
} from './config.js';
import { readAudit } from './audit-config.js';
import { readEgress } from './egress-config.js';
import { readFeeds } from './feeds-config.js';
import { isLoopback, parseEndpoint, type Endpoint } from './endpoint.js';

/** What the command line gave. Each one overrides the file. */
export interface ConfigFlags {
  readonly listen: readonly string[];
  readonly upstream?: string;
  readonly policy: readonly string[];
  readonly audit?: string;
  /** Accept every plain TCP listener beyond loopback. */
  readonly insecureTcp?: boolean;
}

export type ConfigProblem = Problem;

export type ConfigResult =
  /** `defaults`: sections that neither the file nor a flag gave. */
  | { ok: true; config: Config; defaults: readonly ('listen' | 'upstream' | 'policy')[] }
  | { ok: false; problems: readonly ConfigProblem[] };

const MAX_FILE_BYTES = 4 * 2 ** 20;
const INSECURE =
  'plain TCP beyond loopback lets anyone on the way read and change every call: use tls://, or say "insecure": true (--insecure-tcp)';

/** The policy that comes with the package. */
const SHIPPED_POLICY = fileURLToPath(new URL('../../../policies/default.json', import.meta.url));

type At = (path: readonly PropertyKey[], message: string) => void;

/**
 * Reads the config file (none: all defaults) and the flags. Relative paths in the file are relative to the file,
 * those in flags to the working directory. Never throws; problems of a flag have its name for a file.
 */
export function loadConfig(path: string | undefined, flags: ConfigFlags): ConfigResult {
  let text = '{}';
  if (path !== undefined) {
    try {
      text = readFileSync(path, 'utf8');
    } catch (error) {
      return failed(path, `cannot be read: ${(error as Error).message}`);
    }
  }
  if (text.length > MAX_FILE_BYTES) return failed(path ?? '', `larger than ${MAX_FILE_BYTES} bytes`);
  return readConfig(path ?? '', text, flags);
}

function failed(file: string, message: string): ConfigResult {
  return { ok: false, problems: [{ file, pointer: '', message }] };
}

function readConfig(file: string, text: string, flags: ConfigFlags): ConfigResult {
  // An empty file is an empty object: every section has a default.
  const parsed = parseFile(file, text.trim() === '' ? '{}' : text);
  if (!parsed.ok) return { ok: false, problems: [parsed.problem] };
  // Read once: to compile a checker for it would cost more than it saves.
  const checked = configFileSchema.safeParse(parsed.value, { jitless: true });
  const issues = checked.success ? [] : checked.error.issues;
  const problems = shapeProblems(file, parsed.value, issues, configJsonSchema, {});
  if (!checked.success) return { ok: false, problems };
  const shape = checked.data;
  const at: At = (path, message) => void problems.push({ file, pointer: pointerOf(path), message });
  const flag = (name: string, message: string): void =>
    void problems.push({ file: name, pointer: '', message });
  const base = dirname(resolve(file === '' ? 'config' : file));
  const inFile = (path: string): string => resolve(base, path);

  const listen =
    flags.listen.length > 0
      ? flags.listen.map((url) => flagListener(url, flags, (message) => flag('--listen', message)))
      : (shape.listen ?? [{ url: 'tcp://127.0.0.1:2375' }]).map((entry, index) =>
          fileListener(entry, flags, inFile, (path, message) => at(['listen', index, ...path], message)),
        );
  const raw = parsed.value as Record<string, unknown>;
  const ownsState = raw['feeds'] !== undefined || raw['egress'] !== undefined;
  const feeds = readFeeds(shape.feeds, ownsState, inFile, (path, message) => at(['feeds', ...path], message));
  const config: Config = {
    listen: nameListeners(listen, (index, message) => at(['listen', index, 'name'], message)),
    upstream: readUpstream(shape, flags, inFile, at, (message) => flag('--upstream', message)),
    policy: readPolicyPaths(shape, flags, inFile),
    admin: readAdmin(shape, at),
    audit: readAudit(shape.audit, flags.audit, inFile, (path, message) => at(['audit', ...path], message)),
    limits: shape.limits,
    feeds,
    ownership: shape.ownership === undefined ? null : { state: inFile(shape.ownership.state) },
    sequences: shape.sequences,
    egress:
      shape.egress === undefined
        ? null
        : readEgress(shape.egress, feeds.state, inFile, (path, message) => at(['egress', ...path], message)),
  };
  if (config.limits.body > config.limits.buffered) {
    at(['limits', 'body'], `${config.limits.body} bytes is more than limits.buffered, all bodies together`);
  }
  checkLoops(config, at);
  if (problems.length > 0) return { ok: false, problems };
  const given = {
    listen: flags.listen.length > 0,
    upstream: flags.upstream !== undefined,
    policy: flags.policy.length > 0,
  };
  const defaults = (['listen', 'upstream', 'policy'] as const).filter(
    (key) => !given[key] && raw[key] === undefined,
  );
  return { ok: true, config, defaults };
}

type Unnamed = Omit<ListenConfig, 'name'> & { name?: string | undefined };

function insecure(endpoint: Endpoint): boolean {
  return endpoint.scheme === 'tcp' && !isLoopback(endpoint.host);
}

function flagListener(url: string, flags: ConfigFlags, report: (message: string) => void): Unnamed {
  const endpoint = parseEndpoint(url);
  if (typeof endpoint === 'string') report(`found ${describeValue(url)}: ${endpoint}`);
  else if (endpoint.scheme === 'tls') {
    report(
      'a tls listener needs a certificate and a key: describe it in the config file ("listen", "tls") and use --config',
    );
  } else if (insecure(endpoint) && flags.insecureTcp !== true) report(`${url}: ${INSECURE}`);
  return { url, ...(flags.insecureTcp === true ? { insecure: true } : {}) };
}

function fileListener(
  entry: NonNullable<ConfigFileShape['listen']>[number],
  flags: ConfigFlags,
  inFile: (path: string) => string,
  at: At,
): Unnamed {
  const endpoint = parseEndpoint(entry.url);
  const accepted = entry.insecure === true || flags.insecureTcp === true;
  if (typeof endpoint === 'string') at(['url'], `found ${describeValue(entry.url)}: ${endpoint}`);
  else {
    const { scheme } = endpoint;
    if (insecure(endpoint) && !accepted) at(['url'], `${entry.url}: ${INSECURE}`);
    if (scheme !== 'tcp' && entry.insecure === true)
      at(['insecure'], `only means something for tcp://; remove it`);
    if (scheme === 'tls' && entry.tls === undefined)
      at(['tls'], 'missing; a tls listener needs "cert" and "key"');
    if (scheme !== 'tls' && entry.tls !== undefined)
      at(['tls'], `only means something for tls://, this is ${scheme}://`);
    for (const key of ['mode', 'group'] as const) {
      if (scheme !== 'unix' && entry[key] !== undefined)
        at([key], `only means something for unix://, this is ${scheme}://`);
    }
  }
  const { tls } = entry;
  if (tls?.clientAuth !== undefined && tls.clientCa === undefined) {
    at(['tls', 'clientAuth'], 'needs "clientCa": without it no client certificate can be verified');
  }
  return {
    name: entry.name,
    url: entry.url,
    ...(entry.mode === undefined ? {} : { mode: entry.mode }),
    ...(entry.group === undefined ? {} : { group: entry.group }),
    ...(accepted ? { insecure: true } : {}),
    ...(tls === undefined
      ? {}
      : {
          tls: {
            cert: inFile(tls.cert),
            key: inFile(tls.key),
            ...(tls.clientCa === undefined ? {} : { clientCa: inFile(tls.clientCa) }),
            // A client CA without a word on clientAuth means that certificates are wanted.
            clientAuth: tls.clientAuth ?? (tls.clientCa === undefined ? 'optional' : 'required'),
          },
        }),
  };
}

/** Names the unnamed by scheme: `unix`, `tcp`, `tcp-2` …; a name twice is an error. */
function nameListeners(
  listen: readonly Unnamed[],
  report: (index: number, message: string) => void,
): ListenConfig[] {
  const taken = new Set<string>();
  listen.forEach(({ name }, index) => {
    if (name === undefined) return;
    if (taken.has(name))
      report(index, `the name "${name}" is used twice; policy could not distinguish the two`);
    taken.add(name);
  });
  return listen.map(({ name, ...rest }) => {
    const scheme = rest.url.split(':', 1)[0]!;
    let chosen = name ?? scheme;
    for (let n = 2; name === undefined && taken.has(chosen); n++) chosen = `${scheme}-${n}`;
    taken.add(chosen);
    return { name: chosen, ...rest };
  });
}

function readUpstream(
  shape: ConfigFileShape,
  flags: ConfigFlags,
  inFile: (path: string) => string,
  at: At,
  flag: (message: string) => void,
): UpstreamConfig {
  const { tls, url: fileUrl, hostRoot, ...other } = shape.upstream;
  const rest =
    typeof hostRoot === 'string' ? { ...other, hostRoot: inFile(hostRoot) } : { ...other, hostRoot };
  const url = flags.upstream ?? fileUrl;
  const endpoint = parseEndpoint(url);
  const report = flags.upstream === undefined ? (message: string) => at(['upstream', 'url'], message) : flag;
  if (typeof endpoint === 'string') report(`found ${describeValue(url)}: ${endpoint}`);
  else if (endpoint.scheme !== 'unix' && endpoint.port === 0) report(`${url}: port 0 cannot be connected to`);
  const isTls = typeof endpoint !== 'string' && endpoint.scheme === 'tls';
  if (tls === undefined || (!isTls && flags.upstream !== undefined)) return { url, ...rest };
  if (!isTls) at(['upstream', 'tls'], `only means something for tls://, the URL is ${describeValue(url)}`);
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    at(['upstream', 'tls'], 'a client certificate needs both "cert" and "key"');
  }
  return {
    url,
    tls: {
      ...(tls.ca === undefined ? {} : { ca: inFile(tls.ca) }),
      ...(tls.cert === undefined ? {} : { cert: inFile(tls.cert) }),
      ...(tls.key === undefined ? {} : { key: inFile(tls.key) }),
      ...(tls.serverName === undefined ? {} : { serverName: tls.serverName }),
    },
    ...rest,
  };
}

function readPolicyPaths(
  shape: ConfigFileShape,
  flags: ConfigFlags,
  inFile: (path: string) => string,
): string[] {
  if (flags.policy.length > 0) return [...flags.policy];
  return shape.policy?.map(inFile) ?? [SHIPPED_POLICY];
}

function readAdmin(shape: ConfigFileShape, at: At): { url: string } | null {
  if (shape.admin === null) return null;
  const { url, insecure: accepted } = shape.admin ?? { url: 'tcp://127.0.0.1:9323' };
  const endpoint = parseEndpoint(url);
  if (typeof endpoint === 'string') at(['admin', 'url'], `found ${describeValue(url)}: ${endpoint}`);
  else if (endpoint.scheme === 'tls')
    at(['admin', 'url'], 'the admin listener speaks plain HTTP: use tcp:// or unix://');
  else if (insecure(endpoint) && accepted !== true) {
    at(
      ['admin', 'url'],
      `${url} lets anyone who can reach it read metrics and health: use loopback, or say "insecure": true`,
    );
  }
  return { url };
}

/** An upstream that is one of our own listeners would send every call round and round. */
function checkLoops(config: Config, at: At): void {
  const own = [
    ...config.listen.map((entry) => entry.url),
    ...(config.admin === null ? [] : [config.admin.url]),
  ];
  const key = (url: string): string => url.replace(/\/+$/, '').replace('://localhost:', '://127.0.0.1:');
  const taken = new Set<string>();
  for (const url of own.filter((url) => !url.endsWith(':0'))) {
    if (taken.has(key(url))) at(['listen'], `${url} is used for two listeners`);
    taken.add(key(url));
  }
  if (taken.has(key(config.upstream.url))) {
    at(
      ['upstream', 'url'],
      `${config.upstream.url} is also a listener of this guard: calls would go round in circles`,
    );
  }
}
