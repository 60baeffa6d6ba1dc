import type { Indicator } from '../indicator.js';
import { reject, startRun, type Run, type Where } from './run.js';
import type { Fit, Format } from './format.js';
import { firstRecords, jsonValues, isTrue, textOf, arrayOf } from './json-read.js';
import { isObject, type PlainObject } from '../../base/json.js';
import type { JsonWay } from './json-walk.js';
import { feedOf, type ParsedFeed } from './parsed-feed.js';
import type { Sample } from './sample.js';
import { readStixPattern } from './stix-pattern.js';
import { epochSeconds } from './times.js';
import { confidenceOf, indicator, threatName } from './values.js';

/** Bundles, TAXII envelopes (both have `objects`), lists of objects; any number of them one after another. */
const WAYS: readonly JsonWay[] = [['objects', '#'], ['#']];

export const STIX_FORMAT = { stix: { detect: fits, parse: readText } } satisfies Record<string, Format>;

/**
 * Reads STIX objects, for instance of all pages of a TAXII collection: the newest version of each counts, and a revoked
 * one does not live on in an older version of itself.
 *
 * @param objects decoded JSON; read twice
 * @param now seconds since 1970
 */
export function parseStixObjects(objects: readonly unknown[], now: number): ParsedFeed {
  const run = startRun(now);
  return feedOf(
    run,
    'stix',
    readObjects(() => entriesOf(objects), run),
  );
}

interface Entry {
  readonly pointer: string;
  readonly value: unknown;
}

function* entriesOf(objects: readonly unknown[]): Generator<Entry> {
  for (const [index, value] of objects.entries()) yield { pointer: `/objects/${index}`, value };
}

function fits({ json, head }: Sample): Fit {
  const [record] = json ? firstRecords(head, WAYS, 1) : [];
  return record !== undefined &&
    /^[a-z][a-z0-9-]*--/.test(textOf(record, 'id')) &&
    textOf(record, 'type') !== ''
    ? 3
    : 0;
}

function readText(text: string, run: Run): Iterable<Indicator> {
  // The second reading reports what is wrong with the text.
  return readObjects((first) => jsonValues(text, WAYS, first ? startRun(run.now) : run), run);
}

function* readObjects(entries: (first: boolean) => Iterable<Entry>, run: Run): Generator<Indicator> {
  const newest = new Map<string, number>();
  for (const { value: object } of entries(true)) {
    if (!isObject(object) || textOf(object, 'type') !== 'indicator') continue;
    const id = textOf(object, 'id');
    newest.set(id, Math.max(newest.get(id) ?? 0, versionOf(object)));
  }
  for (const { value: object, pointer } of entries(false)) {
    if (!isObject(object)) reject(run, pointer, 'the object is none');
    else if (textOf(object, 'type') !== 'indicator') continue;
    else if (versionOf(object) < (newest.get(textOf(object, 'id')) ?? 0)) continue;
    else yield* readIndicator(object, run, pointer);
  }
}

/** Milliseconds since 1970 of the version of an object: producers change one several times a second. */
function versionOf(object: PlainObject): number {
  const time = Date.parse(textOf(object, 'modified').slice(0, 40));
  return Number.isNaN(time) ? 0 : time;
}

/** What a producer calls harmless is no indicator of compromise. */
const HARMLESS = /(?:^|,)benign(?:,|$)/;

function* readIndicator(object: PlainObject, run: Run, where: Where): Generator<Indicator> {
  const language = textOf(object, 'pattern_type');
  const from = epochSeconds(textOf(object, 'valid_from'));
  const until = epochSeconds(textOf(object, 'valid_until'));
  const kinds = `${textOf(object, 'indicator_types')},${textOf(object, 'labels')}`;
  const out =
    isTrue(object, 'revoked') ||
    (language !== '' && language !== 'stix') ||
    from > run.now ||
    (until !== 0 && until <= run.now) ||
    HARMLESS.test(kinds);
  if (out) {
    run.skipped++;
    return;
  }
  if (Object.hasOwn(object, 'valid_until') && until === 0) {
    reject(run, where, '"valid_until" is no time');
    return;
  }
  const values = readStixPattern(textOf(object, 'pattern'));
  if (typeof values === 'string') {
    reject(run, where, values);
    return;
  }
  if (values.length === 0) run.skipped++;
  const context = {
    confidence: confidenceOf(textOf(object, 'confidence')),
    firstSeen: from,
    lastSeen: epochSeconds(textOf(object, 'modified')),
    expires: until,
    threat: threatName(textOf(object, 'name')),
  };
  for (const value of values) yield indicator(value, context);
}

/** One page of a TAXII 2.1 collection (TAXII 2.1, 3.7). */
export interface TaxiiEnvelope {
  readonly objects: readonly unknown[];
  readonly more: boolean;
  /** Empty where the server names none. */
  readonly next: string;
}

const MAX_NEXT_LENGTH = 4096;

/** Reads a page; a text says what is wrong with it. An envelope without objects is `{}`. */
export function parseTaxiiEnvelope(text: string): TaxiiEnvelope | string {
  let page: unknown;
  try {
    page = JSON.parse(text);
  } catch {
    return 'the page is no JSON';
  }
  if (!isObject(page)) return 'the page is no JSON object';
  if (Object.hasOwn(page, 'title') && !Object.hasOwn(page, 'objects'))
    return 'the page is no envelope but an error or a description';
  if (Object.hasOwn(page, 'objects') && !Array.isArray(page['objects']))
    return 'the page has "objects" that are no array';
  const next = textOf(page, 'next');
  if (next.length > MAX_NEXT_LENGTH) return `the page has a "next" of over ${MAX_NEXT_LENGTH} characters`;
  return { objects: arrayOf(page, 'objects'), more: isTrue(page, 'more'), next };
}
