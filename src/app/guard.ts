import { hostname } from 'node:os';
import { join } from 'node:path';
import pino, { type Logger } from 'pino';
import { withAlerts } from '../audit/alerts.js';
import { openJournal } from '../audit/journal.js';
import type { Sinks } from '../audit/sinks/sinks.js';
import { openAuditWriter, type AuditWriter } from '../audit/writer.js';
import { openBodyBudget } from '../capture/buffer-body.js';
import type { AuditConfig } from '../config/audit-config.js';
import type { Config } from '../config/config.js';
import type { EgressConfig } from '../config/egress-config.js';
import { openPolicyStore, type PolicyStore } from '../config/policy-store.js';
import type { RequestEngine } from '../docker/engine-answer.js';
import { VOCABULARY } from '../policy/vocabulary.js';
import { openEngine } from '../upstream/engine.js';
import { requestEngine } from '../upstream/request-engine.js';
import { openAdmin } from './admin.js';
import { bind } from './bind.js';
import { openFeeds } from './feeds.js';
import { holdState } from './hold-state.js';
import { openQuotas } from '../guard/quotas.js';
import { openListener, type Listener } from '../guard/listen.js';
import { openOwnership } from '../ownership/ownership.js';
import type { OutboundOptions } from './outbound/outbound.js';
import { openSequences } from '../history/sequences.js';
import type { AdminGuard } from './admin.js';
import { Admission, Metrics, Turn } from '../guard/guard.js';
import { openEntityReader } from '../upstream/entity-reader.js';
import { openHostRoot } from '../upstream/host-paths.js';
import { VERSION } from './version.js';

/** As an upstream URL: the in-memory engine for trying out. */
export const TRIAL_ENGINE = 'trial:';

/** At a stop, receivers get what is left within this time; the rest is sent after the next start (milliseconds). */
const SINKS_FLUSH = 5_000;

export interface GuardOptions {
  readonly config: Config;
  /** The process log (not the audit trail); default: warnings to stderr. */
  readonly log?: Logger;
  /** The admin address is the default: a busy port is then a warning, not an error. */
  readonly adminOptional?: boolean;
  /** The clock of rate limits: milliseconds that never go back; default `performance.now`. */
  readonly clock?: () => number;
}

export interface RunningGuard {
  readonly listeners: readonly { readonly name: string; readonly url: string }[];
  /** URL of the admin listener, or undefined when it is switched off. */
  readonly adminUrl: string | undefined;
  /** Looks at the policy files and the feeds now, and opens the audit file anew (after a rotation). */
  reload(): Promise<void>;
  /**
   * Graceful stop: takes no new calls, lets running ones finish until the deadline, then cuts what is left.
   *
   * @param deadline milliseconds; default `limits.drain`.
   */
  close(deadline?: number): Promise<void>;
}

/**
 * Starts a guard: policy, audit, engine, listeners, admin. Whatever fails here fails before the first call is taken.
 *
 * @throws Error with one readable line when the policy, a file or an address cannot be used.
 */
export async function startGuard(options: GuardOptions): Promise<RunningGuard> {
  const opened = new Opened();
  try {
    return await openGuard(options, opened);
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** What has to be closed again, in the order in which it was opened: at a stop, and when the start fails half-way. */
class Opened {
  readonly #steps: (() => unknown)[] = [];

  add(close: () => unknown): void {
    this.#steps.push(close);
  }

  /** The last comes first. */
  async close(): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) await step();
  }
}

async function openGuard(options: GuardOptions, opened: Opened): Promise<RunningGuard> {
  const { config } = options;
  const log = options.log ?? pino({ level: 'warn' }, pino.destination(2));
  const warn = (message: string): void => log.warn(message);
  const metrics = new Metrics();
  const policy = await openPolicyStore(config.policy, VOCABULARY, (event) => {
    metrics.reload(event.ok);
    if (event.ok) {
      log.info({ revision: event.revision }, 'policy loaded');
      // Calls are refused without it: otherwise objects of one owner could be shown to another.
      if (config.ownership === null && event.snapshot.policy.owners.length > 0) log.error(NO_STATE);
    } else
      log.error(
        { problems: event.problems },
        'the changed policy does not load; the last good one stays in force',
      );
  });
  opened.add(() => policy.close());
  if (lacksState(config, policy)) throw new Error(NO_STATE);
  // Before anything is read that another guard may be writing.
  opened.add(await holdState(config, warn));
  const feeds = await openFeeds(config, log);
  opened.add(() => feeds.stop());
  const { audit, sinks } = await openAudit(config.audit, warn);
  opened.add(async () => {
    // The calls that were cut write their outcome in the next turns.
    await pause(20);
    audit.close();
    await sinks?.stop(SINKS_FLUSH);
  });
  const trial =
    config.upstream.url === TRIAL_ENGINE
      ? await (await import('../trial-engine/engine.js')).startTrialEngine()
      : undefined;
  if (trial !== undefined) opened.add(() => trial.close());
  const engine = openEngine(trial === undefined ? config.upstream : { ...config.upstream, url: trial.url });
  opened.add(() => engine.destroy());
  const request: RequestEngine = (...args) => requestEngine(engine, ...args);
  const ownership =
    config.ownership === null ? undefined : openOwnership(config.ownership.state, request, warn);
  opened.add(() => ownership?.close());
  const outbound =
    config.egress === null || trial !== undefined
      ? undefined
      : (await import('./outbound/outbound.js')).openOutbound(
          outboundOptions(config.egress),
          engine,
          audit,
          warn,
        );
  opened.add(() => outbound?.stop());
  const guard: AdminGuard = {
    config,
    limits: {
      target: config.limits.target,
      jsonDepth: config.limits.jsonDepth,
      jsonBody: config.limits.body,
      bodyTimeout: config.limits.bodyTimeout,
      bodyIdle: config.limits.bodyIdle,
      context: config.limits.context,
    },
    engine,
    hostRoot: trial === undefined ? openHostRoot(config.upstream.url, config.upstream.hostRoot) : '/',
    policy,
    feeds,
    ownership,
    audit,
    sinks,
    creators: outbound?.creators,
    entities: openEntityReader(request),
    history: openSequences(config.sequences),
    budget: openBodyBudget(config.limits.buffered),
    quotas: openQuotas((source, limit) => metrics.overLimit(source, limit), options.clock),
    admission: new Admission(config.upstream.maxConnections),
    turn: new Turn(audit),
    metrics,
    log,
  };

  const listeners: Listener[] = [];
  opened.add(() => {
    for (const listener of listeners) {
      listener.close();
      listener.destroy();
    }
  });
  for (const listen of config.listen) listeners.push(await openListener(listen, guard, bind));
  const admin =
    config.admin === null
      ? undefined
      : await openAdmin(guard, config.admin.url).catch((error: Error) => {
          if (options.adminOptional !== true) throw error;
          log.warn(`${error.message}; going on without /healthz, /readyz and /metrics`);
          return undefined;
        });
  return {
    listeners: listeners.map(({ name, url }) => ({ name, url })),
    adminUrl: admin?.url,
    async reload() {
      try {
        audit.reopen();
      } catch (error) {
        log.error({ err: error }, 'the audit file cannot be opened anew; the old one stays in use');
      }
      await Promise.all([policy.reload(), feeds.refresh()]);
    },
    async close(deadline = config.limits.drain) {
      const until = performance.now() + deadline;
      const drained = guard.admission.drain(deadline);
      for (const listener of listeners) listener.close();
      await drained;
      // The end of an answer is on its way until its client has taken it.
      while (performance.now() < until && listeners.some(({ isWriting }) => isWriting))
        await pause(FLUSH_CHECK);
      admin?.server.close();
      admin?.server.closeAllConnections();
      await opened.close();
    },
  };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** How often a stop looks whether the last answers have left (ms). */
const FLUSH_CHECK = 20;

const NO_STATE =
  'the policy has rules about owners: say in the configuration where it is kept who owns what, "ownership": {"state": "DIRECTORY"}';

const lacksState = (config: Config, policy: PolicyStore): boolean =>
  config.ownership === null && policy.current.policy.owners.length > 0;

async function openAudit(
  { journal, file, alerts }: AuditConfig,
  warn: (message: string) => void,
): Promise<{ readonly audit: AuditWriter; readonly sinks: Sinks | undefined }> {
  const summed = (writer: AuditWriter): AuditWriter =>
    alerts === null ? writer : withAlerts(writer, alerts);
  if (journal === null) return { audit: summed(openAuditWriter(file)), sinks: undefined };
  let sinks: Sinks | undefined;
  const { directory, key, rotate, keep, onFull, checkpoint, timeout } = journal;
  const audit = openJournal({
    directory,
    key,
    segmentSize: rotate.size,
    segmentAge: rotate.age,
    retention: {
      ...keep,
      onFull,
      needed: () => sinks?.needed() ?? (journal.sinks.length > 0 ? 0 : Infinity),
    },
    checkpointRecords: checkpoint.records,
    checkpointInterval: checkpoint.interval,
    timeout,
    warn,
  });
  if (journal.sinks.length > 0) {
    // Loaded where it is used: the HTTP client alone takes 20 MB.
    const { openSinks } = await import('../audit/sinks/sinks.js');
    sinks = openSinks(journal.sinks, audit, { version: VERSION, host: hostname() }, warn);
    audit.onRecords(() => sinks?.wake());
  }
  return { audit: summed(audit), sinks };
}

/** The guard's own files lie in the directory of the attempts. */
function outboundOptions({ attempts, onHit }: EgressConfig): OutboundOptions {
  return { attempts: attempts.directory, creators: join(attempts.directory, 'creators.jsonl'), onHit };
}
