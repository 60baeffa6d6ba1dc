import { asArray, asNumber, asObject, asString, asStrings, isZero, type JsonValue } from '../base/json.js';
import { BOUNDS, checkBound, type BoundName } from './engine-load.js';
import { addHazard, type Findings } from './inspection.js';

/**
 * Inspects one value of a body. `at` is the JSON pointer of the value.
 * Values have the types of the API's schema; a value of another type, which Go would refuse, is read as the zero value.
 */
export type FieldInspector = (value: JsonValue, findings: Findings, at: string) => void;

/** Inspectors of an object's fields, by canonical field name. A map, so that `constructor` is no field of every object. */
export type Fields = ReadonlyMap<string, FieldInspector>;

export function fields(...tables: readonly Readonly<Record<string, FieldInspector>>[]): Fields {
  return new Map(tables.flatMap((table) => Object.entries(table)));
}

/**
 * For fields that can do no harm, or are only set as facts. A table says why by one of the names below, also why the
 * value costs the engine nothing that could bring it down: see `engine-load.ts` for those that can.
 */
export const harmless: FieldInspector = () => {};
/** On or off. */
export const flag = harmless;
/** One text for the container, or one that the engine only shows: it keeps as much as was sent, one body at most. */
export const ownText = harmless;
/** An amount for the container's own cgroup or its own file system in memory: what it uses is charged to the container. */
export const ownAmount = harmless;
/** Engines refuse what is not one of a few words, or not in a small range. */
export const checked = harmless;
/** It is judged where the object is that it stands in. */
export const withOthers = harmless;
/** Clients send it back as an engine reported it; engines do not read it. */
export const reported = harmless;

/** The prices of a value that is inspected, and of each of its characters: paths are cleaned, and compared with globs. */
const VALUE_PRICE = 64;
const CHARACTER_PRICE = 16;

/** Pays for inspecting a value. When nothing is left, it is not inspected, and the call is `opaque:work`. */
function pays({ work }: Findings, value: JsonValue): boolean {
  work.left -= VALUE_PRICE + (typeof value === 'string' ? CHARACTER_PRICE * value.length : 0);
  return work.left >= 0;
}

/**
 * Inspects every field of an object.
 * INVARIANT: a non-zero field without an inspector is a hazard; no field passes because it was forgotten.
 */
export function inspectFields(inspectors: Fields, value: JsonValue, findings: Findings, at: string): void {
  const object = asObject(value);
  // A decoded object inherits nothing.
  for (const key in object) {
    const inspect = inspectors.get(key);
    if (inspect === harmless) continue;
    const field = object[key] ?? null;
    if (!pays(findings, field)) return;
    if (inspect === undefined) {
      if (!isZero(field)) addHazard(findings, 'unknown-field', pointer(at, key));
    } else if (field !== null) {
      // Names of fields have nothing to escape in a pointer.
      inspect(field, findings, `${at}/${key}`);
    }
  }
}

export function object(inspectors: Fields): FieldInspector {
  return (value, findings, at) => inspectFields(inspectors, value, findings, at);
}

/** Of how many there are. */
type CountName = { [N in BoundName]: (typeof BOUNDS)[N] extends { most: number } ? N : never }[BoundName];

/** A number of a body. Not given, or 0 where that stands for the default, is in bounds. */
export function bounded(
  name: BoundName,
  { perUnit = 1, zero = 'default' }: { perUnit?: number; zero?: 'default' | 'counts' } = {},
): FieldInspector {
  return (value, findings) => {
    const number = asNumber(value);
    if (number !== 0 || zero === 'counts') checkBound(name, number / perUnit, findings);
  };
}

const NANOSECONDS_IN_MS = 1e6;

/** A time.Duration: nanoseconds in a body. */
export const duration = (name: BoundName, zero: 'default' | 'counts' = 'default'): FieldInspector =>
  bounded(name, { perUnit: BOUNDS[name].unit === 's' ? 1e9 : NANOSECONDS_IN_MS, zero });

/** How many elements a list, or members a map has. */
export function counted(name: BoundName): FieldInspector {
  return (value, findings) => {
    const count = Array.isArray(value) ? value.length : Object.keys(asObject(value)).length;
    checkBound(name, count, findings);
  };
}

/** A list or a map of texts that the daemon keeps: how many there are, and how long all of them are together. */
export const keptTexts: FieldInspector = (value, findings) => {
  let [count, length] = [0, 0];
  if (Array.isArray(value)) {
    count = value.length;
    for (const text of value) length += asString(text).length;
  } else {
    const map = asObject(value);
    for (const key in map) {
      count++;
      length += key.length + asString(map[key]).length;
    }
  }
  if (count > BOUNDS.entries.most) checkBound('entries', count, findings);
  if (length > BOUNDS.text.most) checkBound('text', length, findings);
};

/** Inspects each element of an array. A null element is passed on: Go makes a zero struct of it. */
export function each(inspect: FieldInspector, bound?: CountName): FieldInspector {
  return (value, findings, at) => {
    const items = asArray(value);
    if (bound !== undefined && items.length > BOUNDS[bound].most) checkBound(bound, items.length, findings);
    for (const [index, item] of items.entries()) {
      if (!pays(findings, item)) return;
      inspect(item, findings, `${at}/${index}`);
    }
  };
}

export function eachString(
  inspect: (text: string, findings: Findings) => void,
  bound?: CountName,
): FieldInspector {
  return (value, findings) => {
    const texts = asStrings(value);
    if (bound !== undefined && texts.length > BOUNDS[bound].most) checkBound(bound, texts.length, findings);
    for (const text of texts) {
      if (!pays(findings, text)) return;
      inspect(text, findings);
    }
  };
}

/** Inspects each entry of a map. `at` is the pointer of the map. */
export function eachEntry(
  inspect: (key: string, value: JsonValue, findings: Findings, at: string) => void,
  bound?: CountName,
): FieldInspector {
  return (value, findings, at) => {
    const map = asObject(value);
    const keys = Object.keys(map);
    if (bound !== undefined && keys.length > BOUNDS[bound].most) checkBound(bound, keys.length, findings);
    for (const key of keys) {
      const entry = map[key] ?? null;
      if (!pays(findings, key) || !pays(findings, entry)) return;
      inspect(key, entry, findings, at);
    }
  };
}

/** Inspects a string, unless it is empty. */
export function text(inspect: (text: string, findings: Findings) => void): FieldInspector {
  return (value, findings) => {
    const given = asString(value);
    if (given !== '') inspect(given, findings);
  };
}

/** Inspects a string, unless it is empty or one of these, which do no harm. */
export function otherThan(
  plain: readonly string[],
  inspect: (text: string, findings: Findings) => void,
): FieldInspector {
  return (value, findings) => {
    const given = asString(value);
    if (given !== '' && !plain.includes(given)) inspect(given, findings);
  };
}

/** Called for anything that is not a zero value: a flag that is set, a number that is given. */
export function whenSet(inspect: (findings: Findings) => void): FieldInspector {
  return (value, findings) => {
    if (!isZero(value)) inspect(findings);
  };
}

/** The JSON pointer of a member of the value at `at`. */
export function pointer(at: string, key: string): string {
  if (!key.includes('~') && !key.includes('/')) return `${at}/${key}`;
  return `${at}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

/** Names of `NAME=value` entries. Values may be secrets and never leave the body. */
export function variableNames(value: JsonValue | undefined): string[] {
  return asStrings(value).map((entry) => {
    const end = entry.indexOf('=');
    return end === -1 ? entry : entry.slice(0, end);
  });
}
