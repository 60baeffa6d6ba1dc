import type { JsonValue } from '../base/json.js';
import type { Change } from './rewrite.js';

/** At most this many changes are listed one by one, and this many characters of a value are shown. */
const MAX_CHANGES = 32;
const MAX_TEXT_LENGTH = 160;

/**
 * Fields whose values may be secrets: environment, build arguments, what secrets and configs hold, options of log and
 * volume drivers, credentials. Their keys are shown.
 */
const SECRET =
  /^(?:buildargs|outputs|data|driveropts|options|config|annotations|signingcakey|jointoken|unlockkey|password|auth|identitytoken|registrytoken|header .*)$/i;

/** Writes values until its budget is spent: a value may be megabytes, of which the line shows a few words. */
class Excerpt {
  private text = '';

  add(part: string): void {
    this.text += part.slice(0, Math.max(0, MAX_TEXT_LENGTH + 1 - this.text.length));
  }

  get full(): boolean {
    return this.text.length > MAX_TEXT_LENGTH;
  }

  get result(): string {
    const plain = this.text.replace(
      /[^\x20-\x7e]/g,
      (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
    return plain.length > MAX_TEXT_LENGTH ? `${plain.slice(0, MAX_TEXT_LENGTH - 3)}...` : plain;
  }
}

/** What is shown of texts: all, the name of `NAME=value`, or nothing. */
type Mask = 'none' | 'value' | 'all';

function maskFor(name: string, outer: Mask): Mask {
  if (outer !== 'none') return outer;
  if (/^env$/i.test(name)) return 'value';
  return SECRET.test(name) ? 'all' : 'none';
}

function write(value: JsonValue, mask: Mask, out: Excerpt): void {
  if (out.full) return;
  if (value === null || typeof value === 'boolean') out.add(String(value));
  else if (typeof value === 'number' || typeof value === 'bigint')
    out.add(mask === 'none' ? String(value) : '***');
  else if (typeof value === 'string') {
    const shown = mask === 'none' ? value : mask === 'all' ? '***' : maskVariable(value);
    out.add(JSON.stringify(shown.slice(0, MAX_TEXT_LENGTH)));
  } else if (Array.isArray(value)) {
    out.add('[');
    for (let index = 0; index < value.length && !out.full; index++) {
      if (index > 0) out.add(', ');
      write(value[index] ?? null, mask, out);
    }
    out.add(']');
  } else {
    out.add('{');
    let first = true;
    for (const key in value) {
      if (out.full) break;
      out.add(`${first ? '' : ', '}${JSON.stringify(key.slice(0, MAX_TEXT_LENGTH))}: `);
      first = false;
      write(value[key] ?? null, maskFor(key, mask), out);
    }
    out.add('}');
  }
}

function maskVariable(text: string): string {
  const name = /^[A-Za-z_][A-Za-z0-9_]{0,63}=/.exec(text)?.[0] ?? '';
  return `${name}***`;
}

function show(value: JsonValue | undefined, mask: Mask): string {
  if (value === undefined) return '(nothing)';
  const out = new Excerpt();
  write(value, mask, out);
  return out.result;
}

function cutWhere(where: string): string {
  const out = new Excerpt();
  out.add(where);
  return out.result;
}

/**
 * Changes in words, `where: before → after`, for the audit trail: a bounded number of bounded texts in printable
 * ASCII, values of environment variables, build arguments and the like masked.
 */
export function describeChanges(changes: readonly Change[]): readonly string[] {
  const lines = changes.slice(0, MAX_CHANGES).map(({ where, before, after }) => {
    const mask = where.split(/[/?]/).reduce((outer: Mask, step) => maskFor(step, outer), 'none');
    const shown = after === undefined ? '(removed)' : show(after, mask);
    return `${cutWhere(where)}: ${show(before, mask)} → ${shown}`;
  });
  if (changes.length > MAX_CHANGES) lines.push(`and ${changes.length - MAX_CHANGES} more`);
  return lines;
}
