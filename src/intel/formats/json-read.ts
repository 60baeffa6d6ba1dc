import { fail, reject, type Run } from './run.js';
import { isObject, type PlainObject, asArray } from '../../base/json.js';
import { walkJson, type JsonWay } from './json-walk.js';

/** The values that ways lead to; what cannot be read is noted. A text without any, and not empty either, is no such feed. */
export function* jsonValues(
  text: string,
  ways: readonly JsonWay[],
  run: Run,
): Generator<{ pointer: string; way: JsonWay; value: unknown }> {
  let any = false;
  for (const item of walkJson(text, ways)) {
    if (run.failure !== undefined) return;
    if (item.kind === 'end') {
      fail(run, item.pointer, item.reason);
    } else if (item.kind === 'bad') {
      reject(run, item.pointer, item.reason);
    } else {
      any = true;
      yield item;
    }
  }
  if (!any && run.rejected === 0 && !/^\s*(?:\[\s*\]|\{\s*\})\s*$/.test(text.slice(0, 1024))) {
    fail(run, '', 'there are no entries where this format has them');
  }
}

/** The first records that ways lead to in the beginning of a text. */
export function firstRecords(head: string, ways: readonly JsonWay[], count = 5): PlainObject[] {
  const records: PlainObject[] = [];
  for (const item of walkJson(head, ways)) {
    if (item.kind !== 'value' || !isObject(item.value) || records.push(item.value) === count) break;
  }
  return records;
}

/** A field of a record as text, texts in an array joined by commas; empty for null, objects and what is not there. */
export function textOf(record: PlainObject, name: string): string {
  return Object.hasOwn(record, name) ? plainText(record[name]) : '';
}

/** Whether a field is true, in one of the ways JSON feeds say it. */
export function isTrue(record: PlainObject, name: string): boolean {
  if (!Object.hasOwn(record, name)) return false;
  const value = record[name];
  return value === true || value === 1 || value === '1' || value === 'true';
}

/** A field that is an array, else an empty one. */
export function arrayOf(record: PlainObject, name: string): readonly unknown[] {
  return Object.hasOwn(record, name) ? asArray(record[name]) : [];
}

function plainText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  if (!Array.isArray(value)) return '';
  return value
    .slice(0, 16)
    .filter((part) => typeof part === 'string')
    .join(',');
}
