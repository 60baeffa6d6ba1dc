import { stat } from 'node:fs/promises';
import type { FeedsConfig } from '../intel/feed-source.js';
import { EMPTY_INDEX, openIndex } from '../intel/indicator-index.js';
import type { BuildOutcome, FeedBuild } from './build.js';
import { indexPath, type IntelSnapshot } from './index-file.js';
import type { FeedHooks, FeedLog } from './hooks.js';
import { runJob } from './jobs.js';
import { buildInput } from './never-block.js';

/** Holds the index that is in force, and has it built and loaded. */
export interface IndexKeeper {
  current(): IntelSnapshot;
  /** What the last build in this process made of each feed. */
  built(): readonly FeedBuild[];
  /** Builds from the last good copies; calls during a build come to one more. Never rejects. */
  rebuild(): Promise<void>;
  /** Looks at the clock and at the file: has an indicator expired, has another process built an index? */
  look(): Promise<void>;
  /** Resolves when no build is on its way. */
  settle(): Promise<void>;
}

/** After a build that failed, and between builds because of expiry (ms). */
const PAUSE = 60_000;

/**
 * Loads the index of the last run; where it is damaged, or was made from other things than there are now, builds it.
 * INVARIANT: an index that is in force is replaced only by a whole new one.
 *
 * @param copies there are last good copies.
 * @throws Error when there is no index that can be used, and none can be built.
 */
export async function openIndexKeeper(
  config: FeedsConfig,
  log: FeedLog,
  hooks: FeedHooks,
  signal: AbortSignal,
  copies: boolean,
): Promise<IndexKeeper> {
  const limits = { ...config.limits, signal };
  let snapshot: IntelSnapshot = { index: EMPTY_INDEX, revision: '' };
  let built: readonly FeedBuild[] = [];
  /** Feeds that are not in the index in force: a build may go on without them. */
  let absent: readonly string[] = config.sources.map(({ name }) => name);
  let work: Promise<void> | undefined;
  let again = false;
  /** When to build without being asked (ms since 1970). */
  let rebuildAt = Number.POSITIVE_INFINITY;
  /** Version of the file that is in force. */
  let version = '';

  const fileVersion = async (): Promise<string> => {
    const found = await stat(indexPath(config.state), { bigint: true }).catch(() => undefined);
    return found === undefined ? '' : `${found.ino} ${found.size} ${found.mtimeNs}`;
  };
  const swap = (buffer: ArrayBuffer, revision: string, nextExpiry: number): void => {
    rebuildAt = nextExpiry === 0 ? Number.POSITIVE_INFINITY : Math.max(nextExpiry, Date.now() + PAUSE);
    if (revision === snapshot.revision) return;
    // It was verified when it was loaded: nothing of its size is done in this thread.
    snapshot = { index: openIndex(buffer, { verified: true }), revision };
    log.info({ revision, ...snapshot.index.counts }, 'indicators in force');
    hooks.swapped?.(snapshot);
  };

  const load = async (): Promise<boolean> => {
    version = await fileVersion();
    const input = await buildInput(config, hooks.neverBlock);
    const outcome = await runJob<'load'>({ kind: 'load', input }, limits);
    if (outcome.buffer !== undefined) swap(outcome.buffer, outcome.revision, outcome.nextExpiry);
    return outcome.current;
  };
  const build = async (): Promise<void> => {
    const input = await buildInput(config, hooks.neverBlock);
    const outcome = await runJob<'build'>({ kind: 'build', input, absent }, limits);
    tellBuild(log, outcome);
    built = outcome.feeds;
    if (outcome.revision === '') {
      rebuildAt = Date.now() + PAUSE;
      return;
    }
    await load();
    absent = outcome.feeds.filter(({ error }) => error !== '').map(({ name }) => name);
  };
  const fail = (error: Error): void => {
    if (signal.aborted) return;
    rebuildAt = Date.now() + PAUSE;
    log.error({}, `the index cannot be built: ${error.message}; the one in force stays`);
  };
  const rebuild = (): Promise<void> => {
    again = true;
    work ??= (async () => {
      while (again && !signal.aborted) {
        again = false;
        await build().catch(fail);
      }
    })().finally(() => (work = undefined));
    return work;
  };

  const loaded = await load().catch((error: Error) => {
    log.error(
      {},
      `the index of the last run cannot be used: ${error.message}; it is built from the last good copies`,
    );
    return undefined;
  });
  // An empty one of other sources, or of none, holds as little as no index.
  const nothing =
    snapshot.revision === '' ||
    (loaded === false && Object.values(snapshot.index.counts).every((count) => count === 0));
  if (!nothing) absent = [];
  // Nothing in force although there are copies: the first call waits. Something older in force: it is made current meanwhile.
  if (nothing) await (copies ? build() : undefined);
  else if (loaded === false) void rebuild();

  return {
    current: () => snapshot,
    built: () => built,
    rebuild,
    async look() {
      if (work !== undefined) return;
      if (Date.now() >= rebuildAt) await rebuild();
      else if (version !== (await fileVersion()) && work === undefined) {
        const current = await load().catch((error: Error) => {
          log.error({}, `the index on disk cannot be used: ${error.message}; the one in force stays`);
          return false;
        });
        if (!current) await rebuild();
      }
    },
    async settle() {
      while (work !== undefined) await work;
    },
  };
}

function tellBuild(log: FeedLog, outcome: BuildOutcome): void {
  for (const problem of outcome.problems) log.warn({}, problem);
  for (const { name: feed, error, refused, refusals } of outcome.feeds) {
    if (error !== '') log.error({ feed }, `feed ${feed}: its last good copy cannot be used: ${error}`);
    if (refused > 0)
      log.warn({ feed, refused, examples: refusals }, `feed ${feed}: entries that cannot be listed`);
  }
}
