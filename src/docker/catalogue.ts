import { CONTAINERS } from './catalogue/containers.js';
import { IMAGES } from './catalogue/images.js';
import { SWARM } from './catalogue/swarm.js';
import { SYSTEM } from './catalogue/system.js';
import type { Operation, OperationId } from './operation.js';

/** The oldest and newest Engine API described here, as minor numbers: 1.24 to 1.55. */
export const OLDEST_API = 24;
export const NEWEST_API = 55;

/**
 * Every operation of the Engine API. An operation that is not here is denied; `/debug/*` (profiles and memory of the daemon) is left
 * out on purpose. Names are those of the newest version that has the operation.
 */
export const OPERATIONS: readonly Operation[] = [...CONTAINERS, ...IMAGES, ...SYSTEM, ...SWARM];

const byId: ReadonlyMap<string, Operation> = new Map(
  OPERATIONS.map((operation) => [operation.id, operation]),
);

/** The operation with this operationId (exact spelling), or undefined: for texts from outside. */
export function operationById(id: string): Operation | undefined {
  return byId.get(id);
}

/** The operation with this operationId. */
export function operationOf(id: OperationId): Operation {
  return byId.get(id)!;
}

/**
 * A table by traits, computed once: for every operation the entries whose condition it meets, in the order of the
 * table; operations that meet none are not in it.
 */
export function byOperation<T>(
  table: readonly (readonly [(operation: Operation) => boolean, T])[],
): ReadonlyMap<OperationId, readonly T[]> {
  const found = new Map<OperationId, readonly T[]>();
  for (const operation of OPERATIONS) {
    const entries = table.filter(([meets]) => meets(operation)).map(([, entry]) => entry);
    if (entries.length > 0) found.set(operation.id, entries);
  }
  return found;
}

/** The ids of all operations of which something is so, in the order of the catalogue. */
export function operationsThat(are: (operation: Operation) => boolean): readonly OperationId[] {
  return OPERATIONS.filter(are).map(({ id }) => id);
}
