import type { DecisionEvent } from '../audit/event.js';
import { unrecorded } from '../audit/writer.js';
import type { Client } from '../docker/call.js';
import type { HeadReading } from '../docker/read.js';
import { Refusal } from '../docker/refusal.js';
import { shownTarget } from '../docker/shown-target.js';
import { formatHazard } from '../hazards/inspection.js';
import type { Judgement } from '../policy/judge.js';
import { hideArguments } from '../policy/denial.js';
import type { Guard } from './guard.js';
import { nextCallId, type Incoming } from './incoming.js';
import type { Outcome } from './outcome.js';
import { sourcesFor } from '../policy/decide.js';

/**
 * Puts a judgement on record. Resolves when it is written: only then may it take effect.
 *
 * @param sequences attacks in several calls that the history finds it to be part of.
 * @throws Refusal 503 when it cannot be written and `audit.onFailure` does not let the call pass without.
 */
export async function recordDecision(
  guard: Guard,
  { call, snapshot, inspection, verdict, passes }: Judgement,
  sequences: DecisionEvent['sequences'],
): Promise<void> {
  guard.metrics.decision(call.operation.id, verdict.effect, verdict.code);
  // Hazards and facts are what they are with the arguments in their place.
  const hide = call.query['buildargs'] === undefined ? undefined : hideArguments(call);
  const event: DecisionEvent = {
    event: 'decision',
    call: call.id,
    client: call.client,
    sources: snapshot.sources,
    method: call.operation.method,
    operation: call.operation.id,
    apiVersion: call.apiVersion,
    params: call.path,
    facts: hide === undefined ? inspection.facts : hiddenFacts(inspection.facts, hide),
    hazards:
      hide === undefined
        ? inspection.hazards.map(formatHazard)
        : inspection.hazards.map((hazard) => hide(formatHazard(hazard))),
    ...(inspection.matches !== undefined && { indicators: inspection.matches }),
    ...(sequences !== undefined && { sequences }),
    verdict: verdict.effect,
    enforced: !verdict.observe,
    rule: verdict.rule,
    code: verdict.code,
    reason: hide === undefined ? verdict.reason : hide(verdict.reason),
    rewrites: verdict.rewrites,
    policy: snapshot.revision,
  };
  const { writes } = call.operation;
  // What changes something must be on record even after a power loss; a denial changes nothing.
  const failure = await new Promise<Error | undefined>((resolve) =>
    guard.audit.record(event, resolve, passes && writes),
  );
  if (failure !== undefined && guard.config.audit.onFailure[writes ? 'write' : 'read'] !== 'allow')
    throw new Refusal(503, 'audit', unrecorded(failure));
}

/**
 * Puts on record that a request was denied because it could not be read or judged. Resolves whether it could be written
 * or not: a denial needs no permission.
 *
 * @param head as far as the request could be read.
 */
export function recordUnread(
  guard: Guard,
  { id, client, head: { method, target } }: Pick<Incoming, 'id' | 'client' | 'head'>,
  head: HeadReading | undefined,
  refusal: Refusal,
): Promise<void> {
  const operation = head?.operation.id ?? '';
  guard.metrics.decision(operation, 'deny', refusal.code);
  const { policy, revision } = guard.policy.current;
  const kind = `${refusal.code} ${operation || target}`;
  const sequences =
    refusal.status >= 500 ? undefined : guard.history.refused(client, sourcesFor(policy, client), id, kind);
  const event = unreadEvent({
    ...{ call: id, client, method, operation, target, code: refusal.code, reason: refusal.message },
    apiVersion: head?.apiVersion ?? '',
    params: head?.path ?? {},
    policy: revision,
    ...(sequences !== undefined && { sequences }),
  });
  return new Promise((resolve) => guard.audit.record(event, () => resolve()));
}

/** Input that never became a request is a denial on record too: probing shows there first. */
export function recordInput(
  guard: Guard,
  code: string,
  reason: string,
  client: Client,
  target: string,
): void {
  const call = nextCallId();
  const { policy, revision } = guard.policy.current;
  const sequences = guard.history.refused(client, sourcesFor(policy, client), call, code);
  guard.metrics.clientError(code);
  guard.audit.record(
    unreadEvent({
      ...{ call, client, method: '', operation: '', target, code, reason, apiVersion: '', params: {} },
      policy: revision,
      ...(sequences !== undefined && { sequences }),
    }),
  );
}

/** Puts on record how a call ended; once for each call. */
export function recordOutcome(
  guard: Guard,
  { id, started }: Pick<Incoming, 'id' | 'started'>,
  operation: string,
  { status, end, bytesIn, bytesOut }: Outcome,
): void {
  guard.history.ended(id);
  guard.metrics.outcome(end, status);
  guard.metrics.bytes.in += bytesIn;
  guard.metrics.bytes.out += bytesOut;
  const duration = Math.round((performance.now() - started) * 1000) / 1000;
  guard.audit.record({ event: 'outcome', call: id, operation, status, end, duration, bytesIn, bytesOut });
}

type Unread = 'call' | 'client' | 'method' | 'operation' | 'apiVersion' | 'params' | 'target';

/** A denial of what was not judged: nothing but the head is known, at most. */
const unreadEvent = (
  known: Pick<DecisionEvent, Unread | 'code' | 'reason' | 'policy' | 'sequences'>,
): DecisionEvent => ({
  event: 'decision',
  sources: [],
  facts: {},
  hazards: [],
  verdict: 'deny',
  enforced: true,
  rule: '',
  rewrites: [],
  ...known,
  ...(known.target !== undefined && { target: shownTarget(known.target) }),
});

const hiddenFacts = (facts: DecisionEvent['facts'], hide: (text: string) => string): DecisionEvent['facts'] =>
  Object.fromEntries(
    Object.entries(facts).map(([name, value]) => [
      name,
      typeof value === 'string' ? hide(value) : Array.isArray(value) ? value.map(hide) : value,
    ]),
  );
