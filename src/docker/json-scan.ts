import { emptyObject, type JsonObject, type JsonValue } from '../base/json.js';
import { unlimited, type Work } from '../base/work.js';
import { Refusal } from './refusal.js';

/** Where a decoder stands: the text, the next character, and the way from the root for messages. */
export interface Scan {
  readonly text: string;
  at: number;
  depth: number;
  readonly maximumDepth: number;
  readonly path: (string | number)[];
  readonly work: Work;
}

/** Deeper than any API type; keeps the recursion of the decoder far from the end of the stack. */
export const MAX_DEPTH = 512;
/** Longer than any number that means something; BigInt() is not linear in its digits. */
const MAX_NUMBER_LENGTH = 128;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const HEX4 = /[0-9a-fA-F]{4}/y;
const LONE_SURROGATE = /\p{Surrogate}/u;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/** Prices of a character, of a value and of an escape, with what is done with a value afterwards: it is inspected, searched and written anew. */
export const CHARACTER_PRICE = 2;
export const VALUE_PRICE = 512;
const ESCAPE_PRICE = 64;

/** The text holds more than a call may cost. */
export const TOO_MUCH = new Refusal(
  413,
  'work',
  'the call holds more values or characters than the guard reads of one call: send less at once',
);

/** @throws Refusal 413 */
export function charge(work: Work, price: number): void {
  work.left -= price;
  if (work.left < 0) throw TOO_MUCH;
}

/** @throws Refusal 400 when the text has a byte order mark or half a surrogate pair, 413 when it is too long */
export function startScan(text: string, depth: number, work: Work = unlimited()): Scan {
  charge(work, CHARACTER_PRICE * text.length);
  const scan: Scan = { text, at: 0, depth: 0, maximumDepth: Math.min(depth, MAX_DEPTH), path: [], work };
  if (text.charCodeAt(0) === 0xfeff) throw syntaxError(scan, 'a byte order mark, which JSON does not have');
  if (LONE_SURROGATE.test(text)) throw syntaxError(scan, 'half of a surrogate pair in the text');
  return scan;
}

/** An error in the JSON text itself, with its line and column. */
export function syntaxError(scan: Scan, what: string): Refusal {
  const before = scan.text.slice(0, scan.at);
  const line = before.split('\n').length;
  const column = scan.at - before.lastIndexOf('\n');
  return new Refusal(400, 'invalid-json', `invalid JSON at line ${line}, column ${column}: ${what}`);
}

/** Valid JSON of the wrong type or a forbidden shape, with its JSON pointer. */
export function shapeError(scan: Scan, code: string, what: string): Refusal {
  return new Refusal(400, code, `invalid JSON at ${shorten(pointerOf(scan.path)) || 'the root'}: ${what}`);
}

/** RFC 6901. */
export function pointerOf(path: readonly (string | number)[]): string {
  let pointer = '';
  for (const part of path) {
    pointer += `/${typeof part === 'number' ? part : part.replaceAll('~', '~0').replaceAll('/', '~1')}`;
  }
  return pointer;
}

/** Keeps what a client sent from filling a message. */
export function shorten(text: string): string {
  return text.length <= 120 ? text : `${text.slice(0, 117)}…`;
}

/** Skips blanks and returns the code of the next character, NaN at the end. */
export function peek(scan: Scan): number {
  for (;;) {
    const code = scan.text.charCodeAt(scan.at);
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return code;
    scan.at++;
  }
}

/** Refuses anything but blanks: dockerd 20.10 ignores trailing data, 26 reads some of it. */
export function finishScan(scan: Scan): void {
  if (!Number.isNaN(peek(scan))) throw syntaxError(scan, 'text after the JSON value: send one value alone');
}

/** Steps into `[` or `{`. */
export function enter(scan: Scan): void {
  scan.at++;
  if (++scan.depth > scan.maximumDepth) {
    throw syntaxError(scan, `nested deeper than ${scan.maximumDepth} levels`);
  }
}

/** After a member or element: steps over `,` and returns true, or over `close` and returns false. */
export function next(scan: Scan, close: number): boolean {
  const code = peek(scan);
  if (code !== 0x2c && code !== close) {
    throw syntaxError(scan, `${found(scan)} where "," or "${String.fromCharCode(close)}" belongs`);
  }
  scan.at++;
  if (code === 0x2c) return true;
  scan.depth--;
  return false;
}

/** `[]` or `{}`: the opening character is already read. */
export function isEmpty(scan: Scan, close: number): boolean {
  if (peek(scan) !== close) return false;
  scan.at++;
  scan.depth--;
  return true;
}

/** Reads `"key":`. */
export function scanKey(scan: Scan): string {
  if (peek(scan) !== 0x22) throw syntaxError(scan, `${found(scan)} where a "key" belongs`);
  const key = scanString(scan);
  if (peek(scan) !== 0x3a) throw syntaxError(scan, `${found(scan)} where ":" belongs`);
  scan.at++;
  return key;
}

/** Reads a string; escapes as encoding/json, but half a surrogate pair (U+FFFD there) is refused. */
export function scanString(scan: Scan): string {
  const { text } = scan;
  let start = scan.at + 1;
  let result = '';
  for (let at = start; ; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x22) {
      scan.at = at + 1;
      return result + text.slice(start, at);
    }
    if (code === 0x5c) {
      result += text.slice(start, at);
      scan.at = at;
      result += scanEscape(scan);
      start = scan.at;
      at = start - 1;
    } else if (!(code >= 0x20)) {
      scan.at = at;
      throw syntaxError(
        scan,
        Number.isNaN(code) ? 'a string without an end' : 'a control character in a string',
      );
    }
  }
}

function scanEscape(scan: Scan): string {
  charge(scan.work, ESCAPE_PRICE);
  const letter = scan.text.charAt(scan.at + 1);
  const simple = ESCAPES[letter];
  if (simple !== undefined) {
    scan.at += 2;
    return simple;
  }
  const unit = letter === 'u' ? hex4(scan.text, scan.at + 2) : -1;
  if (unit < 0) throw syntaxError(scan, 'an invalid escape in a string');
  if (unit < 0xd800 || unit > 0xdfff) {
    scan.at += 6;
    return String.fromCharCode(unit);
  }
  const low = scan.text.startsWith('\\u', scan.at + 6) ? hex4(scan.text, scan.at + 8) : -1;
  if (unit > 0xdbff || low < 0xdc00 || low > 0xdfff)
    throw syntaxError(scan, 'an escape for half of a surrogate pair');
  scan.at += 12;
  return String.fromCharCode(unit, low);
}

function hex4(text: string, at: number): number {
  HEX4.lastIndex = at;
  const match = HEX4.exec(text);
  return match === null ? -1 : parseInt(match[0], 16);
}

/** Whether a number begins with this character. */
export function startsNumber(code: number): boolean {
  return code === 0x2d || (code >= 0x30 && code <= 0x39);
}

/** The literal of a number and whether it has neither fraction nor exponent. */
export function scanNumber(scan: Scan): { literal: string; integer: boolean } {
  NUMBER.lastIndex = scan.at;
  const match = NUMBER.exec(scan.text);
  if (match === null) throw syntaxError(scan, `${found(scan)} where a value belongs`);
  const literal = match[0];
  if (literal.length > MAX_NUMBER_LENGTH) throw syntaxError(scan, 'a number with too many digits');
  scan.at += literal.length;
  return { literal, integer: match[1] === undefined && match[2] === undefined };
}

/** A plain integer of at most nine digits, which every type of 32 bits and more holds; else -1, and nothing is read. */
export function scanSmallInteger(scan: Scan): number {
  const { text, at } = scan;
  let value = 0;
  for (let end = at; end < at + 10; end++) {
    const code = text.charCodeAt(end);
    if (code >= 0x30 && code <= 0x39) {
      value = value * 10 + code - 0x30;
      continue;
    }
    const leadingZero = end - at > 1 && text.charCodeAt(at) === 0x30;
    if (end === at || leadingZero || code === 0x2e || code === 0x65 || code === 0x45) return -1;
    scan.at = end;
    return value;
  }
  return -1;
}

/** An integer as a number where that is exact, else as a bigint; -0 is 0. */
export function integerOf(literal: string): number | bigint {
  if (literal.length <= 15) return Number(literal) + 0;
  const exact = BigInt(literal);
  const double = Number(exact);
  return Number.isSafeInteger(double) ? double : exact;
}

/** A number of any kind; outside the range of a double it is an error, as in Go. */
export function numberOf(scan: Scan, literal: string, integer: boolean): number | bigint {
  if (integer) return integerOf(literal);
  const double = Number(literal);
  if (!Number.isFinite(double)) throw shapeError(scan, 'json-range', `${shorten(literal)} is out of range`);
  return double + 0;
}

/** `true`, `false` or `null`. */
export function scanWord(scan: Scan): boolean | null {
  for (const [word, value] of WORDS) {
    if (scan.text.startsWith(word, scan.at)) {
      scan.at += word.length;
      return value;
    }
  }
  throw syntaxError(scan, `${found(scan)} where a value belongs`);
}

const WORDS: readonly (readonly [string, boolean | null])[] = [
  ['true', true],
  ['false', false],
  ['null', null],
];

function found(scan: Scan): string {
  const character = scan.text.codePointAt(scan.at);
  return character === undefined ? 'the end of the text' : JSON.stringify(String.fromCodePoint(character));
}

/** Equal for two keys exactly when encoding/json takes them for one (fold.go): ASCII case, U+017F as s, U+212A as k. */
export function foldKey(key: string): string {
  return key.replaceAll('\u017f', 's').toLowerCase();
}

/**
 * JSON that no schema describes. `foldKeys` also refuses keys that differ by case alone: the daemon may know the type
 * that the schema does not, and would merge them.
 */
export function anyValue(scan: Scan, foldKeys: boolean): JsonValue {
  charge(scan.work, VALUE_PRICE);
  const code = peek(scan);
  if (code === 0x22) return scanString(scan);
  if (code === 0x7b) return anyObject(scan, foldKeys);
  if (code === 0x5b) return anyArray(scan, foldKeys);
  if (startsNumber(code)) {
    const { literal, integer } = scanNumber(scan);
    return numberOf(scan, literal, integer);
  }
  return scanWord(scan);
}

function anyObject(scan: Scan, foldKeys: boolean): JsonObject {
  const object = emptyObject();
  enter(scan);
  if (isEmpty(scan, 0x7d)) return object;
  const seen = new Set<string>();
  do {
    const key = scanKey(scan);
    const id = foldKeys ? foldKey(key) : key;
    if (seen.has(id))
      throw syntaxError(scan, `the key ${JSON.stringify(shorten(key))} comes twice in one object`);
    seen.add(id);
    object[key] = anyValue(scan, foldKeys);
  } while (next(scan, 0x7d));
  return object;
}

function anyArray(scan: Scan, foldKeys: boolean): JsonValue[] {
  const array: JsonValue[] = [];
  enter(scan);
  if (isEmpty(scan, 0x5d)) return array;
  do {
    array.push(anyValue(scan, foldKeys));
  } while (next(scan, 0x5d));
  return array;
}
