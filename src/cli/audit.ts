import { parseArgs } from 'node:util';
import { followTrail, verifyTrail, type TrailEvent } from '../guard/audit-trail.js';
import { painter, readableLine } from './audit-line.js';
import type { Io } from './io.js';

const HELP = `breakwater audit verify|tail PATH: look at an audit trail

  verify DIR      check a journal: every record against the one before it, every checkpoint
    --key F         public key that signed the checkpoints (key.pem.pub); without it signatures are not checked
    --shipped F     JSON lines that were kept elsewhere, from a SIEM for instance: their checkpoints must stand in
                    the journal. Only so an end that was cut off can be seen
    --json          the result as JSON
  tail PATH       show a journal (a directory) or a file of JSON lines in words
    -f, --follow    go on with what is written from now on
    --verdict V     only decisions that are "allow" or "deny"
    --source S      only calls of this source
    --operation O   only this operation
    --call ID       only this call
    --hazard K      only decisions with this hazard: a kind, or kind:argument
    --event E       only decision, outcome, egress, checkpoint, segment or journal
    --json          the events as they are

Exit codes: 0 fine, 1 the journal is not what it was (the first bad record is named) or cannot be read, 2 wrong usage.
`;

type Values = Readonly<Record<string, string | boolean | undefined>>;

/** `breakwater audit …` */
export async function runAudit(args: string[], io: Io): Promise<number> {
  const usage = (message: string): number => {
    io.stderr.write(`breakwater audit: ${message}; try breakwater audit --help\n`);
    return 2;
  };
  const { values, positionals } = parseArgs({
    args,
    options: {
      help: { type: 'boolean', short: 'h' },
      json: { type: 'boolean' },
      key: { type: 'string' },
      shipped: { type: 'string' },
      follow: { type: 'boolean', short: 'f' },
      verdict: { type: 'string' },
      source: { type: 'string' },
      operation: { type: 'string' },
      call: { type: 'string' },
      hazard: { type: 'string' },
      event: { type: 'string' },
    },
    allowPositionals: true,
  });
  if (values.help === true) {
    io.stdout.write(HELP);
    return 0;
  }
  const [what, path, ...more] = positionals;
  if (what !== 'verify' && what !== 'tail') return usage('say what to do: verify or tail');
  if (path === undefined || more.length > 0) return usage(`${what} takes one path`);
  const allowed = what === 'verify' ? VERIFY_OPTIONS : TAIL_OPTIONS;
  const odd = Object.keys(values).find((name) => !allowed.has(name));
  if (odd !== undefined) return usage(`${what} has no option --${odd}`);
  if (values.verdict !== undefined && !['allow', 'deny'].includes(values.verdict)) {
    return usage('--verdict is "allow" or "deny"');
  }
  return what === 'verify' ? verify(path, values, io) : tail(path, values, io);
}

const VERIFY_OPTIONS = new Set(['json', 'key', 'shipped']);
const TAIL_OPTIONS = new Set(['json', 'follow', 'verdict', 'source', 'operation', 'call', 'hazard', 'event']);

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

async function tail(path: string, values: Values, io: Io): Promise<number> {
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  // The reader has seen enough: `breakwater audit tail … | head`.
  io.stdout.once('error', stop);
  const paint = painter(
    (io.stdout as { isTTY?: boolean }).isTTY === true && process.env['NO_COLOR'] === undefined,
  );
  let bad = 0;
  for await (const event of followTrail(path, values['follow'] === true ? stopping.signal : undefined)) {
    if (stopping.signal.aborted) break;
    if (event === undefined) bad += 1;
    else if (wanted(event, values)) {
      const line = values['json'] === true ? JSON.stringify(event) : readableLine(event, paint);
      if (!io.stdout.write(`${line}\n`)) await drained(io.stdout, stopping.signal);
    }
  }
  process.off('SIGINT', stop);
  process.off('SIGTERM', stop);
  if (bad > 0) io.stderr.write(`breakwater audit: ${bad} lines of ${path} are no events\n`);
  return bad > 0 ? 1 : 0;
}

function drained(stream: NodeJS.WritableStream, stopped: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    stream.once('drain', resolve);
    stopped.addEventListener('abort', () => resolve(), { once: true });
  });
}

function wanted(
  event: TrailEvent,
  { verdict, source, operation, call, hazard, event: kind }: Values,
): boolean {
  const has = (list: unknown, test: (one: string) => boolean): boolean =>
    Array.isArray(list) && list.some((one) => typeof one === 'string' && test(one));
  return (
    (verdict === undefined || event['verdict'] === verdict) &&
    (source === undefined || has(event['sources'], (one) => one === source)) &&
    (operation === undefined || event['operation'] === operation) &&
    (call === undefined || event['call'] === call) &&
    (hazard === undefined ||
      has(event['hazards'], (one) => one === hazard || one.startsWith(`${hazard}:`))) &&
    (kind === undefined || event['event'] === kind)
  );
}
