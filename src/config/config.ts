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
    .describe('Policy sources name it. Default: the scheme of the URL, with a number from the second on.'),
  url: text.describe('tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH'),
  mode: z
    .string()
    .regex(/^0?[0-7]{3}$/, 'must be octal permissions such as "0660"')
    .optional(),
  group: text.optional(),
  insecure: z
    .boolean()
    .optional()
    .describe(
      'Must be true for plain TCP beyond loopback: anyone on the way can read and change every call.',
    ),
  tls: z
    .strictObject({
      cert: text,
      key: text,
      clientCa: text.optional(),
      clientAuth: z.enum(['required', 'optional']).optional(),
    })
    .optional(),
});

const admin = z.strictObject({ url: text, insecure: z.boolean().optional() });

/** The shape of the config file. Defaults that depend on other values, and all cross-checks, are in load.ts. */
export const configFileSchema = z.strictObject({
  $schema: z.string().optional(),
  description: z.string().optional(),
  listen: z.array(listen).min(1).optional(),
  upstream: z
    .strictObject({
      url: text.default('unix:///var/run/docker.sock'),
      tls: z
        .strictObject({
          ca: text.optional(),
          cert: text.optional(),
          key: text.optional(),
          serverName: text.optional(),
        })
        .optional(),
      connectTimeout: duration().default(10_000),
      timeout: duration().default(120_000),
      maxConnections: count(65_536).default(1024),
      shareReads: z
        .boolean()
        .default(true)
        .describe(
          'Equal reads that are asked for while one is on its way wait for it to end, and then share one call of the engine.',
        ),
    })
    .prefault({}),
  policy: z.array(text).min(1).optional(),
  admin: z
    .union([admin, z.null()], { error: 'an object with "url", or null for no admin listener' })
    .optional(),
  audit: auditSchema.prefault({}),
  limits: z
    .strictObject({
      body: size(1024).default(4 * 2 ** 20),
      buffered: size(1024).default(256 * 2 ** 20),
      context: size(1024).default(16 * 2 ** 30),
      connections: count(1_000_000).default(16_384),
      headers: size(1024, 2 ** 20).default(32 * 2 ** 10),
      target: size(256, 2 ** 20).default(16 * 2 ** 10),
      jsonDepth: count(512).default(64),
      headersTimeout: duration().default(10_000),
      bodyTimeout: duration().default(30_000),
      bodyIdle: duration().default(300_000),
      idle: duration().default(120_000),
      drain: duration().default(10_000),
    })
    .prefault({}),
  feeds: feedsSchema.prefault({}),
  ownership: z
    .strictObject({
      state: text.describe('Directory for the key that signs owners, and for who pulled which image.'),
    })
    .optional()
    .describe('Needed where rules of the policy ask for "owner".'),
  sequences: sequencesSchema.prefault({}),
  egress: egressSchema.optional(),
});

export type ConfigFileShape = z.output<typeof configFileSchema>;

/** JSON Schema of the config file: published as policies/config.schema.json and used for hints in messages. */
export function configJsonSchema(): JsonObject {
  const schema = z.toJSONSchema(configFileSchema, { io: 'input' }) as unknown as JsonObject;
  return { ...schema, title: 'Breakwater config file' };
}
