import { randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { atMost } from '../base/cache.js';
import type { AlertEvent } from './alert-event.js';
import { alertMessage, occurrenceOf, whatFailed, type Occurrence } from './alert-occurrence.js';
import type { AuditEvent } from './event.js';
import type { Sighting } from '../intel/indicator.js';
import type { AuditWriter } from './writer.js';

export interface AlertOptions {
  /** What happens within so many milliseconds is summed up. */
  readonly window: number;
  /** So many denials of one kind from one address are an alert; of anything worse the first one is. */
  readonly threshold: number;
  /** Addresses and kinds that are counted at once; beyond that the ones that were quiet longest are forgotten. */
  readonly keys: number;
}

/** So many addresses that do the same within a window are told as one. */
const MANY = 10;
/** Of the operations, hazards and indicators, an alert lists the first ones. */
const SHOWN = 8;
/** Kinds, codes and actions come from the guard's own tables: there are a few dozen. */
const MOST_CROWDS = 1_000;

/** What happened within one window. */
interface Tally {
  /** When the window began, milliseconds since 1970. */
  began: number;
  first: number;
  last: number;
  count: number;
  /** How much of `count` an alert has told. */
  told: number;
  operations: string[];
  latest: Pick<Occurrence, 'sources' | 'rule'>;
  hazards: string[];
  indicators: Sighting[];
}

/** Of whom and of what an alert tells, the same in all of its windows. */
type About = Pick<Occurrence, 'kind' | 'action' | 'code' | 'client' | 'container' | 'address'>;

/** One kind from everybody. It counts what the groups count, so that one that is forgotten takes nothing along. */
interface Crowd extends Tally {
  /** Another one for each window. */
  generation: number;
  /** Of this window; a lower bound from `keys` on. */
  addresses: number;
}

/** One kind from one address. */
interface Group extends Tally {
  readonly crowd: string;
  /** Window of the crowd that has counted this address. */
  generation: number;
}

/**
 * Writes summaries into the trail, besides all that is recorded: a scanner that hammers becomes one alert when it reaches
 * the threshold and one at the end of each window, with the count.
 *
 * Grouped by address (IPv6: by /64), or container, and kind. When many addresses do the same, only the kind as a whole is
 * told: with MANY - 1 alerts at most before that, changing one's address floods nobody.
 *
 * INVARIANT: what was recorded once an alert had been raised is told, at the end of the window, when the group is
 * forgotten for another, or at the close.
 */
export function withAlerts(writer: AuditWriter, options: AlertOptions): AuditWriter {
  const { window, threshold, keys } = options;
  const base = randomUUID().slice(0, 8);
  let serial = 0;
  let generations = 0;
  let { failures } = writer.stats;
  let timer: NodeJS.Timeout | undefined;

  /** Those of which an alert was told: the only ones that wait for the end of their window. */
  const raised = new Map<Tally, () => void>();
  const forgotten = (tally: Tally, _: string, reason: LRUCache.DisposeReason): void => {
    if (reason !== 'evict') return;
    if (tally.count > tally.told) raised.get(tally)?.();
    raised.delete(tally);
  };
  const groups = new LRUCache<string, Group>({ ...atMost(keys), dispose: forgotten });
  const crowds = new LRUCache<string, Crowd>({ ...atMost(MOST_CROWDS), dispose: forgotten });

  const tell = (tally: Tally, about: About, addresses: number): void => {
    const { kind, action, code, ...who } = about;
    tally.told = tally.count;
    serial += 1;
    const { count, first, last, operations, latest, hazards, indicators } = tally;
    const event: Omit<AlertEvent, 'message'> = {
      event: 'alert',
      id: `${base}-${serial}.a`,
      kind,
      action,
      client: addresses === 0 ? who.client : undefined,
      container: addresses === 0 ? who.container : undefined,
      address: addresses === 0 ? who.address : '',
      addresses,
      ...latest,
      operations,
      code,
      hazards,
      indicators,
      count,
      first,
      last,
      window,
    };
    writer.record({ ...event, message: alertMessage(event, addresses >= keys) });
  };

  const raise = (tally: Tally, one: Occurrence, addresses: () => number): void => {
    learn(tally, one);
    // Not the whole of it: what it holds besides may be large.
    const { kind, action, code, client, container, address } = one;
    const about: About = { kind, action, code, client, container, address };
    const report = (): void => tell(tally, about, addresses());
    raised.set(tally, report);
    report();
    wake();
  };

  const wake = (): void => {
    if (timer !== undefined || raised.size === 0) return;
    let next = Infinity;
    for (const { began } of raised.keys()) next = Math.min(next, began + window);
    timer = setTimeout(
      () => {
        timer = undefined;
        end(Date.now());
        wake();
      },
      Math.max(1, next - Date.now()),
    );
    timer.unref();
  };

  /** Tells what is left of windows that are over; who was quiet in one is forgotten. */
  const end = (now: number): void => {
    // The groups first: they look at how it stands with their crowd.
    const over = [...raised].filter(([tally]) => isOver(tally, now)).sort(([a], [b]) => rank(a) - rank(b));
    for (const [tally, report] of over) {
      const crowd = 'crowd' in tally ? crowds.peek((tally as Group).crowd) : undefined;
      const isCrowded = crowd !== undefined && raised.has(crowd);
      const isQuiet = tally.count === tally.told;
      // What the crowd counts is told with the crowd.
      if (!isQuiet && !(isCrowded && tally.began >= crowd.began)) report();
      if (isQuiet || isCrowded) raised.delete(tally);
      renew(tally, now);
    }
  };

  const isOver = ({ began }: Tally, now: number): boolean => now >= began + window || now < began;

  const renew = (tally: Tally, now: number): void => {
    Object.assign(tally, { ...emptyTally(now), latest: tally.latest });
    if ('addresses' in tally) Object.assign(tally, { addresses: 0, generation: (generations += 1) });
  };

  /** The tally of a key in a window that goes on. */
  const current = <T extends Tally>(
    cache: LRUCache<string, T>,
    key: string,
    now: number,
    make: () => T,
  ): T => {
    let tally = cache.get(key);
    if (tally === undefined) cache.set(key, (tally = make()));
    else if (!raised.has(tally) && isOver(tally, now)) renew(tally, now);
    return tally;
  };

  const note = (one: Occurrence): void => {
    const now = Date.now();
    const kind = `${one.kind} ${one.code} ${one.action}`;
    const crowd = current<Crowd>(crowds, kind, now, () => ({
      ...emptyTally(now),
      generation: (generations += 1),
      addresses: 0,
    }));
    const group = current<Group>(groups, `${kind} ${one.who}`, now, () => ({
      ...emptyTally(now),
      crowd: kind,
      generation: 0,
    }));
    for (const tally of [crowd, group]) {
      tally.count += one.count;
      tally.first = Math.min(tally.first, one.first ?? now);
      tally.last = Math.max(tally.last, one.last ?? now);
      if (raised.has(tally)) learn(tally, one);
      else addOperation(tally, one.operation);
    }
    if (group.generation !== crowd.generation) {
      group.generation = crowd.generation;
      crowd.addresses = Math.min(keys, crowd.addresses + 1);
    }
    const least = one.severe ? 1 : threshold;
    if (raised.has(crowd)) return;
    if (crowd.addresses >= MANY && crowd.count >= least) raise(crowd, one, () => crowd.addresses);
    else if (group.count >= least && !raised.has(group)) raise(group, one, () => 0);
  };

  return {
    stats: writer.stats,
    record(event: AuditEvent, written, durable) {
      writer.record(event, written, durable);
      if (event.event !== 'outcome') {
        const occurrence = occurrenceOf(event);
        if (occurrence !== undefined) note(occurrence);
      }
      if (writer.stats.failures !== failures) {
        const count = writer.stats.failures - failures;
        failures = writer.stats.failures;
        note(whatFailed(count));
      }
    },
    flush: () => writer.flush(),
    reopen: () => writer.reopen(),
    close() {
      clearTimeout(timer);
      for (const [tally, report] of raised) if (tally.count > tally.told) report();
      raised.clear();
      writer.close();
    },
  };
}

const rank = (tally: Tally): number => ('addresses' in tally ? 1 : 0);

const emptyTally = (now: number): Tally => ({
  began: now,
  first: Infinity,
  last: 0,
  count: 0,
  told: 0,
  operations: [],
  latest: { sources: [], rule: '' },
  hazards: [],
  indicators: [],
});

function addOperation({ operations }: Tally, operation: string): void {
  if (operation !== '' && operations.length < SHOWN && !operations.includes(operation))
    operations.push(operation);
}

/** Only for what is told: details of every address that was ever seen would take too much room. */
function learn(tally: Tally, { operation, sources, rule, hazards, indicators }: Occurrence): void {
  addOperation(tally, operation);
  tally.latest = { sources, rule };
  for (const hazard of hazards) {
    if (tally.hazards.length >= SHOWN) break;
    const kept = ownText(hazard);
    if (!tally.hazards.includes(kept)) tally.hazards.push(kept);
  }
  for (const sighting of indicators) {
    if (tally.indicators.length >= SHOWN) break;
    const { hit } = sighting;
    if (tally.indicators.some((one) => one.hit.indicator === hit.indicator)) continue;
    tally.indicators.push({ hit, value: ownText(sighting.value), where: ownText(sighting.where) });
  }
}

const LONGEST_TEXT = 200;

/** A part of a string keeps the whole of it in memory, here a body of megabytes: this is a copy. */
const ownText = (value: string): string => Buffer.from(value.slice(0, LONGEST_TEXT)).toString();
