import { LRUCache } from 'lru-cache';
import { atMost } from '../base/cache.js';
import type { NamedObject, Reference } from '../docker/call.js';
import type { ObjectKind } from '../docker/catalogue/traits.js';
import type { RequestEngine } from '../docker/engine-answer.js';
import { Refusal } from '../docker/refusal.js';
import type { ImageOwners } from './image-owners.js';
import type { OwnerLabels } from './owner-labels.js';

/** An object as the engine knows it at this moment. */
interface Found {
  readonly id: string;
  /** One, but of a repository one for each image. */
  readonly holders: readonly Holder[];
  /** Of a container: networks that the engine will look up by name when it starts. */
  readonly networks: readonly string[];
}

/** Whose an object is. */
interface Holder {
  /** By its label; `""` for none. */
  readonly owner: string;
  /** By its label, and those that have pulled it. */
  readonly owners: readonly string[];
}

/** What is read of the engine's answers; all of it may be missing (moby api/types). */
interface Inspected {
  readonly Id?: string;
  readonly ID?: string;
  readonly Name?: string;
  readonly RepoTags?: readonly string[] | null;
  readonly RepoDigests?: readonly string[] | null;
  readonly ContainerID?: string;
  readonly ServiceID?: string;
  readonly Labels?: unknown;
  readonly Config?: { readonly Labels?: unknown } | null;
  readonly Spec?: { readonly Labels?: unknown };
  readonly HostConfig?: { readonly NetworkMode?: string };
  readonly NetworkSettings?: {
    readonly Networks?: Readonly<Record<string, { readonly NetworkID?: string } | null>>;
  };
}

/** Where each kind is asked for, and which other object it belongs to. */
const PLACES: Readonly<
  Record<
    ObjectKind,
    { readonly path: string; readonly of?: (body: Inspected) => Pick<Reference, 'kind' | 'name'> }
  >
> = {
  container: { path: '/containers/*/json' },
  exec: { path: '/exec/*/json', of: ({ ContainerID = '' }) => ({ kind: 'container', name: ContainerID }) },
  image: { path: '/images/*/json' },
  tag: { path: '/images/*/json' },
  // Asked for by a filter, see lookInto.
  repository: { path: '/images/json' },
  volume: { path: '/volumes/*' },
  network: { path: '/networks/*' },
  service: { path: '/services/*' },
  task: { path: '/tasks/*', of: ({ ServiceID = '' }) => ({ kind: 'service', name: ServiceID }) },
  secret: { path: '/secrets/*' },
  config: { path: '/configs/*' },
};

const OWN_NETWORKS = new Set(['', 'default', 'bridge', 'none', 'host']);
const WHOLE_ID = /^[0-9a-f]{64}$/;
const CACHED = 16_384;
/** Of one call. A container has at most a few hundred mounts; each is a question to the engine. */
const MOST_OBJECTS = 256;

export interface ObjectFinder {
  /**
   * Asks the engine for the objects that a call names, and whose they are.
   *
   * @param isStart a container is about to start: the networks it names count too.
   * @throws Refusal when the engine does not know what is meant, or does not answer: nothing is guessed.
   */
  find(references: readonly Reference[], owner: string, isStart: boolean): Promise<NamedObject[]>;
}

export function openObjectFinder(
  request: RequestEngine,
  labels: OwnerLabels,
  images: ImageOwners,
): ObjectFinder {
  /** Whole ids of containers, execs and networks never stand for anything else, and their labels never change. */
  const known = new LRUCache<string, Found>(atMost(CACHED));

  /**
   * INVARIANT: an image without a label and without a name is nobody's to share. It is a step of somebody's build, with
   * what was copied there, and whoever tries the beginnings of ids would find it.
   */
  const imageHolder = ({ Id = '', RepoTags, RepoDigests }: Inspected, given: unknown): Holder => {
    const owner = labels.ownerOf(given);
    const owners = [...new Set([...(owner === '' ? [] : [owner]), ...images.of(Id)])];
    const hasName = [...(RepoTags ?? []), ...(RepoDigests ?? [])].some((one) => !one.startsWith('<none>'));
    return { owner, owners: owners.length === 0 && !hasName ? [A_BUILD] : owners };
  };

  const lookInto = async (name: string): Promise<Found | undefined> => {
    const filters = encodeURIComponent(JSON.stringify({ reference: [name] }));
    const target = `/images/json?filters=${filters}`;
    const { status, body } = await request('GET', target).catch(unanswered('repository', name));
    if (status !== 200 || !Array.isArray(body)) {
      throw new Refusal(502, 'ownership', `the engine did not list the images of ${quote(name)}`);
    }
    const holders = (body as Inspected[]).map((one) => imageHolder(one, one.Labels));
    return holders.length === 0 ? undefined : { id: name, holders, networks: [] };
  };

  const look = async (kind: ObjectKind, name: string): Promise<Found | undefined> => {
    if (kind === 'repository') return lookInto(name);
    const path = pathOf(kind, name);
    if (path === undefined) return undefined;
    const { status, body } = await request('GET', path).catch(unanswered(kind, name));
    if (status === 404) return undefined;
    if (status !== 200 || typeof body !== 'object' || body === null) {
      const message = (body as { message?: unknown } | null)?.message;
      throw new Refusal(
        status >= 400 && status < 500 ? status : 502,
        'ownership',
        `the engine cannot tell which ${kind} ${quote(name)} is: ${typeof message === 'string' ? message.slice(0, 300) : `status ${status}`}`,
      );
    }
    return read(kind, name, body);
  };

  const read = async (kind: ObjectKind, name: string, body: Inspected): Promise<Found | undefined> => {
    const of = PLACES[kind].of?.(body);
    const id = body.Id ?? body.ID ?? (kind === 'volume' ? (body.Name ?? '') : '');
    if (of !== undefined) {
      const owner = of.name === '' ? undefined : await ask(of.kind, of.name);
      return { id: id || name, holders: owner?.holders ?? [NOBODY], networks: [] };
    }
    if (id === '')
      throw new Refusal(502, 'ownership', `the engine's answer about ${kind} ${quote(name)} has no id`);
    const given = body.Labels ?? body.Config?.Labels ?? body.Spec?.Labels;
    if (kind === 'image' || kind === 'tag') return { id, holders: [imageHolder(body, given)], networks: [] };
    const owner = labels.ownerOf(given);
    const isAnonymous = kind === 'volume' && owner === '' && WHOLE_ID.test(id);
    const owners = isAnonymous ? await usersOf(id) : owner === '' ? [] : [owner];
    return { id, holders: [{ owner, owners }], networks: kind === 'container' ? namedNetworks(body) : [] };
  };

  /** An anonymous volume belongs to whom all the containers belong that use it. */
  const usersOf = async (volume: string): Promise<readonly string[]> => {
    const filters = encodeURIComponent(JSON.stringify({ volume: [volume] }));
    const { status, body } = await request('GET', `/containers/json?all=1&filters=${filters}`);
    if (status !== 200 || !Array.isArray(body)) return [];
    const owners = (body as Inspected[]).map(({ Labels }) => labels.ownerOf(Labels));
    return owners.includes('') ? [] : [...new Set(owners)];
  };

  const ask = async (kind: ObjectKind, name: string): Promise<Found | undefined> => {
    const isKept = (kind === 'container' || kind === 'exec' || kind === 'network') && WHOLE_ID.test(name);
    const key = `${kind}:${name}`;
    const cached = isKept ? known.get(key) : undefined;
    if (cached !== undefined) return cached;
    const found = await look(kind, name);
    if (isKept && found !== undefined && (kind === 'exec' || found.id === name))
      known.set(key, { ...found, networks: [] });
    return found;
  };

  return {
    async find(references, owner, isStart) {
      if (references.length > MOST_OBJECTS) {
        throw new Refusal(403, 'ownership', `a call may name at most ${MOST_OBJECTS} objects`);
      }
      const objects: NamedObject[] = [];
      for (const reference of references) {
        const { kind, name } = reference;
        // The names of its networks are not in the cache.
        const found = await (isStart && kind === 'container' ? look(kind, name) : ask(kind, name));
        objects.push({
          ...reference,
          id: found?.id ?? '',
          relation: found === undefined ? 'missing' : worst(reference, found, owner),
        });
        for (const network of isStart ? (found?.networks ?? []) : []) {
          objects.push(
            ...(await this.find(
              [{ kind: 'network', name: network, use: 'use', optional: true }],
              owner,
              false,
            )),
          );
        }
      }
      return objects;
    },
  };
}

/** No name of a source. */
const A_BUILD = '(a build)';
const NOBODY: Holder = { owner: '', owners: [] };

/** From the worst to the best. */
const RELATIONS = ['other', 'nobody', 'shared', 'self'] as const;

function worst({ use }: Reference, { holders }: Found, owner: string): NamedObject['relation'] {
  const relations = holders.map((holder) => {
    // Whoever pulls moves a tag to what the registry has: that takes nothing from others who have pulled it.
    const owners = use === 'pull' ? (holder.owner === '' ? [] : [holder.owner]) : holder.owners;
    return relationOf(owners, owner);
  });
  return RELATIONS.find((one) => relations.includes(one)) ?? 'nobody';
}

const unanswered =
  (kind: ObjectKind, name: string) =>
  (error: Error): never => {
    const message = `the engine could not be asked whose ${kind} ${quote(name)} is: ${error.message}`;
    throw new Refusal(502, 'ownership', message);
  };

export function relationOf(owners: readonly string[], owner: string): NamedObject['relation'] {
  if (owners.length === 0) return 'nobody';
  if (owner === '' || !owners.includes(owner)) return 'other';
  return owners.length === 1 ? 'self' : 'shared';
}

/** Once a container has joined a network, the engine keeps the network's id (daemon/container_operations.go). */
function namedNetworks({ HostConfig, NetworkSettings }: Inspected): string[] {
  const networks = NetworkSettings?.Networks ?? {};
  const unbound = Object.keys(networks).filter((name) => (networks[name]?.NetworkID ?? '') === '');
  const mode = HostConfig?.NetworkMode ?? '';
  const all = mode.startsWith('container:') || mode in networks ? unbound : [mode, ...unbound];
  return [...new Set(all)].filter((name) => !OWN_NETWORKS.has(name));
}

function pathOf(kind: ObjectKind, name: string): string | undefined {
  const segments = name.replace(/^\//, '').split('/');
  if (name.length > 4096 || segments.some((one) => one === '' || one === '.' || one === '..'))
    return undefined;
  return PLACES[kind].path.replace('*', () => segments.map(encodeURIComponent).join('/'));
}

const quote = (name: string): string => JSON.stringify(name.slice(0, 200));
