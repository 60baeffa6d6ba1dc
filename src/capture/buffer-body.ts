import type { Readable } from 'node:stream';
import { Refusal } from '../docker/refusal.js';

export interface BufferLimits {
  /** Most bytes of one body. */
  readonly bytes: number;
  /** Longest time for the whole body, milliseconds: a trickle must not hold a slot for ever. */
  readonly timeout: number;
}

/**
 * Bytes of buffered bodies that all calls together may hold. Without it, many clients that each send a body just
 * under the limit would take all memory.
 */
export interface BodyBudget {
  /** Takes `bytes`; false when there is not enough left. */
  take(bytes: number): boolean;
  give(bytes: number): void;
  readonly used: number;
}

/** @param total bytes for all calls together. */
export function openBodyBudget(total: number): BodyBudget {
  let used = 0;
  return {
    take(bytes) {
      if (used + bytes > total) return false;
      used += bytes;
      return true;
    },
    give(bytes) {
      used -= bytes;
    },
    get used() {
      return used;
    },
  };
}

/**
 * Reads a whole body into memory, bounded in size, time and, with the budget, over all calls together. The caller
 * gives the bytes back to the budget when the call is over (`length` of the buffer).
 *
 * @param announced the Content-Length, or -1 when unknown.
 * @returns rejects with `Refusal`: 413 too large, 408 too slow, 503 no budget, 400 cut short.
 */
export function bufferBody(
  source: Readable,
  announced: number,
  limits: BufferLimits,
  budget: BodyBudget,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (announced > limits.bytes) {
      reject(tooLarge(limits.bytes));
      return;
    }
    if (source.destroyed) {
      reject(cutShort());
      return;
    }
    const chunks: Buffer[] = [];
    let size = 0;
    let held = 0;
    const timer = setTimeout(
      () =>
        finish(
          new Refusal(408, 'body-timeout', `the request body did not arrive within ${limits.timeout} ms`),
        ),
      limits.timeout,
    );
    const onData = (chunk: Buffer): void => {
      size += chunk.length;
      if (size > limits.bytes) {
        finish(tooLarge(limits.bytes));
      } else if (!budget.take(chunk.length)) {
        finish(
          new Refusal(503, 'body-budget', 'the guard holds too many request bodies at the moment; try again'),
        );
      } else {
        held += chunk.length;
        chunks.push(chunk);
      }
    };
    const onEnd = (): void => finish(undefined);
    const onCut = (): void => finish(cutShort());
    const onError = (error: Error): void =>
      finish(
        error instanceof Refusal ? error : new Refusal(400, 'body-cut', 'the request body could not be read'),
      );
    const finish = (refusal: Refusal | undefined): void => {
      clearTimeout(timer);
      source.off('data', onData).off('end', onEnd).off('close', onCut).off('error', onError);
      if (refusal === undefined) {
        resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, size));
      } else {
        source.pause();
        budget.give(held);
        reject(refusal);
      }
    };
    source.on('data', onData).on('end', onEnd).on('close', onCut).on('error', onError);
  });
}

function cutShort(): Refusal {
  return new Refusal(400, 'body-cut', 'the request body ended before it was complete');
}

function tooLarge(limit: number): Refusal {
  return new Refusal(413, 'body-too-large', `the request body is larger than ${limit} bytes (limits.body)`);
}
