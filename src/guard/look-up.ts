import { mapBounded } from '../base/bounded.js';
import type { Call, NamedObject, Reference } from '../docker/call.js';
import { entityKey, NO_ENTITIES, type Entities, type Entity, type EntityName } from '../docker/entities.js';
import { Refusal } from '../docker/refusal.js';
import { hostPathsOf } from '../hazards/mounts.js';
import { inspect } from '../hazards/inspect.js';
import { referencesOf } from '../hazards/ownership.js';
import { permitsAll, rewrittenCalls } from '../policy/decide.js';
import type { EntityReader } from '../upstream/entity-reader.js';
import { resolveHostPaths, type HostRoot } from '../upstream/host-paths.js';
import type { CallSnapshot } from './admit.js';
import type { Guard } from './guard.js';
import type { Progress, Release } from './incoming.js';

/** A container has at most a few hundred mounts; each is a request to the engine. */
const MAX_OBJECTS = 256;
/** Requests to the engine at once, for one call. */
const MAX_PARALLEL = 16;
/** The engine has to answer within this time where its answer only adds to what names tell already. */
const OPTIONAL_TIMEOUT_MS = 2_000;

/**
 * Asks engine and host about everything that a call names and a verdict can depend on, at once. All lookups of a call
 * happen here, before it is judged; most calls need none.
 *
 * @param progress holds the names that the call has for itself from here to its end.
 * @throws Refusal when the owner of an object cannot be found out
 */
export function lookUp(
  guard: Guard,
  call: Call,
  snapshot: CallSnapshot,
  progress: Progress,
): Entities | Promise<Entities> {
  const asksOwners = snapshot.policy.operations.get(call.operation.id)?.owner === true;
  const asksPaths = call.body.kind === 'json' && !permitsAll(snapshot.policy, call, snapshot.sources);
  const paths = asksPaths ? hostPathsOf(call) : [];
  const named = guard.history.lookup(call);
  const names = named === undefined ? [] : namesForHistory(guard, call, named, snapshot);
  const pull = call.owner === undefined ? undefined : guard.ownership?.beforePull(call);
  if (!asksOwners && names.length === 0 && pull === undefined)
    return paths.length === 0 ? NO_ENTITIES : lookUpPaths(paths, guard.hostRoot);
  return lookUpAll(guard, call, { asksOwners, paths, names, pull, progress });
}

interface Wanted {
  readonly asksOwners: boolean;
  readonly paths: readonly string[];
  readonly names: readonly EntityName[];
  readonly pull: Promise<Release> | undefined;
  readonly progress: Progress;
}

async function lookUpAll(
  guard: Guard,
  call: Call,
  { asksOwners, paths, names, pull, progress }: Wanted,
): Promise<Entities> {
  const reader = onceForEach(guard.entities, new Set(names.map(entityKey)));
  const [objects, optional, hostPaths] = await Promise.all([
    asksOwners ? lookUpObjects(guard, reader, call, progress) : undefined,
    Promise.all(names.map((name) => readOptional(reader, name))),
    paths.length === 0 ? NO_ENTITIES : lookUpPaths(paths, guard.hostRoot),
    pull?.then((release) => progress.hold(release)),
  ]);
  const found = new Map(optional.map((entity) => [entityKey(entity), entity]));
  return { ...hostPaths, found, ...(objects !== undefined && { objects }) };
}

/** Where host paths lead. That they cannot be looked up stops only a call that would otherwise pass. */
async function lookUpPaths(paths: readonly string[], root: HostRoot): Promise<Entities> {
  if (root === undefined) return HOST_UNSEEN;
  try {
    return { ...NO_ENTITIES, hostPaths: await resolveHostPaths(paths, root) };
  } catch (failure) {
    return { ...NO_ENTITIES, failure: failure as Error };
  }
}

const HOST_UNSEEN: Entities = Object.freeze({ ...NO_ENTITIES, isHostUnseen: true });

/** What the history of calls depends on: of the call as it came, and as rules would rewrite it. */
function namesForHistory(
  guard: Guard,
  call: Call,
  name: EntityName,
  { policy, sources }: CallSnapshot,
): EntityName[] {
  const rewritten = rewrittenCalls(policy, call, sources).map((one) => guard.history.lookup(one));
  const names = [name, ...rewritten].filter((one) => one !== undefined);
  return [...new Map(names.map((one) => [entityKey(one), one])).values()];
}

/** One request for each object, however many need it. */
function onceForEach(reader: EntityReader, fresh: ReadonlySet<string>): EntityReader {
  const reading = new Map<string, Promise<Entity>>();
  return {
    read(name, use) {
      const key = entityKey(name);
      let entity = reading.get(key);
      if (entity === undefined) {
        entity = reader.read(name, fresh.has(key) ? 'fresh' : use);
        reading.set(key, entity);
      }
      return entity;
    },
  };
}

/** `unseen` where the engine does not answer in time. */
async function readOptional(reader: EntityReader, name: EntityName): Promise<Entity> {
  const unseen: Entity = { ...name, presence: 'unseen', id: '' };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Entity>((resolve) => {
    timer = setTimeout(resolve, OPTIONAL_TIMEOUT_MS, unseen);
  });
  try {
    return await Promise.race([reader.read(name, 'fresh'), late]);
  } catch {
    return unseen;
  } finally {
    clearTimeout(timer);
  }
}

/** The objects that a call names and whose they are, with their names held. */
async function lookUpObjects(
  guard: Guard,
  reader: EntityReader,
  call: Call,
  progress: Progress,
): Promise<readonly NamedObject[]> {
  const ownership = guard.ownership!;
  progress.hold(await ownership.hold(call, referencesOf(call, {})));
  const objects = await relateObjects(guard, reader, call);
  const isStart = startsContainer(call);
  if (!isStart || objects.length === 1) return objects;
  // The names that the container would look up are known only now; asked again when no other call can change them.
  progress.hold(await ownership.hold(call, objects));
  return relateObjects(guard, guard.entities, call);
}

/** A container's networks are looked up by name when its first process starts. */
const startsContainer = ({ operation }: Call): boolean => operation.does.starts === 'container';

/** Asks again whose the objects of a call are: now its build context tells which images it names. */
export async function lookUpAgain(guard: Guard, call: Call, entities: Entities): Promise<Entities> {
  if (entities.objects === undefined) return entities;
  return { ...entities, objects: await relateObjects(guard, guard.entities, call) };
}

async function relateObjects(
  guard: Guard,
  reader: EntityReader,
  call: Call,
): Promise<readonly NamedObject[]> {
  const ownership = guard.ownership!;
  await ownership.settled();
  const facts = call.operation.does.builds === 'dockerfile' ? inspect(call).facts : {};
  const references = referencesOf(call, facts).filter(
    ({ name, optional }) => name !== '' || optional !== true,
  );
  if (references.length > MAX_OBJECTS) {
    throw new Refusal(403, 'ownership', `a call may name at most ${MAX_OBJECTS} objects`);
  }
  const isStart = startsContainer(call);
  const groups = await mapBounded(references, MAX_PARALLEL, async (reference): Promise<NamedObject[]> => {
    const use = isStart && reference.kind === 'container' ? 'fresh' : undefined;
    const entity = await reader.read(reference, use);
    const networks = (isStart ? (entity.container?.networks ?? []) : []).map((name): Reference => ({
      kind: 'network',
      name,
      use: 'use',
      optional: true,
    }));
    const all = [
      { reference, entity },
      ...(await mapBounded(networks, MAX_PARALLEL, async (network) => ({
        reference: network,
        entity: await reader.read(network),
      }))),
    ];
    return all.map((one) => ownership.relate(one.reference, one.entity, call.owner!));
  });
  return groups.flat();
}
