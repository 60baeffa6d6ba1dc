import { createHash } from 'node:crypto';
import { access, chmod, constants, mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { FeedSource } from '../intel/feed-source.js';
import { writeWhole } from '../store/write-whole.js';
import { FeedError } from './feed-error.js';

/** A file of a last good copy, beside its `meta.json`. */
export interface CopyFile {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/**
 * The last good copy of a feed: what the server sent, and what is needed to ask for less the next time. Times in ms
 * since 1970. Its files are in force from the moment that `meta.json`, which names them, is renamed into place.
 */
export interface CopyMeta {
  readonly v: 1;
  /** Of the feed it came from: SHA-256 of URL and type, since the URL may hold a key. */
  readonly origin: string;
  readonly files: readonly CopyFile[];
  readonly fetchedAt: number;
  readonly checkedAt: number;
  /** When it was last fetched from the start, not only what is new. */
  readonly wholeAt: number;
  /** Of a file: inode, size and time. */
  readonly etag: string;
  readonly lastModified: string;
  /** TAXII: where the next request goes on. */
  readonly cursor: string;
  readonly format: string;
  /** As read, before anything is left out. */
  readonly indicators: number;
  readonly rejected: number;
  readonly problems: readonly string[];
}

/** A copy as the guard holds it in memory: without its files, which can be many and are not needed there. */
export type CopySummary = Omit<CopyMeta, 'files'>;

/** Results of the attempts on a feed; on disk, so that a restart respects the waiting time of a server. */
export interface Attempts {
  readonly attemptedAt: number;
  readonly failures: number;
  /** Not to be asked before. */
  readonly notBefore: number;
  readonly error: string;
}

export const NO_ATTEMPTS: Attempts = { attemptedAt: 0, failures: 0, notBefore: 0, error: '' };

/** A name of a file that this program makes; nothing of a feed's own choosing is ever part of a path. */
const FILE_NAME = /^[a-z0-9][a-z0-9.-]{0,120}$/;
/** Files that no copy names are left for so long: another process may be about to name them (ms). */
const ORPHAN_AGE_MS = 3_600_000;

export const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex');

export function originOf(source: FeedSource): string {
  return sha256(`${source.type} ${source.url}`);
}

/** The directory of a feed; its name was checked when the config was read. */
export function copyDirectory(state: string, name: string): string {
  return join(state, 'sources', name);
}

/** @throws Error when the directory cannot be made or written. */
export async function makeStateDirectory(state: string): Promise<void> {
  try {
    // Who may read the index may not read copies: they can hold what a feed sells.
    const made = await mkdir(state, { recursive: true });
    if (made !== undefined) await chmod(state, 0o750);
    await access(state, constants.W_OK);
  } catch (error) {
    throw new Error(`feeds.state ${state} cannot be written: ${(error as Error).message}`, { cause: error });
  }
}

export async function makeCopyDirectory(state: string, name: string): Promise<string> {
  const directory = copyDirectory(state, name);
  await makeStateDirectory(state);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return directory;
}

/**
 * The last good copy; undefined where there is none.
 *
 * @throws FeedError when what is there is damaged.
 */
export async function readMeta(state: string, name: string): Promise<CopyMeta | undefined> {
  const path = join(copyDirectory(state, name), 'meta.json');
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new FeedError(`the last good copy cannot be read: ${error.message}`);
  });
  if (text === undefined) return undefined;
  try {
    const meta = JSON.parse(text) as CopyMeta;
    const sound =
      meta.v === 1 &&
      typeof meta.origin === 'string' &&
      meta.files.every((file) => FILE_NAME.test(file.name) && typeof file.sha256 === 'string') &&
      [meta.fetchedAt, meta.checkedAt, meta.wholeAt, meta.indicators].every(Number.isFinite);
    if (sound) return meta;
  } catch {
    // Unreadable: reported below.
  }
  throw new FeedError(`the last good copy is damaged: ${path}`);
}

export async function writeMeta(state: string, name: string, meta: CopyMeta): Promise<void> {
  await writeWhole(join(copyDirectory(state, name), 'meta.json'), `${JSON.stringify(meta)}\n`);
}

/**
 * A file of a copy as it was written.
 *
 * @throws Error when it is missing or not what it was.
 */
export async function readCopyFile(directory: string, file: CopyFile): Promise<Buffer> {
  const path = join(directory, file.name);
  // Checked first: a file that grew on disk must not fill the memory.
  const { size } = await stat(path);
  if (size !== file.bytes) throw new FeedError(`${path} is damaged: it has ${size} bytes, not ${file.bytes}`);
  const data = await readFile(path);
  if (sha256(data) !== file.sha256) throw new FeedError(`${path} is damaged: its checksum is wrong`);
  return data;
}

/** Removes old files that the copy does not name. */
export async function sweep(directory: string, meta: CopyMeta, now: number): Promise<void> {
  const kept = new Set(['meta.json', 'attempts.json', 'imports.bin', ...meta.files.map(({ name }) => name)]);
  for (const name of await readdir(directory)) {
    if (kept.has(name)) continue;
    const path = join(directory, name);
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && now - found.mtimeMs > ORPHAN_AGE_MS) await rm(path, { force: true });
  }
}

export async function readAttempts(state: string, name: string): Promise<Attempts> {
  const text = await readFile(join(copyDirectory(state, name), 'attempts.json'), 'utf8').catch(() => '{}');
  try {
    const { attemptedAt, failures, notBefore, error } = JSON.parse(text) as Partial<Attempts>;
    const number = (value: unknown): number =>
      typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : 0;
    return {
      attemptedAt: number(attemptedAt),
      failures: number(failures),
      notBefore: number(notBefore),
      error: typeof error === 'string' ? error : '',
    };
  } catch {
    return NO_ATTEMPTS;
  }
}

export async function writeAttempts(state: string, name: string, attempts: Attempts): Promise<void> {
  const directory = await makeCopyDirectory(state, name);
  await writeWhole(join(directory, 'attempts.json'), `${JSON.stringify(attempts)}\n`);
}

export function summaryOf({ files: _files, ...summary }: CopyMeta): CopySummary {
  return summary;
}
