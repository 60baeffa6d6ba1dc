import type { BodyKind } from './catalogue/row.js';
import type { Call, CallBody, Client, QueryValue, UnknownField } from './call.js';
import { NEWEST_API, OLDEST_API } from './catalogue.js';
import { decodeJson, decodeJsonText } from './go-json.js';
import { NO_FRAMING, parseTarget, readHeaders, type Framing, type HeaderReading } from './http.js';
import type { JsonObject } from '../base/json.js';
import { CALL_WORK, type Work } from '../base/work.js';
import { matchOperation, noOperation } from './match.js';
import { checkJsonParameters } from './media-type.js';
import type { Operation } from './operation.js';
import { NO_PARAMETERS, readParameters, type Parameters } from './query.js';
import { Refusal } from './refusal.js';
import { readRegistryAuth } from './registry-auth.js';

export interface RequestHead {
  readonly method: string;
  /** The request target as it came, not decoded. */
  readonly target: string;
  /** node's flat list: name, value, name, value … */
  readonly rawHeaders: readonly string[];
  /** `1.1` or `1.0`; anything else is refused. */
  readonly httpVersion: string;
}

export interface ReadLimits {
  /** Bytes of the request target. */
  readonly target: number;
  readonly jsonDepth: number;
  /** Bytes of a JSON body. */
  readonly jsonBody: number;
}

/** What the head of a request says; its body, if it is to be buffered, is still to come. */
export interface HeadReading {
  readonly operation: Operation;
  /** `1.41`, or `""` for an unversioned path. */
  readonly apiVersion: string;
  readonly path: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, QueryValue>>;
  readonly unknown: readonly UnknownField[];
  /** Every query name that came, also those that were dropped. */
  readonly names: ReadonlySet<string>;
  /** The headers of the operation's list that came, lower-case names, canonical values. */
  readonly headers: Readonly<Record<string, string>>;
  readonly framing: Framing;
  /** Lower-case, without parameters, or `""`. */
  readonly mediaType: string;
  /** `none`: there is no body. `buffer`: collect it, at most `bufferLimit` bytes, for `readCall`. `stream`: pass it on. */
  readonly body: 'none' | 'buffer' | 'stream';
  /** Most bytes that a body of kind `buffer` may have. */
  readonly bufferLimit: number;
  /** Lower-case Upgrade token of a hijack operation, else `""`. */
  readonly upgrade: string;
  readonly expectContinue: boolean;
  /** From `Authorization: Bearer`, or `""`. */
  readonly bearerToken: string;
  /** What the rest may still cost. */
  readonly work: Work;
}

const FORM = 'application/x-www-form-urlencoded';
const JSON_TYPE = 'application/json';
/** Most bytes of a body on an operation that reads none: forms, and query options sent again as JSON. */
const SMALL_BODY = 64 * 1024;
/**
 * BuildKit clients send this one once for each method that the session serves, and the daemon reads the list
 * (moby daemon/server/router/session). Its values are kept in one text, a line each; no header value has a line feed.
 */
const LIST_HEADER = 'x-docker-expose-session-grpc-method';
const UPGRADE = /^[!#$%&'*+.^_`|~0-9a-z-]+(?:\/[!#$%&'*+.^_`|~0-9a-z-]+)?$/;
const BAD_FIELD = /[^\t\x20-\x7e]/;
const NO_HEADERS: Readonly<Record<string, string>> = Object.freeze(
  Object.create(null) as Record<string, string>,
);
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads everything before the body: which operation it is, its parameters, and what is to be done with its body.
 *
 * @throws Refusal 400, 404, 405, 413, 414, 415, 417, 505: when the request has no single clear reading
 */
export function readHead(head: RequestHead, limits: ReadLimits): HeadReading {
  const headers = readHeaders(head.rawHeaders, head.httpVersion);
  const target = parseTarget(head.target, limits.target);
  const { minor, apiVersion } = target;
  if (minor >= 0 && minor < OLDEST_API) throw versionRefused(apiVersion);
  const match = matchOperation(head.method, target.path);
  if (match.kind !== 'match') throw noOperation(match, head.method, target.path);
  const { operation } = match;
  // A read in an unknown version is left to the daemon: clients negotiate on its answer. A write may mean
  // something else there than what is inspected here.
  if (minor > NEWEST_API && operation.writes) throw versionRefused(apiVersion);
  if (minor >= 0 && (minor < operation.since || minor > (operation.until ?? minor)))
    throw new Refusal(404, 'unknown-operation', `${operation.id} is not part of API version ${apiVersion}`);
  const work = { left: CALL_WORK };
  const parameters =
    target.rawQuery === ''
      ? NO_PARAMETERS
      : readParameters(operation, target.rawQuery, limits.jsonDepth, work);
  const upgrade = operation.response === 'hijack' ? readUpgrade(headers.upgrade) : '';
  // dockerd hijacks without reading a body, and some clients announce a chunked one that they never start: what
  // follows the head is the stream itself.
  const hijacked = upgrade !== '' && operation.body.kind === 'none' && headers.framing.kind === 'chunked';
  const framing = hijacked ? NO_FRAMING : headers.framing;
  const isBare = framing.kind === 'none' && headers.mediaType === '';
  const bufferLimit = operation.body.kind === 'json' ? limits.jsonBody : SMALL_BODY;
  return {
    operation,
    apiVersion,
    path: match.path,
    query: parameters.query,
    unknown: parameters.unknown,
    names: parameters.names,
    headers:
      operation.headers.length === 0 ? NO_HEADERS : pickHeaders(operation, head.rawHeaders, limits, work),
    framing,
    mediaType: headers.mediaType,
    body: isBare ? 'none' : planBody(operation, headers, framing, bufferLimit),
    bufferLimit,
    upgrade,
    expectContinue: headers.expectContinue,
    bearerToken: headers.bearerToken,
    work,
  };
}

function versionRefused(apiVersion: string): Refusal {
  return new Refusal(
    400,
    'api-version',
    `API version ${apiVersion} is not served: use 1.${OLDEST_API} to 1.${NEWEST_API}`,
  );
}

function readUpgrade(value: string | undefined): string {
  if (value === undefined) return '';
  // dockerd upgrades with any value; a list leaves the choice of protocol to each hop.
  if (!UPGRADE.test(value))
    throw new Refusal(400, 'upgrade', 'the Upgrade header must name exactly one protocol');
  return value;
}

function pickHeaders(
  operation: Operation,
  raw: readonly string[],
  limits: ReadLimits,
  work: Work,
): Record<string, string> {
  const picked = Object.create(null) as Record<string, string>;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = (raw[index] ?? '').toLowerCase();
    // Words of the caller's choice, sent by the daemon to a registry from where the host stands.
    if (name.startsWith('x-meta-') && operation.headers.includes('x-registry-auth'))
      throw new Refusal(
        400,
        'registry-header',
        `the header ${name.slice(0, 60)} would be sent on to a registry: leave it out`,
      );
    if (!operation.headers.includes(name)) continue;
    const value = (raw[index + 1] ?? '').trim();
    if (BAD_FIELD.test(value))
      throw new Refusal(400, 'header-character', `the header ${name} is not plain ASCII`);
    if (name in picked) {
      if (name !== LIST_HEADER)
        throw new Refusal(400, 'duplicate-header', `the header ${name} comes twice: send it once`);
      picked[name] += `\n${value}`;
      continue;
    }
    const registry = name === 'x-registry-auth' || name === 'x-registry-config';
    picked[name] = registry ? readRegistryAuth(name, value, limits, work) : value;
  }
  for (const name of Object.keys(picked)) if (picked[name] === '') delete picked[name];
  return picked;
}

function planBody(
  operation: Operation,
  { mediaType, contentType }: HeaderReading,
  framing: Framing,
  bufferLimit: number,
): 'none' | 'buffer' | 'stream' {
  const { kind } = operation.body;
  if (mediaType.startsWith('multipart/')) {
    throw new Refusal(
      415,
      'multipart',
      'a multipart body is not served: dockerd would read parameters from it',
    );
  }
  if (kind === 'json' && mediaType === FORM) throw notJson(operation, mediaType);
  if (framing.kind === 'none') return 'none';
  if (kind === 'stream') {
    if (mediaType !== FORM) return 'stream';
    // The start of such a body can be the parameters, and the whole of it the build context, at once.
    throw new Refusal(
      415,
      'form-body',
      `${operation.id} takes its parameters in the query: do not send a form as its body`,
    );
  }
  if (framing.kind === 'length' && framing.length > bufferLimit) {
    throw new Refusal(
      413,
      'body-too-large',
      `the body of ${operation.id} may have at most ${bufferLimit} bytes`,
    );
  }
  if (kind === 'json') {
    if (mediaType !== JSON_TYPE) throw notJson(operation, mediaType);
    if (contentType !== JSON_TYPE) checkJsonParameters(contentType);
    return 'buffer';
  }
  if (operation.method === 'GET' || operation.method === 'HEAD') throw unexpectedBody(operation);
  if (mediaType === JSON_TYPE) checkJsonParameters(contentType);
  else if (mediaType === FORM && operation.method === 'DELETE') throw unexpectedBody(operation);
  else if (mediaType !== FORM && framing.kind === 'length') throw unexpectedBody(operation);
  return 'buffer';
}

function notJson(operation: Operation, mediaType: string): Refusal {
  const found = mediaType === '' ? 'there is none' : `it is "${mediaType.slice(0, 60)}"`;
  return new Refusal(
    415,
    'content-type',
    `the Content-Type of ${operation.id} must be application/json; ${found}`,
  );
}

function unexpectedBody(operation: Operation): Refusal {
  return new Refusal(
    400,
    'unexpected-body',
    `${operation.id} takes no body: send its parameters in the query`,
  );
}

/**
 * Completes a reading with its body.
 *
 * @param body the whole body when `reading.body` is `buffer`, else undefined
 * @param id call id
 * @throws Refusal 400, 413
 */
export function readCall(
  reading: HeadReading,
  body: Uint8Array | undefined,
  id: string,
  client: Client,
  limits: ReadLimits,
): Call {
  const { operation } = reading;
  const plan = operation.body;
  const content = plan.kind === 'none' ? NOTHING_READ : readBody(reading, plan, body, limits);
  const isUnused = plan.kind === 'none' && body !== undefined && body.length > 0;
  const { query, unknown } = isUnused ? readUnusedBody(reading, body, limits) : reading;
  return {
    id,
    operation,
    apiVersion: reading.apiVersion,
    path: reading.path,
    query,
    headers: reading.headers,
    body: content.value,
    unknown: content.unknown.length === 0 ? unknown : [...unknown, ...content.unknown],
    upgrade: reading.upgrade,
    client,
    work: reading.work,
  };
}

interface BodyReading {
  readonly value: CallBody;
  readonly unknown: readonly UnknownField[];
}

const NO_UNKNOWN: readonly UnknownField[] = [];
const NOTHING_READ: BodyReading = { value: { kind: 'none' }, unknown: NO_UNKNOWN };

function readBody(
  reading: HeadReading,
  plan: Exclude<BodyKind, { readonly kind: 'none' }>,
  body: Uint8Array | undefined,
  limits: ReadLimits,
): BodyReading {
  const { operation } = reading;
  if (plan.kind === 'stream') {
    const present = reading.body === 'stream';
    if (plan.required && !present) throw missingBody(operation);
    return { value: { kind: 'stream', contentType: plan.contentType, present }, unknown: NO_UNKNOWN };
  }
  if (body === undefined || body.length === 0) {
    if (plan.required) throw missingBody(operation);
    return { value: { kind: 'json', value: Object.create(null) as JsonObject }, unknown: NO_UNKNOWN };
  }
  const { value, unknown } = decodeJson(body, plan.schema, limits, reading.work);
  // A few plugin operations have an array at the root; it is carried as it is.
  return { value: { kind: 'json', value: value as JsonObject }, unknown };
}

function missingBody(operation: Operation): Refusal {
  return new Refusal(400, 'missing-body', `${operation.id} needs a body`);
}

/** A body on an operation that reads none: a form is more parameters; JSON may only repeat the parameters. */
function readUnusedBody(reading: HeadReading, body: Uint8Array, limits: ReadLimits): Parameters {
  const { operation, mediaType } = reading;
  if (body.length > SMALL_BODY) {
    throw new Refusal(
      413,
      'body-too-large',
      `the body of ${operation.id} may have at most ${SMALL_BODY} bytes`,
    );
  }
  if (mediaType !== FORM && mediaType !== JSON_TYPE) throw unexpectedBody(operation);
  let text: string;
  try {
    text = utf8.decode(body);
  } catch {
    throw new Refusal(400, 'invalid-utf8', 'the body is not valid UTF-8');
  }
  if (mediaType === FORM) return readParameters(operation, text, limits.jsonDepth, reading.work, reading);
  const { unknown } = decodeJsonText(text, { type: 'object', fields: {} }, limits.jsonDepth, reading.work);
  // Popular clients send the query again as JSON. Nothing of this body is ever sent on.
  const others = unknown.filter((field) => !Object.hasOwn(operation.query, field.where.slice(1)));
  return { query: reading.query, unknown: [...reading.unknown, ...others], names: reading.names };
}
