import { LRUCache } from 'lru-cache';
import { atMost } from '../base/bounded.js';
import type { IndicatorIndex } from '../intel/indicator.js';
import { parseAddress } from '../base/address.js';
import type { Attempts } from './attempts.js';
import { hitOfAddress } from './hits.js';
import type { Flow } from './packet-filter.js';

/** Resolved names by client: searched for earlier contacts when an indicator is listed later. */
export interface AnswerHistory {
  add(client: string, name: string, addresses: readonly string[]): void;
  /** Names that are listed now and were not before, as sweep lines. */
  sweep(before: IndicatorIndex, now: IndicatorIndex, attempts: Attempts): void;
}

interface Answered {
  readonly client: string;
  readonly name: string;
  addresses: readonly string[];
  count: number;
  readonly first: number;
  last: number;
}

const MAX_ANSWERS = 50_000;
/** Of one answer. */
const MAX_ADDRESSES = 16;

/** @param keep milliseconds after the last time. */
export function openAnswerHistory(keep: number): AnswerHistory {
  const answers = new LRUCache<string, Answered>({ ...atMost(MAX_ANSWERS), ttl: keep });
  return {
    add(client, name, addresses) {
      const key = `${client} ${name}`;
      const now = Date.now();
      const known = answers.get(key) ?? { client, name, addresses, count: 0, first: now, last: now };
      known.count++;
      known.last = now;
      known.addresses = addresses.slice(0, MAX_ADDRESSES);
      answers.set(key, known);
    },
    sweep(before, now, attempts) {
      for (const { client, name, addresses, count, first, last } of answers.values()) {
        const found = { source: client, name, protocol: 'udp', port: 53, via: 'dns' } as const;
        const hit = now.domain(name);
        if (hit !== undefined && before.domain(name) === undefined) {
          const sweep = { ...found, kind: 'sweep', action: 'observed', destination: '', hit } as const;
          attempts.add(sweep, count, last, first);
        }
        for (const destination of addresses) {
          const listed = newlyListed(destination, before, now);
          if (listed === undefined) continue;
          const sweep = { ...found, kind: 'sweep', action: 'observed', destination, hit: listed } as const;
          attempts.add(sweep, count, last, first);
        }
      }
    },
  };
}

/** Flows to what is listed now and was not before, as sweep lines. */
export function sweepFlows(
  flows: readonly Flow[],
  before: IndicatorIndex,
  now: IndicatorIndex,
  attempts: Attempts,
): void {
  for (const { source, destination, protocol, port, last } of flows) {
    const hit = newlyListed(destination, before, now);
    if (hit === undefined) continue;
    attempts.add(
      {
        kind: 'sweep',
        action: 'observed',
        via: 'address',
        source,
        destination,
        name: '',
        protocol,
        port,
        hit,
      },
      1,
      last,
    );
  }
}

function newlyListed(text: string, before: IndicatorIndex, now: IndicatorIndex) {
  const address = parseAddress(text);
  if (address === undefined || hitOfAddress(address, before) !== undefined) return undefined;
  return hitOfAddress(address, now);
}
