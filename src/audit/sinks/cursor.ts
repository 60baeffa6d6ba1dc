import { readFileSync } from 'node:fs';
import { writeWhole } from '../../store/write-whole.js';

/** How far a receiver has confirmed: behind the last record that it has. */
export interface Cursor {
  /** Number of the segment's first record, as in its name; 0: nothing was read yet. */
  readonly segment: number;
  /** Where in the segment the last record begins, and where it ends (bytes). */
  readonly start: number;
  readonly offset: number;
  /** The last record. */
  readonly seq: number;
  readonly hash: string;
}

export const BEGINNING: Cursor = { segment: 0, start: 0, offset: 0, seq: 0, hash: '' };

/** @returns undefined when there is no such file; a message when it holds no cursor. */
export function loadCursor(path: string): Cursor | string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : (error as Error).message;
  }
  const { segment, start, offset, seq, hash } = Object(value) as Record<string, unknown>;
  const isCount = (field: unknown): field is number => Number.isSafeInteger(field) && (field as number) >= 0;
  return isCount(segment) && isCount(start) && isCount(offset) && isCount(seq) && typeof hash === 'string'
    ? { segment, start, offset, seq, hash }
    : 'it holds no cursor';
}

/** Writes cursors into a file: one at a time, the newest last. */
export class CursorFile {
  readonly #path: string;
  readonly #onError: (error: Error) => void;
  #newest: Cursor | undefined;
  #saved: Cursor | undefined;
  #saving: Promise<void> | undefined;

  /** @param onError called when a cursor could not be written. */
  constructor(path: string, onError: (error: Error) => void) {
    this.#path = path;
    this.#onError = onError;
  }

  /** Resolves when it is written, or cannot be. */
  save(cursor: Cursor): Promise<void> {
    this.#newest = cursor;
    return (this.#saving ??= this.#write());
  }

  async #write(): Promise<void> {
    try {
      while (this.#newest !== undefined && this.#saved !== this.#newest) {
        const cursor = this.#newest;
        await writeWhole(this.#path, `${JSON.stringify(cursor)}\n`);
        this.#saved = cursor;
      }
    } catch (error) {
      this.#onError(error as Error);
    } finally {
      this.#saving = undefined;
    }
  }
}
