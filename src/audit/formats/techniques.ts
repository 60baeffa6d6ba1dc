/**
 * Attacks in several calls, by the argument of the hazard `sequence`: in words, and the MITRE ATT&CK techniques (ids with blanks
 * between) that the calls together are put down to.
 */
export const SEQUENCES: Readonly<Record<string, { readonly title: string; readonly attack: string }>> = {
  'build-and-run': { title: 'Image built on the host and run', attack: 'T1612 T1610' },
  'pull-and-escape': { title: 'New image pulled and run with access to the host', attack: 'T1610 T1611' },
  'exec-spread': { title: 'Commands run in many containers', attack: 'T1609' },
  probing: { title: 'Docker API probed', attack: 'T1046 T1613' },
};

/** Names of the MITRE ATT&CK techniques that hazards and events are put down to. */
export const TECHNIQUES: Readonly<Record<string, string>> = {
  T1046: 'Network Service Discovery',
  T1071: 'Application Layer Protocol',
  T1105: 'Ingress Tool Transfer',
  T1110: 'Brute Force',
  T1133: 'External Remote Services',
  T1496: 'Resource Hijacking',
  T1499: 'Endpoint Denial of Service',
  T1525: 'Implant Internal Image',
  'T1543.005': 'Container Service',
  T1552: 'Unsecured Credentials',
  'T1552.007': 'Container API',
  'T1562.001': 'Disable or Modify Tools',
  T1609: 'Container Administration Command',
  T1610: 'Deploy Container',
  T1611: 'Escape to Host',
  T1612: 'Build Image on Host',
  T1613: 'Container and Resource Discovery',
};
