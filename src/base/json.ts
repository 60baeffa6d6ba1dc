/**
 * A decoded JSON value. Objects inherit nothing (so `__proto__` is an ordinary key). An integer that a double
 * cannot hold exactly is a `bigint`: Go reads int64, and 9007199254740993 must survive (encoding/json, decode.go).
 */
export type JsonValue = null | boolean | number | bigint | string | JsonValue[] | JsonObject;
export interface JsonObject {
  [key: string]: JsonValue;
}

/** What `JSON.parse` makes of an object. */
export type PlainObject = Readonly<Record<string, unknown>>;

export function isObject(value: JsonValue | undefined): value is JsonObject;
export function isObject(value: unknown): value is PlainObject;
export function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function emptyObject(): JsonObject {
  // INVARIANT: no prototype, so that the key `__proto__` is data like any other.
  return Object.create(null) as JsonObject;
}

/**
 * `new BareObject()` is for objects whose keys a schema names. V8 makes a hash table of what `Object.create(null)` returns,
 * which is right for any keys and several times slower for these. INVARIANT: nothing is inherited here either.
 */
export const BareObject = function () {} as unknown as new () => JsonObject;
BareObject.prototype = Object.freeze(Object.create(null) as JsonObject);

/** Was this made as a `BareObject`: are its keys names of a schema, not the sender's? */
export function isBareObject(value: JsonObject): boolean {
  return Object.getPrototypeOf(value) === BareObject.prototype;
}

const EMPTY: JsonObject = Object.freeze(Object.create(null) as JsonObject);

// Each of these reads a value of any other type as the empty one.

export function asObject(value: JsonValue | undefined): JsonObject;
export function asObject(value: unknown): PlainObject;
export function asObject(value: unknown): PlainObject {
  return isObject(value) ? value : EMPTY;
}

export function asArray(value: JsonValue | undefined): readonly JsonValue[];
export function asArray(value: unknown): readonly unknown[];
export function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}

export function asString(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** A list of strings; a lone string is a list of one, a null element is `""` as in Go. */
export function asStrings(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return Array.isArray(value) ? value.map(asString) : [];
}

/** An integer as a double: facts are compared by size, not by their last digit. */
export function asNumber(value: unknown): number {
  return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : 0;
}

export function keysOf(value: JsonValue | undefined): string[] {
  return Object.keys(asObject(value));
}

/** As Go's zero values: a field holding one is as good as absent. */
export function isZero(value: JsonValue): boolean {
  if (value === null || value === false || value === 0 || value === 0n || value === '') return true;
  if (typeof value !== 'object') return false;
  return Array.isArray(value) ? value.length === 0 : Object.keys(value).length === 0;
}
