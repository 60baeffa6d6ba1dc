import type { Call } from '../docker/call.js';
import { OPERATIONS } from '../docker/catalogue.js';
import type { EntityName } from '../docker/entities.js';
import type { Operation, OperationId } from '../docker/operation.js';
import { readImageName } from '../hazards/image-name.js';
import { queryText } from '../hazards/call-values.js';
import { imageOf, isReference, type SequenceSettings } from '../hazards/sequences.js';

/** What a sequence depends on besides the history: something of the engine that the call names. */
export type Lookup = (call: Call) => EntityName | undefined;

const CONTAINER = /^\/?[A-Za-z0-9][A-Za-z0-9_.-]*$/;

const image: Lookup = (call) => {
  const name = imageOf(call);
  return isReference(name) ? { kind: 'image', name } : undefined;
};

const container: Lookup = ({ path }) => {
  const name = path['id'] ?? '';
  return CONTAINER.test(name) ? { kind: 'container', name } : undefined;
};

const repository: Lookup = (call) => {
  const name = pulledRepository(call);
  return name === undefined ? undefined : { kind: 'repository', name };
};

/** The lookups that are worth the engine's time, by operation; of the names, only those that an engine would take. */
export function lookupsFor(settings: SequenceSettings): ReadonlyMap<OperationId, Lookup> {
  const built = settings['build-and-run'] !== false;
  const pulled = settings['pull-and-escape'] !== false;
  const ofOperation = ({ does }: Operation): Lookup | undefined => {
    if (does.runs !== undefined || does.retags === true) return built || pulled ? image : undefined;
    if (does.starts !== undefined) return built ? container : undefined;
    return does.pulls === 'image' && pulled ? repository : undefined;
  };
  const lookups = OPERATIONS.map((operation) => [operation.id, ofOperation(operation)] as const);
  return new Map(lookups.filter((entry): entry is [OperationId, Lookup] => entry[1] !== undefined));
}

/** The repository of a pull, in its short form; undefined for an import, or what is no name. */
export function pulledRepository(call: Call): string | undefined {
  const from = queryText(call, 'fromImage');
  return from === '' ? undefined : readImageName(from.replace(/:$/, ''))?.name;
}
