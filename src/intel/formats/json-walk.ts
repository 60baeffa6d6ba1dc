/** Longest record, in UTF-16 units, that is decoded at once; and deepest nesting of one. */
const MAX_RECORD = 4 * 1024 * 1024;
const MAX_DEPTH = 64;

/** Way to the values wanted: keys, `#` for every index of an array, `*` for every key or index. `[]` is a whole document. */
export type JsonWay = readonly string[];

/** One value found. */
export type JsonItem =
  | { readonly kind: 'value'; readonly way: JsonWay; readonly pointer: string; readonly value: unknown }
  | { readonly kind: 'bad'; readonly pointer: string; readonly reason: string }
  /** The text is cut short or no JSON from here on; nothing follows. */
  | { readonly kind: 'end'; readonly pointer: string; readonly reason: string };

interface Level {
  readonly object: boolean;
  /** The ways that lead through here. */
  readonly ways: readonly JsonWay[];
  index: number;
  key: string;
}

/**
 * Decodes the values that some ways lead to, one at a time, so that a document of 100 MB never stands in memory as
 * objects. The text may hold several documents one after another (NDJSON, pages of an API). What no way leads to is
 * stepped over by its brackets and quotes only. Linear, and no recursion: a text of a million `[` is stepped over.
 */
export function* walkJson(text: string, ways: readonly JsonWay[]): Generator<JsonItem> {
  const stack: Level[] = [];
  let at = 0;
  for (;;) {
    at = blank(text, at);
    const level = stack.at(-1);
    if (level === undefined) {
      if (at >= text.length) return;
    } else {
      const next = step(text, at, level);
      if (typeof next === 'string') {
        yield { kind: 'end', pointer: pointer(stack), reason: next };
        return;
      }
      at = next.at;
      if (next.closed) {
        stack.pop();
        continue;
      }
    }
    const depth = stack.length;
    const alive = level === undefined ? ways : level.ways.filter((way) => leads(way, level, depth));
    const done = alive.find((way) => way.length === depth);
    const opening = text.charCodeAt(at);
    const inside = opening === OBJECT || opening === ARRAY;
    if (done === undefined && alive.length > 0 && inside) {
      stack.push({ object: opening === OBJECT, ways: alive, index: -1, key: '' });
      at++;
      continue;
    }
    const end = valueEnd(text, at);
    if (end.at < 0) {
      yield { kind: 'end', pointer: pointer(stack), reason: end.reason };
      return;
    }
    if (done !== undefined) yield decode(text.slice(at, end.at), done, pointer(stack), end.deepest);
    at = end.at;
  }
}

const OBJECT = 0x7b;
const ARRAY = 0x5b;
const OBJECT_END = 0x7d;
const ARRAY_END = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function leads(way: JsonWay, level: Level, depth: number): boolean {
  const want = way[depth - 1];
  return want === '*' || (level.object ? want === level.key : want === '#');
}

/** Goes to the next value of an object or array; a text says what is wrong. */
function step(text: string, start: number, level: Level): { at: number; closed: boolean } | string {
  let at = start;
  const close = level.object ? OBJECT_END : ARRAY_END;
  if (text.charCodeAt(at) === close) return { at: at + 1, closed: true };
  if (level.index >= 0) {
    if (text.charCodeAt(at) !== COMMA)
      return at >= text.length ? 'the text ends early' : 'a comma is missing';
    at = blank(text, at + 1);
  }
  level.index++;
  if (!level.object) return { at, closed: false };
  if (text.charCodeAt(at) !== QUOTE) return at >= text.length ? 'the text ends early' : 'a key is missing';
  const end = stringEnd(text, at);
  if (end < 0) return 'the text ends early';
  const key = end - at > 256 ? '' : parse(text.slice(at, end));
  level.key = typeof key === 'string' ? key : '';
  at = blank(text, end);
  if (text.charCodeAt(at) !== COLON) return at >= text.length ? 'the text ends early' : 'a colon is missing';
  return { at: blank(text, at + 1), closed: false };
}

function decode(text: string, way: JsonWay, where: string, depth: number): JsonItem {
  if (text.length > MAX_RECORD) {
    return {
      kind: 'bad',
      pointer: where,
      reason: `the entry has ${text.length} characters; at most ${MAX_RECORD} are read`,
    };
  }
  if (depth > MAX_DEPTH)
    return { kind: 'bad', pointer: where, reason: `the entry is nested over ${MAX_DEPTH} deep` };
  const value = parse(text);
  if (value === undefined) return { kind: 'bad', pointer: where, reason: 'the entry is no JSON' };
  return { kind: 'value', way, pointer: where, value };
}

/** Undefined for what is no JSON. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function pointer(stack: readonly Level[]): string {
  let text = '';
  for (const { object, key, index } of stack) text += object ? `/${key}` : `/${index}`;
  return text;
}

/** End of the value that begins here, judged by brackets and quotes; negative where the text ends before it does. */
function valueEnd(text: string, start: number): { at: number; deepest: number; reason: string } {
  let depth = 0;
  let deepest = 0;
  let at = start;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = stringEnd(text, at);
      if (at < 0) break;
      if (depth === 0) return { at, deepest, reason: '' };
      continue;
    }
    if (code === OBJECT || code === ARRAY) {
      depth++;
      if (depth > deepest) deepest = depth;
    } else if (code === OBJECT_END || code === ARRAY_END) {
      if (depth === 0) break;
      if (--depth === 0) return { at: at + 1, deepest, reason: '' };
    } else if (depth === 0) {
      return scalarEnd(text, at);
    }
    at++;
  }
  const reason = at < 0 || at >= text.length ? 'the text ends early' : 'a value is missing';
  return { at: -1, deepest, reason };
}

function scalarEnd(text: string, start: number): { at: number; deepest: number; reason: string } {
  let at = start;
  while (at < text.length && !endsScalar(text.charCodeAt(at))) at++;
  if (at === start) return { at: -1, deepest: 0, reason: 'a value is missing' };
  return { at, deepest: 0, reason: '' };
}

function endsScalar(code: number): boolean {
  return code <= 0x20 || code === COMMA || code === OBJECT_END || code === ARRAY_END || code === QUOTE;
}

function stringEnd(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at + 1;
    if (code === BACKSLASH) at++;
  }
  return -1;
}

function blank(text: string, start: number): number {
  let at = start;
  while (at < text.length && text.charCodeAt(at) <= 0x20) at++;
  return at;
}
