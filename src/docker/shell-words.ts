import { unescape, printed } from './shell-decode.js';
import { endOfAnsi, endOfBraces, endOfParens } from './shell-ends.js';
import { UNKNOWN, type SimpleCommand, type TextBudget, type Variable } from './shell-command.js';
import { append, endCommand, endWord, spendText, substitute, valueOf, type Reader } from './shell-reader.js';

/** Deeper `$( $( …` than this is not followed. */
const MAX_DEPTH = 6;

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
  spendText(budget, text.length + 64);
  if (depth > MAX_DEPTH) budget.left = -1;
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

/** A word of a pattern that stands for itself: no `*`, `?`, `[`, quotes or further substitutions. */
const LITERAL = /^[^*?[\]\\$`"'{}]{0,256}$/;

/**
 * What `${NAME` + operation + `}` makes of a value, for literal words: `%word`, `#word`, `/word/word`, `//word/word`,
 * `:offset:length`. Undefined for expansions that are not computed.
 */
function operate(value: string, operation: string): string | undefined {
  if (operation === '') return value;
  const cut = /^(%%?|##?)(.*)$/s.exec(operation);
  if (cut !== null) {
    const [, kind = '', word = ''] = cut;
    if (!LITERAL.test(word)) return undefined;
    if (kind.startsWith('%'))
      return value.endsWith(word) ? value.slice(0, value.length - word.length) : value;
    return value.startsWith(word) ? value.slice(word.length) : value;
  }
  const swap = /^(\/\/?)([^/]+)(?:\/(.*))?$/s.exec(operation);
  if (swap !== null) {
    const [, kind, from = '', to = ''] = swap;
    if (!LITERAL.test(from) || !LITERAL.test(to)) return undefined;
    return kind === '/' ? value.replace(from, () => to) : value.replaceAll(from, () => to);
  }
  const part = /^:([0-9]{1,5})(?::([0-9]{1,5}))?$/.exec(operation);
  if (part === null) return undefined;
  const from = Number(part[1]);
  return part[2] === undefined ? value.slice(from) : value.slice(from, from + Number(part[2]));
}

function expandInside(reader: Reader, quoted: string): string {
  const text = quoted.replace(/["']/g, '');
  // As inside double quotes: blanks and operators are themselves here.
  const inner: Reader = { ...reader, text, at: -1, word: '', started: false, depth: reader.depth + 1 };
  if (inner.depth > MAX_DEPTH) {
    reader.budget.left = -1;
    return UNKNOWN;
  }
  spendText(reader.budget, text.length);
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
