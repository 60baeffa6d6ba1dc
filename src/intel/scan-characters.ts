/** Kinds of characters, as bits; a character may be of several. */
export const HOST = 1;
export const DOT = 2;
export const DASH = 4;
export const DIGIT = 8;
export const UPPER = 16;
export const SLASH = 32;

const KINDS = new Uint8Array(128);
for (let code = 0; code < 128; code++) {
  const character = String.fromCharCode(code);
  if (/[A-Za-z0-9_-]/.test(character)) KINDS[code]! |= HOST;
  if (character === '.') KINDS[code]! |= DOT;
  if (/[-_]/.test(character)) KINDS[code]! |= DASH;
  if (/[0-9]/.test(character)) KINDS[code]! |= DIGIT;
  if (/[A-Z]/.test(character)) KINDS[code]! |= UPPER;
  if (/[/\\]/.test(character)) KINDS[code]! |= SLASH;
}

/** Kinds of an ASCII character; 0 for all others, and for NaN behind the end of a text. */
export function kindOf(code: number): number {
  return code < 128 ? KINDS[code]! : 0;
}

/** Blanks, quotes and punctuation of other scripts, which end a name as their ASCII kin do. */
const ENDS = new Set([
  ...[0x80, 0x85, 0xa0, 0xab, 0xbb, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0x3001, 0xfeff, 0xfffd],
  // Full-width comma, semicolon, colon, exclamation and question mark, parentheses.
  ...[0xff0c, 0xff1b, 0xff1a, 0xff01, 0xff1f, 0xff08, 0xff09],
]);
const ENDING = [
  [0x2000, 0x200a],
  [0x2010, 0x2023],
  [0x3008, 0x3011],
] as const;

/** Whether a character beyond ASCII may belong to a name. */
export function isWide(code: number): boolean {
  return !ENDS.has(code) && !ENDING.some(([from, to]) => code >= from && code <= to);
}

/** What the URL standard reads as a dot. */
export function isDotLike(code: number): boolean {
  return code === 0x2e || code === 0x3002 || code === 0xff0e || code === 0xff61 || code === 0x2024;
}

/** What may end a URL in a shell or a sentence, and may as well be a part of it. */
export const SOFT = /[;,)&|}\]$*!(\\]/g;

/** The next character that cannot stand in a URL: a blank, a quote, a control character, an angle bracket; at most `most`. */
export function endOfToken(text: string, from: number, most: number): number {
  const end = Math.min(text.length, most);
  for (let at = from; at < end; at++) {
    const code = text.charCodeAt(at);
    if (code <= 0x20 || code === 0x22 || code === 0x27 || code === 0x60 || code === 0x3c || code === 0x3e)
      return at;
  }
  return Math.max(end, from);
}
