import { closeSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';

/** A small file in which the guard keeps what it has learnt, for its next start: one JSON line for each thing. */
export interface KeptLines {
  append(value: object): void;
  close(): void;
}

/**
 * Lines that were cut or changed are none; the rest counts.
 *
 * @param read undefined for what is not of the file's kind.
 * @throws Error when the file is there and cannot be read.
 */
export function readKept<T>(
  file: string,
  read: (value: Readonly<Record<string, unknown>>) => T | undefined,
): T[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return text.split('\n').flatMap((line) => {
    try {
      const found = read(JSON.parse(line) as Readonly<Record<string, unknown>>);
      return found === undefined ? [] : [found];
    } catch {
      return [];
    }
  });
}

/** Writes the file anew; whole, or not at all. @throws Error */
export function rewriteKept(file: string, values: readonly object[]): void {
  writeFileSync(`${file}.new`, values.map(lineOf).join(''), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/**
 * @param failed told once why it cannot be written any more.
 * @throws Error when the file cannot be opened.
 */
export function openKept(file: string, failed: (why: string) => void): KeptLines {
  const fd = openSync(file, 'a', 0o600);
  // A last line that was cut by a crash must not swallow the next one.
  writeSync(fd, '\n');
  let isTold = false;
  return {
    append(value) {
      try {
        writeSync(fd, lineOf(value));
      } catch (error) {
        if (!isTold) failed((error as Error).message);
        isTold = true;
      }
    },
    close: () => closeSync(fd),
  };
}

const lineOf = (value: object): string => `${JSON.stringify(value)}\n`;
