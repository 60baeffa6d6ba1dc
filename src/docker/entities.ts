import type { NamedObject } from './call.js';
import type { ObjectKind } from './catalogue/traits.js';

/**
 * What the engine said about one object that a call names, at the moment when the call is judged.
 *
 * `missing`: the engine has no such object. `unseen`: the engine did not answer in time, or its answer could not be
 * read; absence is never an answer.
 */
export interface Entity {
  readonly kind: ObjectKind;
  /** The name that was looked up. */
  readonly name: string;
  readonly presence: 'present' | 'missing' | 'unseen';
  /** The whole id; for volumes the name. `""` unless it is present. */
  readonly id: string;
  /** Its labels as the engine gave them; of an exec those of its container, of a task those of its service. */
  readonly labels?: unknown;
  /** Of an image or a tag that image; of a repository all its images. */
  readonly images?: readonly ImageState[];
  /** Of a container. */
  readonly container?: ContainerState;
  /** Of a volume without a name of its own: the labels of the containers that use it. */
  readonly usersLabels?: readonly unknown[];
}

/** GET /images/NAME/json (moby api/types ImageInspect). */
export interface ImageState {
  /** The whole id, `sha256:…`. */
  readonly id: string;
  /** RepoTags and RepoDigests. */
  readonly names: readonly string[];
  readonly labels: unknown;
  /** Milliseconds since 1970, or NaN. */
  readonly created: number;
}

/** GET /containers/NAME/json (moby api/types ContainerJSON). */
export interface ContainerState {
  /** The digits of its image's id. */
  readonly image: string;
  /** Milliseconds since 1970, or NaN. */
  readonly created: number;
  /** It has run before. */
  readonly started: boolean;
  /** Networks that the engine will look up by name when the container starts (daemon/container_operations.go). */
  readonly networks: readonly string[];
}

/** The kind of an entity and the name by which a call refers to it. */
export interface EntityName {
  readonly kind: ObjectKind;
  readonly name: string;
}

/**
 * Everything that engine and host report about what a call names, looked up before the call is judged. What is missing here
 * was not looked up, because no verdict can depend on it.
 */
export interface Entities {
  /** By `entityKey`. */
  readonly found: ReadonlyMap<string, Entity>;
  /** The objects that the call names and how they relate to its owner; absent where no rule has conditions about owners. */
  readonly objects?: readonly NamedObject[];
  /** Where host paths of the call lead when links are followed; only those that lead elsewhere. */
  readonly hostPaths?: Readonly<Record<string, string>>;
  /** The file system of the host cannot be seen, so that nobody knows where its paths lead. */
  readonly isHostUnseen?: true;
  /** Why a call that names these must not be sent, even if it is allowed; absent when everything could be looked up. */
  readonly failure?: Error;
}

export const NO_ENTITIES: Entities = Object.freeze({ found: new Map<string, Entity>() });

export const entityKey = ({ kind, name }: EntityName): string => `${kind} ${name}`;

/** The entity that a call refers to by this name; undefined when it was not looked up, or could not be seen. */
export function entityOf(entities: Entities, kind: ObjectKind, name: string): Entity | undefined {
  const entity = entities.found.get(entityKey({ kind, name }));
  return entity?.presence === 'unseen' ? undefined : entity;
}
