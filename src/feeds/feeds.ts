import { stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { FeedsConfig, FeedSource } from '../intel/feed-source.js';
import { EMPTY_INDEX } from '../intel/indicator-index.js';
import { attemptRefresh, type AttemptOutcome } from './attempt.js';
import { fileVersion } from './collect-file.js';
import {
  makeStateDirectory,
  originOf,
  readAttempts,
  readMeta,
  summaryOf,
  type Attempts,
  type CopySummary,
} from './copy.js';
import type { FeedHooks, FeedLog } from './hooks.js';
import { openIndexStore, type IndexStore } from './index-store.js';
import { indexPath, type IntelSnapshot } from './index-file.js';
import { buildInput } from './never-block.js';
import { earliestAttempt, nextAttempt } from './schedule.js';
import { statusOf, type FeedStatus } from './status.js';

/** The running feeds. */
export interface Feeds {
  /** Holds the index in force: a new object after each change, so that a change shows in its identity. */
  readonly store: { readonly current: IntelSnapshot };
  status(): readonly FeedStatus[];
  /** Asks every feed that may be asked now; resolves when what came is in force. */
  refresh(): Promise<void>;
  stop(): Promise<void>;
}

/** Between two checks of clock and files. */
const TICK_MS = 500;
/** Files are checked after this many ticks. */
const FILE_TICKS = 4;
/** Feeds that are asked at the same time: mostly they wait for a server. */
const MAX_CONCURRENT = 3;

interface Running {
  readonly source: FeedSource;
  attempts: Attempts;
  meta: CopySummary | undefined;
  nextAt: number;
  /** Version of the file of the last attempt. */
  version: string;
  work: Promise<void> | undefined;
}

/**
 * Starts the feeds. What was in force before the last stop is in force again when this resolves, and so is what files
 * on this host say; what comes over the network is fetched in the background. Without sources nothing is listed: an index of
 * other times becomes an empty one, for the outbound process as well.
 * INVARIANT: a feed that fails, shrinks or lies takes nothing away that is in force.
 *
 * @throws Error when the state directory cannot be written, or there are last good copies but no index can be made of them.
 */
export async function startFeeds(config: FeedsConfig, log: FeedLog, hooks: FeedHooks): Promise<Feeds> {
  if (config.sources.length === 0) {
    await dropIndex(config, log);
    return NO_FEEDS;
  }
  // Said before the first call: feeds that cannot be kept would come to nothing, again and again.
  await makeStateDirectory(config.state);
  const feeds = await Promise.all(config.sources.map((source) => readFeed(config, source, log)));
  const stopping = new AbortController();
  const hasCopies = feeds.some(({ meta }) => meta !== undefined);
  const store = await openIndexStore({ config, log, hooks, signal: stopping.signal }, hasCopies);
  const running = new RunningFeeds(config, log, feeds, store, stopping);
  await running.start();
  return running;
}

/** Without sources an index of other times becomes an empty one. */
async function dropIndex(config: FeedsConfig, log: FeedLog): Promise<void> {
  const left = await stat(indexPath(config.state)).catch(() => undefined);
  if (left === undefined) return;
  // It brings the readers of all feed formats along, which run in a process of their own otherwise.
  const { buildIndexFile } = await import('./build.js');
  const outcome = await buildIndexFile({ kind: 'build', input: await buildInput(config, []), absent: [] });
  log.warn({ revision: outcome.revision }, 'feeds: no sources; nothing is listed any more');
}

async function readFeed(config: FeedsConfig, source: FeedSource, log: FeedLog): Promise<Running> {
  const meta = await readMeta(config.state, source.name).catch((error: Error) => {
    log.error({ feed: source.name }, error.message);
    return undefined;
  });
  const attempts = await readAttempts(config.state, source.name);
  return { source, meta: meta && summaryOf(meta), attempts, nextAt: 0, version: '', work: undefined };
}

class RunningFeeds implements Feeds {
  readonly #config: FeedsConfig;
  readonly #log: FeedLog;
  readonly #feeds: readonly Running[];
  readonly store: IndexStore;
  readonly #stopping: AbortController;
  readonly #limit = limitConcurrency(MAX_CONCURRENT);
  #isStarted = false;
  /** A new copy came during the start. */
  #hasNewCopy = false;
  #ticks = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    config: FeedsConfig,
    log: FeedLog,
    feeds: readonly Running[],
    store: IndexStore,
    stopping: AbortController,
  ) {
    this.#config = config;
    this.#log = log;
    this.#feeds = feeds;
    this.store = store;
    this.#stopping = stopping;
  }

  /** Feeds from files are loaded before the first call: they need no server. */
  async start(): Promise<void> {
    await Promise.all(
      this.#feeds.map(async (feed) => {
        if (isFile(feed) && (await isNew(feed))) await this.#refreshOne(feed);
        else feed.nextAt = nextAttempt(feed.source, feed.attempts, Math.random());
      }),
    );
    this.#isStarted = true;
    if (this.#hasNewCopy) await this.store.rebuild();
    this.#schedule();
  }

  status(): readonly FeedStatus[] {
    return this.#feeds.map((feed) => statusNow(feed, this.store));
  }

  async refresh(): Promise<void> {
    await Promise.all(this.#feeds.map((feed) => this.#refreshOne(feed)));
    await this.store.settle();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#timer);
    await Promise.all([this.store.settle(), ...this.#feeds.map(({ work }) => work)]);
  }

  /** One attempt at a time for each feed; never rejects. */
  #refreshOne(feed: Running): Promise<void> {
    feed.work ??= this.#attempt(feed)
      .catch((error: Error) => {
        feed.nextAt = Date.now() + feed.source.minInterval;
        this.#log.error({ feed: feed.source.name }, `the feed cannot be kept: ${error.message}`);
      })
      .finally(() => (feed.work = undefined));
    return feed.work;
  }

  async #attempt(feed: Running): Promise<void> {
    const { source } = feed;
    const { signal } = this.#stopping;
    if (isFile(feed)) feed.version = await versionOf(feed);
    const outcome = await this.#limit(() =>
      attemptRefresh(this.#config, source, { acceptShrink: false, force: false, signal }),
    );
    if (signal.aborted) return;
    logOutcome(this.#log, source, outcome);
    feed.attempts = outcome.attempts;
    feed.nextAt = nextAttempt(source, outcome.attempts, Math.random());
    if (outcome.kind === 'fresh' || outcome.kind === 'unchanged') feed.meta = outcome.meta;
    if (outcome.kind !== 'fresh') return;
    this.#hasNewCopy = true;
    if (this.#isStarted) await this.store.rebuild();
  }

  #schedule(): void {
    this.#timer = setTimeout(() => {
      this.#tick()
        .catch((error: Error) => this.#log.error({}, `feeds: ${error.message}`))
        .finally(() => this.#stopping.signal.aborted || this.#schedule());
    }, TICK_MS);
    this.#timer.unref();
  }

  async #tick(): Promise<void> {
    const now = Date.now();
    const looksAtFiles = this.#ticks % FILE_TICKS === 0;
    for (const feed of this.#feeds) {
      if (feed.work !== undefined) continue;
      const looks = isFile(feed) && looksAtFiles;
      if (now < this.#nextAt(feed) && !(looks && feed.version !== (await versionOf(feed)))) continue;
      void this.#refreshOne(feed);
    }
    this.#ticks += 1;
    if (this.#ticks % FILE_TICKS === 0) await this.store.look();
  }

  /** A damaged copy is fetched anew as soon as the server may be asked. */
  #nextAt(feed: Running): number {
    const { name } = feed.source;
    const isDamaged = this.store.built().some((feed) => feed.name === name && feed.error !== '');
    return isDamaged ? earliestAttempt(feed.source, feed.attempts) : feed.nextAt;
  }
}

/** Nothing is listed. */
export const NO_FEEDS: Feeds = {
  store: { current: { index: EMPTY_INDEX, revision: '' } },
  status: () => [],
  refresh: async () => undefined,
  stop: async () => undefined,
};

const isFile = ({ source }: Running): boolean => source.url.startsWith('file:');

/** Is the file another one than that of the last good copy? */
async function isNew(feed: Running): Promise<boolean> {
  feed.version = await versionOf(feed);
  return feed.meta?.etag !== feed.version || feed.meta.origin !== originOf(feed.source);
}

async function versionOf({ source }: Running): Promise<string> {
  const found = await stat(fileURLToPath(source.url), { bigint: true }).catch(() => undefined);
  return found === undefined ? 'missing' : fileVersion(found);
}

function statusNow(feed: Running, store: IndexStore): FeedStatus {
  const built = store.built().find(({ name }) => name === feed.source.name);
  return statusOf(feed.source, feed.meta, feed.attempts, built, Date.now());
}

function logOutcome(log: FeedLog, { name: feed }: FeedSource, outcome: AttemptOutcome): void {
  if (outcome.kind === 'failed') {
    const { failures } = outcome.attempts;
    log.warn({ feed, failures }, `feed ${feed}: ${outcome.message}; its last good copy stays in force`);
  } else if (outcome.kind === 'fresh') {
    const { indicators, rejected, format } = outcome.meta;
    log.info({ feed, indicators, rejected, format }, `feed ${feed}: new copy`);
  }
}

/** Runs so many pieces of work at a time; the others wait their turn. */
function limitConcurrency(width: number): <T>(work: () => Promise<T>) => Promise<T> {
  let free = width;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free++;
      else next();
    }
  };
}
