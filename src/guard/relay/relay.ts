import { relayBody } from '../../capture/relay-body.js';
import { isShareable } from '../../docker/call.js';
import type { HeadReading } from '../../docker/read.js';
import { renderHeaders, renderJson, renderTarget } from '../../docker/render.js';
import { bothChanges, ownImages, redactAnswer, type AnswerChanger } from '../../policy/change-answer.js';
import type { Judgement } from '../../policy/judge.js';
import type { EngineHandler, EngineRequest } from '../../upstream/engine-call.js';
import type { Guard } from '../guard.js';
import type { End, Outcome } from '../outcome.js';
import { ClientAnswer, type AnswerControl, type CountedBody, type Exchange, type Wrap } from './answer.js';
import { observe, pace, transform } from './handlers.js';

/** Sends what was rendered from the call that was judged, and passes the engine's answer on as it comes. */
export function relay(exchange: Exchange, head: HeadReading): Promise<Outcome> {
  const { guard, judgement } = exchange;
  const call = judgement.sent;
  const { method, response } = call.operation;
  return startExchange(exchange, {
    method,
    target: renderTarget(call),
    headers: renderHeaders(call),
    ...requestBody(exchange, head),
    upgrade: '',
    // What may rightly be silent for hours (events, logs, wait …) has no limit.
    timeout: response === 'finite' ? guard.config.upstream.timeout : 0,
    shared: call.operation.mayBeShared && isShareable(call),
  }).outcome;
}

/** A POST without a body says so with `Content-Length: 0`; a stream of known length keeps it. */
function requestBody(
  { guard, incoming, judgement, flow }: Exchange,
  { framing }: HeadReading,
): Pick<EngineRequest, 'body' | 'length'> {
  const call = judgement.sent;
  if (call.body.kind === 'json') return { body: renderJson(call.body.value) };
  if (call.body.kind === 'none' || framing.kind === 'none') {
    const { method } = call.operation;
    return { body: undefined, length: method === 'POST' || method === 'PUT' ? 0 : undefined };
  }
  const { context: bytes, bodyIdle: idle } = guard.limits;
  return {
    body: relayBody(incoming.body.open(framing), { bytes, idle, flow }),
    length: framing.kind === 'length' ? framing.length : undefined,
  };
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
  exchange: Exchange,
  request: EngineRequest,
  { wrap, onCut }: ExchangeHooks = {},
): ClientAnswer {
  const { guard, judgement, flow } = exchange;
  const call = judgement.sent;
  const control: AnswerControl = { abort: () => {}, holdsBack: false, isResized: false };
  const body = typeof request.body === 'string' ? undefined : (request.body as CountedBody | undefined);
  const answer = new ClientAnswer(exchange, control, body, onCut);
  const { sources } = judgement.snapshot;
  // The chain of handlers, from the answer to the engine: the last one put before the others hears of everything first.
  let chain: EngineHandler = wrap?.(answer, control)(answer) ?? answer;
  if (flow !== undefined) chain = pace(chain, flow);
  const isChanged = call.ownAnswer === true || judgement.verdict.redact !== undefined;
  const change = isChanged ? changeOf(guard, judgement) : undefined;
  if (change !== undefined) {
    const warn = (message: string): void =>
      guard.log.warn({ call: call.id, err: message }, 'an answer was held back');
    chain = transform(chain, change, call.operation, control, warn);
  }
  // From answers that name what was made they learn which containers and images it is, and whose.
  if (call.operation.does.answerIds !== undefined || call.owner !== undefined) {
    const watchers: ((piece: Buffer) => void)[] = [];
    for (const watch of [
      guard.creators?.watch(call, sources),
      guard.history.watch(call, sources),
      call.owner === undefined ? undefined : guard.ownership?.watch(call),
    ])
      if (watch !== undefined) watchers.push(watch);
    if (watchers.length > 0) chain = observe(chain, watchers);
  }
  control.abort = guard.engine.dispatch(request, chain);
  return answer;
}

/** What becomes of the answer: images of others are taken out, and what its rule redacts. */
function changeOf({ ownership }: Guard, { verdict: { redact }, sent }: Judgement): AnswerChanger | undefined {
  const isOwn = (id: string, labels: unknown): boolean => ownership?.isOwnImage(sent, id, labels) === true;
  return bothChanges(
    sent.ownAnswer === true ? ownImages(isOwn) : undefined,
    redact === undefined ? undefined : redactAnswer(redact, sent),
  );
}
