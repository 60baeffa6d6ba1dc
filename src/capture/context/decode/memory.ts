import { Refusal } from '../../../docker/refusal.js';

/** Largest dictionary (xz) and window (zstd) that is kept, bytes: that of `xz -9`. */
export const WINDOW_LIMIT = 64 * 1024 ** 2;
/** Bytes of windows of all contexts together. */
const TOTAL_LIMIT = 512 * 1024 ** 2;
let total = 0;

/** @throws Refusal 413 when the declared `size` is too large. */
export function checkWindow(size: number, format: string): void {
  if (size > WINDOW_LIMIT) {
    throw new Refusal(
      413,
      'context-too-large',
      `the build context is refused: its ${format} data needs a window of ${size} bytes, and at most ${WINDOW_LIMIT} are kept`,
    );
  }
}

export const outOfMemory = (): Refusal =>
  new Refusal(503, 'context-budget', 'the guard decompresses too many contexts at the moment; try again');

/**
 * What one context's window takes of the memory for all of them. It counts what is filled, not what is declared: pages
 * that nothing was written to cost nothing.
 */
export class WindowShare {
  #bytes = 0;

  /** @throws Refusal 503 when all contexts together hold too much. */
  grow(bytes: number): void {
    if (bytes <= this.#bytes) return;
    if (total + bytes - this.#bytes > TOTAL_LIMIT) throw outOfMemory();
    total += bytes - this.#bytes;
    this.#bytes = bytes;
  }

  close(): void {
    total -= this.#bytes;
    this.#bytes = 0;
  }
}
