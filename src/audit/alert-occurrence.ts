import type { Client } from '../docker/call.js';
import { clientNetwork } from '../base/address.js';
import { durationInWords } from '../base/units.js';
import type { IndicatorMatch } from '../intel/indicator.js';
import type { AlertClient, AlertEvent, AlertKind } from './alert-event.js';
import type { EgressContainer, EgressEvent } from './egress-event.js';
import type { AuditEvent, DecisionEvent } from './event.js';

/** One event, as far as alerts count it. */
export interface Occurrence {
  readonly kind: AlertKind;
  readonly action: AlertEvent['action'];
  readonly code: string;
  /** What it is counted by: an address, a /64, a listener or a container. */
  readonly who: string;
  readonly client: AlertClient | undefined;
  readonly container: EgressContainer | undefined;
  readonly address: string;
  readonly operation: string;
  readonly sources: readonly string[];
  readonly rule: string;
  readonly hazards: readonly string[];
  readonly indicators: readonly IndicatorMatch[];
  /** The first one is an alert. */
  readonly severe: boolean;
  readonly count: number;
  /** Milliseconds since 1970, where it was not just now. */
  readonly first?: number;
  readonly last?: number;
}

/** What alerts count of an event; undefined for most: calls that were allowed and name nothing listed. */
export function occurrenceOf(event: AuditEvent): Occurrence | undefined {
  if (event.event === 'decision') {
    const { verdict, hazards, indicators, sequences } = event;
    const isPlain = hazards.length === 0 && indicators === undefined && sequences === undefined;
    if (verdict === 'allow' && isPlain) return undefined;
    return ofDecision(event);
  }
  return event.event === 'egress' ? ofEgress(event) : undefined;
}

function ofDecision(event: DecisionEvent): Occurrence | undefined {
  const { indicators = [], sequences = [], operation, verdict, code, rule, sources } = event;
  // Sequences that only alert are not among the hazards. A sequence that a rule permits is no alert: it was expected.
  const alerting = sequences.filter(({ action }) => action === 'alert');
  const hazards = [...event.hazards, ...alerting.map(({ sequence }) => `sequence:${sequence}`)];
  const has = (kind: string): boolean => hazards.some((hazard) => hazard.startsWith(`${kind}:`));
  const isListed = indicators.length > 0 || has('indicator');
  const isSequence = alerting.length > 0 || (verdict === 'deny' && has('sequence'));
  if (verdict === 'allow' && !isListed && !isSequence) return undefined;
  const kind: AlertKind = isSequence
    ? 'sequence'
    : isListed
      ? 'indicator'
      : operation === ''
        ? 'unreadable'
        : 'denied';
  const client = clientOf(event.client);
  return {
    kind,
    action: verdict === 'deny' && event.enforced ? 'blocked' : 'observed',
    code,
    who: client.network || client.address || `listener ${client.listener}`,
    client,
    container: undefined,
    address: '',
    operation,
    sources,
    rule,
    hazards,
    indicators,
    severe: isSequence || isListed,
    count: 1,
  };
}

/** Responses and notices are not counted: each is a rare event that stands in the trail by itself. */
function ofEgress(event: EgressEvent): Occurrence | undefined {
  if (event.kind !== 'attempt' && event.kind !== 'sweep') return undefined;
  const { address, container, indicator, feed, confidence, threat } = event;
  const type = TYPES.find((name) => name === event.type) ?? 'domain';
  const hit = { type, indicator, action: 'block', feed, confidence, threat, port: event.port } as const;
  return {
    kind: 'egress',
    action: event.action === 'blocked' ? 'blocked' : 'observed',
    code: event.via || event.kind,
    who: container?.id ?? (address === '' ? 'host' : address),
    client: undefined,
    container,
    address,
    operation: '',
    sources: event.createdBy?.sources ?? [],
    rule: '',
    hazards: [],
    indicators: indicator === '' ? [] : [{ hit, value: event.name || event.destination, where: 'outbound' }],
    severe: indicator !== '',
    count: Math.max(1, event.count),
    ...timeOf('first', event.first),
    ...timeOf('last', event.last),
  };
}

const TYPES = ['ipv4', 'ipv6', 'domain', 'url', 'hash'] as const;

function timeOf(key: 'first' | 'last', value: string): { readonly first?: number; readonly last?: number } {
  const ms = Date.parse(value);
  return Number.isNaN(ms) ? {} : { [key]: ms };
}

/** The audit trail could not be written: an attacker who wants no trace would try that first. */
export const failedWrites = (count: number): Occurrence => ({
  kind: 'audit',
  action: '',
  code: 'audit',
  who: '',
  client: undefined,
  container: undefined,
  address: '',
  operation: '',
  sources: [],
  rule: '',
  hazards: [],
  indicators: [],
  severe: true,
  count,
});

/** One object for each connection: the client's data does not change while it lasts. */
const clients = new WeakMap<Client, AlertClient>();

function clientOf(client: Client): AlertClient {
  let cached = clients.get(client);
  if (cached === undefined) {
    const { listener, address } = client;
    cached = { listener, address, network: address.includes(':') ? clientNetwork(address) : '' };
    clients.set(client, cached);
  }
  return cached;
}

const SEQUENCE = 'sequence:';

/** The sentence for people. @param atLeast there were more addresses than could be counted. */
export function alertMessage(event: Omit<AlertEvent, 'message'>, atLeast: boolean): string {
  const { kind, client, container, addresses, operations, code, count, window } = event;
  const many = `${atLeast ? 'at least ' : ''}${addresses} addresses`;
  const who =
    addresses > 0
      ? many
      : container !== undefined
        ? `container ${container.name}`
        : client !== undefined
          ? client.network || client.address || `listener ${client.listener}`
          : event.address || 'the host';
  const calls = `${count} ${count === 1 ? 'call' : 'calls'}${operations.length === 0 ? '' : ` (${operations.join(', ')})`} from ${who}`;
  const verb = count === 1 ? 'was' : 'were';
  const done = event.action === 'blocked' ? 'denied' : 'let through';
  const listed = event.indicators.map(({ hit }) => hit.indicator).join(', ');
  const within = count === 1 ? '' : ` within ${durationInWords(window)}`;
  switch (kind) {
    case 'denied':
      return event.action === 'blocked'
        ? `${calls} ${verb} denied (${code})${within}`
        : `${calls} would have been denied (${code})${within}`;
    case 'unreadable':
      return `${count} unreadable ${count === 1 ? 'request' : 'requests'} from ${who} (${code})${within}`;
    case 'indicator':
      return `${calls} named listed indicators${listed === '' ? '' : ` (${listed})`} and ${verb} ${done}${within}`;
    case 'sequence': {
      const names = event.hazards.filter((hazard) => hazard.startsWith(SEQUENCE));
      const sequences = names.map((name) => name.slice(SEQUENCE.length)).join(', ');
      return `${calls} matched attack sequence ${sequences} and ${verb} ${done}${within}`;
    }
    case 'egress': {
      const to = listed === '' ? 'a destination that its network may not reach' : listed;
      return `${who} tried to reach ${to} ${count} ${count === 1 ? 'time' : 'times'}, ${event.action}${within}`;
    }
    case 'audit':
      return `${count} ${count === 1 ? 'record' : 'records'} of the audit trail could not be written in time${within}`;
  }
}
