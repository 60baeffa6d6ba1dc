import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { IndicatorIndex } from '../intel/indicator.js';
import { openIndex } from '../intel/indicator-index.js';

/** The index that the feeds wrote, read again when it is another file. */
export interface IndexFile {
  /**
   * @returns undefined while it is the one of the last time.
   * @throws Error when there is none, or it is damaged; thrown once for the same damaged file.
   */
  read(): Promise<IndicatorIndex | undefined>;
}

const MAX_INDEX_BYTES = 2 ** 31;

/** @param state directory of the feeds. */
export function openIndexFile(state: string): IndexFile {
  const path = join(state, 'index.bin');
  let lastVersion = '';
  return {
    async read() {
      let file;
      try {
        // Without waiting: a pipe in its place would hold up this process for ever.
        file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
      } catch (error) {
        const why =
          (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'is not there' : (error as Error).message;
        if (lastVersion === why) return undefined;
        lastVersion = why;
        throw new Error(`${path}: ${why}`, { cause: error });
      }
      try {
        const found = await file.stat();
        const { ino, mtimeMs, size } = found;
        const now = `${ino} ${mtimeMs} ${size}`;
        if (now === lastVersion) return undefined;
        lastVersion = now;
        if (!found.isFile()) throw new Error('is no file');
        if (size > MAX_INDEX_BYTES) throw new Error(`larger than ${MAX_INDEX_BYTES} bytes`);
        const buffer = new ArrayBuffer(size);
        const bytes = new Uint8Array(buffer);
        // One read takes 2 GiB at most, and may take less than asked for.
        for (let at = 0; at < size;) {
          const { bytesRead } = await file.read(bytes, at, size - at, at);
          if (bytesRead === 0) throw new Error('it became shorter while it was read');
          at += bytesRead;
        }
        return openIndex(buffer);
      } catch (error) {
        throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
      } finally {
        await file.close();
      }
    },
  };
}
