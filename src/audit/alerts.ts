import { randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { atMost } from '../base/bounded.js';
import type { AlertEvent } from './alert-event.js';
import { alertMessage, occurrenceOf, failedWrites, type Occurrence } from './alert-occurrence.js';
import type { AuditEvent } from './event.js';
import type { IndicatorMatch } from '../intel/indicator.js';
import type { AuditWriter, Written } from './writer.js';

export interface AlertOptions {
  /** Events within this time are summed up (milliseconds). */
  readonly window: number;
  /** Number of denials of one kind from one address that make an alert; severe events alert at once. */
  readonly threshold: number;
  /** Most addresses and kinds counted at once; beyond that the least recently active are dropped. */
  readonly keys: number;
}

/** From this many addresses with the same kind of event in a window on, there is one alert for all of them. */
const MANY_ADDRESSES = 10;
/** An alert lists the first operations, hazards and indicators only. */
const MAX_LISTED = 8;
/** Kinds, codes and actions come from the guard's own tables: there are a few dozen. */
const MAX_CROWDS = 1_000;
/** Characters of a hazard or an indicator's value in an alert. */
const MAX_TEXT_LENGTH = 200;

/** What happened within one window. */
interface Tally {
  /** When the window began, milliseconds since 1970. */
  began: number;
  first: number;
  last: number;
  count: number;
  /** How much of `count` alerts have reported. */
  reported: number;
  operations: string[];
  latest: Pick<Occurrence, 'sources' | 'rule'>;
  hazards: string[];
  indicators: IndicatorMatch[];
}

/** Client or container and kind that an alert is about, the same in all of its windows. */
type Subject = Pick<Occurrence, 'kind' | 'action' | 'code' | 'client' | 'container' | 'address'>;

/** One kind, from all addresses. It counts what its groups count, so that dropping a group loses no event. */
interface Crowd extends Tally {
  /** Changes with each window. */
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
 * reported: at most MANY_ADDRESSES - 1 alerts come before that, so an attacker who changes addresses cannot flood the receiver.
 *
 * INVARIANT: what was recorded once an alert had been raised is reported, at the end of the window, when the group is
 * forgotten for another, or at the close.
 */
export function withAlerts(writer: AuditWriter, options: AlertOptions): AuditWriter {
  return new AlertingWriter(writer, options);
}

/** Passes events on to a writer, and counts them. */
class AlertingWriter implements AuditWriter {
  readonly stats: AuditWriter['stats'];
  readonly #writer: AuditWriter;
  readonly #alerts: Alerts;
  /** Failed writes that are counted. */
  #failures: number;

  constructor(writer: AuditWriter, options: AlertOptions) {
    this.#writer = writer;
    this.stats = writer.stats;
    this.#failures = writer.stats.failures;
    this.#alerts = new Alerts(options, (event) => writer.record(event));
  }

  record(event: AuditEvent, written?: Written, durable?: boolean): void {
    this.#writer.record(event, written, durable);
    if (event.event !== 'outcome') {
      const occurrence = occurrenceOf(event);
      if (occurrence !== undefined) this.#alerts.count(occurrence);
    }
    const { failures } = this.stats;
    if (failures === this.#failures) return;
    const count = failures - this.#failures;
    this.#failures = failures;
    this.#alerts.count(failedWrites(count));
  }

  flush(): void {
    this.#writer.flush();
  }

  reopen(): void {
    this.#writer.reopen();
  }

  close(): void {
    this.#alerts.close();
    this.#writer.close();
  }
}

/** Counts what happens by kind and address, and reports it. */
class Alerts {
  readonly #options: AlertOptions;
  readonly #report: (event: AlertEvent) => void;
  readonly #id = randomUUID().slice(0, 8);
  #serial = 0;
  #generation = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #groups: LRUCache<string, Group>;
  readonly #crowds: LRUCache<string, Crowd>;
  /** Tallies with an alert in this window, and the function that reports them again at its end. */
  readonly #raised = new Map<Tally, () => void>();

  constructor(options: AlertOptions, report: (event: AlertEvent) => void) {
    this.#options = options;
    this.#report = report;
    const dispose = (tally: Tally, _: string, reason: LRUCache.DisposeReason): void => {
      if (reason === 'evict') this.#forget(tally);
    };
    this.#groups = new LRUCache<string, Group>({ ...atMost(options.keys), dispose });
    this.#crowds = new LRUCache<string, Crowd>({ ...atMost(MAX_CROWDS), dispose });
  }

  count(occurrence: Occurrence): void {
    const { keys, threshold } = this.#options;
    const now = Date.now();
    const kind = `${occurrence.kind} ${occurrence.code} ${occurrence.action}`;
    const crowd = this.#crowdOf(kind, now);
    const group = this.#groupOf(kind, occurrence.who, now);
    for (const tally of [crowd, group]) {
      tally.count += occurrence.count;
      tally.first = Math.min(tally.first, occurrence.first ?? now);
      tally.last = Math.max(tally.last, occurrence.last ?? now);
      if (this.#raised.has(tally)) addDetails(tally, occurrence);
      else addOperation(tally, occurrence.operation);
    }
    if (group.generation !== crowd.generation) {
      group.generation = crowd.generation;
      crowd.addresses = Math.min(keys, crowd.addresses + 1);
    }
    const least = occurrence.severe ? 1 : threshold;
    if (this.#raised.has(crowd)) return;
    if (crowd.addresses >= MANY_ADDRESSES && crowd.count >= least) {
      this.#raise(crowd, occurrence, () => crowd.addresses);
    } else if (group.count >= least && !this.#raised.has(group)) this.#raise(group, occurrence, () => 0);
  }

  /** Reports what is left. */
  close(): void {
    clearTimeout(this.#timer);
    for (const [tally, report] of this.#raised) if (tally.count > tally.reported) report();
    this.#raised.clear();
  }

  #crowdOf(kind: string, now: number): Crowd {
    return this.#current<Crowd>(this.#crowds, kind, now, () => ({
      ...emptyTally(now),
      generation: (this.#generation += 1),
      addresses: 0,
    }));
  }

  #groupOf(kind: string, who: string, now: number): Group {
    return this.#current<Group>(this.#groups, `${kind} ${who}`, now, () => ({
      ...emptyTally(now),
      crowd: kind,
      generation: 0,
    }));
  }

  /** The tally of a key in a window that goes on. */
  #current<T extends Tally>(cache: LRUCache<string, T>, key: string, now: number, make: () => T): T {
    let tally = cache.get(key);
    if (tally === undefined) cache.set(key, (tally = make()));
    else if (!this.#raised.has(tally) && this.#isOver(tally, now)) this.#renew(tally, now);
    return tally;
  }

  #raise(tally: Tally, occurrence: Occurrence, addresses: () => number): void {
    addDetails(tally, occurrence);
    // Not the whole of it: what it holds besides may be large.
    const { kind, action, code, client, container, address } = occurrence;
    const subject: Subject = { kind, action, code, client, container, address };
    const report = (): void => this.#reportTally(tally, subject, addresses());
    this.#raised.set(tally, report);
    report();
    this.#schedule();
  }

  #reportTally(tally: Tally, subject: Subject, addresses: number): void {
    const { kind, action, code, ...who } = subject;
    tally.reported = tally.count;
    this.#serial += 1;
    const { count, first, last, operations, latest, hazards, indicators } = tally;
    const event: Omit<AlertEvent, 'message'> = {
      event: 'alert',
      id: `${this.#id}-${this.#serial}.a`,
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
      window: this.#options.window,
    };
    this.#report({ ...event, message: alertMessage(event, addresses >= this.#options.keys) });
  }

  /** Makes the end of the next window be noticed. */
  #schedule(): void {
    if (this.#timer !== undefined || this.#raised.size === 0) return;
    let next = Infinity;
    for (const { began } of this.#raised.keys()) next = Math.min(next, began + this.#options.window);
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#endWindows(Date.now());
        this.#schedule();
      },
      Math.max(1, next - Date.now()),
    );
    this.#timer.unref();
  }

  /** Reports the rest of windows that are over; tallies without an event in the last one are dropped. */
  #endWindows(now: number): void {
    // Groups first: whether they report depends on the state of their crowd.
    const over = [...this.#raised]
      .filter(([tally]) => this.#isOver(tally, now))
      .sort(([a], [b]) => rank(a) - rank(b));
    for (const [tally, report] of over) {
      const crowd = 'crowd' in tally ? this.#crowds.peek((tally as Group).crowd) : undefined;
      const isCrowded = crowd !== undefined && this.#raised.has(crowd);
      const isQuiet = tally.count === tally.reported;
      // What the crowd counts is reported with the crowd.
      if (!isQuiet && !(isCrowded && tally.began >= crowd.began)) report();
      if (isQuiet || isCrowded) this.#raised.delete(tally);
      this.#renew(tally, now);
    }
  }

  #isOver({ began }: Tally, now: number): boolean {
    return now >= began + this.#options.window || now < began;
  }

  #renew(tally: Tally, now: number): void {
    Object.assign(tally, { ...emptyTally(now), latest: tally.latest });
    if ('addresses' in tally) {
      Object.assign(tally, { addresses: 0, generation: (this.#generation += 1) });
    }
  }

  /** There is no room for it any more. */
  #forget(tally: Tally): void {
    if (tally.count > tally.reported) this.#raised.get(tally)?.();
    this.#raised.delete(tally);
  }
}

const rank = (tally: Tally): number => ('addresses' in tally ? 1 : 0);

const emptyTally = (now: number): Tally => ({
  began: now,
  first: Infinity,
  last: 0,
  count: 0,
  reported: 0,
  operations: [],
  latest: { sources: [], rule: '' },
  hazards: [],
  indicators: [],
});

function addOperation({ operations }: Tally, operation: string): void {
  if (operation !== '' && operations.length < MAX_LISTED && !operations.includes(operation))
    operations.push(operation);
}

/** Only for what is reported: details of every address that ever came would take too much room. */
function addDetails(tally: Tally, { operation, sources, rule, hazards, indicators }: Occurrence): void {
  addOperation(tally, operation);
  tally.latest = { sources, rule };
  for (const hazard of hazards) {
    if (tally.hazards.length >= MAX_LISTED) break;
    const kept = copyOf(hazard);
    if (!tally.hazards.includes(kept)) tally.hazards.push(kept);
  }
  for (const match of indicators) {
    if (tally.indicators.length >= MAX_LISTED) break;
    const { hit } = match;
    if (tally.indicators.some((listed) => listed.hit.indicator === hit.indicator)) continue;
    tally.indicators.push({ hit, value: copyOf(match.value), where: copyOf(match.where) });
  }
}

/** A part of a string keeps the whole of it in memory, here a body of megabytes: this is a copy. */
const copyOf = (value: string): string => Buffer.from(value.slice(0, MAX_TEXT_LENGTH)).toString();
