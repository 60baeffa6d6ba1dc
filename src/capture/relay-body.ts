import { Readable } from 'node:stream';
import { Refusal } from '../docker/refusal.js';

/**
 * Counts bytes that have come.
 *
 * @param resume called once, later, when it was false: the sender has to wait for it.
 */
export type Flow = (bytes: number, resume: () => void) => boolean;

export interface RelayLimits {
  /** Most bytes of the whole stream. */
  readonly bytes: number;
  /** Longest time (ms) in which either the client sends nothing, or the engine takes nothing of what was sent. */
  readonly idle: number;
  /** Holds the client back for a quota; the idle limit does not count meanwhile. */
  readonly flow?: Flow | undefined;
}

export interface RelayedBody extends Readable {
  /** Bytes taken from the client so far. */
  readonly bytes: number;
}

/** Bytes that wait here for a slow engine; it has as much again in its connection. */
const BUFFER = 128 * 1024;

/**
 * A streamed request body on its way to the engine, with back-pressure, a size limit and an idle limit.
 *
 * It stands between the client's stream and the engine's connection because the two end separately: a destroyed
 * request takes the client's connection with it, and the client would never see the engine's error. Destroying this
 * one only detaches.
 *
 * The idle limit works both ways: nothing is read from a client while the engine takes nothing, so the guard would
 * not notice that the client has disconnected.
 *
 * Ends with `error` and a `Refusal` when the body is cut (400), too large (413) or idle (408; 504 for the engine).
 */
export function relayBody(source: Readable, limits: RelayLimits): RelayedBody {
  let bytes = 0;
  let blocked = false;
  let held = false;
  const onIdle = (): void => {
    if (held) {
      timer.refresh();
      return;
    }
    body.destroy(
      blocked
        ? new Refusal(
            504,
            'upstream-timeout',
            `the Docker engine took nothing of the body for ${limits.idle} ms`,
          )
        : new Refusal(
            408,
            'body-idle',
            `the request body was silent for ${limits.idle} ms (limits.bodyIdle)`,
          ),
    );
  };
  const timer = setTimeout(onIdle, limits.idle);
  const onData = (chunk: Buffer): void => {
    bytes += chunk.length;
    if (bytes > limits.bytes) {
      body.destroy(
        new Refusal(
          413,
          'context-too-large',
          `the request body is larger than ${limits.bytes} bytes (limits.context)`,
        ),
      );
    } else {
      timer.refresh();
      blocked = !body.push(chunk);
      if (limits.flow?.(chunk.length, onRelease) === false) held = true;
      if (blocked || held) source.pause();
    }
  };
  const onRelease = (): void => {
    held = false;
    if (body.destroyed) return;
    timer.refresh();
    if (!blocked) source.resume();
  };
  const onEnd = (): void => {
    clearTimeout(timer);
    body.push(null);
  };
  const onCut = (): void => {
    // INVARIANT: a body that was cut short must never end cleanly upstream, or the engine would act on the part.
    if (!source.readableEnded)
      body.destroy(new Refusal(400, 'body-cut', 'the request body was cut short by the client'));
  };
  const onError = (): void => onCut();
  const body = new Readable({
    highWaterMark: BUFFER,
    read() {
      if (blocked) timer.refresh();
      blocked = false;
      if (!held) source.resume();
    },
    destroy(error, callback) {
      clearTimeout(timer);
      source.off('data', onData).off('end', onEnd).off('close', onCut);
      source.pause();
      callback(error);
    },
  });
  source.on('data', onData).on('end', onEnd).on('close', onCut).on('error', onError);
  source.pause();
  Object.defineProperty(body, 'bytes', { get: () => bytes });
  return body as RelayedBody;
}
