import type { UnknownField } from './call.js';
import type { Work } from '../base/work.js';
import {
  VALUE_PRICE,
  anyValue,
  charge,
  enter,
  finishScan,
  foldKey,
  integerOf,
  isEmpty,
  next,
  numberOf,
  peek,
  pointerOf,
  scanKey,
  scanNumber,
  scanSmallInteger,
  scanString,
  scanWord,
  shapeError,
  shorten,
  startScan,
  startsNumber,
  type Scan,
} from './json-scan.js';
import { BareObject, emptyObject, isZero, type JsonObject, type JsonValue } from '../base/json.js';
import type { Refusal } from './refusal.js';
import type { Schema } from './schema.js';
import { resolveSchema } from './schemas.js';

export interface DecodedJson {
  /** Canonical: field names as the schema spells them, no null fields, no zero-valued unknown fields. */
  readonly value: JsonValue;
  readonly unknown: UnknownField[];
}

interface Decoder extends Scan {
  readonly unknown: UnknownField[];
  /** A null in a map of scalars is data (`map[string]*string`), not the zero value. */
  readonly keepNull: boolean;
}

type Fields = Readonly<Record<string, Schema>>;
interface Field {
  readonly name: string;
  readonly folded: string;
  readonly schema: Schema;
  /** Another field has the same folded name. */
  readonly shared: boolean;
}

/** More unknown fields than this say that the schema is not the one the client means. */
const MAX_UNKNOWN = 64;
const MAX_POINTER_LENGTH = 1024;
const fieldsByName = new WeakMap<Fields, ReadonlyMap<string, Field>>();

/** The long way of `decodeJsonText`: character by character, and the one that refuses. @throws Refusal 400, 413 */
export function decodeScanned(
  text: string,
  schema: Schema,
  depth: number,
  work: Work,
  keepNull = false,
): DecodedJson {
  const decoder: Decoder = { ...startScan(text, depth, work), unknown: [], keepNull };
  const root = resolveSchema(schema);
  const value = decodeValue(decoder, root);
  finishScan(decoder);
  if (value !== null) return { value, unknown: decoder.unknown };
  return { value: root.type === 'array' ? [] : emptyObject(), unknown: decoder.unknown };
}

/** The value, or null for a JSON null. */
function decodeValue(decoder: Decoder, given: Schema): JsonValue {
  charge(decoder.work, VALUE_PRICE);
  const code = peek(decoder);
  const schema = given.type === 'ref' ? resolveSchema(given) : given;
  if (code === 0x6e) return scanWord(decoder);
  switch (schema.type) {
    case 'object':
      if (code !== 0x7b) throw mismatch(decoder, code, 'an object');
      return decodeObject(decoder, schema.fields);
    case 'map':
      if (code !== 0x7b) throw mismatch(decoder, code, 'an object');
      return decodeMap(decoder, schema.values);
    case 'array':
      if (code !== 0x5b) throw mismatch(decoder, code, 'an array');
      return decodeArray(decoder, schema.items);
    case 'strslice':
      // strslice.StrSlice: "echo hi" means ["echo hi"], it is not split.
      if (code === 0x22) return [scanString(decoder)];
      if (code !== 0x5b) throw mismatch(decoder, code, 'a string or an array of strings');
      return decodeArray(decoder, STRING);
    case 'string':
      if (code !== 0x22) throw mismatch(decoder, code, 'a string');
      return scanString(decoder);
    case 'boolean':
      if (code !== 0x74 && code !== 0x66) throw mismatch(decoder, code, 'true or false');
      return scanWord(decoder);
    case 'integer':
      if (!startsNumber(code)) throw mismatch(decoder, code, 'an integer');
      return decodeInteger(decoder, schema.bits, schema.unsigned === true);
    case 'float': {
      if (!startsNumber(code)) throw mismatch(decoder, code, 'a number');
      const { literal } = scanNumber(decoder);
      return Number(numberOf(decoder, literal, false));
    }
    case 'bytes':
      if (code !== 0x22) throw mismatch(decoder, code, 'a base64 string');
      return decodeBytes(decoder);
    case 'any':
      return anyValue(decoder, false);
    case 'ref':
      throw new Error(`unresolved schema ${schema.name}`);
  }
}

const STRING: Schema = { type: 'string' };

function mismatch(decoder: Decoder, code: number, expected: string): Refusal {
  let got: string;
  if (code === 0x7b) got = 'an object';
  else if (code === 0x5b) got = 'an array';
  else if (code === 0x22) got = `the string ${shorten(JSON.stringify(scanString(decoder)))}`;
  else if (startsNumber(code)) got = `the number ${scanNumber(decoder).literal}`;
  else got = String(scanWord(decoder));
  return shapeError(decoder, 'json-type', `${expected} belongs here, found ${got}`);
}

function decodeObject(decoder: Decoder, fields: Fields): JsonObject {
  const object = new BareObject();
  enter(decoder);
  if (isEmpty(decoder, 0x7d)) return object;
  const known = indexOf(fields);
  // Folded keys that came and that the object does not show under the name of a known field.
  let hidden: Set<string> | undefined;
  do {
    const key = scanKey(decoder);
    const exact = known.get(key);
    const folded = exact?.folded ?? foldKey(key);
    const field = exact ?? known.get(folded);
    decoder.path.push(field?.name ?? key);
    // INVARIANT: one key, one value. Go merges `"HostConfig":{…},"hostconfig":{…}`, other readers take one of them.
    if (hidden?.has(folded) === true || (field !== undefined && field.name in object)) {
      throw duplicate(decoder, key);
    }
    const value = field === undefined ? null : decodeValue(decoder, field.schema);
    if (value === null || field?.shared === true) (hidden ??= new Set()).add(folded);
    if (field === undefined) decodeUnknown(decoder, object, key);
    else if (value !== null) object[field.name] = value;
    decoder.path.pop();
  } while (next(decoder, 0x7d));
  return object;
}

function duplicate(scan: Scan, key: string): Refusal {
  return shapeError(
    scan,
    'duplicate-key',
    `the key ${JSON.stringify(shorten(key))} comes twice (keys are compared without case)`,
  );
}

function decodeUnknown(decoder: Decoder, object: JsonObject, key: string): void {
  const value = anyValue(decoder, true);
  if (isZero(value)) return;
  const where = pointerOf(decoder.path);
  // Both limits keep the pointers of one body linear in its size.
  if (decoder.unknown.length === MAX_UNKNOWN || where.length > MAX_POINTER_LENGTH) {
    throw shapeError(
      decoder,
      'too-many-unknown-fields',
      'too many unknown fields, or one under a very long key',
    );
  }
  decoder.unknown.push({ where, value });
  object[key] = value;
}

function indexOf(fields: Fields): ReadonlyMap<string, Field> {
  let index = fieldsByName.get(fields);
  if (index === undefined) {
    const made = new Map<string, Field>();
    const names = Object.keys(fields).map(foldKey);
    const all = Object.entries(fields).map(([name, schema]) => {
      const folded = foldKey(name);
      return { name, schema, folded, shared: names.indexOf(folded) !== names.lastIndexOf(folded) };
    });
    // Exact names last: they beat the folded spelling of another field.
    for (const field of all) made.set(field.folded, field);
    for (const field of all) made.set(field.name, field);
    fieldsByName.set(fields, made);
    index = made;
  }
  return index;
}

function decodeMap(decoder: Decoder, values: Schema): JsonObject {
  const object = emptyObject();
  enter(decoder);
  if (isEmpty(decoder, 0x7d)) return object;
  do {
    const key = scanKey(decoder);
    decoder.path.push(key);
    if (key in object) throw duplicate(decoder, key);
    const value = decodeValue(decoder, values);
    object[key] = value === null && !decoder.keepNull ? zeroOf(values) : value;
    decoder.path.pop();
  } while (next(decoder, 0x7d));
  return object;
}

function decodeArray(decoder: Decoder, items: Schema): JsonValue[] {
  const array: JsonValue[] = [];
  enter(decoder);
  if (isEmpty(decoder, 0x5d)) return array;
  do {
    decoder.path.push(array.length);
    array.push(decodeValue(decoder, items) ?? zeroOf(items));
    decoder.path.pop();
  } while (next(decoder, 0x5d));
  return array;
}

/** What null leaves in a new Go value. */
function zeroOf(given: Schema): JsonValue {
  const schema = given.type === 'ref' ? resolveSchema(given) : given;
  if (schema.type === 'string' || schema.type === 'bytes') return '';
  if (schema.type === 'boolean') return false;
  return schema.type === 'integer' || schema.type === 'float' ? 0 : null;
}

function decodeInteger(decoder: Decoder, bits: number, unsigned: boolean): number | bigint {
  const small = bits >= 32 ? scanSmallInteger(decoder) : -1;
  if (small >= 0) return small;
  const { literal, integer } = scanNumber(decoder);
  const type = `${unsigned ? 'an unsigned' : 'a signed'} ${bits}-bit integer`;
  if (!integer) {
    throw shapeError(decoder, 'json-type', `${type} belongs here, found ${literal}: no fraction or exponent`);
  }
  const value = integerOf(literal);
  const lowest = unsigned ? 0n : -(1n << BigInt(bits - 1));
  const highest = (1n << BigInt(unsigned ? bits : bits - 1)) - 1n;
  // strconv.ParseUint takes no sign at all, so "-0" is an error there.
  if (value < lowest || value > highest || (unsigned && literal.startsWith('-'))) {
    throw shapeError(decoder, 'json-range', `${literal} is out of range for ${type}`);
  }
  return value;
}

/** base64.StdEncoding: padded, line breaks skipped. The canonical form has none, and no stray bits. */
function decodeBytes(decoder: Decoder): string {
  const text = scanString(decoder).replace(/[\r\n]/g, '');
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    throw shapeError(decoder, 'json-type', 'a base64 string (standard alphabet, padded) belongs here');
  }
  return btoa(atob(text));
}
