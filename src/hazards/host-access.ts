import { HAZARD_KINDS, type HazardKind } from './catalogue.js';
import type { Hazard } from './inspection.js';

/**
 * Cleans a slash-separated path as Go's path.Clean does (path/path.go): no `.`, no `//`, `..` resolved without
 * looking at the file system, `"."` for nothing. The daemon cleans bind sources so before it mounts them.
 */
export function cleanPath(path: string): string {
  const rooted = path.startsWith('/');
  const kept: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') kept.push(part);
    else if (kept.length > 0 && kept.at(-1) !== '..') kept.pop();
    else if (!rooted) kept.push('..');
  }
  const joined = kept.join('/');
  return rooted ? `/${joined}` : joined || '.';
}

const SOCKET_NAMES = new Set([
  'docker.sock',
  'containerd.sock',
  'podman.sock',
  'crio.sock',
  'buildkitd.sock',
  'dockershim.sock',
  'cri-dockerd.sock',
]);

// Directories in which engines keep their sockets: mounting one of them, or a directory above, gives access to the socket.
const SOCKET_PLACES = ['/run', '/run/docker', '/run/containerd', '/run/podman', '/run/crio', '/run/buildkit'];

/**
 * May this cleaned host path hold the socket of a container engine? True for sockets by name, for the directories
 * they live in and all above them (`/`, `/run`, `/var`, `/var/run`), per-user ones (`/run/user/1000`), and for
 * `/proc`, through which `/proc/1/root` is the whole host again.
 */
export function mayHoldEngineSocket(path: string): boolean {
  // /var/run is /run on every current distribution.
  const place = path === '/var' ? '/run' : path.startsWith('/var/run') ? path.slice(4) : path;
  if (place === '/' || place === '/proc' || place.startsWith('/proc/')) return true;
  if (SOCKET_PLACES.includes(place) || /^\/run\/user(\/[^/]*)?$/.test(place)) return true;
  return SOCKET_NAMES.has(place.slice(place.lastIndexOf('/') + 1));
}

/** Capabilities that lead out of a container by themselves. Others, such as NET_ADMIN, change only what is inside. */
const ESCAPES = new Set(
  (
    'ALL SYS_ADMIN SYS_PTRACE SYS_MODULE SYS_RAWIO SYS_BOOT SYS_CHROOT SYSLOG DAC_READ_SEARCH BPF PERFMON MKNOD ' +
    'MAC_ADMIN MAC_OVERRIDE AUDIT_CONTROL CHECKPOINT_RESTORE'
  ).split(' '),
);

/** Below these a host keeps what it runs by, and its secrets. */
const SYSTEM =
  /^\/(?:bin|boot|cgroup|dev|etc|lib\d*|proc|root|run|sbin|sys|usr|var\/(?:cache|lib\/(?:containerd|docker|kubelet|systemd)|run|spool))(?:\/|$)/;
/** These themselves hold such directories, or the homes of everyone. */
const ABOVE = /^\/(?:home(?:\/[^/]+)?|var(?:\/lib)?)?$/;
const SECRETS = /\/\.(?:ssh|gnupg|aws|azure|kube|docker|config\/gcloud)(?:\/|$)/;
/** Half of all compose files have these. */
const CLOCK = new Set(['/etc/localtime', '/etc/timezone']);

/** Is this a path of the host's own, not one where data of an application lies (`/srv/app`, `/home/me/project`)? */
function isSystemPath(path: string): boolean {
  if (CLOCK.has(path)) return false;
  // A source that is not clearly a path may be any path.
  return !path.startsWith('/') || SYSTEM.test(path) || ABOVE.test(path) || SECRETS.test(path);
}

/** By the word that the catalogue has for a hazard: does an argument of it let a container act on its host? */
const TESTS: Readonly<Record<HazardKind['reachesHost'] & {}, (argument: string) => boolean>> = {
  always: () => true,
  'system-path': isSystemPath,
  escape: (name) => ESCAPES.has(name),
  // With the local driver these mount a directory or a disk of the host.
  'host-volume': (option) => /^(?:o=(?:.*,)?r?bind(?:,|$)|device=\/(?!\/))/i.test(option),
};

/** Can a container with this hazard act on its host? */
export function reachesHost({ kind, argument }: Hazard): boolean {
  const word = HAZARD_KINDS.get(kind)?.reachesHost;
  return word !== undefined && TESTS[word](argument);
}
