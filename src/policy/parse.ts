import { parseStrictJson } from '../docker/go-json.js';
import type { JsonValue } from '../base/json.js';
import { Refusal } from '../docker/refusal.js';
import type { Problem } from './problems.js';

/** Reads a policy or config file: strict JSON, so that a key written twice is an error and not a guess. */
export function parseFile(
  file: string,
  text: string,
): { ok: true; value: JsonValue } | { ok: false; problem: Problem } {
  try {
    // Some editors write a byte order mark; here, unlike in a request, it can only mean UTF-8.
    return { ok: true, value: parseStrictJson(text.replace(/^\uFEFF/, '')) };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { ok: false, problem: { file, pointer: '', message: `${error.message}.` } };
  }
}
