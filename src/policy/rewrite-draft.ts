import type { Call, QueryValue } from '../docker/call.js';
import { type JsonObject, type JsonValue, asObject } from '../base/json.js';
import { pointerOf } from './problems.js';

/** A field of the JSON body, a query parameter (or an entry of one that holds JSON), or a request header. */
export interface Place {
  readonly in: 'body' | 'query' | 'header';
  readonly steps: readonly string[];
}

/** What a rewrite may put into texts. */
export interface Variables {
  /** The first source of the rule that the caller belongs to; the listener's name for a rule for everyone. */
  readonly source: string;
  readonly call: string;
  /** The client's address; on a unix socket, which has none, the listener's name. */
  readonly client: string;
}

/**
 * A call that is being rewritten. `next` is replaced, never changed: what it shares with `call` stays shared, what
 * is different is copied on the path.
 */
export interface Draft {
  readonly call: Call;
  next: Call;
  /** Places written to, by how they are named for people. */
  readonly touched: Map<string, Place>;
  /** Why the rewrite cannot be done on this call, or `""`. The rule then does not allow it. */
  conflict: string;
}

export type Step = (draft: Draft, variables: Variables) => void;

export function startDraft(call: Call): Draft {
  return { call, next: call, touched: new Map(), conflict: '' };
}

/** `/HostConfig/Memory`, `?memory`, `?labels/key`, `header x-registry-auth`. */
export function whereOf(place: Place): string {
  if (place.in === 'header') return `header ${place.steps[0]}`;
  return place.in === 'body'
    ? pointerOf(place.steps)
    : `?${place.steps[0]}${pointerOf(place.steps.slice(1))}`;
}

function plain(value: QueryValue | undefined): JsonValue | undefined {
  return value?.type === 'strings' ? [...value.value] : value?.value;
}

/** The value at a place of a call; undefined when there is none. */
export function valueAt(call: Call, place: Place): JsonValue | undefined {
  const [first = '', ...rest] = place.steps;
  if (place.in === 'header') return call.headers[first];
  let value: JsonValue | undefined;
  if (place.in === 'query') value = plain(call.query[first]);
  else value = call.body.kind === 'json' ? call.body.value : undefined;
  for (const step of place.in === 'query' ? rest : place.steps) {
    const object = asObject(value);
    value = Object.hasOwn(object, step) ? object[step] : undefined;
  }
  return value;
}

export function sameJson(a: JsonValue | undefined, b: JsonValue | undefined): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return a.every((item, index) => sameJson(item, b[index]));
  }
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every((key) => Object.hasOwn(b, key) && sameJson(a[key], b[key]));
}

/** A copy without prototype, for one level of a JSON object. */
export function copyObject(value: JsonValue | undefined): JsonObject {
  return Object.assign(Object.create(null) as JsonObject, asObject(value));
}

function withField(
  from: JsonValue | undefined,
  steps: readonly string[],
  value: JsonValue | undefined,
): JsonObject {
  const copy = copyObject(from);
  const [step = '', ...rest] = steps;
  if (rest.length > 0) copy[step] = withField(copy[step], rest, value);
  else if (value === undefined) delete copy[step];
  else copy[step] = value;
  return copy;
}

/** The value of a body field in the call as rewritten so far. */
export function fieldOf(draft: Draft, ...steps: readonly string[]): JsonValue | undefined {
  return valueAt(draft.next, { in: 'body', steps });
}

/** Sets a body field, or removes it when the value is undefined. */
export function putField(draft: Draft, steps: readonly string[], value: JsonValue | undefined): void {
  const { body } = draft.next;
  const place: Place = { in: 'body', steps };
  if (body.kind !== 'json' || sameJson(valueAt(draft.next, place), value)) return;
  draft.next = { ...draft.next, body: { kind: 'json', value: withField(body.value, steps, value) } };
  draft.touched.set(whereOf(place), place);
}

/** Sets entries of a map in the body, such as labels, in one copy. */
export function putEntries(
  draft: Draft,
  steps: readonly string[],
  entries: ReadonlyMap<string, JsonValue>,
): void {
  const map = copyObject(fieldOf(draft, ...steps));
  const before = draft.touched.has(pointerOf(steps));
  for (const [key, value] of entries) map[key] = value;
  putField(draft, steps, map);
  // Named entry by entry: the rest of the map is the client's and did not change.
  if (before || !draft.touched.delete(pointerOf(steps))) return;
  for (const key of entries.keys()) {
    const place: Place = { in: 'body', steps: [...steps, key] };
    draft.touched.set(whereOf(place), place);
  }
}

/** Sets a query parameter, or removes it when the value is undefined. */
export function putQuery(draft: Draft, name: string, value: QueryValue | undefined): void {
  const place: Place = { in: 'query', steps: [name] };
  if (sameJson(plain(draft.next.query[name]), plain(value))) return;
  const query = Object.assign(Object.create(null) as Record<string, QueryValue>, draft.next.query);
  if (value === undefined) delete query[name];
  else query[name] = value;
  draft.next = { ...draft.next, query };
  draft.touched.set(whereOf(place), place);
}

/** Sets entries of a parameter that holds a JSON object, such as a build's labels. */
export function putQueryEntries(draft: Draft, name: string, entries: ReadonlyMap<string, JsonValue>): void {
  const map = copyObject(plain(draft.next.query[name]));
  const before = draft.touched.has(`?${name}`);
  for (const [key, value] of entries) map[key] = value;
  putQuery(draft, name, { type: 'json', value: map });
  if (before || !draft.touched.delete(`?${name}`)) return;
  for (const key of entries.keys()) {
    const place: Place = { in: 'query', steps: [name, key] };
    draft.touched.set(whereOf(place), place);
  }
}

export function removeHeader(draft: Draft, name: string): void {
  if (draft.next.headers[name] === undefined) return;
  const headers = Object.assign(Object.create(null) as Record<string, string>, draft.next.headers);
  delete headers[name];
  draft.next = { ...draft.next, headers };
  const place: Place = { in: 'header', steps: [name] };
  draft.touched.set(whereOf(place), place);
}
