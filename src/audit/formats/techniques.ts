/** Attacks in several calls in words, by the argument of the hazard `sequence`. */
export const SEQUENCE_TITLES: Readonly<Record<string, string>> = {
  'build-and-run': 'Image built on the host and run',
  'pull-and-escape': 'New image pulled and run with access to the host',
  'exec-spread': 'Commands run in many containers',
  probing: 'Docker API probed',
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
