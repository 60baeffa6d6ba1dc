import type { Indicator } from '../indicator.js';
import { quote, reject, type Run } from './run.js';
import type { Fit, Format } from './format.js';
import { firstRecords, jsonValues, arrayOf, isTrue, textOf } from './json-read.js';
import { asObject, isObject, type PlainObject } from '../../base/json.js';
import { walkJson, type JsonWay } from './json-walk.js';
import type { Sample } from './sample.js';
import { epochSeconds } from './times.js';
import { indicator, portNumber, readValue, threatName, type Value, type ValueKind } from './values.js';

/** Events as a feed has them, as the API answers with them, and bare attributes of a search. */
const EVENTS: readonly JsonWay[] = [['Event'], ['response', '#', 'Event'], ['#', 'Event']];
const ATTRIBUTES: readonly JsonWay[] = [
  ...EVENTS.flatMap((event) => [
    [...event, 'Attribute', '#'],
    [...event, 'Object', '#'],
  ]),
  ['response', 'Attribute', '#'],
];
const TITLES: readonly JsonWay[] = EVENTS.flatMap((event) => [
  [...event, 'info'],
  [...event, 'Tag', '#'],
]);

export const MISP_FORMAT = { misp: { detect: fits, parse: readEvents } } satisfies Record<string, Format>;

function fits({ json, head }: Sample): Fit {
  if (!json) return 0;
  const [record] = firstRecords(head, ATTRIBUTES, 1);
  if (record === undefined) return [...walkJson(head, TITLES)].some(({ kind }) => kind === 'value') ? 3 : 0;
  return Object.hasOwn(record, 'to_ids') || Object.hasOwn(record, 'Attribute') ? 3 : 0;
}

/** Events; any number of documents one after another. */
function* readEvents(text: string, run: Run): Generator<Indicator> {
  const threats = threatsOf(text);
  for (const { value: entry, pointer } of jsonValues(text, ATTRIBUTES, run)) {
    const threat = threats.get(eventOf(pointer)) ?? '';
    if (!isObject(entry)) {
      reject(run, pointer, 'the attribute is no object');
    } else if (!/\/Object\/\d+$/.test(pointer)) {
      yield* readAttribute(entry, threat, run, pointer);
    } else if (!isTrue(entry, 'deleted')) {
      for (const [index, attribute] of arrayOf(entry, 'Attribute').entries()) {
        yield* readAttribute(asObject(attribute), threat, run, `${pointer}/Attribute/${index}`);
      }
    }
  }
}

/** Pointer of the event that something is in. Documents that follow each other share it, so that `info` then names none. */
function eventOf(pointer: string): string {
  const end = pointer.indexOf('/Event/');
  return end < 0 ? '' : pointer.slice(0, end);
}

const FAMILY = /^misp-galaxy:(?:malpedia|botnet|ransomware|rat|banker|tool|backdoor|stealer)="([^"]{1,64})"$/;

/** What each event is about: the family it is tagged with, or else its title. Empty where two events share a pointer. */
function threatsOf(text: string): Map<string, string> {
  const titles = new Map<string, string>();
  const families = new Map<string, string>();
  for (const item of walkJson(text, TITLES)) {
    if (item.kind !== 'value') continue;
    const event = eventOf(item.pointer);
    if (typeof item.value === 'string') {
      titles.set(event, titles.has(event) ? '' : threatName(item.value));
    } else {
      const family = FAMILY.exec(textOf(asObject(item.value), 'name'))?.[1];
      if (family !== undefined) families.set(event, threatName(family));
    }
  }
  for (const [event, family] of families) if (titles.get(event) !== '') titles.set(event, family);
  return titles;
}

/** Parts of composite types (`domain|ip`); other parts are no indicators, only their position counts. */
const PARTS: ReadonlyMap<string, ValueKind> = new Map([
  ['ip-dst', 'address'],
  ['ip-src', 'address'],
  ['ip', 'address'],
  ['domain', 'domain'],
  ['hostname', 'domain'],
  ['url', 'url'],
  ['md5', 'hash'],
  ['sha1', 'hash'],
  ['sha256', 'hash'],
  ['sha512', 'hash'],
]);

/** Only what its author marked as fit for detection counts: the rest is context, at times the victim's own address. */
function* readAttribute(
  attribute: PlainObject,
  threat: string,
  run: Run,
  where: string,
): Generator<Indicator> {
  const type = textOf(attribute, 'type');
  const types = (type === 'malware-sample' ? 'filename|md5' : type).split('|');
  if (
    !isTrue(attribute, 'to_ids') ||
    isTrue(attribute, 'deleted') ||
    !types.some((part) => PARTS.has(part))
  ) {
    run.skipped++;
    return;
  }
  const text = textOf(attribute, 'value');
  // A file name in front may hold the separator itself.
  const cut = types.length === 2 ? text.lastIndexOf('|') : -1;
  const parts = types.length === 1 ? [text] : [text.slice(0, Math.max(cut, 0)), text.slice(cut + 1)];
  const values: Value[] = [];
  for (const [index, part] of types.entries()) {
    const kind = PARTS.get(part);
    if (kind === undefined) continue;
    const read = readValue(kind, parts[index] ?? '');
    if (read.length === 0) {
      reject(run, where, `${quote(text)} is no ${type}`);
      return;
    }
    values.push(...read);
  }
  const context = {
    firstSeen: epochSeconds(textOf(attribute, 'first_seen')),
    lastSeen: epochSeconds(textOf(attribute, 'last_seen')) || epochSeconds(textOf(attribute, 'timestamp')),
    port: types[1] === 'port' ? portNumber(parts[1] ?? '') : 0,
    threat,
  };
  for (const value of values) yield indicator(value, context);
}

/** An event that a MISP feed offers; its document is `UUID.json` beside the manifest. */
export interface MispEvent {
  /** Checked to be one, lower-case: it becomes part of a URL and of a file name. */
  readonly uuid: string;
  /** Seconds since 1970. The event has to be fetched anew when it moves. */
  readonly timestamp: number;
}

const MAX_EVENTS = 1_000_000;

/** Reads `manifest.json` of a MISP feed, newest event first; a text says what is wrong with it. */
export function parseMispManifest(text: string): readonly MispEvent[] | string {
  const events: MispEvent[] = [];
  for (const item of walkJson(text, [['*']])) {
    if (item.kind === 'end') return `the manifest breaks off or is no JSON: ${item.reason}`;
    const [, uuid] = /^\/([\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12})$/i.exec(item.pointer) ?? [];
    const timestamp = item.kind === 'value' ? epochSeconds(textOf(asObject(item.value), 'timestamp')) : 0;
    if (uuid === undefined || timestamp === 0)
      return 'the manifest has an entry without a UUID or a timestamp';
    if (events.push({ uuid: uuid.toLowerCase(), timestamp }) > MAX_EVENTS)
      return `the manifest has over ${MAX_EVENTS} events`;
  }
  if (events.length === 0 && !/^\s*\{\s*\}\s*$/.test(text)) return 'the manifest is no JSON object';
  return events.sort((a, b) => b.timestamp - a.timestamp);
}
