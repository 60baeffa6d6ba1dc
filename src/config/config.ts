import * as z from 'zod';
import { auditSchema, type AuditConfig } from './audit-config.js';
import type { JsonObject } from '../base/json.js';
import { count, duration, size, text } from './shapes.js';
import { egressSchema, type EgressConfig } from './egress-config.js';
import type { FeedsConfig } from '../intel/feed-source.js';
import { feedsSchema } from './feeds-config.js';
import { sequencesSchema, type SequencesConfig } from './sequences-config.js';

/** One address to listen on. */
export interface ListenConfig {
  /** Unique; policy sources name it. */
  name: string;
  /** `tcp://HOST:PORT`, `tls://HOST:PORT` or `unix:///PATH`. */
  url: string;
  /** Octal permissions of the unix socket. */
  mode?: string;
  /** Group of the unix socket, by name or number. */
  group?: string;
  /** Must be true for plain TCP beyond loopback. */
  insecure?: boolean;
  tls?: ListenTls;
}

/** Paths of PEM files. Without `clientCa` no client certificate is asked for. */
export interface ListenTls {
  cert: string;
  key: string;
  clientCa?: string;
  clientAuth: 'required' | 'optional';
}

export interface UpstreamConfig {
  url: string;
  tls?: { ca?: string; cert?: string; key?: string; serverName?: string };
  /** Where the file system of the engine's host is; null: nowhere; undefined: to be found out. */
  hostRoot?: string | null | undefined;
  /** ms */
  connectTimeout: number;
  /** ms, for finite answers; streams may be silent for ever. */
  timeout: number;
  /** Calls on their way at once, streams included; each holds one connection to the engine. */
  maxConnections: number;
  /** Equal reads asked for at the same time cost the engine one call. */
  shareReads: boolean;
}

/** Sizes in bytes, times in milliseconds. */
export interface Limits {
  /** One JSON or form body. */
  body: number;
  /** All buffered bodies together. */
  buffered: number;
  /** One streamed body. */
  context: number;
  connections: number;
  headers: number;
  target: number;
  jsonDepth: number;
  headersTimeout: number;
  /** A whole buffered body. */
  bodyTimeout: number;
  /** Between two chunks of a streamed body. */
  bodyIdle: number;
  /** A keep-alive connection without a request. */
  idle: number;
  /** Graceful stop. */
  drain: number;
}

export interface Config {
  listen: ListenConfig[];
  upstream: UpstreamConfig;
  /** Policy files or directories. */
  policy: string[];
  admin: { url: string } | null;
  audit: AuditConfig;
  limits: Limits;
  feeds: FeedsConfig;
  /** Directory where it is kept who owns what; null: nowhere. */
  ownership: { state: string } | null;
  sequences: SequencesConfig;
  /** Null: there is no such section. */
  egress: EgressConfig | null;
}

const listen = z.strictObject({
  name: z
    .string()
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
      'must be 1 to 64 letters, digits, dots, hyphens or underscores',
    )
    .optional()
    .describe(
      'What the `listener` of a policy source refers to. Default: the scheme of the URL, with a number from the second on: `tcp`, `unix`, `unix-2`.',
    ),
  url: text.describe('`tcp://HOST:PORT`, `tls://HOST:PORT` or `unix:///PATH`.'),
  mode: z
    .string()
    .regex(/^0?[0-7]{3}$/, 'must be octal permissions such as "0660"')
    .optional()
    .describe('Permissions of a unix socket. Default: `"0660"`.'),
  group: text
    .optional()
    .describe('Group of a unix socket, by name or number. Default: the group that the guard runs as.'),
  insecure: z
    .boolean()
    .optional()
    .describe(
      'Must be true for plain TCP beyond loopback: anyone on the way can read and change every call.',
    ),
  tls: z
    .strictObject({
      cert: text.describe('PEM file with the certificate of this listener, and the chain up to its CA.'),
      key: text.describe('PEM file with its private key.'),
      clientCa: text
        .optional()
        .describe('PEM file with the CA that signs client certificates. Without it none is asked for.'),
      clientAuth: z
        .enum(['required', 'optional'])
        .optional()
        .describe(
          '`optional` lets clients without a certificate in, as clients without a name. Default: `"required"` with a `clientCa`.',
        ),
    })
    .optional(),
});

const admin = z.strictObject({
  url: text.describe('Where `/healthz`, `/readyz` and `/metrics` are: `tcp://HOST:PORT` or `unix:///PATH`.'),
  insecure: z.boolean().optional().describe('Must be true for plain TCP beyond loopback.'),
});

/** The shape of the config file. Defaults that depend on other values, and all cross-checks, are in load.ts. */
export const configFileSchema = z.strictObject({
  $schema: z.string().optional().describe('Path of `config.schema.json`, for completion in an editor.'),
  description: z.string().optional().describe('A note for readers of the file.'),
  listen: z
    .array(listen)
    .min(1)
    .optional()
    .describe('Where clients connect; several entries are fine. Default: `tcp://127.0.0.1:2375`.'),
  upstream: z
    .strictObject({
      url: text
        .default('unix:///var/run/docker.sock')
        .describe('The engine: `unix:///PATH`, `tcp://HOST:PORT` or `tls://HOST:PORT`.'),
      tls: z
        .strictObject({
          ca: text.optional().describe("PEM file of the engine's CA. Default: the system's CAs."),
          cert: text.optional().describe('PEM file of the client certificate to show to the engine.'),
          key: text.optional().describe('PEM file of its private key.'),
          serverName: text
            .optional()
            .describe("The name that the engine's certificate must have. Default: the host of the URL."),
        })
        .optional(),
      hostRoot: z
        .union([text, z.null()], { error: 'a directory, or null' })
        .optional()
        .describe(
          "Where the file system of the engine's host is mounted for the guard, read-only is enough: links below permitted directories are looked up there. `null`: it cannot be seen; then a bind below a permitted pattern has the hazard `unseen:bind`. Default: `/` where the engine is on a unix socket and the guard is in the host's own mount namespace, else `null`.",
        ),
      connectTimeout: duration().default(10_000).describe('For a connection to the engine.'),
      timeout: duration()
        .default(120_000)
        .describe(
          'For answers that end by themselves; streams (events, logs, wait …) may be silent for ever.',
        ),
      maxConnections: count(65_536)
        .default(1024)
        .describe('Calls that are with the engine at the same time, streams included.'),
      shareReads: z
        .boolean()
        .default(true)
        .describe(
          'Equal reads that are asked for while one is on its way wait for it to end, and then share one call of the engine.',
        ),
    })
    .prefault({}),
  policy: z
    .array(text)
    .min(1)
    .optional()
    .describe('Policy files and directories, together one policy. Default: the shipped `default.json`.'),
  admin: z
    .union([admin, z.null()], { error: 'an object with "url", or null for no admin listener' })
    .optional()
    .describe('The listener for health and metrics; `null` for none. Default: `tcp://127.0.0.1:9323`.'),
  audit: auditSchema.prefault({}),
  limits: z
    .strictObject({
      body: size(1024)
        .default(2 * 2 ** 20)
        .describe(
          'One JSON or form body. What reading and judging one may cost is bounded as well: see `opaque:work`.',
        ),
      buffered: size(1024)
        .default(256 * 2 ** 20)
        .describe('All bodies that are held in memory at the same time.'),
      context: size(1024)
        .default(16 * 2 ** 30)
        .describe('One streamed body: a build context, an archive.'),
      connections: count(1_000_000).default(16_384).describe('Open connections of each listener.'),
      headers: size(1024, 2 ** 20)
        .default(32 * 2 ** 10)
        .describe('The headers of one request.'),
      target: size(256, 2 ** 20)
        .default(16 * 2 ** 10)
        .describe('The request target: path and query.'),
      jsonDepth: count(512).default(64).describe('How deep a JSON body may be nested.'),
      headersTimeout: duration().default(10_000).describe('For the head of a request.'),
      bodyTimeout: duration().default(30_000).describe('For a whole body that is held in memory.'),
      bodyIdle: duration().default(300_000).describe('Between two pieces of a streamed body.'),
      idle: duration().default(120_000).describe('Between two requests of one connection.'),
      drain: duration()
        .default(10_000)
        .describe('How long a stop waits for the calls that are on their way.'),
    })
    .prefault({}),
  feeds: feedsSchema.prefault({}),
  ownership: z
    .strictObject({
      state: text.describe('Directory for the key that signs owners, and for who pulled which image.'),
    })
    .optional()
    .describe('Who owns which object. Needed where rules of the policy use the fact `owner`.'),
  sequences: sequencesSchema.prefault({}),
  egress: egressSchema
    .optional()
    .describe('The outbound side, `breakwater egress`. Without this section nothing is blocked.'),
});

export type ConfigFileShape = z.output<typeof configFileSchema>;

/** JSON Schema of the config file: published as policies/config.schema.json and used for hints in messages. */
export function configJsonSchema(): JsonObject {
  const schema = z.toJSONSchema(configFileSchema, { io: 'input' }) as unknown as JsonObject;
  return { ...schema, title: 'Breakwater config file' };
}
