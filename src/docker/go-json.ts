import { BareObject, emptyObject, isObject, type JsonObject, type JsonValue } from '../base/json.js';
import { unlimited, type Work } from '../base/work.js';
import { decodeScanned, type DecodedJson } from './go-json-scanned.js';
import {
  CHARACTER_PRICE,
  MAX_DEPTH,
  TOO_MUCH,
  VALUE_PRICE,
  anyValue,
  finishScan,
  foldKey,
  startScan,
} from './json-scan.js';
import { Refusal } from './refusal.js';
import type { Schema } from './schema.js';
import { resolveSchema } from './schemas.js';

/** How much JSON is read; deeper or longer is refused. */
export interface JsonLimits {
  readonly jsonDepth: number;
  readonly jsonBody: number;
}

const DEFAULT_DEPTH = 64;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** Longer texts take the long way: this one holds the value twice for a moment. */
const MAX_LENGTH = 64 * 1024;
/** Digits that every double holds exactly, and every integer type of 64 bits. */
const EXACT_DIGITS = 15;

type Fields = Readonly<Record<string, Schema>>;
const exactNames = new WeakMap<Fields, ReadonlyMap<string, Schema>>();

/** Met so far: keys of all objects, elements of all arrays. */
interface Count {
  keys: number;
  elements: number;
}

/**
 * Parses JSON of any shape, strictly: no duplicate keys, no trailing data, no half surrogate pairs, limited depth.
 * Integers beyond 2^53 are bigints, objects have no prototype.
 *
 * @throws Refusal 400 with line and column
 */
export function parseStrictJson(text: string, depth = DEFAULT_DEPTH): JsonValue {
  const scan = startScan(text, depth);
  const value = anyValue(scan, false);
  finishScan(scan);
  return value;
}

/**
 * Decodes JSON the way encoding/json (decode.go) decodes it into the Go type that `schema` stands for, and refuses what
 * has more than one reading there: keys that are equal after folding (Go merges or overwrites), invalid UTF-8 (replaced
 * there), trailing data. A `null` is the zero value: no field, and in arrays and maps the zero value of its type.
 * An unknown field stays in the value under its own key and is listed, unless it is zero: then it is dropped.
 *
 * @param work pays for it, and for all that is done with the value afterwards.
 * @throws Refusal 400, or 413 when the bytes or the values are too many
 */
export function decodeJson(bytes: Uint8Array, schema: Schema, limits: JsonLimits, work: Work): DecodedJson {
  if (bytes.length > limits.jsonBody) {
    throw new Refusal(413, 'body-too-large', `the JSON body is longer than ${limits.jsonBody} bytes`);
  }
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw new Refusal(400, 'invalid-utf8', 'the JSON body is not valid UTF-8');
  }
  return decodeJsonText(text, schema, limits.jsonDepth, work);
}

/** As `decodeJson`, for text; `keepNull` for values of type `map[string]*string`. @throws Refusal 400, 413 */
export function decodeJsonText(
  text: string,
  schema: Schema,
  depth: number,
  work: Work = unlimited(),
  keepNull = false,
): DecodedJson {
  const value = decodePlain(text, schema, Math.min(depth, MAX_DEPTH), work);
  return value === undefined ? decodeScanned(text, schema, depth, work, keepNull) : { value, unknown: [] };
}

/**
 * The fast path for JSON without special cases, which is nearly all of it: JSON.parse, and a walk along the schema.
 *
 * INVARIANT: it gives the value that `decodeScanned` gives, or undefined: text that could be read in two ways, has the
 * wrong type or is not JSON is left to `decodeScanned`, which refuses it. No key can come twice: JSON.parse keeps the last
 * of equal keys, so that the object then has fewer keys than the text has colons; and keys that differ by case are not
 * all exact names of the schema.
 */
export function decodePlain(
  text: string,
  schema: Schema,
  depth: number,
  work: Work = unlimited(),
): JsonValue | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  const colons = survey(text, depth);
  if (colons < 0) return undefined;
  let parsed: JsonValue;
  try {
    parsed = JSON.parse(text) as JsonValue;
  } catch {
    return undefined;
  }
  const count: Count = { keys: 0, elements: 0 };
  const value = walk(parsed, schema, count);
  if (count.keys !== colons || value === undefined) return undefined;
  work.left -= CHARACTER_PRICE * text.length + VALUE_PRICE * (count.keys + count.elements);
  if (work.left < 0) throw TOO_MUCH;
  return value;
}

/**
 * Colons outside of strings, one for each key; -1 when the text has a special case: an escape, a character that is not
 * ASCII, a number that is no plain integer or too long to be exact, -0, or deeper nesting than `depth`.
 */
function survey(text: string, depth: number): number {
  const { length } = text;
  let colons = 0;
  let level = 0;
  for (let at = 0; at < length; at++) {
    let code = text.charCodeAt(at);
    if (code === 0x22) {
      for (;;) {
        code = text.charCodeAt(++at);
        if (code === 0x22) break;
        // Not a number at the end of the text.
        if (!(code >= 0x20 && code <= 0x7e) || code === 0x5c) return -1;
      }
    } else if (code === 0x3a) {
      colons++;
    } else if (code === 0x7b || code === 0x5b) {
      if (++level > depth) return -1;
    } else if (code === 0x7d || code === 0x5d) {
      level--;
    } else if (code >= 0x30 && code <= 0x39) {
      const start = at;
      do code = text.charCodeAt(++at);
      while (code >= 0x30 && code <= 0x39);
      if (at - start > EXACT_DIGITS || code === 0x2e || code === 0x65 || code === 0x45) return -1;
      at--;
    } else if (code === 0x2d && text.charCodeAt(at + 1) === 0x30) {
      return -1;
    }
  }
  return colons;
}

function walk(value: JsonValue, given: Schema, count: Count): JsonValue | undefined {
  const schema = given.type === 'ref' ? resolveSchema(given) : given;
  switch (schema.type) {
    case 'string':
      return typeof value === 'string' ? value : undefined;
    case 'boolean':
      return typeof value === 'boolean' ? value : undefined;
    case 'integer':
      return typeof value === 'number' && fits(value, schema.bits, schema.unsigned === true)
        ? value
        : undefined;
    case 'object':
      return isObject(value) ? walkObject(value, schema.fields, count) : undefined;
    case 'map':
      return isObject(value) ? walkMap(value, schema.values, count) : undefined;
    case 'strslice':
      if (typeof value === 'string') return [value];
      return Array.isArray(value) ? walkArray(value, STRING, count) : undefined;
    case 'array':
      return Array.isArray(value) ? walkArray(value, schema.items, count) : undefined;
    default:
      return undefined;
  }
}

const STRING: Schema = { type: 'string' };

function walkObject(parsed: JsonObject, fields: Fields, count: Count): JsonObject | undefined {
  const known = exactNames.get(fields) ?? findExactNames(fields);
  const object = new BareObject();
  for (const key in parsed) {
    count.keys++;
    const schema = known.get(key);
    if (schema === undefined) return undefined;
    const member = parsed[key]!;
    // No field, as for `decodeScanned`.
    if (member === null) continue;
    const value = walk(member, schema, count);
    if (value === undefined) return undefined;
    object[key] = value;
  }
  return object;
}

/** A null in a map or an array is a value of its own, which depends on the type: not for this walk. */
function walkMap(parsed: JsonObject, values: Schema, count: Count): JsonObject | undefined {
  const object = emptyObject();
  for (const key in parsed) {
    count.keys++;
    const value = walk(parsed[key]!, values, count);
    if (value === undefined) return undefined;
    object[key] = value;
  }
  return object;
}

/** The parsed array is used nowhere else, so it is changed in place. */
function walkArray(parsed: JsonValue[], items: Schema, count: Count): JsonValue[] | undefined {
  count.elements += parsed.length;
  for (let at = 0; at < parsed.length; at++) {
    const value = walk(parsed[at]!, items, count);
    if (value === undefined) return undefined;
    parsed[at] = value;
  }
  return parsed;
}

function fits(value: number, bits: number, unsigned: boolean): boolean {
  if (bits === 64) return !unsigned || value >= 0;
  return unsigned ? value >= 0 && value < 2 ** bits : value >= -(2 ** (bits - 1)) && value < 2 ** (bits - 1);
}

/** The fields by name, without those of which another one differs by case alone. */
function findExactNames(fields: Fields): ReadonlyMap<string, Schema> {
  const folded = Object.keys(fields).map(foldKey);
  const alone = Object.entries(fields).filter(
    (_, at) => folded.indexOf(folded[at]!) === folded.lastIndexOf(folded[at]!),
  );
  const names = new Map(alone);
  exactNames.set(fields, names);
  return names;
}
