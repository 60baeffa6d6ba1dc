import { asString } from '../../base/json.js';
import { prune } from './ecs.js';
import {
  number,
  sequenceTechniques,
  sequenceTitle,
  type Summary,
  type SummaryIndicator,
  type SummarySequence,
  type Technique,
} from './summary.js';

/*
 * OCSF 1.8 (schema.ocsf.io): API Activity 6003 for what was decided and how it ended, Network Activity 4001 for what
 * was blocked on the wire, Detection Finding 2004 for indicators, sequences and alerts, Base Event 0 for the trail's own records.
 */

const VERSION = '1.8.0';

interface OcsfClass {
  readonly category_uid: number;
  readonly class_uid: number;
  readonly activity_id: number;
}

/** API Activity: Create 1, Read 2, Update 3, Delete 4, Other 99; by what Docker's methods do. */
const ACTIVITIES: Readonly<Record<string, number>> = { GET: 2, HEAD: 2, POST: 99, PUT: 3, DELETE: 4 };

/**
 * Empty attributes are left out: most have a type that "" is not of, and an object whose required attribute would be
 * empty is wrong as a whole.
 */
export function toOcsf(summary: Summary, version: string): object[] {
  return messages(summary, version).map((item) => prune(item));
}

function messages(summary: Summary, version: string): object[] {
  switch (summary.kind) {
    case 'decision':
    case 'outcome':
      return [apiActivity(summary, version), ...findings(summary, version)];
    case 'egress':
      if (summary.event['kind'] === 'notice') return [other(summary, version)];
      return asString(summary.event['kind']) === 'attempt'
        ? [networkActivity(summary, version), ...findings(summary, version)]
        : [finding(summary, version, summary.id, summary.indicators[0])];
    case 'alert':
      return [alert(summary, version)];
    case 'other':
      return [other(summary, version)];
  }
}

const other = (summary: Summary, version: string): object =>
  base(summary, version, { category_uid: 0, class_uid: 0, activity_id: 99 }, summary.id, []);

/** @param profiles those whose attributes the message has: `osint` requires its own. */
function base(
  summary: Summary,
  version: string,
  type: OcsfClass,
  uid: string,
  profiles: readonly ('security_control' | 'osint' | 'container')[],
): object {
  return {
    ...type,
    type_uid: type.class_uid * 100 + type.activity_id,
    time: summary.time,
    severity_id: ocsfSeverity(summary.severity),
    message: summary.message,
    metadata: {
      version: VERSION,
      uid,
      sequence: summary.seq || undefined,
      correlation_uid: summary.call,
      event_code: asString(summary.event['event']),
      product: { name: 'Breakwater', vendor_name: 'Breakwater', version },
      profiles,
    },
    unmapped: summary.event,
  };
}

/** Severity 0 to 10 as Informational 1, Low 2, Medium 3, High 4, Critical 5. */
export const ocsfSeverity = (severity: number): number => [1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5][severity] ?? 1;

function apiActivity(summary: Summary, version: string): object {
  const activity_id = /^(Container|Image|Volume|Network|Service|Secret|Config|Plugin)Create$/.test(
    summary.operation,
  )
    ? 1
    : (ACTIVITIES[summary.method] ?? 99);
  const denied = summary.verdict === 'deny' && summary.event['enforced'] !== false;
  const status = number(summary.event['status']);
  return {
    ...base(summary, version, { category_uid: 6, class_uid: 6003, activity_id }, summary.id, [
      'security_control',
    ]),
    status_id: summary.kind === 'outcome' ? (status > 0 && status < 400 ? 1 : 2) : denied ? 2 : 1,
    status_code: summary.kind === 'outcome' ? String(status) : summary.code,
    // security_control: Allowed 1, Denied 2, Observed 3; dispositions Allowed 1, Blocked 2, Logged 17.
    ...(summary.kind === 'outcome'
      ? {}
      : {
          action_id: denied ? 2 : summary.verdict === 'deny' ? 3 : 1,
          disposition_id: denied ? 2 : summary.verdict === 'deny' ? 17 : 1,
          // A rule has to have a name: a denial for want of one has no rule.
          firewall_rule:
            summary.rule === '' ? {} : { uid: summary.rule, version: asString(summary.event['policy']) },
        }),
    actor: {
      user: {
        name: summary.user || summary.sources[0],
        groups: summary.sources.map((name) => ({ name })),
      },
      // OCSF requires an actor, also where the client is not known.
      app_name: summary.listener || 'Docker client',
    },
    api: {
      operation: summary.operation || 'unknown',
      version: asString(summary.event['apiVersion']),
      request: { uid: summary.call },
      service: { name: 'Docker Engine API' },
    },
    http_request: {
      http_method: METHODS.has(summary.method) ? summary.method : '',
      uid: summary.call,
    },
    ...(summary.kind === 'outcome' && status > 0 ? { http_response: { code: status } } : {}),
    src_endpoint: { ip: summary.address, port: summary.port, name: summary.listener || 'unknown' },
    resources: summary.image === '' ? [] : [{ name: summary.image, type: 'image' }],
    attacks: attacks(summary.techniques),
  };
}

/** The methods that OCSF lists. */
const METHODS = new Set(['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE']);

function networkActivity(summary: Summary, version: string): object {
  const blocked = summary.event['action'] === 'blocked';
  // Refuse 5, Traffic 6.
  const type = { category_uid: 4, class_uid: 4001, activity_id: blocked ? 5 : 6 };
  const { container, destination } = summary;
  return {
    ...base(summary, version, type, summary.id, [
      'security_control',
      ...(container.id + container.name === '' ? [] : (['container'] as const)),
      ...(summary.indicators.length === 0 ? [] : (['osint'] as const)),
    ]),
    action_id: blocked ? 2 : 3,
    disposition_id: blocked ? 2 : 17,
    count: summary.count,
    start_time: Date.parse(asString(summary.event['first'])) || summary.time,
    end_time: Date.parse(asString(summary.event['last'])) || summary.time,
    src_endpoint: {
      ip: summary.address,
      name: container.name || 'host',
      container: containerOf(summary),
    },
    // A port alone is no endpoint.
    dst_endpoint:
      destination.address + destination.name === ''
        ? {}
        : { ip: destination.address, hostname: destination.name, port: destination.port },
    connection_info: { protocol_name: destination.protocol, direction_id: 2 },
    osint: summary.indicators.map(osint),
    attacks: attacks(summary.techniques),
  };
}

/** One finding for each indicator, then one for each sequence; their ids follow from the record's. */
function findings(summary: Summary, version: string): object[] {
  const { id, indicators, sequences } = summary;
  return [
    ...indicators.map((item, index) => finding(summary, version, `${id}.f${index + 1}`, item)),
    ...sequences.map((item, index) =>
      sequenceFinding(summary, version, `${id}.f${indicators.length + index + 1}`, item),
    ),
  ];
}

/** What the calls together are, with the decisions on them as related events. */
function sequenceFinding(summary: Summary, version: string, uid: string, sequence: SummarySequence): object {
  const { name, calls, since } = sequence;
  const made = finding(summary, version, uid, undefined);
  // The id of a decision is that of its call with `.d`; the last step is the record itself.
  const related = new Set([...calls.map((call) => `${call}.d`), summary.id].filter((id) => id !== ''));
  return {
    ...made,
    start_time: since === 0 ? undefined : since,
    end_time: summary.time,
    finding_info: {
      ...made.finding_info,
      title: sequenceTitle(name),
      attacks: attacks(sequenceTechniques(name)),
      // Rule 1.
      analytic: { uid: `sequence:${name}`, name, type_id: 1 },
      related_events: [...related].map((id) => ({ uid: id })),
      related_events_count: related.size,
    },
    evidences: evidencesOf(summary),
  };
}

/** One finding for all that is summed up, with the client as its evidence. */
const alert = (summary: Summary, version: string): object => ({
  ...finding(summary, version, summary.id, summary.indicators[0]),
  count: summary.count,
  start_time: Date.parse(asString(summary.event['first'])) || summary.time,
  end_time: Date.parse(asString(summary.event['last'])) || summary.time,
  osint: summary.indicators.map(osint),
  evidences: evidencesOf(summary),
});

/** Who it was, and with what call: an evidence has to have one of both, a container alone is none. */
function evidencesOf(summary: Summary): object[] {
  const { address, port, listener, operation, container } = summary;
  const name = listener || container.name;
  if (address === '' && name === '' && operation === '') return [];
  return [
    {
      src_endpoint: address === '' && name === '' ? {} : { ip: address, port, name },
      api: operation === '' ? {} : { operation },
      container: containerOf(summary),
    },
  ];
}

function finding(
  summary: Summary,
  version: string,
  uid: string,
  indicator: SummaryIndicator | undefined,
): Readonly<Record<string, unknown>> & { readonly finding_info: object } {
  const denied =
    (summary.verdict === 'deny' && summary.event['enforced'] !== false) ||
    summary.event['action'] === 'blocked';
  return {
    ...base(summary, version, { category_uid: 2, class_uid: 2004, activity_id: 1 }, uid, [
      'security_control',
      ...(indicator === undefined ? [] : (['osint'] as const)),
    ]),
    finding_info: {
      // Required, also of a record that has no id.
      uid: uid || 'unknown',
      title:
        indicator === undefined
          ? summary.name
          : `${summary.name}: listed ${indicator.type} ${indicator.indicator}`,
      desc: summary.message,
      created_time: summary.time,
      attacks: attacks(summary.techniques),
    },
    status_id: 1,
    action_id: denied ? 2 : 3,
    disposition_id: denied ? 2 : 17,
    is_alert: true,
    resources: resourcesOf(summary),
    osint: indicator === undefined ? [] : [osint(indicator)],
  };
}

/** A container has an id or a name, an image an id: where it is not known, the reference is what identifies it. */
function containerOf({ container: { id, name, image } }: Summary): object {
  if (id === '' && name === '') return {};
  return { uid: id, name, image: image === '' ? {} : { uid: image, name: image } };
}

function resourcesOf({ container: { id, name }, image }: Summary): object[] {
  if (id !== '' || name !== '') return [{ uid: id, name, type: 'container' }];
  return image === '' ? [] : [{ name: image, type: 'image' }];
}

/** Types of the osint object: IP Address 1, Domain 2, Hash 4, URL 5, Other 99. */
const OSINT: Readonly<Record<string, number>> = { ipv4: 1, ipv6: 1, domain: 2, hash: 4, url: 5 };

const osint = (indicator: SummaryIndicator): object => ({
  type_id: OSINT[indicator.type] ?? 99,
  value: indicator.indicator,
  vendor_name: indicator.feed,
  confidence_id: indicator.confidence >= 67 ? 3 : indicator.confidence >= 34 ? 2 : 1,
  desc: indicator.threat,
});

const attacks = (techniques: readonly Technique[]): object[] =>
  techniques.map(({ id, name }) => ({
    version: '16',
    // T1543.005 is the fifth sub-technique of T1543.
    ...(id.includes('.')
      ? { technique: { uid: id.split('.', 1)[0] }, sub_technique: { uid: id, name } }
      : { technique: { uid: id, name } }),
  }));
