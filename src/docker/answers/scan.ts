import type { Call } from '../call.js';

type AnswerId = NonNullable<Call['operation']['does']['answerIds']>[number];

/** The patterns of ids, in the answer to this call in its API version, of new objects of one kind. */
export function answerIdsOf({ operation, apiVersion }: Call, kind: AnswerId['kind']): readonly AnswerId[] {
  const { answerIds } = operation.does;
  if (answerIds === undefined) return NONE;
  const given = /^1\.(\d+)/.exec(apiVersion)?.[1];
  // Without a version the engine takes its newest.
  const minor = given === undefined ? Infinity : Number(given);
  const those: AnswerId[] = [];
  for (const pattern of answerIds) {
    const { since = 0, until = Infinity } = pattern;
    if (pattern.kind === kind && minor >= since && minor <= until) those.push(pattern);
  }
  return those;
}

const NONE: readonly AnswerId[] = [];

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
  if (watchers.length < 2) return watchers[0];
  const all = watchers.filter((watch) => watch !== undefined);
  if (all.length < 2) return all[0];
  return (piece) => {
    for (const watch of all) watch(piece);
  };
}
