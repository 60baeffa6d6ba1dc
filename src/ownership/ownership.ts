import { join } from 'node:path';
import type { Call, NamedObject, Owner, Reference } from '../docker/call.js';
import type { RequestEngine } from '../docker/engine-answer.js';
import type { Entities, Entity } from '../docker/entities.js';
import { Refusal } from '../docker/refusal.js';
import { queryText } from '../hazards/call-values.js';
import type { CompiledPolicy } from '../policy/compiled.js';
import { volumesToMake } from '../policy/ownership.js';
import { makeNamedDirectory } from '../store/named-files.js';
import { openImageOwners } from './image-owners.js';
import { locksOf, openNameLocks } from './name-locks.js';
import { openOwnerLabels } from './owner-labels.js';
import { listImages, watchPull, watchRemoval, type ImagesBefore } from './pulls.js';
import { relate, relationOf } from './relations.js';

/** Who owns which object; used only where the policy has rules about owners. */
export interface Ownership {
  /** @param sources of the caller, in the order of the policy. */
  ownerOf(policy: CompiledPolicy, sources: readonly string[]): Owner;
  /**
   * Holds the names that a call depends on, so that no other owner's call changes what they stand for meanwhile.
   *
   * @returns a function that releases them. Rejects with Refusal 409 when they are held too long by others.
   */
  hold(call: Call, references: readonly Pick<Reference, 'kind' | 'name' | 'use'>[]): Promise<() => void>;
  /** How an object that a call refers to relates to the call's owner. */
  relate(reference: Reference, entity: Entity, owner: Owner): NamedObject;
  /** Resolves when the owners of images from pulls that have just ended are recorded. */
  settled(): Promise<void>;
  /**
   * Lists the images before a pull, so that new images can be distinguished from those that were there.
   *
   * @returns a function that discards the list; undefined for a call that pulls nothing for an owner.
   * @throws Refusal when they cannot be listed.
   */
  beforePull(call: Call): Promise<() => void> | undefined;
  /** Makes the volumes that the engine would make without a label. @throws Refusal */
  makeVolumes(call: Call, entities: Entities): Promise<void>;
  /** An observer of the engine's answer, called with each piece; undefined for most calls. */
  watch(call: Call): ((piece: Buffer) => void) | undefined;
  /** Is this image, with these labels, the caller's own? */
  isOwnImage(call: Call, id: string, labels: unknown): boolean;
  close(): void;
}

/**
 * @param state directory for the key of the labels and for the owners of pulled images.
 * @throws Error when it cannot be used.
 */
export function openOwnership(
  state: string,
  requestEngine: RequestEngine,
  warn: (message: string) => void,
): Ownership {
  makeNamedDirectory('ownership.state', state, 0o700);
  const labels = openOwnerLabels(join(state, 'owner.key'));
  const images = openImageOwners(join(state, 'images.jsonl'), warn);
  const locks = openNameLocks();
  /** By call id, until the call is over. */
  const before = new Map<string, ImagesBefore>();
  const pending = new Set<Promise<void>>();

  return {
    ownerOf(policy, sources) {
      const name = policy.owners.find((owner) => sources.includes(owner)) ?? '';
      return { name, label: labels.labelFor(name) };
    },
    hold: (call, references) => locks.hold(locksOf(call, references), call.owner?.name ?? ''),
    relate: (reference, entity, owner) => relate(reference, entity, owner.name, { labels, images }),
    async settled() {
      await Promise.all(pending);
    },
    beforePull(call) {
      const { owner } = call;
      if (owner === undefined || owner.name === '' || queryText(call, 'fromImage') === '') return undefined;
      return listImages(requestEngine).then(
        (listed) => {
          before.set(call.id, listed);
          return () => void before.delete(call.id);
        },
        (error: Error) => {
          throw new Refusal(502, 'ownership', `the engine's images could not be listed: ${error.message}`);
        },
      );
    },
    async makeVolumes(call, entities) {
      for (const volume of volumesToMake(call, entities)) {
        const { status, body } = await requestEngine('POST', '/volumes/create', { body: volume }).catch(
          (error: Error) => ({ status: 502, body: { message: error.message } }),
        );
        const { Labels, message } = body as { Labels?: unknown; message?: string };
        if (status !== 201) {
          throw new Refusal(
            status >= 400 ? status : 502,
            'ownership',
            `the volume ${JSON.stringify(volume.Name)} could not be made: ${message}`,
          );
        }
        // It was made at the same moment past the guard.
        if (labels.ownerOf(Labels) !== (call.owner?.name ?? '')) {
          throw new Refusal(
            409,
            'ownership',
            `the volume ${JSON.stringify(volume.Name)} belongs to another owner`,
          );
        }
      }
    },
    watch(call) {
      const { operation, owner } = call;
      if (operation.does.removes === 'image') return watchRemoval(images);
      const listed = before.get(call.id);
      if (listed === undefined || owner === undefined) return undefined;
      const claimed = (claim: Promise<void>): void => {
        pending.add(claim);
        void claim.finally(() => pending.delete(claim));
      };
      return watchPull(call, owner.name, listed, { request: requestEngine, images, claimed });
    },
    isOwnImage(call, id, given) {
      const owner = labels.ownerOf(given);
      const owners = [...new Set([...(owner === '' ? [] : [owner]), ...images.of(id)])];
      const relation = relationOf(owners, call.owner?.name ?? '');
      return relation === 'self' || relation === 'shared';
    },
    close: () => images.close(),
  };
}
