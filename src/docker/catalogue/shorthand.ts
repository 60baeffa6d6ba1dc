import type { BodyKind, Parameter, Row } from './row.js';
import type { NameAt, ObjectKind, Sensitive, Traits } from './traits.js';

/** The words the tables of this folder are written in. */

export const TEXT: Parameter = { type: 'string' };
export const FLAG: Parameter = { type: 'boolean' };
export const INTEGER: Parameter = { type: 'integer' };
/** Repeatable: every value counts. */
export const TEXTS: Parameter = { type: 'strings' };
/**
 * strconv.ParseBool, not httputils.BoolValue: dockerd refuses `banana` and takes `f` for false. Passed on as it is, for
 * reading it as BoolValue does would turn `f` into true.
 */
export const STRICT_FLAG: Parameter = { type: 'string' };
export const FILTERS: Parameter = jsonText('Filters');
/** A JSON object; the plain `linux/amd64` of older parameters is `TEXT`. */
export const PLATFORM: Parameter = jsonText('Platform');

/** A parameter whose text is JSON of a named schema. */
export function jsonText(name: string): Parameter {
  return { type: 'json', schema: { type: 'ref', name } };
}

export const NO_BODY: BodyKind = { kind: 'none' };
/** Always sent as a tar, in place of the client's Content-Type: another one selects another reading in dockerd. */
export const TAR: BodyKind = { kind: 'stream', contentType: 'application/x-tar', required: true };
export const OPTIONAL_TAR: BodyKind = { kind: 'stream', contentType: 'application/x-tar', required: false };

/** A JSON body that dockerd cannot do without. */
export function json(name: string): BodyKind {
  return { kind: 'json', schema: { type: 'ref', name }, required: true };
}

/** A JSON body that some daemon takes as left out. */
export function optionalJson(name: string): BodyKind {
  return { kind: 'json', schema: { type: 'ref', name }, required: false };
}

/** Names no object of the engine, or only where another trait says so. */
export const NOTHING = { about: 'named' } as const satisfies Traits;
export const FILTERED = { about: 'filtered' } as const satisfies Traits;
export const CONTAINER = inPath('container', 'id');
export const IMAGE = inPath('image', 'name');
export const NETWORK = inPath('network', 'id');

/** It concerns the object of this kind that a parameter of the path names. */
export function inPath(
  kind: ObjectKind,
  parameter: string,
  more: Pick<NameAt, 'changes' | 'everyTag'> = {},
): Traits {
  return { about: 'named', namesAt: [{ kind, in: 'path', steps: [parameter], ...more }] };
}

/** It concerns what all callers have in common. */
export function engineWide(engine: string): Traits {
  return { about: { engine } };
}

export const ALL: readonly Sensitive[] = ['env', 'paths', 'labels', 'secrets', 'commands'];

/** An answer in which keys mean the same at any depth. */
export function shows(...holds: readonly Sensitive[]): Traits['answer'] & {} {
  return { holds, as: 'documents' };
}

type Defaulted = 'spans' | 'query' | 'headers' | 'body' | 'response' | 'writes' | 'since';
type Computed = 'mayBeShared' | 'endsWithInput';
type Given<Id extends string> = Omit<Row<Id>, Defaulted | Computed> & Partial<Pick<Row<Id>, Defaulted>>;

/**
 * Fills in what most rows share: nothing read but the path, an answer that comes at once, there since 1.24, and a GET
 * or HEAD does not write. What follows from a row alone is computed here, once.
 */
export function operation<const Id extends string>(row: Given<Id>): Row<Id> {
  const reads = row.method === 'GET' || row.method === 'HEAD';
  const { writes = !reads, body = NO_BODY, response = 'finite', does } = row;
  const ends = response === 'finite' || does.endsWithout !== undefined;
  return {
    spans: [],
    query: {},
    headers: [],
    since: 24,
    ...row,
    body,
    response,
    writes,
    mayBeShared: reads && !writes && ends && body.kind === 'none' && does.costsNothing !== true,
    endsWithInput: response === 'stream' && (!writes || body.kind === 'stream'),
  };
}
