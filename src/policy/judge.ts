import { CALL_WORK } from '../base/work.js';
import type { Call } from '../docker/call.js';
import { NO_ENTITIES, type Entities } from '../docker/entities.js';
import { Refusal } from '../docker/refusal.js';
import { inspect } from '../hazards/inspect.js';
import type { ContextMatches, Inspection } from '../hazards/inspection.js';
import type { SequenceView } from '../hazards/sequences.js';
import type { IndicatorIndex } from '../intel/indicator.js';
import type { CompiledPolicy, Verdict } from './compiled.js';
import { decide } from './decide.js';
import { denyWork } from './denial.js';
import { describeExceeded, type ExceededQuota } from './quotas.js';
import { withOwner } from './ownership.js';

/** What comparing one call with the rules may cost: some 10 ms. */
const DECISION_WORK = CALL_WORK / 4;

/** What one call is judged by: one moment of everything that changes while the guard runs. */
export interface Snapshot {
  readonly policy: CompiledPolicy;
  readonly revision: string;
  /** The sources that the caller belongs to, in the order of the policy. */
  readonly sources: readonly string[];
  readonly index: IndicatorIndex;
  readonly history: SequenceView;
}

/** A call, its inspection, and the decision of the policy. */
export interface Judgement {
  readonly call: Call;
  readonly entities: Entities;
  readonly snapshot: Snapshot;
  readonly inspection: Inspection;
  readonly verdict: Verdict;
  /**
   * INVARIANT: what is sent is the call that was judged: a rule with a rewrite is judged on its own result. Only the
   * owner's label is added, and ids stand in place of the names that were looked up.
   */
  readonly sent: Call;
  /** The call goes to the engine: it is allowed, or its denial is only observed. */
  readonly passes: boolean;
  /** The quota that it exceeds. */
  readonly exceeded?: ExceededQuota;
}

/**
 * Judges a call: inspect, decide, rewrite, inspect again. Pure: what is known from engine, host and history is in the
 * arguments.
 *
 * @param matches indicators that were found in its build context.
 * @throws Error when something that the call names could not be looked up, and policy would let it pass
 */
export function judge(
  call: Call,
  entities: Entities,
  snapshot: Snapshot,
  matches?: ContextMatches,
): Judgement {
  const { policy, sources, index, history } = snapshot;
  const inspection = inspect(call, index, matches, entities, history);
  const work = { left: DECISION_WORK };
  const decided = decide(
    policy,
    call,
    sources,
    inspection,
    (rewritten) => inspect(rewritten, index, matches, entities, history),
    work,
  );
  const verdict = work.left < 0 ? denyWork(policy, call) : decided;
  const passes = verdict.effect === 'allow' || verdict.observe;
  const judgement = { call, entities, snapshot, inspection, verdict, sent: verdict.call ?? call, passes };
  if (!passes) return judgement;
  if (entities.failure !== undefined) {
    // A policy that only observes stops nothing.
    if (!policy.observe) throw entities.failure;
    return verdict.effect === 'deny' ? judgement : observedFailure(judgement, entities.failure);
  }
  return call.owner === undefined ? judgement : marked(judgement);
}

/** The call would be denied, because something that it names could not be looked up. */
const observedFailure = (judgement: Judgement, failure: Error): Judgement => ({
  ...judgement,
  verdict: {
    ...judgement.verdict,
    effect: 'deny',
    observe: true,
    code: failure instanceof Refusal ? failure.code : 'internal',
    reason: failure.message,
  },
});

/** The judgement on a call that makes something, or names something, that has an owner. */
function marked(judgement: Judgement): Judgement {
  const { sent, entities, verdict, snapshot } = judgement;
  const { call, changes, conflict } = withOwner(sent, entities);
  if (conflict === '') {
    const rewrites = changes.length === 0 ? verdict.rewrites : [...verdict.rewrites, ...changes];
    return { ...judgement, sent: call, verdict: { ...verdict, rewrites } };
  }
  const reason = `rule ${verdict.rule} allows ${call.operation.id}, but what it creates could not be labelled with its owner: ${conflict}`;
  const { observe } = snapshot.policy;
  return {
    ...judgement,
    passes: observe,
    verdict: { ...verdict, effect: 'deny', observe, code: 'ownership', reason },
  };
}

/** A call over its quota is denied without an inspection: the quota is there to save that work. */
export const uninspected = (call: Call, snapshot: Snapshot): Omit<Judgement, 'verdict' | 'passes'> => ({
  call,
  entities: NO_ENTITIES,
  snapshot,
  inspection: { facts: {}, hazards: [] },
  sent: call,
});

/**
 * The judgement on a call that exceeds a quota.
 *
 * @param verdict the verdict that takes effect when the quota is only observed.
 */
export function judgeExceeded(
  judgement: Omit<Judgement, 'verdict' | 'passes'>,
  exceeded: ExceededQuota,
  verdict?: Verdict,
): Judgement {
  return {
    ...judgement,
    verdict: {
      missing: [],
      rewrites: [],
      ...verdict,
      effect: 'deny',
      rule: '',
      code: 'rate-limit',
      reason: describeExceeded(exceeded),
      observe: exceeded.observe,
    },
    passes: exceeded.observe,
    exceeded,
  };
}
