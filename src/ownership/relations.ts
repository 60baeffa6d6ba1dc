import type { NamedObject, Reference } from '../docker/call.js';
import type { Entity, ImageState } from '../docker/entities.js';
import type { ImageOwners } from './image-owners.js';
import type { OwnerLabels } from './owner-labels.js';

/** Who owns an object. */
interface Holder {
  /** The owner by its label; `""` for none. */
  readonly owner: string;
  /** The owner by its label, and the owners that have pulled it. */
  readonly owners: readonly string[];
}

/** Stands for the owner of an image that is a step of a build; it is the name of no source. */
const A_BUILD = '(a build)';
const NOBODY: Holder = { owner: '', owners: [] };

/** From the worst to the best. */
const RELATIONS = ['other', 'nobody', 'shared', 'self'] as const;

/** How an object that a call refers to relates to the owner of the call. */
export function relate(
  reference: Reference,
  entity: Entity,
  owner: string,
  known: { readonly labels: OwnerLabels; readonly images: ImageOwners },
): NamedObject {
  const { id } = entity;
  if (entity.presence !== 'present') return { ...reference, id, relation: 'missing' };
  const holders = entity.images?.map((image) => imageHolder(image, known)) ?? [
    holderOf(entity, known.labels),
  ];
  return { ...reference, id, relation: worstRelation(reference, holders, owner) };
}

export function relationOf(owners: readonly string[], owner: string): NamedObject['relation'] {
  if (owners.length === 0) return 'nobody';
  if (owner === '' || !owners.includes(owner)) return 'other';
  return owners.length === 1 ? 'self' : 'shared';
}

/**
 * INVARIANT: an image without a label and without a name cannot be used by all. It is an intermediate step of a build, with
 * the files that were copied into it, and a caller could find it by guessing the first digits of its id.
 */
function imageHolder(
  { id, names, labels: given }: ImageState,
  { labels, images }: { readonly labels: OwnerLabels; readonly images: ImageOwners },
): Holder {
  const owner = labels.ownerOf(given);
  const owners = [...new Set([...(owner === '' ? [] : [owner]), ...images.of(id)])];
  const hasName = names.some((name) => !name.startsWith('<none>'));
  return { owner, owners: owners.length === 0 && !hasName ? [A_BUILD] : owners };
}

function holderOf({ labels: given, usersLabels }: Entity, labels: OwnerLabels): Holder {
  const owner = labels.ownerOf(given);
  if (owner !== '') return { owner, owners: [owner] };
  if (usersLabels === undefined) return NOBODY;
  // An anonymous volume belongs to the owners of the containers that use it, if all of these have an owner.
  const users = usersLabels.map((label) => labels.ownerOf(label));
  return { owner, owners: users.includes('') ? [] : [...new Set(users)] };
}

function worstRelation(
  { use }: Reference,
  holders: readonly Holder[],
  owner: string,
): NamedObject['relation'] {
  const relations = holders.map((holder) => {
    // A pull moves a tag to the image of the registry: that takes nothing from others who have pulled it.
    const owners = use === 'pull' ? (holder.owner === '' ? [] : [holder.owner]) : holder.owners;
    return relationOf(owners, owner);
  });
  return RELATIONS.find((relation) => relations.includes(relation)) ?? 'nobody';
}
