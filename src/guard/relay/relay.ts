import { relayBody, type RelayedBody } from '../../capture/relay-body.js';
import { isShareable, type Call } from '../../docker/call.js';
import type { HeadReading } from '../../docker/read.js';
import { renderBody, renderHeaders, renderTarget } from '../../docker/render.js';
import { TOO_MANY } from '../admission.js';
import type { Outcome } from '../outcome.js';
import { answerTimeout, startExchange, type Exchange } from './exchange.js';
import { tunnel } from './tunnel.js';

/**
 * Sends what was rendered from the call that was judged, and passes the engine's answer on as it comes.
 *
 * @throws Refusal 503 when there are too many calls at once.
 */
export function relay(exchange: Exchange, head: HeadReading): Promise<Outcome> {
  const { guard, judgement } = exchange;
  if (guard.admission.isFull) throw TOO_MANY;
  const call = judgement.sent;
  if (call.operation.response === 'hijack') return tunnel(exchange, head);
  const body = requestBody(exchange, head);
  const answer = startExchange(exchange, {
    method: call.operation.method,
    target: renderTarget(call),
    headers: renderHeaders(call),
    body,
    length: bodyLength(call, head, body),
    upgrade: '',
    timeout: answerTimeout(guard, call),
    shared: isShareable(call),
  });
  return answer.outcome;
}

type RequestBody = string | RelayedBody | undefined;

function requestBody({ guard, incoming, judgement, flow }: Exchange, head: HeadReading): RequestBody {
  const call = judgement.sent;
  if (call.body.kind === 'json') return renderBody(call);
  if (call.body.kind === 'none' || head.framing.kind === 'none') return undefined;
  const { context: bytes, bodyIdle: idle } = guard.limits;
  return relayBody(incoming.body.open(head.framing), { bytes, idle, flow });
}

/** A POST without a body says so with `Content-Length: 0`; a stream of known length keeps it. */
function bodyLength(
  { operation: { method } }: Call,
  { framing }: HeadReading,
  body: RequestBody,
): number | undefined {
  if (body === undefined) return method === 'POST' || method === 'PUT' ? 0 : undefined;
  return framing.kind === 'length' && typeof body !== 'string' ? framing.length : undefined;
}
