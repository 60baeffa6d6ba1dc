import { isIP } from 'node:net';

/*
 * What OCSF 1.8.0 (schema.ocsf.io) says of the classes and objects that Breakwater writes: their attributes with types, the
 * required ones, and "at least one of". An attribute that is not here is one that Breakwater should not write.
 */

type Json = Readonly<Record<string, unknown>>;

/** A scalar type, numbers that an enum lists, or the name of an object; `[]` behind it: an array of it. */
interface Shape {
  readonly attributes: Readonly<Record<string, string | readonly number[]>>;
  readonly required?: readonly string[];
  readonly oneOf?: readonly string[];
}

const SEVERITY = [0, 1, 2, 3, 4, 5, 6, 99];
const CLASS = {
  category_uid: 'integer',
  class_uid: 'integer',
  type_uid: 'integer',
  time: 'timestamp',
  severity_id: SEVERITY,
  message: 'string',
  metadata: 'metadata',
  unmapped: 'any',
} as const;
const REQUIRED = [
  'activity_id',
  'category_uid',
  'class_uid',
  'metadata',
  'severity_id',
  'time',
  'type_uid',
] as const;
const numbers = (last: number): number[] => [...Array.from({ length: last + 1 }, (_, n) => n), 99];
const named = { attributes: { name: 'string', uid: 'string' }, oneOf: ['name', 'uid'] } as const;

/** Attributes that a profile brings: without it they are not known. */
const PROFILES: Readonly<Record<string, Shape['attributes']>> = {
  security_control: {
    action_id: numbers(4),
    disposition_id: numbers(27),
    firewall_rule: 'firewall_rule',
    attacks: 'attack[]',
  },
  osint: { osint: 'osint[]' },
};

const CLASSES: Readonly<Record<number, Shape & { readonly profiles: readonly string[] }>> = {
  0: { attributes: { ...CLASS, activity_id: [0, 99] }, required: REQUIRED, profiles: [] },
  6003: {
    attributes: {
      ...CLASS,
      activity_id: numbers(4),
      status_id: [0, 1, 2, 99],
      status_code: 'string',
      actor: 'actor',
      api: 'api',
      http_request: 'http_request',
      http_response: 'http_response',
      src_endpoint: 'endpoint',
      resources: 'resource[]',
    },
    required: [...REQUIRED, 'actor', 'api', 'src_endpoint'],
    profiles: ['security_control', 'osint'],
  },
  4001: {
    attributes: {
      ...CLASS,
      activity_id: numbers(7),
      count: 'integer',
      start_time: 'timestamp',
      end_time: 'timestamp',
      src_endpoint: 'endpoint',
      dst_endpoint: 'endpoint',
      connection_info: 'connection',
    },
    required: REQUIRED,
    oneOf: ['src_endpoint', 'dst_endpoint'],
    // The endpoint offers the last one.
    profiles: ['security_control', 'osint', 'container'],
  },
  2004: {
    attributes: {
      ...CLASS,
      activity_id: numbers(3),
      status_id: numbers(6),
      finding_info: 'finding',
      is_alert: 'boolean',
      count: 'integer',
      start_time: 'timestamp',
      end_time: 'timestamp',
      evidences: 'evidence[]',
      resources: 'resource[]',
    },
    required: [...REQUIRED, 'finding_info'],
    profiles: ['security_control', 'osint'],
  },
};

const OBJECTS: Readonly<Record<string, Shape>> = {
  metadata: {
    attributes: {
      version: 'string',
      uid: 'string',
      sequence: 'integer',
      event_code: 'string',
      correlation_uid: 'string',
      product: 'product',
      profiles: 'string[]',
    },
    required: ['product', 'version'],
  },
  product: {
    attributes: { name: 'string', vendor_name: 'string', version: 'string' },
    oneOf: ['name', 'uid'],
  },
  firewall_rule: { attributes: { uid: 'string', version: 'string' }, oneOf: ['name', 'uid'] },
  actor: { attributes: { user: 'user', app_name: 'string' }, oneOf: ['user', 'app_name'] },
  user: { attributes: { name: 'string', groups: 'group[]' }, oneOf: ['account', 'name', 'uid'] },
  group: named,
  api: {
    attributes: { operation: 'string', version: 'string', request: 'request', service: 'service' },
    required: ['operation'],
  },
  request: { attributes: { uid: 'string' }, required: ['uid'] },
  service: named,
  http_request: { attributes: { http_method: 'method', uid: 'string' } },
  http_response: { attributes: { code: 'integer' }, required: ['code'] },
  endpoint: {
    attributes: { ip: 'ip', port: 'port', name: 'string', hostname: 'string', container: 'container' },
    oneOf: ['ip', 'name', 'hostname'],
  },
  container: { attributes: { uid: 'string', name: 'string', image: 'image' }, oneOf: ['uid', 'name'] },
  image: { attributes: { uid: 'string', name: 'string' }, required: ['uid'] },
  connection: {
    attributes: { protocol_name: 'string', direction_id: numbers(4) },
    required: ['direction_id'],
  },
  resource: { attributes: { ...named.attributes, type: 'string' }, oneOf: named.oneOf },
  attack: {
    attributes: { version: 'string', technique: 'technique', sub_technique: 'technique' },
    oneOf: ['tactic', 'technique', 'sub_technique'],
  },
  technique: named,
  finding: {
    attributes: {
      uid: 'string',
      title: 'string',
      desc: 'string',
      created_time: 'timestamp',
      attacks: 'attack[]',
      analytic: 'analytic',
      related_events: 'related[]',
      related_events_count: 'integer',
    },
    required: ['uid'],
  },
  analytic: {
    attributes: { ...named.attributes, type_id: numbers(11) },
    required: ['type_id'],
    oneOf: named.oneOf,
  },
  related: { attributes: { uid: 'string' }, required: ['uid'] },
  // A container alone does not make one.
  evidence: {
    attributes: { src_endpoint: 'endpoint', api: 'api', container: 'container' },
    oneOf: ['actor', 'api', 'connection_info', 'data', 'device', 'dst_endpoint', 'resources', 'src_endpoint'],
  },
  osint: {
    attributes: {
      type_id: numbers(14),
      value: 'string',
      vendor_name: 'string',
      confidence_id: numbers(3),
      desc: 'string',
    },
    required: ['type_id', 'value'],
  },
};

const METHODS = ['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE'];
const isWhole = (value: unknown, last: number): boolean =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= last;

const SCALARS: Readonly<Record<string, (value: unknown) => boolean>> = {
  any: () => true,
  string: (value) => typeof value === 'string' && value !== '',
  boolean: (value) => typeof value === 'boolean',
  integer: (value) => Number.isSafeInteger(value),
  timestamp: (value) => isWhole(value, 8.64e15),
  port: (value) => isWhole(value, 65_535),
  ip: (value) => typeof value === 'string' && isIP(value) > 0 && !value.includes('%'),
  method: (value) => METHODS.includes(value as string),
};

/** What is wrong with a message of OCSF, in words; empty when nothing is. */
export function problemsOf(message: Json): string[] {
  const uid = message['class_uid'] as number;
  const shape = CLASSES[uid];
  if (shape === undefined) return [`class_uid ${String(uid)} is none that Breakwater writes`];
  const problems: string[] = [];
  const { profiles = [] } = message['metadata'] as { profiles?: readonly string[] };
  for (const one of profiles) {
    if (!shape.profiles.includes(one)) problems.push(`profile ${one} is not offered`);
  }
  const brought = profiles.map((one) => PROFILES[one] ?? {});
  const attributes = Object.assign({}, shape.attributes, ...brought) as Shape['attributes'];
  const required = [...(shape.required ?? []), ...(profiles.includes('osint') ? ['osint'] : [])];
  look(message, { ...shape, attributes, required }, '', problems);
  if (message['type_uid'] !== uid * 100 + (message['activity_id'] as number)) problems.push('type_uid');
  if (message['category_uid'] !== Math.floor(uid / 1000)) problems.push('category_uid');
  const evidences = (message['evidences'] as readonly Json[] | undefined) ?? [];
  const isIn = ({ src_endpoint }: Json): boolean =>
    (src_endpoint as Json | undefined)?.['container'] !== undefined;
  if ([message, ...evidences].some(isIn) !== profiles.includes('container'))
    problems.push('profile container');
  return problems;
}

function look(value: Json, { attributes, required, oneOf }: Shape, path: string, problems: string[]): void {
  for (const name of required ?? []) {
    if (value[name] === undefined) problems.push(`${path}${name} is required`);
  }
  if (oneOf?.some((name) => value[name] !== undefined) === false) {
    problems.push(`${path} has none of ${oneOf.join(', ')}`);
  }
  for (const [name, one] of Object.entries(value)) {
    const type = attributes[name];
    const where = `${path}${name}`;
    if (type === undefined) problems.push(`${where} is no attribute`);
    else if (typeof type !== 'string') {
      if (!type.includes(one as number)) problems.push(`${where}: ${String(one)} is not listed`);
    } else if (type.endsWith('[]') !== Array.isArray(one) && type !== 'any') problems.push(`${where}: array`);
    else if (Array.isArray(one) && one.length === 0) problems.push(`${where} is empty`);
    else for (const item of [one].flat()) lookAt(item, type.replace('[]', ''), where, problems);
  }
}

function lookAt(value: unknown, type: string, where: string, problems: string[]): void {
  const scalar = SCALARS[type];
  if (scalar !== undefined) {
    if (!scalar(value)) problems.push(`${where}: ${JSON.stringify(value)} is no ${type}`);
  } else if (typeof value !== 'object' || value === null) problems.push(`${where} is no object`);
  else look(value as Json, OBJECTS[type]!, `${where}.`, problems);
}
