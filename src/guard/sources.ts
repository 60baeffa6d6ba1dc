import type { Client } from '../docker/call.js';
import type { CompiledPolicy } from '../policy/compiled.js';
import { sourcesOf } from '../policy/decide.js';

/** A connection keeps its sources until the policy changes. */
const known = new WeakMap<CompiledPolicy, WeakMap<Client, readonly string[]>>();

export function sourcesFor(policy: CompiledPolicy, client: Client): readonly string[] {
  let clients = known.get(policy);
  if (clients === undefined) known.set(policy, (clients = new WeakMap()));
  let sources = clients.get(client);
  if (sources === undefined) clients.set(client, (sources = sourcesOf(policy, client)));
  return sources;
}
