import * as z from 'zod';
import type { SequenceSettings } from '../hazards/sequences.js';
import { count, duration } from './shapes.js';

/** The section `sequences`: which attacks in several calls are looked for, and how many clients are remembered. */
export interface SequencesConfig extends SequenceSettings {
  /** Clients whose calls are remembered, of those with a source and of strangers each. */
  readonly clients: number;
}

const action = (otherwise: 'deny' | 'alert') =>
  z
    .enum(['deny', 'alert'])
    .default(otherwise)
    .describe(
      '`deny`: the hazard `sequence:…` is raised, and policy decides. `alert`: it is on record only.',
    );

const WINDOW = 'The longest time between two steps.';

const off = <S extends z.ZodType>(shape: S) =>
  z.union([z.literal(false), shape]).describe('`false`: this sequence is not looked for.');

/** The section `sequences` as it stands in the file. */
export const sequencesSchema = z.strictObject({
  clients: count(1_000_000)
    .default(10_000)
    .describe('Clients with a source whose calls are remembered; as many without a source.'),
  'build-and-run': off(
    z.strictObject({
      window: duration().default(3_600_000).describe(WINDOW),
      discovery: z
        .boolean()
        .default(true)
        .describe('`false`: also without a look at the engine and a list of its containers before.'),
      action: action('deny'),
    }),
  ).prefault({}),
  'pull-and-escape': off(
    z.strictObject({ window: duration().default(3_600_000).describe(WINDOW), action: action('deny') }),
  ).prefault({}),
  'exec-spread': off(
    z.strictObject({
      window: duration().default(300_000).describe(WINDOW),
      containers: count(1_000)
        .default(10)
        .describe('A client that goes into more containers of others than this raises the hazard.'),
      action: action('deny'),
    }),
  ).prefault({}),
  probing: off(
    z.strictObject({
      window: duration().default(300_000).describe(WINDOW),
      total: count(1_000)
        .default(20)
        .describe('How many calls of one client must be refused within the window.'),
      distinct: count(100).default(8).describe('Of how many kinds they must be.'),
      action: action('alert'),
    }),
  ).prefault({}),
});
