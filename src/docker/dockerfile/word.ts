import { UNKNOWN, type Variable } from '../shell-command.js';
import type { Work } from '../../base/work.js';
import { isSpace, spend, AmbiguityError } from './ambiguity.js';

export interface WordOptions {
  readonly escape: string;
  /** Undefined for what nothing in the Dockerfile or the call sets; UNKNOWN takes its place. */
  readonly lookup: Variable;
  readonly work: Work;
  /**
   * True where a variable that is not found may still be set by the base image: `${X:+word}` then gives UNKNOWN and
   * the word, since either may be the truth.
   */
  readonly open: boolean;
}

/** The prices of a word, and of each of its characters. */
const WORD_PRICE = 128;
const CHARACTER_PRICE = 16;

/** Nested `${a:-${b:-…}}` deeper than this is refused: no real Dockerfile has it, and it would exhaust the stack. */
const MAX_DEPTH = 32;

const LETTER = /^[\p{L}\p{Nd}_]$/u;
const DIGIT = /^\p{Nd}$/u;
const SPECIAL = new Set(['@', '*', '#', '?', '-', '$', '!', '0']);

interface Cursor extends WordOptions {
  readonly text: string;
  at: number;
  depth: number;
}

/**
 * Substitutes variables and removes quotes as ProcessWord of the builder does (buildkit, frontend/dockerfile/shell/
 * lex.go). What only some engines know (`${x-y}`) is read as the newer ones do: the older ones fail the build. The
 * pattern operators (`#`, `%`, `/`) are refused.
 *
 * @throws AmbiguityError for what the engine refuses as well.
 */
export function expandWord(text: string, options: WordOptions): string {
  spend(options.work, WORD_PRICE + CHARACTER_PRICE * text.length);
  const cursor: Cursor = { ...options, text, at: 0, depth: 0 };
  const out = readUntil(cursor, undefined);
  spend(options.work, out.length);
  return out;
}

function peek(cursor: Cursor): string {
  const code = cursor.text.codePointAt(cursor.at);
  return code === undefined ? '' : String.fromCodePoint(code);
}

function next(cursor: Cursor): string {
  const character = peek(cursor);
  cursor.at += character.length;
  return character;
}

function readUntil(cursor: Cursor, stop: string | undefined): string {
  if (++cursor.depth > MAX_DEPTH) throw new AmbiguityError('a substitution is nested too deep');
  let out = '';
  for (;;) {
    const character = peek(cursor);
    if (character === '') break;
    if (character === stop) {
      cursor.at++;
      cursor.depth--;
      return out;
    }
    if (character === "'") out += singleQuoted(cursor);
    else if (character === '"') out += doubleQuoted(cursor);
    else if (character === '$') out += substituted(cursor);
    else {
      cursor.at += character.length;
      // An escape character at the very end is dropped.
      out += character === cursor.escape ? next(cursor) : character;
    }
  }
  if (stop !== undefined) throw new AmbiguityError(`a substitution has no matching "${stop}"`);
  cursor.depth--;
  return out;
}

function singleQuoted(cursor: Cursor): string {
  const end = cursor.text.indexOf("'", cursor.at + 1);
  if (end < 0) throw new AmbiguityError('a single quote is not closed');
  const out = cursor.text.slice(cursor.at + 1, end);
  cursor.at = end + 1;
  return out;
}

function doubleQuoted(cursor: Cursor): string {
  let out = '';
  cursor.at++;
  for (;;) {
    const character = peek(cursor);
    if (character === '') throw new AmbiguityError('a double quote is not closed');
    if (character === '"') {
      cursor.at++;
      return out;
    }
    if (character === '$') {
      out += substituted(cursor);
      continue;
    }
    cursor.at += character.length;
    if (character !== cursor.escape) {
      out += character;
      continue;
    }
    const escaped = peek(cursor);
    if (escaped === '') continue;
    // Only these can be escaped here; before anything else the escape character stays.
    out += escaped === '"' || escaped === '$' || escaped === cursor.escape ? next(cursor) : character;
  }
}

/** What a `$` stands for, which the work pays for before it is written. */
function substituted(cursor: Cursor): string {
  const value = dollar(cursor);
  spend(cursor.work, value.length);
  return value;
}

function dollar(cursor: Cursor): string {
  cursor.at++;
  if (peek(cursor) !== '{') {
    const name = readName(cursor);
    return name === '' ? '$' : (cursor.lookup(name) ?? UNKNOWN);
  }
  cursor.at++;
  if (['', '{', '}', ':'].includes(peek(cursor))) throw new AmbiguityError('a substitution has no name');
  const name = readName(cursor);
  let operator = next(cursor);
  if (operator === '}') return cursor.lookup(name) ?? UNKNOWN;
  const emptyIsUnset = operator === ':';
  if (emptyIsUnset) operator = next(cursor);
  if (operator === '' || !'+-?'.includes(operator)) {
    throw new AmbiguityError(`the substitution operator "${emptyIsUnset ? ':' : ''}${operator}" is not read`);
  }
  const word = readUntil(cursor, '}');
  const value = cursor.lookup(name);
  const set = value !== undefined && !(emptyIsUnset && value === '');
  if (operator === '-') return set ? value : word;
  if (operator === '+') return set ? word : value === undefined && cursor.open ? UNKNOWN + word : '';
  if (set) return value;
  if (value === undefined && cursor.open) return UNKNOWN;
  throw new AmbiguityError(`the variable ${name} must be set`);
}

function readName(cursor: Cursor): string {
  const start = cursor.at;
  const first = peek(cursor);
  if (DIGIT.test(first)) {
    while (DIGIT.test(peek(cursor))) next(cursor);
    return cursor.text.slice(start, cursor.at);
  }
  if (SPECIAL.has(first)) return next(cursor);
  while (LETTER.test(peek(cursor))) next(cursor);
  return cursor.text.slice(start, cursor.at);
}

/** A heredoc that a line opens: `<<EOF`, `<<-"EOF"`. */
export interface HeredocStart {
  readonly name: string;
  /** `<<-`: tabs before its lines and its terminator do not count. */
  readonly chomp: boolean;
}

/**
 * The heredocs that newer engines see in a line (parser.go heredocsFromLine); `spaced` is the reading of the newest,
 * in which blanks may stand between `<<` and the word. Older engines (20.10) know none.
 */
export function findHeredocs(line: string, spaced: boolean): HeredocStart[] {
  if (!line.includes('<<')) return [];
  const found: HeredocStart[] = [];
  for (const word of rawWords(line, spaced)) {
    const match = /^[0-9]*<<(-?)([^<]*)$/.exec(word);
    const rest = spaced ? match?.[2]?.trimStart() : match?.[2];
    if (match === null || rest === undefined || rest === '') continue;
    found.push({ name: unquoted(rest), chomp: match[1] === '-' });
  }
  return found;
}

/** Words with their quotes and escapes left in; none at all where quotes do not match, as in the engine. */
function rawWords(line: string, spaced: boolean): string[] {
  const words: string[] = [];
  let word = '';
  let at = 0;
  while (at < line.length) {
    const character = line.charAt(at);
    if (character === "'" || character === '"') {
      const end = closingQuote(line, at);
      if (end < 0) return [];
      word += line.slice(at, end + 1);
      at = end + 1;
    } else if (character === '\\') {
      word += line.slice(at, at + 2);
      at += 2;
    } else if (spaced && line.startsWith('<<', at)) {
      word += '<<';
      at += 2;
      while (at < line.length && ' \t\r\n'.includes(line.charAt(at))) word += line.charAt(at++);
    } else if (isSpace(character)) {
      if (word !== '') words.push(word);
      word = '';
      at++;
    } else {
      word += character;
      at++;
    }
  }
  if (word !== '') words.push(word);
  return words;
}

function closingQuote(line: string, at: number): number {
  const quote = line.charAt(at);
  if (quote === "'") return line.indexOf(quote, at + 1);
  for (let end = at + 1; end < line.length; end++) {
    if (line.charAt(end) === '\\') end++;
    else if (line.charAt(end) === quote) return end;
  }
  return -1;
}

function unquoted(word: string): string {
  let out = '';
  for (let at = 0; at < word.length; at++) {
    const character = word.charAt(at);
    if (character === '\\') out += word.charAt(++at);
    else if (character !== "'" && character !== '"') out += character;
  }
  return out;
}
