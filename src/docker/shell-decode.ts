const SIMPLE: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', e: '\u001b', a: '\u0007' };

/** Backslash escapes as `$'…'`, `printf` and `echo -e` know them: `\x68`, `\150`, `\0150`, `\u0068`, `\n`. */
export function unescape(text: string): string {
  return text.replace(
    /\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|0?([0-7]{1,3})|([\s\S]))/g,
    (_whole: string, hex?: string, unicode?: string, octal?: string, other: string = '') => {
      const code = hex ?? unicode;
      if (code !== undefined) return String.fromCharCode(parseInt(code, 16));
      if (octal !== undefined) return String.fromCharCode(parseInt(octal, 8) & 0xff);
      return SIMPLE[other] ?? other;
    },
  );
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
export function filtered(name: string, args: readonly string[], text: string): string | undefined {
  if (name === 'cat' && args.length === 0) return text;
  if (name === 'rev') return Array.from(text).reverse().join('');
  if (name === 'base64' && args.some((arg) => ['-d', '-D', '--decode', '-di'].includes(arg))) {
    return decodeBase64(text.replace(/\s/g, ''));
  }
  if (name === 'xxd' && args.some((arg) => /^-.*r/.test(arg))) return decodeHex(text.replace(/\s/g, ''));
  return undefined;
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** Base64 of either alphabet to text; undefined when what comes out is not text. */
export function decodeBase64(text: string): string | undefined {
  const codes: number[] = [];
  let bits = 0;
  let held = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text.charAt(at);
    if (character === '=') break;
    const digit = ALPHABET.indexOf(character === '-' ? '+' : character === '_' ? '/' : character);
    if (digit < 0) return undefined;
    held = ((held << 6) | digit) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      codes.push((held >> bits) & 0xff);
    }
  }
  // PowerShell encodes UTF-16.
  const wide = codes.length > 3 && codes.every((code, index) => index % 2 === 0 || code === 0);
  return toText(wide ? codes.filter((_code, index) => index % 2 === 0) : codes);
}

export function decodeHex(text: string): string | undefined {
  const codes: number[] = [];
  for (let at = 0; at + 1 < text.length; at += 2) codes.push(parseInt(text.slice(at, at + 2), 16));
  return toText(codes);
}

function toText(codes: readonly number[]): string | undefined {
  const odd = codes.filter((code) => !((code >= 32 && code < 127) || (code >= 9 && code <= 13))).length;
  if (codes.length < 4 || odd * 20 > codes.length) return undefined;
  const parts: string[] = [];
  for (let at = 0; at < codes.length; at += 4096) {
    parts.push(String.fromCharCode(...codes.slice(at, at + 4096)));
  }
  return parts.join('');
}
