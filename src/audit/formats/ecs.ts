import { asString } from '../../base/json.js';
import { address, number, type Summary } from './summary.js';

/** Elastic Common Schema 8.17: one document for each record; what ECS has no field for stands below `breakwater`. */
const VERSION = '8.17.0';

const CATEGORIES: Readonly<Record<Summary['kind'], readonly string[]>> = {
  decision: ['api'],
  outcome: ['api'],
  egress: ['network', 'intrusion_detection'],
  alert: ['intrusion_detection'],
  other: ['configuration'],
};

export function toEcs(summary: Summary, version: string): object {
  const { kind, event, destination, container, indicators, sequences } = summary;
  const denied = (summary.verdict === 'deny' && event['enforced'] !== false) || event['action'] === 'blocked';
  const status = number(event['status']);
  const failed = denied || (kind === 'outcome' && (status === 0 || status >= 400));
  return prune({
    '@timestamp': new Date(summary.time).toISOString(),
    ecs: { version: VERSION },
    message: summary.message,
    tags: tagsOf(summary),
    event: {
      id: summary.id,
      sequence: summary.seq || undefined,
      kind: kind === 'alert' || indicators.length + sequences.length > 0 ? 'alert' : 'event',
      category: CATEGORIES[kind],
      type: typesOf(summary, denied),
      outcome: failed ? 'failure' : 'success',
      action: summary.operation || asString(event['event']),
      code: summary.code,
      reason: summary.reason,
      severity: summary.severity,
      dataset: 'breakwater.audit',
      module: 'breakwater',
      ...(kind === 'outcome' ? { duration: Math.round(number(event['duration']) * 1e6) } : {}),
      start: date(event['first']),
      end: date(event['last']),
    },
    observer: { vendor: 'Breakwater', product: 'Breakwater', type: 'proxy', version },
    rule: {
      id: summary.rule,
      ruleset: asString(event['policy']),
      name: sequences[0]?.name,
      category: sequences.length === 0 ? '' : 'sequence',
    },
    source: {
      ip: summary.address,
      port: summary.port,
      ...(kind === 'outcome' ? { bytes: number(event['bytesIn']) } : {}),
    },
    destination: {
      ip: destination.address,
      domain: destination.name,
      port: destination.port,
      ...(kind === 'outcome' ? { bytes: number(event['bytesOut']) } : {}),
    },
    network: { transport: destination.protocol.toLowerCase() },
    user: { name: summary.user, roles: summary.sources },
    http: {
      request: { id: summary.call, method: summary.method },
      ...(kind === 'outcome' && status > 0 ? { response: { status_code: status } } : {}),
    },
    container: { id: container.id, name: container.name, image: { name: container.image || summary.image } },
    threat: {
      framework: summary.techniques.length === 0 ? '' : 'MITRE ATT&CK',
      technique: {
        ...named(summary.techniques.filter(({ id }) => !id.includes('.'))),
        subtechnique: named(summary.techniques.filter(({ id }) => id.includes('.'))),
      },
      ...(indicators[0] === undefined
        ? {}
        : {
            indicator: {
              type: INDICATOR_TYPES[indicators[0].type] ?? '',
              name: indicators[0].indicator,
              // A listed prefix is no address.
              ip: address(indicators[0].indicator),
              provider: indicators[0].feed,
              confidence: level(indicators[0].confidence),
              description: indicators[0].threat,
            },
          }),
    },
    breakwater: event,
  });
}

/** Kinds of hazards; `sequence` also where it only alerts. */
function tagsOf({ hazards, sequences }: Summary): string[] {
  const kinds = hazards.map((hazard) => hazard.split(':', 1)[0]!).filter((kind) => kind !== '');
  return [...new Set(sequences.length === 0 ? kinds : [...kinds, 'sequence'])];
}

const named = (techniques: Summary['techniques']): object => ({
  id: techniques.map(({ id }) => id),
  name: techniques.map(({ name }) => name),
});

/** One of the types that ECS expects for each of the record's categories. */
function typesOf({ kind, event, verdict }: Summary, denied: boolean): string[] {
  if (kind === 'egress' && event['kind'] === 'attempt') return ['connection', denied ? 'denied' : 'allowed'];
  if (denied) return ['denied'];
  if (kind === 'decision') return [verdict === 'deny' ? 'info' : 'allowed'];
  return [kind === 'outcome' ? 'end' : 'info'];
}

/** When it was first or last seen; empty for what is no time. */
function date(value: unknown): string {
  const ms = Date.parse(asString(value));
  return Number.isNaN(ms) ? '' : new Date(ms).toISOString();
}

/** Names of STIX cyber observables, as ECS has them. */
const INDICATOR_TYPES: Readonly<Record<string, string>> = {
  ipv4: 'ipv4-addr',
  ipv6: 'ipv6-addr',
  domain: 'domain-name',
  url: 'url',
  hash: 'file',
};

const level = (confidence: number): string =>
  confidence >= 70 ? 'High' : confidence >= 40 ? 'Medium' : confidence > 0 ? 'Low' : 'Not Specified';

/** Without what is empty: an address field that holds "" is refused by the mapping. */
export function prune(value: object): object {
  const members = Object.entries(value).flatMap(([key, member]: [string, unknown]): [string, unknown][] => {
    if (key === 'breakwater' || key === 'unmapped') return [[key, member]];
    if (member === '' || member === undefined || (key === 'port' && member === 0)) return [];
    if (Array.isArray(member)) {
      const items = member.map((item: unknown) =>
        typeof item === 'object' && item !== null ? prune(item) : item,
      );
      return items.length === 0 ? [] : [[key, items]];
    }
    if (typeof member !== 'object' || member === null) return [[key, member]];
    const inner = prune(member);
    return Object.keys(inner).length === 0 ? [] : [[key, inner]];
  });
  return Object.fromEntries(members);
}
