import { randomUUID } from 'node:crypto';
import type { Hit } from '../intel/indicator.js';

/** Outbound traffic to a listed destination, or to one that the network's rules do not allow. */
export interface Attempt {
  readonly kind: 'attempt' | 'sweep';
  readonly action: 'blocked' | 'observed';
  readonly via: 'address' | 'dns' | 'gateway' | 'policy';
  readonly source: string;
  /** Address, or empty. */
  readonly destination: string;
  /** Name or URL that was requested, or empty. */
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
  /** Undefined: no indicator, the network's default refused it. */
  readonly hit: Hit | undefined;
}

/** Collects attempts of one interval, the same ones as one line with a count. */
export interface Attempts {
  /** @param first milliseconds since 1970; default: the same as `last`. */
  add(attempt: Attempt, count: number, last: number, first?: number): void;
  /** Everything collected, as JSON lines; empties it. */
  take(): string[];
  /** Different attempts that found no room since the last time. */
  takeDropped(): number;
}

/** Most different attempts in one interval; a scanner makes more, which are only counted. */
const MAX_ATTEMPTS = 5_000;
const MAX_NAME_LENGTH = 300;

interface Sum {
  readonly attempt: Attempt;
  count: number;
  first: number;
  last: number;
}

export function openAttempts(): Attempts {
  let sums = new Map<string, Sum>();
  let dropped = 0;
  return {
    add(attempt, count, last, first = last) {
      const { kind, action, via, source, destination, name, protocol, port, hit } = attempt;
      const key = JSON.stringify([
        kind,
        action,
        via,
        source,
        destination,
        name,
        protocol,
        port,
        hit?.indicator,
      ]);
      const sum = sums.get(key);
      if (sum !== undefined) {
        sum.count += count;
        sum.first = Math.min(sum.first, first);
        sum.last = Math.max(sum.last, last);
      } else if (sums.size < MAX_ATTEMPTS) sums.set(key, { attempt, count, first, last });
      else dropped++;
    },
    take() {
      const lines = [...sums.values()].map(formatAttempt);
      sums = new Map();
      return lines;
    },
    takeDropped() {
      const count = dropped;
      dropped = 0;
      return count;
    },
  };
}

/** Something about the blocking itself: the table was lost, the index cannot be read … */
export function formatNotice(message: string): string {
  const at = new Date().toISOString();
  return `${JSON.stringify({ v: 1, id: randomUUID(), at, kind: 'notice', message })}\n`;
}

function formatAttempt({ attempt, count, first, last }: Sum): string {
  const { hit, name, ...rest } = attempt;
  const line = {
    v: 1,
    id: randomUUID(),
    at: new Date().toISOString(),
    ...rest,
    name: name.slice(0, MAX_NAME_LENGTH),
    count,
    first: new Date(first).toISOString(),
    last: new Date(last).toISOString(),
    indicator: hit?.indicator ?? '',
    type: hit?.type ?? '',
    feed: hit?.feed ?? '',
    confidence: hit?.confidence ?? 0,
    threat: hit?.threat ?? '',
  };
  return `${JSON.stringify(line)}\n`;
}
