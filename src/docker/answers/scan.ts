/**
 * Looks through an engine's answer while its pieces go by.
 *
 * @param pattern with the flag `g`; what it matches is shorter than `overlap` characters, so that none is lost between
 *   two pieces.
 * @param found takes the matched groups; latin-1.
 */
export function scanAnswer(
  pattern: RegExp,
  overlap: number,
  found: (groups: readonly (string | undefined)[]) => void,
): (piece: Buffer) => void {
  let rest = '';
  return (piece) => {
    const text = rest + piece.toString('latin1');
    let end = 0;
    for (const match of text.matchAll(pattern)) {
      found(match.slice(1));
      end = match.index + match[0].length;
    }
    rest = text.slice(Math.max(end, text.length - overlap));
  };
}

/** Several observers of one answer as one; undefined for none. */
export function combined(
  watchers: readonly (((piece: Buffer) => void) | undefined)[],
): ((piece: Buffer) => void) | undefined {
  const all = watchers.filter((watch) => watch !== undefined);
  if (all.length < 2) return all[0];
  return (piece) => {
    for (const watch of all) watch(piece);
  };
}
