/** Longest row, in UTF-16 units. A quoted field may hold line breaks; one that runs on longer was never closed. */
const MAX_ROW = 64 * 1024;
const MAX_CELLS = 256;

/** One row of a CSV text. */
export type CsvRow =
  | { readonly kind: 'cells'; readonly line: number; readonly cells: string[] }
  | { readonly kind: 'comment'; readonly line: number; readonly text: string }
  | { readonly kind: 'bad'; readonly line: number; readonly reason: string }
  /** Nothing after it can be trusted, and nothing follows. */
  | { readonly kind: 'end'; readonly line: number; readonly reason: string };

/**
 * Splits CSV as RFC 4180 has it, with what feeds add: white space around fields (`"a", "b"`), comment lines that begin
 * with `#`, bare line feeds. Linear: an unclosed quote ends the reading instead of being tried again from each line.
 */
export function* csvRows(text: string, separator = ','): Generator<CsvRow> {
  let line = 1;
  let at = 0;
  while (at < text.length) {
    const first = text.charCodeAt(at);
    if (first === LF || first === CR) {
      if (first === LF) line++;
      at++;
      continue;
    }
    if (first === HASH) {
      const end = lineEnd(text, at);
      yield { kind: 'comment', line, text: text.slice(at + 1, Math.min(end, at + MAX_ROW)).trim() };
      at = end;
      continue;
    }
    const row = readRow(text, at, separator.charCodeAt(0));
    const start = line;
    line += row.breaks;
    at = row.next;
    if (row.kind === 'cells') {
      if (row.cells.length > 1 || row.cells[0] !== '') yield { kind: 'cells', line: start, cells: row.cells };
      continue;
    }
    yield { kind: row.kind, line: start, reason: row.reason };
    if (row.kind === 'end') return;
  }
}

/** The fields of one line, for headers that stand in a comment; undefined when it is no row. */
export function splitCsvLine(text: string, separator = ','): string[] | undefined {
  const row = readRow(text, 0, separator.charCodeAt(0));
  return row.kind === 'cells' && row.next >= text.length ? row.cells : undefined;
}

const LF = 0x0a;
const CR = 0x0d;
const QUOTE = 0x22;
const HASH = 0x23;

type ReadRow = { readonly next: number; readonly breaks: number } & (
  | { readonly kind: 'cells'; readonly cells: string[] }
  | { readonly kind: 'bad' | 'end'; readonly reason: string }
);

function readRow(text: string, start: number, separator: number): ReadRow {
  const cells: string[] = [];
  const limit = Math.min(text.length, start + MAX_ROW);
  let breaks = 0;
  let at = start;
  for (;;) {
    while (at < limit && isSpace(text.charCodeAt(at)) && text.charCodeAt(at) !== separator) at++;
    if (text.charCodeAt(at) === QUOTE && at < limit) {
      const field = readQuoted(text, at + 1, limit);
      if (field === undefined) {
        if (limit === text.length)
          return { kind: 'end', next: limit, breaks, reason: 'a quote is never closed' };
        return { kind: 'end', next: limit, breaks, reason: `a quoted field runs over ${MAX_ROW} characters` };
      }
      breaks += field.breaks;
      at = field.next;
      while (at < limit && isSpace(text.charCodeAt(at)) && text.charCodeAt(at) !== separator) at++;
      cells.push(field.value);
    } else {
      const from = at;
      while (at < limit && text.charCodeAt(at) !== separator && text.charCodeAt(at) !== LF) at++;
      cells.push(text.slice(from, at).trimEnd());
    }
    if (at >= text.length) return { kind: 'cells', cells, next: at, breaks };
    const code = text.charCodeAt(at);
    if (code === LF || (code === CR && text.charCodeAt(at + 1) === LF))
      return { kind: 'cells', cells, next: at, breaks };
    if (code !== separator || at >= limit || cells.length >= MAX_CELLS) {
      const reason =
        code === separator || at >= limit ? 'the row is too long' : 'text follows a closing quote';
      return { kind: 'bad', next: lineEnd(text, at), breaks, reason };
    }
    at++;
  }
}

function readQuoted(
  text: string,
  start: number,
  limit: number,
): { value: string; next: number; breaks: number } | undefined {
  let doubled = false;
  let breaks = 0;
  for (let at = start; at < limit; at++) {
    const code = text.charCodeAt(at);
    if (code === LF) breaks++;
    if (code !== QUOTE) continue;
    if (text.charCodeAt(at + 1) === QUOTE) {
      doubled = true;
      at++;
      continue;
    }
    const value = text.slice(start, at);
    return { value: doubled ? value.replaceAll('""', '"') : value, next: at + 1, breaks };
  }
  return undefined;
}

function lineEnd(text: string, at: number): number {
  const end = text.indexOf('\n', at);
  return end < 0 ? text.length : end;
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
