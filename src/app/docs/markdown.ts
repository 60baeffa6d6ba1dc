/** A Markdown table, its columns padded as prettier pads them, so that formatting the page changes nothing. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll('|', '\\|')));
  const widths = head.map((_, column) => Math.max(3, ...cells.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`;
  const rule = line(widths.map((width) => '-'.repeat(width)));
  return [line(cells[0]!), rule, ...cells.slice(1).map(line)].join('\n');
}

/** A text as inline code. */
export const code = (text: string): string => `\`${text}\``;

/** A code block by indentation; prettier leaves it as it is. */
export const block = (text: string): string =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => (line === '' ? '' : `    ${line}`))
    .join('\n');

const BLOCK = /(<!-- generated: ([a-z-]+)[^>]* -->\n)[^]*?(<!-- end of generated -->)/g;

/**
 * Writes the generated parts of a page anew; what stands between them is written by hand.
 *
 * @param parts the parts by the name in their first mark, `<!-- generated: NAME -->`.
 * @throws Error when a mark names no part, or a part has no mark on the page.
 */
export function fill(page: string, parts: ReadonlyMap<string, string>): string {
  const filled = new Set<string>();
  const text = page.replace(BLOCK, (_, begin: string, name: string, end: string) => {
    const part = parts.get(name);
    if (part === undefined) throw new Error(`nothing generates the part ${name}`);
    filled.add(name);
    return `${begin}\n${part}\n\n${end}`;
  });
  const missing = [...parts.keys()].filter((name) => !filled.has(name));
  if (missing.length > 0) throw new Error(`the page has no mark for ${missing.join(', ')}`);
  return text;
}
