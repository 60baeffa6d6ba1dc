import type { FeedsConfig, FeedSource } from '../intel/feed-source.js';
import { attemptRefresh, type AttemptOutcome } from './attempt.js';
import type { BuildOutcome } from './build.js';
import { readMeta, readAttempts } from './copy.js';
import { runJob } from './jobs.js';
import { buildInput } from './never-block.js';
import { statusOf, type FeedStatus } from './status.js';

/** What is asked of a pull by hand. */
export interface PullOptions {
  /** Names of feeds; empty: all. */
  readonly names: readonly string[];
  /** Of these, an empty or much smaller version is right. */
  readonly acceptShrink: readonly string[];
  /** Ask also those that were asked less than `minInterval` ago. */
  readonly force: boolean;
  /** What the caller knows must stay reachable. */
  readonly neverBlock: readonly string[];
  readonly onBytes: (feed: string, bytes: number) => void;
  readonly onDone: (feed: string, outcome: AttemptOutcome) => void;
}

export interface PullResult {
  readonly outcomes: ReadonlyMap<string, AttemptOutcome>;
  readonly build: BuildOutcome;
}

/**
 * Refreshes feeds one after the other and builds the index. A guard that runs on the same state takes it over.
 *
 * @throws FeedError when the index cannot be built.
 */
export async function pullFeeds(config: FeedsConfig, options: PullOptions): Promise<PullResult> {
  const outcomes = new Map<string, AttemptOutcome>();
  for (const source of config.sources) {
    const { name } = source;
    if (options.names.length > 0 && !options.names.includes(name)) continue;
    const outcome = await attemptRefresh(config, source, {
      acceptShrink: options.acceptShrink.includes(name),
      force: options.force || options.acceptShrink.includes(name),
      onBytes: (bytes) => options.onBytes(name, bytes),
    });
    outcomes.set(name, outcome);
    options.onDone(name, outcome);
  }
  const input = await buildInput(config, options.neverBlock);
  const build = await runJob<'build'>({ kind: 'build', input, absent: [] }, config.limits);
  return { outcomes, build };
}

/** How feeds are doing, from what is on disk. */
export async function feedStatus(config: FeedsConfig): Promise<FeedStatus[]> {
  return Promise.all(config.sources.map((source) => statusFromDisk(config.state, source)));
}

async function statusFromDisk(state: string, source: FeedSource): Promise<FeedStatus> {
  const attempts = await readAttempts(state, source.name);
  try {
    return statusOf(source, await readMeta(state, source.name), attempts, undefined, Date.now());
  } catch (error) {
    return statusOf(
      source,
      undefined,
      { ...attempts, error: (error as Error).message },
      undefined,
      Date.now(),
    );
  }
}
