import type { Call, Reference } from '../docker/call.js';
import { operationById } from '../docker/catalogue.js';
import type { Inspection } from './inspection.js';
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
