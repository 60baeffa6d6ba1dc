/** A word of a pattern that stands for itself: no `*`, `?`, `[`, quotes or further substitutions. */
const LITERAL = /^[^*?[\]\\$`"'{}]{0,256}$/;

/**
 * What `${NAME` + operation + `}` makes of a value, for literal words: `%word`, `#word`, `/word/word`, `//word/word`,
 * `:offset:length`. Undefined for expansions that are not computed.
 */
export function operate(value: string, operation: string): string | undefined {
  if (operation === '') return value;
  const cut = /^(%%?|##?)(.*)$/s.exec(operation);
  if (cut !== null) {
    const [, kind = '', word = ''] = cut;
    if (!LITERAL.test(word)) return undefined;
    if (kind.startsWith('%'))
      return value.endsWith(word) ? value.slice(0, value.length - word.length) : value;
    return value.startsWith(word) ? value.slice(word.length) : value;
  }
  const swap = /^(\/\/?)([^/]+)(?:\/(.*))?$/s.exec(operation);
  if (swap !== null) {
    const [, kind, from = '', to = ''] = swap;
    if (!LITERAL.test(from) || !LITERAL.test(to)) return undefined;
    return kind === '/' ? value.replace(from, () => to) : value.replaceAll(from, () => to);
  }
  const part = /^:([0-9]{1,5})(?::([0-9]{1,5}))?$/.exec(operation);
  if (part === null) return undefined;
  const from = Number(part[1]);
  return part[2] === undefined ? value.slice(from) : value.slice(from, from + Number(part[2]));
}
