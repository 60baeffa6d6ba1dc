import type { Call, Client } from '../docker/call.js';
import { inspect } from '../hazards/inspect.js';
import { formatHazard, type FactValue, type Hazard, type Inspection } from '../hazards/inspection.js';
import type { CompiledPolicy, CompiledRule, Condition } from './compiled.js';
import { coversAll, MAX_MISSING, uncovered } from './permit.js';
import { applyRewrite, type Change, type CompiledRewrite } from './rewrite.js';
import { describeChanges } from './rewrite-text.js';
import type { Verdict } from './verdict.js';

const MAX_LISTED = 8;
const MAX_TEXT = 200;
const NO_REWRITES: readonly string[] = [];

/**
 * Names of the sources a client belongs to, in the order the policy defines them. It depends on the connection
 * alone, so it may be kept with it for as long as the policy stays the same.
 */
export function sourcesOf(policy: CompiledPolicy, client: Client): readonly string[] {
  const byAddress = new Set(client.address === '' ? [] : policy.networks.find(client.address));
  const names: string[] = [];
  for (const source of policy.sources) {
    if (source.usesCidr && !byAddress.has(source.name)) continue;
    if (source.listener !== null && !source.listener.some((glob) => glob(client.listener))) continue;
    const { certificate, token } = source;
    if (certificate !== null && !client.certificate.some((name) => certificate.some((glob) => glob(name))))
      continue;
    if (token !== null && (client.tokenSha256 === '' || !token.has(client.tokenSha256))) continue;
    names.push(source.name);
  }
  return names;
}

/** A connection keeps its sources until the policy changes. */
const known = new WeakMap<CompiledPolicy, WeakMap<Client, readonly string[]>>();

export function sourcesFor(policy: CompiledPolicy, client: Client): readonly string[] {
  let clients = known.get(policy);
  if (clients === undefined) known.set(policy, (clients = new WeakMap()));
  let sources = clients.get(client);
  if (sources === undefined) clients.set(client, (sources = sourcesOf(policy, client)));
  return sources;
}

function concerns(rule: CompiledRule, sources: readonly string[]): boolean {
  if (rule.sources === null) return true;
  for (let n = 0; n < sources.length; n++) if (rule.sources.has(sources[n]!)) return true;
  return false;
}

function test(condition: Condition, facts: Inspection['facts']): boolean | undefined {
  const value: FactValue | undefined = facts[condition.fact];
  return value === undefined ? undefined : condition.test(value);
}

/**
 * Do all conditions of a deny rule hold? INVARIANT: an unknown condition counts as holding, so that an unreadable
 * value never slips past a deny rule. A fact that this operation never has (say `build.from` of a ping, under a
 * deny rule for "*") is not unreadable, it is absent: then the rule does not concern the call.
 */
function denies(rule: CompiledRule, { facts, pending }: Inspection): boolean {
  for (const condition of rule.where) {
    const holds = test(condition, facts);
    if (holds === false || pending?.includes(condition.fact) === true) return false;
    if (holds === undefined && !condition.stated && facts[condition.fact] === undefined) return false;
  }
  return true;
}

/** Do all conditions of an allow rule hold? An unknown condition does not hold; a pending one may hold later. */
function holds(rule: CompiledRule, { facts, pending }: Inspection): boolean {
  for (const condition of rule.where) {
    if (test(condition, facts) !== true && pending?.includes(condition.fact) !== true) return false;
  }
  return true;
}

/** What is known of a call from the head of its request. */
type CallHead = Pick<Call, 'operation' | 'client'>;

/** A call as one rule would send it. */
interface Judged {
  readonly call: Call;
  readonly changes: readonly Change[];
  readonly inspection: Inspection;
  readonly conflict: string;
}

type Inspect = (call: Call) => Inspection;

/** What a rule with a rewrite is judged on: the call that it would send, inspected as it would be sent. */
function judgeRewritten(
  rule: CompiledRule,
  rewrite: CompiledRewrite,
  call: Call,
  sources: readonly string[],
  inspection: Inspection,
  inspectCall: Inspect,
): Judged {
  const result = rewriteFor(rule, rewrite, call, sources);
  return { ...result, inspection: result.call === call ? inspection : inspectCall(result.call) };
}

/** A call as a rule would send it, not inspected. */
function rewriteFor(
  rule: CompiledRule,
  rewrite: CompiledRewrite,
  call: Call,
  sources: readonly string[],
): ReturnType<typeof applyRewrite> {
  const { listener, address } = call.client;
  const own = rule.sources === null ? undefined : [...rule.sources].find((name) => sources.includes(name));
  const variables = {
    source: own ?? listener,
    call: call.id,
    client: address === '' ? listener : address,
  };
  return applyRewrite(call, rewrite, variables);
}

/**
 * Decides one call. Deny rules first, then the first allow rule whose source, conditions and permit fit; if there
 * is none, the call is denied and the reason names the nearest rule.
 *
 * A rule with a rewrite is judged on the rewritten call, and deny rules on that call as well; it is in the verdict.
 * INVARIANT: the call that a verdict lets pass was itself inspected, fits its rule, and matches no deny rule.
 *
 * Observe mode: `observe` is set on a denial that must not be enforced. That is (a) a match of a deny rule in an
 * observe file, when the rest of the policy allows the call, and (b) any denial when every file of the policy is
 * in observe mode. A denial by default is therefore enforced as soon as one file is: an observe file added to a
 * policy in force can only be too lenient in its own deny rules, never open what the other files close.
 *
 * @param sources   from sourcesOf, for the same policy and client.
 * @param inspection of the call; facts are read only when a rule has conditions on them.
 * @param inspectCall how rewritten calls are inspected; the same way as the call was.
 */
export function decide(
  policy: CompiledPolicy,
  call: Call,
  sources: readonly string[],
  inspection: Inspection,
  inspectCall: Inspect = inspect,
): Verdict {
  const rules = policy.operations.get(call.operation.id);
  if (rules === undefined) return denyNoRule(policy, call);
  const match = denyingRule(rules.deny, sources, inspection);
  if (match?.observe === false) return denyByRule(match, call, policy.observe);
  for (const rule of rules.allow) {
    if (!concerns(rule, sources)) continue;
    if (rule.rewrite === null) {
      if (!holds(rule, inspection) || !coversAll(rule.permit, inspection.hazards)) continue;
      return match === undefined ? rule.allowed : observed(rule, match, call);
    }
    const judged = judgeRewritten(rule, rule.rewrite, call, sources, inspection, inspectCall);
    if (judged.conflict !== '' || !holds(rule, judged.inspection)) continue;
    if (!coversAll(rule.permit, judged.inspection.hazards)) continue;
    const again = judged.call === call ? undefined : denyingRule(rules.deny, sources, judged.inspection);
    if (again?.observe === false) return denyByRule(again, call, policy.observe);
    const denied = match ?? again;
    const verdict = denied === undefined ? rule.allowed : observed(rule, denied, call);
    if (judged.call === call) return verdict;
    const rewrites = [...describeChanges(judged.changes), ...rule.allowed.rewrites];
    return { ...verdict, call: judged.call, rewrites };
  }
  if (match !== undefined && policy.observe) return denyByRule(match, call, true);
  return denyNearest(policy, rules.allow, call, sources, inspection, inspectCall);
}

/**
 * The verdict on a call of which only the head is known: a denial when no rule allows the operation for this caller, or
 * one denies it whatever is in the call. Undefined when the decision needs the call, or when no denial is enforced.
 */
export function decideUnread(
  policy: CompiledPolicy,
  call: CallHead,
  sources: readonly string[],
): Verdict | undefined {
  if (policy.observe) return undefined;
  const rules = policy.operations.get(call.operation.id);
  if (rules === undefined) return denyNoRule(policy, call);
  const denies = rules.deny.find(
    (rule) => !rule.observe && rule.where.length === 0 && concerns(rule, sources),
  );
  if (denies !== undefined) return denyByRule(denies, call, false);
  if (rules.allow.some((rule) => concerns(rule, sources))) return undefined;
  return denySource(policy, rules.allow, call, sources);
}

/**
 * The first rule that fits allows every hazard, under no condition, and no rule denies anything: nothing that is looked up
 * can change the verdict.
 */
export function permitsAll(
  policy: CompiledPolicy,
  { operation }: CallHead,
  sources: readonly string[],
): boolean {
  const rules = policy.operations.get(operation.id);
  if (rules === undefined || rules.deny.length > 0) return false;
  const first = rules.allow.find((rule) => concerns(rule, sources));
  return first !== undefined && first.permit.all && first.where.length === 0 && first.rewrite === null;
}

/** The calls that rules with a rewrite would send in place of this one. */
export function rewrittenCalls(policy: CompiledPolicy, call: Call, sources: readonly string[]): Call[] {
  const calls: Call[] = [];
  for (const rule of policy.operations.get(call.operation.id)?.allow ?? []) {
    if (rule.rewrite === null || !concerns(rule, sources)) continue;
    const { call: rewritten } = rewriteFor(rule, rule.rewrite, call, sources);
    if (rewritten !== call) calls.push(rewritten);
  }
  return calls;
}

/** A denial that is not enforced, of a call that this rule allows: its answer is changed nevertheless. */
function observed(rule: CompiledRule, denying: CompiledRule, call: Call): Verdict {
  const verdict = denyByRule(denying, call, true);
  const { redact, rewrites } = rule.allowed;
  return redact === undefined ? verdict : { ...verdict, redact, rewrites };
}

/** The first deny rule that matches and is enforced; if there is none, the first that matches. */
function denyingRule(
  deny: readonly CompiledRule[],
  sources: readonly string[],
  inspection: Inspection,
): CompiledRule | undefined {
  let observed: CompiledRule | undefined;
  for (const rule of deny) {
    if (!concerns(rule, sources) || !denies(rule, inspection)) continue;
    if (!rule.observe) return rule;
    observed ??= rule;
  }
  return observed;
}

/** Printable ASCII, at most MAX_TEXT characters: the text may come from an attacker and end in a terminal. */
function printable(text: string): string {
  const escaped = text
    .slice(0, MAX_TEXT + 1)
    .replace(/[^\x20-\x7e]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return escaped.length > MAX_TEXT ? `${escaped.slice(0, MAX_TEXT - 3)}...` : escaped;
}

function deny(
  rule: string,
  observe: boolean,
  code: string,
  reason: string,
  missing: readonly Hazard[] = [],
): Verdict {
  return { effect: 'deny', rule, observe, reason, code, missing, rewrites: NO_REWRITES };
}

function denyNoRule(policy: CompiledPolicy, call: CallHead): Verdict {
  const id = call.operation.id;
  return deny(
    '',
    policy.observe,
    'no-rule',
    `no rule allows ${id}; a rule with "${id}" in its operations would`,
  );
}

function denyByRule(rule: CompiledRule, call: CallHead, observe: boolean): Verdict {
  const why = rule.description === '' ? '' : `: ${printable(rule.description)}`;
  return deny(rule.id, observe, 'deny-rule', `rule ${rule.id} denies ${call.operation.id}${why}`);
}

function listed(words: readonly string[]): string {
  const more = words.length - MAX_LISTED;
  return words.slice(0, MAX_LISTED).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

/** The caller, for a denial: its sources, or the address of a caller that belongs to none. */
function caller(call: CallHead, sources: readonly string[]): string {
  if (sources.length > 0) return `this caller is ${listed(sources)}`;
  const { listener, address } = call.client;
  const from = address === '' ? '' : `, address ${printable(address)}`;
  return `this caller belongs to no source (listener ${printable(listener)}${from})`;
}

/** `source ci` or `everyone`: whom the rule is for, as far as it concerns this caller. */
function audience(rule: CompiledRule, sources: readonly string[]): string {
  if (rule.sources === null) return 'everyone';
  return `source ${sources.find((name) => rule.sources?.has(name)) ?? listed([...rule.sources])}`;
}

function describeFact(value: FactValue | undefined): string {
  if (value === undefined) return 'the call does not state it';
  if (typeof value !== 'object')
    return `the call has ${printable(JSON.stringify(value).slice(0, MAX_TEXT * 2))}`;
  const shown = value.slice(0, MAX_LISTED).map((item) => printable(JSON.stringify(item.slice(0, MAX_TEXT))));
  const more = value.length - shown.length;
  return `the call has [${printable(shown.join(', '))}]${more > 0 ? ` and ${more} more` : ''}`;
}

/** No rule allows the operation for this caller. */
function denySource(
  policy: CompiledPolicy,
  allow: readonly CompiledRule[],
  call: CallHead,
  sources: readonly string[],
): Verdict {
  const first = allow[0];
  if (first === undefined) return denyNoRule(policy, call);
  const others = allow.length > 1 ? ` (nor does any other rule)` : '';
  const reason = `rule ${first.id} allows ${call.operation.id} for ${audience(first, sources)}, not for this caller${others}; ${caller(call, sources)}`;
  return deny(first.id, policy.observe, 'source', reason);
}

/** The rule that came nearest to allowing the call, by how far the call got with it. */
function denyNearest(
  policy: CompiledPolicy,
  allow: readonly CompiledRule[],
  call: Call,
  sources: readonly string[],
  inspection: Inspection,
  inspectCall: Inspect,
): Verdict {
  const applicable = allow.filter((rule) => concerns(rule, sources));
  const id = call.operation.id;
  if (applicable.length === 0) return denySource(policy, allow, call, sources);
  const judgedByRule = new Map<CompiledRule, Judged>();
  for (const rule of applicable) {
    const judged =
      rule.rewrite === null
        ? { call, changes: [], inspection, conflict: '' }
        : judgeRewritten(rule, rule.rewrite, call, sources, inspection, inspectCall);
    judgedByRule.set(rule, judged);
  }
  const factsFor = (rule: CompiledRule): Inspection['facts'] => judgedByRule.get(rule)!.inspection.facts;
  let nearest: CompiledRule | undefined;
  let missing: Hazard[] = [];
  for (const rule of applicable) {
    if (judgedByRule.get(rule)!.conflict !== '' || !holds(rule, judgedByRule.get(rule)!.inspection)) continue;
    const lacks = uncovered(rule.permit, judgedByRule.get(rule)!.inspection.hazards);
    if (nearest === undefined || lacks.length < missing.length) [nearest, missing] = [rule, lacks];
  }
  if (nearest !== undefined) {
    return denyHazards(policy, nearest, missing, id, sources, judgedByRule.get(nearest)!.inspection);
  }

  const failing = (rule: CompiledRule): Condition[] =>
    rule.where.filter((condition) => test(condition, factsFor(rule)) !== true);
  let rule = applicable[0]!;
  for (const other of applicable) if (failing(other).length < failing(rule).length) rule = other;
  const { conflict } = judgedByRule.get(rule)!;
  if (conflict !== '') {
    const reason = `rule ${rule.id} allows ${id} for ${audience(rule, sources)} only with its rewrite, which cannot be done: ${conflict}`;
    return deny(rule.id, policy.observe, 'rewrite', reason);
  }
  const parts = failing(rule)
    .slice(0, MAX_LISTED)
    .map(({ fact, text }) => `${fact} must be ${printable(text)} and ${describeFact(factsFor(rule)[fact])}`);
  const reason = `rule ${rule.id} allows ${id} for ${audience(rule, sources)} only under a condition: ${parts.join('; ')}`;
  return deny(rule.id, policy.observe, 'condition', reason);
}

function denyHazards(
  policy: CompiledPolicy,
  rule: CompiledRule,
  missing: readonly Hazard[],
  id: string,
  sources: readonly string[],
  inspection: Inspection,
): Verdict {
  const exact = missing.slice(0, MAX_LISTED).map((hazard) => {
    // Only what was cut or escaped, or what would read as a glob, cannot be copied into a policy as it is.
    const text = formatHazard({ kind: hazard.kind, argument: hazard.argument.slice(0, MAX_TEXT + 1) });
    const shown = printable(text);
    return { shown, why: whyListed(hazard, inspection), copyable: shown === text && !/[*?"\\]/.test(text) };
  });
  const add = exact.every((hazard) => hazard.copyable)
    ? `add ${exact.map((hazard) => `"${hazard.shown}"`).join(', ')} to its permit if it should`
    : 'extend its permit if it should';
  const more = missing.length - exact.length;
  const rest = more <= 0 ? '' : missing.length === MAX_MISSING ? ' and many more' : ` and ${more} more`;
  const reason = `rule ${rule.id} allows ${id} for ${audience(rule, sources)}, but does not permit ${exact.map(({ shown, why }) => shown + why).join(', ')}${rest}; ${add}`;
  return deny(rule.id, policy.observe, 'hazard', reason, missing);
}

/**
 * Details for a denial: of an indicator, the feed that lists it and where it was found; of a sequence, the calls
 * that led to it.
 */
function whyListed(
  { kind, argument }: Hazard,
  { matches = [], sequences = [] }: Pick<Inspection, 'matches' | 'sequences'>,
): string {
  if (kind === 'sequence') {
    const found = sequences.find(({ sequence }) => sequence === argument);
    return found === undefined ? '' : ` (${found.why})`;
  }
  if (kind !== 'indicator') return '';
  const match = matches.find(({ hit }) => hit.indicator === argument);
  return match === undefined
    ? ''
    : ` (listed by feed ${printable(match.hit.feed)}, found in ${printable(match.where)})`;
}
