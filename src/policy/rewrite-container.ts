import { isBefore } from '../docker/call.js';
import {
  type JsonObject,
  type JsonValue,
  asArray,
  asObject,
  asString,
  asStrings,
  isZero,
} from '../base/json.js';
import type { Operation } from '../docker/operation.js';
import { resolveSchema } from '../docker/schemas.js';
import { queryText } from '../hazards/call-values.js';
import { copyObject, fieldOf, putField, putQuery, type Draft, type Step } from './rewrite-draft.js';
import type { RewriteShape } from './rewrite-schema.js';

const SPEC = ['TaskTemplate', 'ContainerSpec'] as const;

/** Where a container's option is in the body of an operation. */
function container({ does }: Operation, host: string, spec: string): readonly string[] {
  return does.runs === 'service' ? [...SPEC, spec] : ['HostConfig', host];
}

function fieldNames(name: string): readonly string[] {
  const schema = resolveSchema({ type: 'ref', name });
  return schema.type === 'object' ? Object.keys(schema.fields) : [];
}

/** HostConfig fields that a ContainerCreate may also have at the top level, and `Cpuset`. */
export const LEGACY: ReadonlySet<string> = new Set([...fieldNames('HostConfig'), 'Cpuset']);
/** Those that fill a gap in a HostConfig that is there; the others then count for nothing. */
const GAPS = ['Memory', 'MemorySwap', 'CpuShares', 'CpusetCpus', 'VolumeDriver'];

/**
 * Brings HostConfig fields of the top level to where they belong, as getHostConfig of moby (runconfig/config_unix.go,
 * up to Engine 24) reads them, before anything in HostConfig is rewritten. Two attacks end here: a HostConfig that a
 * rewrite adds would switch off the limits a client gave at the top level, and a top-level `Memory` would fill what a
 * rewrite removed.
 */
export const foldLegacy: Step = (draft) => {
  const body = asObject(fieldOf(draft));
  const legacy = Object.keys(body).filter((name) => LEGACY.has(name));
  if (legacy.length === 0) return;
  const given = fieldOf(draft, 'HostConfig') ?? null;
  const moved = given === null ? legacy.filter((name) => name !== 'Cpuset') : GAPS;
  const gap = (name: string): boolean => isZero(fieldOf(draft, 'HostConfig', name) ?? null);
  for (const name of moved) {
    const value = body[name] ?? null;
    if (value !== null && gap(name) && (given === null || !isZero(value))) {
      putField(draft, ['HostConfig', name], value);
    }
  }
  const cpuset = body['Cpuset'] ?? null;
  if (!isZero(cpuset) && gap('CpusetCpus')) putField(draft, ['HostConfig', 'CpusetCpus'], cpuset);
  for (const name of legacy) putField(draft, [name], undefined);
};

const NO_NETWORK = ['', 'default'];

/**
 * `network`. A container is also attached to what NetworkingConfig names, under the name or, if there is one, the
 * NetworkID: with `force`, nothing is left there that could be another network.
 */
export function prepareNetwork(
  network: NonNullable<RewriteShape['network']>,
): (operation: Operation) => Step {
  const { force, default: fallback = '' } = network;
  if (force !== undefined) {
    return ({ does }) =>
      does.builds !== undefined
        ? (draft) => putQuery(draft, 'networkmode', { type: 'string', value: force })
        : (draft) => {
            putField(draft, ['HostConfig', 'NetworkMode'], force);
            forceEndpoints(draft, force);
          };
  }
  return ({ does }) =>
    does.builds !== undefined
      ? (draft) => {
          if (!NO_NETWORK.includes(queryText(draft.next, 'networkmode'))) return;
          putQuery(draft, 'networkmode', { type: 'string', value: fallback });
        }
      : (draft) => defaultNetwork(draft, fallback);
}

const ENDPOINTS = ['NetworkingConfig', 'EndpointsConfig'];

function forceEndpoints(draft: Draft, name: string): void {
  const given = asObject(fieldOf(draft, ...ENDPOINTS));
  if (Object.keys(given).length === 0) return;
  const kept = Object.create(null) as JsonObject;
  if (Object.hasOwn(given, name)) {
    const endpoint = copyObject(given[name]);
    delete endpoint['NetworkID'];
    kept[name] = endpoint;
  }
  putField(draft, ENDPOINTS, Object.keys(kept).length === 0 ? undefined : kept);
}

function defaultNetwork(draft: Draft, name: string): void {
  if (!NO_NETWORK.includes(asString(fieldOf(draft, 'HostConfig', 'NetworkMode')))) return;
  const endpoints = asObject(fieldOf(draft, ...ENDPOINTS));
  // A client that names networks only there has chosen them.
  if (!Object.keys(endpoints).every((key) => key === 'default' || key === name)) return;
  putField(draft, ['HostConfig', 'NetworkMode'], name);
  if (name === 'default' || !Object.hasOwn(endpoints, 'default')) return;
  const renamed = copyObject(endpoints);
  renamed[name] ??= endpoints['default'] ?? null;
  delete renamed['default'];
  putField(draft, ENDPOINTS, renamed);
}

/** The name of a SecurityOpt entry, split as parseSecurityOpt of moby's daemon/daemon_unix.go does. */
function optionName(option: string): string {
  const cut = option.search(option.includes('=') ? '=' : ':');
  return cut < 0 ? option : option.slice(0, cut);
}

const TRUE = new Set(['1', 't', 'T', 'true', 'TRUE', 'True']);

/** dockerd takes the last entry, so no entry that disables it may be left. */
export const noNewPrivileges: Step = (draft) => {
  const at = ['HostConfig', 'SecurityOpt'];
  const given = asStrings(fieldOf(draft, ...at));
  const isAbout = (option: string): boolean => optionName(option) === 'no-new-privileges';
  const isOn = (option: string): boolean =>
    option === 'no-new-privileges' || TRUE.has(option.slice('no-new-privileges'.length + 1));
  const about = given.filter(isAbout);
  if (about.length > 0 && about.every(isOn)) return;
  const others = given.filter((option) => !isAbout(option));
  putField(draft, at, [...others, 'no-new-privileges']);
};

export function setOption(host: string, spec: string, value: JsonValue): (operation: Operation) => Step {
  return (operation) => (draft) => putField(draft, container(operation, host, spec), value);
}

export function prepareDns(servers: readonly string[]): (operation: Operation) => Step {
  return (operation) => (draft) => {
    const isService = operation.does.runs === 'service';
    const at = isService ? [...SPEC, 'DNSConfig', 'Nameservers'] : ['HostConfig', 'Dns'];
    putField(draft, at, [...servers]);
  };
}

export function prepareUser(user: string): (operation: Operation) => Step {
  return ({ does }) =>
    (draft) =>
      putField(draft, does.userAt!, user);
}

function capability(name: string): string {
  const upper = name.toUpperCase();
  return upper.startsWith('CAP_') ? upper.slice(4) : upper;
}

/**
 * `dropCapabilities`. Added capabilities win over dropped ones (TweakCapabilities of moby's oci/caps), and `ALL`
 * added wins over `ALL` dropped, so the names are removed from the added ones as well.
 */
export function prepareDropCapabilities(names: readonly string[]): (operation: Operation) => Step {
  const dropped = new Set(names.map(capability));
  return (operation) => (draft) => {
    // The engine drops it from calls of older versions (daemon/server/router/swarm/helpers.go, adjustForAPIVersion).
    if (operation.does.runs === 'service' && isBefore(draft.next, 41)) {
      draft.conflict = 'services have no "dropCapabilities" below API 1.41';
      return;
    }
    const drop = container(operation, 'CapDrop', 'CapabilityDrop');
    const present = asStrings(fieldOf(draft, ...drop));
    const known = new Set(present.map(capability));
    const missing = [...dropped].filter((name) => !known.has(name));
    if (missing.length > 0) putField(draft, drop, [...present, ...missing]);
    // Capabilities: API 1.40 takes it in place of the default set.
    const adds = [container(operation, 'CapAdd', 'CapabilityAdd')];
    if (operation.does.runs === 'container') adds.push(['HostConfig', 'Capabilities']);
    for (const at of adds) {
      const given = asArray(fieldOf(draft, ...at));
      const kept = given.filter((name) => !dropped.has(capability(asString(name))));
      if (kept.length < given.length) putField(draft, at, kept);
    }
  };
}
