import { join } from 'node:path';
import * as z from 'zod';
import { age, count, duration, size, text } from './shapes.js';
import { readSinks, sinkSchema, type SinkSettings } from './sinks-config.js';

/** The audit trail. Sizes in bytes, times in milliseconds. */
export interface AuditConfig {
  /** Path of a JSON-lines file; `-` is stdout. Not used where there is a journal. */
  readonly file: string;
  readonly journal: JournalConfig | null;
  /** Null: none. `window` in milliseconds. */
  readonly alerts: { readonly window: number; readonly threshold: number; readonly keys: number } | null;
  /** What becomes of a call whose record cannot be written. */
  readonly onFailure: { readonly write: 'deny' | 'allow'; readonly read: 'deny' | 'allow' };
}

export interface JournalConfig {
  readonly directory: string;
  /** PEM file of the Ed25519 key that signs checkpoints. */
  readonly key: string;
  readonly rotate: { readonly size: number; readonly age: number };
  readonly keep: { readonly size: number; readonly age: number };
  /** When the room is used up by records that were not delivered. */
  readonly onFull: 'block' | 'drop';
  readonly checkpoint: { readonly records: number; readonly interval: number };
  /** The disk has to answer within this time. */
  readonly timeout: number;
  /** Receivers of the records. */
  readonly sinks: readonly SinkSettings[];
}

const onFailure = z.enum(['deny', 'allow']);

const alerts = z.strictObject({
  window: duration().default(300_000).describe('What happens within this time is summed up.'),
  threshold: count(1_000_000)
    .default(10)
    .describe(
      'So many denials of one kind from one address are an alert. Of anything worse the first one is.',
    ),
  keys: count(1_000_000).default(10_000).describe('Addresses and kinds that are counted at once.'),
});

/** The section `audit` as it stands in the file. */
export const auditSchema = z.strictObject({
  file: text
    .optional()
    .describe('A file of JSON lines, or `"-"` for stdout. Not beside `journal`. Default: `"-"`.'),
  journal: text
    .optional()
    .describe('A directory: hash-chained, signed and rotated records, durable before a change takes effect.'),
  key: text
    .optional()
    .describe(
      'Ed25519 private key (PEM) that signs checkpoints; made if it is missing. Default: `key.pem` in the journal.',
    ),
  rotate: z
    .strictObject({
      size: size(64 * 2 ** 10, 2 ** 30)
        .default(64 * 2 ** 20)
        .describe('A file of the journal that is so large is closed, and the next one begun.'),
      age: age().default(86_400_000).describe('The same for one that is so old.'),
    })
    .prefault({}),
  keep: z
    .strictObject({
      size: size(2 ** 20)
        .default(10 * 2 ** 30)
        .describe(
          'How large the journal may become; the oldest files go first. At least twice `rotate.size`.',
        ),
      age: age()
        .default(90 * 86_400_000)
        .describe('How long records are kept.'),
    })
    .prefault({}),
  onFull: z
    .enum(['block', 'drop'])
    .default('block')
    .describe(
      'When `keep.size` is used up by records that a sink has not delivered: `block` fails the journal, so that changes are denied; `drop` removes the oldest records, and says so in the journal.',
    ),
  checkpoint: z
    .strictObject({
      records: count(1_000_000).default(1_000).describe('The journal is signed after so many records.'),
      interval: duration()
        .default(60_000)
        .describe('The same after so much time, where there are new records.'),
    })
    .prefault({}),
  timeout: duration()
    .default(5_000)
    .describe('The disk has to answer within this time; after it, writing the record has failed.'),
  sinks: z
    .array(sinkSchema)
    .max(32)
    .default([])
    .describe('Receivers of the journal: SIEMs, collectors, files.'),
  alerts: z
    .union([alerts, z.literal(false), z.null()], {
      error: 'an object with "window", "threshold" and "keys"; false or null for no alerts',
    })
    .prefault({})
    .describe(
      'Summaries in the trail, besides the records: many denials from one address, and what is worse.',
    ),
  onFailure: z
    .strictObject({
      write: onFailure
        .default('deny')
        .describe('What becomes of a call that changes something and whose record cannot be written.'),
      read: onFailure.default('allow').describe('The same for a call that only reads.'),
    })
    .prefault({}),
});

/**
 * Checks the section and fills in what depends on other values.
 *
 * @param flag the value of `--audit`, which stands above the file.
 * @param inFile makes a path of the file absolute.
 * @param at takes a problem at a path below `audit`.
 */
export function readAudit(
  shape: z.output<typeof auditSchema>,
  flag: string | undefined,
  inFile: (path: string) => string,
  at: (path: readonly PropertyKey[], message: string) => void,
): AuditConfig {
  const {
    file = '-',
    journal,
    key,
    alerts: summaries,
    onFailure: failure,
    sinks: receivers,
    ...rest
  } = shape;
  if (receivers.length > 0 && journal === undefined) {
    at(['sinks'], 'needs "journal" beside it: what is sent is read from there');
  }
  const sinks = readSinks(receivers, inFile, (path, message) => at(['sinks', ...path], message));
  if (journal !== undefined && shape.file !== undefined) {
    at(['file'], 'stands beside "journal": the audit trail is one of the two; remove this key');
  }
  if (shape.keep.size < 2 * shape.rotate.size) {
    at(['keep', 'size'], `${shape.keep.size} bytes is less than two segments of rotate.size`);
  }
  const directory = journal === undefined || flag !== undefined ? undefined : inFile(journal);
  return {
    file: flag ?? (file === '-' ? '-' : inFile(file)),
    journal:
      directory === undefined
        ? null
        : { directory, key: key === undefined ? join(directory, 'key.pem') : inFile(key), ...rest, sinks },
    alerts: summaries === false ? null : summaries,
    onFailure: failure,
  };
}
