import { isSpace, trimSpace, trimSpaceLeft, AmbiguityError } from './ambiguity.js';

/** `--name=value`; the value is undefined for a bare `--name`. */
export interface Flag {
  readonly name: string;
  readonly value: string | undefined;
}

/** One instruction as the builder's parser takes it apart, before any substitution. */
export interface Instruction {
  /** Lower case. */
  readonly name: string;
  readonly flags: readonly Flag[];
  readonly args: readonly string[];
  /** The arguments were a JSON array: the exec form. */
  readonly json: boolean;
  /** The joined line, trimmed: what the daemon prints as `Step 1/2 : …`. */
  readonly text: string;
  /** Number of its first line, from 1. */
  readonly line: number;
  /** What ONBUILD is followed by. */
  readonly trigger?: Instruction;
  /** Contents of its heredocs (BuildKit only). */
  readonly heredocs: readonly string[];
}

type Form = 'list' | 'words' | 'command' | 'pairs' | 'blanks' | 'health' | 'text' | 'trigger';

interface Grammar {
  readonly form: Form;
  /** Flags it may carry; `*` for those that ignore all flags (instructions/parse.go). */
  readonly flags: string;
  readonly least: number;
  readonly most: number;
}

const MANY = Infinity;

/** buildkit frontend/dockerfile/parser/parser.go (forms) and instructions/parse.go (flags, number of arguments). */
const GRAMMARS: ReadonlyMap<string, Grammar> = new Map<string, Grammar>([
  [
    'add',
    {
      form: 'list',
      flags: 'chown chmod link keep-git-dir checksum exclude unpack',
      least: 2,
      most: MANY,
    },
  ],
  ['arg', { form: 'words', flags: '*', least: 1, most: MANY }],
  ['cmd', { form: 'command', flags: '', least: 0, most: MANY }],
  ['copy', { form: 'list', flags: 'chown chmod from link parents exclude', least: 2, most: MANY }],
  ['entrypoint', { form: 'command', flags: '', least: 0, most: MANY }],
  ['env', { form: 'pairs', flags: '', least: 2, most: MANY }],
  ['expose', { form: 'blanks', flags: '', least: 1, most: MANY }],
  ['from', { form: 'blanks', flags: 'platform', least: 1, most: 3 }],
  [
    'healthcheck',
    {
      form: 'health',
      flags: 'interval timeout start-period start-interval retries',
      least: 1,
      most: MANY,
    },
  ],
  ['label', { form: 'pairs', flags: '', least: 2, most: MANY }],
  ['maintainer', { form: 'text', flags: '', least: 1, most: 1 }],
  ['onbuild', { form: 'trigger', flags: '', least: 1, most: MANY }],
  ['run', { form: 'command', flags: 'mount network security device', least: 0, most: MANY }],
  ['shell', { form: 'command', flags: '', least: 1, most: MANY }],
  ['stopsignal', { form: 'text', flags: '*', least: 1, most: 1 }],
  ['user', { form: 'text', flags: '', least: 1, most: 1 }],
  ['volume', { form: 'list', flags: '', least: 1, most: MANY }],
  ['workdir', { form: 'text', flags: '', least: 1, most: 1 }],
]);

const REPEATABLE = new Set(['mount', 'exclude', 'device']);
const BARE = new Set(['link', 'keep-git-dir', 'parents', 'unpack']);

/** The blanks that separate words here. Others, such as U+00A0, are trimmed at the ends but part of a word inside. */
const BLANKS = /[\t\v\f\r ]+/;

/**
 * Takes one joined line apart.
 *
 * @throws AmbiguityError for what the engine refuses, and for what engines take apart differently.
 */
export function readInstruction(line: string, escape: string, number: number): Instruction {
  const text = trimSpace(line);
  const blank = BLANKS.exec(text);
  const word = blank === null ? text : text.slice(0, blank.index);
  const rest = blank === null ? '' : text.slice(blank.index + blank[0].length);
  const name = asciiLower(word);
  const grammar = name === undefined ? undefined : GRAMMARS.get(name);
  if (name === undefined || grammar === undefined) {
    throw new AmbiguityError(`line ${number}: unknown instruction ${JSON.stringify(word.slice(0, 40))}`);
  }
  const { flags, left } = readFlags(rest, escape, number);
  const given = trimSpace(left);
  const instruction = {
    name,
    ...readArguments(grammar.form, given, escape, number),
    flags,
    text,
    line: number,
    heredocs: [],
  };
  checkFlags(grammar, instruction);
  if (instruction.args.length < grammar.least || instruction.args.length > grammar.most) {
    throw new AmbiguityError(
      `line ${number}: ${name.toUpperCase()} cannot have ${instruction.args.length} arguments`,
    );
  }
  return instruction;
}

/** Go lower-cases by Unicode (`K`, the Kelvin sign, is a k): names of other letters are refused, not guessed. */
export function asciiLower(text: string): string | undefined {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x7e) return undefined;
  return text.toLowerCase();
}

type Arguments = Pick<Instruction, 'args' | 'json' | 'trigger'>;

function readArguments(form: Form, given: string, escape: string, number: number): Arguments {
  switch (form) {
    case 'list':
      return readJson(given, number) ?? { args: splitBlanks(given), json: false };
    case 'command':
      return readJson(given, number) ?? { args: given === '' ? [] : [given], json: false };
    case 'words':
      return { args: splitWords(given, escape), json: false };
    case 'pairs':
      return { args: readPairs(given, escape, number), json: false };
    case 'blanks':
      return { args: splitBlanks(given), json: false };
    case 'text':
      return { args: given === '' ? [] : [given], json: false };
    case 'health':
      return readHealth(given, number);
    case 'trigger': {
      if (given === '') return { args: [], json: false };
      const trigger = readInstruction(given, escape, number);
      if (['onbuild', 'from', 'maintainer'].includes(trigger.name)) {
        throw new AmbiguityError(`line ${number}: ONBUILD cannot trigger ${trigger.name.toUpperCase()}`);
      }
      return { args: [trigger.name, ...trigger.args], json: false, trigger };
    }
  }
}

function splitBlanks(given: string): string[] {
  return given === '' ? [] : given.split(/[\t\v\f\r ]+/);
}

/**
 * `["a", "b"]`, by the rules of Go's encoding/json. Anything that is not JSON is the shell form; an array of other
 * things than strings fails the build.
 */
function readJson(given: string, number: number): Arguments | undefined {
  if (!given.startsWith('[')) return undefined;
  const end = endOfArray(given);
  if (end < 0) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(given.slice(0, end));
  } catch {
    return undefined;
  }
  // Up to 26.1 the engine stops reading after the array, newer ones take the line as shell text then.
  if (end < given.length) throw new AmbiguityError(`line ${number}: there is text after the JSON array`);
  const args = value as unknown[];
  const strings = args.filter((item): item is string => typeof item === 'string');
  if (strings.length !== args.length) {
    throw new AmbiguityError(`line ${number}: the JSON array holds other things than strings`);
  }
  // Go makes U+FFFD of half a surrogate pair.
  if (strings.some((item) => /\p{Surrogate}/u.test(item))) {
    throw new AmbiguityError(`line ${number}: the JSON array holds half a surrogate pair`);
  }
  return { args: strings, json: true };
}

/** Where the first JSON array of the text ends, or -1. It only counts brackets; JSON.parse decides afterwards. */
function endOfArray(text: string): number {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const character = text.charAt(at);
    if (quoted) {
      if (character === '\\') at++;
      else if (character === '"') quoted = false;
    } else if (character === '"') quoted = true;
    else if (character === '[' || character === '{') depth++;
    else if ((character === ']' || character === '}') && --depth === 0) return at + 1;
  }
  return -1;
}

/** parseWords: words keep their quotes and escapes, which substitution removes later. */
function splitWords(given: string, escape: string): string[] {
  const words: string[] = [];
  let word = '';
  let quote = '';
  let blankOk = false;
  const finish = (): void => {
    if (blankOk || word !== '') words.push(word);
    word = '';
    blankOk = false;
  };
  for (let at = 0; at < given.length; at++) {
    const character = given.charAt(at);
    if (quote === '' && isSpace(character)) {
      finish();
    } else if (character === escape && quote !== "'") {
      // At the very end it is dropped.
      if (at + 1 === given.length) break;
      word += character + given.charAt(++at);
    } else {
      if (quote === '' && (character === "'" || character === '"')) {
        quote = character;
        blankOk = true;
      } else if (character === quote) quote = '';
      word += character;
    }
  }
  finish();
  return words;
}

/** `ENV a=1 b=2`, or the old `ENV a the rest`. Gives names and values in turn. */
function readPairs(given: string, escape: string, number: number): string[] {
  const words = splitWords(given, escape);
  const first = words[0];
  if (first === undefined) return [];
  if (!first.includes('=')) {
    const blank = BLANKS.exec(given);
    if (blank === null) throw new AmbiguityError(`line ${number}: a name without a value`);
    return [given.slice(0, blank.index), given.slice(blank.index + blank[0].length)];
  }
  return words.flatMap((word) => {
    const equals = word.indexOf('=');
    if (equals < 1) throw new AmbiguityError(`line ${number}: a pair must be written name=value`);
    return [word.slice(0, equals), word.slice(equals + 1)];
  });
}

function readHealth(given: string, number: number): Arguments {
  const blank = /[\t-\r \x85\xa0]/.exec(given);
  const kind = (blank === null ? given : given.slice(0, blank.index)).toUpperCase();
  if (kind === '') return { args: [], json: false };
  const rest = blank === null ? '' : trimSpaceLeft(given.slice(blank.index));
  const command = readJson(rest, number) ?? { args: rest === '' ? [] : [rest], json: false };
  const wanted = kind === 'NONE' ? command.args.length === 0 : kind === 'CMD' && command.args.length > 0;
  if (!wanted) throw new AmbiguityError(`line ${number}: HEALTHCHECK needs NONE, or CMD and a command`);
  return { args: [kind, ...command.args], json: command.json };
}

/** extractBuilderFlags: leading words that begin with `--`, with quotes and escapes taken away. */
function readFlags(rest: string, escape: string, number: number): { flags: Flag[]; left: string } {
  const flags: Flag[] = [];
  let at = 0;
  for (;;) {
    while (at < rest.length && isSpace(rest.charAt(at))) at++;
    if (!rest.startsWith('--', at)) return { flags, left: rest.slice(at) };
    let word = '';
    let quote = '';
    let quoted = false;
    for (; at < rest.length; at++) {
      const character = rest.charAt(at);
      // The engine looks at bytes here: parts of a letter may count as blanks.
      if (character > '~') throw new AmbiguityError(`line ${number}: a flag holds other letters than ASCII`);
      if (quote === '' && isSpace(character)) break;
      // Up to 26.1 a backslash escapes in flags even under another escape directive, in newer versions it does not.
      if (escape !== '\\' && (character === '\\' || character === escape)) {
        throw new AmbiguityError(`line ${number}: an escape in a flag, and an escape directive`);
      }
      if (character === '\\') word += rest.charAt(++at);
      else if (quote === '' && (character === "'" || character === '"')) {
        quote = character;
        quoted = true;
      } else if (character === quote) quote = '';
      else word += character;
    }
    if (word === '--' && at < rest.length) return { flags, left: rest.slice(at) };
    if (word === '--' || (word === '' && !quoted)) continue;
    const equals = word.indexOf('=');
    flags.push(
      equals < 0
        ? { name: word.slice(2), value: undefined }
        : { name: word.slice(2, equals), value: word.slice(equals + 1) },
    );
  }
}

function checkFlags(grammar: Grammar, { name, flags, args, line }: Instruction): void {
  if (grammar.flags === '*' || (name === 'healthcheck' && args[0] === 'NONE')) return;
  const allowed = grammar.flags.split(' ');
  const seen = new Set<string>();
  for (const flag of flags) {
    if (!allowed.includes(flag.name)) {
      throw new AmbiguityError(`line ${line}: ${name.toUpperCase()} has no flag --${flag.name.slice(0, 40)}`);
    }
    if (seen.has(flag.name) && !REPEATABLE.has(flag.name)) {
      throw new AmbiguityError(`line ${line}: the flag --${flag.name} comes twice`);
    }
    if (flag.value === undefined && !BARE.has(flag.name)) {
      throw new AmbiguityError(`line ${line}: the flag --${flag.name} needs a value`);
    }
    seen.add(flag.name);
  }
}
