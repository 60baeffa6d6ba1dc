import type { JsonValue } from '../base/json.js';

/**
 * Writes a value as JSON text that every reader reads as the same value: no blanks, each key once, bigints exact.
 * Nesting is that of the value; values come from a depth-limited decoder.
 *
 * @throws RangeError for a number that JSON cannot write
 */
export function renderJson(value: JsonValue): string {
  // JSON.stringify refuses bigints, and writes a number that JSON cannot write as null: both are left to the long way.
  try {
    const text = JSON.stringify(value);
    if (!text.includes('null')) return text;
  } catch {
    // A bigint.
  }
  return renderExactly(value);
}

function renderExactly(value: JsonValue): string {
  if (typeof value === 'string') return quote(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new RangeError(`${value} has no JSON form`);
    return JSON.stringify(value);
  }
  if (typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (value === null) return 'null';
  let text = '';
  if (Array.isArray(value)) {
    for (const item of value) text += text === '' ? renderExactly(item) : `,${renderExactly(item)}`;
    return `[${text}]`;
  }
  // A decoded object inherits nothing; of any other, only what is its own is written.
  for (const key of Object.keys(value)) {
    const member = value[key];
    if (member !== undefined) text += `${text === '' ? '' : ','}${quote(key)}:${renderExactly(member)}`;
  }
  return `{${text}}`;
}

/** Nothing to escape: most texts. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

const quote = (text: string): string => (PLAIN.test(text) ? `"${text}"` : JSON.stringify(text));
