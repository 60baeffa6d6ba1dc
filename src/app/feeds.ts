import type { Logger } from 'pino';
import type { Config } from '../config/config.js';
import { NO_FEEDS, startFeeds, type Feeds } from '../feeds/feeds.js';
import type { FeedStatus } from '../feeds/status.js';

/**
 * Starts the feeds of the config. Resolves when what was in force before the last stop is in force again. A guard that
 * is not configured for feeds leaves alone what others keep in the default directory.
 *
 * @throws Error when there are last good copies, but no index can be made of them.
 */
export async function openFeeds(config: Config, log: Logger): Promise<Feeds> {
  if (!config.ownsIndex) return NO_FEEDS;
  return startFeeds(config.feeds, log, { neverBlock: ownHosts(config) });
}

/** Hosts that the guard itself needs, which no feed may list. */
export function ownHosts(config: Config): string[] {
  return /^(?:tcp|tls):/.test(config.upstream.url) ? [new URL(config.upstream.url).hostname] : [];
}

/** One line for each feed that has nothing to enforce. */
export function withoutData(feeds: readonly FeedStatus[]): string[] {
  return feeds
    .filter(({ hasData }) => !hasData)
    .map(({ name, error }) => `feed ${name} has no data${error === '' ? ' yet' : `: ${error}`}`);
}

/** What `/healthz` says about the feeds. */
export function feedsHealth(feeds: Feeds): object {
  const { index, revision } = feeds.store.current;
  return {
    revision,
    indicators: index.counts,
    sources: feeds.status().map(({ name, indicators, built, fetchedAt, stale, error }) => ({
      name,
      indicators,
      listed: built?.listed ?? null,
      fetchedAt: fetchedAt === 0 ? null : new Date(fetchedAt),
      stale,
      error: error === '' ? null : error,
    })),
  };
}
