import type { SceneName } from './siem-scenes.js';

/** Each detection that is shipped (Sigma, Splunk) with the scenes in which it fires; in all others it is quiet. */
export const DETECTIONS: Readonly<Record<string, readonly SceneName[]>> = {
  'build-untrusted-source': ['build by nobody'],
  'build-remote-context': ['build from a remote context'],
  'build-download': ['build with a download', 'build with an add', 'indicator in a command'],
  'sequence-build-and-run': ['sequence:build-and-run', 'sequence:build-and-run that only alerts'],
  'sequence-probing': ['sequence:probing', 'sequence:probing that only alerts'],
  'sequence-pull-and-escape': ['sequence:pull-and-escape', 'sequence:pull-and-escape that only alerts'],
  'sequence-exec-spread': ['sequence:exec-spread', 'sequence:exec-spread that only alerts'],
  'indicator-call': ['indicator in a command', 'indicator that only alerts'],
  'indicator-outbound': ['outbound attempt', 'outbound sweep'],
  'outbound-refused': ['outbound to what is not listed'],
  'create-privileged': ['privileged', 'privileged exec'],
  'mount-docker-socket': ['socket mount'],
  'journal-tampered': [
    'journal tampered with',
    'undelivered records removed',
    'journal recovered, records lost',
  ],
  'audit-failed': [
    'journal recovered, nothing lost',
    'journal recovered, records lost',
    'alert of a trail that fails',
  ],
  alert: [
    'alert of denials',
    'alert of many addresses',
    'alert of unreadable requests',
    'alert of an indicator',
    'alert of a sequence',
    'alert of outbound attempts',
    'alert of a trail that fails',
  ],
};
