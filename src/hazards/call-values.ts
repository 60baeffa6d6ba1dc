import type { Call } from '../docker/call.js';
import { type JsonObject, type JsonValue, asObject, asString, asStrings } from '../base/json.js';

/** A query parameter as text; the first value of a repeatable one; `""` when absent. */
export function queryText(call: Call, name: string): string {
  const given = call.query[name];
  switch (given?.type) {
    case 'string':
      return given.value;
    case 'strings':
      return given.value[0] ?? '';
    case 'integer':
    case 'boolean':
      return String(given.value);
    case 'json':
      return JSON.stringify(given.value, (_key, value: unknown) =>
        typeof value === 'bigint' ? String(value) : value,
      );
    case undefined:
      return '';
  }
}

/** All values of a parameter, whether it is repeatable, JSON or a single string. */
export function queryTexts(call: Call, name: string): readonly string[] {
  const given = call.query[name];
  switch (given?.type) {
    case 'strings':
      return given.value;
    case 'json':
      return asStrings(given.value);
    case 'string':
      return given.value === '' ? [] : [given.value];
    default:
      return [];
  }
}

export function queryJson(call: Call, name: string): JsonValue {
  const given = call.query[name];
  return given?.type === 'json' ? given.value : null;
}

/** A boolean parameter; of another type, as httputils.BoolValue reads its text. */
export function queryFlag(call: Call, name: string): boolean {
  const given = call.query[name];
  if (given?.type === 'boolean') return given.value;
  return !['', '0', 'no', 'false', 'none'].includes(queryText(call, name).trim().toLowerCase());
}

export function queryNumber(call: Call, name: string): number {
  const given = call.query[name];
  return given?.type === 'integer' ? Number(given.value) : 0;
}

/** The JSON body; empty where there is none. */
export function bodyOf({ body }: Call): JsonObject {
  return asObject(body.kind === 'json' ? body.value : null);
}

/** A text of the JSON body, by the keys that lead to it; `""` where there is none. */
export function bodyText({ body }: Call, steps: readonly string[]): string {
  let value: JsonValue | undefined = body.kind === 'json' ? body.value : null;
  for (const step of steps) value = asObject(value ?? null)[step];
  return asString(value);
}
