import { CONTEXT_LIMITS, relayContext } from '../capture/context/context.js';
import type { ContextWatch } from '../capture/context/rewrite.js';
import type { ContextReading } from '../docker/build-context.js';
import type { Call } from '../docker/call.js';
import { Refusal } from '../docker/refusal.js';
import { renderHeaders, renderTarget } from '../docker/render.js';
import { bodyOf } from './body.js';
import type { End, Exchange } from './exchange.js';
import { exchangeWith, upstreamRefusal } from './forward.js';
import { flowOf } from './limits.js';
import { watchAnswer, type GuardState } from './state.js';

/** A build context on its way to the engine, without its end. */
export interface ContextUpload {
  /** What the context was found to be, when all of it was read; rejects with a Refusal when that cannot be. */
  readonly read: Promise<ContextReading>;
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
 *
 * @param onCut the client has left, or the guard is stopping, before the end was released
 * @param onRefused the engine has answered with an error before all was read (a bad tag, say); its answer passes on.
 */
export function uploadContext(
  guard: GuardState,
  exchange: Exchange,
  call: Call,
  watch: ContextWatch | undefined,
  onRefused: (status: number) => void,
  onCut: (end: End) => void,
): ContextUpload {
  const dockerfile = call.query['dockerfile'];
  const relay = relayContext(bodyOf(exchange), {
    dockerfile: dockerfile?.type === 'string' ? dockerfile.value : '',
    limits: { ...CONTEXT_LIMITS, inflated: guard.limits.context },
    idle: guard.limits.bodyIdle,
    watch,
    flow: flowOf(exchange),
  });
  Object.defineProperty(relay.output, 'bytes', { get: () => relay.bytesIn });
  let released = false;
  let failure: Refusal | undefined;
  let reject: (refusal: Refusal) => void;
  const refused = new Promise<never>((_, no) => {
    reject = no;
  });
  const giveUp = (refusal: Refusal): void => {
    failure ??= refusal;
    reject(refusal);
  };
  refused.catch(() => {});
  exchangeWith(
    guard,
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
      watch: watchAnswer(guard, call),
      onCut(end) {
        if (!released) onCut(end);
      },
      onEarly(event) {
        if (released) return true;
        if ('error' in event) {
          giveUp(upstreamRefusal(guard, event.error));
          return false;
        }
        if (event.status >= 400) {
          onRefused(event.status);
          return true;
        }
        const message = 'the engine began to answer before it had the whole build context';
        giveUp(new Refusal(502, 'upstream-early', message));
        return false;
      },
    },
  );
  return {
    read: Promise.race([relay.read, refused]),
    release() {
      if (failure !== undefined) throw failure;
      released = true;
      // The engine may have refused the call and be done with it.
      if (!exchange.finished) relay.release();
    },
    destroy() {
      exchange.bytesIn = relay.bytesIn;
      relay.destroy();
    },
  };
}
