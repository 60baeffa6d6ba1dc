import type { Logger } from 'pino';
import type { Sinks } from '../audit/sinks/sinks.js';
import type { AuditWriter } from '../audit/writer.js';
import type { BodyBudget } from '../capture/body-budget.js';
import type { Config } from '../config/config.js';
import type { PolicyStore } from '../config/policy-store.js';
import type { Call, Client } from '../docker/call.js';
import type { ReadLimits } from '../docker/read.js';
import type { CompiledPolicy } from '../policy/compiled.js';
import { sourcesOf } from '../policy/decide.js';
import type { Feeds } from '../feeds/feeds.js';
import type { Engine } from '../upstream/engine.js';
import type { RateLimits } from './limits.js';
import type { Metrics } from './metrics.js';
import type { Ownership } from '../ownership/ownership.js';
import { together } from '../docker/answers/scan.js';
import type { Sequences } from '../history/sequences.js';

/** Learns from the engine's answers to calls. */
interface AnswerWatcher {
  /** What has to see the pieces of the engine's answer to this call; undefined for most calls. */
  watch(call: Call, sources: readonly string[]): ((piece: Buffer) => void) | undefined;
}

/** What every call of one guard shares. */
export interface GuardState {
  readonly config: Config;
  readonly limits: ReadLimits & {
    readonly bodyTimeout: number;
    readonly bodyIdle: number;
    readonly context: number;
  };
  readonly engine: Engine;
  /** The engine is on this host (a unix socket), so that its paths are the guard's paths. */
  readonly engineIsLocal: boolean;
  readonly policy: PolicyStore;
  /** The indicators in force: a call takes `current()` once. */
  readonly feeds: Feeds;
  /** Who owns what; undefined where the configuration has no place for it. */
  readonly ownership: Ownership | undefined;
  readonly audit: AuditWriter;
  /** Who sends the audit journal on; undefined without `audit.sinks`. */
  readonly sinks: Sinks | undefined;
  readonly budget: BodyBudget;
  /** Remembers which call made which container; undefined without `egress`. */
  readonly creators: AnswerWatcher | undefined;
  readonly rates: RateLimits;
  /** What calls have done so far, and which attacks they add up to. */
  readonly sequences: Sequences;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** True once a stop was asked for: new calls are refused, running ones finish. */
  draining: boolean;
}

/** A connection keeps its sources until the policy changes. */
const known = new WeakMap<CompiledPolicy, WeakMap<Client, readonly string[]>>();

export function sourcesFor(policy: CompiledPolicy, client: Client): readonly string[] {
  let clients = known.get(policy);
  if (clients === undefined) known.set(policy, (clients = new WeakMap()));
  let sources = clients.get(client);
  if (sources === undefined) clients.set(client, (sources = sourcesOf(policy, client)));
  return sources;
}

/** Learns from the engine's answer: which containers and images came out of the call, and whose an image is that was pulled. */
export function watchAnswer(guard: GuardState, call: Call): ((piece: Buffer) => void) | undefined {
  const sources = sourcesFor(guard.policy.current().policy, call.client);
  return together([
    guard.creators?.watch(call, sources),
    guard.sequences.watch(call, sources),
    call.owner === undefined ? undefined : guard.ownership?.watch(call),
  ]);
}
