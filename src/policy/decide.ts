import { unlimited, type Work } from '../base/work.js';
import type { Call, Client } from '../docker/call.js';
import { inspect } from '../hazards/inspect.js';
import type { FactValue, Hazard, Inspection } from '../hazards/inspection.js';
import type {
  CallHead,
  CompiledPolicy,
  CompiledRule,
  Condition,
  OperationRules,
  Permit,
  Verdict,
} from './compiled.js';
import { denyByRule, denyNearest, denyNoRule, denySource, MAX_MISSING, type Attempt } from './denial.js';
import { applyRewrite, type Change, type CompiledRewrite } from './rewrite.js';
import { describeChanges } from './rewrite-text.js';

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

function test(condition: Condition, facts: Inspection['facts'], work: Work): boolean | undefined {
  const value: FactValue | undefined = facts[condition.fact];
  return value === undefined ? undefined : condition.test(value, work);
}

/**
 * Do all conditions of a deny rule hold? INVARIANT: an unknown condition counts as holding, so that an unreadable
 * value never slips past a deny rule. A fact that this operation never has (say `build.from` of a ping, under a
 * deny rule for "*") is not unreadable, it is absent: then the rule does not concern the call.
 */
function denies(rule: CompiledRule, { facts, pending }: Inspection, work: Work): boolean {
  for (const condition of rule.where) {
    const holds = test(condition, facts, work);
    if (holds === false || pending?.includes(condition.fact) === true) return false;
    if (holds === undefined && !condition.stated && facts[condition.fact] === undefined) return false;
  }
  return true;
}

// A path argument that is not in its shortest form could match `/srv/ci/**` and mean /etc.
const AMBIGUOUS_PATH = /(^|\/)\.{1,2}(\/|$)|\/\/|\0/;

/** The price of comparing a hazard with a permit. */
const HAZARD_PRICE = 16;

/**
 * Does the permit cover this hazard? `work` pays for it; without any left, no answer counts.
 *
 * @param all the hazards of the call: what cannot be seen of some may not matter for what the permit says of others.
 */
export function covers(
  permit: Permit,
  hazard: Hazard,
  work?: Work,
  all: readonly Hazard[] = NO_HAZARDS,
): boolean {
  if (permit.all) return true;
  if (work !== undefined) work.left -= HAZARD_PRICE;
  if (hazard.kind === 'unseen' && hazard.argument === 'bind') {
    if (work !== undefined) work.left -= HAZARD_PRICE * all.length;
    if (permitsExactly(permit, all)) return true;
  }
  const kind = permit.kinds.get(hazard.kind);
  if (kind === undefined) return false;
  if (kind.any) return true;
  if (kind.path && AMBIGUOUS_PATH.test(hazard.argument)) return false;
  for (const glob of kind.globs) if (glob(hazard.argument, work)) return true;
  return false;
}

const NO_HAZARDS: readonly Hazard[] = [];

/**
 * Are all paths of the host permitted as they are written? Below a directory that a pattern permits, a caller may have made
 * a link that leads anywhere; the directory that whoever wrote the policy has named is not the caller's to replace.
 */
function permitsExactly(permit: Permit, hazards: readonly Hazard[]): boolean {
  const binds = permit.kinds.get('bind');
  if (binds === undefined) return false;
  // Wherever a link leads is permitted, the socket of the engine too.
  if (binds.any && permit.kinds.has('docker-socket')) return true;
  return hazards.every(({ kind, argument }) => kind !== 'bind' || binds.exact.has(argument));
}

/** The hazards that the permit does not cover, at most MAX_MISSING. */
export function uncovered(permit: Permit, hazards: readonly Hazard[], work?: Work): Hazard[] {
  const missing: Hazard[] = [];
  for (const hazard of hazards) {
    if (covers(permit, hazard, work, hazards)) continue;
    missing.push(hazard);
    if (missing.length === MAX_MISSING) break;
  }
  return missing;
}

/**
 * Does an allow rule that concerns the call let it pass? An unknown condition does not hold; a pending one may hold later.
 * INVARIANT: an allow never passes a call with a hazard that its permit does not cover.
 */
function allows(rule: CompiledRule, { facts, hazards, pending }: Inspection, work: Work): boolean {
  for (const condition of rule.where) {
    if (test(condition, facts, work) !== true && pending?.includes(condition.fact) !== true) return false;
  }
  for (const hazard of hazards) if (!covers(rule.permit, hazard, work, hazards)) return false;
  return true;
}

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
 * @param work pays for comparing the call with the rules. Without any left, the verdict does not count, see `denyWork`.
 */
export function decide(
  policy: CompiledPolicy,
  call: Call,
  sources: readonly string[],
  inspection: Inspection,
  inspectCall: Inspect = inspect,
  work: Work = unlimited(),
): Verdict {
  const rules = policy.operations.get(call.operation.id);
  if (rules === undefined) return denyNoRule(policy, call);
  const match = rules.deny.length === 0 ? undefined : denyingRule(rules.deny, sources, inspection, work);
  if (match?.observe === false) return denyByRule(match, call, policy.observe);
  for (const rule of rules.allow) {
    if (!concerns(rule, sources)) continue;
    if (rule.rewrite === null) {
      if (!allows(rule, inspection, work)) continue;
      return match === undefined ? rule.allowed : observed(rule, match, call);
    }
    const judged = judgeRewritten(rule, rule.rewrite, call, sources, inspection, inspectCall);
    if (judged.conflict !== '' || !allows(rule, judged.inspection, work)) continue;
    const again =
      judged.call === call ? undefined : denyingRule(rules.deny, sources, judged.inspection, work);
    if (again?.observe === false) return denyByRule(again, call, policy.observe);
    const denied = match ?? again;
    const verdict = denied === undefined ? rule.allowed : observed(rule, denied, call);
    if (judged.call === call) return verdict;
    const rewrites = [...describeChanges(judged.changes), ...rule.allowed.rewrites];
    return { ...verdict, call: judged.call, rewrites };
  }
  if (match !== undefined && policy.observe) return denyByRule(match, call, true);
  const [first, ...others] = attemptsOf(rules, call, sources, inspection, inspectCall, work);
  if (first === undefined) return denySource(policy, rules.allow, call, sources);
  return denyNearest(policy, [first, ...others], call.operation.id, sources);
}

/** What each allow rule that concerns a denied call lacked to allow it. */
function attemptsOf(
  { allow }: OperationRules,
  call: Call,
  sources: readonly string[],
  inspection: Inspection,
  inspectCall: Inspect,
  work: Work,
): Attempt[] {
  const attempts: Attempt[] = [];
  for (const rule of allow) {
    if (!concerns(rule, sources)) continue;
    const judged =
      rule.rewrite === null
        ? { inspection, conflict: '' }
        : judgeRewritten(rule, rule.rewrite, call, sources, inspection, inspectCall);
    const { facts, hazards, pending } = judged.inspection;
    const failing = rule.where.filter((condition) => test(condition, facts, work) !== true);
    const holds = judged.conflict === '' && failing.every(({ fact }) => pending?.includes(fact) === true);
    attempts.push({
      rule,
      ...judged,
      failing,
      holds,
      missing: holds ? uncovered(rule.permit, hazards, work) : [],
    });
  }
  return attempts;
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
  for (const rule of rules.deny) {
    const denies = !rule.observe && rule.where.length === 0 && concerns(rule, sources);
    if (denies) return denyByRule(rule, call, false);
  }
  for (const rule of rules.allow) if (concerns(rule, sources)) return undefined;
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
  for (const rule of rules.allow) {
    if (concerns(rule, sources)) return rule.permit.all && rule.where.length === 0 && rule.rewrite === null;
  }
  return false;
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
  work: Work,
): CompiledRule | undefined {
  let observed: CompiledRule | undefined;
  for (const rule of deny) {
    if (!concerns(rule, sources) || !denies(rule, inspection, work)) continue;
    if (!rule.observe) return rule;
    observed ??= rule;
  }
  return observed;
}
