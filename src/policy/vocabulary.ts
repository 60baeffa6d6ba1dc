import { OPERATIONS } from '../docker/catalogue.js';
import { FACTS, HAZARDS } from '../hazards/catalogue.js';
import type { Operation, OperationId } from '../docker/operation.js';

/** The part of a hazard kind that policy needs; `src/hazards/catalogue.ts` lists them all. */
export interface HazardWord {
  readonly kind: string;
  readonly argument: 'none' | 'text' | 'path';
  readonly title: string;
}

/**
 * The part of a fact that policy needs. `operations`: ids of those that always state it when they can be read at
 * all; `['*']`: any may state it, and many have none (`name`).
 */
export interface FactWord {
  readonly name: string;
  readonly type: 'string' | 'number' | 'boolean' | 'strings';
  /** A bare pattern, or an array of them, stands for `{"each": …}`. */
  readonly bare?: 'each';
  readonly operations: readonly (OperationId | '*')[];
  readonly doc: string;
}

/** The words a policy may use. Everything else in it is an error. */
export interface Vocabulary {
  readonly operations: readonly Pick<Operation, 'id' | 'sets'>[];
  readonly hazards: readonly HazardWord[];
  readonly facts: readonly FactWord[];
}

/** May this operation state the fact? */
export function states(fact: FactWord, operationId: OperationId): boolean {
  return fact.operations.includes('*') || mustState(fact, operationId);
}

/** Does every readable call of this operation have this fact? If so, a call without it has an unknown value. */
export function mustState(fact: FactWord, operationId: OperationId): boolean {
  return fact.operations.includes(operationId);
}

/** The words of this version of Breakwater. */
export const VOCABULARY: Vocabulary = { operations: OPERATIONS, hazards: HAZARDS, facts: FACTS };
