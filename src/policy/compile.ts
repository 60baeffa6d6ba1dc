import type { OperationId } from '../docker/operation.js';
import {
  bindConditions,
  compilePermit,
  compileWhere,
  expandOperations,
  indexVocabulary,
} from './compile-rule.js';
import type { CompiledPolicy, CompiledRule, CompiledSource, OperationRules } from './compiled.js';
import { indexNetworks, type Network } from '../base/network.js';
import { parseNetwork } from './cidr.js';
import { compileGlob } from '../base/glob.js';
import { compileQuotas } from './quotas-schema.js';
import { didYouMean } from '../base/nearest.js';
import { parseFile, describeValue, pointerOf, shapeProblems, type Problem } from './problems.js';
import { ownStep } from './ownership.js';
import type { CompiledRewrite } from './rewrite.js';
import { compileRedact, redactStep } from './redact.js';
import type { Step } from './rewrite-draft.js';
import { compileRewrite } from './rewrite-compile.js';
import { plainJsonSchema, policyFileSchema, type PolicyFileShape, type RuleShape } from './schema.js';
import type { Vocabulary } from './vocabulary.js';

export type { CompiledPolicy } from './compiled.js';

export interface PolicyFile {
  /** As it should stand in messages, e.g. the path. */
  readonly name: string;
  readonly text: string;
}

/** What is wrong, where (file and JSON pointer), and what would be valid. */
export type PolicyProblem = Problem;

interface ReadFile {
  readonly name: string;
  readonly shape: PolicyFileShape;
}

function readFiles(files: readonly PolicyFile[], problems: Problem[]): ReadFile[] {
  return files.flatMap((file) => {
    const parsed = parseFile(file.name, file.text);
    if (!parsed.ok) {
      problems.push(parsed.problem);
      return [];
    }
    // Read once: to compile a checker for it would cost more than it saves.
    const checked = policyFileSchema.safeParse(parsed.value, { jitless: true });
    const issues = checked.success ? [] : checked.error.issues;
    problems.push(...shapeProblems(file.name, parsed.value, issues, plainJsonSchema, {}));
    return checked.success ? [{ name: file.name, shape: checked.data }] : [];
  });
}

interface Sources {
  readonly list: CompiledSource[];
  readonly networks: [Network, string][];
  /** Name → the file that defined it. */
  readonly names: Map<string, string>;
}

function compileSources(files: readonly ReadFile[], problems: Problem[]): Sources {
  const result: Sources = { list: [], networks: [], names: new Map() };
  for (const file of files) {
    for (const [name, source] of Object.entries(file.shape.sources ?? {})) {
      const at = (path: readonly PropertyKey[], message: string): void => {
        problems.push({ file: file.name, pointer: pointerOf(['sources', name, ...path]), message });
      };
      const first = result.names.get(name);
      if (first !== undefined) {
        at([], `the source "${name}" is already defined in ${first}; define it once, every file may use it.`);
        continue;
      }
      result.names.set(name, file.name);
      const { listener, cidr, certificate, token } = source;
      if ([listener, cidr, certificate, token].every((key) => key === undefined)) {
        at(
          [],
          'a source needs at least one of: listener, cidr, certificate, token. For everyone use "*" in the rule.',
        );
      }
      if (source.limits !== undefined && !Object.keys(source.limits).some((key) => key !== 'per')) {
        at(['limits'], 'no limit is given; expected at least one of calls, builds, creates, bytes, streams.');
      }
      cidr?.forEach((text, index) => {
        const network = parseNetwork(text);
        if (network !== undefined) result.networks.push([network, name]);
        else {
          at(
            ['cidr', index],
            `found ${describeValue(text)}; expected a network or an address, such as 10.20.0.0/16, 2001:db8::/32 or 10.1.2.3.`,
          );
        }
      });
      result.list.push({
        name,
        usesCidr: cidr !== undefined,
        listener: listener?.map(compileGlob) ?? null,
        certificate: certificate?.map(compileGlob) ?? null,
        token: token ? new Set(token.map((entry) => entry.slice('sha256:'.length).toLowerCase())) : null,
        quotas: source.limits ? compileQuotas(source.limits, file.shape.mode === 'observe') : null,
      });
    }
  }
  return result;
}

function checkRule(
  rule: RuleShape,
  sources: ReadonlyMap<string, string>,
  at: (path: readonly PropertyKey[], message: string) => void,
): void {
  rule.sources.forEach((name, index) => {
    if (name === '*' || sources.has(name)) return;
    const valid =
      sources.size > 0 ? ` Defined: ${[...sources.keys()].join(', ')}.` : ' No file defines a source.';
    at(
      ['sources', index],
      `unknown source ${describeValue(name)}.${didYouMean(name, sources.keys())}${valid} "*" is everyone.`,
    );
  });
  if (rule.effect !== 'deny' && rule.where?.['owner'] !== undefined && rule.sources.includes('*')) {
    at(
      ['where', 'owner'],
      'everyone has nothing in common to own: name the sources of this rule in place of "*"; each of them is one owner.',
    );
  }
  if (rule.effect === 'deny' && rule.permit !== undefined) {
    at(
      ['permit'],
      'a deny rule cannot permit hazards: it denies whatever it matches. Remove "permit", or make it an allow rule.',
    );
  }
  if (rule.effect === 'deny' && rule.redact !== undefined) {
    at(
      ['redact'],
      'a deny rule cannot redact: what it matches is not answered by the engine. Remove "redact", or make it an allow rule.',
    );
  }
  if (rule.effect === 'deny' && rule.rewrite !== undefined) {
    at(
      ['rewrite'],
      'a deny rule cannot rewrite: what it matches is not sent. Remove "rewrite", or make it an allow rule.',
    );
  }
}

/**
 * A rule about owners shows, and removes, the caller's own alone, and a redaction does not ask for what it would have to
 * remove; the last steps, so that no other one undoes them.
 */
function withLastSteps(
  rewrite: CompiledRewrite | null,
  ...last: readonly (Step | undefined)[]
): CompiledRewrite | null {
  const steps = last.filter((step) => step !== undefined);
  return steps.length === 0 ? rewrite : [...(rewrite ?? []), ...steps];
}

/**
 * Compiles policy files into one policy. Files count in the order given, rules in the order written. All
 * problems of all files are reported together; a policy with any problem is not usable at all.
 */
export function compilePolicy(
  files: readonly PolicyFile[],
  vocabulary: Vocabulary,
): { ok: true; policy: CompiledPolicy } | { ok: false; problems: readonly PolicyProblem[] } {
  const problems: Problem[] = [];
  const words = indexVocabulary(vocabulary);
  const read = readFiles(files, problems);
  const sources = compileSources(read, problems);
  const operations = new Map<OperationId, { deny: CompiledRule[]; allow: CompiledRule[]; owner: boolean }>();
  const owners = new Set<string>();
  const ids = new Map<string, string>();

  for (const file of read) {
    file.shape.rules?.forEach((rule, index) => {
      const at = (path: readonly PropertyKey[], message: string): void => {
        problems.push({ file: file.name, pointer: pointerOf(['rules', index, ...path]), message });
      };
      const first = ids.get(rule.id);
      if (first !== undefined)
        at(['id'], `the id "${rule.id}" is already used at ${first}; ids are unique in a policy.`);
      else ids.set(rule.id, `${file.name}:/rules/${index}`);
      // With a broken file its sources are unknown; do not complain about every use of them.
      if (read.length === files.length) checkRule(rule, sources.names, at);
      const named = expandOperations(rule, words, at);
      const permit = compilePermit(rule, words, at);
      const where = compileWhere(rule, named, words, at);
      const effect = rule.effect ?? 'allow';
      const owner = where.some(({ fact }) => fact.name === 'owner');
      if (owner && effect === 'allow') for (const name of rule.sources) owners.add(name);
      const rewrite =
        rule.rewrite === undefined || effect === 'deny'
          ? undefined
          : compileRewrite(rule.rewrite, named, permit, at);
      const redact =
        rule.redact === undefined || effect === 'deny' ? undefined : compileRedact(rule.redact, named, at);
      for (const id of named) {
        const entry = operations.get(id) ?? { deny: [], allow: [], owner: false };
        operations.set(id, entry);
        entry.owner ||= owner;
        entry[effect].push({
          id: rule.id,
          description: rule.description ?? '',
          observe: file.shape.mode === 'observe',
          sources: rule.sources.includes('*') ? null : new Set(rule.sources),
          where: bindConditions(where, id),
          permit,
          rewrite: withLastSteps(
            rewrite?.get(id) ?? null,
            owner && effect === 'allow' ? ownStep(id) : undefined,
            redactStep(redact?.get(id), id),
          ),
          allowed: Object.freeze({
            effect: 'allow',
            rule: rule.id,
            observe: false,
            reason: `rule ${rule.id} allows ${id}`,
            code: 'allowed',
            missing: [],
            rewrites: redact?.get(id)?.rewrites ?? [],
            ...(redact !== undefined && { redact: redact.get(id)! }),
          }),
        });
      }
    });
  }
  if (problems.length > 0) return { ok: false, problems };
  return {
    ok: true,
    policy: {
      files: read.length,
      rules: ids.size,
      observe: read.length > 0 && read.every((file) => file.shape.mode === 'observe'),
      sources: sources.list,
      owners: sources.list.map(({ name }) => name).filter((name) => owners.has(name)),
      withQuotas: new Map(
        sources.list.flatMap((source) => (source.quotas === null ? [] : [[source.name, source]])),
      ),
      networks: indexNetworks(sources.networks),
      operations: operations satisfies Map<OperationId, OperationRules>,
    },
  };
}
