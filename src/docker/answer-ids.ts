import type { Call } from './call.js';
import type { AnswerId } from './catalogue/traits.js';

/** The patterns of ids, in the answer to this call in its API version, of new objects of one kind. */
export function answerIdsOf({ operation, apiVersion }: Call, kind: AnswerId['kind']): readonly AnswerId[] {
  const { answerIds } = operation.does;
  if (answerIds === undefined) return NONE;
  const given = /^1\.(\d+)/.exec(apiVersion)?.[1];
  // Without a version the engine takes its newest.
  const minor = given === undefined ? Infinity : Number(given);
  return answerIds.filter(
    (pattern) =>
      pattern.kind === kind && minor >= (pattern.since ?? 0) && minor <= (pattern.until ?? Infinity),
  );
}

const NONE: readonly AnswerId[] = [];
