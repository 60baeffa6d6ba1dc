import { decodeBase64, decodeHex, unescape } from './shell-decode.js';
import { readShell, UNKNOWN, type TextBudget, type Variable } from './shell-words.js';

/** A text and all that it may turn into when shells and decoders have had it. */
export interface Variants {
  /** What to look for indicators in: the text itself first, each variant once. */
  readonly variants: readonly string[];
  /** Those of them that were hidden in base64 or hexadecimal: programs of their own. */
  readonly decoded: readonly string[];
  /** There is more than was decoded: what was found is not all. */
  readonly blown: boolean;
}

const DEEPEST = 3;
const GROWTH = 4;
/** Small texts may grow to this much in any case: `$URL` is four characters. */
const FLOOR = 64 * 1024;

/**
 * Undoes what hides an address in a command: continuations, comments, quotes and backslashes, `${IFS}`, `$'\x31'`,
 * variables and their defaults, `$(echo …)`, escapes for printf, percent signs, base64 and hexadecimal, up to three
 * deep and to four times the text's length. Linear in the text.
 */
export function decodeVariants(text: string, variable: Variable): Variants {
  const seen = new Set<string>();
  const decoded = new Set<string>();
  const budget: TextBudget = { left: Math.max(FLOOR, GROWTH * text.length) };
  // The text itself is not charged.
  budget.left += text.length;
  let level = [text];
  for (let depth = 0; depth <= DEEPEST && level.length > 0 && budget.left >= 0; depth++) {
    const found = new Set<string>();
    for (const one of level) {
      if (budget.left < 0) break;
      seen.add(one);
      const plain = flatten(one, variable, budget);
      seen.add(plain);
      const escapes = decodeEscapes(plain);
      if (escapes !== plain) {
        budget.left -= escapes.length;
        seen.add(escapes);
      }
      for (const blob of decodeBlobs(`${one}\n${plain}`, budget)) {
        if (decoded.has(blob)) continue;
        decoded.add(blob);
        found.add(blob);
      }
    }
    level = [...found];
  }
  // Something was still hidden at the last level.
  const deeper = level.length > 0;
  return { variants: [...seen], decoded: [...decoded], blown: budget.left < 0 || deeper };
}

/** The words of all commands, one command a line, without quotes. */
function flatten(text: string, variable: Variable, budget: TextBudget): string {
  return readShell(text, variable, budget)
    .map(({ assignments, words, targets }) => [...assignments, ...words, ...targets].join(' '))
    .join('\n')
    .replaceAll(UNKNOWN, '');
}

function decodeEscapes(text: string): string {
  const percent = text.replace(/%([0-9a-fA-F]{2})/g, (_whole, hex: string) =>
    String.fromCharCode(parseInt(hex, 16)),
  );
  return percent.includes('\\') ? unescape(percent) : percent;
}

function decodeBlobs(text: string, budget: TextBudget): string[] {
  const found: string[] = [];
  for (const [blob] of text.matchAll(/[A-Za-z0-9+/_-]{12,}/g)) {
    for (const plain of [decodeBase64(blob), /^[0-9a-fA-F]+$/.test(blob) ? decodeHex(blob) : undefined]) {
      if (plain === undefined) continue;
      budget.left -= plain.length;
      found.push(plain);
    }
    if (budget.left < 0) break;
  }
  return found;
}
