import { Refusal } from './refusal.js';

const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]+\/[!#$%&'*+.^_`|~0-9a-z-]+$/;
const PARAMETER =
  /^\s*;\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|"([^"\\\0-\x1f\x7f]*)")/;

/**
 * The media type without parameters, lower-case, as mime.ParseMediaType gives it; malformed parameters do not matter
 * there, because Go reads a form in spite of them (net/http/request.go, parsePostForm). `""` for an empty header.
 *
 * @throws Refusal 400 when it is not `type/subtype`
 */
export function parseMediaType(header: string): string {
  if (header === 'application/json' || header === '') return header;
  const semicolon = header.indexOf(';');
  const base = (semicolon < 0 ? header : header.slice(0, semicolon)).trim().toLowerCase();
  if (!TOKEN.test(base)) {
    throw new Refusal(
      400,
      'content-type',
      `the Content-Type "${header.slice(0, 100)}" is not of the form type/subtype`,
    );
  }
  return base;
}

/**
 * Demands that the parameters of a JSON Content-Type are well-formed and name no charset but UTF-8.
 *
 * @throws Refusal 400, 415
 */
export function checkJsonParameters(header: string): void {
  let rest = header.includes(';') ? header.slice(header.indexOf(';')) : '';
  const seen = new Set<string>();
  while (rest.trim() !== '' && rest.trim() !== ';') {
    const match = PARAMETER.exec(rest);
    const name = match?.[1]?.toLowerCase();
    if (match === null || name === undefined || seen.has(name)) {
      throw new Refusal(
        400,
        'content-type',
        `the Content-Type "${header.slice(0, 100)}" has malformed parameters`,
      );
    }
    seen.add(name);
    const value = match[2] ?? match[3] ?? '';
    // `charset*0=` and the like spell a charset in pieces (RFC 2231).
    if (name.startsWith('charset') && (name !== 'charset' || !/^utf-?8$/i.test(value))) {
      throw new Refusal(
        415,
        'charset',
        'a JSON body must be UTF-8: drop the charset from the Content-Type, or write utf-8',
      );
    }
    rest = rest.slice(match[0].length);
  }
}
