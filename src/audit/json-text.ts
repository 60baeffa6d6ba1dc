import type { FactValue } from '../hazards/inspection.js';

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
export function text(value: string): string {
  if (value.length <= TEXT_LIMIT && PLAIN.test(value)) return `"${value}"`;
  const cut =
    value.length > TEXT_LIMIT ? `${value.slice(0, TEXT_LIMIT)}… (${value.length} characters)` : value;
  return JSON.stringify(maskCredentials(cut)).replace(UNSEEN, escape);
}

/** A JSON array of texts, cut as they are. */
export function list(values: readonly string[]): string {
  if (values.length === 0) return '[]';
  let shown = `[${text(values[0]!)}`;
  for (let n = 1; n < values.length && n < LIST_LIMIT; n++) shown += `,${text(values[n]!)}`;
  if (values.length > LIST_LIMIT) shown += `,${text(`… (${values.length} entries)`)}`;
  return `${shown}]`;
}

/** A JSON object of facts. */
export function record(values: Readonly<Record<string, FactValue>>): string {
  if (isWhole(values)) {
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

/** Are they worth writing as a whole: several, and nothing in them to be cut? */
function isWhole(values: Readonly<Record<string, FactValue>>): boolean {
  let size = 0;
  let count = 0;
  for (const name in values) {
    const value = values[name]!;
    count += 1;
    if (typeof value === 'string') size += value.length;
    else if (typeof value === 'object') {
      if (value.length > LIST_LIMIT) return false;
      for (const item of value) size += item.length;
    }
  }
  return count > 2 && size <= TEXT_LIMIT;
}

/** `https://user:secret@host/` becomes `https://***@host/`. Linear: no nested repetition. */
export function maskCredentials(value: string): string {
  if (!value.includes('://') || !value.includes('@')) return value;
  return value.replace(/:\/\/[^/?#\s@]{1,512}@/g, '://***@');
}

let lastTime = 0;
let lastText = '';

/** Now as RFC 3339 with milliseconds; formatted once per millisecond. */
export function timestamp(): string {
  const now = Date.now();
  if (now !== lastTime) {
    lastTime = now;
    lastText = new Date(now).toISOString();
  }
  return lastText;
}
