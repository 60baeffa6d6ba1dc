import { asArray, type PlainObject } from '../../base/json.js';

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
