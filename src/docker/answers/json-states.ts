import { AnswerError } from './transform.js';

/*
 * The states of a reader of JSON (RFC 8259) that takes one byte after the other, and the bytes that lead from one to
 * the next.
 */

// What the next byte is part of.
export const VALUE = 0;
export const FIRST_ITEM = 1;
export const FIRST_KEY = 2;
export const NEXT_KEY = 3;
export const COLON = 4;
export const AFTER_VALUE = 5;
export const BETWEEN = 6;
export const STRING = 7;
export const ESCAPE = 8;
export const HEX = 9;
export const UTF8 = 10;
export const WORD = 11;
// Numbers; in those from ZERO on the number may end.
export const MINUS = 12;
export const POINT = 13;
export const EXPONENT = 14;
export const EXPONENT_SIGN = 15;
export const ZERO = 16;
export const DIGITS = 17;
export const FRACTION = 18;
export const EXPONENT_DIGITS = 19;
/** No state: the character after a number ends it and does not belong to it. */
export const ENDED = -1;

/** Bytes of a string that need no second look. */
export const PLAIN = new Uint8Array(256).map((_, byte) =>
  byte >= 0x20 && byte < 0x80 && byte !== 0x22 && byte !== 0x5c ? 1 : 0,
);
export const ESCAPES = new Set(Array.from('"\\/bfnrt', (character) => character.charCodeAt(0)));
export const WORDS: ReadonlyMap<number, string> = new Map([
  [0x74, 'true'],
  [0x66, 'false'],
  [0x6e, 'null'],
]);

export const isHex = (byte: number): boolean =>
  (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);

/** @throws AnswerError always. */
export function notJson(what: string): never {
  throw new AnswerError(`it is not valid JSON: ${what}`);
}

/** @returns the state after a byte of a number; ENDED when the number has ended before it. @throws AnswerError */
export function afterNumberByte(mode: number, byte: number): number {
  const digit = byte >= 0x30 && byte <= 0x39;
  switch (mode) {
    case MINUS:
      if (!digit) notJson('a number without digits');
      return byte === 0x30 ? ZERO : DIGITS;
    case POINT:
      if (!digit) notJson('a number without digits');
      return FRACTION;
    case EXPONENT:
    case EXPONENT_SIGN:
      if (mode === EXPONENT && (byte === 0x2b || byte === 0x2d)) return EXPONENT_SIGN;
      if (!digit) notJson('a number without digits');
      return EXPONENT_DIGITS;
    default:
      if (digit && mode !== ZERO) return mode;
      if (byte === 0x2e && mode <= DIGITS) return POINT;
      if ((byte === 0x65 || byte === 0x45) && mode !== EXPONENT_DIGITS) return EXPONENT;
      if (digit) notJson('a number with a leading zero');
      return ENDED;
  }
}
