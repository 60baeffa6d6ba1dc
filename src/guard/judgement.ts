import type { Call } from '../docker/call.js';
import { inspect } from '../hazards/inspect.js';
import type { Inspection, Seen } from '../hazards/inspection.js';
import type { Told } from '../hazards/sequences.js';
import type { IndicatorIndex } from '../intel/indicator.js';
import type { CompiledPolicy } from '../policy/compiled.js';
import { decide } from '../policy/decide.js';
import { describeOver, type Over } from '../policy/limits.js';
import { seal } from '../policy/ownership.js';
import type { Verdict } from '../policy/verdict.js';
import type { Exchange } from './exchange.js';
import type { Sequences } from '../history/sequences.js';
import { sourcesFor } from './state.js';

/** What a call is judged by: one snapshot for the whole call. */
export interface Grounds {
  readonly policy: CompiledPolicy;
  readonly revision: string;
  readonly index: IndicatorIndex;
  readonly sequences: Sequences;
  /** What the engine was asked for this call. */
  readonly told?: Told | undefined;
}

/** A call with what was found out about it and what policy says. */
export interface Judgement {
  readonly call: Call;
  readonly sources: readonly string[];
  readonly inspection: Inspection;
  readonly verdict: Verdict;
  readonly grounds: Grounds;
  /**
   * INVARIANT: what is sent is the call that was judged: a rule with a rewrite is judged on its own result. Only the
   * owner's label is added, and ids stand in place of the names that were looked up.
   */
  readonly sent: Call;
  readonly passes: boolean;
  /** The rate limit that it is over. */
  readonly over?: Over;
}

/** inspect → decide → rewrite. A rewritten call is inspected in the same way. */
export function consider(call: Call, grounds: Grounds, seen?: Seen): Judgement {
  const { policy, index, sequences, told } = grounds;
  const sources = sourcesFor(policy, call.client);
  const look = (one: Call): Inspection => sequences.look(one, sources, inspect(one, index, seen), told);
  const inspection = look(call);
  const verdict = decide(policy, call, sources, inspection, look);
  const passes = verdict.effect === 'allow' || verdict.observe;
  const judged: Judgement = {
    call,
    sources,
    inspection,
    verdict,
    grounds,
    sent: verdict.call ?? call,
    passes,
  };
  return passes && call.owner !== undefined ? sealed(judged) : judged;
}

/** The judgement on a call that makes something, or names something, that has an owner. */
function sealed(judged: Judgement): Judgement {
  const { sent, verdict, grounds } = judged;
  const { call, changes, conflict } = seal(sent);
  if (conflict === '') {
    const rewrites = changes.length === 0 ? verdict.rewrites : [...verdict.rewrites, ...changes];
    return { ...judged, sent: call, verdict: { ...verdict, rewrites } };
  }
  const reason = `rule ${verdict.rule} allows ${call.operation.id}, but what it makes could not be marked as its owner's: ${conflict}`;
  const { observe } = grounds.policy;
  return {
    ...judged,
    passes: observe,
    verdict: { ...verdict, effect: 'deny', observe, code: 'ownership', reason },
  };
}

/** A call that is stopped before anybody looks what is in it: at a limit, looking would be the cost to be saved. */
export const unseen = (call: Call, grounds: Grounds): Omit<Judgement, 'verdict' | 'passes'> => ({
  call,
  sources: sourcesFor(grounds.policy, call.client),
  inspection: { facts: {}, hazards: [] },
  grounds,
  sent: call,
});

/** The limits of the caller's sources have their say on what policy lets pass. */
export function withinLimits({ share }: Exchange, judgement: Judgement): Judgement {
  if (share === undefined || !judgement.passes) return judgement;
  const over = share.begin(judgement.call.operation);
  if (over !== undefined) return denyOver(judgement, over);
  const { observed } = share;
  return observed === undefined || judgement.verdict.effect === 'deny'
    ? judgement
    : denyOver(judgement, observed, judgement.verdict);
}

/** @param verdict what the call goes on with, when the limit is only observed. */
export function denyOver(
  judgement: Omit<Judgement, 'verdict' | 'passes'>,
  over: Over,
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
      reason: describeOver(over),
      observe: over.observe,
    },
    passes: over.observe,
    over,
  };
}
