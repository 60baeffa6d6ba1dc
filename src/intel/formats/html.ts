/** Tags inside a line of text: `198.51<b>[.]</b>100.7` is one word. Every other tag ends a word. */
const INLINE = new Set(
  'a abbr b bdi bdo big cite code del dfn em font i ins kbd mark q s samp small span strong sub sup tt u var wbr'.split(
    ' ',
  ),
);
/** Elements whose content is not shown to readers. */
const UNSEEN = new Set(['script', 'style', 'template', 'noscript', 'svg', 'head']);
const MAX_TAG = 64 * 1024;

const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
  period: '.',
  colon: ':',
  sol: '/',
  lbrack: '[',
  lsqb: '[',
  rbrack: ']',
  rsqb: ']',
  lpar: '(',
  rpar: ')',
  lcub: '{',
  rcub: '}',
  commat: '@',
};

/** Whether a text is HTML rather than text that holds a `<`. */
export function isHtml(text: string): boolean {
  return /<(?:!doctype html|html|head|body|div|table|article|section|p|ul|ol|pre)[\s>]/i.test(
    text.slice(0, 64 * 1024),
  );
}

/** The text that a reader sees, roughly: tags, comments, scripts and styles left out, entities decoded. Linear. */
export function textOfHtml(html: string): string {
  const parts: string[] = [];
  const lost = new Set<string>();
  let at = 0;
  while (at < html.length) {
    const open = html.indexOf('<', at);
    if (open < 0) break;
    parts.push(html.slice(at, open));
    if (html.startsWith('<!--', open)) {
      const end = lost.has('-->') ? -1 : html.indexOf('-->', open + 4);
      // Looked for once: a page of a million `<!--` must not be read a million times.
      if (end < 0) lost.add('-->');
      at = end < 0 ? open + 4 : end + 3;
      continue;
    }
    const [, slash = '', name = ''] =
      /^<(\/?)([a-z][a-z0-9-]{0,31}|[!?])/i.exec(html.slice(open, open + 36)) ?? [];
    if (name === '') {
      parts.push('<');
      at = open + 1;
      continue;
    }
    const tag = name.toLowerCase();
    at = tagEnd(html, open + 1);
    if (!INLINE.has(tag)) parts.push('\n');
    if (slash === '' && UNSEEN.has(tag) && !lost.has(tag)) {
      const end = closing(html, tag, at);
      if (end < 0) lost.add(tag);
      else at = end;
    }
  }
  parts.push(html.slice(at));
  return decodeEntities(parts.join(''));
}

/** Behind the `>` of a tag; a `>` in a quoted attribute does not count. A tag without an end is text from here on. */
function tagEnd(html: string, start: number): number {
  let quote = 0;
  const limit = Math.min(html.length, start + MAX_TAG);
  for (let at = start; at < limit; at++) {
    const code = html.charCodeAt(at);
    if (quote !== 0) {
      if (code === quote) quote = 0;
    } else if (code === 0x22 || code === 0x27) quote = code;
    else if (code === 0x3e) return at + 1;
  }
  const plain = html.slice(start, limit).indexOf('>');
  return plain < 0 ? limit : start + plain + 1;
}

function closing(html: string, tag: string, start: number): number {
  const end = new RegExp(`</${tag}`, 'gi');
  end.lastIndex = start;
  return end.exec(html)?.index ?? -1;
}

function decodeEntities(text: string): string {
  return text.replace(
    /&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z]{2,8}));/gi,
    (whole, decimal?: string, hex?: string, name?: string) => {
      if (name !== undefined) return Object.hasOwn(ENTITIES, name) ? (ENTITIES[name] ?? whole) : whole;
      const code = decimal === undefined ? Number.parseInt(hex ?? '', 16) : Number(decimal);
      return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    },
  );
}
