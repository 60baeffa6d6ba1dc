import type { JsonValue } from '../docker/json-value.js';
import type { Problem } from './problems.js';

/** Reads a policy or config file: strict JSON, duplicate keys refused. */
export function parseFile(
  file: string,
  text: string,
): { ok: true; value: JsonValue } | { ok: false; problem: Problem } {
  try {
    return { ok: true, value: JSON.parse(text.replace(/^\uFEFF/, '')) as JsonValue };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { ok: false, problem: { file, pointer: '', message: `not valid JSON: ${message}.` } };
  }
}
