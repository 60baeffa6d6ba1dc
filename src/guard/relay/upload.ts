import { CONTEXT_LIMITS, relayContext } from '../../capture/context/context.js';
import type { ContextWatch } from '../../capture/context/rewrite.js';
import type { ContextReading } from '../../docker/build-context.js';
import type { HeadReading } from '../../docker/read.js';
import { Refusal } from '../../docker/refusal.js';
import { renderHeaders, renderTarget } from '../../docker/render.js';
import { STOPPING } from '../guard.js';
import { CallCut, type Outcome } from '../outcome.js';
import { passOn, upstreamRefusal, type Exchange, type Wrap } from './answer.js';
import { startExchange } from './relay.js';

/** A build context on its way to the engine, without its end. */
export interface ContextUpload {
  /** What the context was found to be, when all of it was read; rejects with a Refusal when that cannot be. */
  readonly read: Promise<ContextReading>;
  /**
   * Ends before `release` alone. Resolves when the engine has answered with an error status (a bad tag, say): its answer
   * passes on. Rejects with a Refusal when the client leaves, or the engine fails.
   */
  readonly early: Promise<{ readonly refused: number }>;
  /** How the call ended, after `release` or after the engine has refused it. */
  readonly outcome: Promise<Outcome>;
  /** Bytes that the client has sent so far. */
  readonly bytes: number;
  /**
   * Gives the engine the end of the archive: from here on it builds.
   *
   * @throws Refusal when the engine has failed since the context was read.
   */
  release(): void;
  /** Destroys the engine's connection; the client can still be answered. */
  destroy(): void;
}

/**
 * Starts the build request and writes the context anew into it while it arrives.
 *
 * INVARIANT: the engine sees no end of the archive before `release`; whatever else ends the exchange (a refusal, a cut,
 * a client that leaves) destroys the engine's connection, and an archive without its end builds nothing.
 */
export function uploadContext(exchange: Exchange, head: HeadReading, watch?: ContextWatch): ContextUpload {
  const { guard, incoming, judgement, flow } = exchange;
  const call = judgement.sent;
  const dockerfile = call.query['dockerfile'];
  const relay = relayContext(incoming.body.open(head.framing), {
    dockerfile: dockerfile?.type === 'string' ? dockerfile.value : '',
    limits: { ...CONTEXT_LIMITS, inflated: guard.limits.context },
    idle: guard.limits.bodyIdle,
    watch,
    flow,
  });
  Object.defineProperty(relay.output, 'bytes', { get: () => relay.bytesIn });
  const early = new EarlyEnd();
  const answer = startExchange(
    exchange,
    {
      method: call.operation.method,
      target: renderTarget(call),
      headers: renderHeaders(call),
      body: relay.output,
      upgrade: '',
      timeout: 0,
    },
    {
      wrap: (client, control) =>
        early.watch(
          (error) => upstreamRefusal(error, guard.config.upstream.url),
          () => {
            client.detach();
            control.abort();
          },
        ),
      onCut: (end) => early.fail(new CallCut(end, end === 'shutdown' ? STOPPING : CUT)),
    },
  );
  return {
    read: relay.read,
    early: early.promise,
    outcome: answer.outcome,
    get bytes() {
      return relay.bytesIn;
    },
    release() {
      early.release();
      // The engine may have refused the call and be done with it.
      if (!answer.isOver) relay.release();
    },
    destroy() {
      relay.destroy();
      answer.detach();
    },
  };
}

const CUT = new Refusal(400, 'body-cut', 'the build context was cut short by the client');

/** What ends an upload before all of the context was read and judged. */
class EarlyEnd {
  readonly promise: Promise<{ readonly refused: number }>;
  #resolve!: (refused: { readonly refused: number }) => void;
  #reject!: (error: Refusal) => void;
  #failure: Refusal | undefined;
  #isReleased = false;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.promise.catch(() => {});
  }

  fail(refusal: Refusal): void {
    if (this.#isReleased) return;
    this.#failure ??= refusal;
    this.#reject(refusal);
  }

  /** @throws Refusal when it has ended before. */
  release(): void {
    if (this.#failure !== undefined) throw this.#failure;
    this.#isReleased = true;
  }

  /**
   * An answer of the engine before the release passes on only when it is an error.
   *
   * The reason comes first: letting go ends the reading of the context as well, for a reason that says less.
   *
   * @param refusalFor the refusal that the client gets. @param letGo lets go of engine and client.
   */
  watch(refusalFor: (error: Error) => Refusal, letGo: () => void): Wrap {
    const giveUp = (error: Error): void => {
      this.fail(refusalFor(error));
      letGo();
    };
    return (next) => ({
      ...passOn(next),
      onHeaders: (status, headers, length, resume) => {
        if (!this.#isReleased && status < 400) giveUp(EARLY_ANSWER);
        else {
          if (!this.#isReleased) this.#resolve({ refused: status });
          next.onHeaders(status, headers, length, resume);
        }
      },
      onError: (error) => {
        if (this.#isReleased || this.#failure !== undefined) next.onError(error);
        else giveUp(error);
      },
    });
  }
}

const EARLY_ANSWER = new Refusal(
  502,
  'upstream-early',
  'the engine began to answer before it had the whole build context',
);
