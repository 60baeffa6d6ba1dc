import { fileURLToPath, pathToFileURL } from 'node:url';
import * as z from 'zod';
import { parseUrl } from '../intel/canonical-host.js';
import { readIndicator } from '../intel/canonical.js';
import type { FeedHeader, FeedsConfig, FeedSource, FeedType } from '../intel/feed-source.js';
import { FORMATS } from '../intel/formats/format.js';
import { isLoopback } from './endpoint.js';
import { age, count, duration, size, text } from './shapes.js';

/** A text longer than V8's longest string (2^29-24 characters) could not be read. */
const MAX_TEXT_LENGTH = 500 * 2 ** 20;
const MIN_INTERVAL_MS = 300_000;
/** What the client sets itself, or what would change the meaning of the connection. */
const OWN_HEADERS =
  /^(host|connection|content-length|transfer-encoding|upgrade|te|trailer|keep-alive|expect|proxy-.*)$/i;

const percent = z.int().min(0).max(100);

const header = z.union([text, z.strictObject({ env: text }), z.strictObject({ file: text })], {
  error: 'a text, {"env": "NAME"} or {"file": "PATH"}',
});

const source = z.strictObject({
  name: z
    .string()
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
      'must be 1 to 64 letters, digits, dots, hyphens or underscores',
    )
    .describe('What hits, log and metrics call it: letters, digits, dots, hyphens, underscores.'),
  url: text.describe('`https://…`, `http://…`, `file:///PATH`, or `file:PATH` relative to this file.'),
  type: z
    .enum(['list', 'taxii', 'misp'])
    .optional()
    .describe(
      '`list`: one document; `taxii`: a TAXII 2.1 collection (`…/collections/ID/`); `misp`: a directory with `manifest.json`. Default: by the URL.',
    ),
  format: z
    .enum(['auto', ...FORMATS])
    .default('auto')
    .describe('Of a list; see [feed formats](feed-formats.md). `auto` looks at the content.'),
  action: z
    .enum(['block', 'alert'])
    .default('block')
    .describe(
      '`alert`: hits are on record, nothing is denied. Lists of scanners and of public proxies belong there.',
    ),
  minConfidence: percent.default(50).describe('Indicators with less confidence (0 to 100) are left out.'),
  confidence: percent.default(75).describe('Of indicators for which the feed states none.'),
  ttl: age()
    .optional()
    .describe(
      'How long an indicator counts from when it was last seen; where the feed does not say that, from its first import. An end that the feed states comes first. Default: as long as the feed lists it.',
    ),
  refresh: duration()
    .default(3_600_000)
    .describe(
      'How often it is fetched, a tenth early or late; after a failure sooner, then later each time. `Retry-After` is honoured up to a day. A file is looked at every two seconds.',
    ),
  minInterval: duration()
    .optional()
    .describe(
      'Never sooner than this after the last attempt. Default: `"5m"`, or `refresh` if that is less.',
    ),
  timeout: duration().default(300_000).describe('For one fetch as a whole.'),
  idle: duration().default(30_000).describe('Without a byte.'),
  maxSize: size(1024, MAX_TEXT_LENGTH)
    .default(128 * 2 ** 20)
    .describe('As sent, and unpacked; `500MiB` at most.'),
  maxEvents: count(20_000).default(2_000).describe('Of a MISP feed: the newest events that are taken.'),
  headers: z
    .record(
      z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/, 'must be the name of an HTTP header'),
      header,
    )
    .default({})
    .describe(
      'HTTP headers: `{"Auth-Key": "TEXT"}`, with `{"env": "NAME"}` or `{"file": "PATH"}` in place of the text. Sent to the host of the URL alone, never logged.',
    ),
  proxy: z
    .union([text, z.null()], { error: 'the URL of an HTTP proxy, or null for none' })
    .optional()
    .describe(
      'An HTTP proxy, `http://HOST:PORT`; `null` for none. Default: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` of the environment.',
    ),
  tls: z
    .strictObject({
      ca: text
        .optional()
        .describe("PEM file of a CA; certificates are always verified. Default: the system's CAs."),
    })
    .prefault({}),
  internal: z.boolean().default(false).describe('The host of the URL may have a private address.'),
  insecure: z.boolean().optional().describe('Must be true for `http://` beyond loopback.'),
  allowReserved: z
    .boolean()
    .default(false)
    .describe('For `file:` alone: a list you wrote yourself may name private and loopback addresses.'),
});

/** The section `feeds` as it stands in the file. */
export const feedsSchema = z.strictObject({
  state: text
    .default('/var/lib/breakwater/feeds')
    .describe(
      'Directory of the last good copies and of the index, `index.bin`, which `breakwater egress` reads.',
    ),
  required: z
    .boolean()
    .default(false)
    .describe('`/readyz` says 503 until every feed has data; else it only names those that have none.'),
  sources: z.array(source).max(256).default([]).describe('The feeds.'),
  allow: z
    .array(text)
    .default([])
    .describe(
      'Addresses, prefixes, domains with their subdomains, URLs and hashes that no feed can list for you.',
    ),
  neverBlock: z
    .array(text)
    .default([])
    .describe(
      "The same, for what must stay reachable. Built in: reserved addresses, this host's own, its resolvers, the engine, the hosts of feeds and proxies.",
    ),
  warninglists: z
    .array(text)
    .default([])
    .describe(
      'Paths of MISP warninglists (`cidr`, `hostname`, `string`): what they list is alerted on, not blocked.',
    ),
  limits: z
    .strictObject({
      indicators: count(50_000_000).default(5_000_000).describe('Of one feed.'),
      memory: size(64 * 2 ** 20)
        .default(2 ** 30)
        .describe('Of the process that reads a feed or builds the index.'),
      time: duration().default(600_000).describe('For reading a feed, and for building the index.'),
    })
    .prefault({}),
});

type At = (path: readonly PropertyKey[], message: string) => void;

/**
 * Checks the section and fills in what depends on other values.
 *
 * @param inFile makes a path of the file absolute.
 * @param at takes a problem at a path below `feeds`.
 */
export function readFeeds(
  shape: z.output<typeof feedsSchema>,
  ownsState: boolean,
  inFile: (path: string) => string,
  at: At,
): FeedsConfig {
  const names = new Map<string, number>();
  const sources = shape.sources.map((source, index) => {
    const here: At = (path, message) => at(['sources', index, ...path], message);
    // One directory each, also where file names have no case.
    const first = names.get(source.name.toLowerCase());
    if (first !== undefined)
      here(['name'], `${JSON.stringify(source.name)} is also the name of sources/${first}`);
    else names.set(source.name.toLowerCase(), index);
    return readSource(source, inFile, here);
  });
  for (const key of ['allow', 'neverBlock'] as const) {
    shape[key].forEach((value, index) => {
      if (readIndicator(value) !== undefined) return;
      at([key, index], `${JSON.stringify(value)} is no address, prefix, domain, URL or hash`);
    });
  }
  return {
    ...shape,
    state: inFile(shape.state),
    ownsState,
    sources,
    warninglists: shape.warninglists.map(inFile),
  };
}

function readSource(shape: z.output<typeof source>, inFile: (path: string) => string, at: At): FeedSource {
  const { ttl, minInterval, insecure, proxy, type, tls, ...rest } = shape;
  const url = readUrl(shape.url, inFile, at);
  const isFile = url?.protocol === 'file:';
  if (url?.protocol === 'http:' && insecure !== true && !isLoopback(url.hostname.replace(/^\[|\]$/g, ''))) {
    at(['url'], 'plain HTTP lets anyone on the way change the feed: use https://, or say "insecure": true');
  }
  if (insecure === true && url !== undefined && url.protocol !== 'http:') {
    at(['insecure'], 'only means something for http://; remove it');
  }
  if (shape.allowReserved && !isFile) {
    at(['allowReserved'], 'only for file: — a remote feed could then block your own network; remove it');
  }
  if (minInterval !== undefined && minInterval > shape.refresh) {
    at(['minInterval'], 'is longer than "refresh"');
  }
  for (const name of Object.keys(shape.headers)) {
    if (OWN_HEADERS.test(name)) at(['headers', name], `the header ${name} is set by the client itself`);
  }
  if (typeof proxy === 'string' && !isProxy(proxy)) {
    at(['proxy'], `found ${JSON.stringify(proxy)}; expected http://HOST:PORT or https://HOST:PORT`);
  }
  const kind = type ?? guessType(url);
  if (kind === 'taxii' && isFile) at(['type'], 'a TAXII collection needs https://');
  return {
    ...rest,
    url: url?.href ?? shape.url,
    type: kind,
    ttl: ttl ?? 0,
    minInterval: minInterval ?? Math.min(MIN_INTERVAL_MS, shape.refresh),
    headers: Object.fromEntries(
      Object.entries(shape.headers).map(([name, value]): [string, FeedHeader] => [
        name,
        typeof value === 'string' ? { text: value } : 'file' in value ? { file: inFile(value.file) } : value,
      ]),
    ),
    proxy,
    tls: tls.ca === undefined ? {} : { ca: inFile(tls.ca) },
  };
}

function readUrl(value: string, inFile: (path: string) => string, at: At): URL | undefined {
  const relative = /^file:(?!\/)(.+)$/s.exec(value)?.[1];
  if (relative !== undefined) return pathToFileURL(inFile(relative));
  let url: URL;
  try {
    url = new URL(value);
    if (url.protocol === 'file:') fileURLToPath(url);
  } catch {
    at(['url'], `found ${JSON.stringify(value)}; expected https://…, http://…, file:///PATH or file:PATH`);
    return undefined;
  }
  if (!/^(https?|file):$/.test(url.protocol)) {
    at(['url'], `found the scheme ${url.protocol.slice(0, -1)}; expected https, http or file`);
  }
  if (url.username !== '' || url.password !== '') {
    at(['url'], 'holds a user name or a password; put them into "headers", where they stay out of the log');
  }
  url.hash = '';
  return url;
}

function isProxy(value: string): boolean {
  const url = parseUrl(value);
  return url !== undefined && /^https?:$/.test(url.protocol) && url.hostname !== '';
}

function guessType(url: URL | undefined): FeedType {
  if (url === undefined) return 'list';
  if (url.pathname.endsWith('/manifest.json')) return 'misp';
  return url.protocol !== 'file:' && /\/collections\/[^/]+(\/objects)?\/?$/.test(url.pathname)
    ? 'taxii'
    : 'list';
}
