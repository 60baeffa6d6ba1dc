import type { Findings } from './findings.js';
import { raise } from './findings.js';
import { text, type Judge } from './judge.js';

type Namespace = 'pid' | 'ipc' | 'uts' | 'user' | 'cgroup';

// Modes that keep the container to itself. Everything else is a hazard (api/types/container/hostconfig.go).
const PRIVATE: Readonly<Record<Namespace, readonly string[]>> = {
  pid: [],
  ipc: ['private', 'none'],
  uts: [],
  user: [],
  cgroup: ['private'],
};

function judgeMode(namespace: string, mode: string, found: Findings): void {
  if (mode === 'host') raise(found, 'host-namespace', namespace);
  else if (mode.startsWith('container:')) {
    raise(found, 'container-namespace', `${namespace}=${mode.slice('container:'.length)}`);
  } else raise(found, 'namespace', `${namespace}=${mode}`);
}

/** PidMode, IpcMode, UTSMode, UsernsMode, CgroupnsMode. */
export function namespaceMode(namespace: Namespace): Judge {
  return text((mode, found) => {
    if (!PRIVATE[namespace].includes(mode)) judgeMode(namespace, mode, found);
  });
}

/** The technology that keeps a container apart; on Linux there is only the default. */
export const isolation: Judge = text((mode, found) => {
  if (mode !== 'default') raise(found, 'isolation', mode);
});

/** Below API 1.40 an empty IpcMode means `shareable` (router/container/container_routes.go, postContainersCreate). */
export function impliedIpcMode(apiVersion: string, mode: string, found: Findings): void {
  if (apiVersion === '' || mode !== '') return;
  const minor = Number(/^1\.(\d+)$/.exec(apiVersion)?.[1] ?? 0);
  if (minor < 40) raise(found, 'namespace', 'ipc=shareable');
}

const OWN_NETWORKS = new Set(['', 'default', 'bridge', 'none']);

/**
 * A network by name, as NetworkMode and NetworkingConfig give it. The daemon looks a name up as name, as id and as
 * prefix of an id (daemon/network.go, FindNetwork), so `cafe` may be the host's network.
 */
export function judgeNetwork(name: string, found: Findings): void {
  if (OWN_NETWORKS.has(name)) return;
  if (name === 'host' || name.startsWith('container:')) judgeMode('network', name, found);
  else if (/^[0-9a-f]+$/.test(name)) raise(found, 'network-id', name);
}

export const networkMode: Judge = text(judgeNetwork);
