/*
 * The fields of the Elastic Common Schema 8.17 that Breakwater writes, from its published field reference: type, whether it
 * is normalised to an array, and the values it lists.
 */

export type EcsType = 'keyword' | 'match_only_text' | 'long' | 'ip' | 'date';

export interface EcsField {
  readonly type: EcsType;
  readonly array: boolean;
  readonly values?: readonly string[];
}

const one = (type: EcsType, values?: readonly string[]): EcsField => ({
  type,
  array: false,
  ...(values && { values }),
});
const many = (type: EcsType, values?: readonly string[]): EcsField => ({ ...one(type, values), array: true });

const TYPES = {
  api: 'access admin allowed change creation deletion denied end info start user'.split(' '),
  configuration: 'access change creation deletion info'.split(' '),
  intrusion_detection: 'allowed denied info'.split(' '),
  network: 'access allowed connection denied end info protocol start'.split(' '),
} as const;

const FIELDS: Readonly<Record<string, EcsField>> = {
  '@timestamp': one('date'),
  message: one('match_only_text'),
  tags: many('keyword'),
  'container.id': one('keyword'),
  'container.image.name': one('keyword'),
  'container.name': one('keyword'),
  'destination.bytes': one('long'),
  'destination.domain': one('keyword'),
  'destination.ip': one('ip'),
  'destination.port': one('long'),
  'ecs.version': one('keyword', ['8.17.0']),
  'event.action': one('keyword'),
  'event.category': many('keyword', Object.keys(TYPES)),
  'event.code': one('keyword'),
  'event.dataset': one('keyword'),
  'event.duration': one('long'),
  'event.end': one('date'),
  'event.id': one('keyword'),
  'event.ingested': one('date'),
  'event.kind': one('keyword', [
    'alert',
    'asset',
    'enrichment',
    'event',
    'metric',
    'state',
    'pipeline_error',
    'signal',
  ]),
  'event.module': one('keyword'),
  'event.outcome': one('keyword', ['failure', 'success', 'unknown']),
  'event.reason': one('keyword'),
  'event.sequence': one('long'),
  'event.severity': one('long'),
  'event.start': one('date'),
  'event.type': many('keyword'),
  'http.request.id': one('keyword'),
  'http.request.method': one('keyword'),
  'http.response.status_code': one('long'),
  'network.transport': one('keyword'),
  'observer.product': one('keyword'),
  'observer.type': one('keyword'),
  'observer.vendor': one('keyword'),
  'observer.version': one('keyword'),
  'related.hosts': many('keyword'),
  'related.ip': many('ip'),
  'related.user': many('keyword'),
  'rule.category': one('keyword'),
  'rule.id': one('keyword'),
  'rule.name': one('keyword'),
  'rule.ruleset': one('keyword'),
  'source.bytes': one('long'),
  'source.ip': one('ip'),
  'source.port': one('long'),
  'threat.framework': one('keyword'),
  'threat.indicator.confidence': one('keyword', ['Not Specified', 'None', 'Low', 'Medium', 'High']),
  'threat.indicator.description': one('keyword'),
  'threat.indicator.ip': one('ip'),
  'threat.indicator.name': one('keyword'),
  'threat.indicator.provider': one('keyword'),
  'threat.indicator.type': one('keyword', [
    'autonomous-system',
    'artifact',
    'directory',
    'domain-name',
    'email-addr',
    'file',
    'ipv4-addr',
    'ipv6-addr',
    'mac-addr',
    'mutex',
    'port',
    'process',
    'software',
    'url',
    'user-account',
    'windows-registry-key',
    'x509-certificate',
  ]),
  'threat.technique.id': many('keyword'),
  'threat.technique.name': many('keyword'),
  'threat.technique.subtechnique.id': many('keyword'),
  'threat.technique.subtechnique.name': many('keyword'),
  'user.name': one('keyword'),
  'user.roles': many('keyword'),
};

export const ECS: {
  readonly fields: Readonly<Record<string, EcsField>>;
  /** Values of event.type that each category expects. */
  readonly types: Readonly<Record<string, readonly string[]>>;
} = { fields: FIELDS, types: TYPES };
