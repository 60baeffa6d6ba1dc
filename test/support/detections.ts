import type { SceneName } from './siem-scenes.js';

/** Each detection that is shipped (Sigma, Splunk) with the scenes in which it fires; in all others it is quiet. */
export const DETECTIONS: Readonly<Record<string, readonly SceneName[]>> = {
  'build-untrusted-source': ['build by nobody'],
  'build-remote-context': ['build from a remote context'],
  'build-download': ['build with a download', 'build with an add', 'indicator in a command'],
  'sequence-build-and-run': ['sequence:build-and-run'],
  'sequence-probing': ['sequence:probing'],
  'sequence-pull-and-escape': ['sequence:pull-and-escape'],
  'sequence-exec-spread': ['sequence:exec-spread'],
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
  'audit-failed': ['journal recovered, nothing lost', 'journal recovered, records lost'],
  alert: ['alert'],
};
