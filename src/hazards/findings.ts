import type { DockerfileReading } from '../docker/dockerfile/model.js';
import type { FACTS, FactName, Kind, PlainKind } from './catalogue.js';
import type { FactValue, Hazard, Inspection } from './inspection.js';

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
  /** See Entities. */
  hostPaths?: Readonly<Record<string, string>>;
  /** The Dockerfile of the build's context, for indicators. */
  dockerfile?: { readonly content: Uint8Array; readonly reading: DockerfileReading };
  /** See Inspection. */
  pending?: readonly FactName[];
}

export function newFindings(): Findings {
  return { facts: {}, hazards: [], seen: new Set() };
}

/** Adds a hazard once. Kinds that are not in the catalogue do not compile. */
export function addHazard<K extends Kind>(
  findings: Findings,
  kind: K,
  ...rest: K extends PlainKind ? [] : [string]
): void {
  const argument = rest[0] ?? '';
  const key = `${kind}:${argument}`;
  if (findings.seen.has(key)) return;
  findings.seen.add(key);
  findings.hazards.push({ kind, argument });
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
