import { parseUrl } from '../intel/canonical-host.js';
import type { FeedSource } from '../intel/feed-source.js';
import type { IndicatorAction } from '../intel/indicator.js';
import type { FeedBuild } from './build.js';
import type { Attempts, CopySummary } from './copy.js';
import { isStale, nextAttempt } from './schedule.js';

/** How one feed is doing. Times in ms since 1970, 0 where there is none. */
export interface FeedStatus {
  readonly name: string;
  /** Without its query, which may hold a key. */
  readonly url: string;
  readonly type: string;
  /** As named, or as found. */
  readonly format: string;
  readonly action: IndicatorAction;
  /** Indicators of the last good copy, before confidence, age and the lists of exceptions count. */
  readonly indicators: number;
  /** What became of them in the index; undefined when this process did not build it. */
  readonly built: FeedBuild | undefined;
  /** When the last good copy was fetched. */
  readonly fetchedAt: number;
  /** When the feed last said that there is nothing newer, or gave something newer. */
  readonly checkedAt: number;
  readonly nextAt: number;
  /** The feed did not answer well for three times its refresh interval; its last good copy is enforced all the same. */
  readonly stale: boolean;
  /** There is a last good copy. */
  readonly hasData: boolean;
  /** Entries of the last good copy that could not be read, and examples. */
  readonly rejected: number;
  readonly problems: readonly string[];
  /** Why the last attempt failed; empty when it did not. */
  readonly error: string;
}

export function statusOf(
  source: FeedSource,
  meta: CopySummary | undefined,
  attempts: Attempts,
  built: FeedBuild | undefined,
  now: number,
): FeedStatus {
  const checkedAt = meta?.checkedAt ?? 0;
  return {
    name: source.name,
    url: shownUrl(source.url),
    type: source.type,
    format: meta?.format ?? source.format,
    action: source.action,
    indicators: meta?.indicators ?? 0,
    built,
    fetchedAt: meta?.fetchedAt ?? 0,
    checkedAt,
    nextAt: nextAttempt(source, attempts, 0.5),
    stale: isStale(source, checkedAt, now),
    hasData: meta !== undefined,
    rejected: meta?.rejected ?? 0,
    problems: meta?.problems ?? [],
    error: attempts.error || (built?.error ?? ''),
  };
}

/** A URL as it may be shown: without its query, which may hold a key. */
export function shownUrl(url: string): string {
  const parsed = parseUrl(url);
  if (parsed === undefined) return '';
  return `${parsed.protocol}//${parsed.host}${parsed.pathname}${parsed.search === '' ? '' : '?…'}`;
}
