import {
  decodeBase32,
  decodeBase64,
  decodeHex,
  decodePercent,
  toText,
  unescape,
  printedTexts,
} from './shell-decode.js';
import type { Work } from '../base/work.js';
import { UNKNOWN, type TextBudget, type Variable } from './shell-command.js';
import { spendText } from './shell-reader.js';
import { readShell } from './shell-words.js';

/** A text and all that it may turn into when shells and decoders have had it. */
export interface Variants {
  /** What to look for indicators in: the text itself first, each variant once. */
  readonly variants: readonly string[];
  /** Those of them that were hidden in base64, hexadecimal or the like: programs of their own. */
  readonly decoded: readonly string[];
  /** There is more than was decoded: what was found is not all. */
  readonly truncated: boolean;
}

/** The price of a character in which something hidden is looked for. */
const DECODE_PRICE = 24;

const MAX_DEPTH = 3;
const GROWTH = 4;
/** Small texts may grow to this much in any case: `$URL` is four characters. */
const FLOOR = 64 * 1024;

/**
 * How much the variants of a text of this length may hold together; the text itself is not charged.
 *
 * @param work pays for it, however much that is.
 */
export function textBudget(length: number, work: Work): TextBudget {
  return { left: Math.max(FLOOR, GROWTH * length) + length, work };
}

/**
 * Undoes what hides an address in a command: continuations, comments, quotes and backslashes, `${IFS}`, `$'\x31'`,
 * variables and their defaults, `$(echo …)`, `{a,b}`, strings put together with `+`, escapes for printf, percent signs,
 * lists of character codes, base64, base32 and hexadecimal, up to three deep and to four times the text's length. Linear
 * in the text.
 *
 * @param budget may be shared by several texts of one call.
 */
export function decodeVariants(text: string, variable: Variable, budget: TextBudget): Variants {
  const seen = new Set<string>();
  const decoded = new Set<string>();
  let level = [text];
  for (let depth = 0; depth <= MAX_DEPTH && level.length > 0 && budget.left >= 0; depth++) {
    const found = new Set<string>();
    for (const reading of level) {
      if (budget.left < 0) break;
      seen.add(reading);
      const plain = flatten(reading, variable, budget);
      seen.add(plain);
      const price = DECODE_PRICE * (reading.length + plain.length);
      spendText(budget, 0, price);
      if (budget.left < 0) break;
      const spelt = [...spellings(reading), ...spellings(plain)];
      for (const variant of spelt) {
        if (seen.has(variant)) continue;
        spendText(budget, variant.length);
        seen.add(variant);
      }
      for (const blob of decodeBlobs([...new Set([reading, plain, ...spelt])].join('\n'), budget)) {
        if (decoded.has(blob)) continue;
        decoded.add(blob);
        found.add(blob);
      }
    }
    level = [...found];
  }
  // Something was still hidden at the last level.
  const deeper = level.length > 0;
  return { variants: [...seen], decoded: [...decoded], truncated: budget.left < 0 || deeper };
}

/** The words of all commands, one command a line, without quotes; then what their pipelines print. */
function flatten(text: string, variable: Variable, budget: TextBudget): string {
  const commands = readShell(text, variable, budget);
  const lines = commands.map(({ assignments, words, targets }) =>
    [...assignments, ...words, ...targets].join(' '),
  );
  for (const printed of printedTexts(commands, budget)) {
    spendText(budget, printed.length);
    lines.push(printed);
  }
  for (const { words } of commands) {
    for (const word of words) if (word.includes('{')) lines.push(...expandBraces(word, budget));
  }
  return lines.join('\n').replaceAll(UNKNOWN, '');
}

const MAX_WORDS = 32;

/** `c2.{evil,good}.example` as bash takes it. */
function expandBraces(word: string, budget: TextBudget): string[] {
  if (word.length > 512) return [];
  const parts = word.split(/\{([^{}]*,[^{}]*)\}/);
  if (parts.length < 3) return [];
  let words = [''];
  parts.forEach((part, index) => {
    const choices = index % 2 === 0 ? [part] : part.split(',');
    words = words.flatMap((start) => choices.map((choice) => start + choice)).slice(0, MAX_WORDS);
    spendText(budget, 4 * words.length);
  });
  for (const word of words) spendText(budget, word.length);
  return words;
}

/** Other ways to read the same characters. */
function spellings(text: string): string[] {
  const found: string[] = [];
  const percent = text.includes('%') ? decodePercent(text) : text;
  const escapes = percent.includes('\\') ? unescape(percent) : percent;
  if (escapes !== text) found.push(escapes);
  // 'c2.ev' + "il.example", "c2." . "evil", 'c2.' 'evil'
  const glued = escapes.replace(/["'`][ \t]{0,4}[+.,&]{0,2}[ \t]{0,4}["'`]/g, '');
  if (glued !== escapes) found.push(glued);
  return found;
}

/** Runs that may be base64, base32 or hexadecimal; blobs are also wrapped in lines. */
const BLOB = /[A-Za-z0-9+/_-]{12,}/g;
const WRAP = /([A-Za-z0-9+/]{12})["']?\\?\r?\n[ \t]*["']?(?=[A-Za-z0-9+/])/g;
/** `99,50,46`, `0x63 0x32`, `63:32:2e` */
const CODES = /(?:(?:0x)?[0-9a-fA-F]{2,3}[\s,;:]{1,3}){7,}(?:0x)?[0-9a-fA-F]{2,3}/g;

function decodeBlobs(text: string, budget: TextBudget): string[] {
  const found: string[] = [];
  const keep = (plain: string | undefined): void => {
    if (plain === undefined) return;
    spendText(budget, plain.length);
    found.push(plain);
  };
  const tried = new Set<string>();
  const unwrapped = text.includes('\n') ? text.replace(WRAP, '$1') : text;
  for (const source of unwrapped === text ? [text] : [text, unwrapped]) {
    for (const [blob] of source.matchAll(BLOB)) {
      if (tried.has(blob)) continue;
      tried.add(blob);
      keep(decodeBase64(blob));
      // In a path or behind a flag: `/b64/aHR0…`, `--data-aHR0…`
      const parts = blob.split(/[/_+-]/);
      if (parts.length > 1) for (const part of parts) if (part.length >= 12) keep(decodeBase64(part));
      for (const part of parts) {
        if (part.length < 12) continue;
        if (/^[0-9a-fA-F]+$/.test(part)) keep(decodeHex(part));
        if (/^[A-Z2-7]+$/.test(part)) keep(decodeBase32(part));
      }
      if (budget.left < 0) return found;
    }
  }
  for (const [list] of text.matchAll(CODES)) {
    const words = list.split(/[\s,;:]+/);
    keep(toText(words.map((word) => parseInt(word, 16))));
    if (words.every((word) => /^[0-9]+$/.test(word))) keep(toText(words.map(Number)));
  }
  return found;
}
