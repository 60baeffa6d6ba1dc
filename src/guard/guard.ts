import type { Logger } from 'pino';
import type { AuditWriter } from '../audit/writer.js';
import type { BodyBudget } from '../capture/body-budget.js';
import type { Config } from '../config/config.js';
import type { PolicyStore } from '../config/policy-store.js';
import type { Call } from '../docker/call.js';
import type { ReadLimits } from '../docker/read.js';
import type { Feeds } from '../feeds/feeds.js';
import type { Sequences } from '../history/sequences.js';
import type { Ownership } from '../ownership/ownership.js';
import type { Engine } from '../upstream/engine.js';
import type { EntityReader } from '../upstream/entity-reader.js';
import type { Admission } from './admission.js';
import type { Metrics } from './metrics.js';
import type { Quotas } from './quotas.js';
import type { Turn } from './turn.js';

/** What every call of one guard shares. */
export interface Guard {
  readonly config: Config;
  readonly limits: ReadLimits & {
    readonly bodyTimeout: number;
    readonly bodyIdle: number;
    readonly context: number;
  };
  readonly engine: Engine;
  /** The engine is on this host (a unix socket), so that its paths are the guard's paths. */
  readonly engineIsLocal: boolean;
  /** Reads what the engine has to say about objects. */
  readonly entities: EntityReader;
  readonly policy: PolicyStore;
  /** The indicators in force. */
  readonly feeds: Feeds;
  /** Who owns what; undefined where the configuration has no place for it. */
  readonly ownership: Ownership | undefined;
  /** What calls have done so far, and which attacks they add up to. */
  readonly history: Sequences;
  readonly audit: AuditWriter;
  readonly budget: BodyBudget;
  readonly quotas: Quotas;
  readonly admission: Admission;
  readonly turn: Turn;
  /** Sees the answers to calls that make containers; undefined where nobody needs to know. */
  readonly creators: CreatorsWatch | undefined;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/** Learns from answers which call made which container. */
export interface CreatorsWatch {
  watch(call: Call, sources: readonly string[]): ((piece: Buffer) => void) | undefined;
}
