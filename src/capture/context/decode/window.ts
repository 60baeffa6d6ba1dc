import { Refusal } from '../../../docker/refusal.js';

/** Largest dictionary (xz) and window (zstd) that is kept, bytes: that of `xz -9`. */
export const WINDOW_LIMIT = 64 * 1024 ** 2;
/** Most bytes of windows of all contexts together. */
const TOGETHER = 512 * 1024 ** 2;
let held = 0;

/** Output of the latest past, for copies out of it. It grows as it is filled, not as it is declared. */
export interface Window {
  bytes: Buffer;
  /** Where the next byte goes. */
  at: number;
  /** Bytes before `at` that may be copied; never more than were written. */
  past: number;
  /** Bytes written since it was opened or forgotten, modulo 2 to the 32, signed. */
  position: number;
}

export const openWindow = (): Window => ({ bytes: Buffer.alloc(0), at: 0, past: 0, position: 0 });

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

/**
 * Makes room for `count` bytes at `at`, keeping the last `size` bytes.
 * @throws Refusal 503 when all contexts together hold too much.
 */
export function makeRoom(window: Window, count: number, size: number): void {
  const { bytes, at } = window;
  if (at + count <= bytes.length) return;
  const kept = Math.min(window.past, size);
  const most = size + count + Math.max(1024 ** 2, size >> 2);
  if (bytes.length < kept + count || bytes.length < most) {
    const length = Math.max(kept + count, Math.min(most, Math.max(256 * 1024, bytes.length * 2)));
    if (length > bytes.length) {
      if (held + length - bytes.length > TOGETHER) {
        throw new Refusal(
          503,
          'context-budget',
          'the guard decompresses too many contexts at the moment; try again',
        );
      }
      held += length - bytes.length;
      const larger = Buffer.allocUnsafeSlow(length);
      larger.set(bytes.subarray(at - kept, at));
      window.bytes = larger;
      window.at = kept;
      window.past = kept;
      return;
    }
  }
  bytes.copyWithin(0, at - kept, at);
  window.at = kept;
  window.past = kept;
}

export function closeWindow(window: Window): void {
  held -= window.bytes.length;
  window.bytes = Buffer.alloc(0);
}

/** Copies `length` bytes from `distance` back; the two may overlap. Room must have been made. */
export function copyPast(window: Window, distance: number, length: number): void {
  const { bytes } = window;
  let { at } = window;
  const end = at + length;
  if (distance >= length && length > 32) {
    bytes.copyWithin(at, at - distance, at - distance + length);
  } else {
    for (; at < end; at++) bytes[at] = bytes[at - distance]!;
  }
  window.at = end;
  window.past += length;
  window.position = (window.position + length) | 0;
}

export function append(window: Window, piece: Uint8Array): void {
  const { bytes, at } = window;
  if (piece.length > 32) bytes.set(piece, at);
  else for (let i = 0; i < piece.length; i++) bytes[at + i] = piece[i]!;
  window.at += piece.length;
  window.past += piece.length;
  window.position = (window.position + piece.length) | 0;
}

/** From here on, nothing of what was written may be copied. */
export function forget(window: Window): void {
  window.past = 0;
  window.position = 0;
}

/** What was written since `from`, as bytes of its own. */
export const taken = (window: Window, from: number): Buffer =>
  Buffer.from(window.bytes.subarray(from, window.at));
