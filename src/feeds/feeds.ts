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
import { openIndexKeeper, type IndexKeeper } from './index-keeper.js';
import { indexPath, type IntelSnapshot } from './index-file.js';
import { buildInput } from './never-block.js';
import { earliestAttempt, nextAttempt } from './schedule.js';
import { statusOf, type FeedStatus } from './status.js';

/** The running feeds. */
export interface Feeds {
  /** What is in force. A new object after each change, so that its identity tells of one. */
  current(): IntelSnapshot;
  status(): readonly FeedStatus[];
  /** Asks every feed that may be asked now; resolves when what came is in force. */
  refresh(): Promise<void>;
  stop(): Promise<void>;
}

/** Between two looks at clock and files (ms), and after how many of them files are looked at. */
const TICK = 500;
const FILES_EVERY = 4;
/** Feeds that are asked at the same time: mostly they wait for a server. */
const AT_ONCE = 3;

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
    const left = await stat(indexPath(config.state)).catch(() => undefined);
    if (left !== undefined) {
      // It brings the readers of all feed formats along, which run in a process of their own otherwise.
      const { buildIndexFile } = await import('./build.js');
      const outcome = await buildIndexFile({
        kind: 'build',
        input: await buildInput(config, []),
        absent: [],
      });
      log.warn({ revision: outcome.revision }, 'feeds: no sources; nothing is listed any more');
    }
    return NO_FEEDS;
  }
  // Said before the first call: feeds that cannot be kept would come to nothing, again and again.
  await makeStateDirectory(config.state);
  const stopping = new AbortController();
  const feeds: Running[] = await Promise.all(
    config.sources.map(async (source) => {
      const meta = await readMeta(config.state, source.name).catch((error: Error) => {
        log.error({ feed: source.name }, error.message);
        return undefined;
      });
      const attempts = await readAttempts(config.state, source.name);
      return { source, meta: meta && summaryOf(meta), attempts, nextAt: 0, version: '', work: undefined };
    }),
  );
  const keeper = await openIndexKeeper(
    config,
    log,
    hooks,
    stopping.signal,
    feeds.some(({ meta }) => meta !== undefined),
  );

  const gate = limitConcurrency(AT_ONCE);
  let started = false;
  let fresh = false;
  const attempt = async (feed: Running): Promise<void> => {
    const { source } = feed;
    if (isFile(feed)) feed.version = await versionOf(feed);
    const outcome = await gate(() =>
      attemptRefresh(config, source, { acceptShrink: false, force: false, signal: stopping.signal }),
    );
    if (stopping.signal.aborted) return;
    tell(log, source, outcome);
    feed.attempts = outcome.attempts;
    feed.nextAt = nextAttempt(source, outcome.attempts, Math.random());
    if (outcome.kind === 'fresh' || outcome.kind === 'unchanged') feed.meta = outcome.meta;
    if (outcome.kind !== 'fresh') return;
    fresh = true;
    if (started) await keeper.rebuild();
  };
  /** One attempt at a time for each feed; never rejects. */
  const refreshOne = (feed: Running): Promise<void> => {
    feed.work ??= attempt(feed)
      .catch((error: Error) => {
        feed.nextAt = Date.now() + feed.source.minInterval;
        log.error({ feed: feed.source.name }, `the feed cannot be kept: ${error.message}`);
      })
      .finally(() => (feed.work = undefined));
    return feed.work;
  };

  // What stands on this host costs no waiting for a server: the first call meets it already.
  await Promise.all(
    feeds.map(async (feed) => {
      if (isFile(feed) && (await isNew(feed))) await refreshOne(feed);
      else feed.nextAt = nextAttempt(feed.source, feed.attempts, Math.random());
    }),
  );
  started = true;
  if (fresh) await keeper.rebuild();

  let ticks = 0;
  const tick = async (): Promise<void> => {
    const now = Date.now();
    for (const feed of feeds) {
      if (feed.work !== undefined) continue;
      const look = isFile(feed) && ticks % FILES_EVERY === 0;
      const damaged = keeper.built().some(({ name, error }) => name === feed.source.name && error !== '');
      // A damaged copy is fetched anew as soon as the server may be asked.
      const at = damaged ? earliestAttempt(feed.source, feed.attempts) : feed.nextAt;
      if (now < at && !(look && feed.version !== (await versionOf(feed)))) continue;
      void refreshOne(feed);
    }
    if (++ticks % FILES_EVERY === 0) await keeper.look();
  };
  let timer: NodeJS.Timeout | undefined;
  const schedule = (): void => {
    timer = setTimeout(() => {
      tick()
        .catch((error: Error) => log.error({}, `feeds: ${error.message}`))
        .finally(() => stopping.signal.aborted || schedule());
    }, TICK);
    timer.unref();
  };
  schedule();

  return {
    current: () => keeper.current(),
    status: () => feeds.map((feed) => statusNow(feed, keeper)),
    async refresh() {
      await Promise.all(feeds.map(refreshOne));
      await keeper.settle();
    },
    async stop() {
      stopping.abort();
      clearTimeout(timer);
      await Promise.all([keeper.settle(), ...feeds.map(({ work }) => work)]);
    },
  };
}

const NO_FEEDS: Feeds = {
  current: () => NOTHING,
  status: () => [],
  refresh: async () => undefined,
  stop: async () => undefined,
};
const NOTHING: IntelSnapshot = { index: EMPTY_INDEX, revision: '' };

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

function statusNow(feed: Running, keeper: IndexKeeper): FeedStatus {
  const built = keeper.built().find(({ name }) => name === feed.source.name);
  return statusOf(feed.source, feed.meta, feed.attempts, built, Date.now());
}

function tell(log: FeedLog, { name: feed }: FeedSource, outcome: AttemptOutcome): void {
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
