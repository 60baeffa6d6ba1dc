import type { FeedsConfig, FeedSource } from '../intel/feed-source.js';
import { readAttempts, writeAttempts, type Attempts, type CopySummary } from './copy.js';
import { FeedError } from './feed-error.js';
import { runJob } from './jobs.js';
import { earliestAttempt, recordAttempt } from './schedule.js';

/** The outcome of an attempt to refresh a feed. */
export type AttemptOutcome =
  | { readonly kind: 'fresh' | 'unchanged'; readonly attempts: Attempts; readonly meta: CopySummary }
  | { readonly kind: 'failed'; readonly attempts: Attempts; readonly message: string }
  /** The last request was so recent that the next one has to wait until then (ms since 1970). */
  | { readonly kind: 'early'; readonly attempts: Attempts; readonly until: number };

export interface AttemptOptions {
  /** The user says that an empty or much smaller feed is right. */
  readonly acceptShrink: boolean;
  /** Do not wait until it may be asked again. */
  readonly force: boolean;
  readonly signal?: AbortSignal;
  readonly onBytes?: (bytes: number) => void;
}

/** Refreshes one feed in a process of its own, and keeps on disk how that went. Throws only when the state cannot be written. */
export async function attemptRefresh(
  config: FeedsConfig,
  source: FeedSource,
  options: AttemptOptions,
): Promise<AttemptOutcome> {
  const { state, limits } = config;
  // From disk: another process may have asked in the meantime.
  const before = await readAttempts(state, source.name);
  const until = source.url.startsWith('file:') ? 0 : earliestAttempt(source, before);
  if (!options.force && until > Date.now()) return { kind: 'early', attempts: before, until };

  const record = async (error: string, retryAfter: number): Promise<Attempts> => {
    const attempts = recordAttempt(before, Date.now(), error, retryAfter);
    await writeAttempts(state, source.name, attempts);
    return attempts;
  };
  try {
    const { hasChanged, meta } = await runJob<'refresh'>(
      { kind: 'refresh', state, source, limits, acceptShrink: options.acceptShrink },
      {
        memory: limits.memory,
        time: source.timeout + limits.time,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
        ...(options.onBytes === undefined ? {} : { onBytes: options.onBytes }),
      },
    );
    return { kind: hasChanged ? 'fresh' : 'unchanged', attempts: await record('', 0), meta };
  } catch (error) {
    const { message } = error as Error;
    // A stop is not a failure of the feed.
    if (options.signal?.aborted === true) return { kind: 'failed', attempts: before, message };
    const retryAfter = error instanceof FeedError ? error.retryAfter : 0;
    return { kind: 'failed', attempts: await record(message, retryAfter), message };
  }
}
