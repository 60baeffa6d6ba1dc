import type { BodyKind, Operation, Parameter } from '../operation.js';

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
/** Sent as a tar whatever the client called it: another Content-Type selects another reading in dockerd. */
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

type Defaulted = 'spans' | 'query' | 'headers' | 'body' | 'response' | 'writes' | 'since';
type Row = Omit<Operation, Defaulted> & Partial<Pick<Operation, Defaulted>>;

/**
 * Fills in what most rows share: nothing read but the path, an answer that comes at once, there since 1.24, and a GET
 * or HEAD does not write.
 */
export function operation(row: Row): Operation {
  return {
    spans: [],
    query: {},
    headers: [],
    body: NO_BODY,
    response: 'finite',
    writes: row.method !== 'GET' && row.method !== 'HEAD',
    since: 24,
    ...row,
  };
}
