import { createHash, randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { CopyFile } from './copy.js';

/** A new file of a copy that is being fetched. It counts only once a `meta.json` names it. */
export interface NewFile {
  write(chunk: Uint8Array): Promise<void>;
  /** Flushes it to the disk. */
  close(): Promise<CopyFile>;
  /** Gives it up; what was written is swept later. */
  abort(): Promise<void>;
}

/** @param prefix a few lower-case letters; the rest of the name is drawn. */
export async function openNewFile(directory: string, prefix: string): Promise<NewFile> {
  const name = `${prefix}-${randomBytes(8).toString('hex')}`;
  const file = await open(join(directory, name), 'wx', 0o600);
  const hash = createHash('sha256');
  let bytes = 0;
  return {
    async write(chunk) {
      hash.update(chunk);
      bytes += chunk.byteLength;
      await file.writeFile(chunk);
    },
    async close() {
      await file.sync();
      await file.close();
      return { name, bytes, sha256: hash.digest('hex') };
    },
    abort: () => file.close(),
  };
}
