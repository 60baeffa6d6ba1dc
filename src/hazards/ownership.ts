import type { Call, NamedObject, Reference } from '../docker/call.js';
import { type JsonValue, asArray, asObject, asString } from '../base/json.js';
import { setFact, type Findings, type Inspection } from './inspection.js';
import { queryJson } from './call-values.js';
import { operationById } from '../docker/catalogue.js';
import {
  attachedLinks,
  buildReferences,
  createReferences,
  newVolume,
  pulledOrImported,
  referencesAt,
  serviceReferences,
  tagged,
} from './references.js';

/** The label that names the owner of an object. Its value is signed by the guard: `SOURCE.HMAC`. */
export const OWNER_LABEL = 'breakwater.owner';

/** What an operation has to do with the engine's objects. */
export type Subject =
  /** `names`: it names some, or none. `filtered`: it shows, or removes, what a filter by label selects. */
  | { readonly kind: 'names' | 'filtered' }
  /** It shows all images. Pulled images have no label to filter by: those of others are removed from the answer. */
  | { readonly kind: 'answer' }
  /** It concerns the engine as a whole and cannot be limited to one owner's objects. */
  | { readonly kind: 'engine'; readonly what: string };

const KINDS = {
  named: { kind: 'names' },
  filtered: { kind: 'filtered' },
  images: { kind: 'answer' },
} as const satisfies Readonly<Record<string, Subject>>;

/** INVARIANT: an operation that is not in the catalogue counts as concerning the whole engine. */
const UNKNOWN: Subject = { kind: 'engine', what: 'unknown' };

/** What an operation has to do with objects; one that is not in the catalogue is about the engine as a whole. */
export function subjectOf(operation: string): Subject {
  const about = operationById(operation)?.does.about;
  if (about === undefined) return UNKNOWN;
  return typeof about === 'string' ? KINDS[about] : { kind: 'engine', what: about.engine };
}

/** The objects that a call names. */
export function referencesOf(call: Call, facts: Inspection['facts']): readonly Reference[] {
  const { does } = call.operation;
  if (does.about !== 'named') return [];
  return [
    ...(does.namesAt ?? []).flatMap((place) => referencesAt(call, place)),
    ...(does.runs === 'container' ? createReferences(call) : []),
    ...(does.runs === 'service' ? serviceReferences(call) : []),
    ...(does.builds === 'dockerfile' ? buildReferences(call, facts) : []),
    ...(does.pulls === 'image' ? pulledOrImported(call) : []),
    ...(does.tags === 'repo' && does.pulls === undefined ? tagged(call) : []),
    ...(does.creates === 'volume' ? newVolume(call) : []),
    ...(does.joins === 'network' || does.leaves === 'network' ? attachedLinks(call) : []),
  ];
}

/**
 * Sets the fact `owner` of a call, where rules have conditions about owners: one entry for each sort of objects.
 * INVARIANT: an operation that cannot be limited says so, and a list that is not filtered counts as showing others' objects.
 */
export function inspectOwner(call: Call, objects: readonly NamedObject[], findings: Findings): void {
  const subject = subjectOf(call.operation.id);
  if (subject.kind === 'names') {
    setFact(findings, 'owner', [...new Set([...objects.flatMap(entryOf), ...unreadBuild(findings)])]);
  } else if (subject.kind === 'engine') setFact(findings, 'owner', [`engine:${subject.what}`]);
  else setFact(findings, 'owner', isLimited(call) ? ['self'] : ['other:list']);
}

/** A remote context, BuildKit, an ambiguous Dockerfile: the build could start from any image, also another owner's. */
function unreadBuild({ facts, pending }: Findings): string[] {
  const from = facts['build.from'];
  return pending === undefined && Array.isArray(from) && from.includes('?') ? ['engine:unread-build'] : [];
}

function entryOf({ kind, use, relation }: NamedObject): string[] {
  if (relation === 'missing') return [];
  // Pulling an image that others have pulled as well takes nothing from them.
  if (use === 'pull' && relation !== 'other') return [];
  if (relation === 'self' || (relation === 'shared' && use !== 'change')) return ['self'];
  return [`${relation}:${kind}`];
}

function isLimited(call: Call): boolean {
  const label = call.owner?.label ?? '';
  if (label === '') return false;
  return call.ownAnswer === true || labelFilters(queryJson(call, 'filters')).includes(ownFilter(label));
}

/** How a filter names the caller's own. */
export const ownFilter = (label: string): string => `${OWNER_LABEL}=${label}`;

/** The values of `label` in either form that engines take: a list, or an object with the values as keys. */
export function labelFilters(filters: JsonValue): string[] {
  const label = asObject(filters)['label'];
  return Array.isArray(label) ? asArray(label).map(asString) : Object.keys(asObject(label));
}
