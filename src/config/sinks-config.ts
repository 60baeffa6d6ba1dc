import { fileURLToPath } from 'node:url';
import * as z from 'zod';
import {
  HTTP_SINKS,
  RECORD_EVENTS,
  RECORD_FORMATS,
  SINKS,
  type RecordFormat,
  type SinkType,
} from '../base/audit-names.js';
import { parseUrl } from '../intel/canonical-host.js';
import { isLoopback } from './endpoint.js';
import { count, duration, size, text } from './shapes.js';

type Secret = { readonly text: string } | { readonly env: string } | { readonly file: string };

const isHttp = (type: SinkType): boolean => (HTTP_SINKS as readonly string[]).includes(type);
/** What takes JSON alone, and what it gets when nothing is said. */
const FORMAT: Readonly<Partial<Record<SinkType, RecordFormat>>> = {
  elasticsearch: 'ecs',
  gelf: 'gelf',
  sentinel: 'breakwater',
};
/** Keys that mean something for these types only. */
const OWN_KEYS: Readonly<Record<string, readonly SinkType[]>> = {
  headers: HTTP_SINKS,
  token: HTTP_SINKS,
  proxy: HTTP_SINKS,
  oauth: ['sentinel', 'otlp', 'webhook', 'loki'],
  facility: ['syslog'],
  index: ['elasticsearch', 'splunk-hec'],
  acknowledge: ['splunk-hec'],
  labels: ['loki'],
  body: ['webhook'],
  tls: ['syslog', 'gelf', ...HTTP_SINKS],
};

const secret = z.union([text, z.strictObject({ env: text }), z.strictObject({ file: text })], {
  error: 'a text, {"env": "NAME"} or {"file": "PATH"}',
});

/** One receiver as it stands in the file. */
export const sinkSchema = z.strictObject({
  name: z
    .string()
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
      'must be 1 to 64 letters, digits, dots, hyphens or underscores',
    )
    .describe('What log, metrics and the cursor file call it.'),
  type: z.enum(SINKS).describe('What kind of receiver it is.'),
  url: text
    .optional()
    .describe(
      '`udp://`, `tcp://` or `tls://HOST:PORT` for syslog and gelf; `file:PATH`; `https://…` for the others. One without a path gets the usual path of its type.',
    ),
  format: z
    .enum(RECORD_FORMATS)
    .optional()
    .describe(
      '`breakwater` is the record as it stands. Default: `ecs` for elasticsearch, `gelf` for gelf, else `breakwater`.',
    ),
  events: z
    .array(z.enum(RECORD_EVENTS))
    .min(1)
    .optional()
    .describe(
      'Which records it gets, such as `["alert"]` for a pager; only who gets all can check the chain. Default: all.',
    ),
  insecure: z.boolean().optional().describe('Must be true for a receiver beyond loopback without TLS.'),
  headers: z
    .record(z.string().regex(/^[A-Za-z0-9-]{1,64}$/, 'must be the name of an HTTP header'), secret)
    .optional()
    .describe('More HTTP headers; values as in `token`.'),
  token: secret
    .optional()
    .describe(
      'The credential of the HTTP types: a text, `{"env": "NAME"}` or `{"file": "PATH"}`. Files are read again for each post.',
    ),
  oauth: z
    .strictObject({
      url: text.describe('The token endpoint.'),
      id: text.describe('Client id.'),
      secret: secret.describe('Client secret: a text, `{"env": "NAME"}` or `{"file": "PATH"}`.'),
      scope: z.string().default('https://monitor.azure.com/.default').describe('Scope to ask for.'),
    })
    .optional(),
  tls: z
    .strictObject({
      ca: text
        .optional()
        .describe("PEM file of a CA; certificates are always verified. Default: the system's CAs."),
      cert: text.optional().describe('PEM file of the client certificate.'),
      key: text.optional().describe('PEM file of its private key.'),
    })
    .optional(),
  proxy: z
    .union([text, z.null()], { error: 'the URL of an HTTP proxy, or null for none' })
    .optional()
    .describe(
      'An HTTP proxy: https goes through a tunnel (CONNECT), http as a plain request; `null` for none. Default: that of the environment.',
    ),
  batch: z
    .strictObject({
      records: count(10_000).default(500).describe('Records of one batch, at most.'),
      bytes: size(1024, 8 * 2 ** 20)
        .default(512 * 2 ** 10)
        .describe('Bytes of one batch, at most.'),
      interval: duration().default(500).describe('How long a batch waits for more records.'),
    })
    .prefault({}),
  timeout: duration().default(10_000).describe('For an answer of the receiver.'),
  retry: z
    .strictObject({
      min: duration()
        .default(500)
        .describe('How long it waits before the first new attempt; twice as long before each further one.'),
      max: duration().default(60_000).describe('The longest wait between two attempts.'),
    })
    .prefault({}),
  confirm: z
    .strictObject({
      records: count(100_000)
        .default(10_000)
        .describe(
          'On TCP and TLS: after so many records a new connection is opened, and the old one confirmed.',
        ),
      interval: duration().default(5_000).describe('The same after so much time.'),
      settle: duration()
        .default(2_000)
        .describe('Within this time a receiver must write down what it has read.'),
    })
    .prefault({}),
  facility: z.int().min(0).max(23).optional().describe('Of syslog: the facility. Default: `13`, log audit.'),
  index: text
    .optional()
    .describe('Of elasticsearch and splunk-hec: the index. Default: `breakwater-audit` for elasticsearch.'),
  acknowledge: z
    .boolean()
    .optional()
    .describe('Of splunk-hec: wait until the indexers have acknowledged. Default: `false`.'),
  labels: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/), text)
    .optional()
    .describe('Of loki: labels of the stream.'),
  body: z
    .enum(['array', 'ndjson'])
    .optional()
    .describe('Of webhook: one JSON array, or one JSON object a line. Default: `array`.'),
});

type Shape = z.output<typeof sinkSchema>;
type At = (path: readonly PropertyKey[], message: string) => void;

/** One receiver; what the senders need. */
export type SinkSettings = ReturnType<typeof readSink>;

/** Checks the receivers and fills in what depends on other values. */
export function readSinks(
  shapes: readonly Shape[],
  inFile: (path: string) => string,
  at: At,
): SinkSettings[] {
  const names = new Map<string, number>();
  return shapes.map((shape, index) => {
    const here: At = (path, message) => at([index, ...path], message);
    // Each has a file of its own, also where file names have no case.
    const first = names.get(shape.name.toLowerCase());
    if (first !== undefined)
      here(['name'], `${JSON.stringify(shape.name)} is also the name of sinks/${first}`);
    else names.set(shape.name.toLowerCase(), index);
    return readSink(shape, inFile, here);
  });
}

function readSink(shape: Shape, inFile: (path: string) => string, at: At) {
  const { type, tls, token, oauth, headers, insecure, proxy, ...rest } = shape;
  for (const [key, types] of Object.entries(OWN_KEYS)) {
    if (shape[key as keyof Shape] !== undefined && !types.includes(type)) {
      at([key], `means nothing for ${type}; remove it`);
    }
  }
  if (token !== undefined && oauth !== undefined) at(['oauth'], 'stands beside "token": one of the two');
  if (oauth !== undefined)
    readNetUrl(oauth.url, ['https:', 'http:'], insecure, (_, message) => at(['oauth', 'url'], message));
  if ((tls?.cert === undefined) !== (tls?.key === undefined)) at(['tls'], '"cert" and "key" go together');
  const must = FORMAT[type];
  const format = shape.format ?? must ?? 'breakwater';
  if (must !== undefined && (type === 'gelf' ? format !== 'gelf' : format === 'cef' || format === 'leef')) {
    at(['format'], `${format} cannot be sent to ${type}`);
  }
  if (typeof proxy === 'string' && !/^https?:$/.test(parseUrl(proxy)?.protocol ?? '')) {
    at(['proxy'], `found ${JSON.stringify(proxy)}; expected http://HOST:PORT or https://HOST:PORT`);
  }
  if (shape.retry.max < shape.retry.min) at(['retry', 'max'], 'is less than "min"');
  const resolved = (value: z.output<typeof secret>): Secret =>
    typeof value === 'string' ? { text: value } : 'file' in value ? { file: inFile(value.file) } : value;
  return {
    ...rest,
    type,
    format,
    url: readUrl(shape, inFile, at),
    headers: Object.fromEntries(Object.entries(headers ?? {}).map(([key, value]) => [key, resolved(value)])),
    ...(token === undefined ? {} : { token: resolved(token) }),
    ...(oauth === undefined ? {} : { oauth: { ...oauth, secret: resolved(oauth.secret) } }),
    ...(proxy === undefined ? {} : { proxy }),
    tls: {
      ...(tls?.ca === undefined ? {} : { ca: inFile(tls.ca) }),
      ...(tls?.cert === undefined ? {} : { cert: inFile(tls.cert) }),
      ...(tls?.key === undefined ? {} : { key: inFile(tls.key) }),
    },
    // Log audit (RFC 5424, 6.2.1).
    facility: shape.facility ?? 13,
    index: shape.index ?? '',
    acknowledge: shape.acknowledge ?? false,
    labels: shape.labels ?? {},
    body: shape.body ?? ('array' as const),
  };
}

function readUrl({ type, url, insecure }: Shape, inFile: (path: string) => string, at: At): string {
  if (type === 'stdout') {
    if (url !== undefined) at(['url'], 'means nothing for stdout; remove it');
    return '';
  }
  if (url === undefined) {
    at(['url'], `is missing: where is the receiver of ${type}?`);
    return '';
  }
  if (type === 'file') {
    if (url.startsWith('file:///') && parseUrl(url) !== undefined) return fileURLToPath(url);
    if (/^file:[^/]/.test(url)) return inFile(url.slice(5));
    at(['url'], `found ${JSON.stringify(url)}; expected file:///PATH or file:PATH`);
    return '';
  }
  return readNetUrl(url, isHttp(type) ? ['https:', 'http:'] : ['tls:', 'tcp:', 'udp:'], insecure, at);
}

function readNetUrl(
  value: string,
  schemes: readonly string[],
  insecure: boolean | undefined,
  at: At,
): string {
  const url = parseUrl(value);
  const isWeb = schemes.includes('https:');
  if (
    url === undefined ||
    !schemes.includes(url.protocol) ||
    url.hostname === '' ||
    (!isWeb && url.port === '')
  ) {
    const forms = schemes.map((scheme) => `${scheme}//HOST${isWeb ? '/…' : ':PORT'}`).join(', ');
    at(['url'], `found ${JSON.stringify(value)}; expected one of ${forms}`);
    return '';
  }
  if (url.username !== '' || url.password !== '') {
    at(
      ['url'],
      'holds a user name or a password; put them into "headers" or "token", where they stay out of the log',
    );
  }
  const isPlain = !['https:', 'tls:'].includes(url.protocol);
  if (isPlain && insecure !== true && !isLoopback(url.hostname.replace(/^\[|\]$/g, ''))) {
    at(['url'], 'anyone on the way can read and change the records: use TLS, or say "insecure": true');
  }
  return url.href;
}
