import { csvRows, splitCsvLine } from './csv.js';
import { startRun } from './run.js';
import { linesOf, withoutComment } from './lines.js';

/** How much of a text is used to detect its format, in UTF-16 units. */
export const HEAD = 256 * 1024;
const LINES = 200;

/** The beginning of a text, read in the ways by which formats are distinguished. */
export interface Sample {
  readonly head: string;
  /** The text begins with `{` or `[`. */
  readonly json: boolean;
  /** Up to 200 whole lines that are not empty. */
  readonly lines: readonly string[];
  /** The same without comments. */
  readonly data: readonly string[];
  /** Rows that may be a CSV header: those in comments, and the first other one. */
  readonly rows: readonly (readonly string[])[];
}

export function sampleOf(text: string): Sample {
  const cut = text.slice(0, HEAD);
  const head = text.length > HEAD ? cut.slice(0, cut.lastIndexOf('\n') + 1) || cut : cut;
  const lines: string[] = [];
  for (const line of linesOf(head, startRun(0))) {
    if (lines.push(line.text) === LINES) break;
  }
  const data = lines.map(withoutComment).filter((line) => line !== '');
  return { head, json: /^\s*[[{]/.test(head), lines, data, rows: headerRows(head) };
}

function headerRows(head: string): string[][] {
  const rows: string[][] = [];
  for (const row of csvRows(head)) {
    if (row.kind === 'cells') {
      rows.push(row.cells);
      break;
    }
    if (row.kind === 'comment') rows.push(splitCsvLine(row.text) ?? []);
  }
  return rows;
}
