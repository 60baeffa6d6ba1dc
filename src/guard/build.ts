import { watchIndicators } from '../capture/context/watch.js';
import { pendingContext, withContext, type Call } from '../docker/call.js';
import type { Entities } from '../docker/entities.js';
import type { HeadReading } from '../docker/read.js';
import { Refusal } from '../docker/refusal.js';
import { renderHeaders, renderTarget } from '../docker/render.js';
import { judge, type Judgement } from '../policy/judge.js';
import type { CallSnapshot } from './admit.js';
import { TOO_MANY, type Guard } from './guard.js';
import type { Incoming, Progress } from './incoming.js';
import { CallCut, type Outcome } from './outcome.js';
import { lookUpAgain } from './look-up.js';
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
  const watch = watchIndicators(snapshot.index);
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
    const known = withContext(call, context);
    // Now it is known which images it names.
    const named = await Promise.race([lookUpAgain(guard, known, entities), exceptFailures(upload.early)]);
    if ('refused' in named) return await passRefusal(named.refused);
    const whole = within(judge(known, named, snapshot, watch));
    const isSame = hasSameHead(whole.sent, first.sent);
    const { observe } = snapshot.policy;
    const refusal = await settle(isSame || !observe ? whole : sentAs(first, whole));
    if (refusal !== undefined) throw refusal;
    // The head of the request is with the engine already: another rule's rewrite would come too late.
    if (!isSame && !observe) throw OTHER_REWRITE;
    upload.release();
    return await upload.outcome;
  } catch (error) {
    progress.bytesIn = upload.bytes;
    upload.destroy();
    throw error;
  }
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

function hasSameHead(one: Call, other: Call): boolean {
  return (
    renderTarget(one) === renderTarget(other) &&
    renderHeaders(one).join('\n') === renderHeaders(other).join('\n')
  );
}
