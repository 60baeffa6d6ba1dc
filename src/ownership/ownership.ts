import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Call, NamedObject } from '../docker/call.js';
import type { RequestEngine } from '../docker/engine-answer.js';
import { Refusal } from '../docker/refusal.js';
import { inspect } from '../hazards/inspect.js';
import { queryText } from '../hazards/query.js';
import { referencesOf } from '../hazards/subjects.js';
import type { CompiledPolicy } from '../policy/compiled.js';
import { volumesToMake } from '../policy/ownership.js';
import { openObjectFinder, relationOf } from './find-objects.js';
import { openImageOwners } from './image-owners.js';
import { locksOf, openNameLocks } from './name-locks.js';
import { openOwnerLabels } from './owner-labels.js';
import { listImages, watchPull, watchRemoval, type ImagesBefore } from './pulls.js';

/** A call whose owner, and whose objects, are known. */
export interface OwnedCall {
  readonly call: Call;
  /** Lets go of the names that the call holds. */
  readonly release: () => void;
}

/** Who owns what; only at work where the policy has rules about owners. */
export interface Ownership {
  /**
   * Finds out who the caller is as an owner, and, where a rule asks for it, whose objects the call names.
   *
   * @param sources of the caller, in the order of the policy.
   * @throws Refusal when it cannot be told.
   */
  prepare(call: Call, policy: CompiledPolicy, sources: readonly string[]): Promise<OwnedCall>;
  /** Looks at what came to be known since (the bases of a build). */
  again(call: Call): Promise<Call>;
  /** Makes the volumes that the engine would make without a label. @throws Refusal */
  makeVolumes(call: Call): Promise<void>;
  /** What has to see the pieces of the engine's answer; undefined for most calls. */
  watch(call: Call): ((piece: Buffer) => void) | undefined;
  /** Is this image, with these labels, the caller's own? */
  isOwnImage(call: Call, id: string, labels: unknown): boolean;
  close(): void;
}

/** A container's networks are looked up when its first process starts. */
const startsContainer = ({ operation }: Call): boolean => operation.does.starts === 'container';

/**
 * @param state directory for the key of the labels and for who pulled what.
 * @throws Error when it cannot be used.
 */
export function openOwnership(
  state: string,
  request: RequestEngine,
  warn: (message: string) => void,
): Ownership {
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const labels = openOwnerLabels(join(state, 'owner.key'));
  const images = openImageOwners(join(state, 'images.jsonl'), warn);
  const finder = openObjectFinder(request, labels, images);
  const locks = openNameLocks();
  /** By call id, until the call is over. */
  const before = new Map<string, ImagesBefore>();
  const pending = new Set<Promise<void>>();

  const imagesNow = (): Promise<ImagesBefore> =>
    listImages(request).catch((error: Error) => {
      throw new Refusal(502, 'ownership', `the engine's images could not be listed: ${error.message}`);
    });

  const find = async (call: Call): Promise<NamedObject[]> => {
    const facts = call.operation.does.builds === 'dockerfile' ? inspect(call).facts : {};
    // A pull that has just ended.
    await Promise.all(pending);
    const references = referencesOf(call, facts).filter(
      ({ name, optional }) => name !== '' || optional !== true,
    );
    return finder.find(references, call.owner!.name, startsContainer(call));
  };

  return {
    async prepare(call, policy, sources) {
      const name = policy.owners.find((one) => sources.includes(one)) ?? '';
      const owned: Call = { ...call, owner: { name, label: labels.labelFor(name) } };
      const asks = policy.operations.get(call.operation.id)?.owner === true;
      const holds: (() => void)[] = [];
      const release = (): void => {
        for (const letGo of holds) letGo();
        before.delete(call.id);
      };
      try {
        if (name !== '' && queryText(call, 'fromImage') !== '') before.set(call.id, await imagesNow());
        if (!asks) return { call: owned, release };
        holds.push(await locks.hold(locksOf(owned, referencesOf(owned, {})), name));
        let objects = await find(owned);
        if (startsContainer(call) && objects.length > 1) {
          // What names the container would look up is known only now; looked up again when nobody can change it.
          holds.push(await locks.hold(locksOf(owned, objects), name));
          objects = await find(owned);
        }
        return { call: { ...owned, objects }, release };
      } catch (error) {
        release();
        throw error;
      }
    },
    async again(call) {
      return call.objects === undefined ? call : { ...call, objects: await find(call) };
    },
    async makeVolumes(call) {
      for (const volume of volumesToMake(call)) {
        const { status, body } = await request('POST', '/volumes/create', { body: volume }).catch(
          (error: Error) => ({ status: 502, body: { message: error.message } }),
        );
        const { Labels, message } = body as { Labels?: unknown; message?: string };
        if (status !== 201) {
          throw new Refusal(
            status,
            'ownership',
            `the volume ${JSON.stringify(volume.Name)} could not be made: ${message}`,
          );
        }
        // Made in this moment by somebody who does not come through the guard.
        if (labels.ownerOf(Labels) !== (call.owner?.name ?? '')) {
          throw new Refusal(409, 'ownership', `the volume ${JSON.stringify(volume.Name)} is another one's`);
        }
      }
    },
    watch(call) {
      const { operation, owner } = call;
      if (operation.does.removes === 'image') return watchRemoval(images);
      const known = before.get(call.id);
      if (known === undefined || owner === undefined) return undefined;
      const claimed = (claim: Promise<void>): void => {
        pending.add(claim);
        void claim.finally(() => pending.delete(claim));
      };
      return watchPull(call, owner.name, known, { request, images, claimed });
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
