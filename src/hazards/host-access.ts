import type { Hazard } from './inspection.js';

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
  // What is not clearly a path is a hazard because it may be any.
  return !path.startsWith('/') || SYSTEM.test(path) || ABOVE.test(path) || SECRETS.test(path);
}

const always = (): boolean => true;

/** Hazards of a container by which it can act on its host: by kind, and for some by argument. */
const HOST_ACCESS: Readonly<Record<string, (argument: string) => boolean>> = {
  privileged: always,
  'docker-socket': always,
  'host-namespace': always,
  'device-rule': always,
  device: always,
  bind: isSystemPath,
  'bind-propagation': always,
  capability: (name) => ESCAPES.has(name),
  'security-opt': always,
  'masked-paths': always,
  'readonly-paths': always,
  'cgroup-parent': always,
  runtime: always,
  annotation: always,
  // With the local driver these mount a directory or a disk of the host.
  'volume-option': (option) => /^(?:o=(?:.*,)?r?bind(?:,|$)|device=\/(?!\/))/i.test(option),
  'unknown-field': always,
};

export function reachesHost({ kind, argument }: Hazard): boolean {
  return Object.hasOwn(HOST_ACCESS, kind) && HOST_ACCESS[kind]!(argument);
}
