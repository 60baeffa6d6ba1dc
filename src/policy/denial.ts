import { asObject } from '../base/json.js';
import { maskInUrls } from '../base/mask.js';
import type { Call } from '../docker/call.js';
import { formatHazard, type FactValue, type Hazard, type Inspection } from '../hazards/inspection.js';
import type { CallHead, CompiledPolicy, CompiledRule, Condition, Verdict } from './compiled.js';

/** At most this many uncovered hazards are collected of one rule: they are attacker-made and may be thousands. */
export const MAX_MISSING = 64;
const MAX_LISTED = 8;
const MAX_TEXT = 200;
const NO_REWRITES: readonly string[] = [];

/** What a rule that concerns a call makes of it, and why it does not allow it. */
export interface Attempt {
  readonly rule: CompiledRule;
  /** Of the call as the rule would send it. */
  readonly inspection: Inspection;
  /** Why its rewrite cannot be done; `""` when it can. */
  readonly conflict: string;
  /** Conditions that do not hold. */
  readonly failing: readonly Condition[];
  /** All conditions hold, or may hold later. */
  readonly holds: boolean;
  /** The hazards that its permit does not cover, at most MAX_MISSING. */
  readonly missing: readonly Hazard[];
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

export function denyNoRule(policy: CompiledPolicy, call: CallHead): Verdict {
  const id = call.operation.id;
  return deny(
    '',
    policy.observe,
    'no-rule',
    `no rule allows ${id}; a rule with "${id}" in its operations would`,
  );
}

/** The rules could not be compared with the call, because that costs too much. */
export function denyWork(policy: CompiledPolicy, call: CallHead): Verdict {
  const id = call.operation.id;
  return deny(
    '',
    policy.observe,
    'work',
    `the call has so many or so long values that comparing them with the rules for ${id} would delay the calls of others: send less at once`,
  );
}

export function denyByRule(rule: CompiledRule, call: CallHead, observe: boolean): Verdict {
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
export function denySource(
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
export function denyNearest(
  policy: CompiledPolicy,
  attempts: readonly [Attempt, ...Attempt[]],
  id: string,
  sources: readonly string[],
): Verdict {
  let nearest: Attempt | undefined;
  for (const attempt of attempts) {
    if (!attempt.holds) continue;
    if (nearest === undefined || attempt.missing.length < nearest.missing.length) nearest = attempt;
  }
  if (nearest !== undefined) return denyHazards(policy, nearest, id, sources);

  let [first] = attempts;
  for (const other of attempts) if (other.failing.length < first.failing.length) first = other;
  const { rule, conflict, failing, inspection } = first;
  if (conflict !== '') {
    const reason = `rule ${rule.id} allows ${id} for ${audience(rule, sources)} only with its rewrite, which cannot be done: ${conflict}`;
    return deny(rule.id, policy.observe, 'rewrite', reason);
  }
  const parts = failing
    .slice(0, MAX_LISTED)
    .map(
      ({ fact, text }) => `${fact} must be ${printable(text)} and ${describeFact(inspection.facts[fact])}`,
    );
  const reason = `rule ${rule.id} allows ${id} for ${audience(rule, sources)} only under a condition: ${parts.join('; ')}`;
  return deny(rule.id, policy.observe, 'condition', reason);
}

function denyHazards(
  policy: CompiledPolicy,
  { rule, missing, inspection }: Attempt,
  id: string,
  sources: readonly string[],
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

/** Shorter values stand in too many texts by chance. */
const MIN_SECRET = 4;

/**
 * Takes the values of build arguments out of the URLs in a text: a token that a Dockerfile puts into one stands in the
 * hazard that its download is.
 */
export function hideArguments({ query }: Call): (text: string) => string {
  const given = query['buildargs'];
  const values =
    given?.type === 'json'
      ? Object.values(asObject(given.value)).filter(
          (value): value is string => typeof value === 'string' && value.length >= MIN_SECRET,
        )
      : [];
  return (text) => (values.length === 0 ? text : maskInUrls(text, values));
}
