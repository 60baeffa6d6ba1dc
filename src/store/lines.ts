import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { writeWholeSync } from './write-whole.js';

/** A file of JSON lines, one for each change, that the guard reads at its next start. */
export interface LineFile {
  append(value: object): void;
  close(): void;
}

/**
 * The lines of a file; those that were cut or damaged are left out. None where there is no file.
 *
 * @param read returns undefined for a line of another kind.
 * @throws Error when the file is there and cannot be read.
 */
export function readLines<T>(
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

/** Replaces all lines of the file; whole, or not at all. @throws Error */
export function rewriteLines(file: string, values: readonly object[]): void {
  writeWholeSync(file, values.map(lineOf).join(''));
}

/**
 * Opens a file to append lines to it.
 *
 * @param failed called once, with the reason, when it cannot be written any more.
 * @throws Error when the file cannot be opened.
 */
export function openLines(file: string, failed: (why: string) => void): LineFile {
  const fd = openSync(file, 'a', 0o600);
  // A last line that was cut by a crash must not swallow the next one.
  writeSync(fd, '\n');
  let hasFailed = false;
  return {
    append(value) {
      try {
        writeSync(fd, lineOf(value));
      } catch (error) {
        if (!hasFailed) failed((error as Error).message);
        hasFailed = true;
      }
    },
    close: () => closeSync(fd),
  };
}

const lineOf = (value: object): string => `${JSON.stringify(value)}\n`;
