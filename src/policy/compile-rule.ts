import type { OperationId } from '../docker/operation.js';
import { compileCondition, type Test } from './condition.js';
import { compileGlob, hasWildcard, matchesAnything, type Glob } from '../base/glob.js';
import { didYouMean } from '../base/nearest.js';
import { describeValue } from './problems.js';
import type { Condition, Permit, PermittedKind } from './compiled.js';
import type { RuleShape } from './schema.js';
import { mustState, states, type FactWord, type HazardWord, type Vocabulary } from './vocabulary.js';

/** The vocabulary by name, made once per compile. */
export interface Words {
  readonly vocabulary: Vocabulary;
  readonly sets: ReadonlyMap<string, readonly OperationId[]>;
  readonly ids: ReadonlySet<OperationId>;
  readonly hazards: ReadonlyMap<string, HazardWord>;
  readonly facts: ReadonlyMap<string, FactWord>;
}

export function indexVocabulary(vocabulary: Vocabulary): Words {
  const sets = new Map<string, OperationId[]>();
  for (const operation of vocabulary.operations) {
    for (const set of operation.sets) sets.set(`@${set}`, [...(sets.get(`@${set}`) ?? []), operation.id]);
  }
  return {
    vocabulary,
    sets,
    ids: new Set(vocabulary.operations.map((operation) => operation.id)),
    hazards: new Map(vocabulary.hazards.map((hazard) => [hazard.kind, hazard])),
    facts: new Map(vocabulary.facts.map((fact) => [fact.name, fact])),
  };
}

/** Reports a problem at a path inside the rule. */
export type ReportAt = (path: readonly PropertyKey[], message: string) => void;

/** The operations a rule names, each once, in catalogue order. */
export function expandOperations(rule: RuleShape, words: Words, report: ReportAt): OperationId[] {
  const named = new Set<OperationId>();
  const isId = (text: string): text is OperationId => (words.ids as ReadonlySet<string>).has(text);
  rule.operations.forEach((entry, index) => {
    const path = ['operations', index];
    if (entry.startsWith('@')) {
      const members = words.sets.get(entry);
      members?.forEach((id) => named.add(id));
      if (members === undefined) {
        const valid = [...words.sets.keys()].sort();
        report(path, `unknown set "${entry}".${didYouMean(entry, valid)} Sets: ${valid.join(', ')}.`);
      }
    } else if (/[*?]/.test(entry)) {
      const glob = compileGlob(entry);
      const matched = [...words.ids].filter((id) => glob(id));
      matched.forEach((id) => named.add(id));
      if (matched.length === 0) report(path, `${describeValue(entry)} matches no operation.`);
    } else if (isId(entry)) named.add(entry);
    else {
      const hint = didYouMean(entry, [...words.ids, ...words.sets.keys()]);
      report(
        path,
        `unknown operation ${describeValue(entry)}.${hint} Valid: an operationId of the Docker Engine API, a glob over them, or a set such as @read.`,
      );
    }
  });
  return [...words.ids].filter((id) => named.has(id));
}

/** Compiles `permit`: patterns by hazard kind. */
export function compilePermit(rule: RuleShape, words: Words, report: ReportAt): Permit {
  let all = false;
  const kinds = new Map<string, { any: boolean; globs: Glob[]; path: boolean; exact: Set<string> }>();
  rule.permit?.forEach((entry, index) => {
    if (entry === '*') {
      all = true;
      return;
    }
    const colon = entry.indexOf(':');
    const kind = colon < 0 ? entry : entry.slice(0, colon);
    const argument = colon < 0 ? '' : entry.slice(colon + 1);
    const word = words.hazards.get(kind);
    const path = ['permit', index];
    if (word === undefined) {
      const hint = didYouMean(kind, words.hazards.keys());
      report(
        path,
        `unknown hazard ${describeValue(kind)}.${hint} Valid: a hazard kind, kind:GLOB, or "*" for all.`,
      );
    } else if (word.argument === 'none' && colon >= 0) {
      report(path, `found ${describeValue(entry)}, but "${kind}" takes no argument; write "${kind}".`);
    } else if (word.argument !== 'none' && argument === '') {
      report(
        path,
        `found ${describeValue(entry)}, but "${kind}" needs an argument; "${kind}:**" permits any.`,
      );
    } else {
      const known = kinds.get(kind) ?? {
        any: false,
        globs: [],
        path: word.argument === 'path',
        exact: new Set(),
      };
      if (matchesAnything(argument)) known.any = true;
      else known.globs.push(compileGlob(argument));
      if (!hasWildcard(argument)) known.exact.add(argument);
      kinds.set(kind, known);
    }
  });
  return { all, kinds: kinds satisfies Map<string, PermittedKind> };
}

/** A `where` entry before it is bound to an operation. */
export interface LooseCondition {
  readonly fact: FactWord;
  readonly test: Test;
  readonly text: string;
}

/** Compiles `where`; a fact that none of the rule's operations has could never be compared, so it is an error. */
export function compileWhere(
  rule: RuleShape,
  operations: readonly OperationId[],
  words: Words,
  report: ReportAt,
): LooseCondition[] {
  const conditions: LooseCondition[] = [];
  for (const [name, raw] of Object.entries(rule.where ?? {})) {
    const fact = words.facts.get(name);
    if (fact === undefined) {
      const near = [...words.facts.values()].filter((candidate) =>
        operations.some((id) => states(candidate, id)),
      );
      const hint = didYouMean(name, words.facts.keys());
      const list =
        near.length > 0
          ? ` These operations state: ${near.map(({ name: nearName }) => nearName).join(', ')}.`
          : '';
      report(['where', name], `unknown fact ${describeValue(name)}.${hint}${list}`);
      continue;
    }
    if (operations.length > 0 && !operations.some((id) => states(fact, id))) {
      report(
        ['where', name],
        `none of the operations of this rule states "${name}"; it is stated by ${fact.operations.join(', ')}.`,
      );
    }
    const test = compileCondition(fact, raw, (below, message) => {
      const steps = below.split('/').slice(1);
      report(['where', name, ...steps], message);
    });
    if (test !== undefined) conditions.push({ fact, test, text: conditionText(raw) });
  }
  return conditions;
}

function conditionText(raw: unknown): string {
  return JSON.stringify(raw, (_, value: unknown) => (typeof value === 'bigint' ? Number(value) : value));
}

export function bindConditions(conditions: readonly LooseCondition[], operationId: OperationId): Condition[] {
  return conditions.map(({ fact, test, text }) => ({
    fact: fact.name,
    test,
    stated: mustState(fact, operationId),
    text,
  }));
}
