import type { Indicator } from '../indicator.js';
import { reject, type Run, type Where } from './run.js';
import { epochSeconds } from './times.js';
import { confidenceOf, indicatorsOf, portNumber, threatName, type ValueKind } from './values.js';

/** What a column or key says about an entry, besides its values. */
export type Role = 'type' | 'status' | 'port' | 'firstSeen' | 'lastSeen' | 'confidence' | 'threat';

/** A column or key that holds values. */
export interface ValueField {
  readonly names: readonly string[];
  /** `typed`: by the field with role `type`. */
  readonly kind: ValueKind | 'typed';
}

/** How the entries of a feed read, whether it comes as CSV or as JSON. Names are lower-case; the first one there counts. */
export interface Shape {
  /**
   * The first one that is filled is taken, and every hash. An address beside a domain or URL is where that one lived at
   * some time, often a shared host: it is not taken.
   */
  readonly values: readonly ValueField[];
  readonly roles: Readonly<Partial<Record<Role, readonly string[]>>>;
  /** Roles that the feed always states: a text without them is another version of it, or no such feed. */
  readonly needs: readonly Role[];
  /** Value of the status field of entries to take; others are left out. */
  readonly status?: string;
}

/** What a feed of this shape has to name and this one does not: for each, the names it could have. */
export function missingFrom(shape: Shape, has: (name: string) => boolean): string[] {
  const values = shape.values.flatMap(({ names }) => names);
  const needed = shape.needs.map((role) => shape.roles[role] ?? []);
  return [values, ...needed]
    .filter((names) => !names.some(has))
    .map((names) => names.slice(0, 3).join(' or '));
}

/** A column or key as shapes name it: `IP Address`, `ip_address` and `ip-address` are one. */
export function fieldName(text: string): string {
  return text.toLowerCase().replace(/[\s_.-]+/g, '_');
}

/** The fields of one entry; empty text where there is none. */
export type Fields = (names: readonly string[]) => string;

/** The indicators of one entry. */
export function* readFields(shape: Shape, fields: Fields, run: Run, where: Where): Generator<Indicator> {
  const role = (name: Role): string => filled(fields(shape.roles[name] ?? []));
  if (shape.status !== undefined && role('status').toLowerCase() !== shape.status) {
    run.skipped++;
    return;
  }
  const context = {
    confidence: confidenceOf(role('confidence')),
    firstSeen: epochSeconds(role('firstSeen')),
    lastSeen: epochSeconds(role('lastSeen')),
    threat: threatName(role('threat')),
    port: portNumber(role('port')),
  };
  let named = false;
  let any = false;
  for (const { names, kind } of shape.values) {
    if (named && kind !== 'hash') continue;
    const text = filled(fields(names));
    if (text === '') continue;
    any = true;
    named ||= kind !== 'hash';
    const known = kind === 'typed' ? typeNamed(role('type')) : kind;
    if (known === undefined) run.skipped++;
    else yield* indicatorsOf(known, text, context, run, where);
  }
  if (!any) reject(run, where, 'the entry holds no value');
}

/** Empty where feeds write that they know nothing. */
function filled(text: string): string {
  return /^(?:none|null|n\/a|-)$/i.test(text) ? '' : text;
}

/** The kind of value that a feed calls so; undefined for what is no indicator here, such as `imphash` or `email`. */
export function typeNamed(name: string): ValueKind | undefined {
  return name === '' ? 'any' : TYPES.get(name.toLowerCase().replaceAll('_', '-'));
}

// INVARIANT: names that only look like a hash (imphash, ja3, authentihash) are not here: they say nothing about a file's bytes.
const TYPES: ReadonlyMap<string, ValueKind> = new Map(
  Object.entries({
    address: [
      'ip',
      'ipv4',
      'ipv6',
      'ip-address',
      'ipv4-addr',
      'ipv6-addr',
      'ip:port',
      'ip-dst',
      'cidr',
      'netblock',
    ],
    domain: ['domain', 'domain-name', 'hostname', 'host', 'fqdn', 'domain:port'],
    url: ['url', 'uri'],
    // ThreatFox names the algorithm, at times the wrong one: the length decides.
    hash: ['hash', 'file-hash', 'filehash', ...['md5', 'sha1', 'sha256', 'sha512'].flatMap(spellings)],
  }).flatMap(([kind, names]) => names.map((name) => [name, kind as ValueKind] as const)),
);

function spellings(algorithm: string): string[] {
  return [algorithm, algorithm.replace('sha', 'sha-'), `${algorithm}-hash`, `filehash-${algorithm}`];
}
