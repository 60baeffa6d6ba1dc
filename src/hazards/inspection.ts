import type { IndicatorMatch } from '../intel/indicator.js';
import type { SequenceName, FACTS, FactName, Kind, PlainKind } from './catalogue.js';
import { CALL_WORK, type Work } from '../base/work.js';
import type { DockerfileReading } from '../docker/dockerfile/model.js';

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

interface ValueOf {
  string: string;
  number: number;
  boolean: boolean;
  strings: readonly string[];
}
type FactType<N extends FactName> = ValueOf[Extract<(typeof FACTS)[number], { name: N }>['type']];

/** What inspectors write into while they look at one call. */
export interface Findings {
  facts: Record<string, FactValue>;
  readonly hazards: Hazard[];
  /** Hazards that are there already, so that a repeated one is added once. */
  readonly seen: Set<string>;
  /** What looking at the call may still cost. */
  readonly work: Work;
  /** See Entities. */
  hostPaths?: Readonly<Record<string, string>>;
  isHostUnseen?: true;
  /** The Dockerfile of the build's context, for indicators. */
  dockerfile?: { readonly content: Uint8Array; readonly reading: DockerfileReading };
  /** See Inspection. */
  pending?: readonly FactName[];
}

export function newFindings(work: Work = { left: CALL_WORK }): Findings {
  return { facts: {}, hazards: [], seen: new Set(), work };
}

/** More hazards than this are not listed: the rest is `opaque:work`. Those of these kinds are few, and always listed. */
const MAX_HAZARDS = 4096;
const FEW: ReadonlySet<string> = new Set<Kind>(['opaque', 'indicator']);
/** The price of a hazard: it is compared with all that rules permit. */
const HAZARD_PRICE = 512;

/** Adds a hazard once. Kinds that are not in the catalogue do not compile. */
export function addHazard<K extends Kind>(
  findings: Findings,
  kind: K,
  ...rest: K extends PlainKind ? [] : [string]
): void {
  const argument = rest[0] ?? '';
  const key = `${kind}:${argument}`;
  if (findings.seen.has(key)) return;
  findings.work.left -= HAZARD_PRICE;
  if (findings.hazards.length >= MAX_HAZARDS && !FEW.has(kind)) {
    findings.work.left = -1;
    return;
  }
  findings.seen.add(key);
  findings.hazards.push({ kind, argument });
}

/** Adds all that was found in a part of the call. */
export function addFindings(findings: Findings, part: Findings): void {
  findings.facts = { ...findings.facts, ...part.facts };
  for (const hazard of part.hazards) {
    const key = `${hazard.kind}:${hazard.argument}`;
    if (findings.seen.has(key)) continue;
    findings.seen.add(key);
    findings.hazards.push(hazard);
  }
  if (part.dockerfile !== undefined) findings.dockerfile = part.dockerfile;
}

/** Sets a fact, with the type that the catalogue gives it. */
export function setFact<N extends FactName>(findings: Findings, name: N, value: FactType<N>): void {
  findings.facts[name] = value;
}

/** Sets many facts at once, from a literal: V8 makes a slow hash table of an object that grows property by property. */
export function setFacts(findings: Findings, facts: { [N in FactName]?: FactType<N> }): void {
  findings.facts = Object.keys(findings.facts).length === 0 ? facts : { ...findings.facts, ...facts };
}

type ListName = Extract<(typeof FACTS)[number], { type: 'strings' }>['name'];

/** Adds to a fact that is a list. */
export function addToFact(findings: Findings, name: ListName, value: string): void {
  const list = findings.facts[name];
  if (Array.isArray(list)) (list as string[]).push(value);
  else findings.facts[name] = [value];
}

const NO_FACTS: Inspection['facts'] = Object.freeze({});
const NO_HAZARDS: Inspection['hazards'] = Object.freeze([]);

/** The result for calls without facts and hazards. Shared and frozen: the hot path allocates nothing. */
export const NOTHING: Inspection = Object.freeze({ facts: NO_FACTS, hazards: NO_HAZARDS });

/** The result for calls whose only fact is a name. */
export function named(name: string): Inspection {
  return { facts: { name }, hazards: NO_HAZARDS };
}
