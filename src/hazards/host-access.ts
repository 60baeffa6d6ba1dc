import { HAZARD_KINDS, type HazardKind } from './catalogue.js';
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
