import type { Indicator } from '../indicator.js';
import { csvRows, splitCsvLine } from './csv.js';
import { fail, quote, reject, type Run } from './run.js';
import type { Format } from './format.js';
import { fieldName, missingFrom, readFields, type Fields, type Shape } from './fields.js';
import { GENERIC, FEODO, SSLBL_IP, SSLBL_SHA1, THREATFOX, URLHAUS } from './shapes.js';
import type { Sample } from './sample.js';

/** The formats that are tables with a header, wherever that stands. */
export const CSV_FORMATS = {
  'feodo-csv': tableFormat(FEODO),
  'urlhaus-csv': tableFormat(URLHAUS),
  'threatfox-csv': tableFormat(THREATFOX),
  'sslbl-sha1': tableFormat(SSLBL_SHA1),
  'sslbl-ip': tableFormat(SSLBL_IP),
  csv: {
    detect: ({ rows }: Sample) =>
      rows.some((cells) => cells.length > 1 && columnsOf(GENERIC, cells)) ? 2 : 0,
    parse: (text: string, run: Run) => readTable(text, GENERIC, run),
  },
} satisfies Record<string, Format>;

function tableFormat(shape: Shape): Format {
  return {
    detect: ({ rows }) => (rows.some((cells) => columnsOf(shape, cells)) ? 3 : 0),
    parse: (text, run) => readTable(text, shape, run),
  };
}

type Columns = ReadonlyMap<string, number>;

/** Where each column of a header is; undefined when the row is no header of such a feed. */
function columnsOf(shape: Shape, cells: readonly string[]): Columns | undefined {
  const columns = new Map<string, number>();
  cells.forEach((cell, index) => {
    const name = fieldName(cell);
    if (!columns.has(name)) columns.set(name, index);
  });
  return missingFrom(shape, (name) => columns.has(name)).length === 0 ? columns : undefined;
}

/**
 * Reads a table by the names in its header, which may stand in a comment, never by position: columns move between
 * versions of a feed. A row with another number of fields than the header is rejected.
 */
function* readTable(text: string, shape: Shape, run: Run): Generator<Indicator> {
  let columns: Columns | undefined;
  let width = 0;
  for (const row of csvRows(text)) {
    if (run.failure !== undefined) return;
    if (row.kind === 'end') {
      fail(run, row.line, row.reason);
    } else if (row.kind === 'bad') {
      reject(run, row.line, row.reason);
    } else {
      const cells = row.kind === 'cells' ? row.cells : splitCsvLine(row.text);
      const header =
        columns === undefined || row.kind === 'comment' ? columnsOf(shape, cells ?? []) : undefined;
      if (header !== undefined) {
        columns = header;
        width = cells?.length ?? 0;
      } else if (row.kind === 'cells') {
        if (columns === undefined) {
          fail(run, row.line, `no header before the first entry names ${missing(shape, row.cells)}`);
          return;
        }
        if (row.cells.length === width || (row.cells.length === width + 1 && row.cells[width] === '')) {
          yield* readFields(shape, fieldsOf(columns, row.cells), run, row.line);
        } else {
          reject(run, row.line, `${row.cells.length} fields where the header has ${width}`);
        }
      }
    }
  }
  if (columns === undefined) fail(run, 1, 'there is no header');
}

function missing(shape: Shape, cells: readonly string[]): string {
  const names = new Set(cells.map(fieldName));
  return missingFrom(shape, (name) => names.has(name))
    .map(quote)
    .join(', ');
}

function fieldsOf(columns: Columns, cells: readonly string[]): Fields {
  return (names) => {
    for (const name of names) {
      const index = columns.get(name);
      const cell = index === undefined ? undefined : cells[index];
      if (cell !== undefined && cell !== '') return cell;
    }
    return '';
  };
}
