import { broken } from '../header.js';

/** Compressed bytes that were not read yet; decoders read `bytes` from `at` up to `end`. */
export interface Input {
  bytes: Buffer;
  at: number;
  end: number;
  /** Nothing comes after `end`. */
  over: boolean;
}

/**
 * A decoder: gives a piece of output, or `more` (it wants more input, or to be told that there is none), or `turn`
 * (it has worked for about a millisecond; others may have a turn). It returns at the end of the last frame, when the
 * input is over, and throws a Refusal.
 */
export type Decoding = Generator<Buffer | 'more' | 'turn', void, undefined>;
export type Part<T> = Generator<Buffer | 'more' | 'turn', T, undefined>;

export function openInput(): Input {
  return { bytes: Buffer.allocUnsafeSlow(64 * 1024), at: 0, end: 0, over: false };
}

export const left = (input: Input): number => input.end - input.at;

/** In amortised linear time, however small the pieces are. */
export function append(input: Input, piece: Buffer): void {
  if (input.end + piece.length > input.bytes.length) {
    const kept = input.bytes.subarray(input.at, input.end);
    const needed = kept.length + piece.length;
    if (needed * 2 <= input.bytes.length) {
      input.bytes.copyWithin(0, input.at, input.end);
    } else {
      const larger = Buffer.allocUnsafeSlow(needed * 2);
      larger.set(kept);
      input.bytes = larger;
    }
    input.end = kept.length;
    input.at = 0;
  }
  input.bytes.set(piece, input.end);
  input.end += piece.length;
}

/** Waits for `count` bytes. */
export function* need(input: Input, count: number, format: string): Part<void> {
  while (left(input) < count) {
    if (input.over) throw cut(format);
    yield 'more';
  }
}

/** Whether there is another byte. */
export function* another(input: Input): Part<boolean> {
  while (left(input) === 0) {
    if (input.over) return false;
    yield 'more';
  }
  return true;
}

export const cut = (format: string): Error => broken(`the ${format} data stops in the middle`);
export const damaged = (format: string, what: string): Error =>
  broken(`the ${format} data is damaged (${what})`);
