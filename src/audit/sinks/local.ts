import { open, type FileHandle } from 'node:fs/promises';
import { TAKEN, type SinkConfig, type Transport } from './sink.js';

const BLOCK_SIZE = 64 * 1024;

/** Lines into a file; it is opened anew for each batch, so that it may be rotated. They are on the disk itself when done. */
export function openFile({ url }: SinkConfig): Transport {
  return {
    async send(messages) {
      const file = await open(url, 'a+', 0o600);
      try {
        const end = await wholeLines(file);
        try {
          await file.appendFile(messages.map(({ text }) => `${text}\n`).join(''));
          await file.datasync();
        } catch (error) {
          // A full disk leaves half a line; the batch comes again.
          await file.truncate(end);
          throw error;
        }
      } finally {
        await file.close();
      }
      return TAKEN;
    },
    reset() {},
    close: async () => undefined,
  };
}

/** Cuts off a last line without an end, which a crash tore: its record comes again. @returns the length. */
async function wholeLines(file: FileHandle): Promise<number> {
  const { size } = await file.stat();
  const buffer = Buffer.alloc(BLOCK_SIZE);
  for (let end = size; end > 0;) {
    const from = Math.max(0, end - BLOCK_SIZE);
    const { bytesRead } = await file.read(buffer, 0, end - from, from);
    const found = buffer.subarray(0, bytesRead).lastIndexOf(0x0a);
    if (found >= 0) {
      const whole = from + found + 1;
      if (whole < size) await file.truncate(whole);
      return whole;
    }
    end = from;
  }
  if (size > 0) await file.truncate(0);
  return 0;
}

/** Lines to stdout. A reader that does not read makes it wait, not grow: what was given is not given again until it is out. */
export function openStdout({ timeout }: SinkConfig): Transport {
  let underWay: Promise<void> | undefined;
  return {
    async send(messages, signal) {
      // What hung before is through by now, or it still hangs.
      const hung = underWay;
      underWay ??= new Promise<void>((resolve, reject) => {
        process.stdout.write(messages.map(({ text }) => `${text}\n`).join(''), (error) =>
          error == null ? resolve() : reject(error),
        );
      }).finally(() => (underWay = undefined));
      await within(underWay, timeout, signal);
      if (hung !== undefined) throw new Error('stdout is read again');
      return TAKEN;
    },
    reset() {},
    close: async () => undefined,
  };
}

function within(work: Promise<void>, timeout: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(new Error('stopped'));
    const timer = setTimeout(() => reject(new Error(`stdout was not read for ${timeout} ms`)), timeout);
    signal.addEventListener('abort', aborted);
    work.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal.removeEventListener('abort', aborted);
    });
  });
}
