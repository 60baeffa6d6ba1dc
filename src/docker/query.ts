import type { QueryValue, UnknownField } from './call.js';
import type { Pair } from './form.js';
import { decodeJsonText } from './go-json.js';
import { BareObject, type JsonValue } from '../base/json.js';
import type { Parameter } from './catalogue/row.js';
import type { Operation } from './operation.js';
import { Refusal } from './refusal.js';
import type { Schema } from './schema.js';

/** The parameters of a call so far; a form body is read into the same one as the query. */
export interface Parameters {
  readonly query: Record<string, QueryValue>;
  readonly unknown: UnknownField[];
  /** Every name that came, also those that were dropped. */
  readonly names: Set<string>;
}

const INTEGER = /^[+-]?[0-9]{1,64}$/;
const FALSE = new Set(['', '0', 'no', 'false', 'none']);
/** What strings.TrimSpace of Go trims; String.trim also takes U+FEFF and leaves U+0085. */
const GO_BLANK = /[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;
const FILTERS: Schema = { type: 'map', values: { type: 'any' } };

export function startParameters(): Parameters {
  return {
    query: new BareObject() as Record<string, unknown> as Record<string, QueryValue>,
    unknown: [],
    names: new Set(),
  };
}

interface Known {
  /** The catalogue's own text: V8 looks up a text that was cut out of a request much more slowly. */
  readonly name: string;
  readonly parameter: Parameter;
}

const knownOf = new WeakMap<Operation['query'], ReadonlyMap<string, Known>>();

function parametersOf({ query }: Operation): ReadonlyMap<string, Known> {
  let known = knownOf.get(query);
  if (known === undefined) {
    known = new Map(Object.entries(query).map(([name, parameter]) => [name, { name, parameter }]));
    knownOf.set(query, known);
  }
  return known;
}

/**
 * Reads decoded pairs by the types of the catalogue. A name that comes twice, or in the query and in the form body,
 * is refused unless all its values count: handlers differ in which one they take.
 *
 * @throws Refusal 400
 */
export function readParameters(
  operation: Operation,
  pairs: readonly Pair[],
  into: Parameters,
  depth: number,
): void {
  let lists: Map<string, string[]> | undefined;
  const known = parametersOf(operation);
  const earlier = into.names.size === 0 ? undefined : new Set(into.names);
  for (const [given, value] of pairs) {
    const { name, parameter } = known.get(given) ?? { name: given, parameter: undefined };
    const list = lists?.get(name);
    if (earlier?.has(name) === true || (into.names.has(name) && list === undefined)) {
      throw new Refusal(
        400,
        'duplicate-parameter',
        `the parameter "${shown(name)}" comes more than once${earlier?.has(name) === true ? ' (in the query and in the form body)' : ''}: send it once`,
      );
    }
    into.names.add(name);
    if (parameter?.type === 'strings') {
      if (list === undefined) (lists ??= new Map<string, string[]>()).set(name, [value]);
      else list.push(value);
    } else if (parameter !== undefined) {
      const read = readParameter(name, value, parameter, depth, into.unknown);
      if (read !== undefined) into.query[name] = read;
    } else if (!ZERO.has(value)) into.unknown.push({ where: `?${name}`, value });
  }
  for (const [name, value] of lists ?? []) into.query[name] = { type: 'strings', value };
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
        : { type: 'json', value: readJson(name, value, parameter.schema, depth, unknown) };
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
      `the parameter "${shown(name)}" is "${shown(value)}", not a 64-bit decimal integer`,
    );
  }
  return integer;
}

function readJson(
  name: string,
  text: string,
  schema: Schema,
  depth: number,
  unknown: UnknownField[],
): JsonValue {
  try {
    if (name === 'filters') return readFilters(text, depth);
    // A null build argument is one that the client mentions without a value: not an empty one (build_routes.go).
    const decoded = decodeJsonText(text, schema, depth, name === 'buildargs');
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
function readFilters(text: string, depth: number): JsonValue {
  const { value } = decodeJsonText(text, FILTERS, depth);
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
