import { broken } from '../header.js';

/** Compressed bytes that were not read yet: `bytes` from `at` up to `end`. */
export interface Input {
  bytes: Buffer;
  at: number;
  end: number;
  /** Nothing comes after `end`. */
  over: boolean;
}

/** Reads an `Input`; it gives `more` when it needs more of it, or has to know that there is none. */
export type Reading<T, Given = never> = Generator<Given | 'more', T, undefined>;

/** Longest piece that `pass` gives, bytes. */
export const PIECE = 16 * 1024;

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
export function* need(input: Input, count: number, format: string): Reading<void> {
  while (left(input) < count) {
    if (input.over) throw cut(format);
    yield 'more';
  }
}

/** Whether there is another byte. */
export function* another(input: Input): Reading<boolean> {
  while (left(input) === 0) {
    if (input.over) return false;
    yield 'more';
  }
  return true;
}

/** Takes `count` bytes; they stay what they are until the next `yield`. */
export function* take(input: Input, count: number, format: string): Reading<Buffer> {
  yield* need(input, count, format);
  input.at += count;
  return input.bytes.subarray(input.at - count, input.at);
}

/** Gives `count` bytes as they are, in pieces as they arrive. */
export function* pass(input: Input, count: number, format: string): Reading<void, Buffer> {
  for (let rest = count; rest > 0;) {
    yield* need(input, 1, format);
    const size = Math.min(rest, left(input), PIECE);
    input.at += size;
    rest -= size;
    yield input.bytes.subarray(input.at - size, input.at);
  }
}

export const cut = (format: string): Error => broken(`the ${format} data stops in the middle`);
export const damaged = (format: string, what: string): Error =>
  broken(`the ${format} data is damaged (${what})`);
