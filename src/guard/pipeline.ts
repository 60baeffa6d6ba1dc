import type { DecisionEvent } from '../audit/event.js';
import { watchIndicators } from '../capture/context/watch.js';
import type { ContextReading } from '../docker/build-context.js';
import type { Call } from '../docker/call.js';
import { readCall, readHead } from '../docker/read.js';
import { renderHeaders, renderTarget } from '../docker/render.js';
import { Refusal } from '../docker/refusal.js';
import { inspect } from '../hazards/inspect.js';
import { formatHazard, type Inspection, type Seen } from '../hazards/inspection.js';
import type { IndicatorIndex } from '../intel/indicator.js';
import type { CompiledPolicy } from '../policy/compiled.js';
import { decide } from '../policy/decide.js';
import type { Verdict } from '../policy/verdict.js';
import { captureBody } from './body.js';
import { uploadContext } from './context-upload.js';
import type { End, Exchange } from './exchange.js';
import { finish } from './finish.js';
import { forward } from './forward.js';
import { withToken } from './identify.js';
import { resolveHostPaths } from './host-paths.js';
import { refuse } from './refuse.js';
import { sourcesFor, type GuardState } from './state.js';
import { tunnel } from './tunnel.js';
import { unrecorded } from './unrecorded.js';

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
  const client =
    reading.bearerToken === '' ? exchange.client : withToken(exchange.client, reading.bearerToken);
  const call = readCall(reading, body, exchange.id, client, guard.limits);
  // One snapshot for the whole call: a reload in between must not mix two policies, or two states of the feeds.
  const { policy, revision } = guard.policy.current();
  const grounds: Grounds = { policy, revision, index: guard.feeds.current().index };
  if (carriesContext(call)) {
    judgeBuild(guard, exchange, call, grounds);
    return;
  }
  const judgement = consider(call, grounds);
  const binds = hostPathsOf(judgement.inspection);
  if (binds.length > 0 && judgement.passes && guard.engineIsLocal) {
    void judgeResolved(guard, exchange, call, binds, grounds);
  } else {
    record(guard, exchange, judgement, (sent) => send(guard, exchange, sent));
  }
}

/** A bind is judged on where it leads as well, on the host that the engine shares with the guard. */
async function judgeResolved(
  guard: GuardState,
  exchange: Exchange,
  call: Call,
  binds: readonly string[],
  grounds: Grounds,
): Promise<void> {
  try {
    const resolved = { ...call, hostPaths: await resolveHostPaths(binds) };
    record(guard, exchange, consider(resolved, grounds), (sent) => send(guard, exchange, sent));
  } catch (error) {
    deny(guard, exchange, error);
  }
}

function hostPathsOf({ hazards }: Inspection): string[] {
  return hazards
    .filter(({ kind, argument }) => kind === 'bind' && argument.startsWith('/'))
    .map(({ argument }) => argument);
}

/** What a call is judged by. */
interface Grounds {
  readonly policy: CompiledPolicy;
  readonly revision: string;
  readonly index: IndicatorIndex;
}

/** A call with what was found out about it and what policy says. */
interface Judgement {
  readonly call: Call;
  readonly sources: readonly string[];
  readonly inspection: Inspection;
  readonly verdict: Verdict;
  readonly revision: string;
  /** INVARIANT: what is sent is the call that was judged: a rule with a rewrite is judged on its own result. */
  readonly sent: Call;
  readonly passes: boolean;
}

/** inspect → decide → rewrite. A rewritten call is inspected in the same way. */
function consider(call: Call, { policy, revision, index }: Grounds, seen?: Seen): Judgement {
  const sources = sourcesFor(policy, call.client);
  const look = (one: Call): Inspection => inspect(one, index, seen);
  const inspection = look(call);
  const verdict = decide(policy, call, sources, inspection, look);
  const passes = verdict.effect === 'allow' || verdict.observe;
  return { call, sources, inspection, verdict, revision, sent: verdict.call ?? call, passes };
}

/** audit; the effect follows when the decision is on record. */
function record(
  guard: GuardState,
  exchange: Exchange,
  judgement: Judgement,
  pass: (sent: Call) => void,
  stop = (refusal: Refusal): void => refuse(guard, exchange, refusal),
): void {
  const { call, verdict, sent, passes } = judgement;
  exchange.call = sent;
  guard.metrics.decision(call.operation.id, verdict.effect, verdict.code);
  const written = (failure: Error | undefined): void => {
    try {
      if (failure !== undefined && !mayPassUnrecorded(guard, call)) {
        stop(new Refusal(503, 'audit', unrecorded(failure)));
      } else if (!exchange.socket.writable) {
        // Nobody is left to read the answer; a stream started now would have nobody to end it.
        exchange.cut?.('client-gone');
        finish(guard, exchange, 0, 'client-gone');
      } else if (!passes) {
        stop(new Refusal(403, verdict.code, withDetails(judgement)));
      } else {
        pass(sent);
      }
    } catch (error) {
      // Rendering checks once more what it writes; the verdict is on record, so only the call itself fails.
      stop(toRefusal(guard, error));
    }
  };
  // What changes something must be on record even after a power loss; a denial changes nothing.
  guard.audit.record(decisionEvent(judgement), written, passes && call.operation.writes);
}

/** What was unclear about a build is the user's own file: the answer says it, bounded. */
function withDetails({ verdict, inspection }: Judgement): string {
  const unclear = inspection.facts['build.unclear'];
  if (!Array.isArray(unclear) || unclear.length === 0) return verdict.reason;
  return `${verdict.reason}; unclear: ${unclear.slice(0, 3).join('; ').slice(0, 500)}`;
}

/** forward */
function send(guard: GuardState, exchange: Exchange, call: Call): void {
  if (tooMany(guard)) refuse(guard, exchange, TOO_MANY);
  else if (call.operation.response === 'hijack') tunnel(guard, exchange, call);
  else forward(guard, exchange, call);
}

const tooMany = (guard: GuardState): boolean => guard.metrics.streams > guard.config.upstream.maxConnections;

const TOO_MANY = new Refusal(503, 'upstream-busy', 'too many calls at once (upstream.maxConnections)');

/** A classic build with its context in the body. BuildKit reads other things, see the hazard `opaque:buildkit`. */
function carriesContext({ operation, body, query }: Call): boolean {
  const version = query['version'];
  return (
    operation.id === 'ImageBuild' &&
    body.kind === 'stream' &&
    body.present &&
    (version?.type !== 'string' || version.value === '' || version.value === '1')
  );
}

/**
 * A build is judged twice. First without its context: what no context could make right is denied before a byte of it
 * is read. Then the context goes to the engine as it is understood, in constant memory, without its end; the engine
 * builds nothing before that. The verdict on the whole releases the end, or destroys the engine's connection.
 */
function judgeBuild(guard: GuardState, exchange: Exchange, call: Call, grounds: Grounds): void {
  const body = call.body as Extract<Call['body'], { kind: 'stream' }>;
  const first = consider({ ...call, body: { ...body, context: 'pending' } }, grounds);
  if (!first.passes || tooMany(guard)) {
    record(guard, exchange, first, () => refuse(guard, exchange, TOO_MANY));
    return;
  }
  // INVARIANT: one decision a call, whoever comes first: the verdict on the whole, the engine, or the client's leaving.
  let decided = false;
  const onRefused = (status: number): void => {
    if (decided) return;
    decided = true;
    const reason = `the engine answered with status ${status} before it had the build context; nothing was built`;
    const verdict: Verdict = { ...first.verdict, effect: 'deny', code: 'engine-refused', reason };
    guard.metrics.decision(call.operation.id, 'deny', verdict.code);
    guard.audit.record(decisionEvent({ ...first, verdict }));
  };
  const refuseUnread = (error: unknown): void => {
    if (decided) return;
    decided = true;
    deny(guard, exchange, error);
  };
  const onCut = (end: End): void => refuseUnread(end === 'shutdown' ? STOPPING : CUT);
  const watch = watchIndicators(grounds.index);
  const upload = uploadContext(guard, exchange, first.sent, watch, onRefused, onCut);
  const stop = (refusal: Refusal): void => {
    upload.destroy();
    refuse(guard, exchange, refusal);
  };
  const judgeWhole = (context: ContextReading): void => {
    if (decided) return;
    let whole = consider({ ...call, body: { ...body, context } }, grounds, watch);
    // The head of the request is with the engine already: another rule's rewrite would come too late.
    const same = sameHead(whole.sent, first.sent);
    if (!same && grounds.policy.observe) whole = sentAs(first, whole);
    decided = true;
    const pass = (): void => {
      if (same || grounds.policy.observe) upload.release();
      else stop(OTHER_REWRITE);
    };
    record(guard, exchange, whole, pass, stop);
  };
  upload.read.then(judgeWhole).catch((error: unknown) => {
    upload.destroy();
    refuseUnread(error);
  });
}

/** A policy that only observes stops nothing: the call goes on with the head it has, and the record says so. */
const sentAs = ({ sent, verdict: { rewrites } }: Judgement, whole: Judgement): Judgement => ({
  ...whole,
  sent,
  verdict: { ...whole.verdict, rewrites },
});

const STOPPING = new Refusal(503, 'shutting-down', 'the guard is shutting down');

const CUT = new Refusal(400, 'body-cut', 'the build context was cut short by the client');

const OTHER_REWRITE = new Refusal(
  403,
  'rewrite',
  'the rule that allows this Dockerfile rewrites the call in another way than the first rule that fits without it; give both rules the same rewrite, or let only one of them fit',
);

function sameHead(one: Call, other: Call): boolean {
  return (
    renderTarget(one) === renderTarget(other) &&
    renderHeaders(one).join('\n') === renderHeaders(other).join('\n')
  );
}

/** audit.onFailure: what still passes when the record cannot be written. */
function mayPassUnrecorded(guard: GuardState, call: Call): boolean {
  return guard.config.audit.onFailure[call.operation.writes ? 'write' : 'read'] === 'allow';
}

/** INVARIANT: whatever a step throws ends here, as a denial on record, never as a pass and never as a crash. */
function deny(guard: GuardState, exchange: Exchange, error: unknown): void {
  const refusal = exchange.unreadable ?? toRefusal(guard, error);
  const { request, reading } = exchange;
  const operation = reading?.operation.id ?? '';
  guard.metrics.decision(operation, 'deny', refusal.code);
  const event: DecisionEvent = {
    event: 'decision',
    call: exchange.id,
    client: exchange.client,
    sources: [],
    method: request.method ?? '',
    operation,
    apiVersion: reading?.apiVersion ?? '',
    params: reading?.path ?? {},
    target: request.url ?? '',
    facts: {},
    hazards: [],
    verdict: 'deny',
    enforced: true,
    rule: '',
    code: refusal.code,
    reason: refusal.message,
    rewrites: [],
    policy: guard.policy.current().revision,
  };
  guard.audit.record(event, () => refuse(guard, exchange, refusal));
}

function toRefusal(guard: GuardState, error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  guard.log.error({ err: error }, 'a pipeline step failed; the call was denied');
  return new Refusal(500, 'internal', 'the guard could not judge this request, so it was denied');
}

function decisionEvent({ call, sources, inspection, verdict, revision }: Judgement): DecisionEvent {
  return {
    event: 'decision',
    call: call.id,
    client: call.client,
    sources,
    method: call.operation.method,
    operation: call.operation.id,
    apiVersion: call.apiVersion,
    params: call.path,
    facts: inspection.facts,
    hazards: inspection.hazards.map(formatHazard),
    ...(inspection.sightings !== undefined && { indicators: inspection.sightings }),
    verdict: verdict.effect,
    enforced: !verdict.observe,
    rule: verdict.rule,
    code: verdict.code,
    reason: verdict.reason,
    rewrites: verdict.rewrites,
    policy: revision,
  };
}
