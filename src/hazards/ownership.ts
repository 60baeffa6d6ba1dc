import type { Call, NamedObject } from '../docker/call.js';
import { type JsonValue, asArray, asObject, asString } from '../base/json.js';
import { setFact, type Findings } from './findings.js';
import { queryJson } from './query.js';
import { subjectOf } from './subjects.js';

/** The label that names the owner of an object. Its value is signed by the guard: `SOURCE.HMAC`. */
export const OWNER_LABEL = 'breakwater.owner';

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
