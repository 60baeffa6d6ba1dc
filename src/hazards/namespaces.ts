import type { Findings } from './findings.js';
import { addHazard } from './findings.js';
import { text, type FieldInspector } from './field-inspectors.js';

type Namespace = 'pid' | 'ipc' | 'uts' | 'user' | 'cgroup';

// Modes that keep the container to itself. Everything else is a hazard (api/types/container/hostconfig.go).
const PRIVATE: Readonly<Record<Namespace, readonly string[]>> = {
  pid: [],
  ipc: ['private', 'none'],
  uts: [],
  user: [],
  cgroup: ['private'],
};

function inspectMode(namespace: string, mode: string, found: Findings): void {
  if (mode === 'host') addHazard(found, 'host-namespace', namespace);
  else if (mode.startsWith('container:')) {
    addHazard(found, 'container-namespace', `${namespace}=${mode.slice('container:'.length)}`);
  } else addHazard(found, 'namespace', `${namespace}=${mode}`);
}

/** PidMode, IpcMode, UTSMode, UsernsMode, CgroupnsMode. */
export function namespaceMode(namespace: Namespace): FieldInspector {
  return text((mode, found) => {
    if (!PRIVATE[namespace].includes(mode)) inspectMode(namespace, mode, found);
  });
}

/** The technology that keeps a container apart; on Linux there is only the default. */
export const isolation: FieldInspector = text((mode, found) => {
  if (mode !== 'default') addHazard(found, 'isolation', mode);
});

/** Below API 1.40 an empty IpcMode means `shareable` (router/container/container_routes.go, postContainersCreate). */
export function impliedIpcMode(apiVersion: string, mode: string, found: Findings): void {
  if (apiVersion === '' || mode !== '') return;
  const minor = Number(/^1\.(\d+)$/.exec(apiVersion)?.[1] ?? 0);
  if (minor < 40) addHazard(found, 'namespace', 'ipc=shareable');
}

const OWN_NETWORKS = new Set(['', 'default', 'bridge', 'none']);

/**
 * A network by name, as NetworkMode and NetworkingConfig give it. The daemon looks a name up as name, as id and as
 * prefix of an id (daemon/network.go, FindNetwork), so `cafe` may be the host's network.
 */
export function inspectNetworkMode(name: string, found: Findings): void {
  if (OWN_NETWORKS.has(name)) return;
  if (name === 'host' || name.startsWith('container:')) inspectMode('network', name, found);
  else if (/^[0-9a-f]+$/.test(name)) addHazard(found, 'network-id', name);
}

export const networkMode: FieldInspector = text(inspectNetworkMode);
