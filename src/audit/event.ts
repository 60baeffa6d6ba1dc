import type { Client } from '../docker/call.js';
import type { FactValue, SequenceFinding } from '../hazards/inspection.js';
import type { IndicatorMatch } from '../intel/indicator.js';
import { formatAlert, type AlertEvent } from './alert-event.js';
import { formatEgress, type EgressEvent } from './egress-event.js';
import { list, record, text } from './json-text.js';
import { indicators } from './indicator-matches.js';

/** The decision about one call, and what it rests on. Written before it takes effect. */
export interface DecisionEvent {
  readonly event: 'decision';
  /** Call id; the same in the outcome line and in the response to the client. */
  readonly call: string;
  readonly client: Client;
  readonly sources: readonly string[];
  readonly method: string;
  /** operationId, or `""` when the request could not be read that far. */
  readonly operation: string;
  readonly apiVersion: string;
  /** Path parameters. */
  readonly params: Readonly<Record<string, string>>;
  /** The request target as it came, only when it could not be read into an operation. */
  readonly target?: string;
  readonly facts: Readonly<Record<string, FactValue>>;
  /** Hazards, written `kind:argument`. */
  readonly hazards: readonly string[];
  /** Listed indicators that were found in the call, those that only alert too; absent when there are none. */
  readonly indicators?: readonly IndicatorMatch[];
  /** Attacks in several calls that this one completes, those that only alert too; absent when there are none. */
  readonly sequences?: readonly SequenceFinding[];
  readonly verdict: 'allow' | 'deny';
  /** False in observe mode: the verdict is on record, the call was forwarded all the same. */
  readonly enforced: boolean;
  readonly rule: string;
  readonly code: string;
  readonly reason: string;
  /** What policy changed in the call before it was forwarded. */
  readonly rewrites: readonly string[];
  /** Revision of the policy that decided. */
  readonly policy: string;
}

/** How a call ended. */
export interface OutcomeEvent {
  readonly event: 'outcome';
  readonly call: string;
  readonly operation: string;
  /** HTTP status the client was sent; 0 when the client left before there was one. */
  readonly status: number;
  /** `complete`, `client-gone`, `upstream-error`, `upstream-timeout`, `refused`, `shutdown`. */
  readonly end: string;
  /** Milliseconds from the head of the request to the end. */
  readonly duration: number;
  /** Body bytes from and to the client (both directions of a hijacked stream). */
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export type AuditEvent = DecisionEvent | OutcomeEvent | EgressEvent | AlertEvent;

/**
 * One JSON line, newline included. `time` is RFC 3339 with milliseconds. Long texts and lists are cut (and say so),
 * credentials inside URLs are masked. Registry auth, tokens, env and build-arg values are not in events at all:
 * facts carry names only.
 */
export function formatEvent(event: AuditEvent, time: string): string {
  if (event.event === 'egress') return formatEgress(event, time);
  if (event.event === 'alert') return formatAlert(event, time);
  if (event.event === 'outcome') {
    return (
      `{"v":1,"event":"outcome","time":"${time}","id":"${event.call}.o","call":"${event.call}",` +
      `"operation":"${event.operation}","status":${event.status},"end":"${event.end}",` +
      `"duration":${event.duration},"bytesIn":${event.bytesIn},"bytesOut":${event.bytesOut}}\n`
    );
  }
  return (
    `{"v":1,"event":"decision","time":"${time}","id":"${event.call}.d","call":"${event.call}",` +
    `"client":${formatClient(event.client)},"sources":${list(event.sources)},"method":${text(event.method)},` +
    `"operation":"${event.operation}","apiVersion":"${event.apiVersion}","params":${record(event.params)},` +
    (event.target === undefined ? '' : `"target":${text(event.target)},`) +
    `"facts":${record(event.facts)},"hazards":${list(event.hazards)},` +
    (event.indicators === undefined ? '' : indicators(event.indicators)) +
    (event.sequences === undefined ? '' : sequences(event.sequences)) +
    `"verdict":"${event.verdict}",` +
    `"enforced":${event.enforced},"rule":${text(event.rule)},"code":"${event.code}","reason":${text(event.reason)},` +
    `"rewrites":${list(event.rewrites)},"policy":"${event.policy}"}\n`
  );
}

function sequences(found: readonly SequenceFinding[]): string {
  const shown = found.map(({ sequence, action, calls, since }) => {
    const time = new Date(since).toISOString();
    return `{"sequence":"${sequence}","action":"${action}","calls":${list(calls)},"since":"${time}"}`;
  });
  return `"sequences":[${shown.join(',')}],`;
}

/** One text for each connection: the client's data does not change while it lasts. */
const clients = new WeakMap<Client, string>();

function formatClient(client: Client): string {
  let known = clients.get(client);
  if (known === undefined) {
    const certificate = client.certificate.length === 0 ? '' : `,"certificate":${list(client.certificate)}`;
    // Only the first half of the token's hash: enough to distinguish two tokens, useless as a policy entry.
    const token = client.tokenSha256 === '' ? '' : `,"token":"sha256:${client.tokenSha256.slice(0, 16)}…"`;
    known =
      `{"listener":${text(client.listener)},"address":${text(client.address)},"port":${client.port}` +
      `${certificate}${token}}`;
    clients.set(client, known);
  }
  return known;
}
