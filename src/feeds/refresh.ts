import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { FeedsConfig, FeedSource } from '../intel/feed-source.js';
import { collectFile } from './collect-file.js';
import type { Collected, Collecting } from './collecting.js';
import {
  makeCopyDirectory,
  originOf,
  readCopyFile,
  readMeta,
  sweep,
  writeMeta,
  type CopyFile,
  type CopyMeta,
} from './copy.js';
import { FeedError } from './feed-error.js';
import { fingerprint, readImports, renewImports, writeImports } from './imports.js';
import { readCopy } from './read-copy.js';

/** One refresh of one feed. */
export interface RefreshJob {
  readonly kind: 'refresh';
  readonly state: string;
  readonly source: FeedSource;
  readonly limits: FeedsConfig['limits'];
  /** The user says that an empty or much smaller feed is right. */
  readonly acceptShrink: boolean;
}

export interface RefreshOutcome {
  /** The last good copy is a new one. */
  readonly hasChanged: boolean;
  readonly meta: CopyMeta;
}

/**
 * Asks a feed for what is new, reads it, and makes it the last good copy.
 * INVARIANT: whatever goes wrong, the last good copy stays as it is.
 *
 * @throws FeedError, or any Error with one readable line.
 */
export async function refreshFeed(
  job: RefreshJob,
  onBytes: (bytes: number) => void,
): Promise<RefreshOutcome> {
  const { source, state } = job;
  const now = Date.now();
  const directory = await makeCopyDirectory(state, source.name);
  const stored = await readMeta(state, source.name).catch(() => undefined);
  // A copy from another URL is enforced until the new one has answered, but says nothing about it.
  const fromSameUrl = stored?.origin === originOf(source) ? stored : undefined;
  // A damaged copy must not be confirmed by "304 Not Modified" for ever.
  const before =
    fromSameUrl !== undefined && (await isSound(directory, fromSameUrl.files)) ? fromSameUrl : undefined;
  const collected = await collect({ source, directory, before, now, onBytes });
  if (before !== undefined && (collected === undefined || sameFiles(collected.files, before.files))) {
    const meta: CopyMeta = { ...before, ...collected, files: before.files, checkedAt: now };
    await writeMeta(state, source.name, meta);
    return { hasChanged: false, meta };
  }
  if (collected === undefined) throw new FeedError('said that nothing is new, and there is no copy');

  const reading = await readCopy(source, directory, collected.files, Math.floor(now / 1000));
  let indicators = 0;
  const prints: number[] = [];
  for (const indicator of reading.indicators) {
    if (++indicators > job.limits.indicators) {
      throw new FeedError(`has more than ${job.limits.indicators} indicators (feeds.limits.indicators)`);
    }
    if (source.ttl > 0 && indicator.expires === 0 && indicator.lastSeen === 0)
      prints.push(fingerprint(indicator));
  }
  const { format, rejected, problems, failure } = reading.report();
  if (failure !== undefined) throw new FeedError(`cannot be used: ${failure}`);
  if (!job.acceptShrink) refuseShrink(source, indicators, fromSameUrl?.indicators ?? 0, problems);

  const meta: CopyMeta = {
    v: 1,
    origin: originOf(source),
    ...collected,
    fetchedAt: now,
    checkedAt: now,
    format,
    indicators,
    rejected,
    problems,
  };
  if (source.ttl > 0) {
    const imports = renewImports(await readImports(directory), prints, Math.floor(now / 1000));
    await writeImports(directory, imports);
  }
  await writeMeta(state, source.name, meta);
  await sweep(directory, meta, now);
  return { hasChanged: true, meta };
}

/** The attack, and the accident: a feed that is emptied takes the protection away that was there. */
function refuseShrink(source: FeedSource, now: number, before: number, problems: readonly string[]): void {
  const remedy = `; if that is right: breakwater feeds pull --accept-shrink ${source.name}`;
  const note = before === 0 ? '' : ', the last good copy stays';
  if (now === 0) {
    const why = problems[0] === undefined ? '' : ` (${problems[0]})`;
    throw new FeedError(`has no indicators${why}${note}${remedy}`);
  }
  if (now * 2 < before) throw new FeedError(`shrank from ${before} to ${now} indicators${note}${remedy}`);
}

/** Are all files of a copy what they were? Those that are not are removed: they must not be taken for new ones. */
async function isSound(directory: string, files: readonly CopyFile[]): Promise<boolean> {
  let sound = true;
  for (const file of files) {
    try {
      await readCopyFile(directory, file);
    } catch {
      sound = false;
      await rm(join(directory, file.name), { force: true });
    }
  }
  return sound;
}

function sameFiles(a: readonly CopyFile[], b: readonly CopyFile[]): boolean {
  return a.length === b.length && a.every(({ sha256 }, index) => sha256 === b[index]?.sha256);
}

/**
 * Asks a feed for what is new. @returns undefined when that is nothing.
 *
 * @throws FeedError, or any Error of the file system, with one readable line.
 */
async function collect(job: Collecting): Promise<Collected | undefined> {
  const { type, url } = job.source;
  // Loaded when needed: a feed from a file does not pay for the HTTP client.
  if (type === 'misp') return (await import('./collect-misp.js')).collectMisp(job);
  if (type === 'taxii') return (await import('./collect-taxii.js')).collectTaxii(job);
  return url.startsWith('file:') ? collectFile(job) : (await import('./collect-list.js')).collectList(job);
}
