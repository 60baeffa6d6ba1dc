import { readInstruction, type Instruction } from './instruction.js';
import type { Work } from '../../base/work.js';
import { isSpace, spend, trimSpaceLeft, AmbiguityError } from './ambiguity.js';
import { findHeredocs, type HeredocStart } from './word.js';

/** A Dockerfile as a list of instructions. */
export interface Parsed {
  readonly escape: string;
  /** What `# syntax=` names, `""` for nothing. */
  readonly syntax: string;
  readonly instructions: readonly Instruction[];
}

/** `buildkit` reads heredocs; classic builders read their lines as instructions, or drop them, by version. */
export type Builder = 'classic' | 'buildkit';

/** Much more than real Dockerfiles have, and little enough to be read and decoded without delaying other calls. */
export const MAX_BYTES = 256 * 1024;
export const MAX_INSTRUCTIONS = 2000;

/** The prices of a line, of a character of an instruction, and of each of its arguments and flags. */
const LINE_PRICE = 96;
const CHARACTER_PRICE = 16;
const WORD_PRICE = 384;

/** bufio.MaxScanTokenSize - 1: the daemon refuses longer lines. */
const MAX_LINE_LENGTH = 64 * 1024 - 1;

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder('utf-8', { ignoreBOM: true });

interface Source {
  /** Physical lines without their line ends. */
  readonly lines: readonly string[];
  /** Not all of it is UTF-8: U+FFFD in an instruction may be any byte. */
  readonly damaged: boolean;
}

/**
 * Reads lines as the daemon does (buildkit, frontend/dockerfile/parser/parser.go): byte order mark, directives at the
 * top, comments, continuations, heredocs.
 *
 * @throws AmbiguityError
 */
export function parseDockerfile(content: Uint8Array, builder: Builder, work: Work): Parsed {
  const source = splitLines(content);
  spend(work, LINE_PRICE * source.lines.length);
  const { escape, first } = readDirectives(source.lines);
  const instructions: Instruction[] = [];
  let terminators: Set<string> | undefined;
  for (let at = first; at < source.lines.length;) {
    const start = at;
    const joined = joinLine(source, at, escape);
    at = joined.next;
    if (joined.text === undefined) continue;
    if (instructions.length === MAX_INSTRUCTIONS) {
      throw new AmbiguityError(`it has more than ${MAX_INSTRUCTIONS} instructions`);
    }
    spend(work, CHARACTER_PRICE * joined.text.length);
    const instruction = readInstruction(joined.text, escape, start + 1);
    spend(work, WORD_PRICE * (instruction.args.length + instruction.flags.length));
    const target = instruction.trigger ?? instruction;
    if (['run', 'add', 'copy'].includes(target.name) && !target.json && joined.text.includes('<<')) {
      if (builder === 'classic')
        refuseHeredoc(joined.text, (terminators ??= terminatorsOf(source.lines)), start + 1);
      else {
        const bodies = readHeredocs(source, at, joined.text, start + 1);
        instructions.push({ ...instruction, heredocs: bodies.contents });
        at = bodies.next;
        continue;
      }
    }
    instructions.push(instruction);
  }
  if (instructions.length === 0) throw new AmbiguityError('it holds no instruction');
  return { escape, syntax: findSyntax(source.lines), instructions };
}

function splitLines(content: Uint8Array): Source {
  if (content.length > MAX_BYTES) throw new AmbiguityError(`it is larger than ${MAX_BYTES} bytes`);
  let text: string;
  let damaged = false;
  try {
    text = strict.decode(content);
  } catch {
    text = lenient.decode(content);
    damaged = true;
  }
  if (text.startsWith('\ufeff')) text = text.slice(1);
  const lines = text.split('\n').map((line, index) => {
    if (line.length * 3 > MAX_LINE_LENGTH && byteLength(line) > MAX_LINE_LENGTH) {
      throw new AmbiguityError(`line ${index + 1} is longer than ${MAX_LINE_LENGTH} bytes`);
    }
    const end = line.endsWith('\r') ? line.length - 1 : line.length;
    // 20.10 takes away one carriage return, newer engines all of them.
    if (line[end - 1] === '\r')
      throw new AmbiguityError(`line ${index + 1} ends in several carriage returns`);
    return line.slice(0, end);
  });
  return { lines, damaged };
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

interface Directive {
  readonly name: string;
  readonly value: string;
}

const DIRECTIVES = new Set(['syntax', 'escape', 'check']);

/** `# name = value` with a known name. Anything else is a comment, and ends the directives. */
function readDirective(line: string, number: number): Directive | undefined {
  if (!line.startsWith('#')) return undefined;
  const text = trimSpaceLeft(line.slice(1));
  const match = /^([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=/.exec(text);
  if (match === null) return undefined;
  const after = text.slice(match[0].length);
  let end = after.length;
  while (end > 0 && '\t\n\f\r '.includes(after.charAt(end - 1))) end--;
  const value = after.slice(0, end).replace(/^[\t\n\f\r ]+/, '');
  const name = (match[1] ?? '').toLowerCase();
  if (after === '' || !DIRECTIVES.has(name)) return undefined;
  // Blanks beyond ASCII before the name make it a directive for the newest engines only.
  if (/[^\t\n\f\r ]/.test(line.slice(1, line.length - text.length))) {
    throw new AmbiguityError(`line ${number}: an unusual blank in a directive`);
  }
  return { name, value };
}

function readDirectives(lines: readonly string[]): { escape: string; first: number } {
  const seen = new Set<string>();
  let escape = '\\';
  let at = 0;
  for (; at < lines.length; at++) {
    const directive = readDirective(trimSpaceLeft(lines[at] ?? ''), at + 1);
    if (directive === undefined) break;
    if (seen.has(directive.name)) throw new AmbiguityError(`line ${at + 1}: the directive comes twice`);
    seen.add(directive.name);
    if (directive.name !== 'escape') continue;
    // `check` is a directive since BuildKit 0.15; before, it is a comment, and ends the directives.
    if (seen.has('check'))
      throw new AmbiguityError(`line ${at + 1}: an escape directive after a check directive`);
    if (directive.value !== '`' && directive.value !== '\\') {
      throw new AmbiguityError(`line ${at + 1}: the escape directive must be a backslash or a backquote`);
    }
    escape = directive.value;
  }
  return { escape, first: at };
}

/** DetectSyntax of BuildKit also looks behind a `#!` line. What stands after the first blank is not part of it. */
function findSyntax(lines: readonly string[]): string {
  for (let at = lines[0]?.startsWith('#!') === true ? 1 : 0; at < lines.length; at++) {
    const directive = readDirective(trimSpaceLeft(lines[at] ?? ''), at + 1);
    if (directive === undefined) return '';
    if (directive.name === 'syntax') return directive.value.split(' ', 1)[0] ?? '';
  }
  return '';
}

interface Joined {
  /** Undefined for comments and blank lines. */
  readonly text: string | undefined;
  readonly next: number;
}

/** One line and its continuations. Comments and blank lines inside a continuation are skipped. */
function joinLine({ lines, damaged }: Source, at: number, escape: string): Joined {
  const start = at;
  const first = trimSpaceLeft(lines[at++] ?? '');
  if (first === '' || first.startsWith('#')) return { text: undefined, next: at };
  let { kept, more } = takeContinuation(first, escape);
  const parts = [kept];
  while (more && at < lines.length) {
    const line = lines[at++] ?? '';
    if (isBlankOrComment(line)) continue;
    ({ kept, more } = takeContinuation(line, escape));
    parts.push(kept);
  }
  const text = parts.join('');
  if (text.includes('\0')) throw new AmbiguityError(`line ${start + 1}: it holds a NUL byte`);
  // The engine's scanner drops a byte order mark at the start of a word.
  if (text.includes('\ufeff')) throw new AmbiguityError(`line ${start + 1}: it holds a byte order mark`);
  if (damaged && text.includes('\ufffd')) throw new AmbiguityError(`line ${start + 1}: it is not UTF-8`);
  return { text, next: at };
}

function isBlankOrComment(line: string): boolean {
  for (let at = 0; at < line.length; at++) {
    if (!isSpace(line.charAt(at))) return line.charAt(at) === '#';
  }
  return true;
}

/** An escape character at the end, blanks after it allowed, unless another one stands before it. */
function takeContinuation(line: string, escape: string): { kept: string; more: boolean } {
  let end = line.length;
  while (end > 0 && (line[end - 1] === ' ' || line[end - 1] === '\t')) end--;
  if (end === 0 || line[end - 1] !== escape || line[end - 2] === escape) return { kept: line, more: false };
  return { kept: line.slice(0, end - 1), more: true };
}

/** Every line that could end a heredoc. */
function terminatorsOf(lines: readonly string[]): Set<string> {
  return new Set([...lines, ...lines.map((line) => line.replace(/^\t+/, ''))]);
}

/**
 * A classic builder of 20.10 reads the lines of a heredoc as instructions, one of 26.1 drops them: `RUN cat <<#` hides
 * a FROM from one of the two. Where no line ends the heredoc, newer engines refuse the file.
 */
function refuseHeredoc(text: string, terminators: ReadonlySet<string>, number: number): void {
  const starts: string[] = [...findHeredocs(text, false), ...findHeredocs(text, true)].map(
    ({ name }) => name,
  );
  // Regardless of quotes around it: the engine's lexer follows `${…}` into places where ours does not.
  for (const [, word] of text.matchAll(/<<-?[\t ]*([^\s<]{1,256})/g)) {
    if (word !== undefined) starts.push(word, word.replace(/["'\\]/g, ''));
  }
  if (starts.some((name) => terminators.has(name))) {
    throw new AmbiguityError(`line ${number}: a heredoc, which classic builders read differently`);
  }
}

function readHeredocs(
  { lines, damaged }: Source,
  from: number,
  text: string,
  number: number,
): { contents: string[]; next: number } {
  const starts = findHeredocs(text, false);
  const name = ({ name, chomp }: HeredocStart): string => `${String(chomp)}${name}`;
  if (starts.map(name).join('\n') !== findHeredocs(text, true).map(name).join('\n')) {
    throw new AmbiguityError(
      `line ${number}: a heredoc with a blank after <<, which engines read differently`,
    );
  }
  let at = from;
  const contents = starts.map((start) => {
    const content: string[] = [];
    for (;;) {
      const line = lines[at++];
      if (line === undefined)
        throw new AmbiguityError(`line ${number}: the heredoc ${start.name} does not end`);
      if ((start.chomp ? line.replace(/^\t+/, '') : line) === start.name) break;
      content.push(line);
    }
    const joined = content.join('\n');
    if (joined.includes('\0') || (damaged && joined.includes('\ufffd'))) {
      throw new AmbiguityError(`line ${number}: the heredoc ${start.name} is not text`);
    }
    return joined;
  });
  return { contents, next: at };
}
