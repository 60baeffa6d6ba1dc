import { bufferBody } from '../capture/buffer-body.js';
import type { DecisionEvent } from '../audit/event.js';
import type { Call } from '../docker/call.js';
import { readCall, readHead } from '../docker/read.js';
import { Refusal } from '../docker/refusal.js';
import { inspect } from '../hazards/inspect.js';
import { formatHazard, type Inspection } from '../hazards/inspection.js';
import { decide } from '../policy/decide.js';
import type { Verdict } from '../policy/verdict.js';
import { bodyOf } from './body.js';
import type { Exchange } from './exchange.js';
import { finish } from './finish.js';
import { forward } from './forward.js';
import { withToken } from './identify.js';
import { refuse } from './refuse.js';
import { sourcesFor, type GuardState } from './state.js';
import { tunnel } from './tunnel.js';

/*
 * The way a request travels:
 *
 *   listen → identify → capture → read → inspect → decide → rewrite → audit → forward | refuse → audit(outcome)
 *
 * Every request takes it, upgraded ones too; there is no path around it. A throw in any step is a denial.
 */

/** listen and identify have happened (listen.ts); this takes the request from its head to the judgement. */
export function serve(guard: GuardState, exchange: Exchange): void {
  guard.metrics.streams += 1;
  if (guard.draining) {
    refuse(guard, exchange, new Refusal(503, 'shutting-down', 'the guard is shutting down'));
    return;
  }
  try {
    const { method = '', url = '', rawHeaders, httpVersion } = exchange.request;
    const reading = readHead({ method, target: url, rawHeaders, httpVersion }, guard.limits);
    exchange.reading = reading;
    if (reading.body === 'buffer' && reading.framing.kind !== 'none') {
      void capture(guard, exchange);
    } else {
      judge(guard, exchange, undefined);
    }
  } catch (error) {
    deny(guard, exchange, error);
  }
}

/** capture: bodies that are judged are read whole first; streamed ones stay on the connection until the verdict. */
async function capture(guard: GuardState, exchange: Exchange): Promise<void> {
  try {
    const framing = exchange.reading!.framing;
    const announced = framing.kind === 'length' ? framing.length : -1;
    const limits = { bytes: exchange.reading!.bufferLimit, timeout: guard.limits.bodyTimeout };
    const body = await bufferBody(bodyOf(exchange), announced, limits, guard.budget);
    exchange.held = body.length;
    exchange.bytesIn = body.length;
    judge(guard, exchange, body);
  } catch (error) {
    deny(guard, exchange, error);
  }
}

/** read → inspect → decide (and rewrite) → audit; the effect follows when the decision is on record. */
function judge(guard: GuardState, exchange: Exchange, body: Buffer | undefined): void {
  const reading = exchange.reading!;
  const client =
    reading.bearerToken === '' ? exchange.client : withToken(exchange.client, reading.bearerToken);
  // One snapshot for the whole call: a reload in between must not mix two policies.
  const { policy, revision } = guard.policy.current();

  const call = readCall(reading, body, exchange.id, client, guard.limits);
  const sources = sourcesFor(policy, client);
  const inspection = inspect(call);
  const verdict = decide(policy, call, sources, inspection);
  // INVARIANT: what is sent is the call that was judged: a rule with a rewrite is judged on its own result.
  const sent = verdict.call ?? call;
  exchange.call = sent;
  const passes = verdict.effect === 'allow' || verdict.observe;

  guard.metrics.decision(call.operation.id, verdict.effect, verdict.code);
  guard.audit.record(decisionEvent(call, sources, inspection, verdict, revision), (failure) => {
    try {
      if (failure !== undefined && !mayPassUnrecorded(guard, call)) {
        refuse(
          guard,
          exchange,
          new Refusal(503, 'audit', 'the audit trail cannot be written, so the call was not made'),
        );
      } else if (!exchange.socket.writable) {
        // Nobody is left to read the answer; a stream started now would have nobody to end it.
        finish(guard, exchange, 0, 'client-gone');
      } else if (!passes) {
        refuse(guard, exchange, new Refusal(403, verdict.code, verdict.reason));
      } else if (guard.metrics.streams > guard.config.upstream.maxConnections) {
        refuse(
          guard,
          exchange,
          new Refusal(503, 'upstream-busy', 'too many calls at once (upstream.maxConnections)'),
        );
      } else if (call.operation.response === 'hijack') {
        tunnel(guard, exchange, sent);
      } else {
        forward(guard, exchange, sent);
      }
    } catch (error) {
      // Rendering checks once more what it writes; the verdict is on record, so only the call itself fails.
      refuse(guard, exchange, toRefusal(guard, error));
    }
  });
}

/** audit.onFailure: what still passes when the record cannot be written. */
function mayPassUnrecorded(guard: GuardState, call: Call): boolean {
  return guard.config.audit.onFailure[call.operation.writes ? 'write' : 'read'] === 'allow';
}

/** INVARIANT: whatever a step throws ends here, as a denial on record, never as a pass and never as a crash. */
function deny(guard: GuardState, exchange: Exchange, error: unknown): void {
  const refusal = exchange.unreadable ?? toRefusal(guard, error);
  const { request, reading } = exchange;
  const operation = reading?.operation.id ?? '';
  guard.metrics.decision(operation, 'deny', refusal.code);
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
    verdict: 'deny',
    enforced: true,
    rule: '',
    code: refusal.code,
    reason: refusal.message,
    rewrites: [],
    policy: guard.policy.current().revision,
  };
  guard.audit.record(event, () => refuse(guard, exchange, refusal));
}

function toRefusal(guard: GuardState, error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  guard.log.error({ err: error }, 'a pipeline step failed; the call was denied');
  return new Refusal(500, 'internal', 'the guard could not judge this request, so it was denied');
}

function decisionEvent(
  call: Call,
  sources: readonly string[],
  inspection: Inspection,
  verdict: Verdict,
  revision: string,
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
    verdict: verdict.effect,
    enforced: !verdict.observe,
    rule: verdict.rule,
    code: verdict.code,
    reason: verdict.reason,
    rewrites: verdict.rewrites,
    policy: revision,
  };
}
