/** Levenshtein distance, case folded; two short words, so the plain table is fine. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/**
 * The candidate most like `word`, or undefined when none is near. A candidate that contains the word (or its
 * parts the other way round: `StartContainer` for `ContainerStart`) also counts.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const folded = word.slice(0, 80).toLowerCase();
  const sorted = (text: string) => (text.match(/[A-Z]?[a-z0-9]+/g) ?? []).sort().join(' ').toLowerCase();
  const parts = sorted(word.slice(0, 80));
  let best: string | undefined;
  // A word must keep most of its letters to count as near.
  let bestScore = Math.min(Math.max(2, Math.floor(folded.length / 3)), Math.ceil(folded.length / 2) - 1) + 1;
  for (const candidate of candidates) {
    const other = candidate.toLowerCase();
    let score = distance(folded, other);
    if (score >= 2 && parts !== '' && sorted(candidate) === parts) score = 1;
    else if (score >= 2 && folded.length >= 4 && (other.startsWith(folded) || other.endsWith(folded)))
      score = 2;
    if (score < bestScore) [best, bestScore] = [candidate, score];
  }
  return best;
}

/** ` Did you mean "x"?` or nothing: appended to messages. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  const found = nearest(word, candidates);
  return found === undefined ? '' : ` Did you mean "${found}"?`;
}
