import type { DecisionEvent } from '../audit/event.js';
import { watchIndicators } from '../capture/context/watch.js';
import type { ContextReading } from '../docker/build-context.js';
import type { Call, Client, NamedObject } from '../docker/call.js';
import { readCall, readHead } from '../docker/read.js';
import { renderHeaders, renderTarget } from '../docker/render.js';
import { Refusal } from '../docker/refusal.js';
import { shortImageName } from '../hazards/image-name.js';
import { inspect } from '../hazards/inspect.js';
import { formatHazard, type Inspection, type Seen } from '../hazards/inspection.js';
import type { IndicatorIndex } from '../intel/indicator.js';
import type { CompiledPolicy } from '../policy/compiled.js';
import { decide } from '../policy/decide.js';
import { describeOver, retryAfter, type Over } from '../policy/limits.js';
import { seal, volumesToMake } from '../policy/ownership.js';
import type { Verdict } from '../policy/verdict.js';
import { bothChanges, ownImages, redactAnswer } from './answer.js';
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

/** Who calls: the client, with the bearer token of this request. */
function callerOf({ client, reading }: Exchange): Client {
  const token = reading?.bearerToken ?? '';
  return token === '' ? client : withToken(client, token);
}

/** read; then the judgement, at once or, for a build, when its context was read. */
function judge(guard: GuardState, exchange: Exchange, body: Buffer | undefined): void {
  const reading = exchange.reading!;
  const client = callerOf(exchange);
  const call = readCall(reading, body, exchange.id, client, guard.limits);
  // One snapshot for the whole call: a reload in between must not mix two policies, or two states of the feeds.
  const { policy, revision } = guard.policy.current();
  const grounds: Grounds = { policy, revision, index: guard.feeds.current().index };
  // Counted before it is judged: whoever tries what is denied, again and again, is not free.
  exchange.share = guard.rates.shareOf(policy, client);
  const over = exchange.share?.admit();
  if (over !== undefined) {
    record(guard, exchange, denyOver(unseen(call, grounds), over), IGNORE);
    return;
  }
  exchange.share?.flow?.(body?.length ?? 0, IGNORE);
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
  readonly grounds: Grounds;
  /**
   * INVARIANT: what is sent is the call that was judged: a rule with a rewrite is judged on its own result. Only the
   * owner's label is added, and ids stand in place of the names that were looked up.
   */
  readonly sent: Call;
  readonly passes: boolean;
  /** The rate limit that it is over. */
  readonly over?: Over;
}

/** inspect → decide → rewrite. A rewritten call is inspected in the same way. */
function consider(call: Call, grounds: Grounds, seen?: Seen): Judgement {
  const { policy, index } = grounds;
  const sources = sourcesFor(policy, call.client);
  const look = (one: Call): Inspection => inspect(one, index, seen);
  const inspection = look(call);
  const verdict = decide(policy, call, sources, inspection, look);
  const passes = verdict.effect === 'allow' || verdict.observe;
  const judged: Judgement = {
    call,
    sources,
    inspection,
    verdict,
    grounds,
    sent: verdict.call ?? call,
    passes,
  };
  return passes && call.owner !== undefined ? sealed(judged) : judged;
}

/** The judgement on a call that makes something, or names something, that has an owner. */
function sealed(judged: Judgement): Judgement {
  const { sent, verdict, grounds } = judged;
  const { call, changes, conflict } = seal(sent);
  if (conflict === '') {
    const rewrites = changes.length === 0 ? verdict.rewrites : [...verdict.rewrites, ...changes];
    return { ...judged, sent: call, verdict: { ...verdict, rewrites } };
  }
  const reason = `rule ${verdict.rule} allows ${call.operation.id}, but what it makes could not be marked as its owner's: ${conflict}`;
  const { observe } = grounds.policy;
  return {
    ...judged,
    passes: observe,
    verdict: { ...verdict, effect: 'deny', observe, code: 'ownership', reason },
  };
}

const IGNORE = (): void => {};

/** A call that is stopped before anybody looks what is in it: at a limit, looking would be the cost to be saved. */
const unseen = (call: Call, grounds: Grounds): Omit<Judgement, 'verdict' | 'passes'> => ({
  call,
  sources: sourcesFor(grounds.policy, call.client),
  inspection: { facts: {}, hazards: [] },
  grounds,
  sent: call,
});

/** The limits of the caller's sources have their say on what policy lets pass. */
function withinLimits({ share }: Exchange, judgement: Judgement): Judgement {
  if (share === undefined || !judgement.passes) return judgement;
  const over = share.begin(judgement.call.operation);
  if (over !== undefined) return denyOver(judgement, over);
  const { observed } = share;
  return observed === undefined || judgement.verdict.effect === 'deny'
    ? judgement
    : denyOver(judgement, observed, judgement.verdict);
}

/** @param verdict what the call goes on with, when the limit is only observed. */
function denyOver(
  judgement: Omit<Judgement, 'verdict' | 'passes'>,
  over: Over,
  verdict?: Verdict,
): Judgement {
  return {
    ...judgement,
    verdict: {
      missing: [],
      rewrites: [],
      ...verdict,
      effect: 'deny',
      rule: '',
      code: 'rate-limit',
      reason: describeOver(over),
      observe: over.observe,
    },
    passes: over.observe,
    over,
  };
}

/** audit; the effect follows when the decision is on record. */
function record(
  guard: GuardState,
  exchange: Exchange,
  judged: Judgement,
  pass: (sent: Call) => void,
  stop = (refusal: Refusal): void => refuse(guard, exchange, refusal),
): void {
  const judgement = withinLimits(exchange, judged);
  const { call, verdict, sent, passes } = judgement;
  exchange.call = sent;
  exchange.changeAnswer = changeOf(guard, judgement);
  guard.metrics.decision(call.operation.id, verdict.effect, verdict.code);
  const written = (failure: Error | undefined): void => {
    try {
      if (failure !== undefined && !mayPassUnrecorded(guard, call)) {
        const message = 'the audit trail cannot be written, so the call was not made';
        stop(new Refusal(503, 'audit', message));
      } else if (!exchange.socket.writable) {
        // Nobody is left to read the answer; a stream started now would have nobody to end it.
        exchange.cut?.('client-gone');
        finish(guard, exchange, 0, 'client-gone');
      } else if (!passes) {
        stop(refusalOf(judgement));
      } else {
        const absent = absentObject(judgement);
        if (absent === undefined) pass(sent);
        else stop(absent);
      }
    } catch (error) {
      // Rendering checks once more what it writes; the verdict is on record, so only the call itself fails.
      stop(toRefusal(guard, error));
    }
  };
  // What changes something must be on record even after a power loss; a denial changes nothing.
  guard.audit.record(decisionEvent(judgement), written, passes && call.operation.writes);
}

/**
 * The answer to a denied call. To a caller that is limited to its own objects those of others are not there: it is told
 * what it would be told if they were not.
 */
function refusalOf(judgement: Judgement): Refusal {
  const { call, verdict, grounds, over } = judgement;
  if (over !== undefined) return new Refusal(429, verdict.code, verdict.reason, retryAfter(over));
  const objects = call.objects ?? [];
  if ((call.owner?.name ?? '') !== '' && objects.some(isHidden)) {
    const hide = (object: NamedObject): NamedObject =>
      isHidden(object) ? { ...object, id: '', relation: 'missing' } : object;
    const without = consider({ ...call, objects: objects.map(hide) }, grounds);
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
  return relation === 'other' || (relation === 'nobody' && kind !== 'image' && !COMMON.has(name));
}
const COMMON = new Set(['bridge', 'host', 'none']);

/** Somebody could make what is not there between this and the engine's look: then the call is not sent at all. */
function absentObject({ call, passes, grounds }: Judgement): Refusal | undefined {
  if (!passes || grounds.policy.observe) return undefined;
  const absent = call.objects?.find(({ relation, optional }) => relation === 'missing' && optional !== true);
  return absent === undefined ? undefined : new Refusal(404, 'not-found', notFound(absent));
}

/** In the engine's words: clients look for them. */
function notFound({ kind, name }: NamedObject): string {
  if (kind === 'container') return `No such container: ${name}`;
  if (kind === 'image') return `No such image: ${shortImageName(name)}`;
  if (kind === 'exec') return `No such exec instance: ${name}`;
  return kind === 'volume' ? `get ${name}: no such volume` : `${kind} ${name} not found`;
}

/** What becomes of the answer to a call that passes: images of others are taken out, and what its rule redacts. */
function changeOf(
  { ownership }: GuardState,
  { verdict: { redact }, sent }: Judgement,
): Exchange['changeAnswer'] {
  const isOwn = (id: string, labels: unknown): boolean => ownership?.isOwnImage(sent, id, labels) === true;
  return bothChanges(
    sent.ownAnswer === true ? ownImages(isOwn) : undefined,
    redact === undefined ? undefined : redactAnswer(redact, sent),
  );
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
  else if (volumesToMake(call).length > 0) void sendWithVolumes(guard, exchange, call);
  else sendNow(guard, exchange, call);
}

/** The engine would make the volumes of a container itself, as nobody's. */
async function sendWithVolumes(guard: GuardState, exchange: Exchange, call: Call): Promise<void> {
  try {
    await guard.ownership?.makeVolumes(call);
    if (exchange.socket.writable) sendNow(guard, exchange, call);
    else finish(guard, exchange, 0, 'client-gone');
  } catch (error) {
    refuse(guard, exchange, toRefusal(guard, error));
  }
}

function sendNow(guard: GuardState, exchange: Exchange, call: Call): void {
  if (call.operation.response === 'hijack') tunnel(guard, exchange, call);
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
  const admitted = withinLimits(exchange, first);
  if (!admitted.passes || tooMany(guard)) {
    record(guard, exchange, admitted, () => refuse(guard, exchange, TOO_MANY));
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
  // The engine may answer before the verdict on the whole.
  exchange.changeAnswer = changeOf(guard, first);
  const upload = uploadContext(guard, exchange, first.sent, watch, onRefused, onCut);
  const stop = (refusal: Refusal): void => {
    upload.destroy();
    refuse(guard, exchange, refusal);
  };
  const judgeWhole = async (context: ContextReading): Promise<void> => {
    const known: Call = { ...call, body: { ...body, context } };
    // Now it is known what it builds from.
    const found = call.objects === undefined ? known : await guard.ownership!.again(known);
    if (decided) return;
    let whole = consider(found, grounds, watch);
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
  // Nor is whoever sends what cannot be read.
  if (exchange.share === undefined)
    guard.rates.shareOf(guard.policy.current().policy, callerOf(exchange))?.admit();
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

function decisionEvent({ call, sources, inspection, verdict, grounds }: Judgement): DecisionEvent {
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
    policy: grounds.revision,
  };
}
