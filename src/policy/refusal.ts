import type { NamedObject } from '../docker/call.js';
import { Refusal } from '../docker/refusal.js';
import { shortImageName } from '../hazards/image-name.js';
import { judge, type Judgement } from './judge.js';
import { retryAfter } from './quotas.js';

/**
 * What the client of a call is answered in place of the engine; undefined when the call goes to the engine. To a caller
 * that is limited to its own objects those of others are not there: it is answered as if they were not.
 */
export function refusalOf(judgement: Judgement): Refusal | undefined {
  if (judgement.passes) return absentObject(judgement);
  const { call, entities, verdict, snapshot, exceeded: over } = judgement;
  if (over !== undefined) return new Refusal(429, verdict.code, verdict.reason, retryAfter(over));
  const { objects = [] } = entities;
  if ((call.owner?.name ?? '') !== '' && objects.some(isHidden)) {
    const hide = (object: NamedObject): NamedObject =>
      isHidden(object) ? { ...object, id: '', relation: 'missing' } : object;
    const without = judge(call, { ...entities, objects: objects.map(hide) }, snapshot);
    return absentObject(without) ?? new Refusal(403, verdict.code, withDetails(without));
  }
  return new Refusal(403, verdict.code, withDetails(judgement));
}

/**
 * A name that the caller wants to give away cannot be free and taken at once. Images of nobody are there to be shared, and
 * everyone knows of the networks that an engine makes itself.
 */
function isHidden({ kind, name, relation, optional }: NamedObject): boolean {
  if (optional === true) return false;
  return relation === 'other' || (relation === 'nobody' && kind !== 'image' && !PREDEFINED.has(name));
}
const PREDEFINED = new Set(['bridge', 'host', 'none']);

/** Somebody could make what is not there between this and the engine's look: then the call is not sent at all. */
function absentObject({ entities, passes, snapshot }: Judgement): Refusal | undefined {
  if (!passes || snapshot.policy.observe) return undefined;
  const absent = entities.objects?.find(
    ({ relation, optional }) => relation === 'missing' && optional !== true,
  );
  return absent === undefined ? undefined : new Refusal(404, 'not-found', notFound(absent));
}

/** In the engine's words: clients look for them. */
function notFound({ kind, name }: NamedObject): string {
  if (kind === 'container') return `No such container: ${name}`;
  if (kind === 'image') return `No such image: ${shortImageName(name)}`;
  if (kind === 'exec') return `No such exec instance: ${name}`;
  return kind === 'volume' ? `get ${name}: no such volume` : `${kind} ${name} not found`;
}

/** What was ambiguous about a build is the user's own file: the answer says it, bounded. */
function withDetails({ verdict, inspection }: Judgement): string {
  const ambiguous = inspection.facts['build.unclear'];
  if (!Array.isArray(ambiguous) || ambiguous.length === 0) return verdict.reason;
  return `${verdict.reason}; unclear: ${ambiguous.slice(0, 3).join('; ').slice(0, 500)}`;
}
