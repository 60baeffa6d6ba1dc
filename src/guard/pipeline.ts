import type { Call } from '../docker/call.js';
import { readCall, readHead } from '../docker/read.js';
import { Refusal } from '../docker/refusal.js';
import type { Inspection } from '../hazards/inspection.js';
import { captureBody } from './body.js';
import type { Exchange } from './exchange.js';
import { resolveHostPaths } from './host-paths.js';
import { carriesContext, judgeBuild } from './judge-build.js';
import { consider, denyOver, unseen, type Grounds, type Judgement } from './judgement.js';
import { callerOf, deny, record } from './record.js';
import { refuse, STOPPING } from './refuse.js';
import { send } from './send.js';
import type { Question } from '../history/lookups.js';
import { sourcesFor, type GuardState } from './state.js';

/*
 * The way a request travels:
 *
 *   listen → identify → capture → read → inspect → decide → rewrite → audit → forward | refuse → audit(outcome)
 *
 * Every request takes it, upgraded ones too; there is no path around it. A throw in any step is a denial.
 */

/** listen and identify have happened (listen.ts); this takes the request from its head to the judgement. */
export function serve(guard: GuardState, exchange: Exchange): void {
  guard.metrics.streams += 1;
  if (guard.draining) {
    refuse(guard, exchange, STOPPING);
    return;
  }
  try {
    const { method = '', url = '', rawHeaders, httpVersion } = exchange.request;
    const reading = readHead({ method, target: url, rawHeaders, httpVersion }, guard.limits);
    exchange.reading = reading;
    if (reading.body === 'buffer' && reading.framing.kind !== 'none') {
      captureBody(guard, exchange, judge, deny);
    } else {
      judge(guard, exchange, undefined);
    }
  } catch (error) {
    deny(guard, exchange, error);
  }
}

/** read; then the judgement, at once or, for a build, when its context was read. */
function judge(guard: GuardState, exchange: Exchange, body: Buffer | undefined): void {
  const reading = exchange.reading!;
  const client = callerOf(exchange);
  const call = readCall(reading, body, exchange.id, client, guard.limits);
  // One snapshot for the whole call: a reload in between must not mix two policies, or two states of the feeds.
  const { policy, revision } = guard.policy.current();
  const { sequences } = guard;
  const grounds: Grounds = { policy, revision, index: guard.feeds.current().index, sequences };
  // Counted before it is judged: whoever tries what is denied, again and again, is not free.
  exchange.share = guard.rates.shareOf(policy, client);
  const over = exchange.share?.admit();
  if (over !== undefined) {
    record(guard, exchange, denyOver(unseen(call, grounds), over), ignore);
    return;
  }
  exchange.share?.flow?.(body?.length ?? 0, ignore);
  if (policy.owners.length > 0) void judgeOwned(guard, exchange, call, grounds);
  else judgeCall(guard, exchange, call, grounds);
}

/** Where the policy has rules about owners, the engine is asked whose the objects are before the call is looked at. */
async function judgeOwned(
  guard: GuardState,
  exchange: Exchange,
  call: Call,
  grounds: Grounds,
): Promise<void> {
  try {
    if (guard.ownership === undefined) throw NO_OWNERSHIP;
    const sources = sourcesFor(grounds.policy, call.client);
    const owned = await guard.ownership.prepare(call, grounds.policy, sources);
    if (exchange.finished) owned.release();
    else {
      exchange.release = owned.release;
      judgeCall(guard, exchange, owned.call, grounds);
    }
  } catch (error) {
    deny(guard, exchange, error);
  }
}

const ignore = (): void => {};

const NO_OWNERSHIP = new Refusal(
  503,
  'ownership',
  'the policy has rules about owners, but the configuration names no directory "ownership.state" to keep them in',
);

function judgeCall(guard: GuardState, exchange: Exchange, call: Call, grounds: Grounds): void {
  if (carriesContext(call)) {
    judgeBuild(guard, exchange, call, grounds);
    return;
  }
  const judgement = consider(call, grounds);
  const binds = guard.engineIsLocal ? hostPathsOf(judgement.inspection) : [];
  const question = guard.sequences.question(judgement.sent);
  if (
    (judgement.passes && (binds.length > 0 || question !== undefined)) ||
    (question !== undefined && onlySequence(judgement))
  ) {
    void judgeResolved(guard, exchange, call, binds, question, grounds);
  } else {
    record(guard, exchange, judgement, (sent) => send(guard, exchange, sent));
  }
}

/** Names alone said so; the engine knows what they stand for. */
const onlySequence = ({ verdict }: Judgement): boolean =>
  verdict.code === 'hazard' && verdict.missing.every(({ kind }) => kind === 'sequence');

/**
 * A bind is judged on where it leads as well, on the host that the engine shares with the guard; what a sequence
 * depends on, on what the engine says of it.
 */
async function judgeResolved(
  guard: GuardState,
  exchange: Exchange,
  call: Call,
  binds: readonly string[],
  question: Question | undefined,
  grounds: Grounds,
): Promise<void> {
  try {
    const told = question === undefined ? undefined : await guard.sequences.ask(question);
    const resolved = binds.length === 0 ? call : { ...call, hostPaths: await resolveHostPaths(binds) };
    const judgement = consider(resolved, { ...grounds, told });
    record(guard, exchange, judgement, (sent) => send(guard, exchange, sent));
  } catch (error) {
    deny(guard, exchange, error);
  }
}

function hostPathsOf({ hazards }: Inspection): string[] {
  return hazards
    .filter(({ kind, argument }) => kind === 'bind' && argument.startsWith('/'))
    .map(({ argument }) => argument);
}
