import type { Schema } from '../schema.js';

/** The words the tables of this folder are written in, named after Go types. */

export const STRING: Schema = { type: 'string' };
export const BOOL: Schema = { type: 'boolean' };
/** `int` and `int64` (dockerd runs on 64 bits), `time.Duration`. */
export const INT: Schema = { type: 'integer', bits: 64 };
export const UINT: Schema = { type: 'integer', bits: 64, unsigned: true };
export const UINT32: Schema = { type: 'integer', bits: 32, unsigned: true };
export const UINT16: Schema = { type: 'integer', bits: 16, unsigned: true };
export const FLOAT: Schema = { type: 'float' };
export const BYTES: Schema = { type: 'bytes' };
export const ANY: Schema = { type: 'any' };
export const STRSLICE: Schema = { type: 'strslice' };
export const STRINGS: Schema = { type: 'array', items: STRING };
export const STRING_MAP: Schema = { type: 'map', values: STRING };
/** `struct{}`. */
export const EMPTY: Schema = { type: 'object', fields: {} };

export function object(fields: Readonly<Record<string, Schema>>): Schema {
  return { type: 'object', fields };
}

export function array(items: Schema): Schema {
  return { type: 'array', items };
}

export function map(values: Schema): Schema {
  return { type: 'map', values };
}

export function ref(name: string): Schema {
  return { type: 'ref', name };
}
