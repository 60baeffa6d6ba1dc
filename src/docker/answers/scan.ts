import type { Call } from '../call.js';

type AnswerId = NonNullable<Call['operation']['does']['answerIds']>[number];

const NONE: readonly AnswerId[] = [];

/**
 * Looks for the ids of new objects of one kind in the engine's answer to a call, in its API version, while the pieces of the
 * answer go by.
 *
 * @param overlap what a pattern matches is shorter than so many characters: none is lost between two pieces.
 * @param found takes the groups that the pattern has matched; latin-1.
 * @returns takes the pieces; undefined when the answer names no such objects.
 */
export function scanAnswer(
  { operation, apiVersion }: Call,
  kind: AnswerId['kind'],
  overlap: number,
  found: (groups: readonly (string | undefined)[]) => void,
): ((piece: Buffer) => void) | undefined {
  const given = /^1\.(\d+)/.exec(apiVersion)?.[1];
  // Without a version the engine takes its newest.
  const minor = given === undefined ? Infinity : Number(given);
  const scans: { readonly pattern: RegExp; rest: string }[] = [];
  for (const { pattern, since = 0, until = Infinity, kind: named } of operation.does.answerIds ?? NONE)
    if (named === kind && minor >= since && minor <= until) scans.push({ pattern, rest: '' });
  if (scans.length === 0) return undefined;
  return (piece) => {
    const added = piece.toString('latin1');
    for (const scan of scans) {
      const text = scan.rest + added;
      let end = 0;
      // From the start each time: calls share the pattern, of which String.matchAll would make a copy for each piece.
      scan.pattern.lastIndex = 0;
      for (let match; (match = scan.pattern.exec(text)) !== null;) {
        end = scan.pattern.lastIndex;
        found(match.slice(1));
      }
      scan.rest = text.slice(Math.max(end, text.length - overlap));
    }
  };
}
