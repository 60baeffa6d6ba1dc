import { unescape, filtered, printedBy } from './shell-decode.js';
import { operate } from './shell-parameter.js';

/** Stands in a word for a part whose value is not known from the text. */
export const UNKNOWN = '\uffff';

/** The value of a variable, undefined when it is not known. */
export type Variable = (name: string) => string | undefined;

/** How many characters may still be written; `left < 0` afterwards means the reading is not complete. */
export interface TextBudget {
  left: number;
}

/** One simple command: `A=1 wget -q "$URL" > out`. */
export interface SimpleCommand {
  /** Leading `NAME=value` words. */
  readonly assignments: readonly string[];
  /** Quotes and escapes removed, variables substituted; UNKNOWN where a value is not known. */
  readonly words: readonly string[];
  /** Files, here-strings and descriptors that its input and output are redirected to. */
  readonly targets: readonly string[];
  /** Its output goes into the next command, a file, or a substitution: it may be run later. */
  readonly captured: boolean;
  /** It reads the output of the command before it. */
  readonly piped: boolean;
}

/** Deeper `$( $( …` than this is not followed. */
const DEEPEST = 6;

interface Reader {
  readonly text: string;
  readonly variable: Variable;
  readonly locals: Map<string, string>;
  readonly budget: TextBudget;
  readonly depth: number;
  /** Commands in the order they were met, those of substitutions before the one they stand in. */
  readonly out: SimpleCommand[];
  at: number;
  /** The command being read. */
  words: string[];
  targets: string[];
  word: string;
  /** There is a word, if an empty one: `''`. */
  started: boolean;
  redirects: boolean;
  target: boolean;
  piped: boolean;
  captured: boolean;
}

/**
 * Reads the text of a shell (POSIX sh and what bash and busybox add) into its simple commands, those inside `$( )`,
 * backquotes, `( )` and `{ }` included. Keywords such as `then` are left as words. It is a reading for inspection, not
 * an interpreter: it never fails, follows every branch, and takes each variable's last assignment in the text.
 * Linear in the text and the budget.
 */
export function readShell(
  text: string,
  variable: Variable,
  budget: TextBudget,
  captured = false,
): SimpleCommand[] {
  return readNested(text, variable, new Map(), budget, 0, captured);
}

function readNested(
  text: string,
  variable: Variable,
  locals: Map<string, string>,
  budget: TextBudget,
  depth: number,
  captured: boolean,
): SimpleCommand[] {
  const reader: Reader = {
    text,
    variable,
    locals,
    budget,
    depth,
    captured,
    out: [],
    at: 0,
    words: [],
    targets: [],
    word: '',
    started: false,
    redirects: false,
    target: false,
    piped: false,
  };
  // A flood of empty substitutions costs more than its characters.
  budget.left -= text.length + 64;
  if (depth > DEEPEST) budget.left = -1;
  while (reader.at < text.length && budget.left >= 0) step(reader);
  endCommand(reader, false);
  return reader.out;
}

function step(reader: Reader): void {
  const { text, at } = reader;
  const character = text.charAt(at);
  switch (character) {
    case ' ':
    case '\t':
    case '\r':
      endWord(reader);
      reader.at++;
      return;
    case '\n':
    case ';':
    case '(':
    case ')':
      reader.at++;
      endCommand(reader, false);
      return;
    case '&':
      reader.at++;
      // `>&2` and `&>file` are redirections.
      if (reader.target && reader.word === '') return;
      if (text.charAt(reader.at) === '>') endWord(reader);
      else endCommand(reader, false);
      return;
    case '|':
      reader.at += text.charAt(at + 1) === '&' ? 2 : 1;
      if (text.charAt(reader.at) === '|') {
        reader.at++;
        endCommand(reader, false);
      } else endCommand(reader, true);
      return;
    case '<':
    case '>':
      readRedirection(reader, character);
      return;
    case '#':
      if (reader.started) append(reader, character, 1);
      else {
        const end = text.indexOf('\n', at);
        reader.at = end < 0 ? text.length : end;
      }
      return;
    case '\\':
      if (text.charAt(at + 1) === '\n') reader.at += 2;
      else append(reader, text.charAt(at + 1), 2);
      return;
    case "'": {
      const end = text.indexOf("'", at + 1);
      append(reader, text.slice(at + 1, end < 0 ? text.length : end), 0);
      reader.at = end < 0 ? text.length : end + 1;
      return;
    }
    case '"':
      readDoubleQuoted(reader);
      return;
    case '$':
      readDollar(reader, false);
      return;
    case '`':
      readBackquoted(reader);
      return;
    default: {
      // A run of ordinary characters at once.
      let end = at + 1;
      while (end < text.length && !' \t\r\n;()&|<>#\\\'"$`'.includes(text.charAt(end))) end++;
      append(reader, text.slice(at, end), end - at);
    }
  }
}

function append(reader: Reader, text: string, length: number): void {
  reader.word += text;
  reader.started = true;
  reader.at += length;
}

function endWord(reader: Reader): void {
  if (!reader.started) return;
  if (reader.target) reader.targets.push(reader.word);
  else reader.words.push(reader.word);
  reader.word = '';
  reader.started = false;
  reader.target = false;
}

function endCommand(reader: Reader, pipes: boolean): void {
  endWord(reader);
  const { words, targets } = reader;
  if (words.length > 0 || targets.length > 0) {
    let first = 0;
    while (first < words.length && isAssignment(words[first] ?? '')) first++;
    const kept = words.slice(first);
    const declares = first === words.length || DECLARES.has(kept[0] ?? '');
    for (const word of declares ? words : words.slice(0, first)) {
      if (isAssignment(word)) assign(reader, word);
    }
    // `set -- c2 example; wget $1.$2`
    if (kept[0] === 'set' && kept[1] === '--') {
      kept.slice(2).forEach((word, index) => reader.locals.set(String(index + 1), word));
    }
    reader.out.push({
      assignments: words.slice(0, first),
      words: kept,
      targets,
      captured: pipes || reader.captured || reader.redirects,
      piped: reader.piped,
    });
    reader.words = [];
    reader.targets = [];
    reader.redirects = false;
    reader.piped = pipes;
  } else {
    // `{ …; } | sh`, `( … ) | sh`: what stands before the pipe has ended already.
    reader.piped = pipes;
  }
  reader.target = false;
}

const DECLARES = new Set(['export', 'local', 'readonly', 'declare', 'typeset']);

function isAssignment(word: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*\+?=/.test(word);
}

function assign({ locals, variable }: Reader, word: string): void {
  const equals = word.indexOf('=');
  const value = word.slice(equals + 1);
  if (word.charAt(equals - 1) !== '+') locals.set(word.slice(0, equals), value);
  else {
    const name = word.slice(0, equals - 1);
    locals.set(name, (locals.get(name) ?? variable(name) ?? '') + value);
  }
}

function readRedirection(reader: Reader, character: string): void {
  // `2>file`: the digit is part of the redirection.
  if (/^[0-9]$/.test(reader.word)) {
    reader.word = '';
    reader.started = false;
  }
  endWord(reader);
  const { text } = reader;
  let length = 1;
  while (length < 3 && text.charAt(reader.at + length) === character) length++;
  reader.at += length;
  if (text.charAt(reader.at) === '(') return;
  if (character === '>') reader.redirects = true;
  // Of a heredoc only the word follows; its lines are read as commands, which errs on the safe side.
  while (' \t|'.includes(text.charAt(reader.at)) && reader.at < text.length) reader.at++;
  reader.target = true;
}

function readDoubleQuoted(reader: Reader): void {
  const { text } = reader;
  append(reader, '', 1);
  while (reader.at < text.length && reader.budget.left >= 0) {
    const character = text.charAt(reader.at);
    if (character === '"') {
      reader.at++;
      return;
    }
    if (character === '$') readDollar(reader, true);
    else if (character === '`') readBackquoted(reader);
    else if (character === '\\') {
      const escaped = text.charAt(reader.at + 1);
      if (escaped === '\n') reader.at += 2;
      else append(reader, '$`"\\'.includes(escaped) ? escaped : character + escaped, 2);
    } else {
      let end = reader.at + 1;
      while (end < text.length && !'"$`\\'.includes(text.charAt(end))) end++;
      append(reader, text.slice(reader.at, end), end - reader.at);
    }
  }
}

function readDollar(reader: Reader, quoted: boolean): void {
  const { text, at } = reader;
  const after = text.charAt(at + 1);
  if (after === "'" && !quoted) {
    const end = endOfAnsi(text, at + 2);
    append(reader, unescape(text.slice(at + 2, end)), 0);
    reader.at = end + 1;
  } else if (after === '"' && !quoted) {
    reader.at++;
  } else if (text.startsWith('((', at + 1)) {
    reader.at = endOfParens(text, at + 1);
    substitute(reader, UNKNOWN);
  } else if (after === '(') {
    const end = endOfParens(text, at + 1);
    reader.at = end;
    substitute(reader, runNested(reader, text.slice(at + 2, text.charAt(end - 1) === ')' ? end - 1 : end)));
  } else if (after === '{') {
    readBraces(reader, quoted);
  } else {
    const name =
      /^(?:[A-Za-z_][A-Za-z0-9_]{0,255}|[0-9@*#?$!-])/.exec(text.slice(at + 1, at + 257))?.[0] ?? '';
    reader.at += 1 + name.length;
    if (name === '') append(reader, '$', 0);
    else if (name === 'IFS' && !quoted) endWord(reader);
    else substitute(reader, valueOf(reader, name) ?? UNKNOWN);
  }
}

function substitute(reader: Reader, value: string): void {
  reader.budget.left -= value.length;
  append(reader, value, 0);
}

function valueOf({ locals, variable }: Reader, name: string): string | undefined {
  return locals.get(name) ?? variable(name);
}

/** `${NAME}`, `${NAME:-word}`, `${NAME%word}`, `${NAME/word/word}`; `${IFS%?}` and the like are blanks. */
function readBraces(reader: Reader, quoted: boolean): void {
  const { text, at } = reader;
  const end = endOfBraces(text, at + 2);
  const inside = text.slice(at + 2, end);
  reader.at = end + 1;
  const match = /^([A-Za-z_][A-Za-z0-9_]{0,255}|[0-9]{1,2})(?:(:?[-=+?])|$)?/.exec(inside);
  const name = match?.[1];
  if (name === 'IFS' && !quoted) {
    endWord(reader);
    return;
  }
  if (name === undefined || match === null) {
    substitute(reader, UNKNOWN);
    return;
  }
  const value = valueOf(reader, name);
  const operator = match[2]?.replace(':', '');
  if (operator === undefined) {
    substitute(reader, (value === undefined ? value : operate(value, inside.slice(name.length))) ?? UNKNOWN);
    return;
  }
  const word = expandInside(reader, inside.slice(match[0].length));
  if (operator === '+') substitute(reader, value === undefined ? UNKNOWN + word : word);
  else if (value !== undefined && value !== '') substitute(reader, value);
  else substitute(reader, operator === '?' ? UNKNOWN : word);
}

function expandInside(reader: Reader, quoted: string): string {
  const text = quoted.replace(/["']/g, '');
  // As inside double quotes: blanks and operators are themselves here.
  const inner: Reader = { ...reader, text, at: -1, word: '', started: false, depth: reader.depth + 1 };
  if (inner.depth > DEEPEST) {
    reader.budget.left = -1;
    return UNKNOWN;
  }
  reader.budget.left -= text.length;
  readDoubleQuoted(inner);
  return inner.word;
}

/** What a substitution prints, where that is plain to see: `$(echo wget)`, `$(printf 'aHR0…' | base64 -d)`. */
function runNested(reader: Reader, text: string): string {
  const { variable, locals, budget, depth } = reader;
  const commands = readNested(text, variable, locals, budget, depth + 1, true);
  for (const command of commands) reader.out.push(command);
  return printed(commands, budget) ?? UNKNOWN;
}

function readBackquoted(reader: Reader): void {
  const { text, at } = reader;
  let end = at + 1;
  while (end < text.length && text.charAt(end) !== '`') end += text.charAt(end) === '\\' ? 2 : 1;
  reader.at = Math.min(end + 1, text.length);
  substitute(reader, runNested(reader, text.slice(at + 1, end).replace(/\\([\\`$])/g, '$1')));
}

function endOfAnsi(text: string, from: number): number {
  let at = from;
  while (at < text.length && text.charAt(at) !== "'") at += text.charAt(at) === '\\' ? 2 : 1;
  return Math.min(at, text.length);
}

/** The place after the parenthesis that closes the one at `from`, quotes respected; the end when none does. */
function endOfParens(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const character = text.charAt(at);
    if (character === '\\') at++;
    else if (character === "'") {
      const end = text.indexOf("'", at + 1);
      if (end < 0) return text.length;
      at = end;
    } else if (character === '(') depth++;
    else if (character === ')' && --depth === 0) return at + 1;
  }
  return text.length;
}

function endOfBraces(text: string, from: number): number {
  let depth = 1;
  for (let at = from; at < text.length; at++) {
    const character = text.charAt(at);
    if (character === '\\') at++;
    else if (character === '{' && text.charAt(at - 1) === '$') depth++;
    else if (character === '}' && --depth === 0) return at;
  }
  return text.length;
}

/** The last part of a path: `/usr/bin/wget` is `wget`. */
export function baseName(word: string): string {
  return word.slice(word.lastIndexOf('/') + 1);
}

/**
 * What pipelines that begin with echo or printf print, up to the first command that does more than decode. Each step is
 * charged: thousands of `| cat` behind a long text would be quadratic.
 */
export function printedTexts(commands: readonly SimpleCommand[], budget: TextBudget): string[] {
  const texts: string[] = [];
  let text: string | undefined;
  for (const { words, piped } of commands) {
    const next = piped ? pass(words, text, budget) : printedBy(baseName(words[0] ?? ''), words.slice(1));
    if (text !== undefined && (!piped || next === undefined)) texts.push(text);
    text = next;
  }
  if (text !== undefined) texts.push(text);
  return texts;
}

/** What a filter makes of a text. */
function pass(words: readonly string[], text: string | undefined, budget: TextBudget): string | undefined {
  if (text === undefined || budget.left < 0) return undefined;
  budget.left -= text.length;
  return filtered(baseName(words[0] ?? ''), words.slice(1), text);
}

/** What a short pipeline prints: echo or printf, then filters that only decode. */
function printed(commands: readonly SimpleCommand[], budget: TextBudget): string | undefined {
  let text: string | undefined;
  for (const [index, { words, piped }] of commands.entries()) {
    if (piped !== index > 0) return undefined;
    text = index === 0 ? printedBy(baseName(words[0] ?? ''), words.slice(1)) : pass(words, text, budget);
    if (text === undefined) return undefined;
  }
  return text?.replace(/\n+$/, '');
}
