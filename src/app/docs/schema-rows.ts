import { z } from 'zod';
import { UNITS } from '../../config/shapes.js';
import { code } from './markdown.js';

/** One key of a schema, as it is shown in a table. */
export interface SchemaRow {
  /** `audit.rotate.size`, `listen[].url`, `sources.*` */
  readonly path: string;
  readonly type: string;
  /** As Markdown. `required`: there is none; `none`: the key may be left out. */
  readonly default: string;
  readonly meaning: string;
}

type Schema = z.core.$ZodType;

/** Choices of more names stand in the meaning. */
const MAX_NAMES = 5;

/** A schema without what is wrapped around it. */
interface Core {
  readonly schema: Schema;
  readonly description: string;
  readonly optional: boolean;
  readonly default: { readonly value: unknown } | undefined;
  /** A section that is filled in with the defaults of its keys. */
  readonly filledIn: boolean;
}

/** What stands in the file: of a transformation its input. */
function unwrap(schema: Schema, known: Omit<Core, 'schema'>): Core {
  const description = known.description || (z.globalRegistry.get(schema)?.description ?? '');
  const next = { ...known, description };
  const { def } = (schema as z.core.$ZodTypes)._zod;
  if (def.type === 'optional') return unwrap(def.innerType, { ...next, optional: true });
  if (def.type === 'default') {
    return unwrap(def.innerType, { ...next, default: { value: def.defaultValue } });
  }
  if (def.type === 'prefault') return unwrap(def.innerType, { ...next, filledIn: true });
  return { ...next, schema };
}

const core = (schema: Schema): Core =>
  unwrap(schema, { description: '', optional: false, default: undefined, filledIn: false });

/**
 * The rows of every key below a schema, in the order of the schema. Sections have a row of their own only where they are
 * described: where they can be left out, or be something else than an object.
 *
 * @param path of the schema itself; empty for a whole file.
 * @param skip paths whose keys are shown in a table of their own.
 */
export function schemaRows(schema: Schema, path: string, skip: readonly string[] = []): SchemaRow[] {
  const shown = core(schema);
  const { def } = (shown.schema as z.core.$ZodTypes)._zod;
  const children = skip.includes(path) ? [] : childrenOf(shown.schema, path);
  const isSection = children.length > 0 || def.type === 'object';
  const own = path !== '' && (!isSection || shown.description !== '') ? [rowOf(shown, path)] : [];
  return [...own, ...children.flatMap(([at, child]) => schemaRows(child, at, skip))];
}

/** The keys below: of an object, of the elements of a list, of the values of a record, of the choices of a union. */
function childrenOf(schema: Schema, path: string): [path: string, schema: Schema][] {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  if (def.type === 'object') {
    const prefix = path === '' ? '' : `${path}.`;
    return Object.entries(def.shape).map(([key, child]) => [`${prefix}${key}`, child]);
  }
  if (def.type === 'array') return childrenOf(core(def.element).schema, `${path}[]`);
  if (def.type === 'record') return childrenOf(core(def.valueType).schema, `${path}.*`);
  if (def.type === 'union' && !isScalar(schema)) {
    const objects = def.options.filter((option) => typeOf(option) === 'object');
    return objects.flatMap((option) => childrenOf(core(option).schema, path));
  }
  return [];
}

/** A credential or a size: one value, however it is written. */
function isScalar(schema: Schema): boolean {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  return def.type === 'union' && def.options.some((option) => typeOf(option) === 'text');
}

function rowOf(shown: Core, path: string): SchemaRow {
  // "Default: …" in a description is one that depends on something else.
  const said = /\s*Default: (.+)\.$/.exec(shown.description);
  const meaning = said === null ? shown.description : shown.description.slice(0, said.index);
  const names = longEnum(shown.schema);
  return {
    path,
    type: typeOf(shown.schema),
    default: said?.[1] ?? defaultOf(shown),
    meaning: names === undefined ? meaning : `${meaning} One of ${names.map(code).join(', ')}.`,
  };
}

/** The names of a choice that is too long for the column of types. */
function longEnum(schema: Schema): string[] | undefined {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  if (def.type === 'array') return longEnum(core(def.element).schema);
  if (def.type !== 'enum') return undefined;
  const names = Object.values(def.entries).map(String);
  return names.length > MAX_NAMES ? names : undefined;
}

function defaultOf({ schema, default: value, optional, filledIn }: Core): string {
  if (value !== undefined) return show(value.value, unitOf(schema));
  return filledIn ? 'as below' : optional ? 'none' : 'required';
}

const unitOf = (schema: Schema): 'size' | 'time' | undefined => UNITS.get(schema as z.ZodType)?.unit;

function show(value: unknown, unit: 'size' | 'time' | undefined): string {
  if (typeof value === 'number' && unit !== undefined) return code(`"${inUnits(value, unit)}"`);
  if (Array.isArray(value) && value.length === 0) return 'none';
  if (typeof value === 'object' && value !== null && Object.keys(value).length === 0) return 'none';
  return code(JSON.stringify(value).replaceAll(',', ', '));
}

const SCALES = {
  size: { GiB: 2 ** 30, MiB: 2 ** 20, KiB: 2 ** 10, B: 1 },
  time: { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 },
} as const;

/** In the largest unit that it is a whole number of: `64MiB`, `30s`. */
function inUnits(value: number, unit: 'size' | 'time'): string {
  const found = Object.entries(SCALES[unit]).find(([, scale]) => value % scale === 0);
  return found === undefined ? String(value) : `${value / found[1]}${found[0]}`;
}

const NAMES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'number',
  int: 'number',
  boolean: 'true or false',
  object: 'object',
  record: 'object',
  null: '`null`',
  unknown: 'any value',
};

/** The type of a value, in words. */
function typeOf(wrapped: Schema): string {
  const { schema } = core(wrapped);
  const unit = unitOf(schema);
  if (unit !== undefined) return unit;
  const { def } = (schema as z.core.$ZodTypes)._zod;
  if (def.type === 'enum' && longEnum(schema) !== undefined) return 'name';
  if (def.type === 'enum') return Object.values(def.entries).map(quoted).join(', ');
  if (def.type === 'literal') return def.values.map(quoted).join(', ');
  if (def.type === 'array') return `list of ${plural(typeOf(def.element))}`;
  if (def.type === 'pipe') return typeOf(def.in);
  if (def.type === 'union') return [...new Set(def.options.map(typeOf))].join(' or ');
  return NAMES[def.type] ?? def.type;
}

const quoted = (value: unknown): string => code(JSON.stringify(value));

const plural = (type: string): string => (/^[a-z]+$/.test(type) ? `${type}s` : type);
