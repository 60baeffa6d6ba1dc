import { stat } from 'node:fs/promises';
import type { FeedsConfig } from '../intel/feed-source.js';
import { EMPTY_INDEX, openIndex } from '../intel/indicator-index.js';
import type { BuildOutcome, FeedBuild } from './build.js';
import { indexPath, type IntelSnapshot } from './index-file.js';
import type { FeedHooks, FeedLog } from './hooks.js';
import { runJob } from './jobs.js';
import { buildInput } from './never-block.js';

/** After a build that failed, and between builds because of expiry. */
const BUILD_INTERVAL_MS = 60_000;

export interface IndexStoreOptions {
  readonly config: FeedsConfig;
  readonly log: FeedLog;
  readonly hooks: FeedHooks;
  /** Ends what is on its way. */
  readonly signal: AbortSignal;
}

/**
 * Loads the index of the last run; where it is damaged, or was made from other things than there are now, builds it.
 *
 * @param hasCopies there are last good copies.
 * @throws Error when there is no index that can be used, and none can be built.
 */
export async function openIndexStore(options: IndexStoreOptions, hasCopies: boolean): Promise<IndexStore> {
  const store = new IndexStore(options);
  await store.open(hasCopies);
  return store;
}

/**
 * Holds the index that is in force, and has it built and loaded.
 * INVARIANT: an index that is in force is replaced only by a whole new one.
 */
export class IndexStore {
  readonly #options: IndexStoreOptions;
  /** The index in force. A new object after each change, so that a change shows in its identity. */
  current: IntelSnapshot = { index: EMPTY_INDEX, revision: '' };
  #built: readonly FeedBuild[] = [];
  /** Feeds that are not in the index in force: a build may go on without them. */
  #absent: readonly string[];
  /** Builds that are on their way, and whether one more is wanted after the current one. */
  #work: Promise<void> | undefined;
  #isAgainWanted = false;
  /** When to build without being asked (ms since 1970). */
  #rebuildAt = Number.POSITIVE_INFINITY;
  /** Version of the file that is in force. */
  #version = '';

  constructor(options: IndexStoreOptions) {
    this.#options = options;
    this.#absent = options.config.sources.map(({ name }) => name);
  }

  /** See `openIndexStore`. */
  async open(hasCopies: boolean): Promise<void> {
    const loaded = await this.#load().catch((error: Error) => {
      const found = `the index of the last run cannot be used: ${error.message}`;
      this.#options.log.error({}, `${found}; it is built from the last good copies`);
      return undefined;
    });
    const { index, revision } = this.current;
    // An empty one of other sources, or of none, holds as little as no index.
    const isEmpty = Object.values(index.counts).every((count) => count === 0);
    const isNothing = revision === '' || (loaded === false && isEmpty);
    if (!isNothing) this.#absent = [];
    // Nothing in force although there are copies: the first call waits. Something older in force: it is made current meanwhile.
    if (isNothing) await (hasCopies ? this.#build() : undefined);
    else if (loaded === false) void this.rebuild();
  }

  /** What the last build in this process made of each feed. */
  built(): readonly FeedBuild[] {
    return this.#built;
  }

  /** Builds from the last good copies; calls during a build lead to one more build. Never rejects. */
  rebuild(): Promise<void> {
    this.#isAgainWanted = true;
    this.#work ??= this.#buildAll().finally(() => (this.#work = undefined));
    return this.#work;
  }

  /** Checks the clock and the file: has an indicator expired, has another process built an index? */
  async look(): Promise<void> {
    if (this.#work !== undefined) return;
    if (Date.now() >= this.#rebuildAt) return this.rebuild();
    if (this.#version === (await this.#fileVersion()) || this.#isBuilding()) return;
    const isCurrent = await this.#load().catch((error: Error) => {
      const found = `the index on disk cannot be used: ${error.message}`;
      this.#options.log.error({}, `${found}; the one in force stays`);
      return false;
    });
    if (!isCurrent) await this.rebuild();
  }

  /** Resolves when no build is on its way. */
  async settle(): Promise<void> {
    while (this.#work !== undefined) await this.#work;
  }

  #isBuilding(): boolean {
    return this.#work !== undefined;
  }

  async #buildAll(): Promise<void> {
    const { signal, log } = this.#options;
    while (this.#isAgainWanted && !signal.aborted) {
      this.#isAgainWanted = false;
      try {
        await this.#build();
      } catch (error) {
        if (signal.aborted) return;
        this.#rebuildAt = Date.now() + BUILD_INTERVAL_MS;
        const found = `the index cannot be built: ${(error as Error).message}`;
        log.error({}, `${found}; the one in force stays`);
      }
    }
  }

  async #build(): Promise<void> {
    const { config, log, hooks, signal } = this.#options;
    const input = await buildInput(config, hooks.neverBlock);
    const job = { kind: 'build' as const, input, absent: this.#absent };
    const outcome = await runJob<'build'>(job, { ...config.limits, signal });
    logBuild(log, outcome);
    this.#built = outcome.feeds;
    if (outcome.revision === '') {
      this.#rebuildAt = Date.now() + BUILD_INTERVAL_MS;
      return;
    }
    await this.#load();
    this.#absent = outcome.feeds.filter(({ error }) => error !== '').map(({ name }) => name);
  }

  /** @returns whether the index on disk is made from what there is now. */
  async #load(): Promise<boolean> {
    const { config, hooks, signal } = this.#options;
    this.#version = await this.#fileVersion();
    const input = await buildInput(config, hooks.neverBlock);
    const outcome = await runJob<'load'>({ kind: 'load', input }, { ...config.limits, signal });
    if (outcome.buffer !== undefined) this.#swap(outcome.buffer, outcome.revision, outcome.nextExpiry);
    return outcome.current;
  }

  #swap(buffer: ArrayBuffer, revision: string, nextExpiry: number): void {
    const { log, hooks } = this.#options;
    this.#rebuildAt =
      nextExpiry === 0 ? Number.POSITIVE_INFINITY : Math.max(nextExpiry, Date.now() + BUILD_INTERVAL_MS);
    if (revision === this.current.revision) return;
    // It was verified when it was loaded: nothing of its size is done in this thread.
    this.current = { index: openIndex(buffer, { verified: true }), revision };
    log.info({ revision, ...this.current.index.counts }, 'indicators in force');
    hooks.swapped?.(this.current);
  }

  async #fileVersion(): Promise<string> {
    const path = indexPath(this.#options.config.state);
    const found = await stat(path, { bigint: true }).catch(() => undefined);
    return found === undefined ? '' : `${found.ino} ${found.size} ${found.mtimeNs}`;
  }
}

function logBuild(log: FeedLog, outcome: BuildOutcome): void {
  for (const problem of outcome.problems) log.warn({}, problem);
  for (const { name: feed, error, refused, refusals } of outcome.feeds) {
    if (error !== '') log.error({ feed }, `feed ${feed}: its last good copy cannot be used: ${error}`);
    if (refused > 0)
      log.warn({ feed, refused, examples: refusals }, `feed ${feed}: entries that cannot be listed`);
  }
}
