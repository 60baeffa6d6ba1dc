import * as z from 'zod';
import { parseDuration, parseSize } from '../base/units.js';

/** Longest time a Node timer takes (2^31-1 ms); a longer one would fire at once. */
const MAX_TIMER_MS = 2_147_483_647;

/** What the numbers of a schema stand for: the generated reference shows `"64MiB"` and `"30s"`, not 67108864 and 30000. */
export const UNITS = z.registry<{ readonly unit: 'size' | 'time' }>();

/** A size in bytes: `"64MiB"` or a number. */
export const size = (min: number, max = Number.MAX_SAFE_INTEGER) =>
  z
    .union([z.int(), z.string()], { error: 'a size such as "64MiB", or a number of bytes' })
    .transform((value, context) => {
      const bytes = parseSize(value);
      if (bytes !== undefined && bytes >= min && bytes <= max) return bytes;
      const range = max === Number.MAX_SAFE_INTEGER ? `at least ${min}` : `from ${min} to ${max}`;
      context.addIssue({
        code: 'custom',
        message:
          bytes === undefined
            ? 'expected a size such as "64MiB", or a number of bytes'
            : `expected ${range} bytes`,
      });
      return z.NEVER;
    })
    .register(UNITS, { unit: 'size' });

/** Milliseconds: `"30s"` or a number; what a Node timer takes. */
export const duration = () =>
  z
    .union([z.int(), z.string()], { error: 'a duration such as "30s"' })
    .transform((value, context) => {
      const ms = parseDuration(value);
      if (ms !== undefined && ms >= 1 && ms <= MAX_TIMER_MS) return ms;
      context.addIssue({
        code: 'custom',
        message:
          ms === undefined
            ? 'expected a duration such as "500ms", "30s", "5m" or "2h", or a number of milliseconds'
            : 'expected a duration from 1ms to 24d; there is no "off"',
      });
      return z.NEVER;
    })
    .register(UNITS, { unit: 'time' });

const MAX_AGE_MS = 100 * 366 * 86_400_000;

/** A span of time of any length, in milliseconds: no timer runs that long. */
export const age = () =>
  z
    .union([z.int(), z.string()], { error: 'a time such as "12h" or "14d"' })
    .transform((value, context) => {
      const ms = parseDuration(value);
      if (ms !== undefined && ms >= 1_000 && ms <= MAX_AGE_MS) return ms;
      context.addIssue({ code: 'custom', message: 'expected a time from 1s on, such as "12h" or "14d"' });
      return z.NEVER;
    })
    .register(UNITS, { unit: 'time' });

/** Text that is not empty. */
export const text = z.string().min(1);
/** A whole number from 1 on. */
export const count = (max: number) => z.int().min(1).max(max);
