import { foldKey } from '../docker/json-scan.js';
import type { Call } from '../docker/call.js';
import type { JsonObject, JsonValue } from '../base/json.js';
import { REDACTED } from './redact-places.js';

/**
 * Options of ps with which it chooses columns and titles itself, the command last: letters, none of which takes an
 * argument or a format (`-o pid,args=PID` shows commands under any title; `axoargs` is the same without a hyphen).
 */
const PLAIN = /^-?[AFHLMNSTVXZacdefhjlmnrsuvwxy]{0,12}$/;
const TITLES = /^(?:cmd|command|args|comm|ucmd|ucomm)$/i;

/**
 * ContainerTop without command lines: `{"Titles": ["PID", "CMD"], "Processes": [["1", "sh -c …"]]}`. With options that
 * choose their own columns every cell is hidden, because dockerd splits cells at blanks, and titles are not reliable.
 */
export function hideCommands(answer: JsonValue, call: Call): JsonValue {
  const options = call.query['ps_args'];
  const plain = options === undefined || (options.type === 'string' && PLAIN.test(options.value));
  if (typeof answer !== 'object' || answer === null || Array.isArray(answer)) return hideAll(answer);
  const titles = member(answer, 'titles');
  const hidden = (column: number, columns: number): boolean => {
    const title = Array.isArray(titles) ? titles[column] : undefined;
    return !plain || column >= columns - 1 || typeof title !== 'string' || TITLES.test(title);
  };
  const result = Object.create(null) as JsonObject;
  for (const [key, value] of Object.entries(answer)) {
    const rows = foldKey(key) === 'processes' && Array.isArray(value) ? value : undefined;
    if (rows === undefined) {
      result[key] = foldKey(key) === 'titles' && plain ? value : hideAll(value);
      continue;
    }
    result[key] = rows.map((row) =>
      Array.isArray(row)
        ? row.map((cell, column) => (hidden(column, row.length) ? hideAll(cell) : cell))
        : hideAll(row),
    );
  }
  return result;
}

function member(object: JsonObject, folded: string): JsonValue | undefined {
  const key = Object.keys(object).find((candidate) => foldKey(candidate) === folded);
  return key === undefined ? undefined : object[key];
}

/** Strings at any depth; an answer is at most 512 levels deep. */
function hideAll(value: JsonValue): JsonValue {
  if (typeof value === 'string') return value === '' ? value : REDACTED;
  if (Array.isArray(value)) return value.map(hideAll);
  if (typeof value !== 'object' || value === null) return value;
  const result = Object.create(null) as JsonObject;
  for (const [key, item] of Object.entries(value)) result[key] = hideAll(item);
  return result;
}
