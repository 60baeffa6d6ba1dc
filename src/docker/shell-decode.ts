import type { SimpleCommand, TextBudget } from './shell-command.js';
import { spendText } from './shell-reader.js';

const SIMPLE: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', e: '\u001b', a: '\u0007' };

/** Backslash escapes as `$'…'`, `printf`, `echo -e` and other languages know them: `\x68`, `\150`, `\0150`, `\u0068`, `\n`. */
export function unescape(text: string): string {
  return text.replace(
    /\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|[uUx]\{([0-9a-fA-F]{1,6})\}|U([0-9a-fA-F]{1,8})|0?([0-7]{1,3})|([\s\S]))/g,
    (
      _whole: string,
      hex?: string,
      unicode?: string,
      braced?: string,
      long?: string,
      octal?: string,
      other: string = '',
    ) => {
      const code = hex ?? unicode ?? braced ?? long;
      if (code !== undefined) {
        const point = parseInt(code, 16);
        return point > 0x10ffff ? '' : String.fromCodePoint(point);
      }
      if (octal !== undefined) return String.fromCharCode(parseInt(octal, 8) & 0xff);
      return SIMPLE[other] ?? other;
    },
  );
}

const utf8 = new TextDecoder();

/** `%2E`, as often as it was encoded, up to three times; bytes beyond ASCII are UTF-8. */
export function decodePercent(text: string): string {
  let plain = text;
  for (let round = 0; round < 3; round++) {
    const next = plain.replace(/(?:%[0-9a-fA-F]{2})+/g, (run) => {
      const bytes = new Uint8Array(run.length / 3);
      for (let at = 0; at < bytes.length; at++) bytes[at] = parseInt(run.slice(3 * at + 1, 3 * at + 3), 16);
      return utf8.decode(bytes);
    });
    if (next === plain) break;
    plain = next;
  }
  return plain;
}

/** What echo or printf prints for these words; undefined for other commands. */
export function printedBy(name: string, args: readonly string[]): string | undefined {
  if (name === 'echo') {
    let first = 0;
    while (/^-[neE]+$/.test(args[first] ?? '')) first++;
    const text = args.slice(first).join(' ');
    return args.slice(0, first).some((flag) => flag.includes('e')) ? unescape(text) : text;
  }
  if (name !== 'printf' || args[0] === undefined) return undefined;
  const rest = args.slice(args[0] === '--' ? 2 : 1);
  let used = 0;
  const format = unescape(args[0] === '--' ? (args[1] ?? '') : args[0]);
  const text = format.replace(/%(?:%|[-+ 0#]?[0-9]{0,3}([sbcdi]))/g, (whole, kind?: string) => {
    if (whole === '%%') return '%';
    const value = rest[used++] ?? '';
    return kind === 'b' ? unescape(value) : value;
  });
  return [text, ...rest.slice(used)].join('');
}

/** What a filter that only decodes makes of a text; undefined for other commands. */
function filtered(name: string, args: readonly string[], text: string): string | undefined {
  const decodes = args.some((arg) => ['-d', '-D', '--decode', '-di'].includes(arg));
  switch (name) {
    case 'cat':
      return args.length === 0 ? text : undefined;
    case 'rev':
      return Array.from(text).reverse().join('');
    case 'base64':
      return decodes ? decodeBase64(text.replace(/\s/g, '')) : undefined;
    case 'base32':
      return decodes ? decodeBase32(text.replace(/\s/g, '')) : undefined;
    case 'xxd':
      return args.some((arg) => /^-.*r/.test(arg)) ? decodeHex(text.replace(/\s/g, '')) : undefined;
    case 'tr':
      return translate(args, text);
    case 'sed':
      return replaceLiteral(args, text);
    default:
      return undefined;
  }
}

/** The last part of a path: `/usr/bin/wget` is `wget`. */
export function baseName(word: string): string {
  return word.slice(word.lastIndexOf('/') + 1);
}

/**
 * What pipelines that begin with echo or printf print, up to the first command that does more than decode. Each step is
 * charged: thousands of `| cat` behind a long text would be quadratic.
 */
export function printedTexts(commands: readonly SimpleCommand[], budget: TextBudget): string[] {
  const texts: string[] = [];
  let text: string | undefined;
  for (const { words, piped } of commands) {
    const next = piped ? pass(words, text, budget) : printedBy(baseName(words[0] ?? ''), words.slice(1));
    if (text !== undefined && (!piped || next === undefined)) texts.push(text);
    text = next;
  }
  if (text !== undefined) texts.push(text);
  return texts;
}

/** The price of a character that goes through a filter such as `tr`. */
const FILTER_PRICE = 32;

/** What a filter makes of a text. */
function pass(words: readonly string[], text: string | undefined, budget: TextBudget): string | undefined {
  if (text === undefined || budget.left < 0) return undefined;
  spendText(budget, text.length, FILTER_PRICE * text.length);
  return filtered(baseName(words[0] ?? ''), words.slice(1), text);
}

/** What a short pipeline prints: echo or printf, then filters that only decode. */
export function printed(commands: readonly SimpleCommand[], budget: TextBudget): string | undefined {
  let text: string | undefined;
  for (const [index, { words, piped }] of commands.entries()) {
    if (piped !== index > 0) return undefined;
    text = index === 0 ? printedBy(baseName(words[0] ?? ''), words.slice(1)) : pass(words, text, budget);
    if (text === undefined) return undefined;
  }
  return text?.replace(/\n+$/, '');
}

/** `tr a-z n-za-m`, `tr -d '[]'`. */
function translate(args: readonly string[], text: string): string | undefined {
  const [first = '', second = ''] = args;
  if (first === '-d') {
    const gone = new Set(characters(second));
    return Array.from(text, (character) => (gone.has(character) ? '' : character)).join('');
  }
  if (first.startsWith('-') || second === '') return undefined;
  const to = characters(second);
  const map = new Map(characters(first).map((character, index) => [character, to[index] ?? to.at(-1) ?? '']));
  return Array.from(text, (character) => map.get(character) ?? character).join('');
}

/** A set of `tr`: characters, escapes and ranges. */
function characters(set: string): string[] {
  return Array.from(
    unescape(set.slice(0, 1024)).replace(
      /([a-zA-Z0-9])-([a-zA-Z0-9])/g,
      (_whole, from: string, to: string) => {
        let run = '';
        for (let code = from.charCodeAt(0); code <= to.charCodeAt(0); code++)
          run += String.fromCharCode(code);
        return run;
      },
    ),
  );
}

/** `sed s/_/./g` with words that stand for themselves. */
function replaceLiteral(args: readonly string[], text: string): string | undefined {
  const script = args.filter((arg) => arg !== '-e');
  const match = /^s([/|#,:_@])([^*[\]^$\\]{1,64}?)\1([^&\\]{0,64}?)\1(g?)$/.exec(script[0] ?? '');
  if (match === null || script.length !== 1) return undefined;
  const [, , from = '', to = '', all] = match;
  // A dot in a pattern is any character. No growth: a chain of them would be exponential.
  if (from.includes('.') || (all !== '' && to.length > from.length)) return undefined;
  return all === '' ? text.replace(from, () => to) : text.replaceAll(from, () => to);
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const DIGITS = digitsOf(ALPHABET);
DIGITS['-'.charCodeAt(0)] = 62;
DIGITS['_'.charCodeAt(0)] = 63;
const DIGITS32 = digitsOf('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567');

/** Values of digits by character code; 255 for what is none. */
function digitsOf(alphabet: string): Uint8Array {
  const digits = new Uint8Array(128).fill(255);
  for (let at = 0; at < alphabet.length; at++) digits[alphabet.charCodeAt(at)] = at;
  return digits;
}

/** Base64 of either alphabet to text; undefined when what comes out is not text. */
export function decodeBase64(text: string): string | undefined {
  const codes = decodeDigits(text, DIGITS, 6);
  if (codes === undefined) return undefined;
  // PowerShell encodes UTF-16.
  const wide = codes.length > 3 && codes.every((code, index) => index % 2 === 0 || code === 0);
  return toText(wide ? codes.filter((_code, index) => index % 2 === 0) : codes);
}

export function decodeBase32(text: string): string | undefined {
  const codes = decodeDigits(text, DIGITS32, 5);
  return codes === undefined ? undefined : toText(codes);
}

function decodeDigits(text: string, digits: Uint8Array, width: number): Uint8Array | undefined {
  const codes = new Uint8Array(Math.ceil((text.length * width) / 8));
  let length = 0;
  let bits = 0;
  let held = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x3d) break;
    const digit = code < 128 ? digits[code]! : 255;
    if (digit === 255) return undefined;
    held = ((held << width) | digit) & 0xffff;
    bits += width;
    if (bits >= 8) {
      bits -= 8;
      codes[length++] = held >> bits;
    }
  }
  return codes.subarray(0, length);
}

const NIBBLES = digitsOf('0123456789abcdef');
for (let digit = 10; digit < 16; digit++) NIBBLES['ABCDEF'.charCodeAt(digit - 10)] = digit;

/** Two digits a character; what is no digit is no text. */
export function decodeHex(text: string): string | undefined {
  const codes = new Uint8Array(text.length >> 1);
  for (let at = 0; at < codes.length; at++) {
    const high = NIBBLES[text.charCodeAt(2 * at)] ?? 255;
    const low = NIBBLES[text.charCodeAt(2 * at + 1)] ?? 255;
    codes[at] = high > 15 || low > 15 ? 255 : 16 * high + low;
  }
  return toText(codes);
}

/** Text from character codes; undefined when it is not text. */
export function toText(codes: Uint8Array | readonly number[]): string | undefined {
  if (codes.length < 4) return undefined;
  let unprintable = 0;
  for (const code of codes) {
    if (!((code >= 32 && code < 127) || (code >= 9 && code <= 13))) unprintable++;
  }
  if (unprintable * 20 > codes.length) return undefined;
  const parts: string[] = [];
  for (let at = 0; at < codes.length; at += 4096) {
    parts.push(String.fromCharCode(...codes.slice(at, at + 4096)));
  }
  return parts.join('');
}
