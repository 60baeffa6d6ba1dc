import { Readable } from 'node:stream';
import { Refusal } from '../docker/refusal.js';

export interface RelayLimits {
  /** Most bytes of the whole stream. */
  readonly bytes: number;
  /** Longest silence between two pieces while the engine is ready for more, milliseconds. */
  readonly idle: number;
}

export interface RelayedBody extends Readable {
  /** Bytes taken from the client so far. */
  readonly bytes: number;
}

/**
 * A streamed request body on its way to the engine, with back-pressure, a size limit and an idle limit.
 *
 * It stands between the client's stream and the upstream library because that library destroys the body it was
 * given when the engine answers early or fails, and a destroyed request takes the client's connection with it: the
 * client would never see the engine's error. Destroying this one only detaches.
 */
export function relayBody(source: Readable, limits: RelayLimits): RelayedBody {
  let bytes = 0;
  let timer: NodeJS.Timeout | undefined;
  const arm = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      body.destroy(
        new Refusal(408, 'body-idle', `the request body was silent for ${limits.idle} ms (limits.bodyIdle)`),
      );
    }, limits.idle);
  };
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
    } else if (body.push(chunk)) {
      timer?.refresh();
    } else {
      source.pause();
      clearTimeout(timer);
    }
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
    highWaterMark: 256 * 1024,
    read() {
      arm();
      source.resume();
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
