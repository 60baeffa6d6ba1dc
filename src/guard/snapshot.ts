import type { Call, Client, Owner } from '../docker/call.js';
import type { HeadReading } from '../docker/read.js';
import { Refusal } from '../docker/refusal.js';
import type { Snapshot } from '../policy/judge.js';
import type { Guard } from './guard.js';
import { withToken } from './identify.js';
import type { Quota } from './quotas.js';
import { sourcesFor } from '../policy/decide.js';

/** Everything that one call is judged by, taken at one moment: a reload in between must not mix two policies. */
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
  const { policy, revision } = guard.policy.current();
  const sources = sourcesFor(policy, caller);
  const hasOwners = policy.owners.length > 0;
  if (hasOwners && guard.ownership === undefined) throw NO_OWNERSHIP;
  return {
    client: caller,
    policy,
    revision,
    sources,
    index: guard.feeds.current().index,
    history: guard.history.view(caller, sources),
    owner: hasOwners ? guard.ownership?.ownerOf(policy, sources) : undefined,
    quota: policy.withQuotas.size === 0 ? undefined : guard.quotas.of(policy, caller),
  };
}

const NO_OWNERSHIP = new Refusal(
  503,
  'ownership',
  'the policy has rules about owners, but the configuration names no directory "ownership.state" to keep them in',
);

/** A call with what its caller is as an owner. */
export const ownedBy = (call: Call, { owner }: CallSnapshot): Call =>
  owner === undefined ? call : { ...call, owner };
