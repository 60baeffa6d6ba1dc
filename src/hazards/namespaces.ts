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

function inspectMode(namespace: string, mode: string, findings: Findings): void {
  if (mode === 'host') addHazard(findings, 'host-namespace', namespace);
  else if (mode.startsWith('container:')) {
    addHazard(findings, 'container-namespace', `${namespace}=${mode.slice('container:'.length)}`);
  } else addHazard(findings, 'namespace', `${namespace}=${mode}`);
}

/** PidMode, IpcMode, UTSMode, UsernsMode, CgroupnsMode. */
export function namespaceMode(namespace: Namespace): FieldInspector {
  return text((mode, findings) => {
    if (!PRIVATE[namespace].includes(mode)) inspectMode(namespace, mode, findings);
  });
}

/** The technology that keeps a container apart; on Linux there is only the default. */
export const isolation: FieldInspector = text((mode, findings) => {
  if (mode !== 'default') addHazard(findings, 'isolation', mode);
});

/** Below API 1.40 an empty IpcMode means `shareable` (router/container/container_routes.go, postContainersCreate). */
export function impliedIpcMode(apiVersion: string, mode: string, findings: Findings): void {
  if (apiVersion === '' || mode !== '') return;
  const minor = Number(/^1\.(\d+)$/.exec(apiVersion)?.[1] ?? 0);
  if (minor < 40) addHazard(findings, 'namespace', 'ipc=shareable');
}

const OWN_NETWORKS = new Set(['', 'default', 'bridge', 'none']);

/**
 * A network by name, as NetworkMode and NetworkingConfig give it. The daemon looks a name up as name, as id and as
 * prefix of an id (daemon/network.go, FindNetwork), so `cafe` may be the host's network.
 */
export function inspectNetworkMode(name: string, findings: Findings): void {
  if (OWN_NETWORKS.has(name)) return;
  if (name === 'host' || name.startsWith('container:')) inspectMode('network', name, findings);
  else if (/^[0-9a-f]+$/.test(name)) addHazard(findings, 'network-id', name);
}

export const networkMode: FieldInspector = text(inspectNetworkMode);
