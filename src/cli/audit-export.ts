import type { RecordFormat } from '../base/audit-names.js';
import { formatLines, readTrail } from '../app/audit.js';
import type { Filter } from './audit-filter.js';
import { toFile, toStream, type Output } from './audit-output.js';
import type { Io } from './command.js';

export interface ExportOptions {
  readonly path: string;
  readonly format: RecordFormat;
  readonly filter: Filter;
  /** A file; undefined: stdout. */
  readonly out: string | undefined;
}

/** So much is written at once. */
const WRITE_SIZE = 128 * 1024;

/** `breakwater audit export`: a part of a trail in a format of a SIEM. In constant memory, as fast as it is read. */
export async function exportTrail({ path, format, filter, out }: ExportOptions, io: Io): Promise<number> {
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  const output =
    out === undefined ? toStream(io.stdout, stopping.signal, stop) : await toFile(out, stopping.signal);
  let bad = 0;
  let whole = false;
  try {
    bad = await copy(path, format, filter, output);
    whole = !stopping.signal.aborted;
  } finally {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
    await output.end(whole);
  }
  const report = (message: string): number => {
    io.stderr.write(`breakwater audit: ${message}\n`);
    return 1;
  };
  if (!whole && out !== undefined) return report(`stopped before the end; ${out} was not written`);
  if (bad > 0) {
    return report(`${bad} lines of ${path} are no records and were left out; see breakwater audit verify`);
  }
  return 0;
}

/** @returns how many lines were no records. */
async function copy(path: string, format: RecordFormat, filter: Filter, output: Output): Promise<number> {
  let bad = 0;
  let pieces: Buffer[] = [];
  let size = 0;
  const add = (bytes: Buffer): void => {
    pieces.push(bytes, LINE_END);
    size += bytes.length + 1;
  };
  const flush = (): Promise<boolean> => {
    const whole = Buffer.concat(pieces, size);
    pieces = [];
    size = 0;
    return output.write(whole);
  };
  const { since } = filter;
  for await (const lines of readTrail(path, since === undefined ? {} : { since })) {
    for (const { bytes, event } of lines) {
      if (event === undefined) bad += 1;
      else if (filter.wants(event)) {
        // As it stands, so that the chain can be checked.
        if (format === 'breakwater') add(bytes);
        else for (const line of formatLines(format, event)) add(Buffer.from(line));
        if (size >= WRITE_SIZE && !(await flush())) return bad;
      }
    }
  }
  if (size > 0) await flush();
  return bad;
}

const LINE_END = Buffer.from('\n');
