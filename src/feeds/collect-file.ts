import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Collected, Collecting } from './collecting.js';
import { FeedError } from './feed-error.js';
import { openNewFile } from './new-file.js';

/** A text that differs between two versions of a file. */
export function fileVersion(found: { ino: bigint; size: bigint; mtimeNs: bigint; ctimeNs: bigint }): string {
  return `${found.ino}-${found.size}-${found.mtimeNs}-${found.ctimeNs}`;
}

/** Copies a file, unless it is the version that was read before. */
export async function collectFile(job: Collecting): Promise<Collected | undefined> {
  const { source, before, now } = job;
  const data = await readBounded(fileURLToPath(source.url), source.maxSize, before?.etag);
  if (data === undefined) return undefined;
  job.onBytes(data.bytes.length);
  const file = await openNewFile(job.directory, 'body');
  await file.write(data.bytes);
  return { files: [await file.close()], etag: data.version, lastModified: '', cursor: '', wholeAt: now };
}

/**
 * A file of the user's, whole. @returns undefined when it still has the known version.
 *
 * @throws FeedError when it is no plain file, too large, or changes meanwhile.
 */
export async function readBounded(
  path: string,
  maxSize: number,
  knownVersion: string | undefined,
): Promise<{ bytes: Buffer; version: string } | undefined> {
  // O_NONBLOCK: opening a named pipe would wait for a writer for ever.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: Error) => {
    throw new FeedError(`cannot be read: ${error.message}`);
  });
  try {
    const found = await file.stat({ bigint: true });
    if (!found.isFile()) throw new FeedError(`${path} is no plain file`);
    if (found.size > maxSize) throw new FeedError(`${path} is larger than maxSize, ${maxSize} bytes`);
    const version = fileVersion(found);
    if (version === knownVersion) return undefined;
    const bytes = Buffer.alloc(Number(found.size));
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    const after = fileVersion(await file.stat({ bigint: true }));
    if (bytesRead !== bytes.length || after !== version) {
      throw new FeedError(`${path} changed while it was read; it will be read again`);
    }
    return { bytes, version };
  } finally {
    await file.close();
  }
}
