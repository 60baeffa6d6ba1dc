import { carriesContext, type Call } from '../docker/call.js';
import type { Entities } from '../docker/entities.js';
import { readCall, readHead } from '../docker/read.js';
import { Refusal } from '../docker/refusal.js';
import { judge, type Judgement } from '../policy/judge.js';
import { refusalOf } from '../policy/refusal.js';
import { admit, isOutdated, renewSnapshot, takeSnapshot } from './admit.js';
import { build } from './build.js';
import { capture } from './capture.js';
import { STOPPING, TOO_MANY, type Guard } from './guard.js';
import { Progress, type Incoming } from './incoming.js';
import { CallCut, type Outcome } from './outcome.js';
import { lookUp } from './look-up.js';
import { withinQuota } from './quotas.js';
import { recordDecision, recordOutcome, recordUnread } from './recorder.js';
import { relay } from './relay/relay.js';
import { tunnel } from './relay/tunnel.js';

/*
 * The way of a call. This file alone knows the order of the steps, and each step stands here once:
 *
 *   read head → snapshot → admit → capture → read → look up → judge → learn → record → relay | tunnel | refuse → record the outcome
 *
 * Every call takes it, whatever carried it; there is no path around it. A throw in any step is a denial.
 */

/** Takes a call from its head to its end. Never rejects. */
export async function handle(guard: Guard, incoming: Incoming): Promise<Outcome> {
  const progress = new Progress(guard);
  let outcome: Outcome;
  try {
    outcome = guard.admission.isClosed
      ? refuse(incoming, progress, STOPPING)
      : await carry(guard, incoming, progress);
  } catch (error) {
    outcome = await deny(guard, incoming, progress, error);
  }
  progress.end();
  recordOutcome(guard, incoming, progress.head?.operation.id ?? '', outcome);
  return outcome;
}

/** All steps that a call takes while nothing goes wrong with it. */
async function carry(guard: Guard, incoming: Incoming, progress: Progress): Promise<Outcome> {
  const { id, client } = incoming;
  const head = (progress.head = readHead(incoming.head, guard.limits));
  let snapshot = takeSnapshot(guard, client, head);
  const { quota } = snapshot;
  if (quota !== undefined) progress.hold(() => quota.close());
  const denied = admit(id, head, snapshot, guard.limits);
  if (denied !== undefined)
    return refuse(incoming, progress, (await settle(guard, incoming, denied)) ?? DENIED);

  const body = head.body === 'buffer' ? await capture(guard, incoming, head, snapshot, progress) : undefined;
  const read = readCall(head, body, id, snapshot.client, guard.limits);
  let call: Call;
  let entities: Entities;
  // INVARIANT: a call is judged by what is in force when it is judged, however long its body or a lookup took.
  for (;;) {
    const { owner } = snapshot;
    call = owner === undefined ? read : { ...read, owner };
    entities = await lookUp(guard, call, snapshot, progress);
    if (!isOutdated(guard, snapshot)) break;
    // The quota alone was held before.
    progress.letGo(quota === undefined ? 0 : 1);
    snapshot = renewSnapshot(guard, head, snapshot);
  }
  if (head.body === 'stream' && carriesContext(call)) {
    return build({ guard, incoming, head, call, entities, snapshot, progress }, (judgement) =>
      settle(guard, incoming, judgement),
    );
  }
  const judged = judge(call, entities, snapshot);
  const judgement = quota === undefined ? judged : withinQuota(judged, quota);
  const refusal = await settle(guard, incoming, judgement);
  if (refusal !== undefined) throw refusal;
  if (guard.admission.open > guard.admission.max) throw TOO_MANY;
  // The engine would make the volumes of a container itself, without an owner.
  await guard.ownership?.makeVolumes(judgement.sent, entities);
  const exchange = { guard, incoming, judgement, flow: quota?.flow, progress };
  if (judgement.sent.operation.response === 'hijack') return tunnel(exchange, head);
  return relay(exchange, head);
}

/**
 * Puts a judgement on record; from here on it takes effect.
 *
 * @returns what the client is refused with; undefined when the call goes to the engine.
 */
async function settle(guard: Guard, { reply }: Incoming, judgement: Judgement): Promise<Refusal | undefined> {
  reply.isDecided = true;
  // Before the record: of two calls of one turn, neither must miss the other.
  const sequences = guard.history.learn(judgement);
  await recordDecision(guard, judgement, sequences);
  // The client has gone: nothing would end a stream that is started now.
  if (!reply.isOpen) throw new CallCut('client-gone', GONE);
  // Only a call that names objects can pass and find one of them absent.
  return judgement.passes && judgement.entities.objects === undefined ? undefined : refusalOf(judgement);
}

const DENIED = new Refusal(403, 'denied', 'no rule allows this call');
const GONE = new Refusal(400, 'client-gone', 'the client has closed the connection');

/** INVARIANT: whatever a step throws ends here, as a denial on record, never as a pass and never as a crash. */
async function deny(guard: Guard, incoming: Incoming, progress: Progress, error: unknown): Promise<Outcome> {
  const { client, reply } = incoming;
  let refusal = toRefusal(guard, error);
  if (!reply.isDecided) {
    // A head that could not be read is the reason, whatever the carrier makes of what follows it.
    if (progress.head !== undefined) refusal = reply.unreadable ?? refusal;
    // Requests that cannot be read count against the caller's rate limits too.
    if (progress.head === undefined) guard.quotas.of(guard.policy.current.policy, client)?.admit();
    await recordUnread(guard, incoming, progress.head, refusal);
  }
  return refuse(incoming, progress, refusal);
}

function toRefusal(guard: Guard, error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  guard.log.error({ err: error }, 'a step of the pipeline failed; the call was denied');
  return new Refusal(500, 'internal', 'the guard could not judge this request, so it was denied');
}

function refuse({ id, reply }: Incoming, { bytesIn }: Progress, refusal: Refusal): Outcome {
  if (refusal instanceof CallCut) return { status: 0, end: refusal.end, bytesIn, bytesOut: 0 };
  const { status, bytes } = reply.refuse(refusal, id);
  return { status, end: 'refused', bytesIn, bytesOut: bytes };
}
