import * as z from 'zod';
import {
  compileRate,
  parseAmount,
  parseRate,
  RATES,
  type Rate,
  type RateName,
  type SourceQuotas,
} from './quotas.js';

const COUNTS = 'a rate N/TIME, such as "600/1m" or "20/1h" (TIME: whole s, m, h or d, up to 366d)';
const SIZES = 'a rate SIZE/TIME, such as "10GiB/1h" (TIME: whole s, m, h or d, up to 366d)';

function rate(bytes: boolean, words: string) {
  const valid = bytes ? SIZES : COUNTS;
  const text = z.string().refine((value) => parseRate(value, bytes) !== undefined, `expected ${valid}`);
  const amounts = bytes ? 'a size such as "64MiB", or a number of bytes' : 'a whole number from 1 on';
  const amount: z.ZodType<string | number> = bytes ? z.union([z.string(), z.number()]) : z.number();
  const burst = amount
    .refine((value) => parseAmount(value, bytes) !== undefined, `expected ${amounts}`)
    .optional();
  return z
    .union(
      [
        text,
        z.strictObject({
          rate: text,
          burst: burst.describe('Most at once after a time of rest; without it, as much as in one TIME.'),
        }),
      ],
      { error: `${valid}, or {"rate": …, "burst": …}` },
    )
    .optional()
    .describe(`${words} ${bytes ? 'SIZE/TIME: `"10GiB/1h"`.' : 'N/TIME: `"600/1m"`.'}`);
}

/** The quotas of a source, under the policy key `limits`. What each one counts is in quotas.ts. */
export const quotasSchema = z
  .strictObject({
    per: z
      .enum(['source', 'client'])
      .optional()
      .describe(
        'Which clients share the limits: `source`, all clients of the source together; `client`, each has its own, by certificate, or else token, or else address (IPv6: its /64). Default: `"source"`.',
      ),
    calls: rate(false, 'Calls, those that are denied too.'),
    builds: rate(false, 'Image builds that the rules allow.'),
    creates: rate(false, 'Calls that the rules allow and that make something: containers, execs, images …'),
    bytes: rate(true, 'Bytes of bodies and streams, both ways. What runs is slowed down, not cut.'),
    streams: z
      .int()
      .min(1)
      .max(1_000_000)
      .optional()
      .describe('Most calls at the same time that may last: events, logs, attach, exec, builds, pulls …'),
  })
  .describe('Rate limits of the source; a caller that belongs to several has to keep the limits of each.');

export type QuotasShape = z.output<typeof quotasSchema>;

/** @param observe the file is in observe mode. */
export function compileQuotas(shape: QuotasShape, observe: boolean): SourceQuotas {
  const rates: Partial<Record<RateName, Rate>> = {};
  for (const name of RATES) {
    const rate = shape[name];
    if (rate !== undefined) rates[name] = compileRate(rate, name === 'bytes');
  }
  return { per: shape.per ?? 'source', rates, streams: shape.streams, observe };
}
