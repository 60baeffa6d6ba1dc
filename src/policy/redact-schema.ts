import * as z from 'zod';
import { MAX_PATTERN } from '../base/glob.js';

const pattern = z.string().min(1).max(MAX_PATTERN);

const but = (what: string, kept: string) =>
  z
    .union([z.literal(true), z.strictObject({ keep: z.array(pattern).min(1).describe(kept) })], {
      error: 'true, or an object with "keep", the list of patterns of what may be shown',
    })
    .optional()
    .describe(what);

const everything = z.literal('all');

/** What a rule removes from the answers to the calls it allows. The meaning of each key is in redact-places.ts. */
export const redactSchema = z
  .union([
    everything,
    z.strictObject({
      env: but(
        'Values of environment variables; their names stay. Logs come without the `details` that a logger adds.',
        'Names of variables to show, globs.',
      ),
      paths: but(
        'Paths of the host: sources of mounts, directories and sockets of the engine.',
        'Paths to show, globs: `"/srv/ci/**"`.',
      ),
      labels: but(
        'Values of labels and annotations; their names stay. Logs come without the `details` that a logger adds.',
        'Names of labels to show, globs: `"com.docker.compose.*"`.',
      ),
      secrets: z
        .literal(true)
        .optional()
        .describe(
          'Join tokens, unlock keys, registry tokens, contents of configs, options of drivers and loggers, proxies and mirrors of the engine, names of hosts that containers are given (`ExtraHosts`, `DnsSearch`).',
        ),
      commands: z
        .literal(true)
        .optional()
        .describe(
          'Command lines of containers, exec sessions, health checks, processes and image history, with their output in health checks.',
        ),
    }),
  ])
  .describe(
    '"all", or what to remove from the answers to the calls that this rule allows. Error messages of the engine that may quote such things are removed as well.',
  );

export type RedactShape = z.output<typeof redactSchema>;
export type RedactClass = keyof Exclude<RedactShape, 'all'>;
