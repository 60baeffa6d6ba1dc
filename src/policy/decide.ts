import type { Call, Client } from '../docker/call.js';
import { formatHazard, type FactValue, type Hazard, type Inspection } from '../hazards/inspection.js';
import type { CompiledPolicy, CompiledRule, Condition, Permit } from './compiled.js';
import type { Verdict } from './verdict.js';

/** At most this many uncovered hazards are collected of one rule: they are attacker-made and may be thousands. */
const MAX_MISSING = 64;
const MAX_LISTED = 8;
const MAX_TEXT = 200;

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
 * Do all conditions of a deny rule hold? INVARIANT: what cannot be told counts as holding, so that an unreadable
 * value never slips past a deny rule. A fact that this operation never states (say `build.from` of a ping, under a
 * deny rule for "*") is not unreadable, it is absent: then the rule does not concern the call.
 */
function denies(rule: CompiledRule, facts: Inspection['facts']): boolean {
  for (const condition of rule.where) {
    const holds = test(condition, facts);
    if (holds === false) return false;
    if (holds === undefined && !condition.stated && facts[condition.fact] === undefined) return false;
  }
  return true;
}

/** Conditions of an allow rule: what cannot be told does not hold. */
function holds(rule: CompiledRule, facts: Inspection['facts']): boolean {
  for (const condition of rule.where) if (test(condition, facts) !== true) return false;
  return true;
}

// A path argument that is not in its shortest form could match `/srv/ci/**` and mean /etc.
const ODD_PATH = /(^|\/)\.{1,2}(\/|$)|\/\/|\0/;

function covers(permit: Permit, hazard: Hazard): boolean {
  if (permit.all) return true;
  const kind = permit.kinds.get(hazard.kind);
  if (kind === undefined) return false;
  if (kind.any) return true;
  if (kind.path && ODD_PATH.test(hazard.argument)) return false;
  for (const glob of kind.globs) if (glob(hazard.argument)) return true;
  return false;
}

/** INVARIANT: an allow never passes a call with a hazard that its permit does not cover. */
function coversAll(permit: Permit, hazards: readonly Hazard[]): boolean {
  for (const hazard of hazards) if (!covers(permit, hazard)) return false;
  return true;
}

function uncovered(permit: Permit, hazards: readonly Hazard[]): Hazard[] {
  const missing: Hazard[] = [];
  for (const hazard of hazards) {
    if (covers(permit, hazard)) continue;
    missing.push(hazard);
    if (missing.length === MAX_MISSING) break;
  }
  return missing;
}

/**
 * Decides one call. Deny rules first, then the first allow rule whose source, conditions and permit fit; if there
 * is none, the call is denied and the reason names the nearest rule.
 *
 * Observe mode: `observe` is set on a denial that must not be enforced. That is (a) a match of a deny rule in an
 * observe file, when the rest of the policy allows the call, and (b) any denial when every file of the policy is
 * in observe mode. A denial by default is therefore enforced as soon as one file is: an observe file added to a
 * policy in force can only be too lenient in its own deny rules, never open what the other files close.
 *
 * @param sources   from sourcesOf, for the same policy and client.
 * @param inspection facts are read only when a rule asks for them.
 */
export function decide(
  policy: CompiledPolicy,
  call: Call,
  sources: readonly string[],
  inspection: Inspection,
): Verdict {
  const rules = policy.operations.get(call.operation.id);
  if (rules === undefined) return denyNoRule(policy, call);
  const { facts, hazards } = inspection;
  let observed: CompiledRule | undefined;
  for (const rule of rules.deny) {
    if (!concerns(rule, sources) || !denies(rule, facts)) continue;
    if (!rule.observe) return denyByRule(rule, call, policy.observe);
    observed ??= rule;
  }
  for (const rule of rules.allow) {
    if (!concerns(rule, sources) || !holds(rule, facts) || !coversAll(rule.permit, hazards)) continue;
    return observed === undefined ? rule.allowed : denyByRule(observed, call, true);
  }
  if (observed !== undefined && policy.observe) return denyByRule(observed, call, true);
  return denyNearest(policy, rules.allow, call, sources, inspection);
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
  return { effect: 'deny', rule, observe, reason, code, missing };
}

function denyNoRule(policy: CompiledPolicy, call: Call): Verdict {
  const id = call.operation.id;
  return deny(
    '',
    policy.observe,
    'no-rule',
    `no rule allows ${id}; a rule with "${id}" in its operations would`,
  );
}

function denyByRule(rule: CompiledRule, call: Call, observe: boolean): Verdict {
  const why = rule.description === '' ? '' : `: ${printable(rule.description)}`;
  return deny(rule.id, observe, 'deny-rule', `rule ${rule.id} denies ${call.operation.id}${why}`);
}

function listed(words: readonly string[]): string {
  const more = words.length - MAX_LISTED;
  return words.slice(0, MAX_LISTED).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

/** Who is calling, for a denial: its sources, or what the guard knows of a caller that belongs to none. */
function caller(call: Call, sources: readonly string[]): string {
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

/** The rule that came nearest to allowing the call, by how far the call got with it. */
function denyNearest(
  policy: CompiledPolicy,
  allow: readonly CompiledRule[],
  call: Call,
  sources: readonly string[],
  inspection: Inspection,
): Verdict {
  const ours = allow.filter((rule) => concerns(rule, sources));
  const id = call.operation.id;
  if (ours.length === 0) {
    const first = allow[0];
    if (first === undefined) return denyNoRule(policy, call);
    const others = allow.length > 1 ? ` (nor does any other rule)` : '';
    const reason = `rule ${first.id} allows ${id} for ${audience(first, sources)}, not for this caller${others}; ${caller(call, sources)}`;
    return deny(first.id, policy.observe, 'source', reason);
  }
  let nearest: CompiledRule | undefined;
  let missing: Hazard[] = [];
  for (const rule of ours) {
    if (!holds(rule, inspection.facts)) continue;
    const lacks = uncovered(rule.permit, inspection.hazards);
    if (nearest === undefined || lacks.length < missing.length) [nearest, missing] = [rule, lacks];
  }
  if (nearest !== undefined) return denyHazards(policy, nearest, missing, id, sources);

  const failing = (rule: CompiledRule): Condition[] =>
    rule.where.filter((condition) => test(condition, inspection.facts) !== true);
  let rule = ours[0]!;
  for (const other of ours) if (failing(other).length < failing(rule).length) rule = other;
  const parts = failing(rule)
    .slice(0, MAX_LISTED)
    .map(
      ({ fact, text }) => `${fact} must be ${printable(text)} and ${describeFact(inspection.facts[fact])}`,
    );
  const reason = `rule ${rule.id} allows ${id} for ${audience(rule, sources)} only under a condition: ${parts.join('; ')}`;
  return deny(rule.id, policy.observe, 'condition', reason);
}

function denyHazards(
  policy: CompiledPolicy,
  rule: CompiledRule,
  missing: readonly Hazard[],
  id: string,
  sources: readonly string[],
): Verdict {
  const exact = missing.slice(0, MAX_LISTED).map((hazard) => {
    // Only what was cut or escaped, or what would read as a glob, cannot be copied into a policy as it is.
    const text = formatHazard({ kind: hazard.kind, argument: hazard.argument.slice(0, MAX_TEXT + 1) });
    const shown = printable(text);
    return { shown, copyable: shown === text && !/[*?"\\]/.test(text) };
  });
  const add = exact.every((hazard) => hazard.copyable)
    ? `add ${exact.map((hazard) => `"${hazard.shown}"`).join(', ')} to its permit if it should`
    : 'extend its permit if it should';
  const more = missing.length - exact.length;
  const rest = more <= 0 ? '' : missing.length === MAX_MISSING ? ' and many more' : ` and ${more} more`;
  const reason = `rule ${rule.id} allows ${id} for ${audience(rule, sources)}, but does not permit ${exact.map((hazard) => hazard.shown).join(', ')}${rest}; ${add}`;
  return deny(rule.id, policy.observe, 'hazard', reason, missing);
}
