import type { Work } from './work.js';

/**
 * A compiled glob: does the whole subject match? Matching is paid for by `work`, where it is given; without any left, no
 * answer counts.
 */
export type Glob = (subject: string, work?: Work) => boolean;

/** Longest pattern a policy may hold, in UTF-16 units; with MAX_SUBJECT it bounds the work of one match. */
export const MAX_PATTERN = 512;

/**
 * Longest subject that is matched at all, in UTF-16 units. A longer one is attacker-made, and no pattern but `**`
 * matches it; where that would let a call pass (a deny rule), the caller treats it as unknown instead.
 */
export const MAX_SUBJECT = 65_536;

const ONE = -1; // `?`
const RUN = -2; // `*`
const ANY = -3; // `**`
const SLASH = 47;
/** Positions that are looked at for a unit of work. */
const STEPS_PER_UNIT = 2;

/** Pattern to tokens: a char code, or one of the three wildcards. Three or more `*` in a row read as `**`. */
function tokenize(pattern: string): number[] {
  const tokens: number[] = [];
  for (let i = 0; i < pattern.length; i++) {
    const char = pattern[i];
    if (char === '?') tokens.push(ONE);
    else if (char !== '*') tokens.push(pattern.charCodeAt(i));
    else if (pattern[i + 1] !== '*') tokens.push(RUN);
    else {
      while (pattern[i + 1] === '*') i++;
      tokens.push(ANY);
    }
  }
  return tokens;
}

/**
 * Simulates the pattern as a set of positions: O(subject × pattern) whatever the input, so that no subject can
 * make a pattern backtrack. A regular expression built from `*a*a*a*b` would.
 */
function simulate(tokens: readonly number[], subject: string, work: Work | undefined): boolean {
  const size = tokens.length;
  if (work !== undefined) {
    work.left -= Math.ceil((size * subject.length) / STEPS_PER_UNIT);
    if (work.left < 0) return false;
  }
  let now = new Uint8Array(size + 1);
  let next = new Uint8Array(size + 1);
  now[0] = 1;
  for (let p = 0; p < size && tokens[p]! <= RUN; p++) now[p + 1] = 1;
  let low = 0;
  for (let i = 0; i < subject.length; i++) {
    const code = subject.charCodeAt(i);
    let first = size + 1;
    next.fill(0, low);
    for (let p = low; p < size; p++) {
      if (now[p] === 0) continue;
      const token = tokens[p]!;
      // A wildcard run stays where it is; anything else moves on by one.
      let to = -1;
      if (token === ANY || (token === RUN && code !== SLASH)) to = p;
      else if (token === code || (token === ONE && code !== SLASH)) to = p + 1;
      if (to < 0) continue;
      if (to < first) first = to;
      next[to] = 1;
      // Wildcard runs may be empty: every position after them is reached at once.
      while (to < size && tokens[to]! <= RUN) next[++to] = 1;
    }
    if (first > size) return false;
    low = first;
    [now, next] = [next, now];
  }
  return now[size] === 1;
}

/**
 * Compiles a glob. `*` is any run without `/`, `**` is anything, `?` is one UTF-16 unit but `/`; every other
 * character stands for itself, case-sensitively, and there is no escape. The whole subject must match.
 * INVARIANT: time is at most proportional to subject × pattern, and a subject over MAX_SUBJECT matches only `**`.
 */
export function compileGlob(pattern: string): Glob {
  const wild = pattern.search(/[*?]/);
  if (wild < 0) return (subject) => subject === pattern;
  if (/^\*\*+$/.test(pattern)) return () => true;
  const prefix = pattern.slice(0, wild);
  const rest = pattern.slice(wild);
  if (/^\*\*+$/.test(rest)) {
    return (subject) => subject.length <= MAX_SUBJECT && subject.startsWith(prefix);
  }
  const after = prefix.length;
  if (rest === '*') {
    return (subject) =>
      subject.length <= MAX_SUBJECT && subject.startsWith(prefix) && !subject.includes('/', after);
  }
  const tokens = tokenize(rest);
  return (subject, work) =>
    subject.length <= MAX_SUBJECT &&
    subject.startsWith(prefix) &&
    simulate(tokens, subject.slice(after), work);
}

/** Whether a pattern can match more than the text that it is. */
export const hasWildcard = (pattern: string): boolean => /[*?]/.test(pattern);

/** A glob that matches every subject, of any length. */
export function matchesAnything(pattern: string): boolean {
  return /^\*\*+$/.test(pattern);
}
