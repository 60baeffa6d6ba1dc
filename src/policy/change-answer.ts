import { editJson } from '../docker/answers/edit-json.js';
import { filterElements } from '../docker/answers/elements.js';
import { everywhere, recursive } from '../docker/answers/place.js';
import { AnswerError, chain, NOTHING, noBody, type AnswerTransform } from '../docker/answers/transform.js';
import type { Call } from '../docker/call.js';
import { type JsonValue, asObject } from '../base/json.js';
import { checkJsonParameters, parseMediaType } from '../docker/media-type.js';
import { Refusal } from '../docker/refusal.js';
import type { Redaction } from './compiled.js';

/** The head of an answer, without what belongs to one connection. */
export interface AnswerHead {
  readonly status: number;
  /** Flat list of names and values. */
  readonly headers: readonly string[];
  /** Bytes of body to come; -1 when that is not known, 0 where there is none (HEAD, 204, 304). */
  readonly length: number;
}

/** How an answer is changed: its headers, and the transformation of its body; undefined: it passes unchanged. */
export interface AnswerChange {
  readonly headers: string[];
  readonly transform: AnswerTransform | undefined;
}

/**
 * Decides on an answer when its head is there.
 *
 * @throws AnswerError when the answer cannot be changed as demanded, and must not pass
 */
export type AnswerChanger = (head: AnswerHead) => AnswerChange;

/** One change after the other. */
export function bothChanges(
  first: AnswerChanger | undefined,
  second: AnswerChanger | undefined,
): AnswerChanger | undefined {
  if (first === undefined || second === undefined) return first ?? second;
  return (head) => {
    const firstChange = first(head);
    const secondChange = second({
      status: head.status,
      headers: firstChange.headers,
      length: firstChange.transform === undefined ? head.length : -1,
    });
    const both =
      firstChange.transform === undefined || secondChange.transform === undefined
        ? (firstChange.transform ?? secondChange.transform)
        : chain(firstChange.transform, secondChange.transform);
    return { headers: secondChange.headers, transform: both };
  };
}

/** The client gets the reason why the answer cannot be changed, and nothing of the answer itself. */
export function answerRefusal(error: unknown): Refusal {
  const what = error instanceof AnswerError ? error.message : 'it cannot be read';
  return new Refusal(
    502,
    'answer',
    `the engine's answer is held back, because a rule changes it and ${what}`,
  );
}

/** Redacts the answer to a call. */
export function redactAnswer(redact: Redaction, call: Call): AnswerChanger {
  return (head) => {
    const failed = head.status >= 300 && head.status !== 304;
    const headers = redact.path === undefined ? [...head.headers] : redactHeaders(head.headers, redact.path);
    if (head.length === 0) return { headers, transform: undefined };
    if (!failed && redact.body === undefined) return { headers, transform: undefined };
    const transform = failed ? errorTransform(headers, redact) : bodyTransform(headers, redact.body!, call);
    return { headers: withoutBody(headers), transform };
  };
}

/** An image with all its names and labels. */
const MAX_IMAGE_BYTES = 4 * 2 ** 20;

/** Of a list of images, those for which `isOwn` holds: pulled images have no label to filter by. */
export function ownImages(isOwn: (id: string, labels: unknown) => boolean): AnswerChanger {
  return ({ status, headers, length }) => {
    if (length === 0 || status !== 200) return { headers: [...headers], transform: undefined };
    const type = plainType(headers);
    if (type !== 'application/json') throw new AnswerError(`its Content-Type is ${quote(type)}, not JSON`);
    const keep = (image: JsonValue): boolean => {
      const { Id, Labels } = asObject(image);
      return typeof Id === 'string' && isOwn(Id, Labels);
    };
    return { headers: withoutBody(headers), transform: filterElements(keep, { element: MAX_IMAGE_BYTES }) };
  };
}

/** Headers that state something about the bytes of the body as the engine sent it. */
const OF_BODY = new Set([
  ...['content-length', 'content-md5', 'content-digest', 'digest', 'repr-digest', 'etag', 'accept-ranges'],
]);

const withoutBody = (headers: readonly string[]): string[] =>
  headers.filter((_, i) => !OF_BODY.has(headers[i - (i % 2)]!.toLowerCase()));

/** RFC 7464 (`json-seq`) and newline-delimited JSON: newer engines have them for events. */
const STREAM_TYPES = ['application/json-seq', 'application/x-ndjson', 'application/jsonl'];

function bodyTransform(
  headers: readonly string[],
  transform: (call: Call) => AnswerTransform,
  call: Call,
): AnswerTransform {
  const type = plainType(headers);
  if (type === '') return noBody('it has a body without a Content-Type');
  const stream = call.operation.response === 'stream' && STREAM_TYPES.includes(type);
  if (type !== 'application/json' && !stream)
    throw new AnswerError(`its Content-Type is ${quote(type)}, not JSON`);
  return transform(call);
}

function errorTransform(headers: readonly string[], redact: Redaction): AnswerTransform {
  const type = plainType(headers);
  if (type === 'application/json') return redact.error();
  if (type === 'text/plain' || type === '') return plainText(redact.errorText);
  throw new AnswerError(`its Content-Type is ${quote(type)}, neither JSON nor plain text`);
}

/** Longest error message in plain text, in bytes. */
const MAX_TEXT_BYTES = 64 * 1024;

/** Before API 1.24, after a hijack, and of the router, errors are plain text. */
function plainText(edit: (text: string) => string): AnswerTransform {
  const held: Uint8Array[] = [];
  let length = 0;
  return {
    feed(piece) {
      length += piece.length;
      if (length > MAX_TEXT_BYTES) throw new AnswerError(`its text is larger than ${MAX_TEXT_BYTES} bytes`);
      held.push(piece.slice());
      return NOTHING;
    },
    end: () => (length === 0 ? NOTHING : Buffer.from(edit(Buffer.concat(held).toString('utf8')))),
  };
}

/**
 * The media type of a body that can be read as it stands; `""` when none is given.
 *
 * @throws AnswerError for compressed and partial bodies, other charsets, two types
 */
function plainType(headers: readonly string[]): string {
  let type: string | undefined;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!.toLowerCase();
    const value = headers[i + 1]!;
    if (name === 'content-encoding' && value.toLowerCase() !== 'identity') {
      throw new AnswerError(`its body is encoded (${quote(value)})`);
    }
    if (name === 'content-range') throw new AnswerError('it is only a part');
    if (name !== 'content-type') continue;
    if (type !== undefined) throw new AnswerError('it has two Content-Types');
    try {
      type = parseMediaType(value);
      checkJsonParameters(value);
    } catch {
      throw new AnswerError(`its Content-Type is ${quote(value)}`);
    }
  }
  return type ?? '';
}

const quote = (value: string): string => JSON.stringify(value.slice(0, 100).replace(/[^\x20-\x7e]/g, '?'));

const PATH_STAT = 'x-docker-container-path-stat';

/** ContainerArchive describes a file in base64 of JSON, with the target of a link (container.PathStat). */
function redactHeaders(headers: readonly string[], path: (text: string) => string): string[] {
  return headers.map((value, i) =>
    i % 2 === 1 && headers[i - 1]!.toLowerCase() === PATH_STAT ? redactPathStat(value, path) : value,
  );
}

function redactPathStat(value: string, path: (text: string) => string): string {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(value)) throw new AnswerError(`its ${PATH_STAT} is not base64`);
  const edit = editJson(recursive({ linkTarget: everywhere(path) }), { documents: 'one' });
  const edited = Buffer.from(edit.feed(Buffer.from(value, 'base64')));
  return Buffer.concat([edited, edit.end()]).toString('base64');
}
