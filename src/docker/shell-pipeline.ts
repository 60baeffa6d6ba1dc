import { filtered, printedBy } from './shell-decode.js';
import type { SimpleCommand, TextBudget } from './shell-command.js';

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
export function printed(commands: readonly SimpleCommand[], budget: TextBudget): string | undefined {
  let text: string | undefined;
  for (const [index, { words, piped }] of commands.entries()) {
    if (piped !== index > 0) return undefined;
    text = index === 0 ? printedBy(baseName(words[0] ?? ''), words.slice(1)) : pass(words, text, budget);
    if (text === undefined) return undefined;
  }
  return text?.replace(/\n+$/, '');
}
