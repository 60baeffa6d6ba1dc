import { RECORD_EVENTS } from '../base/audit-names.js';
import { didYouMean } from '../base/nearest.js';
import { parseDuration } from '../base/units.js';
import { operationById, OPERATIONS } from '../docker/catalogue.js';
import { HAZARD_KINDS } from '../hazards/catalogue.js';
import type { TrailEvent } from '../app/audit.js';

/** Options of `audit tail` and `audit export` that choose events, as parseArgs takes them. */
export const FILTER_OPTIONS = {
  since: { type: 'string' },
  until: { type: 'string' },
  verdict: { type: 'string' },
  source: { type: 'string' },
  operation: { type: 'string' },
  call: { type: 'string' },
  hazard: { type: 'string' },
  event: { type: 'string' },
} as const;

export const FILTER_HELP = `    --since T       only what happened from then on; T is a time (2026-01-02T03:04:05Z), a date (its beginning in UTC) or an
                    age (90m, 24h, 7d)
    --until T       only what happened before
    --verdict V     only decisions that are "allow" or "deny"
    --source S      only calls of this source
    --operation O   only this operation
    --call ID       only this call
    --hazard K      only decisions with this hazard: a kind, or kind:argument
    --event E       only decision, outcome, egress, alert, checkpoint, segment or journal
`;

type Values = Readonly<Partial<Record<keyof typeof FILTER_OPTIONS, string>>>;

export interface Filter {
  /** Milliseconds since 1970; what is older is not wanted. */
  readonly since: number | undefined;
  readonly wants: (event: TrailEvent) => boolean;
}

/** @returns the filter, or what is wrong with the options, in words. */
export function readFilter(values: Values, now: number): Filter | string {
  const { verdict, source, operation, call, hazard, event: kind } = values;
  const [since, until] = [values.since, values.until].map((value) =>
    value === undefined ? undefined : readTime(value, now),
  );
  for (const [name, time] of [
    ['since', since],
    ['until', until],
  ] as const) {
    if (time !== undefined && Number.isNaN(time)) {
      return `--${name} ${JSON.stringify(values[name])} is no time; write one such as 2026-01-02T03:04:05Z, a date such as 2026-01-02, or an age such as 24h or 7d`;
    }
  }
  if (since !== undefined && until !== undefined && since >= until) {
    return `--since ${values.since} is not before --until ${values.until}: nothing lies between them`;
  }
  if (verdict !== undefined && !['allow', 'deny'].includes(verdict)) return '--verdict is "allow" or "deny"';
  if (kind !== undefined && !(RECORD_EVENTS as readonly string[]).includes(kind)) {
    return `--event ${JSON.stringify(kind)} is none; it is one of ${RECORD_EVENTS.join(', ')}`;
  }
  if (operation !== undefined && operationById(operation) === undefined) {
    const hint = didYouMean(
      operation,
      OPERATIONS.map(({ id }) => id),
    );
    return `--operation ${JSON.stringify(operation)} is none that is known.${hint} See docs/reference/operations.md`;
  }
  const hazardKind = hazard?.split(':', 1)[0] ?? '';
  if (hazard !== undefined && !HAZARD_KINDS.has(hazardKind)) {
    return `--hazard ${JSON.stringify(hazardKind)} is no kind of hazard.${didYouMean(hazardKind, HAZARD_KINDS.keys())} See docs/reference/hazards.md`;
  }
  const has = (list: unknown, test: (entry: string) => boolean): boolean =>
    Array.isArray(list) && list.some((entry) => typeof entry === 'string' && test(entry));
  const inTime = (event: TrailEvent): boolean => {
    const time = typeof event['time'] === 'string' ? Date.parse(event['time']) : Number.NaN;
    return time >= (since ?? -Infinity) && time < (until ?? Infinity);
  };
  const isTimed = since !== undefined || until !== undefined;
  return {
    since,
    wants: (event) =>
      (kind === undefined || event['event'] === kind) &&
      (verdict === undefined || event['verdict'] === verdict) &&
      (source === undefined || has(event['sources'], (entry) => entry === source)) &&
      (operation === undefined ||
        event['operation'] === operation ||
        has(event['operations'], (entry) => entry === operation)) &&
      (call === undefined || event['call'] === call) &&
      (hazard === undefined ||
        has(event['hazards'], (entry) => entry === hazard || entry.startsWith(`${hazard}:`))) &&
      (!isTimed || inTime(event)),
  };
}

const TIME = /^\d{4}-\d{2}-(\d{2})(?:[Tt]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2}))?$/;

/** Milliseconds since 1970; NaN for what is no time. */
export function readTime(value: string, now: number): number {
  const day = TIME.exec(value)?.[1];
  if (day !== undefined) {
    // Date.parse takes the 30th of February for the 2nd of March.
    const date = new Date(`${value.slice(0, 10)}T00:00:00Z`);
    return date.getUTCDate() === Number(day) ? Date.parse(value.toUpperCase()) : Number.NaN;
  }
  const age = /^\d+[a-z]+$/.test(value) ? parseDuration(value) : undefined;
  return age === undefined ? Number.NaN : now - age;
}
