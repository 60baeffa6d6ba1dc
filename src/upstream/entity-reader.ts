import { LRUCache } from 'lru-cache';
import { atMost } from '../base/bounded.js';
import type { ObjectKind } from '../docker/catalogue/traits.js';
import type { RequestEngine } from '../docker/engine-answer.js';
import { entityKey } from '../docker/entities.js';
import type { ContainerState, Entity, EntityName, ImageState } from '../docker/entities.js';
import { Refusal } from '../docker/refusal.js';

/** Reads objects of the engine for the judgement of calls. */
export interface EntityReader {
  /**
   * The object as the engine knows it at this moment. Never `unseen`.
   *
   * @param use `fresh`: what may change about it counts (the networks of a container that starts), so nothing that was
   *   kept from before will do.
   * @throws Refusal when the engine does not answer, or does not know what is meant: nothing is guessed.
   */
  read(name: EntityName, use?: 'fresh'): Promise<Entity>;
}

/** What is read of the engine's answers; all of it may be missing (moby api/types). */
interface Inspected {
  readonly Id?: string;
  readonly ID?: string;
  readonly Name?: string;
  readonly Image?: string;
  readonly Created?: string;
  readonly RepoTags?: readonly string[] | null;
  readonly RepoDigests?: readonly string[] | null;
  readonly ContainerID?: string;
  readonly ServiceID?: string;
  readonly Labels?: unknown;
  readonly Config?: { readonly Labels?: unknown } | null;
  readonly Spec?: { readonly Labels?: unknown };
  readonly State?: { readonly StartedAt?: string } | null;
  readonly HostConfig?: { readonly NetworkMode?: string };
  readonly NetworkSettings?: {
    readonly Networks?: Readonly<Record<string, { readonly NetworkID?: string } | null>>;
  };
}

/** Where each kind is asked for, and which other object it belongs to. */
const PLACES: Readonly<
  Record<ObjectKind, { readonly path: string; readonly of?: (body: Inspected) => EntityName }>
> = {
  container: { path: '/containers/*/json' },
  exec: { path: '/exec/*/json', of: ({ ContainerID = '' }) => ({ kind: 'container', name: ContainerID }) },
  image: { path: '/images/*/json' },
  tag: { path: '/images/*/json' },
  // Asked for by a filter, see `readRepository`.
  repository: { path: '/images/json' },
  volume: { path: '/volumes/*' },
  network: { path: '/networks/*' },
  service: { path: '/services/*' },
  task: { path: '/tasks/*', of: ({ ServiceID = '' }) => ({ kind: 'service', name: ServiceID }) },
  secret: { path: '/secrets/*' },
  config: { path: '/configs/*' },
};

/** Networks that every engine has. */
const PREDEFINED_NETWORKS = new Set(['', 'default', 'bridge', 'none', 'host']);
const WHOLE_ID = /^[0-9a-f]{64}$/;
const MAX_CACHED = 16_384;
const MAX_NAME_LENGTH = 4_096;

export function openEntityReader(requestEngine: RequestEngine): EntityReader {
  return new EngineReader(requestEngine);
}

class EngineReader implements EntityReader {
  readonly #request: RequestEngine;
  /** Whole ids of containers, execs and networks never stand for anything else, and their labels never change. */
  readonly #cache = new LRUCache<string, Entity>(atMost(MAX_CACHED));

  constructor(request: RequestEngine) {
    this.#request = request;
  }

  async read(name: EntityName, use?: 'fresh'): Promise<Entity> {
    const key = cacheKey(name);
    const cached = key === undefined || use === 'fresh' ? undefined : this.#cache.get(key);
    if (cached !== undefined) return cached;
    const entity = await this.#readObject(name);
    const isWhole = name.kind === 'exec' || entity.id === name.name;
    // Networks and the state of a container change.
    if (key !== undefined && entity.presence === 'present' && isWhole)
      this.#cache.set(key, withoutState(entity));
    return entity;
  }

  async #readObject({ kind, name }: EntityName): Promise<Entity> {
    if (kind === 'repository') return this.#readRepository(name);
    const path = pathOf(kind, name);
    if (path === undefined) return missing({ kind, name });
    const { status, body } = await this.#request('GET', path).catch(unanswered(kind, name));
    if (status === 404) return missing({ kind, name });
    if (status !== 200 || typeof body !== 'object' || body === null) {
      const message = (body as { message?: unknown } | null)?.message;
      throw new Refusal(
        status >= 400 && status < 500 ? status : 502,
        'ownership',
        `the engine cannot tell which ${kind} ${quote(name)} is: ${typeof message === 'string' ? message.slice(0, 300) : `status ${status}`}`,
      );
    }
    return this.#readAnswer({ kind, name }, body);
  }

  async #readAnswer({ kind, name }: EntityName, body: Inspected): Promise<Entity> {
    const of = PLACES[kind].of?.(body);
    const id = body.Id ?? body.ID ?? (kind === 'volume' ? (body.Name ?? '') : '');
    if (of !== undefined) {
      const whole = of.name === '' ? undefined : await this.read(of);
      return { kind, name, presence: 'present', id: id || name, labels: whole?.labels };
    }
    if (id === '')
      throw new Refusal(502, 'ownership', `the engine's answer about ${kind} ${quote(name)} has no id`);
    const labels = body.Labels ?? body.Config?.Labels ?? body.Spec?.Labels;
    const entity: Entity = { kind, name, presence: 'present', id, labels };
    if (kind === 'image' || kind === 'tag') return { ...entity, images: [imageState(body, labels)] };
    if (kind === 'container') return { ...entity, container: containerState(body) };
    if (kind === 'volume' && WHOLE_ID.test(id))
      return { ...entity, usersLabels: await this.#labelsOfUsers(id) };
    return entity;
  }

  async #readRepository(name: string): Promise<Entity> {
    const filters = encodeURIComponent(JSON.stringify({ reference: [name] }));
    const target = `/images/json?filters=${filters}`;
    const { status, body } = await this.#request('GET', target).catch(unanswered('repository', name));
    if (status !== 200 || !Array.isArray(body)) {
      throw new Refusal(502, 'ownership', `the engine did not list the images of ${quote(name)}`);
    }
    const images = (body as Inspected[]).map((image) => imageState(image, image.Labels));
    if (images.length === 0) return missing({ kind: 'repository', name });
    return { kind: 'repository', name, presence: 'present', id: name, images };
  }

  /** Labels of the containers that use an anonymous volume. @throws Refusal 502 when they cannot be listed. */
  async #labelsOfUsers(volume: string): Promise<readonly unknown[]> {
    const filters = encodeURIComponent(JSON.stringify({ volume: [volume] }));
    const target = `/containers/json?all=1&filters=${filters}`;
    const { status, body } = await this.#request('GET', target).catch(unanswered('volume', volume));
    // No answer is not "nobody uses it": the volume would pass for nobody's.
    if (status !== 200 || !Array.isArray(body)) {
      throw new Refusal(502, 'ownership', `the engine did not list the users of volume ${quote(volume)}`);
    }
    return (body as Inspected[]).map(({ Labels }) => Labels);
  }
}

const missing = ({ kind, name }: EntityName): Entity => ({ kind, name, presence: 'missing', id: '' });

/** What alone may be kept: never what changes. */
const withoutState = ({ kind, name, presence, id, labels }: Entity): Entity => ({
  ...{ kind, name, presence, id, labels },
});

function cacheKey({ kind, name }: EntityName): string | undefined {
  const isKept = kind === 'container' || kind === 'exec' || kind === 'network';
  return isKept && WHOLE_ID.test(name) ? entityKey({ kind, name }) : undefined;
}

function imageState(body: Inspected, labels: unknown): ImageState {
  const names = [...(body.RepoTags ?? []), ...(body.RepoDigests ?? [])].filter(
    (name) => typeof name === 'string',
  );
  return { id: body.Id ?? '', names, labels, created: Date.parse(String(body.Created)) };
}

function containerState(body: Inspected): ContainerState {
  return {
    image: String(body.Image ?? '').replace(/^sha256:/, ''),
    created: Date.parse(String(body.Created)),
    // The year 1 stands for never.
    started: Date.parse(String(body.State?.StartedAt)) > 0,
    networks: networksByName(body),
  };
}

/** Once a container has joined a network, the engine keeps the network's id (daemon/container_operations.go). */
function networksByName({ HostConfig, NetworkSettings }: Inspected): string[] {
  const networks = NetworkSettings?.Networks ?? {};
  const unbound = Object.keys(networks).filter((name) => (networks[name]?.NetworkID ?? '') === '');
  const mode = HostConfig?.NetworkMode ?? '';
  const all = mode.startsWith('container:') || mode in networks ? unbound : [mode, ...unbound];
  return [...new Set(all)].filter((name) => !PREDEFINED_NETWORKS.has(name));
}

function pathOf(kind: ObjectKind, name: string): string | undefined {
  const segments = name.replace(/^\//, '').split('/');
  const isPath = segments.every((segment) => segment !== '' && segment !== '.' && segment !== '..');
  if (name.length > MAX_NAME_LENGTH || !isPath) return undefined;
  return PLACES[kind].path.replace('*', () => segments.map(encodeURIComponent).join('/'));
}

const unanswered =
  (kind: ObjectKind, name: string) =>
  (error: Error): never => {
    const message = `the engine could not be asked whose ${kind} ${quote(name)} is: ${error.message}`;
    throw new Refusal(502, 'ownership', message);
  };

const quote = (name: string): string => JSON.stringify(name.slice(0, 200));
