import { setImmediate } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { AuditWriter } from '../audit/writer.js';
import type { BodyBudget } from '../capture/buffer-body.js';
import type { Config } from '../config/config.js';
import type { PolicyStore } from '../config/policy-store.js';
import type { Call } from '../docker/call.js';
import type { ReadLimits } from '../docker/read.js';
import { Refusal } from '../docker/refusal.js';
import type { Feeds } from '../feeds/feeds.js';
import type { Sequences } from '../history/sequences.js';
import type { Ownership } from '../ownership/ownership.js';
import type { Engine } from '../upstream/engine.js';
import type { EntityReader } from '../upstream/entity-reader.js';
import type { HostRoot } from '../upstream/host-paths.js';
import type { End } from './outcome.js';
import type { Quotas } from './quotas.js';

/** What every call of one guard shares. */
export interface Guard {
  readonly config: Config;
  readonly limits: ReadLimits & {
    readonly bodyTimeout: number;
    readonly bodyIdle: number;
    readonly context: number;
  };
  readonly engine: Engine;
  /** Where the file system of the engine's host is; undefined where the guard cannot see it. */
  readonly hostRoot: HostRoot;
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
  /** Sees the answers to calls that make containers; undefined where nothing needs to know. */
  readonly creators: CreatorsWatch | undefined;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/** Learns from answers which call made which container. */
export interface CreatorsWatch {
  watch(call: Call, sources: readonly string[]): ((piece: Buffer) => void) | undefined;
}

export const STOPPING = new Refusal(503, 'shutting-down', 'the guard is shutting down');

export const TOO_MANY = new Refusal(503, 'upstream-busy', 'too many calls at once (upstream.maxConnections)');

/** Counts the calls that are on their way, streams included, and bounds how many of them may hold the engine. */
export class Admission {
  /** Calls on their way now. */
  open = 0;
  /** New calls are refused; running ones finish. */
  isClosed = false;
  /** Calls at once that may be sent to the engine (`upstream.maxConnections`). */
  readonly max: number;
  /** Called when the last call has ended. */
  onIdle: (() => void) | undefined;

  constructor(max: number) {
    this.max = max;
  }

  /** Takes no new calls any more. Resolves when none is on its way, or after `deadline` milliseconds. */
  drain(deadline: number): Promise<void> {
    this.isClosed = true;
    if (this.open === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, deadline);
      this.onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Lets calls that came in one turn of the event loop go on together, and writes what they put on record at once. */
export class Turn {
  /** Of the calls of this turn; undefined before the first of them. */
  #ended: Promise<void> | undefined;
  readonly #audit: AuditWriter;

  constructor(audit: AuditWriter) {
    this.#audit = audit;
  }

  /** Resolves when everything that has arrived in this turn is parsed. */
  end(): Promise<void> {
    return (this.#ended ??= setImmediate().then(this.#release));
  }

  readonly #flush = (): void => this.#audit.flush();

  readonly #release = (): void => {
    this.#ended = undefined;
    // A tick that is asked for in a microtask runs when all microtasks have: the calls have done what they can.
    process.nextTick(this.#flush);
  };
}

/** What the guard counts: plain numbers, which are rendered only for a scrape. */
export class Metrics {
  /** By operation, and by `allow` or `deny CODE`. */
  readonly decisions = new Map<string, Map<string, number>>();
  /** By `END STATUSxx`. */
  readonly outcomes = new Map<string, number>();
  readonly clientErrors = new Map<string, number>();
  /** By `SOURCE LIMIT`. */
  readonly overLimits = new Map<string, number>();
  readonly reloads = { ok: 0, failed: 0 };
  readonly connections = { open: 0, accepted: 0, dropped: 0 };
  readonly bytes = { in: 0, out: 0 };

  decision(operation: string, verdict: string, code: string): void {
    let byCode = this.decisions.get(operation);
    if (byCode === undefined) this.decisions.set(operation, (byCode = new Map<string, number>()));
    const key = verdict === 'allow' ? 'allow' : `deny ${code}`;
    byCode.set(key, (byCode.get(key) ?? 0) + 1);
  }

  outcome(end: End, status: number): void {
    const key = end === 'complete' && status < 400 ? 'complete' : `${end} ${Math.floor(status / 100)}xx`;
    this.outcomes.set(key, (this.outcomes.get(key) ?? 0) + 1);
  }

  /** A connection that sent something that is not HTTP, or was too slow or too large, by reason. */
  clientError(reason: string): void {
    add(this.clientErrors, reason);
  }

  reload(ok: boolean): void {
    this.reloads[ok ? 'ok' : 'failed'] += 1;
  }

  /** A call was over a rate limit. The labels are names of the policy: clients cannot add any. */
  overLimit(source: string, limit: string): void {
    add(this.overLimits, `${source} ${limit}`);
  }
}

const add = (counts: Map<string, number>, key: string): void =>
  void counts.set(key, (counts.get(key) ?? 0) + 1);
