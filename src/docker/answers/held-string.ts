import { NOTHING } from './transform.js';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The bytes of one JSON string that came in several pieces, up to a limit. */
export class HeldString {
  /** The string is longer than the limit and cannot be used. */
  isTooLong = false;
  length = 0;
  #bytes: Uint8Array = NOTHING;

  /** Begins another string. */
  clear(): void {
    this.isTooLong = false;
    this.length = 0;
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  add(piece: Uint8Array, from: number, end: number, limit: number): void {
    const length = this.length + end - from;
    if (this.isTooLong || length > limit) {
      this.isTooLong = true;
      return;
    }
    if (length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(length, this.#bytes.length * 2, 256));
      larger.set(this.bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(piece.subarray(from, end), this.length);
    this.length = length;
  }
}

/**
 * The text of a valid JSON string, given without its quotes.
 *
 * @param hasEscapes it has escapes or bytes beyond ASCII.
 */
export function decodeString(bytes: Uint8Array, from: number, end: number, hasEscapes: boolean): string {
  if (hasEscapes) {
    const text = utf8.decode(bytes.subarray(from, end));
    return text.includes('\\') ? (JSON.parse(`"${text}"`) as string) : text;
  }
  if (end - from > 64) return utf8.decode(bytes.subarray(from, end));
  let text = '';
  for (let i = from; i < end; i++) text += String.fromCharCode(bytes[i]!);
  return text;
}
