import type { Schema } from '../schema.js';
import type { Traits } from './traits.js';

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';

/** Groups that policy names with an `@`: `@read`, `@build` … An operation may be in several. */
export type OperationSet =
  'read' | 'build' | 'run' | 'exec' | 'images' | 'network' | 'volume' | 'swarm' | 'system';

/**
 * How the handler reads a query parameter.
 * `boolean`: httputils.BoolValue. `integer`: strconv.ParseInt, decimal. `strings`: repeatable, all values count.
 * `json`: JSON text (filters, buildargs …), decoded against `schema`. `string`: the first value.
 */
export type Parameter =
  | { readonly type: 'string' }
  | { readonly type: 'boolean' }
  | { readonly type: 'integer' }
  | { readonly type: 'strings' }
  | { readonly type: 'json'; readonly schema: Schema };

/**
 * `none`: the handler reads no body. `json`: decoded against `schema`. `stream`: bytes that the guard passes on
 * as they come (tar contexts, image archives); `contentType` is sent upstream in place of the client's.
 */
export type BodyKind =
  | { readonly kind: 'none' }
  | { readonly kind: 'json'; readonly schema: Schema; readonly required: boolean }
  | { readonly kind: 'stream'; readonly contentType: string; readonly required: boolean };

/**
 * `finite`: an answer within the upstream time-out. `stream`: may be silent for hours (events, logs, wait, stats,
 * build, pull …). `hijack`: the connection becomes a raw two-way stream (attach, exec, session, grpc, attach/ws).
 */
export type ResponseKind = 'finite' | 'stream' | 'hijack';

/** One entry of the Engine API. The catalogue is data; what it does not list is denied. */
export interface Row<Id extends string> {
  /** Official operationId of api/swagger.yaml (or of docs/api/vX.yaml for those that went away). */
  readonly id: Id;
  readonly method: Method;
  /** Path template as swagger writes it: `/containers/{id}/json`. */
  readonly path: string;
  /** Names of the path parameters that may span slashes (`{name:.*}` in the router), e.g. image names. */
  readonly spans: readonly string[];
  readonly sets: readonly OperationSet[];
  readonly query: Readonly<Record<string, Parameter>>;
  /** Request headers the handler reads, lower-case: `x-registry-auth`, `x-registry-config`. */
  readonly headers: readonly string[];
  readonly body: BodyKind;
  readonly response: ResponseKind;
  /** Does it change anything, or only read? `audit.onFailure` and metrics use it. */
  readonly writes: boolean;
  /** First and last API version that has it (inclusive), as minor numbers of 1.x: 24 is 1.24. */
  readonly since: number;
  readonly until?: number;
  /** The router takes the path with a slash behind it as well. */
  readonly trailingSlash?: true;
  /**
   * Computed: it only reads, sends nothing but its head and costs the engine work, so that one answer can serve several
   * callers, if it ends (see `isShareable`).
   */
  readonly mayBeShared: boolean;
  /**
   * Computed: dockerd ends it when the client closes its half, as it does for logs, events, stats, wait, builds and pulls.
   * What changes things and may take long (create, start, stop, delete, prune) it carries out and answers.
   */
  readonly endsWithInput: boolean;
  /** What it does to the engine; read by the rooms above this one. */
  readonly does: Traits;
}
