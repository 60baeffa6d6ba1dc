import { maskCredentials } from '../base/mask.js';
import type { Client } from '../docker/call.js';
import type { FactValue, SequenceFinding } from '../hazards/inspection.js';
import type { IndicatorMatch } from '../intel/indicator.js';
import type { AlertEvent } from './alert-event.js';
import type { EgressEvent } from './egress-event.js';
import type { AuditEvent } from './event.js';

/** The moment that was formatted last, and how it is written (RFC 3339 with milliseconds). */
let lastTime = 0;
let lastText = '';

/** One text for each connection: the client's data does not change while it lasts. */
const clients = new WeakMap<Client, string>();

/**
 * One JSON line, newline included. Long texts and lists are cut (and say so), credentials inside URLs are masked.
 * Registry auth, tokens, env and build-arg values are not in events at all: facts carry names only.
 *
 * @param now milliseconds since 1970.
 */
export function formatEvent(event: AuditEvent, now = Date.now()): string {
  if (now !== lastTime) {
    lastTime = now;
    lastText = new Date(now).toISOString();
  }
  const time = lastText;
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
    `"client":${clients.get(event.client) ?? formatClient(event.client)},"sources":${list(event.sources)},` +
    `"method":${text(event.method)},"operation":"${event.operation}","apiVersion":"${event.apiVersion}","params":${record(event.params)},` +
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

function formatClient(client: Client): string {
  const certificate = client.certificate.length === 0 ? '' : `,"certificate":${list(client.certificate)}`;
  // Only the first half of the token's hash: enough to distinguish two tokens, useless as a policy entry.
  const token = client.tokenSha256 === '' ? '' : `,"token":"sha256:${client.tokenSha256.slice(0, 16)}…"`;
  const shown =
    `{"listener":${text(client.listener)},"address":${text(client.address)},"port":${client.port}` +
    `${certificate}${token}}`;
  clients.set(client, shown);
  return shown;
}

function formatEgress(event: EgressEvent, time: string): string {
  const { container, createdBy } = event;
  return (
    `{"v":1,"event":"egress","time":"${time}","id":${text(event.id)},"kind":"${event.kind}",` +
    `"action":${text(event.action)},"via":${text(event.via)},"address":${text(event.address)},` +
    (container === undefined
      ? ''
      : `"container":{"id":${text(container.id)},"name":${text(container.name)},"image":${text(container.image)}},`) +
    (createdBy === undefined
      ? ''
      : `"createdBy":{"call":${text(createdBy.call)},"operation":${text(createdBy.operation)},` +
        `"sources":${list(createdBy.sources)},"client":${text(createdBy.client)}},`) +
    `"destination":${text(event.destination)},"name":${text(event.name)},"protocol":${text(event.protocol)},` +
    `"port":${event.port},"count":${event.count},"first":${text(event.first)},"last":${text(event.last)},` +
    `"indicator":${text(event.indicator)},"type":${text(event.type)},"feed":${text(event.feed)},` +
    `"confidence":${event.confidence},"threat":${text(event.threat)},"message":${text(event.message)}}\n`
  );
}

function formatAlert(event: AlertEvent, time: string): string {
  const { client, container, operations } = event;
  return (
    `{"v":1,"event":"alert","time":"${time}","id":${text(event.id)},"kind":"${event.kind}",` +
    (event.action === '' ? '' : `"action":"${event.action}",`) +
    (client === undefined
      ? ''
      : `"client":{"listener":${text(client.listener)},"address":${text(client.address)}` +
        (client.network === '' ? '},' : `,"network":${text(client.network)}},`)) +
    (event.address === '' ? '' : `"address":${text(event.address)},`) +
    (container === undefined
      ? ''
      : `"container":{"id":${text(container.id)},"name":${text(container.name)},"image":${text(container.image)}},`) +
    (event.addresses === 0 ? '' : `"addresses":${event.addresses},`) +
    `"sources":${list(event.sources)},"operation":${text(operations.length === 1 ? operations[0]! : '')},` +
    (operations.length > 1 ? `"operations":${list(operations)},` : '') +
    `"code":${text(event.code)},` +
    (event.rule === '' ? '' : `"rule":${text(event.rule)},`) +
    (event.hazards.length === 0 ? '' : `"hazards":${list(event.hazards)},`) +
    (event.indicators.length === 0 ? '' : indicators(event.indicators)) +
    `"count":${event.count},"first":"${new Date(event.first).toISOString()}",` +
    `"last":"${new Date(event.last).toISOString()}","window":${event.window},"message":${text(event.message)}}\n`
  );
}

const MAX_INDICATORS = 50;

/** Members of an event, with the comma behind them. Of more than are listed, `indicatorCount` says how many there were. */
function indicators(matches: readonly IndicatorMatch[]): string {
  const shown = matches.slice(0, MAX_INDICATORS).map(({ hit, value, where }) => {
    const { indicator, type, feed, confidence, threat, action } = hit;
    return (
      `{"indicator":${text(indicator)},"type":${text(type)},"feed":${text(feed)},"confidence":${confidence},` +
      `"threat":${text(threat)},"action":"${action}","where":${text(where)},"value":${text(value)}}`
    );
  });
  const count = matches.length > MAX_INDICATORS ? `"indicatorCount":${matches.length},` : '';
  return `"indicators":[${shown.join(',')}],${count}`;
}

/** Cuts keep one line bounded, whatever the client sent: a line is evidence, not storage. */
const TEXT_LIMIT = 1024;
const LIST_LIMIT = 64;

/**
 * Beyond what JSON escapes: DEL and C1 controls, line separators that some readers break lines at, and marks that turn
 * the direction of a text (bidi), with which a line could be made to read as another one.
 */
const UNSEEN = /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

const escape = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** JSON in which those characters are escaped, as they are in the journal. */
export const escapeUnseen = (json: string): string => json.replace(UNSEEN, escape);

/** Nothing to escape, and no credentials: most texts. */
const PLAIN = /^[\x20\x21\x23-\x3f\x41-\x5b\x5d-\x7e]*$/;

/** The same of a text with its quotes. */
const PLAIN_JSON = /^[\x20-\x3f\x41-\x5b\x5d-\x7e]*$/;

/** A JSON string: long ones are cut and say so, credentials inside URLs are masked. */
function text(value: string): string {
  if (value.length <= TEXT_LIMIT && PLAIN.test(value)) return `"${value}"`;
  const cut =
    value.length > TEXT_LIMIT ? `${value.slice(0, TEXT_LIMIT)}… (${value.length} characters)` : value;
  return JSON.stringify(maskCredentials(cut)).replace(UNSEEN, escape);
}

/** A JSON array of texts, cut as they are. */
function list(values: readonly string[]): string {
  if (values.length === 0) return '[]';
  let shown = `[${text(values[0]!)}`;
  for (let n = 1; n < values.length && n < LIST_LIMIT; n++) shown += `,${text(values[n]!)}`;
  if (values.length > LIST_LIMIT) shown += `,${text(`… (${values.length} entries)`)}`;
  return `${shown}]`;
}

/** A JSON object of facts. */
export function record(values: Readonly<Record<string, FactValue>>): string {
  let size = 0;
  let count = 0;
  for (const name in values) {
    const value = values[name]!;
    count += 1;
    if (typeof value === 'string') size += value.length;
    else if (typeof value === 'object') {
      if (value.length > LIST_LIMIT) size = Infinity;
      else for (const item of value) size += item.length;
    }
  }
  // Written as a whole where that is worth it: several, and nothing in them to be cut.
  if (count > 2 && size <= TEXT_LIMIT) {
    const whole = JSON.stringify(values);
    if (PLAIN_JSON.test(whole)) return whole;
  }
  let shown = '';
  for (const name in values) {
    const value = values[name]!;
    shown += `${shown === '' ? '' : ','}${text(name)}:`;
    if (typeof value === 'string') shown += text(value);
    else shown += typeof value === 'object' ? list(value) : JSON.stringify(value);
  }
  return `{${shown}}`;
}
