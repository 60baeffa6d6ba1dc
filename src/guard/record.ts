import type { DecisionEvent } from '../audit/event.js';
import type { Call, Client } from '../docker/call.js';
import { Refusal } from '../docker/refusal.js';
import { formatHazard, type SequenceFinding } from '../hazards/inspection.js';
import { bothChanges, ownImages, redactAnswer } from './answer.js';
import { absentObject, refusalOf } from './denial.js';
import type { Exchange } from './exchange.js';
import { finish } from './finish.js';
import { withToken } from './identify.js';
import { withinLimits, type Judgement } from './judgement.js';
import { refuse } from './refuse.js';
import { sourcesFor, type GuardState } from './state.js';
import { unrecorded } from './unrecorded.js';

/** Who calls: the client, with the bearer token of this request. */
export function callerOf({ client, reading }: Exchange): Client {
  const token = reading?.bearerToken ?? '';
  return token === '' ? client : withToken(client, token);
}

/** audit; the effect follows when the decision is on record. */
export function record(
  guard: GuardState,
  exchange: Exchange,
  judged: Judgement,
  pass: (sent: Call) => void,
  stop = (refusal: Refusal): void => refuse(guard, exchange, refusal),
): void {
  const judgement = withinLimits(exchange, judged);
  const { call, verdict, sent, passes } = judgement;
  exchange.call = sent;
  exchange.changeAnswer = changeOf(guard, judgement);
  guard.metrics.decision(call.operation.id, verdict.effect, verdict.code);
  const written = (failure: Error | undefined): void => {
    try {
      if (failure !== undefined && !mayPassUnrecorded(guard, call)) {
        stop(new Refusal(503, 'audit', unrecorded(failure)));
      } else if (!exchange.socket.writable) {
        // Nobody is left to read the answer; a stream started now would have nobody to end it.
        exchange.cut?.('client-gone');
        finish(guard, exchange, 0, 'client-gone');
      } else if (!passes) {
        stop(refusalOf(judgement));
      } else {
        const absent = absentObject(judgement);
        if (absent === undefined) pass(sent);
        else stop(absent);
      }
    } catch (error) {
      // Rendering checks once more what it writes; the verdict is on record, so only the call itself fails.
      stop(toRefusal(guard, error));
    }
  };
  // What changes something must be on record even after a power loss; a denial changes nothing.
  const event = decisionEvent(judgement, guard.sequences.decided(judgement));
  guard.audit.record(event, written, passes && call.operation.writes);
}

/** What becomes of the answer to a call that passes: images of others are taken out, and what its rule redacts. */
export function changeOf(
  { ownership }: GuardState,
  { verdict: { redact }, sent }: Judgement,
): Exchange['changeAnswer'] {
  const isOwn = (id: string, labels: unknown): boolean => ownership?.isOwnImage(sent, id, labels) === true;
  return bothChanges(
    sent.ownAnswer === true ? ownImages(isOwn) : undefined,
    redact === undefined ? undefined : redactAnswer(redact, sent),
  );
}

/** audit.onFailure: what still passes when the record cannot be written. */
function mayPassUnrecorded(guard: GuardState, call: Call): boolean {
  return guard.config.audit.onFailure[call.operation.writes ? 'write' : 'read'] === 'allow';
}

/** INVARIANT: whatever a step throws ends here, as a denial on record, never as a pass and never as a crash. */
export function deny(guard: GuardState, exchange: Exchange, error: unknown): void {
  const refusal = exchange.unreadable ?? toRefusal(guard, error);
  const { request, reading } = exchange;
  // Nor is whoever sends what cannot be read.
  if (exchange.share === undefined)
    guard.rates.shareOf(guard.policy.current().policy, callerOf(exchange))?.admit();
  const operation = reading?.operation.id ?? '';
  guard.metrics.decision(operation, 'deny', refusal.code);
  const { policy, revision } = guard.policy.current();
  const kind = `${refusal.code} ${operation || (request.url ?? '')}`;
  const sequences =
    refusal.status >= 500
      ? undefined
      : guard.sequences.refused(exchange.client, sourcesFor(policy, exchange.client), exchange.id, kind);
  const event: DecisionEvent = {
    event: 'decision',
    call: exchange.id,
    client: exchange.client,
    sources: [],
    method: request.method ?? '',
    operation,
    apiVersion: reading?.apiVersion ?? '',
    params: reading?.path ?? {},
    target: request.url ?? '',
    facts: {},
    hazards: [],
    ...(sequences !== undefined && { sequences }),
    verdict: 'deny',
    enforced: true,
    rule: '',
    code: refusal.code,
    reason: refusal.message,
    rewrites: [],
    policy: revision,
  };
  guard.audit.record(event, () => refuse(guard, exchange, refusal));
}

export function toRefusal(guard: GuardState, error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  guard.log.error({ err: error }, 'a pipeline step failed; the call was denied');
  return new Refusal(500, 'internal', 'the guard could not judge this request, so it was denied');
}

export function decisionEvent(
  { call, sources, inspection, verdict, grounds }: Judgement,
  sequences: readonly SequenceFinding[] | undefined = inspection.sequences,
): DecisionEvent {
  return {
    event: 'decision',
    call: call.id,
    client: call.client,
    sources,
    method: call.operation.method,
    operation: call.operation.id,
    apiVersion: call.apiVersion,
    params: call.path,
    facts: inspection.facts,
    hazards: inspection.hazards.map(formatHazard),
    ...(inspection.sightings !== undefined && { indicators: inspection.sightings }),
    ...(sequences !== undefined && { sequences }),
    verdict: verdict.effect,
    enforced: !verdict.observe,
    rule: verdict.rule,
    code: verdict.code,
    reason: verdict.reason,
    rewrites: verdict.rewrites,
    policy: grounds.revision,
  };
}
