/** The place of the quote that closes `$'…`, of which `from` is the first character; the end when none does. */
export function endOfAnsi(text: string, from: number): number {
  let at = from;
  while (at < text.length && text.charAt(at) !== "'") at += text.charAt(at) === '\\' ? 2 : 1;
  return Math.min(at, text.length);
}

/** The place after the parenthesis that closes the one at `from`, quotes respected; the end when none does. */
export function endOfParens(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const character = text.charAt(at);
    if (character === '\\') at++;
    else if (character === "'") {
      const end = text.indexOf("'", at + 1);
      if (end < 0) return text.length;
      at = end;
    } else if (character === '(') depth++;
    else if (character === ')' && --depth === 0) return at + 1;
  }
  return text.length;
}

/** The place of the brace that closes `${…`, of which `from` is the first character; the end when none does. */
export function endOfBraces(text: string, from: number): number {
  let depth = 1;
  for (let at = from; at < text.length; at++) {
    const character = text.charAt(at);
    if (character === '\\') at++;
    else if (character === '{' && text.charAt(at - 1) === '$') depth++;
    else if (character === '}' && --depth === 0) return at;
  }
  return text.length;
}
