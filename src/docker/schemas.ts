import type { Schema } from './schema.js';
import { CONTAINER_SCHEMAS } from './schemas/containers.js';
import { SWARM_SCHEMAS } from './schemas/swarm.js';
import { SYSTEM_SCHEMAS } from './schemas/system.js';

/** The named types of JSON bodies and parameters: the union of the fields of API 1.24 to 1.55. */
export const SCHEMAS: Readonly<Record<string, Schema>> = {
  ...CONTAINER_SCHEMAS,
  ...SYSTEM_SCHEMAS,
  ...SWARM_SCHEMAS,
};

/**
 * The schema itself, with references followed.
 *
 * @throws Error for a name that the table does not have: a mistake in the tables, never in a request
 */
export function resolveSchema(schema: Schema): Schema {
  let resolved = schema;
  while (resolved.type === 'ref') {
    const named = SCHEMAS[resolved.name];
    if (named === undefined) throw new Error(`no schema is named ${resolved.name}`);
    resolved = named;
  }
  return resolved;
}
