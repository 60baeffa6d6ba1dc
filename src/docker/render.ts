import type { JsonValue } from '../base/json.js';
import type { Call } from './call.js';

/**
 * The request target of a call: its version prefix, the path template filled in, the parameters in the order of their
 * names, each escaped in one way. INVARIANT: reading it gives the same call again.
 */
export function renderTarget(call: Call): string {
  const template = call.operation.path;
  const path = template.includes('{') ? fillTemplate(call, template) : template;
  const prefix = call.apiVersion === '' ? '' : `/v${call.apiVersion}`;
  const names = Object.keys(call.query);
  if (names.length === 0 && call.unknown.length === 0) return `${prefix}${path}`;
  return `${prefix}${path}${renderQuery(call, names.sort())}`;
}

function fillTemplate(call: Call, template: string): string {
  return template.replace(/\{([^{}]+)\}/g, (_, name: string) => {
    const value = call.path[name];
    if (value === undefined) throw new Error(`the call has no path parameter ${name}`);
    const segments = call.operation.spans.includes(name) ? value.split('/') : [value];
    return segments.map(renderSegment).join('/');
  });
}

function renderSegment(segment: string): string {
  // INVARIANT: a parameter never changes the shape of the path. `%2f` is a separator for dockerd.
  if (segment === '' || segment === '.' || segment === '..' || segment.includes('/')) {
    throw new Error(`${JSON.stringify(segment)} cannot be a path segment`);
  }
  return escapeComponent(segment);
}

const UNRESERVED = /^[A-Za-z0-9._~-]*$/;

/** Escapes all but RFC 3986 unreserved characters, so that every reader decodes to the same text. */
function escapeComponent(text: string): string {
  if (UNRESERVED.test(text)) return text;
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function renderQuery(call: Call, names: readonly string[]): string {
  const pairs: string[] = [];
  for (const name of names) {
    const value = call.query[name];
    if (value === undefined) continue;
    let texts: readonly string[];
    switch (value.type) {
      case 'string':
        texts = [value.value];
        break;
      case 'strings':
        texts = value.value;
        break;
      case 'boolean':
        texts = [value.value ? '1' : '0'];
        break;
      case 'integer':
        texts = [value.value.toString()];
        break;
      case 'json':
        texts = [renderJson(value.value)];
    }
    for (const text of texts) pairs.push(`${escapeComponent(name)}=${escapeComponent(text)}`);
  }
  // Only a policy that permits an unknown parameter lets the call come this far.
  for (const { where, value } of call.unknown) {
    if (isUnknownParameter(call, where) && typeof value === 'string') {
      pairs.push(`${escapeComponent(where.slice(1))}=${escapeComponent(value)}`);
    }
  }
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
}

/** `?name`, but not `?name/pointer`, a field inside a parameter that is rendered already. */
function isUnknownParameter(call: Call, where: string): boolean {
  if (!where.startsWith('?')) return false;
  const slash = where.indexOf('/');
  return slash < 0 || !Object.hasOwn(call.query, where.slice(1, slash));
}

/**
 * The headers of a call as a flat list: Host, the Content-Type of its body, and the headers that the operation reads.
 * Nothing else that the client sent; framing and connection headers are for the connection to add.
 */
export function renderHeaders(call: Call): string[] {
  const headers = ['Host', 'docker'];
  if (call.body.kind === 'json') headers.push('Content-Type', 'application/json');
  else if (call.body.kind === 'stream' && call.body.present)
    headers.push('Content-Type', call.body.contentType);
  for (const name of call.operation.headers) {
    const value = call.headers[name];
    if (value === undefined) continue;
    for (const line of value.split('\n')) headers.push(name, line);
  }
  return headers;
}

/**
 * The JSON body written anew, to be sent as UTF-8; undefined for a call without a body and for one whose bytes follow as
 * a stream.
 */
export function renderBody(call: Call): string | undefined {
  return call.body.kind === 'json' ? renderJson(call.body.value) : undefined;
}

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
