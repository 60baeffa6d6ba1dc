import {
  UNSEARCHED,
  WATCH_LIMITS,
  watchIndicators,
  type IndicatorWatch,
  type Keep,
} from '../capture/context/watch.js';
import { ownedBy, pendingContext, withContext, type Call } from '../docker/call.js';
import type { Entities } from '../docker/entities.js';
import type { HeadReading } from '../docker/read.js';
import { Refusal } from '../docker/refusal.js';
import { renderHeaders, renderTarget } from '../docker/render.js';
import type { ContextMatches } from '../hazards/inspection.js';
import type { IndicatorIndex } from '../intel/indicator.js';
import { judge, type Judgement } from '../policy/judge.js';
import { isOutdated, renewSnapshot, type CallSnapshot } from './admit.js';
import { TOO_MANY, type Guard } from './guard.js';
import type { Incoming, Progress } from './incoming.js';
import { CallCut, type Outcome } from './outcome.js';
import { lookUp, lookUpAgain } from './look-up.js';
import { withinQuota } from './quotas.js';
import { uploadContext } from './relay/upload.js';

/** A build, as far as its request is read. */
export interface Build {
  readonly guard: Guard;
  readonly incoming: Incoming;
  readonly head: HeadReading;
  readonly call: Call;
  readonly entities: Entities;
  readonly snapshot: CallSnapshot;
  readonly progress: Progress;
}

/** Puts a judgement on record. Resolves with what the client is refused with; undefined when the call passes. */
export type Settle = (judgement: Judgement) => Promise<Refusal | undefined>;

/**
 * The one variant of the way of a call: a build is judged twice. First without its context: what no context could make
 * right is denied before a byte of it is read. Then the context goes to the engine as it is understood, in constant
 * memory, without its end; the engine builds nothing before that. The verdict on the whole releases the end, or destroys
 * the engine's connection.
 *
 * @throws Refusal when the context cannot be read or must not be built
 */
export async function build(
  { guard, incoming, head, call, entities, snapshot, progress }: Build,
  settle: Settle,
): Promise<Outcome> {
  const { quota } = snapshot;
  const within = (judgement: Judgement): Judgement =>
    quota === undefined ? judgement : withinQuota(judgement, quota);
  const first = within(judge(pendingContext(call), entities, snapshot));
  if (!first.passes || guard.admission.open > guard.admission.max) {
    throw (await settle(first)) ?? TOO_MANY;
  }
  const watch = watchIndicators(snapshot.index, WATCH_LIMITS, keepWithin(guard, progress));
  const flow = quota?.flow;
  const upload = uploadContext({ guard, incoming, judgement: first, flow, progress }, head, watch);
  /** The answer passes on whatever becomes of the record: nothing was built, and the client may be gone already. */
  const passRefusal = async (status: number): Promise<Outcome> => {
    await settle(engineRefused(first, status)).catch(() => undefined);
    return upload.outcome;
  };
  try {
    const context = await Promise.race([upload.read, upload.early]);
    if ('refused' in context) return await passRefusal(context.refused);
    const read = withContext(call, context);
    let now = snapshot;
    let current = read;
    let named: Entities;
    let found: ContextMatches | undefined = watch;
    // INVARIANT: the end of the archive is released by what is in force then, however long the build was held open.
    do {
      if (isOutdated(guard, now)) {
        now = renewSnapshot(guard, head, now);
        current = ownedBy(read, now.owner);
        if (now.index !== snapshot.index) found = await searchAgain(watch, now.index);
      }
      // Now it is known which images it names.
      const looked =
        now.policy === snapshot.policy
          ? lookUpAgain(guard, current, entities)
          : Promise.resolve(lookUp(guard, current, now, progress));
      const answer = await Promise.race([looked, exceptFailures(upload.early)]);
      if ('refused' in answer) return await passRefusal(answer.refused);
      named = answer;
    } while (isOutdated(guard, now));
    const whole = within(judge(current, named, now, found));
    const isSame = hasSameHead(whole.sent, first.sent);
    const { observe } = now.policy;
    const refusal = await settle(isSame || !observe ? whole : sentAs(first, whole));
    if (refusal !== undefined) throw refusal;
    // The head of the request is with the engine already: another rule's rewrite would come too late.
    if (!isSame && !observe) throw now.policy === snapshot.policy ? OTHER_REWRITE : OTHER_POLICY;
    upload.release();
    return await upload.outcome;
  } catch (error) {
    progress.bytesIn = upload.bytes;
    upload.destroy();
    throw error;
  }
}

/** A context is kept to be searched again as long as the buffered bodies of all calls leave room for it. */
const keepWithin =
  ({ budget, config: { limits } }: Guard, progress: Progress): Keep =>
  (bytes) => {
    if (budget.used + bytes > limits.buffered / 2 || !budget.take(bytes)) return false;
    progress.buffered += bytes;
    return true;
  };

/** What the indicators find that came into force while the context arrived. */
async function searchAgain(
  watch: IndicatorWatch | undefined,
  index: IndicatorIndex,
): Promise<ContextMatches | undefined> {
  if (watch !== undefined) return watch.searchAgain(index);
  // Nothing was listed then.
  return watchIndicators(index) === undefined ? undefined : UNSEARCHED;
}

/** An engine that breaks off meanwhile is seen at the release: what policy says of the build goes on record first. */
const exceptFailures = <T>(early: Promise<T>): Promise<T> =>
  early.catch((error: unknown) => {
    if (error instanceof CallCut) throw error;
    return new Promise<never>(() => {});
  });

/** The engine answered with an error before it had the context: nothing was built. */
function engineRefused(first: Judgement, status: number): Judgement {
  const reason = `the engine answered with status ${status} before it had the build context; nothing was built`;
  return {
    ...first,
    passes: false,
    verdict: { ...first.verdict, effect: 'deny', code: 'engine-refused', reason },
  };
}

/** A policy that only observes stops nothing: the call goes on with the head it has, and the record says so. */
const sentAs = ({ sent, verdict: { rewrites } }: Judgement, whole: Judgement): Judgement => ({
  ...whole,
  sent,
  verdict: { ...whole.verdict, rewrites },
});

const OTHER_REWRITE = new Refusal(
  403,
  'rewrite',
  'the rule that allows this Dockerfile rewrites the call in another way than the first rule that fits without it; give both rules the same rewrite, or let only one of them fit',
);

const OTHER_POLICY = new Refusal(
  403,
  'rewrite',
  'the policy changed while the build context arrived, and the rule that now allows the build rewrites the call in another way; send it again',
);

function hasSameHead(one: Call, other: Call): boolean {
  return (
    renderTarget(one) === renderTarget(other) &&
    renderHeaders(one).join('\n') === renderHeaders(other).join('\n')
  );
}
