import type { Work } from '../base/work.js';
import type { ContextReading } from './build-context.js';
import type { JsonValue, JsonObject } from '../base/json.js';
import type { ObjectKind } from './catalogue/traits.js';
import type { Operation } from './operation.js';

/** The client of the connection, as the guard itself has identified it. */
export interface Client {
  /** Name of the listener that accepted the connection. */
  readonly listener: string;
  /** Peer address without port, IPv4-mapped IPv6 already as IPv4; `""` on a unix socket. */
  readonly address: string;
  readonly port: number;
  /** Only a certificate that the TLS layer verified against `clientCa`. Names as `CN=…`, `DNS=…`, `IP=…`, `URI=…`, `EMAIL=…`. */
  readonly certificate: readonly string[];
  /** Lower-case hex SHA-256 of the bearer token, or `""`. The token itself is never kept. */
  readonly tokenSha256: string;
}

/** Canonical value of one query parameter, by its catalogue type. */
export type QueryValue =
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'boolean'; readonly value: boolean }
  | { readonly type: 'integer'; readonly value: bigint }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'json'; readonly value: JsonValue };

export type CallBody =
  | { readonly kind: 'none' }
  | { readonly kind: 'json'; readonly value: JsonObject }
  /**
   * Bytes follow on the connection. `present` is false when the client sent none. `context` is what a build context
   * was found to be: `pending` while it is still on its way, absent where bytes are passed on unread.
   */
  | {
      readonly kind: 'stream';
      readonly contentType: string;
      readonly present: boolean;
      readonly context?: ContextReading | 'pending';
    };

/** A body field or query parameter that the catalogue does not know and that is not a zero value. */
export interface UnknownField {
  /** JSON pointer into the body (`/HostConfig/Foo`), or `?name` for a query parameter. */
  readonly where: string;
  readonly value: JsonValue;
}

/**
 * One request after canonical parsing: the only thing later stages see, and what the upstream request is written
 * from. INVARIANT: nothing that dockerd interprets reaches it except through this value (see render.ts).
 */
export interface Call {
  /** Call id, shown to the client in a denial and in both audit lines. */
  readonly id: string;
  readonly operation: Operation;
  /** `1.41`, or `""` for an unversioned path (the daemon then uses its newest). */
  readonly apiVersion: string;
  /** Path parameters, percent-decoded once. */
  readonly path: Readonly<Record<string, string>>;
  /** Known query (and merged form) parameters that were present. */
  readonly query: Readonly<Record<string, QueryValue>>;
  /** Request headers of the operation's list that were present, lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: CallBody;
  readonly unknown: readonly UnknownField[];
  /** The `Upgrade` token when the client asked for one, lower-case, else `""`. */
  readonly upgrade: string;
  readonly client: Client;
  /** What judging it may still cost; calls that are made of this one share it. By default as much as a call may cost. */
  readonly work?: Work;
  /** The owner of the objects that this caller creates, to which it may be limited; only where the policy has rules about owners. */
  readonly owner?: Owner;
  /** The answer shows the caller's own objects alone: the guard takes the others out. */
  readonly ownAnswer?: boolean;
}

/** The owner of what a caller makes. */
export interface Owner {
  /** Name of the source; `""` for a caller that is not limited to its own objects. */
  readonly name: string;
  /** The signed value of the owner's label, which only the guard can create; `""` for no owner. */
  readonly label: string;
}

/** A place in a call where the name of an object stands, with what is around it: `container:`, `:ro`. */
export interface NamePlace {
  readonly in: 'path' | 'query' | 'body';
  readonly steps: readonly string[];
  readonly before: string;
  readonly after: string;
}

/** An object of the engine that a call names. */
export interface Reference {
  readonly kind: ObjectKind;
  /** As the engine looks it up. */
  readonly name: string;
  /** `change`: the object, or what its name stands for, is another one afterwards. `pull`: it comes from a registry. */
  readonly use: 'use' | 'change' | 'pull';
  /** Where its id can stand in place of the name; undefined where only a name will do. */
  readonly place?: NamePlace;
  /** There need not be one yet: the call makes it, or the engine fetches it. */
  readonly optional?: true;
}

export interface NamedObject extends Reference {
  /** The whole id; for volumes the name. `""` where there is no such object. */
  readonly id: string;
  /** `shared`: of this caller and of others. `nobody`: without an owner among the sources that are limited to their own objects. */
  readonly relation: 'self' | 'shared' | 'other' | 'nobody' | 'missing';
}

/** The call as this owner's; undefined where the policy has no rules about owners. */
export function ownedBy({ owner: _before, ...call }: Call, owner: Owner | undefined): Call {
  return owner === undefined ? call : { ...call, owner };
}

/**
 * Can one answer of the engine serve several callers who request the same at once? For operations that `mayBeShared`: it
 * can when the call sends nothing but its head, and its answer ends.
 */
export function isShareable({ operation, query, body }: Call): boolean {
  const { response, does } = operation;
  if (body.kind !== 'none') return false;
  if (response !== 'stream') return response === 'finite';
  const flag = does.endsWithout === undefined ? undefined : query[does.endsWithout];
  return flag?.type === 'boolean' && !flag.value;
}

/** A classic build with its context in the body. BuildKit reads other things, see the hazard `opaque:buildkit`. */
export function carriesContext({ operation, body, query }: Call): boolean {
  const version = query['version'];
  return (
    operation.does.builds === 'dockerfile' &&
    body.kind === 'stream' &&
    body.present &&
    (version?.type !== 'string' || version.value === '' || version.value === '1')
  );
}

/** The call of a build with what its context was found to be. */
export const withContext = (call: Call, context: ContextReading | 'pending'): Call =>
  call.body.kind === 'stream' ? { ...call, body: { ...call.body, context } } : call;

/** A build whose context is still on its way; any other call as it is. */
export const pendingContext = (call: Call): Call =>
  carriesContext(call) ? withContext(call, 'pending') : call;

/** Is the call of an API version before 1.`minor`? A path without a version means the engine's newest. */
export function isBefore(call: Call, minor: number): boolean {
  const version = /^1\.(\d+)$/.exec(call.apiVersion);
  return version !== null && Number(version[1]) < minor;
}

/** The API of the oldest engine that the guard stands in front of, 20.10: what a path without a version means there. */
const OLDEST_NEWEST = 41;

/** May an engine read the call as one before 1.`minor`? Without a version that depends on the engine. */
export function mayBeBefore(call: Call, minor: number): boolean {
  return call.apiVersion === '' ? minor > OLDEST_NEWEST : isBefore(call, minor);
}
