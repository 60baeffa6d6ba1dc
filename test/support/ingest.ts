import { isIP } from 'node:net';

/*
 * The processors of Elasticsearch's ingest pipelines that the shipped ones use, as the reference describes them, and the part of
 * Painless that their conditions use. What is not known here throws: a pipeline cannot use it untried.
 */

export type Document = Record<string, unknown>;
type Options = Readonly<Record<string, unknown>>;
export interface Pipeline {
  readonly description: string;
  readonly processors: readonly Readonly<Record<string, Options>>[];
  readonly on_failure?: Pipeline['processors'];
}

/** Runs a document through a pipeline; it is changed in place. @throws Error for what a processor would fail at. */
export function ingest(name: string, pipelines: ReadonlyMap<string, Pipeline>, document: Document): void {
  const pipeline = pipelines.get(name);
  if (pipeline === undefined) throw new Error(`there is no pipeline ${name}`);
  for (const processor of pipeline.processors) {
    const [entry, ...more] = Object.entries(processor);
    if (entry === undefined || more.length > 0) throw new Error('one processor has one key');
    const [kind, options] = entry;
    const { if: condition, ignore_failure = false, ...rest } = options;
    if (typeof condition === 'string' && !holds(condition, document)) continue;
    try {
      if (kind === 'pipeline') ingest(rest['name'] as string, pipelines, document);
      else run(kind, rest, document);
    } catch (error) {
      if (ignore_failure !== true) throw error;
    }
  }
}

const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  set: ['field', 'value', 'copy_from', 'ignore_empty_value'],
  rename: ['field', 'target_field', 'ignore_missing'],
  append: ['field', 'value', 'allow_duplicates'],
  remove: ['field', 'ignore_missing'],
  convert: ['field', 'target_field', 'type', 'ignore_missing'],
  gsub: ['field', 'pattern', 'replacement', 'target_field', 'ignore_missing'],
  date: ['field', 'formats'],
};

function run(kind: string, options: Options, document: Document): void {
  const unknown = Object.keys(options).filter((key) => ALLOWED[kind]?.includes(key) !== true);
  if (ALLOWED[kind] === undefined || unknown.length > 0) throw new Error(`${kind}: ${unknown.join(', ')}`);
  const field = options['field'] as string;
  const target = (options['target_field'] as string | undefined) ?? field;
  switch (kind) {
    case 'set': {
      const from = options['copy_from'] as string | undefined;
      const skips = options['ignore_empty_value'] === true;
      const value = from === undefined ? filled(options['value'], document) : get(document, from);
      if (value === undefined && !skips) throw new Error(`${from} is missing`);
      if (skips && (value === undefined || value === null || value === '')) return;
      put(document, field, structuredClone(value));
      return;
    }
    case 'append': {
      const value = filled(options['value'], document);
      const there = get(document, field);
      const list = there === undefined ? [] : ([there].flat() as unknown[]);
      if (options['allow_duplicates'] !== false || !list.includes(value)) list.push(value);
      put(document, field, list);
      return;
    }
    case 'remove':
      for (const name of [options['field']].flat() as string[]) {
        if (get(document, name) === undefined && options['ignore_missing'] !== true)
          throw new Error(`no ${name}`);
        drop(document, name);
      }
      return;
    default: {
      const value = get(document, field);
      if (value === undefined || value === null) {
        if (options['ignore_missing'] === true) return;
        throw new Error(`${field} is missing`);
      }
      if (kind === 'rename') {
        if (get(document, target) !== undefined) throw new Error(`${target} is there already`);
        drop(document, field);
        put(document, target, value);
      } else if (kind === 'gsub') {
        if (typeof value !== 'string') throw new Error(`${field} is no text`);
        const pattern = new RegExp(options['pattern'] as string, 'g');
        put(document, target, value.replace(pattern, options['replacement'] as string));
      } else if (kind === 'convert') {
        if (options['type'] !== 'ip') throw new Error('only ip is known');
        if (typeof value !== 'string' || isIP(value) === 0 || value.includes('%')) {
          throw new Error(`${field}: no address`);
        }
        put(document, target, value);
      } else {
        if (String(options['formats']) !== 'ISO8601') throw new Error('only ISO8601 is known');
        const ms = Date.parse(value as string);
        if (Number.isNaN(ms)) throw new Error(`${field}: no time`);
        put(document, '@timestamp', new Date(ms).toISOString());
      }
    }
  }
}

/** A value with its templates filled in; three braces: unescaped. */
function filled(value: unknown, document: Document): unknown {
  if (typeof value !== 'string') return value;
  return value.replace(/\{\{\{(.*?)\}\}\}/g, (_, path: string) => {
    if (path === '_ingest.timestamp') return '2026-01-02T03:04:06.000Z';
    const found = get(document, path) ?? '';
    return typeof found === 'string' ? found : JSON.stringify(found);
  });
}

/** Numbers in a path are places in a list. */
function get(document: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>(
      (value, name) =>
        typeof value === 'object' && value !== null && Object.hasOwn(value, name)
          ? (value as Document)[name]
          : undefined,
      document,
    );
}

function put(document: Document, path: string, value: unknown): void {
  const names = path.split('.');
  const last = names.pop()!;
  let at: unknown = document;
  for (const name of names) {
    const inside = (at as Document)[name] ?? ((at as Document)[name] = {});
    if (typeof inside !== 'object') throw new Error(`${path}: ${name} is no object`);
    at = inside;
  }
  (at as Document)[last] = value;
}

function drop(document: Document, path: string): void {
  const names = path.split('.');
  const last = names.pop()!;
  const parent = names.length === 0 ? document : get(document, names.join('.'));
  if (typeof parent === 'object' && parent !== null) delete (parent as Document)[last];
}

const TOKEN = /\s*(\|\||&&|==|!=|>=|>|\(|\)|instanceof String|'[^']*'|[\w.?]+)/y;

/** `||` of `&&` of comparisons of a path with a literal. As in Painless, `a.b` fails where `a` is null, and so does `null > 0`. */
export function holds(condition: string, document: Document): boolean {
  const words: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < condition.trimEnd().length) {
    const found = TOKEN.exec(condition);
    if (found === null) throw new Error(`condition: ${condition}`);
    words.push(found[1]!);
  }
  let at = 0;
  // What stands behind a decided `&&` or `||` is read, and not evaluated.
  const either = (live: boolean): boolean => {
    let value = both(live);
    while (words[at] === '||') {
      at += 1;
      const next = both(live && !value);
      value ||= next;
    }
    return value;
  };
  const both = (live: boolean): boolean => {
    let value = compare(live);
    while (words[at] === '&&') {
      at += 1;
      const next = compare(live && value);
      value &&= next;
    }
    return value;
  };
  const compare = (live: boolean): boolean => {
    if (words[at] === '(') {
      at += 1;
      const value = either(live);
      if (words[at++] !== ')') throw new Error(`condition: no bracket: ${condition}`);
      return value;
    }
    const path = words[at++] ?? '';
    const operator = words[at++] ?? '';
    const found = live ? painless(path, document) : undefined;
    if (operator === 'instanceof String') return typeof found === 'string';
    const literal = readLiteral(words[at++] ?? '');
    if (operator === '==') return live && found === literal;
    if (operator === '!=') return live && found !== literal;
    if (operator !== '>' && operator !== '>=') throw new Error(`condition: ${operator}: ${condition}`);
    if (!live) return false;
    if (typeof found !== 'number') throw new Error(`condition: ${path} is no number: ${condition}`);
    return operator === '>' ? found > (literal as number) : found >= (literal as number);
  };
  const value = either(true);
  if (at !== words.length) throw new Error(`condition: ${words[at]}: ${condition}`);
  return value;
}

function readLiteral(word: string): unknown {
  if (word.startsWith("'")) return word.slice(1, -1);
  if (/^\d+$/.test(word)) return Number(word);
  if (word === 'true' || word === 'null') return word === 'true' ? true : null;
  throw new Error(`condition: ${word} is no literal`);
}

function painless(path: string, document: Document): unknown {
  const [root, ...steps] = path.split('.');
  if (root?.replace('?', '') !== 'ctx' || steps.some((name) => /^\d/.test(name))) throw new Error(path);
  let value: unknown = document;
  let isSafe = false;
  for (const step of steps) {
    if (value === null) {
      if (!isSafe) throw new Error(`condition: null before ${step} in ${path}`);
      isSafe = step.endsWith('?');
      continue;
    }
    if (typeof value !== 'object') throw new Error(`condition: ${step} of a ${typeof value} in ${path}`);
    isSafe = step.endsWith('?');
    value = (value as Document)[step.replace('?', '')] ?? null;
  }
  return value;
}
