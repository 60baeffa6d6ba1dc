import type { Call } from './call.js';
import type { AnswerId } from './catalogue/traits.js';

/** How the answer to this call, in the API version that it asks for, names what was made of one kind. */
export function answerIdsOf({ operation, apiVersion }: Call, kind: AnswerId['kind']): readonly AnswerId[] {
  const { answerIds } = operation.does;
  if (answerIds === undefined) return NONE;
  const given = /^1\.(\d+)/.exec(apiVersion)?.[1];
  // Without a version the engine takes its newest.
  const minor = given === undefined ? Infinity : Number(given);
  return answerIds.filter(
    (one) => one.kind === kind && minor >= (one.since ?? 0) && minor <= (one.until ?? Infinity),
  );
}

const NONE: readonly AnswerId[] = [];
