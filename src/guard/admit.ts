import type { Call } from '../docker/call.js';
import { NO_ENTITIES } from '../docker/entities.js';
import { readCall, type HeadReading, type ReadLimits } from '../docker/read.js';
import { decideUnread } from '../policy/decide.js';
import { judge, judgeExceeded, uninspected, type Judgement } from '../policy/judge.js';
import { pendingContext } from './build.js';
import type { CallSnapshot } from './snapshot.js';

/**
 * Stops a call before anything of its body is read or decoded: its caller is over a rate limit, or no rule of the policy
 * lets this caller do this at all. Counts the call.
 *
 * @returns the denial; undefined when the call may go on.
 */
export function admit(
  id: string,
  head: HeadReading,
  snapshot: CallSnapshot,
  limits: ReadLimits,
): Judgement | undefined {
  const { policy, sources, client, quota } = snapshot;
  // Counted before it is judged: trying again and again what is denied is not free.
  const over = quota?.admit();
  if (over !== undefined) return judgeExceeded(uninspected(headAsCall(id, head, client), snapshot), over);
  const verdict = decideUnread(policy, { operation: head.operation, client }, sources);
  if (verdict === undefined) return undefined;
  // Where nothing has to be read for it, the record says what the call was about.
  if (head.body !== 'buffer')
    return judge(pendingContext(readCall(head, undefined, id, client, limits)), NO_ENTITIES, snapshot);
  return { ...uninspected(headAsCall(id, head, client), snapshot), verdict, passes: false };
}

const headAsCall = (id: string, head: HeadReading, client: Call['client']): Call => ({
  id,
  operation: head.operation,
  apiVersion: head.apiVersion,
  path: head.path,
  query: head.query,
  headers: head.headers,
  body: { kind: 'none' },
  unknown: head.unknown,
  upgrade: head.upgrade,
  client,
});
