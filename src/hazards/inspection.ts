import type { IndicatorMatch } from '../intel/indicator.js';
import type { SequenceName } from './catalogue.js';

/**
 * A hazard: something a call would do that an allow does not imply. `kind` is one of the closed list in
 * `catalogue.ts`; `argument` is `""` for kinds without one. Written `kind` or `kind:argument`.
 */
export interface Hazard {
  readonly kind: string;
  readonly argument: string;
}

/** What policy may constrain with `where`. The names and types are a closed list in `catalogue.ts`. */
export type FactValue = string | number | boolean | readonly string[];

/** `deny`: the hazard is raised, and policy decides. `alert`: it is on record only. */
export type SequenceAction = 'deny' | 'alert';

/** A sequence that a call completes. */
export interface SequenceFinding {
  readonly sequence: SequenceName;
  readonly action: SequenceAction;
  /** Ids of the calls that led to it, oldest first; of many, only the last. */
  readonly calls: readonly string[];
  /** When the first of them was; milliseconds since 1970. */
  readonly since: number;
  /** The reason in words, for the denial. */
  readonly why: string;
}

/** What the inspectors found out about one call. */
export interface Inspection {
  readonly facts: Readonly<Record<string, FactValue>>;
  readonly hazards: readonly Hazard[];
  /**
   * Facts that are not known yet because the build's context is still being received. A verdict on such an inspection says
   * only whether it is worth reading on; nothing takes effect by it.
   */
  readonly pending?: readonly string[];
  /** Listed indicators that the call names, those that only alert too; absent when there are none. */
  readonly matches?: readonly IndicatorMatch[];
  /** Attacks in several calls that this one completes, those that only alert too; absent when there are none. */
  readonly sequences?: readonly SequenceFinding[];
}

/** Indicators that were found in a build context while it was being received. */
export interface ContextMatches {
  readonly matches: readonly IndicatorMatch[];
  /** The search budget ran out: not all of the context was searched. */
  readonly truncated: boolean;
}

/** `kind` or `kind:argument`. */
export function formatHazard(hazard: Hazard): string {
  return hazard.argument === '' ? hazard.kind : `${hazard.kind}:${hazard.argument}`;
}
