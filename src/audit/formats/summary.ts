import { asArray, asObject, asString } from '../../base/json.js';
import { isIP } from 'node:net';
import { HAZARD_KINDS } from '../../hazards/catalogue.js';
import { TECHNIQUES } from './techniques.js';

/** One record of the audit trail, decoded. What it holds is not to be trusted: it may come from a file. */
export type TrailEvent = Readonly<Record<string, unknown>>;

/** An indicator that a record speaks of. */
export interface SummaryIndicator {
  readonly indicator: string;
  readonly type: string;
  readonly feed: string;
  readonly confidence: number;
  readonly threat: string;
  readonly where: string;
  readonly value: string;
}

/** An attack in several calls that a decision completes. */
export interface SummarySequence {
  /** `build-and-run` */
  readonly name: string;
  /** Ids of the calls that led to it, oldest first. */
  readonly calls: readonly string[];
  /** When the first of them was, milliseconds since 1970; 0 when it is not said. */
  readonly since: number;
}

export interface Technique {
  /** `T1610` */
  readonly id: string;
  readonly name: string;
}

/** What is common to all formats: one reading of a record, which each of them renders. */
export interface Summary {
  readonly event: TrailEvent;
  /** Stable: the same record has the same id whenever it is sent. */
  readonly id: string;
  readonly seq: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly kind: 'decision' | 'outcome' | 'egress' | 'alert' | 'other';
  /** Short and the same for all records of one sort: `ContainerCreate denied`. */
  readonly name: string;
  /** A sentence for people. */
  readonly message: string;
  /** 0 (nothing) to 10 (act now). */
  readonly severity: number;
  readonly verdict: 'allow' | 'deny' | '';
  readonly call: string;
  readonly operation: string;
  readonly method: string;
  readonly sources: readonly string[];
  /** An IP address without a zone, or empty: typed fields of a SIEM refuse a document for anything else. */
  readonly address: string;
  readonly port: number;
  readonly listener: string;
  /** First name of the client's certificate. */
  readonly user: string;
  readonly hazards: readonly string[];
  /** Also those that only alert, which are in no hazard. */
  readonly sequences: readonly SummarySequence[];
  readonly techniques: readonly Technique[];
  readonly indicators: readonly SummaryIndicator[];
  readonly rule: string;
  readonly code: string;
  readonly reason: string;
  readonly image: string;
  readonly container: { readonly id: string; readonly name: string; readonly image: string };
  readonly destination: {
    /** An IP address or empty. */
    readonly address: string;
    readonly name: string;
    readonly port: number;
    readonly protocol: string;
  };
  readonly count: number;
}

/** Reads a record; what is missing or of another type is empty. */
export function summarize(event: TrailEvent): Summary {
  const client = asObject(event['client']);
  const container = asObject(event['container']);
  const facts = asObject(event['facts']);
  const hazards = texts(event['hazards']);
  const base: Omit<Summary, 'name' | 'message' | 'severity' | 'techniques'> = {
    event,
    id: asString(event['id']),
    seq: whole(event['seq'], Number.MAX_SAFE_INTEGER),
    time: time(event['time']),
    kind: KNOWN.find((kind) => kind === event['event']) ?? 'other',
    verdict: event['verdict'] === 'allow' || event['verdict'] === 'deny' ? event['verdict'] : '',
    call: asString(event['call']),
    operation: asString(event['operation']),
    method: asString(event['method']),
    sources: texts(event['sources']),
    address: address(client['address']) || address(event['address']),
    port: port(client['port']),
    listener: asString(client['listener']),
    user: texts(client['certificate'])[0] ?? '',
    hazards,
    sequences: sequencesOf(event),
    indicators: indicatorsOf(event),
    rule: asString(event['rule']),
    code: asString(event['code']),
    reason: asString(event['reason']),
    image: asString(facts['image']) || asString(container['image']),
    container: {
      id: asString(container['id']),
      name: asString(container['name']),
      image: asString(container['image']),
    },
    destination: {
      address: address(event['destination']),
      name:
        asString(event['name']) ||
        (address(event['destination']) === '' ? asString(event['destination']) : ''),
      port: port(event['port']),
      protocol: /^[A-Za-z0-9-]{1,31}$/.test(asString(event['protocol'])) ? asString(event['protocol']) : '',
    },
    count: whole(event['count'], 2 ** 31 - 1) || 1,
  };
  const words = WORDS[base.kind](base);
  return { ...base, ...words, message: words.message || words.name, techniques: techniquesOf(base) };
}

const KNOWN = ['decision', 'outcome', 'egress', 'alert'] as const;

type Base = Omit<Summary, 'name' | 'message' | 'severity' | 'techniques'>;
type Words = Pick<Summary, 'name' | 'message' | 'severity'>;

const WORDS: Readonly<Record<Summary['kind'], (base: Base) => Words>> = {
  decision(base) {
    const what = base.operation || 'unreadable request';
    const by = base.sources.join(', ') || base.address || base.listener || 'an unknown client';
    const isAttack = base.indicators.length + base.sequences.length > 0;
    const sequences = base.sequences.map(({ name }) => name).join(', ');
    const also = sequences === '' ? '' : `; completes ${sequences}`;
    if (base.verdict === 'allow') {
      const severity = isAttack ? 6 : base.hazards.length > 0 ? 3 : 1;
      const message = `${what} by ${by} allowed by rule ${base.rule}${also}`;
      return { name: `${what} allowed`, message, severity };
    }
    const severity = isAttack ? 9 : base.hazards.length > 0 ? 7 : 5;
    // In observe mode the call went through: a rule that counts what was stopped must not count it.
    const end = base.event['enforced'] === false ? 'observed' : 'denied';
    const verdict = end === 'denied' ? end : 'would have been denied';
    return {
      name: `${what} ${end}`,
      message: `${what} by ${by} ${verdict}: ${base.reason}${also}`,
      severity,
    };
  },
  outcome(base) {
    const status = number(base.event['status']);
    const end = asString(base.event['end']);
    const message = `${base.operation || 'request'} ended: ${end}, status ${status}`;
    return { name: `${base.operation || 'request'} ended`, message, severity: status >= 500 ? 4 : 1 };
  },
  egress(base) {
    const { destination, container, address, count, event } = base;
    const to = `${destination.name || destination.address} port ${destination.port}`;
    const from = container.name === '' ? address || 'the host' : `container ${container.name}`;
    const kind = asString(event['kind']);
    const message = asString(event['message']);
    if (kind === 'notice') return { name: 'Outbound notice', message, severity: 4 };
    if (kind === 'response') {
      return {
        name: 'Container dealt with',
        message: `${asString(event['action'])} of ${from}: ${message}`,
        severity: 8,
      };
    }
    if (kind === 'sweep') {
      return {
        name: 'Earlier contact to a listed host',
        message: `${from} was in contact with ${to}`,
        severity: 9,
      };
    }
    const blocked = event['action'] === 'blocked';
    const name = blocked ? 'Outbound connection blocked' : 'Outbound connection to a listed host';
    return { name, message: `${from} tried to reach ${to}, ${count} times`, severity: blocked ? 8 : 9 };
  },
  alert(base) {
    const [name, severity] = ALERTS.get(asString(base.event['kind'])) ?? ['Alert', 7];
    return { name, message: asString(base.event['message']), severity };
  },
  other(base) {
    const event = asString(base.event['event']) || 'record';
    const name = `Audit ${event}`;
    if (event !== 'journal') return { name, message: name, severity: 0 };
    const kind = asString(base.event['kind']);
    const { text, severity } = JOURNAL[kind]?.(base.event) ?? { text: '', severity: 5 };
    return { name, message: [name, kind, text].filter((part) => part !== '').join(': '), severity };
  },
};

/**
 * Events of the journal itself, by `kind`. Removing old records is normal; records that were removed undelivered, or a file
 * that was changed, may be an attacker hiding traces.
 */
const JOURNAL: Readonly<
  Record<string, (event: TrailEvent) => { readonly text: string; readonly severity: number }>
> = {
  repaired(event) {
    const damage = asString(event['damage']);
    const text = `${number(event['torn'])} bytes of a torn record were cut off`;
    return damage === '' ? { text, severity: 5 } : { text: `${text}; ${damage}`, severity: 9 };
  },
  recovered(event) {
    const lost = number(event['lost']);
    const text = `${number(event['late'])} records were written late, ${lost} are lost`;
    return { text, severity: lost > 0 ? 8 : 5 };
  },
  removed(event) {
    const undelivered = number(event['undelivered']);
    const text = `records up to number ${number(event['upTo'])} were removed, ${undelivered} of them undelivered`;
    return { text, severity: undelivered > 0 ? 8 : 2 };
  },
};

/** Name and severity of alerts by what they are about. */
const ALERTS: ReadonlyMap<string, readonly [name: string, severity: number]> = new Map([
  ['denied', ['Many calls denied', 7]],
  ['unreadable', ['Many unreadable requests', 6]],
  ['indicator', ['Listed indicator in calls', 9]],
  ['sequence', ['Attack sequence', 9]],
  ['egress', ['Outbound traffic to listed or forbidden hosts', 9]],
  ['audit', ['Audit trail failed', 9]],
]);

/** What the hazards let an attacker do, as ATT&CK techniques; contact to a listed destination counts as command and control. */
function techniquesOf({ hazards, sequences, indicators, kind, event }: Base): Technique[] {
  const ids = new Set<string>();
  const all = [...hazards, ...sequences.map(({ name }) => `sequence:${name}`)];
  for (const hazard of all) for (const id of attackOf(hazard)) ids.add(id);
  const isOutbound = kind === 'egress' || (kind === 'alert' && event['kind'] === 'egress');
  if (isOutbound && indicators.length > 0) ids.add('T1071');
  return [...ids].map(techniqueOf);
}

const techniqueOf = (id: string): Technique => ({ id, name: TECHNIQUES[id] ?? id });

/** Techniques of a hazard's kind, and of its argument where the catalogue has more. */
function attackOf(hazard: string): string[] {
  const [name = ''] = hazard.split(':', 1);
  const { attack = '', attackBy = {} } = HAZARD_KINDS.get(name) ?? {};
  const argument = hazard.slice(name.length + 1);
  const own = Object.hasOwn(attackBy, argument) ? attackBy[argument]! : '';
  return `${attack} ${own}`.split(' ').filter((id) => id !== '');
}

/** An attack in several calls, in words. */
export function sequenceTitle(name: string): string {
  const titles = HAZARD_KINDS.get('sequence')?.titleBy ?? {};
  return Object.hasOwn(titles, name) ? titles[name]! : `Sequence ${name}`;
}

/** Of one sequence alone. */
export const sequenceTechniques = (name: string): Technique[] =>
  attackOf(`sequence:${name}`).map(techniqueOf);

function sequencesOf(event: TrailEvent): SummarySequence[] {
  const list = asArray(event['sequences']).map((item) => asObject(item));
  return list
    .map((item) => ({
      name: asString(item['sequence']),
      calls: texts(item['calls']),
      since: time(item['since']),
    }))
    .filter(({ name }) => name !== '');
}

function indicatorsOf(event: TrailEvent): SummaryIndicator[] {
  const list = asArray(event['indicators']).map((item) => asObject(item));
  return [...list, event]
    .filter((item) => asString(item['indicator']) !== '')
    .map((item) => ({
      indicator: asString(item['indicator']),
      type: asString(item['type']),
      feed: asString(item['feed']),
      confidence: number(item['confidence']),
      threat: asString(item['threat']),
      where: asString(item['where']),
      value: asString(item['value']),
    }));
}

const texts = (value: unknown): string[] =>
  asArray(value)
    .map(asString)
    .filter((item) => item !== '');
export const number = (value: unknown): number =>
  typeof value === 'number' && Number.isFinite(value) ? value : 0;

/** A whole number from 0 to `most`; 0 for anything else: receivers refuse a message for a number that a field cannot hold. */
const whole = (value: unknown, most: number): number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most ? (value as number) : 0;
const port = (value: unknown): number => whole(value, 65_535);

/** An address without its zone; empty for anything else. */
export function address(value: unknown): string {
  const bare = asString(value).split('%', 1)[0]!;
  return isIP(bare) === 0 ? '' : bare;
}

function time(value: unknown): number {
  const ms = Date.parse(asString(value));
  return Number.isNaN(ms) ? 0 : ms;
}
