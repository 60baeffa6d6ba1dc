import type { z } from 'zod';
import { configFileSchema } from '../../config/config.js';
import { sinkSchema } from '../../config/sinks-config.js';
import { code, table } from './markdown.js';
import { schemaRows, type SchemaRow } from './schema-rows.js';

/** Sections with a table of their own; every other key of the file is in the table `general`. */
const SECTIONS = ['limits', 'audit', 'feeds', 'egress', 'sequences'] as const;

const rowsTable = (rows: readonly SchemaRow[]): string =>
  table(
    ['key', 'default', 'type', 'meaning'],
    rows.map(({ path, ...row }) => [code(path), row.default, row.type, row.meaning]),
  );

/** A table of the keys below a schema. */
export const keysTable = (schema: z.ZodType, path: string, skip: readonly string[] = []): string =>
  rowsTable(schemaRows(schema, path, skip));

/** The generated parts of docs/reference/config.md. */
export function configParts(): ReadonlyMap<string, string> {
  const { shape } = configFileSchema;
  const isGeneral = (key: string): boolean => !(SECTIONS as readonly string[]).includes(key);
  const general = Object.entries(shape)
    .filter(([key]) => isGeneral(key))
    .flatMap(([key, schema]) => schemaRows(schema, key));
  return new Map([
    ['general', rowsTable(general)],
    ...SECTIONS.map((key): [string, string] => [key, keysTable(shape[key], key, ['audit.sinks'])]),
    ['sinks', keysTable(sinkSchema, 'audit.sinks[]')],
  ]);
}
