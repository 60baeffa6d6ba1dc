import type { ContextReading } from '../../src/docker/build-context.js';
import type { Call, QueryValue } from '../../src/docker/call.js';
import type { JsonObject, JsonValue } from '../../src/base/json.js';
import { operationById, operationOf } from '../../src/docker/catalogue.js';
import type { OperationId } from '../../src/docker/operation.js';

type QueryPart = string | boolean | bigint | string[] | JsonObject | { json: JsonValue };

export interface Parts {
  readonly path?: Record<string, string>;
  /** Strings, flags and numbers become parameters of their type, arrays `strings`, objects (`json: …` for lists) JSON. */
  readonly query?: Record<string, QueryPart>;
  readonly body?: JsonObject;
  /** For streamed bodies: does the client send one? */
  readonly stream?: boolean;
  readonly version?: string;
  readonly unknown?: string[];
  readonly upgrade?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Text of the Dockerfile of a context that was read. */
  readonly dockerfile?: string;
}

function readQuery(value: QueryPart): QueryValue {
  if (typeof value === 'string') return { type: 'string', value };
  if (typeof value === 'boolean') return { type: 'boolean', value };
  if (typeof value === 'bigint') return { type: 'integer', value };
  if (Array.isArray(value)) return { type: 'strings', value };
  return { type: 'json', value: decoded('json' in value ? value['json']! : value) };
}

/** JSON as the reader decodes it: objects without prototype, null fields dropped. */
export function decoded(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(decoded);
  if (typeof value !== 'object' || value === null) return value;
  const copy = Object.create(null) as JsonObject;
  for (const [key, item] of Object.entries(value)) if (item !== null) copy[key] = decoded(item);
  return copy;
}

function contextWith(dockerfile: string): ContextReading {
  const content = new TextEncoder().encode(dockerfile);
  return {
    form: 'tar',
    dockerfile: { path: 'Dockerfile', content },
    entries: 1,
    bytes: content.length,
    compression: '',
    ambiguities: [],
  };
}

/** Of an operation that the catalogue does not have. */
const UNLISTED = { about: { engine: 'unknown' } } as const;

/** A call as the reader would make it, for the operation with this id. */
export function makeCall(id: OperationId, parts: Parts = {}): Call {
  const stream = {
    kind: 'stream',
    contentType: 'application/x-tar',
    present: parts.stream ?? parts.dockerfile !== undefined,
    ...(parts.dockerfile !== undefined && { context: contextWith(parts.dockerfile) }),
  } as const;
  const body =
    parts.body !== undefined
      ? { kind: 'json' as const, value: decoded(parts.body) as JsonObject }
      : parts.stream !== undefined || id === 'ImageBuild'
        ? stream
        : { kind: 'none' as const };
  return {
    id: 'call-1',
    operation: operationById(id) ?? { ...operationOf('SystemPing'), id, does: UNLISTED },
    apiVersion: parts.version ?? '1.41',
    path: parts.path ?? {},
    query: Object.fromEntries(
      Object.entries(parts.query ?? {}).map(([name, value]) => [name, readQuery(value)]),
    ),
    headers: parts.headers ?? {},
    body,
    unknown: (parts.unknown ?? []).map((where) => ({ where, value: true })),
    upgrade: parts.upgrade ?? '',
    client: { listener: 'test', address: '192.0.2.1', port: 1, certificate: [], tokenSha256: '' },
  };
}

/** ContainerCreate with this HostConfig. */
export function create(HostConfig: JsonObject, more: JsonObject = {}, version = '1.41'): Call {
  return makeCall('ContainerCreate', { body: { Image: 'alpine', ...more, HostConfig }, version });
}

/** ServiceCreate with this ContainerSpec and these further fields of the task. */
export function service(ContainerSpec: JsonObject, task: JsonObject = {}, more: JsonObject = {}): Call {
  return makeCall('ServiceCreate', {
    body: {
      Name: 'web',
      TaskTemplate: { ContainerSpec: { Image: 'alpine', ...ContainerSpec }, ...task },
      ...more,
    },
  });
}
