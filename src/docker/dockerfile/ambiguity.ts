import type { Work } from '../../base/work.js';

/**
 * A Dockerfile that has no single clear reading: it does not parse, or engines read it differently. The message says
 * what and where. `readDockerfile` turns it into `{clear: false}`; it never leaves this folder.
 */
export class AmbiguityError extends Error {}

/** Pays for a part of the reading: ENV A=$A$A forty times over would otherwise be a terabyte. @throws AmbiguityError */
export function spend(work: Work, amount: number): void {
  work.left -= amount;
  if (work.left < 0) throw new AmbiguityError('it is too large, or its variables grow too much, to be read');
}

const GO_SPACE = /[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

/** unicode.IsSpace of Go for one character: not what `\s` is (no U+FEFF, but U+0085). */
export function isSpace(character: string): boolean {
  return GO_SPACE.test(character);
}

/** strings.TrimSpace of Go, in linear time. */
export function trimSpace(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isSpace(text.charAt(start))) start++;
  while (end > start && isSpace(text.charAt(end - 1))) end--;
  return text.slice(start, end);
}

export function trimSpaceLeft(text: string): string {
  let start = 0;
  while (start < text.length && isSpace(text.charAt(start))) start++;
  return text.slice(start);
}
