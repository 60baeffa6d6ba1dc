import type { JsonValue } from './json-value.js';

/**
 * Writes a value as JSON text that every reader reads as the same value: no blanks, each key once, bigints exact.
 * Nesting is that of the value; values come from a depth-limited decoder.
 */
export function renderJson(value: JsonValue): string {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number' && !Number.isFinite(value)) throw new RangeError(`${value} has no JSON form`);
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(renderJson).join(',')}]`;
  const members: string[] = [];
  for (const key of Object.keys(value)) {
    const member = value[key];
    if (member !== undefined) members.push(`${JSON.stringify(key)}:${renderJson(member)}`);
  }
  return `{${members.join(',')}}`;
}
