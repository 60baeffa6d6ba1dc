import { asString } from '../../base/json.js';
import { number, type Summary } from './summary.js';

/*
 * CEF (ArcSight Common Event Format, version 0) and LEEF 2.0 (QRadar): one line each. Their separators are what an
 * attacker would put into a value to forge a field, so each is escaped where it means something, and control characters
 * are gone everywhere.
 */

type Fields = readonly (readonly [string, string | number])[];

/**
 * `CEF:0|vendor|product|version|signature|name|severity|extension`. Values are cut where the dictionary of CEF ends them:
 * a receiver would cut them anyway, or refuse the line.
 */
export function toCef(summary: Summary, version: string): string {
  const header = [
    'Breakwater',
    'Breakwater',
    cut(version, 31),
    cut(signature(summary), 1023),
    cut(summary.name, 512),
    String(summary.severity),
  ];
  const labelled: Fields = [
    ['cs1Label', 'hazards'],
    ['cs1', summary.hazards.join(' ')],
    ['cs2Label', 'rule'],
    ['cs2', summary.rule],
    ['cs3Label', 'sources'],
    ['cs3', summary.sources.join(' ')],
    ['cs4Label', 'technique'],
    ['cs4', summary.techniques.map(({ id }) => id).join(' ')],
    ['cs5Label', 'indicator'],
    ['cs5', summary.indicators.map(({ indicator }) => indicator).join(' ')],
    ['cs6Label', 'container'],
    ['cs6', summary.container.name || summary.image],
    ['flexString2Label', 'sequences'],
    ['flexString2', summary.sequences.map(({ name }) => name).join(' ')],
    // The field for ids takes 40 characters.
    ['flexString1Label', 'id'],
    ['flexString1', summary.id.length > MAX_LENGTHS['externalId']! ? summary.id : ''],
  ];
  const extension = [
    ...common(summary),
    // A label without its value would only cost room.
    ...labelled.filter((_, index) => labelled[index - (index % 2) + 1]![1] !== ''),
  ]
    .filter(([, value]) => value !== '')
    .map(([key, value]) => `${key}=${cefValue(key, String(value))}`)
    .join(' ');
  return `CEF:0|${header.map(cefHeader).join('|')}|${extension}`;
}

const cefHeader = (value: string): string => plain(value).replace(/[\\|]/g, '\\$&');
const cefValue = (key: string, value: string): string =>
  cut(
    value.replace(/\r\n?/g, '\n').replace(CONTROL, (character) => (character === '\n' ? character : '?')),
    MAX_LENGTHS[key] ?? (key.startsWith('cs') ? 4000 : 1023),
  )
    .replace(/[\\=]/g, '\\$&')
    .replaceAll('\n', '\\n');

/** Lengths in the dictionary of CEF, in characters, where they are not 1023 (cs1 to cs6: 4000). */
const MAX_LENGTHS: Readonly<Record<string, number>> = { act: 63, externalId: 40, outcome: 63, proto: 31 };

/** Not in the middle of a pair of surrogates. */
const cut = (value: string, most: number): string =>
  value.length <= most ? value : `${value.slice(0, most - 1).replace(/[\ud800-\udbff]$/, '')}…`;

/** CEF's own names for what most records have. */
function common(summary: Summary): Fields {
  const { destination, event } = summary;
  return [
    ['rt', summary.time],
    // The end of an id is what distinguishes it.
    ['externalId', summary.id.slice(-MAX_LENGTHS['externalId']!)],
    ['act', action(summary)],
    ['outcome', outcome(summary)],
    ['requestMethod', summary.method],
    ['cat', summary.operation],
    ...endpoint('src', 'c6a2', 'source', summary.address),
    ['spt', summary.port === 0 ? '' : summary.port],
    ['suser', summary.user],
    ...endpoint('dst', 'c6a3', 'destination', destination.address),
    ['dhost', destination.name],
    ['dpt', destination.port === 0 ? '' : destination.port],
    ['proto', destination.protocol],
    ['cnt', summary.count],
    ['start', Date.parse(asString(event['first'])) || ''],
    ['end', Date.parse(asString(event['last'])) || ''],
    ['reason', summary.code || asString(event['end'])],
    ['msg', summary.message],
  ];
}

/** CEF 0 has fields of their own for IPv6 addresses. */
const endpoint = (v4: string, v6: string, label: string, address: string): Fields =>
  address.includes(':')
    ? [
        [`${v6}Label`, label],
        [v6, address],
      ]
    : [[v4, address]];

/** `LEEF:2.0|vendor|product|version|event id|^|key=value^key=value` */
export function toLeef(summary: Summary, version: string): string {
  const { destination } = summary;
  const fields: Fields = [
    ['devTime', new Date(summary.time).toISOString()],
    ['devTimeFormat', "yyyy-MM-dd'T'HH:mm:ss.SSSX"],
    ['cat', summary.kind],
    ['sev', Math.max(1, summary.severity)],
    ['src', summary.address],
    ['srcPort', summary.port === 0 ? '' : summary.port],
    // The guide of LEEF ends it there.
    ['usrName', cut(plain(summary.user), 255)],
    ['dst', destination.address],
    ['dstPort', destination.port === 0 ? '' : destination.port],
    ['proto', destination.protocol],
    ['dstName', destination.name],
    ['eventUid', summary.id],
    ['action', action(summary)],
    ['operation', summary.operation],
    ['sources', summary.sources.join(' ')],
    ['hazards', summary.hazards.join(' ')],
    ['sequences', summary.sequences.map(({ name }) => name).join(' ')],
    ['rule', summary.rule],
    ['reason', summary.code || asString(summary.event['end'])],
    ['technique', summary.techniques.map(({ id }) => id).join(' ')],
    ['indicator', summary.indicators.map(({ indicator }) => indicator).join(' ')],
    ['container', summary.container.name || summary.image],
    ['count', summary.count],
    ['msg', summary.message],
  ];
  const header = ['Breakwater', 'Breakwater', version, signature(summary)].map(leefHeader).join('|');
  const attributes = fields
    .filter(([, value]) => value !== '')
    .map(([key, value]) => `${key}=${leefValue(String(value))}`)
    .join('^');
  return `LEEF:2.0|${header}|^|${attributes}`;
}

const leefHeader = (value: string): string => plain(value).replaceAll('|', '/');
/** LEEF has no escape for its delimiter: the character itself is given up. */
const leefValue = (value: string): string => plain(value).replaceAll('^', "'");

/** Of a call, in CEF's two words. */
function outcome({ kind, event, verdict }: Summary): string {
  if (kind === 'decision') return verdict === 'deny' && event['enforced'] !== false ? 'failure' : 'success';
  if (kind !== 'outcome') return '';
  const status = number(event['status']);
  return status > 0 && status < 400 ? 'success' : 'failure';
}

/** What was done: `observe` where a denial is on record and the call was forwarded. */
const action = ({ verdict, event }: Summary): string =>
  verdict === 'deny' && event['enforced'] === false ? 'observe' : verdict || asString(event['action']);

/** What kind of record it is, for rules that count: `decision.deny.hazard`, `egress.attempt`. */
function signature({ kind, verdict, code, event }: Summary): string {
  const detail = asString(event['kind']) || asString(event['end']);
  return [
    kind === 'other' ? asString(event['event']) || 'record' : kind,
    verdict,
    verdict === 'deny' ? code : detail,
  ]
    .filter((part) => part !== '')
    .join('.');
}

/** Controls, separators that pass for line ends, and marks that turn the direction of text. */
const CONTROL =
  /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|\p{Surrogate}/gu;

/** On one line: line ends become blanks, other controls question marks. */
export const plain = (value: string): string => value.replace(/[\r\n]+/g, ' ').replace(CONTROL, '?');
