import type { listConfigured, pullConfigured } from '../app/feeds-command.js';

type Listed = Awaited<ReturnType<typeof listConfigured>>;
type Pulled = Awaited<ReturnType<typeof pullConfigured>>;

/** Rows as text, cells padded to columns; the last cell of a row runs on. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, cell.length)));
  return rows
    .map(
      (row) =>
        `${row.map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd(widths[at] ?? 0))).join('  ')}\n`,
    )
    .join('');
}

/** One line for each feed that was pulled, and one for each thing that was left out of the index. */
export function pullLines(outcomes: Pulled['outcomes'], build: Pulled['build']): string[][] {
  const rows: string[][] = [];
  for (const [name, outcome] of outcomes) {
    if (outcome.kind === 'failed') rows.push([name, 'FAILED', outcome.message]);
    else if (outcome.kind === 'early') {
      rows.push([
        name,
        'not asked',
        `it may be asked again from ${time(outcome.until)} on; --force asks now`,
      ]);
    } else {
      const { indicators, rejected, format, problems } = outcome.meta;
      const unread = rejected === 0 ? '' : `, ${rejected} entries could not be read (${problems[0] ?? ''})`;
      rows.push([name, outcome.kind, `${indicators} indicators, ${format}${unread}`]);
    }
  }
  for (const feed of build.feeds) {
    const left = [
      count(feed.unsure, 'below its minimum confidence'),
      count(feed.expired, 'expired'),
      count(feed.refused, `never listed (${feed.refusals[0] ?? ''})`),
      count(feed.downgraded, 'in a warninglist: alerted on'),
    ].filter((part) => part !== '');
    if (left.length > 0) rows.push([feed.name, 'left out', left.join('; ')]);
    if (feed.error !== '') rows.push([feed.name, 'DAMAGED', feed.error]);
  }
  return rows;
}

const count = (number: number, what: string): string => (number === 0 ? '' : `${number} ${what}`);

/** The table of `feeds list`. */
export function listFeeds(feeds: Listed['feeds'], index: Listed['index'], now: number): string {
  const rows: string[][] = [['feed', 'action', 'indicators', 'fetched', 'checked', 'state', 'url']];
  for (const feed of feeds) {
    const state = feed.hasData ? (feed.stale ? 'stale' : feed.error === '' ? 'ok' : 'failing') : 'no data';
    rows.push([
      feed.name,
      feed.action,
      `${feed.indicators}`,
      ago(feed.fetchedAt, now),
      ago(feed.checkedAt, now),
      state,
      feed.url,
    ]);
  }
  const errors = feeds.filter(({ error }) => error !== '').map(({ name, error }) => `${name}: ${error}\n`);
  const counts = Object.entries(index?.index.counts ?? {}).map(([type, number]) => `${number} ${type}`);
  const last =
    index === undefined ? 'there is no index yet\n' : `index ${index.revision}: ${counts.join(', ')}\n`;
  return `${columns(rows)}${errors.join('')}${last}`;
}

const time = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');

const UNITS: readonly (readonly [number, string])[] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'm'],
  [1_000, 's'],
];

function ago(ms: number, now: number): string {
  if (ms === 0) return 'never';
  const since = Math.max(0, now - ms);
  const [unit, name] = UNITS.find(([least]) => since >= least) ?? [1_000, 's'];
  return `${Math.floor(since / unit)}${name} ago`;
}
