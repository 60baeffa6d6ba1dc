import { OPERATIONS } from './catalogue.js';
import type { Operation } from './operation.js';
import { Refusal } from './refusal.js';
import { shownTarget } from './shown-target.js';

export type OperationMatch =
  | {
      readonly kind: 'match';
      readonly operation: Operation;
      /** Path parameters by name; no prototype. */
      readonly path: Readonly<Record<string, string>>;
    }
  | { readonly kind: 'method-not-allowed'; readonly allowed: readonly string[] }
  | { readonly kind: 'unknown' };

/** A template with parameters, taken apart: `/containers/{id}/attach/ws` is `/containers/`, `id`, `/attach/ws`. */
interface Template {
  readonly operation: Operation;
  readonly prefix: string;
  readonly name: string;
  /** What follows the first parameter, `""` when nothing does; for two parameters, what is between them. */
  readonly suffix: string;
  readonly second: string;
  readonly spans: boolean;
}

/** Templates of one first segment: those with a fixed last segment by that segment, and the others in order. */
interface Family {
  readonly byLast: ReadonlyMap<string, readonly Template[]>;
  readonly open: readonly Template[];
}

const UNKNOWN: OperationMatch = { kind: 'unknown' };
const NONE: readonly Template[] = [];
const NO_OPERATIONS: readonly Operation[] = [];
const NO_PARAMETERS = Object.freeze(emptyPath());
const exactPaths = collectExact();
const longestExact = Math.max(...Array.from(exactPaths.keys(), (path) => path.length));
const families = collectFamilies();

/**
 * Finds the operation of a path, as the router of dockerd (gorilla/mux over daemon/server/router) does: the whole path
 * must match, `{name}` is one segment, one that spans takes slashes as well.
 *
 * @param path version-stripped and percent-decoded once
 */
export function matchOperation(method: string, path: string): OperationMatch {
  // Hashing a long path costs more than knowing that it cannot be one of these.
  const exact = path.length > longestExact ? undefined : exactPaths.get(path);
  if (exact !== undefined) {
    for (const operation of exact) {
      if (operation.method === method) return { kind: 'match', operation, path: NO_PARAMETERS };
    }
  }
  const end = path.indexOf('/', 1);
  const family = end < 0 ? undefined : families.get(path.slice(1, end));
  let named = NONE;
  let open = NONE;
  if (family !== undefined) {
    named = family.byLast.get(path.slice(path.lastIndexOf('/') + 1)) ?? NONE;
    open = family.open;
    const match = matchFirst(named, method, path) ?? matchFirst(open, method, path);
    if (match !== undefined) return match;
  }
  const allowed = new Set((exact ?? NO_OPERATIONS).map((operation) => operation.method));
  for (const template of [...named, ...open]) {
    if (readTemplate(template, path) !== undefined) allowed.add(template.operation.method);
  }
  return allowed.size === 0 ? UNKNOWN : { kind: 'method-not-allowed', allowed: [...allowed].sort() };
}

/** What a request is refused with that no operation matches. */
export function noOperation(
  match: Exclude<OperationMatch, { readonly kind: 'match' }>,
  method: string,
  path: string,
): Refusal {
  if (match.kind === 'method-not-allowed') {
    return new Refusal(
      405,
      'method-not-allowed',
      `the method ${JSON.stringify(method.slice(0, 20))} is not served here: use ${match.allowed.join(' or ')}`,
    );
  }
  const known = shownTarget(path);
  const shown = known.length <= 120 ? known : `${known.slice(0, 117)}…`;
  return new Refusal(
    404,
    'unknown-operation',
    `${JSON.stringify(shown)} is not in the operation catalogue, so it is denied`,
  );
}

function matchFirst(
  templates: readonly Template[],
  method: string,
  path: string,
): OperationMatch | undefined {
  for (const template of templates) {
    if (template.operation.method !== method) continue;
    const parameters = readTemplate(template, path);
    if (parameters !== undefined) return { kind: 'match', operation: template.operation, path: parameters };
  }
  return undefined;
}

/** The parameters of a path that the template matches, else undefined. The first segment is known to be right. */
function readTemplate(template: Template, path: string): Record<string, string> | undefined {
  const start = template.prefix.length;
  if (template.second !== '') {
    const parts = path.slice(start).split(template.suffix, 3);
    const [first = '', second = ''] = parts;
    if (parts.length !== 2 || !isSegment(first) || !isSegment(second)) return undefined;
    const parameters = emptyPath();
    parameters[template.name] = first;
    parameters[template.second] = second;
    return parameters;
  }
  const end = path.length - template.suffix.length;
  if (end <= start || !path.endsWith(template.suffix)) return undefined;
  const value = path.slice(start, end);
  if (value.includes('/') && !(template.spans && isSpan(value))) return undefined;
  const parameters = emptyPath();
  parameters[template.name] = value;
  return parameters;
}

function isSegment(text: string): boolean {
  return text !== '' && !text.includes('/');
}

/** mux would take empty segments and an empty name too; dockerd redirects the one and has no use for the other. */
function isSpan(text: string): boolean {
  return text.charCodeAt(0) !== 0x2f && text.charCodeAt(text.length - 1) !== 0x2f && !text.includes('//');
}

function emptyPath(): Record<string, string> {
  return Object.create(null) as Record<string, string>;
}

function collectExact(): ReadonlyMap<string, readonly Operation[]> {
  const exact = new Map<string, Operation[]>();
  const add = (path: string, operation: Operation): void => {
    exact.set(path, [...(exact.get(path) ?? []), operation]);
  };
  for (const operation of OPERATIONS) {
    if (operation.path.includes('{')) continue;
    add(operation.path, operation);
    if (operation.trailingSlash === true) add(`${operation.path}/`, operation);
  }
  return exact;
}

function collectFamilies(): ReadonlyMap<string, Family> {
  const collected = new Map<string, { byLast: Map<string, Template[]>; open: Template[] }>();
  for (const operation of OPERATIONS) {
    const template = takeApart(operation);
    if (template === undefined) continue;
    const first = template.prefix.slice(1, -1);
    let family = collected.get(first);
    if (family === undefined) collected.set(first, (family = { byLast: new Map(), open: [] }));
    if (template.second !== '') {
      // Before the open one of the same method, as dockerd registers checkpoints before containers.
      family.open.unshift(template);
    } else if (template.suffix === '') {
      family.open.push(template);
    } else {
      const last = template.suffix.slice(template.suffix.lastIndexOf('/') + 1);
      family.byLast.set(last, [...(family.byLast.get(last) ?? []), template]);
    }
  }
  return collected;
}

/** @throws Error for a template of another shape: a mistake in the catalogue */
function takeApart(operation: Operation): Template | undefined {
  if (!operation.path.includes('{')) return undefined;
  const parts = /^(\/[a-z]+\/)\{([a-z]+)\}([a-z/]*)(?:\{([a-z]+)\})?$/.exec(operation.path);
  const [, prefix = '', name = '', suffix = '', second = ''] = parts ?? [];
  if (parts === null || (second !== '' && operation.spans.length > 0)) {
    throw new Error(`the path ${operation.path} has a shape that matchOperation does not know`);
  }
  return { operation, prefix, name, suffix, second, spans: operation.spans.includes(name) };
}
