import type { QueryValue, UnknownField } from './call.js';
import type { Work } from '../base/work.js';
import { decodeJsonText } from './go-json.js';
import { BareObject, type JsonValue } from '../base/json.js';
import type { Parameter } from './catalogue/row.js';
import type { Operation } from './operation.js';
import { Refusal } from './refusal.js';
import type { Schema } from './schema.js';

/** One `name=value` of a query or a form, decoded. */
type Pair = readonly [name: string, value: string];

/** The parameters of a call so far. */
export interface Parameters {
  readonly query: Readonly<Record<string, QueryValue>>;
  readonly unknown: readonly UnknownField[];
  /** Every name that came, also those that were dropped. */
  readonly names: ReadonlySet<string>;
}

export const NO_PARAMETERS: Parameters = {
  query: Object.freeze(new BareObject() as Record<string, unknown> as Record<string, QueryValue>),
  unknown: Object.freeze([]),
  names: new Set(),
};

/** More parameters than any operation has; a longer list only serves to cost time. */
const MAXIMUM_PAIRS = 1024;
const INTEGER = /^[+-]?[0-9]{1,64}$/;
const FALSE = new Set(['', '0', 'no', 'false', 'none']);
/** What strings.TrimSpace of Go trims; String.trim also takes U+FEFF and leaves U+0085. */
const GO_BLANK = /[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;
const FILTERS: Schema = { type: 'map', values: { type: 'any' } };

interface Known {
  /** The catalogue's own text: V8 looks up a text that was cut out of a request much more slowly. */
  readonly name: string;
  readonly parameter: Parameter;
}

const knownOf = new WeakMap<Operation['query'], ReadonlyMap<string, Known>>();

function findKnown({ query }: Operation): ReadonlyMap<string, Known> {
  const known = new Map(Object.entries(query).map(([name, parameter]) => [name, { name, parameter }]));
  knownOf.set(query, known);
  return known;
}

/**
 * Reads a query or a form by the types of the catalogue. A name that comes twice, or in the query and in the form body,
 * is refused unless all its values count: handlers differ in which one they take.
 *
 * @param work pays for it, see `decodeJson`.
 * @param before what the query has said, when this is the form in a body
 * @throws Refusal 400, 413
 */
export function readParameters(
  operation: Operation,
  raw: string,
  depth: number,
  work: Work,
  before: Parameters = NO_PARAMETERS,
): Parameters {
  const query = new BareObject() as Record<string, unknown> as Record<string, QueryValue>;
  if (before !== NO_PARAMETERS) Object.assign(query, before.query);
  const unknown = [...before.unknown];
  const names = new Set(before.names);
  const known = knownOf.get(operation.query) ?? findKnown(operation);
  let lists: Map<string, string[]> | undefined;
  for (const [given, value] of parsePairs(raw)) {
    const { name, parameter } = known.get(given) ?? { name: given, parameter: undefined };
    const list = lists?.get(name);
    const isInBoth = before.names.has(name);
    if (isInBoth || (names.has(name) && list === undefined)) {
      throw new Refusal(
        400,
        'duplicate-parameter',
        `the parameter "${shown(name)}" comes more than once${isInBoth ? ' (in the query and in the form body)' : ''}: send it once`,
      );
    }
    names.add(name);
    if (parameter?.type === 'strings') {
      if (list === undefined) (lists ??= new Map<string, string[]>()).set(name, [value]);
      else list.push(value);
    } else if (parameter !== undefined) {
      const read = readParameter(name, value, parameter, depth, work, unknown);
      if (read !== undefined) query[name] = read;
    } else if (!ZERO.has(value)) unknown.push({ where: `?${name}`, value });
  }
  for (const [name, value] of lists ?? []) query[name] = { type: 'strings', value };
  return { query, unknown, names };
}

/**
 * Reads a query string or an urlencoded body as url.ParseQuery of Go reads it (net/url/url.go): `&` separates, `+` is a
 * space, names are case-sensitive, empty pairs are skipped. What Go drops silently (`;`, bad escapes; on `/build` dockerd
 * goes on without them) is refused.
 *
 * @throws Refusal 400
 */
function parsePairs(raw: string): Pair[] {
  const pairs: Pair[] = [];
  if (raw === '') return pairs;
  if (raw.includes(';')) {
    throw new Refusal(
      400,
      'query-separator',
      'a ";" in the query or form: separate parameters with "&", or encode it as %3B',
    );
  }
  const plain = !raw.includes('%') && !raw.includes('+');
  for (let start = 0; start <= raw.length;) {
    let end = raw.indexOf('&', start);
    if (end < 0) end = raw.length;
    if (end > start) {
      if (pairs.length === MAXIMUM_PAIRS) {
        throw new Refusal(400, 'too-many-parameters', `more than ${MAXIMUM_PAIRS} query or form parameters`);
      }
      const piece = raw.slice(start, end);
      const equals = piece.indexOf('=');
      const name = equals < 0 ? piece : piece.slice(0, equals);
      const value = equals < 0 ? '' : piece.slice(equals + 1);
      pairs.push(
        plain ? [name, value] : [decode(name, 'a name'), decode(value, `the value of "${shown(name)}"`)],
      );
    }
    start = end + 1;
  }
  return pairs;
}

/** @param what says where the text stands, without quoting it: it may be a secret. */
function decode(text: string, what: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw new Refusal(
      400,
      'query-encoding',
      `${what} in the query or form has an invalid percent escape, or one that is not UTF-8`,
    );
  }
  // The kernel ends a path at NUL where Go does not.
  if (decoded.includes('\0'))
    throw new Refusal(400, 'query-character', 'an encoded NUL in the query or form');
  return decoded;
}

/**
 * Is an unknown parameter harmless? A zero value is dropped, as in a body. The SDK for
 * Python sends `trunc_cmd=0` with every list.
 */
const ZERO = new Set(['', '0', 'false']);

/** Booleans that handlers test for `""` first: `rm=` on a build and `pause=` on a commit mean the default, true. */
const DEFAULT_TRUE = new Set(['rm', 'pause']);

/** The canonical value, or undefined when the value means the same as no parameter at all. */
function readParameter(
  name: string,
  value: string,
  parameter: Parameter,
  depth: number,
  work: Work,
  unknown: UnknownField[],
): QueryValue | undefined {
  switch (parameter.type) {
    case 'string':
    case 'strings':
      return { type: 'string', value };
    case 'boolean':
      if (value === '' && DEFAULT_TRUE.has(name)) return undefined;
      return { type: 'boolean', value: readBoolean(value) };
    case 'integer':
      return value === '' ? undefined : { type: 'integer', value: readInteger(name, value) };
    case 'json':
      return value === ''
        ? undefined
        : { type: 'json', value: readJson(name, value, parameter.schema, depth, work, unknown) };
  }
}

/** httputils.BoolValue of moby: everything is true but five words, so `force=banana` forces. */
export function readBoolean(value: string): boolean {
  let start = 0;
  let end = value.length;
  // By hand: a regular expression for trailing blanks is quadratic in a run of inner ones.
  while (start < end && GO_BLANK.test(value.charAt(start))) start++;
  while (end > start && GO_BLANK.test(value.charAt(end - 1))) end--;
  return !FALSE.has(value.slice(start, end).toLowerCase());
}

function readInteger(name: string, value: string): bigint {
  const integer = INTEGER.test(value) ? BigInt(value.startsWith('+') ? value.slice(1) : value) : undefined;
  if (integer === undefined || BigInt.asIntN(64, integer) !== integer) {
    throw new Refusal(
      400,
      'parameter-type',
      `the parameter "${shown(name)}" is not a 64-bit decimal integer`,
    );
  }
  return integer;
}

function readJson(
  name: string,
  text: string,
  schema: Schema,
  depth: number,
  work: Work,
  unknown: UnknownField[],
): JsonValue {
  try {
    if (name === 'filters') return readFilters(text, depth, work);
    // A null build argument is one that the client mentions without a value: not an empty one (build_routes.go).
    const decoded = decodeJsonText(text, schema, depth, work, name === 'buildargs');
    for (const field of decoded.unknown)
      unknown.push({ where: `?${name}${field.where}`, value: field.value });
    return decoded.value;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new Refusal(
      error.status,
      error.code,
      `the parameter "${shown(name)}" is not readable: ${error.message}`,
    );
  }
}

/**
 * `{"label":["a"]}`, or the newer `{"label":{"a":true}}`: every filter must have the same shape, because filters.FromJSON
 * of moby tries one type and then the other. A `false` is refused: some handlers count it as a match, others do not.
 */
function readFilters(text: string, depth: number, work: Work): JsonValue {
  const { value } = decodeJsonText(text, FILTERS, depth, work);
  let shape = '';
  for (const [key, values] of Object.entries(value as Record<string, JsonValue>)) {
    const list = Array.isArray(values)
      ? values
      : Object.values(values !== null && typeof values === 'object' ? values : {});
    const kind = Array.isArray(values) ? 'array' : 'object';
    const wanted = Array.isArray(values) ? 'string' : 'boolean';
    const mixed = shape !== '' && shape !== kind;
    if (
      values === null ||
      typeof values !== 'object' ||
      mixed ||
      list.some((item) => typeof item !== wanted || item === false)
    ) {
      throw new Refusal(
        400,
        'filters',
        `the filter "${shown(key)}" must be an array of strings, or an object of trues, all filters alike`,
      );
    }
    shape = kind;
  }
  return value;
}

function shown(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 57)}…`;
}
