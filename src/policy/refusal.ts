import type { NamedObject } from '../docker/call.js';
import { Refusal } from '../docker/refusal.js';
import { shortImageName } from '../hazards/image-name.js';
import { hideArguments } from './denial.js';
import { judge, type Judgement } from './judge.js';
import { retryAfter } from './quotas.js';

/**
 * The answer to a call in place of the engine's; undefined when the call goes to the engine. A caller
 * that is limited to its own objects gets the same answer for objects of others as for objects that do not exist.
 */
export function refusalOf(judgement: Judgement): Refusal | undefined {
  if (judgement.passes) return absentObject(judgement);
  const { call, entities, verdict, snapshot, exceeded } = judgement;
  if (exceeded !== undefined) return new Refusal(429, verdict.code, verdict.reason, retryAfter(exceeded));
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
 * A name for a new object that is taken cannot be hidden. Images without an owner are shared, and
 * the predefined networks of an engine are known to all.
 */
function isHidden({ kind, name, relation, optional }: NamedObject): boolean {
  if (optional === true) return false;
  return relation === 'other' || (relation === 'nobody' && kind !== 'image' && !PREDEFINED.has(name));
}
const PREDEFINED = new Set(['bridge', 'host', 'none']);

/** An object that is missing now could be created before the engine looks it up: then the call is not sent at all. */
function absentObject({ entities, passes, snapshot }: Judgement): Refusal | undefined {
  if (!passes || snapshot.policy.observe) return undefined;
  const absent = entities.objects?.find(
    ({ relation, optional }) => relation === 'missing' && optional !== true,
  );
  return absent === undefined ? undefined : new Refusal(404, 'not-found', notFound(absent));
}

/** In the engine's words, because clients compare them. */
function notFound({ kind, name }: NamedObject): string {
  if (kind === 'container') return `No such container: ${name}`;
  if (kind === 'image') return `No such image: ${shortImageName(name)}`;
  if (kind === 'exec') return `No such exec instance: ${name}`;
  return kind === 'volume' ? `get ${name}: no such volume` : `${kind} ${name} not found`;
}

/** The reason why a build is ambiguous, bounded: it concerns the user's own files, so the answer may contain it. */
function withDetails({ call, verdict, inspection }: Judgement): string {
  const reason = hideArguments(call)(verdict.reason);
  const ambiguous = inspection.facts['build.unclear'];
  if (!Array.isArray(ambiguous) || ambiguous.length === 0) return reason;
  return `${reason}; ambiguous: ${ambiguous.slice(0, 3).join('; ').slice(0, 500)}`;
}
