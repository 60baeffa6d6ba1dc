import { Refusal } from './refusal.js';

/** One `name=value` of a query or a form, decoded. */
export type Pair = readonly [name: string, value: string];

/** More parameters than any operation has; a longer list only serves to cost time. */
const MAXIMUM_PAIRS = 1024;

/**
 * Reads a query string or an urlencoded body as url.ParseQuery of Go reads it (net/url/url.go): `&` separates, `+` is a
 * space, names are case-sensitive, empty pairs are skipped. What Go drops silently (`;`, bad escapes; on `/build` dockerd
 * goes on without them) is refused.
 *
 * @throws Refusal 400
 */
export function parsePairs(raw: string): Pair[] {
  const pairs: Pair[] = [];
  if (raw === '') return pairs;
  if (raw.includes(';')) {
    throw new Refusal(
      400,
      'query-separator',
      'a ";" in the query or form: separate parameters with "&", or encode it as %3B',
    );
  }
  const plain = !raw.includes('%') && !raw.includes('+');
  for (let start = 0; start <= raw.length;) {
    let end = raw.indexOf('&', start);
    if (end < 0) end = raw.length;
    if (end > start) {
      if (pairs.length === MAXIMUM_PAIRS) {
        throw new Refusal(400, 'too-many-parameters', `more than ${MAXIMUM_PAIRS} query or form parameters`);
      }
      const piece = raw.slice(start, end);
      const equals = piece.indexOf('=');
      const name = equals < 0 ? piece : piece.slice(0, equals);
      const value = equals < 0 ? '' : piece.slice(equals + 1);
      pairs.push(plain ? [name, value] : [decode(name), decode(value)]);
    }
    start = end + 1;
  }
  return pairs;
}

function decode(text: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw new Refusal(
      400,
      'query-encoding',
      `"${text.slice(0, 64)}" in the query or form has an invalid percent escape, or one that is not UTF-8`,
    );
  }
  // The kernel ends a path at NUL where Go does not.
  if (decoded.includes('\0'))
    throw new Refusal(400, 'query-character', 'an encoded NUL in the query or form');
  return decoded;
}
