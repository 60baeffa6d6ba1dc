import {
  enter,
  isEmpty,
  next,
  numberOf,
  peek,
  scanKey,
  scanNumber,
  scanString,
  scanWord,
  shorten,
  startsNumber,
  syntaxError,
  type Scan,
} from './json-scan.js';
import type { JsonObject, JsonValue } from '../base/json.js';

export function emptyObject(): JsonObject {
  // INVARIANT: no prototype, so that the key `__proto__` is data like any other.
  return Object.create(null) as JsonObject;
}

const Bare = function () {} as unknown as new () => JsonObject;
Bare.prototype = Object.freeze(Object.create(null) as JsonObject);

/**
 * For objects whose keys a schema names. V8 makes a hash table of what `Object.create(null)` returns, which is right
 * for any keys and several times slower for these. INVARIANT: nothing is inherited here either.
 */
export function emptyRecord(): JsonObject {
  return new Bare();
}

/** Was this object made by `emptyRecord`: are its keys names of a schema, not the sender's? */
export function isRecord(value: JsonObject): boolean {
  return Object.getPrototypeOf(value) === Bare.prototype;
}

/** Equal for two keys exactly when encoding/json takes them for one (fold.go): ASCII case, U+017F as s, U+212A as k. */
export function foldKey(key: string): string {
  return key.replaceAll('\u017f', 's').toLowerCase();
}

/** Is it Go's zero value, of any type? Dropping it changes nothing. */
export function isZero(value: JsonValue): boolean {
  if (value === null || value === false || value === 0 || value === '') return true;
  if (typeof value !== 'object') return false;
  return Array.isArray(value) ? value.length === 0 : Object.keys(value).length === 0;
}

/**
 * JSON that no schema describes. `foldKeys` also refuses keys that differ by case alone: the daemon may know the type
 * that the schema does not, and would merge them.
 */
export function anyValue(scan: Scan, foldKeys: boolean): JsonValue {
  const code = peek(scan);
  if (code === 0x22) return scanString(scan);
  if (code === 0x7b) return anyObject(scan, foldKeys);
  if (code === 0x5b) return anyArray(scan, foldKeys);
  if (startsNumber(code)) {
    const { literal, integer } = scanNumber(scan);
    return numberOf(scan, literal, integer);
  }
  return scanWord(scan);
}

function anyObject(scan: Scan, foldKeys: boolean): JsonObject {
  const object = emptyObject();
  enter(scan);
  if (isEmpty(scan, 0x7d)) return object;
  const seen = new Set<string>();
  do {
    const key = scanKey(scan);
    const id = foldKeys ? foldKey(key) : key;
    if (seen.has(id))
      throw syntaxError(scan, `the key ${JSON.stringify(shorten(key))} comes twice in one object`);
    seen.add(id);
    object[key] = anyValue(scan, foldKeys);
  } while (next(scan, 0x7d));
  return object;
}

function anyArray(scan: Scan, foldKeys: boolean): JsonValue[] {
  const array: JsonValue[] = [];
  enter(scan);
  if (isEmpty(scan, 0x5d)) return array;
  do {
    array.push(anyValue(scan, foldKeys));
  } while (next(scan, 0x5d));
  return array;
}
