import type { FactValue } from '../hazards/inspection.js';

/** Cuts keep one line bounded, whatever the client sent: a line is evidence, not storage. */
const TEXT_LIMIT = 1024;
const LIST_LIMIT = 64;

/** Nothing to escape, and no credentials: most texts. */
const PLAIN = /^[\x20\x21\x23-\x3f\x41-\x5b\x5d-\x7e]*$/;

/** A JSON string: long ones are cut and say so, credentials inside URLs are masked. */
export function text(value: string): string {
  if (value.length <= TEXT_LIMIT && PLAIN.test(value)) return `"${value}"`;
  const cut =
    value.length > TEXT_LIMIT ? `${value.slice(0, TEXT_LIMIT)}… (${value.length} characters)` : value;
  return JSON.stringify(maskCredentials(cut));
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
  let shown = '';
  for (const name in values) {
    const value = values[name]!;
    shown += `${shown === '' ? '' : ','}${text(name)}:`;
    if (typeof value === 'string') shown += text(value);
    else shown += typeof value === 'object' ? list(value) : JSON.stringify(value);
  }
  return `{${shown}}`;
}

/** `https://user:secret@host/` becomes `https://***@host/`. Linear: no nested repetition. */
export function maskCredentials(value: string): string {
  if (!value.includes('://') || !value.includes('@')) return value;
  return value.replace(/:\/\/[^/?#\s@]{1,512}@/g, '://***@');
}
