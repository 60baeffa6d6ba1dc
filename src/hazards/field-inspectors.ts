import { asArray, asObject, asString, asStrings, isZero, type JsonValue } from '../base/json.js';
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

/** For fields that can do no harm, or are only set as facts. */
export const harmless: FieldInspector = () => {};

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

/** Inspects each element of an array. A null element is passed on: Go makes a zero struct of it. */
export function each(inspect: FieldInspector): FieldInspector {
  return (value, findings, at) => {
    for (const [index, item] of asArray(value).entries()) {
      if (!pays(findings, item)) return;
      inspect(item, findings, `${at}/${index}`);
    }
  };
}

export function eachString(inspect: (text: string, findings: Findings) => void): FieldInspector {
  return (value, findings) => {
    for (const text of asStrings(value)) {
      if (!pays(findings, text)) return;
      inspect(text, findings);
    }
  };
}

/** Inspects each entry of a map. `at` is the pointer of the map. */
export function eachEntry(
  inspect: (key: string, value: JsonValue, findings: Findings, at: string) => void,
): FieldInspector {
  return (value, findings, at) => {
    const map = asObject(value);
    for (const key of Object.keys(map)) {
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
