import type { Flow } from '../../capture/relay-body.js';
import type { Call } from '../../docker/call.js';
import type { Judgement } from '../../policy/judge.js';
import type { EngineRequest } from '../../upstream/engine-call.js';
import { combined } from '../../docker/answers/scan.js';
import type { Guard } from '../guard.js';
import type { Incoming, Progress } from '../incoming.js';
import type { End } from '../outcome.js';
import { ClientAnswer, upstreamRefusal, type AnswerControl, type CountedBody } from './answer.js';
import { bothChanges, ownImages, redactAnswer, type AnswerChanger } from '../../policy/change-answer.js';
import { compose, observe, pace, type Wrap } from './handlers.js';
import { transform } from './transform.js';

/** One call on its way to the engine, and how its answer comes back. */
export interface Exchange {
  readonly guard: Guard;
  readonly incoming: Incoming;
  readonly judgement: Judgement;
  /** Counts bytes against the limits of the caller's sources. */
  readonly flow: Flow | undefined;
  readonly progress: Progress;
}

/** What a kind of exchange does differently. */
export interface ExchangeHooks {
  /** Stands between the answer and all other handlers; it is given what ends the chain. */
  readonly wrap?: (answer: ClientAnswer, control: AnswerControl) => Wrap;
  /** The call is cut from the client's side, before its outcome is known. */
  readonly onCut?: (end: End) => void;
}

/** Sends a request to the engine and its answer to the client. */
export function startExchange(
  { guard, incoming, judgement, flow, progress }: Exchange,
  request: EngineRequest,
  { wrap, onCut }: ExchangeHooks = {},
): ClientAnswer {
  const call = judgement.sent;
  const control: AnswerControl = { abort: () => {}, holdsBack: false, isResized: false };
  const answer = new ClientAnswer(incoming, {
    operation: call.operation,
    body: typeof request.body === 'string' ? undefined : (request.body as CountedBody | undefined),
    captured: progress.bytesIn,
    control,
    isStopping: () => guard.admission.isClosed,
    refusalFor(error) {
      const refusal = upstreamRefusal(error, guard.config.upstream.url);
      if (refusal !== error) guard.log.warn({ err: error.message }, 'the engine did not answer');
      return refusal;
    },
    ...(onCut !== undefined && { onCut }),
  });
  const watch = watchAnswer(guard, judgement);
  const isChanged = call.ownAnswer === true || judgement.verdict.redact !== undefined;
  const change = isChanged ? changeOf(guard, judgement) : undefined;
  const warn = (message: string): void =>
    guard.log.warn({ call: call.id, err: message }, 'an answer was held back');
  const chain = compose(
    answer,
    watch === undefined ? undefined : observe(watch),
    change === undefined ? undefined : transform(change, call.operation, control, warn),
    flow === undefined ? undefined : pace(flow),
    wrap?.(answer, control),
  );
  control.abort = guard.engine.dispatch(request, chain);
  return answer;
}

/** Learns from the engine's answer: which containers and images came out of the call, and whose an image is that was pulled. */
function watchAnswer(
  guard: Guard,
  { sent, snapshot: { sources } }: Judgement,
): ((piece: Buffer) => void) | undefined {
  const creators = guard.creators?.watch(sent, sources);
  const history = guard.history.watch(sent, sources);
  const owners = sent.owner === undefined ? undefined : guard.ownership?.watch(sent);
  return creators === undefined && owners === undefined ? history : combined([creators, history, owners]);
}

/** What becomes of the answer: images of others are taken out, and what its rule redacts. */
function changeOf({ ownership }: Guard, { verdict: { redact }, sent }: Judgement): AnswerChanger | undefined {
  const isOwn = (id: string, labels: unknown): boolean => ownership?.isOwnImage(sent, id, labels) === true;
  return bothChanges(
    sent.ownAnswer === true ? ownImages(isOwn) : undefined,
    redact === undefined ? undefined : redactAnswer(redact, sent),
  );
}

/** Finite answers have a time limit; what may rightly be silent for hours (events, logs, wait …) has none. */
export const answerTimeout = (guard: Guard, { operation }: Call): number =>
  operation.response === 'finite' ? guard.config.upstream.timeout : 0;
