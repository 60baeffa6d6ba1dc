import { pendingContext, type Call, type Client, type Owner } from '../docker/call.js';
import { NO_ENTITIES } from '../docker/entities.js';
import { readCall, type HeadReading, type ReadLimits } from '../docker/read.js';
import { Refusal } from '../docker/refusal.js';
import { decideUnread, sourcesFor } from '../policy/decide.js';
import { judge, judgeExceeded, uninspected, type Judgement, type Snapshot } from '../policy/judge.js';
import type { Guard } from './guard.js';
import { withToken } from './identify.js';
import type { Quota } from './quotas.js';

/**
 * Everything that one call is judged by, taken at one moment: a reload in between must not mix two policies. A call that
 * waited for its body, its context or a lookup is judged by what is in force when it is judged.
 */
export interface CallSnapshot extends Snapshot {
  /** Who calls, with the bearer token of this request. */
  readonly client: Client;
  /** As an owner; undefined where the policy has no rules about owners. */
  readonly owner: Owner | undefined;
  /** The caller's part in the limits of its sources; undefined when none of them has limits. */
  readonly quota: Quota | undefined;
}

/** @throws Refusal 503 when the policy has rules about owners and nothing is configured to keep them. */
export function takeSnapshot(guard: Guard, client: Client, head: HeadReading): CallSnapshot {
  const caller = head.bearerToken === '' ? client : withToken(client, head.bearerToken);
  const { policy, revision } = guard.policy.current;
  const sources = sourcesFor(policy, caller);
  const hasOwners = policy.owners.length > 0;
  if (hasOwners && guard.ownership === undefined) throw NO_OWNERSHIP;
  return {
    client: caller,
    policy,
    revision,
    sources,
    index: guard.feeds.store.current.index,
    history: guard.history.view(caller, sources),
    owner: hasOwners ? guard.ownership?.ownerOf(policy, sources) : undefined,
    quota: policy.withQuotas.size === 0 ? undefined : guard.quotas.of(policy, caller),
  };
}

/** Another policy, or another index, has come into force since. */
export const isOutdated = (
  { policy: { current }, feeds }: Pick<Guard, 'policy' | 'feeds'>,
  { policy, index }: CallSnapshot,
): boolean => current.policy !== policy || feeds.store.current.index !== index;

/** The snapshot of a call that has waited. Its rate limits are those that it started with. @throws Refusal as takeSnapshot */
export const renewSnapshot = (guard: Guard, head: HeadReading, before: CallSnapshot): CallSnapshot => ({
  ...takeSnapshot(guard, before.client, head),
  client: before.client,
  quota: before.quota,
});

const NO_OWNERSHIP = new Refusal(
  503,
  'ownership',
  'the policy has rules about owners, but the configuration names no directory "ownership.state" to keep them in',
);

/**
 * Stops a call before anything of its body is read or decoded: its caller is over a rate limit, or no rule of the policy
 * lets this caller do this at all. Counts the call.
 *
 * @returns the denial; undefined when the call may go on.
 */
export function admit(
  id: string,
  head: HeadReading,
  snapshot: CallSnapshot,
  limits: ReadLimits,
): Judgement | undefined {
  const { policy, sources, client, quota } = snapshot;
  // Counted before it is judged: trying again and again what is denied is not free.
  const over = quota?.admit();
  if (over !== undefined) return judgeExceeded(uninspected(headAsCall(id, head, client), snapshot), over);
  const verdict = decideUnread(policy, { operation: head.operation, client }, sources);
  if (verdict === undefined) return undefined;
  // Where nothing has to be read for it, the record says what the call was about.
  if (head.body !== 'buffer')
    return judge(pendingContext(readCall(head, undefined, id, client, limits)), NO_ENTITIES, snapshot);
  return { ...uninspected(headAsCall(id, head, client), snapshot), verdict, passes: false };
}

const headAsCall = (id: string, head: HeadReading, client: Call['client']): Call => ({
  id,
  operation: head.operation,
  apiVersion: head.apiVersion,
  path: head.path,
  query: head.query,
  headers: head.headers,
  body: { kind: 'none' },
  unknown: head.unknown,
  upgrade: head.upgrade,
  client,
  work: head.work,
});
