import type { JsonObject, JsonValue } from '../base/json.js';
import type * as z from 'zod';
import { didYouMean } from '../base/nearest.js';
import { parseStrictJson } from '../docker/go-json.js';
import { Refusal } from '../docker/refusal.js';

/** One thing that is wrong with a file, at a JSON pointer. */
export interface Problem {
  readonly file: string;
  readonly pointer: string;
  readonly message: string;
}

/** RFC 6901 pointer of a path. */
export function pointerOf(path: readonly PropertyKey[]): string {
  return path.map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

/** A value in words for a message, short and on one line. */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'an array';
  if (typeof value === 'object') return 'an object';
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 79)}…` : value);
  return typeof value === 'function' || typeof value === 'symbol' ? 'something else' : `${value as number}`;
}

function valueAt(root: JsonValue, path: readonly PropertyKey[]): unknown {
  let value: unknown = root;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[step];
  }
  return value;
}

/** Names of the keys that a JSON Schema knows at a path. */
function keysAt(schema: JsonObject, path: readonly PropertyKey[]): string[] {
  const definitions = (schema['$defs'] ?? {}) as Record<string, JsonObject>;
  let here: JsonObject[] = [schema];
  const open = (node: JsonObject | undefined): JsonObject[] => {
    if (node === undefined) return [];
    const reference = node['$ref'];
    if (typeof reference === 'string') return open(definitions[reference.replace('#/$defs/', '')]);
    return [node, ...((node['anyOf'] ?? []) as JsonObject[]).flatMap(open)];
  };
  for (const step of path) {
    here = here.flatMap(open).flatMap((node) => {
      const children =
        typeof step === 'number' ? node['items'] : ((node['properties'] ?? {}) as JsonObject)[String(step)];
      const child = children ?? node['additionalProperties'];
      return typeof child === 'object' && child !== null && !Array.isArray(child) ? [child] : [];
    });
  }
  return here.flatMap(open).flatMap((node) => Object.keys((node['properties'] ?? {}) as JsonObject));
}

const WORDS: Readonly<Record<string, string>> = {
  string: 'a string',
  array: 'an array',
  object: 'an object',
  record: 'an object',
  boolean: 'true or false',
  number: 'a number',
  int: 'a whole number',
};

/** The only alternative of the right type, if there is one: its problems explain more than those of the union. */
function wrongInside(issue: z.core.$ZodIssueInvalidUnion): z.core.$ZodIssue[] | undefined {
  const [inside, another] = issue.errors.filter((errors) =>
    errors.every(
      ({ code, path }) => path.length > 0 || (code !== 'invalid_type' && code !== 'invalid_value'),
    ),
  );
  return another === undefined ? inside : undefined;
}

/** zod's issues as problems that name what was found and what would be valid. */
function zodProblems(
  file: string,
  root: JsonValue,
  issues: readonly z.core.$ZodIssue[],
  schema: () => JsonObject,
  notes: Readonly<Record<string, string>>,
): Problem[] {
  const problems: Problem[] = [];
  const add = (path: readonly PropertyKey[], message: string): void => {
    problems.push({ file, pointer: pointerOf(path), message });
  };
  const visit = (issue: z.core.$ZodIssue, base: readonly PropertyKey[]): void => {
    const path = [...base, ...issue.path];
    const found = valueAt(root, path);
    if (issue.code === 'unrecognized_keys') {
      const valid = keysAt(schema(), path);
      for (const key of issue.keys) {
        const note = Object.hasOwn(notes, key) ? notes[key] : undefined;
        const hint = `unknown key ${describeValue(key)}.${didYouMean(key, valid)} Valid keys: ${valid.join(', ')}.`;
        add([...path, key], note ?? hint);
      }
    } else if (issue.code === 'invalid_key') {
      add(path, `found the name ${describeValue(path.at(-1))}: ${issue.issues[0]?.message ?? 'not valid'}.`);
    } else if (issue.code === 'invalid_type') {
      const expected = WORDS[issue.expected] ?? issue.expected;
      if (found === undefined) add(path, `missing; expected ${expected}.`);
      else add(path, `found ${describeValue(found)}; expected ${expected}.`);
    } else if (issue.code === 'invalid_value') {
      const valid = issue.values.map((value) => String(value));
      const hint = typeof found === 'string' ? didYouMean(found, valid) : '';
      add(path, `found ${describeValue(found)}; valid: ${valid.map(describeValue).join(', ')}.${hint}`);
    } else if (issue.code === 'too_small' && Array.isArray(found)) {
      add(path, 'found an empty array; expected at least one entry.');
    } else if (
      issue.code === 'invalid_union' &&
      typeof found === 'object' &&
      found !== null &&
      wrongInside(issue)
    ) {
      for (const problem of wrongInside(issue) ?? []) visit(problem, path);
    } else if (issue.code === 'invalid_union' && issue.errors.length > 0) {
      const expected = issue.errors.flat().map((problem) => {
        if (problem.code === 'invalid_value') return problem.values.map(describeValue).join(' or ');
        const wanted = problem.code === 'invalid_type' ? WORDS[problem.expected] : undefined;
        return wanted ?? problem.message;
      });
      // The message of a union that describes its alternatives is the best one.
      const own = issue.message === 'Invalid input' ? undefined : issue.message;
      add(path, `found ${describeValue(found)}; expected ${own ?? [...new Set(expected)].join(' or ')}.`);
    } else {
      add(path, `found ${describeValue(found)}: ${issue.message}.`);
    }
  };
  for (const issue of issues) visit(issue, []);
  return problems;
}

/** Keys named `__proto__`: zod skips them in maps without a word, so they are looked for here. */
function protoKeys(file: string, root: JsonValue): Problem[] {
  const problems: Problem[] = [];
  const walk = (value: JsonValue, path: readonly PropertyKey[]): void => {
    if (typeof value !== 'object' || value === null) return;
    if (Array.isArray(value)) value.forEach((item, index) => walk(item, [...path, index]));
    else {
      for (const [key, item] of Object.entries(value)) {
        if (key === '__proto__') {
          problems.push({ file, pointer: pointerOf([...path, key]), message: 'unknown key "__proto__".' });
        }
        walk(item, [...path, key]);
      }
    }
  };
  walk(root, []);
  return problems;
}

/**
 * All problems with the shape of a file, from zod's issues.
 * @param schema JSON Schema of the same shape, for the names of valid keys.
 * @param notes  messages for keys that are known but not supported.
 */
export function shapeProblems(
  file: string,
  root: JsonValue,
  issues: readonly z.core.$ZodIssue[],
  schema: () => JsonObject,
  notes: Readonly<Record<string, string>>,
): Problem[] {
  const proto = protoKeys(file, root);
  const seen = new Set(proto.map((problem) => problem.pointer));
  return [
    ...proto,
    ...zodProblems(file, root, issues, schema, notes).filter((problem) => !seen.has(problem.pointer)),
  ];
}

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
