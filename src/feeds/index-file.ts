import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { FeedSource } from '../intel/feed-source.js';
import { openIndex } from '../intel/indicator-index.js';
import type { IndicatorIndex } from '../intel/indicator.js';
import { writeWhole } from '../store/write-whole.js';
import { makeStateDirectory, readMeta, type CopyMeta } from './copy.js';

/** Everything that the index depends on, beside the last good copies. */
export interface BuildInput {
  readonly state: string;
  readonly sources: readonly FeedSource[];
  readonly allow: readonly string[];
  readonly neverBlock: readonly string[];
  readonly warninglists: readonly string[];
}

/** What is listed right now. Immutable: a judgement takes it once. */
export interface IntelSnapshot {
  readonly index: IndicatorIndex;
  /** First 12 hex digits of the SHA-256 of the index file; empty while there is none. */
  readonly revision: string;
}

export interface LoadJob {
  readonly kind: 'load';
  readonly input: BuildInput;
}

export interface LoadOutcome {
  /** Undefined when there is no index on disk. */
  readonly buffer: ArrayBuffer | undefined;
  readonly revision: string;
  /** It was built from these copies and this config; else it must be built anew. */
  readonly current: boolean;
  readonly nextExpiry: number;
}

/** Stands beside the index: what it was built from. */
interface IndexMeta {
  readonly v: 1;
  readonly revision: string;
  readonly basis: string;
  readonly builtAt: number;
  readonly nextExpiry: number;
}

const indexMetaPath = (state: string): string => join(state, 'index.json');
export const indexPath = (state: string): string => join(state, 'index.bin');

/**
 * Writes an index to disk, whole.
 *
 * @param nextExpiry when its next indicator expires (ms since 1970); 0 for never
 * @returns its revision
 */
export async function writeIndexFile(
  input: BuildInput,
  metas: Metas,
  buffer: ArrayBuffer,
  nextExpiry: number,
): Promise<string> {
  const revision = revisionOf(buffer);
  const basis = await basisOf(input, metas);
  const meta: IndexMeta = { v: 1, revision, basis, builtAt: Date.now(), nextExpiry };
  await makeStateDirectory(input.state);
  // The outbound process reads both, as another member of the group.
  await writeWhole(indexPath(input.state), new Uint8Array(buffer), 0o640);
  await writeWhole(indexMetaPath(input.state), `${JSON.stringify(meta)}\n`, 0o640);
  return revision;
}

/** Reads the index on disk. @throws Error when it is damaged. */
export async function loadIndexFile({ input }: LoadJob): Promise<LoadOutcome> {
  const buffer = await readIndexFile(input.state);
  if (buffer === undefined) return { buffer, revision: '', current: false, nextExpiry: 0 };
  openIndex(buffer);
  const revision = revisionOf(buffer);
  const meta = await readIndexMeta(input.state);
  const current =
    meta?.revision === revision && meta.basis === (await basisOf(input, await readMetas(input)));
  return { buffer, revision, current, nextExpiry: current ? meta.nextExpiry : 0 };
}

/**
 * The index on disk, verified. Undefined where there is none.
 *
 * @throws Error when it is damaged.
 */
export async function readSnapshot(state: string): Promise<IntelSnapshot | undefined> {
  const buffer = await readIndexFile(state);
  return buffer === undefined ? undefined : { index: openIndex(buffer), revision: revisionOf(buffer) };
}

/** The last good copies by source, undefined where there is none or it is damaged. */
export type Metas = readonly (CopyMeta | undefined)[];

function revisionOf(buffer: ArrayBuffer): string {
  return createHash('sha256').update(new Uint8Array(buffer)).digest('hex').slice(0, 12);
}

async function readIndexFile(state: string): Promise<ArrayBuffer | undefined> {
  const file = await readFile(indexPath(state)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  // A copy: small files share one buffer with others, and what is transferred must be the file alone.
  return file === undefined ? undefined : new Uint8Array(file).buffer;
}

async function readIndexMeta(state: string): Promise<IndexMeta | undefined> {
  try {
    return JSON.parse(await readFile(indexMetaPath(state), 'utf8')) as IndexMeta;
  } catch {
    return undefined;
  }
}

/** A fingerprint of everything that an index is built from. */
async function basisOf(input: BuildInput, metas: Metas): Promise<string> {
  const lists = await Promise.all(
    input.warninglists.map(async (path) => {
      const found = await stat(path).catch(() => undefined);
      return [path, found?.size, found?.mtimeMs];
    }),
  );
  const copies = metas.map((meta) => meta?.files.map(({ sha256 }) => sha256));
  const sources = input.sources.map(
    ({ name, type, format, action, minConfidence, confidence, ttl, maxSize, allowReserved }) => [
      name,
      type,
      format,
      action,
      minConfidence,
      confidence,
      ttl,
      maxSize,
      allowReserved,
    ],
  );
  return createHash('sha256')
    .update(JSON.stringify([sources, input.allow, input.neverBlock, lists, copies]))
    .digest('hex');
}

export async function readMetas(input: BuildInput): Promise<Metas> {
  return Promise.all(input.sources.map(({ name }) => readMeta(input.state, name).catch(() => undefined)));
}
