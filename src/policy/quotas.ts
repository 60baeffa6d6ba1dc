import type { Operation } from '../docker/operation.js';
import { parseDuration, parseSize, waitInWords } from '../base/units.js';

/** Quotas that fill up again with time. */
export const RATES = ['calls', 'builds', 'creates', 'bytes'] as const;
export type RateName = (typeof RATES)[number];
export type QuotaName = RateName | 'streams';

/** So much in so much time. */
export interface Rate {
  /** Units (calls, bytes) in one `interval`. */
  readonly amount: number;
  /** Milliseconds. */
  readonly interval: number;
  /** Most that can be had at once, after a time of rest. */
  readonly burst: number;
  /** For messages and comparison: `600/1m`, `600/1m, 100 at once`. */
  readonly text: string;
}

/** The quotas of one source. */
export interface SourceQuotas {
  /** `source`: all clients of the source share them. `client`: each client has its own. */
  readonly per: 'source' | 'client';
  readonly rates: Readonly<Partial<Record<RateName, Rate>>>;
  /** Maximum of simultaneous calls whose answer has no time limit; undefined: any number. */
  readonly streams: number | undefined;
  /** Its file is in observe mode: calls over a quota are recorded and not denied. */
  readonly observe: boolean;
}

/** A rate as a policy states it. */
export type RateShape = string | { readonly rate: string; readonly burst?: string | number | undefined };

/** It counts as one of the `builds`. A BuildKit connection may carry any number and counts as one. */
export const isBuild = ({ does }: Operation): boolean => does.builds !== undefined;

/** It counts as one of the `creates`: it leaves something new with the engine. Builds have their own quota. */
export const isCreate = (operation: Operation): boolean =>
  operation.does.creates !== undefined && !isBuild(operation);

const MAX_INTERVAL_MS = 366 * 86_400_000;
/** Beyond this, levels that are kept as doubles would lose single units. */
const MAX_AMOUNT = 2 ** 50;

/**
 * Reads `600/1m`, or for bytes `10GiB/1h`.
 *
 * @returns undefined when it is no rate, or out of bounds: at least 1 unit, 1 second to 366 days.
 */
export function parseRate(
  text: string,
  bytes: boolean,
): { readonly amount: number; readonly interval: number } | undefined {
  const [count = '', time = '', ...more] = text.split('/');
  const amount = parseAmount(count, bytes);
  const interval = /^[1-9]\d{0,8}[smhd]$/.test(time) ? parseDuration(time) : undefined;
  if (amount === undefined || interval === undefined || more.length > 0) return undefined;
  return interval <= MAX_INTERVAL_MS ? { amount, interval } : undefined;
}

/** A count, or for bytes a size such as `64MiB`; undefined when it is none, or less than 1. */
export function parseAmount(value: string | number, bytes: boolean): number | undefined {
  const text = String(value);
  const amount = bytes ? parseSize(text) : /^[1-9]\d{0,14}$/.test(text) ? Number(text) : undefined;
  return amount !== undefined && amount >= 1 && amount <= MAX_AMOUNT ? amount : undefined;
}

/** A rate that has passed the schema. Without a burst all of one interval can be had at once. */
export function compileRate(shape: RateShape, bytes: boolean): Rate {
  const [text, burst] = typeof shape === 'string' ? [shape, undefined] : [shape.rate, shape.burst];
  const { amount, interval } = parseRate(text, bytes)!;
  if (burst === undefined) return { amount, interval, burst: amount, text };
  return { amount, interval, burst: parseAmount(burst, bytes)!, text: `${text}, ${burst} at once` };
}

/**
 * How much is left, at a time: a token bucket. It may be in debt: bytes are counted when they have arrived, and what
 * comes after has to wait until they are paid for.
 */
export interface QuotaLevel {
  readonly left: number;
  /** Milliseconds of a clock that never goes back. */
  readonly at: number;
}

export const fullLevel = (rate: Rate, now: number): QuotaLevel => ({ left: rate.burst, at: now });

/** The level now. INVARIANT: never more than the burst, and a clock that stands still or goes back adds nothing. */
export function refill(level: QuotaLevel, rate: Rate, now: number): QuotaLevel {
  if (now <= level.at) return level;
  const left = level.left + ((now - level.at) * rate.amount) / rate.interval;
  return { left: Math.min(rate.burst, left), at: now };
}

/**
 * What is left after `amount` more; see Level for debts.
 *
 * @param floor the debt goes no deeper than this (0 or less).
 */
export function spend(
  level: QuotaLevel,
  rate: Rate,
  amount: number,
  now: number,
  floor = -Infinity,
): QuotaLevel {
  const { left, at } = refill(level, rate, now);
  return { left: Math.max(left - amount, Math.min(left, floor)), at };
}

/** Tolerance for rounding: a client that waits for the stated time must not be denied again. It becomes debt, so it does not add up. */
const ROUNDING = 1e-9;

/** Milliseconds until `amount` can be had; 0: now. */
export function waitFor(level: QuotaLevel, rate: Rate, amount: number, now: number): number {
  const { left } = refill(level, rate, now);
  if (left >= amount - ROUNDING) return 0;
  return Math.ceil(((amount - left) * rate.interval) / rate.amount);
}

/** A quota that is used up, and by which source. */
export interface ExceededQuota {
  readonly source: string;
  readonly quota: QuotaName;
  /** The rest of the sentence that begins with the source. */
  readonly what: string;
  /** Milliseconds after which it is worth trying again. */
  readonly wait: number;
  /** The excess is recorded, and the call is not denied. */
  readonly observe: boolean;
}

/** Seconds for `Retry-After`: whole, at least 1. */
export const retryAfter = ({ wait }: ExceededQuota): number => Math.max(1, Math.ceil(wait / 1_000));

/** One sentence that a user can act on. */
export function describeExceeded(over: ExceededQuota): string {
  const when =
    over.quota === 'streams'
      ? 'try again when one of them has ended'
      : `try again in ${waitInWords(over.wait)}`;
  return `${over.what}; ${when}`;
}

/** The one with the longest wait of those that are enforced; if none is, of those that are only recorded. */
export function worstOf(found: readonly ExceededQuota[]): ExceededQuota | undefined {
  let result: ExceededQuota | undefined;
  for (const over of found) {
    if (result === undefined || (result.observe && !over.observe)) result = over;
    else if (result.observe === over.observe && over.wait > result.wait) result = over;
  }
  return result;
}
