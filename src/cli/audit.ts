import { parseArgs } from 'node:util';
import { RECORD_FORMATS, type RecordFormat } from '../base/audit-names.js';
import { jsonLine, readTrail, requireTrail, verifyTrail } from '../app/audit.js';
import { exportTrail } from './audit-export.js';
import { FILTER_HELP, FILTER_OPTIONS, readFilter, type Filter } from './audit-filter.js';
import { painter, readableLine } from './audit-line.js';
import { toStream } from './audit-output.js';
import { command, UsageError, type Io } from './command.js';

const HELP = `breakwater audit verify|tail|export PATH: look at an audit trail

  verify DIR      check a journal: every record against the one before it, every checkpoint
    --key F         public key that signed the checkpoints (key.pem.pub); without it signatures are not checked
    --shipped F     JSON lines that were kept elsewhere, from a SIEM for instance: their checkpoints must stand in
                    the journal. Only so an end that was cut off can be seen
    --json          the result as JSON
  tail PATH       show a journal (a directory) or a file of JSON lines in words
    -f, --follow    go on with what is written from now on
    --json          the events as JSON
  export PATH     a part of a journal, or of a file of JSON lines, for a SIEM or for evidence; needs --since
    --format F      ${RECORD_FORMATS.join(', ')}; the default, breakwater, is each line as it stands, with which the chain of a
                    journal can still be checked
    --out FILE      written whole or not at all, for its owner only; default: stdout
  tail and export take these, all of which must hold:
${FILTER_HELP}
Exit codes: 0 fine, 1 the journal is not what it was (the first bad record is named), has lines that are no records or
cannot be read, 2 wrong usage.
`;

type Values = Readonly<Record<string, string | boolean | undefined>>;

/** `breakwater audit …` */
export const runAudit = command('audit', HELP, async (args, io) => {
  const { values, positionals } = parseArgs({
    args,
    options: {
      json: { type: 'boolean' },
      key: { type: 'string' },
      shipped: { type: 'string' },
      follow: { type: 'boolean', short: 'f' },
      format: { type: 'string' },
      out: { type: 'string' },
      ...FILTER_OPTIONS,
    },
    allowPositionals: true,
  });
  const [what = '', path, ...more] = positionals;
  const allowed = OPTIONS.get(what);
  if (allowed === undefined)
    throw new UsageError(
      what === ''
        ? 'say what to do: verify, tail or export'
        : `there is no "${what}": verify, tail or export`,
    );
  if (path === undefined || more.length > 0) throw new UsageError(`${what} takes one path`);
  const unknownOption = Object.keys(values).find((name) => !allowed.has(name));
  if (unknownOption !== undefined) throw new UsageError(`${what} has no option --${unknownOption}`);
  const filter = readFilter(values, Date.now());
  if (typeof filter === 'string') throw new UsageError(filter);
  const format = readFormat(values.format);
  if (what === 'export' && values.since === undefined)
    throw new UsageError('export needs --since T; --since 1970-01-01 is everything');
  requireTrail(path);
  if (what === 'verify') return verify(path, values, io);
  if (what === 'tail') return tail(path, filter, values, io);
  return exportTrail({ path, format, filter, out: values.out }, io);
});

/** @throws UsageError */
function readFormat(name = 'breakwater'): RecordFormat {
  const format = RECORD_FORMATS.find((candidate) => candidate === name);
  if (format !== undefined) return format;
  throw new UsageError(`--format ${JSON.stringify(name)} is none; it is one of ${RECORD_FORMATS.join(', ')}`);
}

const FILTERS = Object.keys(FILTER_OPTIONS);
const OPTIONS: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['verify', new Set(['json', 'key', 'shipped'])],
  ['tail', new Set(['json', 'follow', ...FILTERS])],
  ['export', new Set(['format', 'out', ...FILTERS])],
]);

async function verify(path: string, { key, shipped, json }: Values, io: Io): Promise<number> {
  const found = await verifyTrail(path, {
    ...(typeof key === 'string' ? { keyFile: key } : {}),
    ...(typeof shipped === 'string' ? { shippedFile: shipped } : {}),
  });
  const { problem, records, first, last, checkpoints, unsigned } = found;
  if (json === true) {
    io.stdout.write(`${JSON.stringify(found)}\n`);
  } else if (problem === undefined) {
    const signatures = key === undefined ? ' (signatures not checked: no --key)' : '';
    io.stdout.write(
      `ok: records ${first} to ${last} (${records}), ${checkpoints} checkpoints${signatures}, ${unsigned} records behind the last one\n`,
    );
  } else {
    io.stdout.write(`bad: ${problem.where}: record ${problem.seq}: ${problem.what}\n`);
  }
  return problem === undefined ? 0 : 1;
}

async function tail(path: string, { since, wants }: Filter, values: Values, io: Io): Promise<number> {
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  const output = toStream(io.stdout, stopping.signal, stop);
  const paint = painter(
    (io.stdout as { isTTY?: boolean }).isTTY === true && process.env['NO_COLOR'] === undefined,
  );
  let bad = 0;
  const options = {
    ...(values['follow'] === true ? { follow: stopping.signal } : {}),
    ...(since === undefined ? {} : { since }),
  };
  for await (const lines of readTrail(path, options)) {
    let text = '';
    for (const { event } of lines) {
      if (event === undefined) bad += 1;
      else if (wants(event))
        text += `${values['json'] === true ? jsonLine(event) : readableLine(event, paint)}\n`;
    }
    if (text !== '' && !(await output.write(text))) break;
  }
  process.off('SIGINT', stop);
  process.off('SIGTERM', stop);
  await output.end(true);
  if (bad > 0) io.stderr.write(`breakwater audit: ${bad} lines of ${path} are no events\n`);
  return bad > 0 ? 1 : 0;
}
