import type { SimpleCommand, TextBudget, Variable } from './shell-command.js';

/** Where a reading of a shell text stands. */
export interface Reader {
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

/** Adds to the word that is being read; `length` is what it took of the text. */
export function append(reader: Reader, text: string, length: number): void {
  reader.word += text;
  reader.started = true;
  reader.at += length;
}

/** The word is complete, if there is one. */
export function endWord(reader: Reader): void {
  if (!reader.started) return;
  if (reader.target) reader.targets.push(reader.word);
  else reader.words.push(reader.word);
  reader.word = '';
  reader.started = false;
  reader.target = false;
}

/** The price of a command, whatever is in it. */
const COMMAND_PRICE = 256;

/** The command is complete, if there is one; `pipes`: into the next. */
export function endCommand(reader: Reader, pipes: boolean): void {
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
    spendText(reader.budget, 0, COMMAND_PRICE);
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

/** Adds what a substitution gave, which the budget pays for. */
export function substitute(reader: Reader, value: string): void {
  spendText(reader.budget, value.length);
  append(reader, value, 0);
}

/** Of a variable: what the text itself assigns goes first. */
export function valueOf({ locals, variable }: Reader, name: string): string | undefined {
  return locals.get(name) ?? variable(name);
}

/** The price of a character that is read or written. */
const CHARACTER_PRICE = 4;

/** Takes characters, and what else they cost, from a budget. */
export function spendText(
  budget: TextBudget,
  characters: number,
  price = CHARACTER_PRICE * characters,
): void {
  budget.left -= characters;
  budget.work.left -= price;
  if (budget.work.left < 0) budget.left = -1;
}
