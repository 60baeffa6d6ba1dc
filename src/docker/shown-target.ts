import { OPERATIONS } from './catalogue.js';

/** Where the path of a target ends, or would end if it had been written as it was meant. */
const PATH_END = /[?&;#=]|%(?:3[bdf]|2[36])/i;

/** User and password of an authority. */
const USER = /^([a-z][a-z0-9+.-]{0,30}:\/\/)?[^/]*@/i;

let names: ReadonlySet<string> | undefined;

/**
 * A request target for the record: its path, and the names of the parameters that some operation has. Values are left
 * out, because build arguments and credentials are among them; so is everything that may be a piece of one, as behind an
 * `&` that should have been encoded.
 */
export function shownTarget(target: string): string {
  const whole = target.startsWith('/') ? target : target.replace(USER, '$1***@');
  const end = whole.search(PATH_END);
  if (end < 0) return whole;
  names ??= new Set(OPERATIONS.flatMap(({ query }) => Object.keys(query)));
  const pieces = whole.startsWith('?', end) ? whole.slice(end + 1).split('&', MAX_PIECES) : [''];
  const known = names;
  const shown = pieces.map((piece) => {
    const name = piece.slice(0, Math.max(0, piece.indexOf('=')));
    return known.has(name) ? `${name}=***` : '***';
  });
  // The same again and again says nothing.
  const apart = shown.filter((piece, index) => piece !== '***' || shown[index - 1] !== '***');
  return `${whole.slice(0, end)}?${apart.join('&')}`;
}

/** More parameters than any operation has. */
const MAX_PIECES = 64;
