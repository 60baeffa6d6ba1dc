import { randomBytes } from 'node:crypto';

/** What the trial engine keeps of one image: names and an id, nothing else exists. */
export interface TrialImage {
  /** `sha256:` and 64 hex digits, drawn at random. */
  readonly id: string;
  /** `name:tag`, as the API spells them in RepoTags. */
  readonly tags: string[];
  /** Unix seconds. */
  readonly created: number;
  readonly labels: Readonly<Record<string, string>>;
}

/** What the trial engine keeps of one container. It has no process: `start` takes it straight to `exited`. */
export interface TrialContainer {
  readonly id: string;
  readonly name: string;
  readonly image: TrialImage;
  /** The image as the client named it. */
  readonly imageName: string;
  readonly created: Date;
  readonly config: Readonly<Record<string, unknown>>;
  readonly hostConfig: Readonly<Record<string, unknown>>;
  /** Undefined until the first start. */
  exitedAt: Date | undefined;
  /** Called once at the next exit (`wait`, `attach`). */
  readonly onExit: Set<() => void>;
  /** Called once when the container is removed (`wait?condition=removed`). */
  readonly onRemove: Set<() => void>;
}

/** An answer that is an error, in the terms of HTTP. */
export class TrialError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Limits that keep the trial engine's memory small whatever is sent: about 20 MiB at the very most. */
export const trialLimits = { images: 64, containers: 256, tagsPerImage: 16, jsonBody: 64 * 1024 } as const;

export interface TrialStore {
  readonly images: Map<string, TrialImage>;
  readonly containers: Map<string, TrialContainer>;
}

/** A store with the base images that the documentation uses. They are names only. */
export function createTrialStore(): TrialStore {
  const store: TrialStore = { images: new Map(), containers: new Map() };
  for (const tag of ['alpine:latest', 'hello-world:latest']) addImage(store, [tag], {});
  return store;
}

const REFERENCE = /^[a-z0-9][a-z0-9._/:-]{0,254}$/i;

/** `alpine` → `alpine:latest`, `docker.io/library/alpine` → `alpine:latest`. Throws 400 for what is not a name. */
export function normalizeTag(name: string): string {
  const short = name.replace(/^(index\.)?docker\.io\//, '').replace(/^library\//, '');
  if (!REFERENCE.test(short)) throw new TrialError(400, 'invalid reference format');
  return short.lastIndexOf(':') > short.lastIndexOf('/') ? short : `${short}:latest`;
}

/** Makes an image with a random id; tags move to it from whatever image had them, as in Docker. Throws 507 when full. */
export function addImage(
  store: TrialStore,
  names: readonly string[],
  labels: Readonly<Record<string, string>>,
): TrialImage {
  if (store.images.size >= trialLimits.images) throw full('images', trialLimits.images);
  if (names.length > trialLimits.tagsPerImage) {
    throw new TrialError(400, `at most ${trialLimits.tagsPerImage} tags for one image in the trial engine`);
  }
  const tags = names.map(normalizeTag);
  for (const image of store.images.values()) {
    for (const tag of tags) {
      const at = image.tags.indexOf(tag);
      if (at >= 0) image.tags.splice(at, 1);
    }
  }
  const id = `sha256:${randomBytes(32).toString('hex')}`;
  const image: TrialImage = { id, tags: [...new Set(tags)], created: Math.floor(Date.now() / 1000), labels };
  store.images.set(id, image);
  return image;
}

/** By id (with or without `sha256:`, or a prefix of it) or by name. Throws Docker's 404. */
export function findImage(store: TrialStore, name: string): TrialImage {
  const hex = name.startsWith('sha256:') ? name.slice(7) : name;
  if (/^[0-9a-f]{4,64}$/.test(hex)) {
    for (const image of store.images.values()) if (image.id.startsWith(hex, 7)) return image;
  }
  const tag = normalizeTag(name);
  for (const image of store.images.values()) if (image.tags.includes(tag)) return image;
  throw new TrialError(404, `No such image: ${tag}`);
}

export function removeImage(store: TrialStore, image: TrialImage): void {
  for (const container of store.containers.values()) {
    if (container.image === image) {
      const short = image.id.slice(7, 19);
      throw new TrialError(409, `conflict: image ${short} is used by container ${container.name}`);
    }
  }
  store.images.delete(image.id);
}

/**
 * Makes a container from the body of ContainerCreate. Throws 400 (no image, bad name), 404 (no such image),
 * 409 (name taken), 507 (full).
 */
export function addContainer(
  store: TrialStore,
  name: string,
  body: Readonly<Record<string, unknown>>,
): TrialContainer {
  if (store.containers.size >= trialLimits.containers) throw full('containers', trialLimits.containers);
  const { HostConfig: hostConfig, NetworkingConfig: _networking, ...config } = body;
  const imageName = config['Image'];
  if (typeof imageName !== 'string' || imageName === '') throw new TrialError(400, 'No image was specified');
  const image = findImage(store, imageName);
  const id = randomBytes(32).toString('hex');
  const plain = name === '' ? `trial_${id.slice(0, 8)}` : name.replace(/^\//, '');
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}$/.test(plain)) {
    throw new TrialError(400, 'Invalid container name: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed');
  }
  for (const existing of store.containers.values()) {
    if (existing.name === plain) {
      throw new TrialError(
        409,
        `Conflict. The container name "/${plain}" is already in use by container "${existing.id}".`,
      );
    }
  }
  const container: TrialContainer = {
    id,
    name: plain,
    image,
    imageName,
    created: new Date(),
    config,
    hostConfig: isRecord(hostConfig) ? hostConfig : {},
    exitedAt: undefined,
    onExit: new Set(),
    onRemove: new Set(),
  };
  store.containers.set(id, container);
  return container;
}

/** By id, a prefix of it, or name. Throws Docker's 404. */
export function findContainer(store: TrialStore, name: string): TrialContainer {
  const plain = name.replace(/^\//, '');
  for (const container of store.containers.values()) if (container.name === plain) return container;
  if (/^[0-9a-f]{4,64}$/.test(plain)) {
    for (const container of store.containers.values()) if (container.id.startsWith(plain)) return container;
  }
  throw new TrialError(404, `No such container: ${plain}`);
}

/** "Runs" the container: it is `exited` at once with code 0, and removed if it was made with AutoRemove. */
export function startContainer(store: TrialStore, container: TrialContainer): void {
  container.exitedAt = new Date();
  notify(container.onExit);
  if (container.hostConfig['AutoRemove'] === true) removeContainer(store, container);
}

export function removeContainer(store: TrialStore, container: TrialContainer): void {
  store.containers.delete(container.id);
  notify(container.onExit);
  notify(container.onRemove);
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function notify(listeners: Set<() => void>): void {
  const all = [...listeners];
  listeners.clear();
  for (const listener of all) listener();
}

function full(what: string, limit: number): TrialError {
  return new TrialError(507, `the trial engine holds at most ${limit} ${what}: remove some, or restart it`);
}
