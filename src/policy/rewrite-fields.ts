import type { QueryValue } from '../docker/call.js';
import { operationOf } from '../docker/catalogue.js';
import type { Operation, OperationId } from '../docker/operation.js';
import { decodeJsonText } from '../docker/go-json.js';
import type { JsonValue } from '../base/json.js';
import type { Parameter } from '../docker/catalogue/row.js';
import { Refusal } from '../docker/refusal.js';
import { renderJson } from '../docker/render.js';
import type { Schema } from '../docker/schema.js';
import { resolveSchema } from '../docker/schemas.js';
import type { ReportAt } from './compile-rule.js';
import { nearest } from '../base/nearest.js';
import { describeValue } from './problems.js';
import { LEGACY } from './rewrite-container.js';
import { putField, putQuery, type Draft, type Step } from './rewrite-draft.js';

const DEPTH = 64;

type Target =
  | { readonly kind: 'field'; readonly steps: readonly string[]; readonly schema: Schema }
  | { readonly kind: 'parameter'; readonly name: string; readonly parameter: Parameter };

/** A target, or why the operation has none, and which name the author may have meant. */
type Found =
  { readonly target: Target } | { readonly reason: string; readonly meant?: string; readonly depth: number };

function findField(schema: Schema, steps: readonly string[], operation: Operation): Found {
  let here = resolveSchema(schema);
  const path: string[] = [];
  for (const step of steps) {
    const fields = here.type === 'object' ? here.fields : undefined;
    if (operation.does.runs === 'container' && path.length === 0 && LEGACY.has(step)) {
      const meant = `/HostConfig/${[step === 'Cpuset' ? 'CpusetCpus' : step, ...steps.slice(1)].join('/')}`;
      return { reason: 'options of the host are in HostConfig', meant, depth: 1_000 };
    }
    if (fields !== undefined) {
      const next = Object.hasOwn(fields, step) ? fields[step] : undefined;
      if (next === undefined) {
        const near = nearest(step, Object.keys(fields));
        const reason = `${operation.id} has no such field`;
        const meant = near === undefined ? {} : { meant: `/${[...path, near].join('/')}` };
        return { reason, ...meant, depth: path.length };
      }
      here = resolveSchema(next);
    } else if (here.type === 'map') here = resolveSchema(here.values);
    else {
      const list = here.type === 'array' || here.type === 'strslice';
      const what = list ? 'a list, which is set or removed as a whole' : 'no object';
      return { reason: `/${path.join('/')} of ${operation.id} is ${what}`, depth: path.length };
    }
    path.push(step);
  }
  return { target: { kind: 'field', steps, schema: here } };
}

function find(text: string, id: OperationId): Found {
  const operation = operationOf(id);
  if (text.startsWith('?')) {
    const name = text.slice(1);
    const parameter = Object.hasOwn(operation.query, name) ? operation.query[name] : undefined;
    if (parameter !== undefined) return { target: { kind: 'parameter', name, parameter } };
    const near = nearest(name, Object.keys(operation.query));
    const meant = near === undefined ? {} : { meant: `?${near}` };
    return { reason: `${id} has no such parameter`, ...meant, depth: 0 };
  }
  if (operation.body.kind !== 'json') return { reason: `${id} has no JSON body`, depth: -1 };
  const steps = text
    .slice(1)
    .split('/')
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
  return findField(operation.body.schema, steps, operation);
}

/** The targets of a pointer or parameter in those operations that have it; reports when none has. */
function resolve(
  text: string,
  operations: readonly OperationId[],
  report: (message: string) => void,
): Map<OperationId, Target> {
  const targets = new Map<OperationId, Target>();
  if (!/^(?:\/[^/]|\?[^/])/.test(text)) {
    report(
      `found ${describeValue(text)}; expected a JSON pointer such as "/HostConfig/Binds", or a parameter such as "?pull".`,
    );
    return targets;
  }
  let best: Exclude<Found, { target: Target }> | undefined;
  for (const id of operations) {
    const found = find(text, id);
    if ('target' in found) targets.set(id, found.target);
    else if (best === undefined || found.depth > best.depth) best = found;
  }
  if (targets.size === 0 && best !== undefined) {
    const hint = best.meant === undefined ? '' : ` Did you mean "${best.meant}"?`;
    report(`found ${describeValue(text)}, but ${best.reason}.${hint}`);
  }
  return targets;
}

/** The value as the reader would read it; throws a Refusal when it has not the type of the target. */
function readValue(target: Target, value: JsonValue): (draft: Draft) => void {
  const wrong = (expected: string): Refusal =>
    new Refusal(400, 'type', `found ${describeValue(value)}; expected ${expected}`);
  const decode = (schema: Schema, keepNull: boolean): JsonValue => {
    const { value: decoded, unknown } = decodeJsonText(renderJson(value), schema, DEPTH, undefined, keepNull);
    if (unknown.length > 0)
      throw new Refusal(400, 'field', `unknown field ${describeValue(unknown[0]?.where)}`);
    return decoded;
  };
  if (value === null) throw new Refusal(400, 'null', 'found null; "remove" removes a field');
  if (target.kind === 'field') {
    const decoded = decode(target.schema, false);
    return (draft) => putField(draft, target.steps, decoded);
  }
  const { name, parameter } = target;
  const put =
    (query: QueryValue) =>
    (draft: Draft): void =>
      putQuery(draft, name, query);
  switch (parameter.type) {
    case 'string':
      if (typeof value !== 'string') throw wrong('a string');
      return put({ type: 'string', value });
    case 'boolean':
      if (typeof value !== 'boolean') throw wrong('true or false');
      return put({ type: 'boolean', value });
    case 'integer': {
      const whole = typeof value === 'bigint' || (typeof value === 'number' && Number.isSafeInteger(value));
      if (!whole || BigInt.asIntN(64, BigInt(value)) !== BigInt(value)) throw wrong('a whole number');
      return put({ type: 'integer', value: BigInt(value) });
    }
    case 'strings': {
      const texts = Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
      if (!Array.isArray(value) || texts.length !== value.length) throw wrong('an array of strings');
      return put({ type: 'strings', value: texts });
    }
    case 'json':
      return put({ type: 'json', value: decode(parameter.schema, name === 'buildargs') });
  }
}

/** Steps by operation, and whether any is inside HostConfig. */
export interface FieldSteps {
  readonly steps: ReadonlyMap<OperationId, readonly Step[]>;
  readonly touchesHost: boolean;
}

/**
 * Compiles `remove` and `set`. Each must mean something to an operation of the rule, and a value must have the type
 * that the operation takes there.
 */
export function prepareFields(
  remove: readonly string[],
  set: Readonly<Record<string, unknown>>,
  operations: readonly OperationId[],
  report: ReportAt,
): FieldSteps {
  const steps = new Map<OperationId, Step[]>();
  const add = (id: OperationId, step: Step): void => {
    steps.set(id, [...(steps.get(id) ?? []), step]);
  };
  const written = new Map<string, readonly PropertyKey[]>();
  const claim = (text: string, path: readonly PropertyKey[]): void => {
    for (const earlier of written.keys()) {
      if (earlier === text || earlier.startsWith(`${text}/`) || text.startsWith(`${earlier}/`)) {
        report(
          path,
          `${describeValue(text)} and ${describeValue(earlier)} are about the same field; keep one.`,
        );
        return;
      }
    }
    written.set(text, path);
  };
  remove.forEach((text, index) => {
    const path = ['remove', index];
    claim(text, path);
    for (const [id, target] of resolve(text, operations, (message) => report(path, message))) {
      if (target.kind === 'parameter') add(id, (draft) => putQuery(draft, target.name, undefined));
      else add(id, (draft) => putField(draft, target.steps, undefined));
    }
  });
  for (const [text, value] of Object.entries(set)) {
    const path = ['set', text];
    claim(text, path);
    const reported = new Set<string>();
    for (const [id, target] of resolve(text, operations, (message) => report(path, message))) {
      try {
        add(id, readValue(target, value as JsonValue));
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        if (!reported.has(error.message))
          report(path, `not a value for ${describeValue(text)} of ${id}: ${error.message}.`);
        reported.add(error.message);
      }
    }
  }
  return { steps, touchesHost: [...written.keys()].some((text) => /^\/HostConfig(?:\/|$)/.test(text)) };
}
