import type { BulkResult } from './bulk.js';
import { CONTEXTS, ENGINES, type ContextResult } from './context.js';
import type { IntelFigures } from './intel.js';
import type { JournalFigures } from './journal.js';
import type { ShareResult } from './share.js';
import { median, type Sample, type Target } from './load.js';
import type { StallFigures } from './stall.js';
import type { StartFigures } from './start.js';

type Name = Target['name'];
export type Samples = ReadonlyMap<Name, readonly Sample[]>;

/** What was measured; parts that were not asked for are absent. */
export interface Results {
  requests?: Samples;
  latency?: Samples;
  create?: { ping: Samples; create: Samples };
  bulk?: BulkResult;
  context?: ContextResult;
  intel?: IntelFigures;
  journal?: JournalFigures;
  share?: ShareResult | undefined;
  stall?: StallFigures;
  start?: StartFigures;
  /** MB: the highest seen while measuring, and the highest of the process's whole life. */
  memory?: ReadonlyMap<Name, { load: number; life: number }>;
  /** MB: the guard's highest in each part of the run. */
  guardMemory?: ReadonlyMap<string, number>;
  /** What could not be measured, and why. */
  left?: readonly string[];
}

interface Goal {
  readonly text: string;
  readonly met: (guard: number, ratio: number, direct: number) => boolean;
}

interface Row {
  readonly name: string;
  readonly values: Partial<Record<Name, number>>;
  readonly digits?: number;
  readonly goal?: Goal;
  /** Whether guard / HAProxy says something. */
  readonly ratio?: false;
  /** Whether guard / direct does. */
  readonly share?: true;
}

const COLUMNS: readonly (readonly [Name, string])[] = [
  ['direct', 'direct'],
  ['haproxy', 'HAProxy'],
  ['haproxy-log', 'HAProxy, log+close'],
  ['guard', 'guard'],
];

const ratioAtLeast = (least: number): Goal => ({
  text: `ratio ≥ ${least}`,
  met: (_, ratio) => ratio >= least,
});
const ratioAtMost = (most: number): Goal => ({ text: `ratio ≤ ${most}`, met: (_, ratio) => ratio <= most });
const shareAtLeast = (least: number): Goal => ({
  text: `of direct ≥ ${least}`,
  met: (guard, _, direct) => guard / direct >= least,
});
const guardAtMost = (most: number): Goal => ({ text: `≤ ${most}`, met: (guard) => guard <= most });
const guardAtLeast = (least: number): Goal => ({ text: `≥ ${least}`, met: (guard) => guard >= least });
const guardBelow = (most: number): Goal => ({ text: `< ${most}`, met: (guard) => guard < most });

/** More of the tested core than this going to other programs makes the measured rates a matter of luck. */
const DISTURBED = 0.05;

/** The table, the targets that were missed, and what to know about the figures. */
export function report(results: Results): { text: string; missed: string[]; notes: string[] } {
  const rows = rowsOf(results);
  const missed: string[] = [];
  const table = [['', ...COLUMNS.map(([, title]) => title), 'guard/HAProxy', 'guard/direct', 'target', '']];
  for (const row of rows) {
    const { guard = Number.NaN, haproxy = Number.NaN, direct = Number.NaN } = row.values;
    const ratio = guard / haproxy;
    const met = row.goal?.met(guard, ratio, direct);
    if (met === false) missed.push(row.name);
    table.push([
      row.name,
      ...COLUMNS.map(([name]) => number(row.values[name], row.digits ?? 0)),
      row.ratio === false || Number.isNaN(ratio) ? '' : ratio.toFixed(3),
      row.share !== true || Number.isNaN(guard / direct) ? '' : (guard / direct).toFixed(3),
      row.goal?.text ?? '',
      met === undefined ? '' : met ? 'met' : 'MISSED',
    ]);
  }
  return { text: format(table), missed, notes: notesOn(results) };
}

function disturbed(requests: Samples | undefined): boolean {
  return (['haproxy', 'guard'] as const).some(
    (name) => median((requests?.get(name) ?? []).map((sample) => sample.others)) > DISTURBED,
  );
}

function notesOn({ requests, journal, guardMemory, left = [] }: Results): string[] {
  const notes = [...left];
  const withJournal = [...(journal?.loads.values() ?? [])].flatMap((of) => [...of.journal, ...of.none]);
  if (disturbed(requests) || median(withJournal.map((sample) => sample.others)) > DISTURBED) {
    notes.push(
      'Other programs ran on the tested core: go by what the CPU time allows, not by the measured rates.',
    );
  }
  if (guardMemory !== undefined && guardMemory.size > 0) {
    const parts = [...guardMemory].map(([part, mb]) => `${part} ${Math.round(mb)}`);
    notes.push(
      `Resident memory of the guard, MB: ${parts.join(', ')}. Bulk and context are guard processes of their own.`,
    );
  }
  return notes;
}

function rowsOf(results: Results): Row[] {
  const { requests, latency, create, journal, bulk, context, intel, memory, start } = results;
  const { share: shared } = results;
  const rows: Row[] = [];
  if (requests !== undefined) {
    rows.push(
      row(
        'requests/s, 16 connections',
        requests,
        (sample) => sample.rate,
        disturbed(requests) ? {} : { goal: ratioAtLeast(0.45) },
      ),
      { ...row('  lowest round', requests, (sample) => sample.rate), values: edge(requests, Math.min) },
      { ...row('  highest round', requests, (sample) => sample.rate), values: edge(requests, Math.max) },
      row('  what its CPU time allows, requests/s', requests, (sample) => 1e6 / sample.cpu, {
        goal: ratioAtLeast(0.45),
      }),
      row('  CPU ms per 1,000 requests', requests, (sample) => sample.cpu, { digits: 1 }),
      row('  busy, % of its core', requests, (sample) => sample.busy * 100, { ratio: false }),
      row('  other programs, % of its core', requests, (sample) => sample.others * 100, { ratio: false }),
    );
  }
  if (latency !== undefined) {
    const p50 = row('latency p50, 1 connection, µs', latency, (sample) => sample.p50);
    const p99 = row('latency p99, 1 connection, µs', latency, (sample) => sample.p99);
    rows.push(p50, added('  added to direct, p50', p50), p99);
    rows.push({ ...added('  added to direct, p99', p99), goal: ratioAtMost(2.5) });
  }
  if (create !== undefined) {
    const ping = row('/_ping only, requests/s', create.ping, (sample) => sample.rate);
    const post = row('POST containers/create, requests/s', create.create, (sample) => sample.rate);
    const share = (name: Name): number =>
      (post.values[name] ?? Number.NaN) / (ping.values[name] ?? Number.NaN);
    rows.push(
      { ...ping, goal: ratioAtLeast(0.55) },
      { ...post, goal: ratioAtLeast(0.25) },
      {
        name: '  relative to /_ping',
        values: { haproxy: share('haproxy'), guard: share('guard') },
        digits: 2,
        ratio: false,
      },
    );
  }
  if (bulk !== undefined) {
    for (const [direction, title] of [
      ['down', 'download, MB/s'],
      ['up', 'upload, MB/s'],
    ] as const) {
      const pick = (what: 'rate' | 'cpu'): Row['values'] =>
        Object.fromEntries([...bulk].map(([name, of]) => [name, of[direction][what]]));
      rows.push({ name: title, values: pick('rate'), goal: ratioAtLeast(direction === 'down' ? 0.75 : 0.6) });
      rows.push({ name: '  CPU ms per GB', values: pick('cpu') });
    }
  }
  if (context !== undefined) {
    for (const engine of ENGINES) {
      for (const kind of CONTEXTS) {
        const of = context.get(`${engine} ${kind}`);
        if (of === undefined) continue;
        const pick = (what: 'rate' | 'cpu'): Row['values'] =>
          Object.fromEntries([...of].map(([name, figures]) => [name, figures[what]]));
        const files = kind === 'large' ? '4 files' : '25,000 files';
        const where = engine === 'discard' ? 'thrown away' : 'dockerd';
        rows.push({
          name: `build context, ${files}, ${where}, MB/s`,
          values: pick('rate'),
          share: true,
          // A dockerd costs more than the way to it: what is left of its own rate is what a user sees. Against an engine
          // that does nothing, only another proxy is a measure.
          goal: engine === 'dockerd' ? shareAtLeast(0.6) : ratioAtLeast(0.6),
        });
        const { direct, ...cpu } = pick('cpu');
        rows.push({
          name: '  CPU ms per GB',
          values: engine === 'discard' && direct !== undefined ? { ...cpu, direct } : cpu,
        });
      }
    }
  }
  for (const [name, { rate, cpu }] of shared ?? []) {
    rows.push({
      name: `${name}, 32 pollers, answers/s`,
      values: rate,
      digits: 1,
      share: true,
      goal: shareAtLeast(5),
    });
    rows.push({
      name: '  CPU ms of dockerd per 1,000',
      values: cpu,
      digits: 1,
      share: true,
      goal: { text: 'of direct ≤ 0.2', met: (guard, _, direct) => guard / direct <= 0.2 },
    });
  }
  if (journal !== undefined) rows.push(...journalRows(journal));
  if (intel !== undefined) rows.push(...intelRows(intel));
  if (results.stall !== undefined) rows.push(...stallRows(results.stall));
  if (start !== undefined) rows.push(...startRows(start));
  if (memory !== undefined && memory.size > 0) {
    const pick = (what: 'load' | 'life'): Row['values'] =>
      Object.fromEntries([...memory].map(([name, of]) => [name, of[what]]));
    rows.push({ name: 'resident memory under load, MB', values: pick('load'), goal: guardBelow(130) });
    rows.push({ name: '  highest ever (VmHWM), MB', values: pick('life') });
  }
  return rows;
}

/** Both guards stand in the same column, and the ratio of the two below them. */
function journalRows({ loads, sync }: JournalFigures): Row[] {
  const of = (name: string, guard: number, more: Partial<Row> = {}): Row => ({
    name,
    values: { guard },
    ratio: false,
    ...more,
  });
  const rows: Row[] = [];
  for (const [load, title] of [
    ['mix', 'reads'],
    ['create', 'creations'],
  ] as const) {
    const { journal = [], none = [] } = loads.get(load) ?? {};
    const rate = (samples: readonly Sample[]): number => median(samples.map((sample) => sample.rate));
    const cpu = (samples: readonly Sample[]): number => median(samples.map((sample) => sample.cpu));
    // Where other programs took a part of the core, which of the two they took it from is a matter of luck.
    const isDisturbed = median([...journal, ...none].map((sample) => sample.others)) > DISTURBED;
    const goal = load === 'mix' ? { goal: guardAtLeast(0.8) } : {};
    rows.push(
      of(`${title}, no audit trail, requests/s`, rate(none)),
      of(`${title}, journal, requests/s`, rate(journal)),
      of(`  ratio, ${title}`, rate(journal) / rate(none), { digits: 2, ...(isDisturbed ? {} : goal) }),
      of(`  ratio of what the CPU time allows, ${title}`, cpu(none) / cpu(journal), { digits: 2, ...goal }),
      of('  busy with the journal, % of its core', median(journal.map((sample) => sample.busy)) * 100),
      of('  other programs, % of its core', median(journal.map((sample) => sample.others)) * 100),
    );
  }
  rows.push(
    of('fdatasync of this disk, p50, ms', sync.p50, { digits: 2 }),
    of('  p99, ms', sync.p99, { digits: 2 }),
  );
  return rows;
}

/** The guard's column alone: the others start in no time and keep nothing. */
function startRows({ node, builds }: StartFigures): Row[] {
  const of = (name: string, guard: number, more: Partial<Row> = {}): Row => ({
    name,
    values: { guard },
    ratio: false,
    ...more,
  });
  const rows = [of('node -e 0, ms', node)];
  for (const [build, { first, idle, load }] of builds) {
    // What is shipped has to meet the targets.
    const goal = (most: number): Partial<Row> => (build === 'bundle' ? { goal: guardAtMost(most) } : {});
    rows.push(
      of(`${build}: start to first answer, ms`, first, goal(500)),
      of('  times node -e 0', first / node, { digits: 1, ...goal(6) }),
      of('  resident memory idle, MB', idle, goal(70)),
      of('  resident memory under load, MB', load, goal(120)),
    );
  }
  return rows;
}

/** The guard's column alone: other proxies do not look into what they pass on. */
function stallRows({ idle, worst, inputs }: StallFigures): Row[] {
  const of = (name: string, guard: number, more: Partial<Row> = {}): Row => ({
    name,
    values: { guard },
    digits: 1,
    ratio: false,
    ...more,
  });
  return [
    of('/_ping p99.9 while nothing else happens, ms', idle),
    of(`  beside the ${inputs.length} worst inputs, added, ms`, worst - idle, { goal: guardAtMost(100) }),
    ...inputs.slice(0, 5).map(({ name, longest }) => of(`  longest wait beside ${name}, ms`, longest)),
  ];
}

function intelRows(intel: IntelFigures): Row[] {
  const of = (name: string, guard: number, more: Partial<Row> = {}): Row => ({
    name,
    values: { guard },
    ratio: false,
    ...more,
  });
  return [
    of('2.5 M indicators: build in a worker, s', intel.seconds, { digits: 1 }),
    of('  bytes per indicator', intel.bytes, { digits: 1, goal: guardAtMost(40) }),
    of('  resident memory added, MB', intel.rss),
    of('  longest pause meanwhile, ms', intel.pause, { digits: 1, goal: guardAtMost(20) }),
    of('  opening, ms', intel.opened, { digits: 2 }),
    ...Object.entries(intel.lookUps).map(([what, ns]) =>
      of(
        `  ${what}, ns`,
        ns,
        what.startsWith('URL') ? {} : { goal: guardAtMost(what.startsWith('IPv4') ? 250 : 1000) },
      ),
    ),
    ...Object.entries(intel.scans).map(([what, rate]) => of(`  scan, ${what}, MB/s`, rate)),
  ];
}

function row(name: string, samples: Samples, pick: (sample: Sample) => number, more: Partial<Row> = {}): Row {
  const values = Object.fromEntries([...samples].map(([who, list]) => [who, median(list.map(pick))]));
  return { name, values, ...more };
}

function edge(samples: Samples, of: (...values: number[]) => number): Row['values'] {
  return Object.fromEntries(
    [...samples].map(([who, list]) => [who, of(...list.map((sample) => sample.rate))]),
  );
}

function added(name: string, row: Row): Row {
  const { direct = Number.NaN } = row.values;
  const values = Object.fromEntries(
    Object.entries(row.values)
      .filter(([who]) => who !== 'direct')
      .map(([who, value]) => [who, value - direct]),
  );
  return { name, values };
}

function number(value: number | undefined, digits: number): string {
  if (value === undefined || Number.isNaN(value)) return '';
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function format(table: readonly (readonly string[])[]): string {
  const widths = (table[0] ?? []).map((_, i) => Math.max(...table.map((line) => line[i]?.length ?? 0)));
  return table
    .map((line) =>
      line
        .map((cell, i) => (i === 0 || i > 6 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
