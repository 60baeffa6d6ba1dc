import { LRUCache } from 'lru-cache';
import { atMost } from '../base/bounded.js';
import type { Flow } from '../capture/relay-body.js';
import type { Client } from '../docker/call.js';
import type { Operation } from '../docker/operation.js';
import { clientNetwork } from '../base/address.js';
import type { CompiledPolicy, CompiledSource } from '../policy/compiled.js';
import {
  isBuild,
  isCreate,
  fullLevel,
  spend,
  waitFor,
  worstOf,
  type QuotaLevel,
  type QuotaName,
  type ExceededQuota,
  type Rate,
  type RateName,
  type SourceQuotas,
} from '../policy/quotas.js';
import { judgeExceeded, type Judgement } from '../policy/judge.js';
import { sourcesFor } from '../policy/decide.js';

/** Clients of one source that have levels of their own at the same time; of more, the ones that were silent longest are forgotten. */
export const MAX_CLIENTS = 65_536;

/** A call that would have to wait longer than this for its first byte (ms) is refused instead of slowed down. */
const MAX_WAIT_MS = 1_000;

/** When a stream would wait longer than this (ms), it looks again in between. */
const MAX_PAUSE_MS = 10_000;

/** Hears of every call that is over a limit. */
type OnOver = (source: string, limit: QuotaName) => void;

/** The rate limits of a running guard. */
export interface Quotas {
  /** What a caller has of the limits of its sources; undefined when none of them has limits. One for each call. */
  of(policy: CompiledPolicy, client: Client): Quota | undefined;
}

/** One call's part in the limits of its caller's sources. */
export interface Quota {
  /** Counts the call itself. @returns the limit that stops it. */
  admit(): ExceededQuota | undefined;
  /** Counts what an allowed call does; once a call. @returns the limit that stops it. */
  begin(operation: Operation): ExceededQuota | undefined;
  /** The limit that it is over and that is only recorded. */
  readonly observed: ExceededQuota | undefined;
  /** Counts bytes that have come or gone; undefined when no source of the caller limits them. */
  readonly flow: Flow | undefined;
  /** The call is over: gives its stream back. */
  close(): void;
}

/** The levels of a source, or of one client of it. */
interface Account {
  readonly levels: Map<RateName, { readonly rate: Rate; level: QuotaLevel }>;
  /** Streams open now. */
  open: number;
}

/** What is kept of one source. */
interface Ledger {
  readonly per: SourceQuotas['per'];
  readonly whole: Account;
  readonly clients: LRUCache<string, Account> | undefined;
}

/** One source of a caller. */
interface Entry {
  readonly source: CompiledSource;
  readonly limits: SourceQuotas;
  readonly account: Account;
}

/**
 * Opens the limits. Levels are in memory: they are full after a start, and stay as they are over a reload for every limit
 * that says the same as before. A call that is on its way keeps the limits that it started with.
 *
 * @param onOver called for every call that is over a limit (of bytes: that was slowed down or refused), observed ones too.
 * @param clock milliseconds that never go back.
 */
export function openQuotas(onOver: OnOver, clock: () => number = () => performance.now()): Quotas {
  let ledgers = new Map<string, Ledger>();
  let policyOfLedgers: CompiledPolicy | undefined;

  /** INVARIANT: only sources of the policy in force are kept, so that reloads do not add up. */
  const adopt = (policy: CompiledPolicy): void => {
    policyOfLedgers = policy;
    const kept = new Map<string, Ledger>();
    for (const [name, { quotas: limits }] of policy.withQuotas) {
      const before = ledgers.get(name);
      if (limits === null) continue;
      kept.set(name, before?.per === limits.per ? before : openLedger(limits.per));
    }
    ledgers = kept;
  };

  return {
    of(policy, client) {
      if (policy.withQuotas.size === 0) return undefined;
      if (policy !== policyOfLedgers) adopt(policy);
      const entries: Entry[] = [];
      for (const name of sourcesFor(policy, client)) {
        const source = policy.withQuotas.get(name);
        const limits = source?.quotas;
        if (source == null || limits == null) continue;
        entries.push({ source, limits, account: accountOf(ledgers.get(name)!, source, client) });
      }
      return entries.length === 0 ? undefined : new CallQuota(entries, onOver, clock);
    },
  };
}

/**
 * What the quota of the caller says of a judgement that lets its call pass. A call that passes is counted here, once; a
 * limit that is only observed goes on record as a denial that is not enforced.
 */
export function withinQuota(judgement: Judgement, quota: Quota): Judgement {
  if (!judgement.passes) return judgement;
  const over = quota.begin(judgement.call.operation);
  if (over !== undefined) return judgeExceeded(judgement, over);
  const { observed } = quota;
  return observed === undefined || judgement.verdict.effect === 'deny'
    ? judgement
    : judgeExceeded(judgement, observed, judgement.verdict);
}

const newAccount = (): Account => ({ levels: new Map(), open: 0 });

const openLedger = (per: SourceQuotas['per']): Ledger => ({
  per,
  whole: newAccount(),
  clients: per === 'client' ? new LRUCache(atMost(MAX_CLIENTS)) : undefined,
});

function accountOf({ whole, clients }: Ledger, source: CompiledSource, client: Client): Account {
  if (clients === undefined) return whole;
  const key = clientKey(source, client);
  let account = clients.get(key);
  if (account === undefined) clients.set(key, (account = newAccount()));
  return account;
}

/**
 * Who a client is, for limits that each client has by itself.
 *
 * INVARIANT: nothing that a client can make up is part of it: a token counts only where the source knows it, and of an
 * IPv6 address only the /64 (anybody has all of that).
 */
export function clientKey(source: Pick<CompiledSource, 'token'>, client: Client): string {
  if (client.certificate.length > 0) return `certificate ${client.certificate.join(' ')}`;
  if (source.token !== null) return `token ${client.tokenSha256}`;
  return clientNetwork(client.address);
}

/** What a call and the limits of its caller's sources share. */
class CallQuota implements Quota {
  readonly flow: Flow | undefined;
  observed: ExceededQuota | undefined;
  readonly #entries: readonly Entry[];
  readonly #withBytes: readonly Entry[];
  readonly #onOver: OnOver;
  readonly #clock: () => number;
  readonly #timers = new Set<NodeJS.Timeout>();
  #hasBegun = false;
  /** It holds a stream of each source. */
  #holdsStream = false;
  #isSlowed = false;
  #isClosed = false;

  constructor(entries: readonly Entry[], onOver: OnOver, clock: () => number) {
    this.#entries = entries;
    this.#withBytes = entries.filter(({ limits }) => limits.rates.bytes !== undefined);
    this.#onOver = onOver;
    this.#clock = clock;
    if (this.#withBytes.length > 0) this.flow = (bytes, resume) => this.#countBytes(bytes, resume);
  }

  admit(): ExceededQuota | undefined {
    return this.#take(['calls', 'bytes'], false);
  }

  begin(operation: Operation): ExceededQuota | undefined {
    // INVARIANT: a finished call never takes a stream slot; nothing would release it.
    if (this.#hasBegun || this.#isClosed) return undefined;
    this.#hasBegun = true;
    const names: RateName[] = [];
    if (isBuild(operation)) names.push('builds');
    if (isCreate(operation)) names.push('creates');
    return this.#take(names, operation.response !== 'finite');
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    if (this.#holdsStream) for (const { account } of this.#entries) account.open -= 1;
  }

  /** All or nothing: a call that one source stops takes nothing from another. */
  #take(names: readonly RateName[], stream: boolean): ExceededQuota | undefined {
    const now = this.#clock();
    const found = this.#entries.flatMap((entry) => exceededBy(entry, names, stream, now));
    for (const { source, quota: limit } of found) this.#onOver(source, limit);
    const most = worstOf(found);
    if (most !== undefined && !most.observe) return most;
    this.observed ??= most;
    for (const entry of this.#entries) {
      for (const name of names) {
        // Observed calls are not stopped, and must not run up a debt for the day when they are.
        if (name !== 'bytes' && waitOf(entry, name, 1, now) === 0) charge(entry, name, 1, now);
      }
      if (stream) entry.account.open += 1;
    }
    this.#holdsStream ||= stream;
    return undefined;
  }

  #countBytes(bytes: number, resume: () => void): boolean {
    if (this.#isClosed) return true;
    const now = this.#clock();
    for (const entry of this.#withBytes) charge(entry, 'bytes', bytes, now);
    const wait = this.#owed(now);
    if (wait === 0) return true;
    if (!this.#isSlowed) {
      this.#isSlowed = true;
      for (const entry of this.#withBytes) {
        if (waitOf(entry, 'bytes', 0, now) > 0) this.#onOver(entry.source.name, 'bytes');
      }
    }
    this.#pause(wait, resume);
    return false;
  }

  /** How long the bytes so far have to wait (ms). */
  #owed(now: number): number {
    let wait = 0;
    for (const entry of this.#withBytes)
      if (!entry.limits.observe) wait = Math.max(wait, waitOf(entry, 'bytes', 0, now));
    return wait;
  }

  #pause(wait: number, resume: () => void): void {
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        if (this.#isClosed) return;
        // Others have drawn on it meanwhile.
        const more = this.#owed(this.#clock());
        if (more > 0) this.#pause(more, resume);
        else resume();
      },
      Math.min(wait, MAX_PAUSE_MS),
    );
    this.#timers.add(timer);
  }
}

/** The limits of one source that a call is over. */
function exceededBy(entry: Entry, names: readonly RateName[], stream: boolean, now: number): ExceededQuota[] {
  const found: ExceededQuota[] = [];
  for (const name of names) {
    const wait = name === 'bytes' ? bytesWait(entry, now) : waitOf(entry, name, 1, now);
    if (wait > 0) found.push(over(entry, name, wait));
  }
  const { account, limits } = entry;
  if (stream && limits.streams !== undefined && account.open >= limits.streams)
    found.push(over(entry, 'streams', 0));
  return found;
}

/** The level of one rate; a new one is full, and so is one whose rate was changed. */
function levelOf(
  { limits, account }: Entry,
  name: RateName,
  now: number,
): { rate: Rate; level: QuotaLevel } | undefined {
  const rate = limits.rates[name];
  if (rate === undefined) return undefined;
  let kept = account.levels.get(name);
  if (kept === undefined || (kept.rate !== rate && kept.rate.text !== rate.text)) {
    account.levels.set(name, (kept = { rate, level: fullLevel(rate, now) }));
  }
  return kept;
}

function waitOf(entry: Entry, name: RateName, amount: number, now: number): number {
  const kept = levelOf(entry, name, now);
  return kept === undefined ? 0 : waitFor(kept.level, kept.rate, amount, now);
}

function bytesWait(entry: Entry, now: number): number {
  const wait = waitOf(entry, 'bytes', 0, now);
  return wait > MAX_WAIT_MS ? wait : 0;
}

function charge(entry: Entry, name: RateName, amount: number, now: number): void {
  const kept = levelOf(entry, name, now);
  if (kept === undefined) return;
  const { amount: per, interval } = kept.rate;
  // Deep enough that the next call is seen to be over it.
  const floor = entry.limits.observe ? (-2 * MAX_WAIT_MS * per) / interval : undefined;
  kept.level = spend(kept.level, kept.rate, amount, now, floor);
}

function over({ source: { name }, limits }: Entry, limit: QuotaName, wait: number): ExceededQuota {
  const who = limits.per === 'client' ? `this client of source ${name}` : `source ${name}`;
  const amount = limit === 'streams' ? `${limits.streams} at the same time` : limits.rates[limit]!.text;
  return {
    source: name,
    quota: limit,
    what: `${who} is at its limit of ${limit} (${amount})`,
    wait,
    observe: limits.observe,
  };
}
