import { watchIndicators } from '../capture/context/watch.js';
import type { ContextReading } from '../docker/build-context.js';
import type { Call } from '../docker/call.js';
import { Refusal } from '../docker/refusal.js';
import { renderHeaders, renderTarget } from '../docker/render.js';
import type { Verdict } from '../policy/verdict.js';
import { uploadContext } from './context-upload.js';
import type { End, Exchange } from './exchange.js';
import { consider, withinLimits, type Grounds, type Judgement } from './judgement.js';
import { changeOf, decisionEvent, deny, record } from './record.js';
import { refuse, STOPPING } from './refuse.js';
import { TOO_MANY, tooMany } from './send.js';
import type { GuardState } from './state.js';

/** A classic build with its context in the body. BuildKit reads other things, see the hazard `opaque:buildkit`. */
export function carriesContext({ operation, body, query }: Call): boolean {
  const version = query['version'];
  return (
    operation.does.builds === 'dockerfile' &&
    body.kind === 'stream' &&
    body.present &&
    (version?.type !== 'string' || version.value === '' || version.value === '1')
  );
}

/**
 * A build is judged twice. First without its context: what no context could make right is denied before a byte of it
 * is read. Then the context goes to the engine as it is understood, in constant memory, without its end; the engine
 * builds nothing before that. The verdict on the whole releases the end, or destroys the engine's connection.
 */
export function judgeBuild(guard: GuardState, exchange: Exchange, call: Call, grounds: Grounds): void {
  const body = call.body as Extract<Call['body'], { kind: 'stream' }>;
  const first = consider({ ...call, body: { ...body, context: 'pending' } }, grounds);
  const admitted = withinLimits(exchange, first);
  if (!admitted.passes || tooMany(guard)) {
    record(guard, exchange, admitted, () => refuse(guard, exchange, TOO_MANY));
    return;
  }
  // INVARIANT: one decision a call, whoever comes first: the verdict on the whole, the engine, or the client's leaving.
  let decided = false;
  const onRefused = (status: number): void => {
    if (decided) return;
    decided = true;
    const reason = `the engine answered with status ${status} before it had the build context; nothing was built`;
    const verdict: Verdict = { ...first.verdict, effect: 'deny', code: 'engine-refused', reason };
    guard.metrics.decision(call.operation.id, 'deny', verdict.code);
    guard.audit.record(decisionEvent({ ...first, verdict }));
  };
  const refuseUnread = (error: unknown): void => {
    if (decided) return;
    decided = true;
    deny(guard, exchange, error);
  };
  const onCut = (end: End): void => refuseUnread(end === 'shutdown' ? STOPPING : CUT);
  const watch = watchIndicators(grounds.index);
  // The engine may answer before the verdict on the whole.
  exchange.changeAnswer = changeOf(guard, first);
  const upload = uploadContext(guard, exchange, first.sent, watch, onRefused, onCut);
  const stop = (refusal: Refusal): void => {
    upload.destroy();
    refuse(guard, exchange, refusal);
  };
  const judgeWhole = async (context: ContextReading): Promise<void> => {
    const known: Call = { ...call, body: { ...body, context } };
    // Now it is known what it builds from.
    const found = call.objects === undefined ? known : await guard.ownership!.again(known);
    if (decided) return;
    let whole = consider(found, grounds, watch);
    // The head of the request is with the engine already: another rule's rewrite would come too late.
    const same = sameHead(whole.sent, first.sent);
    if (!same && grounds.policy.observe) whole = sentAs(first, whole);
    decided = true;
    const pass = (): void => {
      if (same || grounds.policy.observe) upload.release();
      else stop(OTHER_REWRITE);
    };
    record(guard, exchange, whole, pass, stop);
  };
  upload.read.then(judgeWhole).catch((error: unknown) => {
    upload.destroy();
    refuseUnread(error);
  });
}

/** A policy that only observes stops nothing: the call goes on with the head it has, and the record says so. */
const sentAs = ({ sent, verdict: { rewrites } }: Judgement, whole: Judgement): Judgement => ({
  ...whole,
  sent,
  verdict: { ...whole.verdict, rewrites },
});

const CUT = new Refusal(400, 'body-cut', 'the build context was cut short by the client');

const OTHER_REWRITE = new Refusal(
  403,
  'rewrite',
  'the rule that allows this Dockerfile rewrites the call in another way than the first rule that fits without it; give both rules the same rewrite, or let only one of them fit',
);

function sameHead(one: Call, other: Call): boolean {
  return (
    renderTarget(one) === renderTarget(other) &&
    renderHeaders(one).join('\n') === renderHeaders(other).join('\n')
  );
}
