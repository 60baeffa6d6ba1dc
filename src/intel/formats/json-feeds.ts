import type { Indicator } from '../indicator.js';
import { fail, quote, reject, type Run, type Where } from './run.js';
import type { Fit, Format } from './format.js';
import { fieldName, missingFrom, readFields, type Fields, type Shape } from './fields.js';
import { firstRecords, jsonValues, textOf } from './json-read.js';
import { asObject, isObject, type PlainObject } from '../../base/json.js';
import { walkJson, type JsonWay } from './json-walk.js';
import { HEAD, type Sample } from './sample.js';
import { FEODO, GENERIC, THREATFOX, URLHAUS } from './shapes.js';
import { indicatorsOf, readValue } from './values.js';

/** The formats that are lists of JSON records. */
export const JSON_FORMATS = {
  'feodo-json': recordFormat(FEODO, [['#']]),
  // By id, and each value is an array; answers of the API have one array under `urls` or `data`.
  'urlhaus-json': recordFormat(URLHAUS, [['*', '#']]),
  'threatfox-json': recordFormat(THREATFOX, [['*', '#']]),
  'drop-json': { detect: fitsDrop, parse: readDrop },
  json: { detect: fitsJson, parse: readJson },
} satisfies Record<string, Format>;

function recordFormat(shape: Shape, ways: readonly JsonWay[]): Format {
  return {
    detect: ({ json, head }) => {
      const [record] = json ? firstRecords(head, ways, 1) : [];
      return record !== undefined && missingFrom(shape, (name) => Object.hasOwn(record, name)).length === 0
        ? 3
        : 0;
    },
    parse: function* (text, run) {
      for (const { value, pointer } of jsonValues(text, ways, run))
        yield* readRecord(shape, value, run, pointer);
    },
  };
}

function* readRecord(shape: Shape, value: unknown, run: Run, where: Where): Generator<Indicator> {
  if (!isObject(value)) {
    reject(run, where, 'the entry is no object');
    return;
  }
  const missing = missingFrom(shape, (name) => Object.hasOwn(value, name));
  if (missing.length > 0) reject(run, where, `the entry does not name ${missing.map(quote).join(', ')}`);
  else yield* readFields(shape, fieldsOf(value), run, where);
}

function fieldsOf(record: PlainObject): Fields {
  return (names) => {
    for (const name of names) {
      const text = textOf(record, name);
      if (text !== '') return text;
    }
    return '';
  };
}

function fitsDrop({ json, head }: Sample): Fit {
  const [record] = json ? firstRecords(head, [[]], 2).filter((candidate) => !isMetadata(candidate)) : [];
  return record !== undefined && Object.hasOwn(record, 'cidr') && Object.hasOwn(record, 'sblid') ? 3 : 0;
}

/** Spamhaus DROP: one object a line. The object without a network has their number. */
function* readDrop(text: string, run: Run): Generator<Indicator> {
  let count = 0;
  for (const { value, pointer } of jsonValues(text, [[]], run)) {
    const record = asObject(value);
    if (isMetadata(record)) {
      if (Number(record['records']) > count)
        fail(run, pointer, `${String(record['records'])} networks are announced, ${count} came before`);
    } else {
      count++;
      yield* indicatorsOf(
        'address',
        textOf(record, 'cidr'),
        { threat: textOf(record, 'sblid') },
        run,
        pointer,
      );
    }
  }
}

function isMetadata(record: PlainObject): boolean {
  return record['type'] === 'metadata' && !Object.hasOwn(record, 'cidr');
}

/** Keys under which APIs put their list. */
const LISTS = [
  'data',
  'indicators',
  'iocs',
  'results',
  'items',
  'entries',
  'values',
  'blocklist',
  'response',
];

/** Where the entries of a JSON document of an unknown feed are; undefined when they are not found. */
function waysOf(head: string): readonly JsonWay[] | undefined {
  if (/^\s*\[/.test(head)) return [['#']];
  const keys = new Set<string>();
  for (const item of walkJson(head, [['*']])) {
    if (item.pointer === '' || keys.has(item.pointer)) break;
    keys.add(item.pointer);
  }
  const names = [...keys].map((key) => key.slice(1));
  const found = LISTS.filter((name) => names.includes(name));
  if (found.length > 0) return found.length === 1 ? [[found[0] ?? '', '#']] : undefined;
  const fields = new Set(names.map(fieldName));
  return missingFrom(GENERIC, (name) => fields.has(name)).length === 0 ? [[]] : undefined;
}

function fitsJson({ json, head }: Sample): Fit {
  const ways = json ? waysOf(head) : undefined;
  if (ways === undefined) return 0;
  for (const item of walkJson(head, ways)) {
    if (item.kind !== 'value') return 0;
    if (typeof item.value === 'string') return readValue('any', item.value).length > 0 ? 2 : 0;
    const fields = new Set(Object.keys(asObject(item.value)).map(fieldName));
    return missingFrom(GENERIC, (name) => fields.has(name)).length === 0 ? 2 : 0;
  }
  return 0;
}

/** A list of texts or records: a whole array, one under a usual key, or one record a line. */
function* readJson(text: string, run: Run): Generator<Indicator> {
  const ways = waysOf(text.slice(0, HEAD));
  if (ways === undefined) {
    fail(run, '', `no list of entries stands at the top or under exactly one of ${LISTS.join(', ')}`);
    return;
  }
  for (const { value, pointer } of jsonValues(text, ways, run)) {
    if (typeof value === 'string') {
      yield* indicatorsOf('any', value, {}, run, pointer);
    } else {
      const fields = Object.entries(asObject(value)).map(
        ([name, field]) => [fieldName(name), field] as const,
      );
      yield* readRecord(GENERIC, isObject(value) && Object.fromEntries(fields), run, pointer);
    }
  }
}
