import { lstatSync, realpathSync } from 'node:fs';
import { openWhole } from '../store/write-whole.js';

/** Where lines go. */
export interface Output {
  /** Resolves when there is room for more; false: the reader has left, or the command was interrupted. */
  write(text: string | Uint8Array): Promise<boolean>;
  /** @param whole everything was written. @throws Error when that did not work. */
  end(whole: boolean): Promise<void>;
}

/**
 * To a stream, as fast as it is read.
 *
 * @param stop called when its reader leaves: `breakwater audit tail … | head`.
 */
export function toStream(stream: NodeJS.WritableStream, signal: AbortSignal, stop: () => void): Output {
  let failure: NodeJS.ErrnoException | undefined;
  const onError = (error: NodeJS.ErrnoException): void => {
    failure ??= error;
    stop();
  };
  stream.on('error', onError);
  return {
    async write(text) {
      if (!signal.aborted && !stream.write(text)) await drained(stream, signal);
      return !signal.aborted;
    },
    async end() {
      // Errors of the last write are reported in a later turn.
      await new Promise((resolve) => setImmediate(resolve));
      // The listener stays: a pipe whose reader left reports another error when the process ends.
      if (failure?.code !== undefined && failure.code !== 'EPIPE')
        throw new Error(`the output cannot be written: ${failure.message}`);
    },
  };
}

function drained(stream: NodeJS.WritableStream, stopped: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done);
      stopped.removeEventListener('abort', done);
      resolve();
    };
    stream.once('drain', done);
    stopped.addEventListener('abort', done, { once: true });
  });
}

/**
 * Into a file (0600) that appears under its name when it is whole, and takes the place of one that was there.
 *
 * @throws Error naming the file, when it cannot be made.
 */
export async function toFile(path: string, signal: AbortSignal): Promise<Output> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  const target = found?.isSymbolicLink() === true ? realpathSync(path) : path;
  const isOther = lstatSync(target, { throwIfNoEntry: false })?.isFile() === false;
  if (isOther) throw new Error(`${path} is no regular file; leave --out away and redirect the output there`);
  const file = await openWhole(target).catch((error: Error) => {
    throw new Error(`${path} cannot be written: ${error.message}`, { cause: error });
  });
  return {
    async write(text) {
      try {
        if (!signal.aborted) await file.append(text);
      } catch (error) {
        await file.discard();
        throw new Error(`${path} cannot be written: ${(error as Error).message}`, { cause: error });
      }
      return !signal.aborted;
    },
    async end(whole) {
      try {
        if (whole) await file.commit();
      } finally {
        await file.discard();
      }
    },
  };
}
