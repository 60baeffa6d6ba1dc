import type { FeedSource } from '../intel/feed-source.js';
import type { Attempts } from './copy.js';

/** A feed is stale when it did not answer well for so many refresh intervals. */
const STALE_AFTER = 3;
/** A refresh comes up to a tenth early or late, so that not all guards ask at the same moment. */
const JITTER = 0.1;

/**
 * How attempts stand after one more.
 *
 * @param error empty when it went well.
 * @param retryAfter what the server asked for (ms); 0 if it did not.
 */
export function recordAttempt(before: Attempts, now: number, error: string, retryAfter: number): Attempts {
  return {
    attemptedAt: now,
    failures: error === '' ? 0 : before.failures + 1,
    notBefore: retryAfter > 0 ? now + retryAfter : 0,
    error,
  };
}

/**
 * When a feed is to be asked again, in ms since 1970: after `refresh`, give or take; after a failure sooner, but later
 * with each one; never before the server wants it.
 *
 * @param random from 0 to 1.
 */
export function nextAttempt(
  source: Pick<FeedSource, 'refresh' | 'minInterval'>,
  attempts: Attempts,
  random: number,
): number {
  if (attempts.attemptedAt === 0) return 0;
  const usual = source.refresh * (1 + JITTER * (2 * random - 1));
  const delay =
    attempts.failures === 0
      ? usual
      : Math.min(
          usual,
          source.minInterval * 2 ** Math.min(attempts.failures - 1, 30) * (1 + JITTER * random),
        );
  return Math.max(attempts.attemptedAt + Math.max(delay, source.minInterval), attempts.notBefore);
}

/** The earliest time of a request to a feed, whether it is scheduled or made by hand. */
export function earliestAttempt(source: Pick<FeedSource, 'minInterval'>, attempts: Attempts): number {
  if (attempts.attemptedAt === 0) return 0;
  return Math.max(attempts.attemptedAt + source.minInterval, attempts.notBefore);
}

/** @param checkedAt when the feed last answered well (ms since 1970). */
export function isStale(source: Pick<FeedSource, 'refresh'>, checkedAt: number, now: number): boolean {
  return now - checkedAt > STALE_AFTER * source.refresh;
}
