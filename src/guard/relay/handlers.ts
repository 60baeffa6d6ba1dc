import type { Flow } from '../../capture/relay-body.js';
import type { AnswerTransform } from '../../docker/answers/transform.js';
import type { Operation } from '../../docker/operation.js';
import { answerRefusal, type AnswerChanger } from '../../policy/change-answer.js';
import type { EngineHandler } from '../../upstream/engine-call.js';
import { passOn, type AnswerControl } from './answer.js';

/*
 * The features of an answer: each is a handler that changes what it is about and hands on the rest.
 */

/** Shows every piece of the answer to those who learn from it. */
export const observe = (
  next: EngineHandler,
  watchers: readonly ((piece: Buffer) => void)[],
): EngineHandler => ({
  ...passOn(next),
  onData(piece) {
    for (const watch of watchers) watch(piece);
    return next.onData(piece);
  },
});

/** Lets bytes through no faster than the limits of the caller's sources. */
export function pace(next: EngineHandler, flow: Flow): EngineHandler {
  /** The bytes of the caller are used up. */
  let isWaiting = false;
  let nextIsFull = false;
  let resumeEngine: () => void = () => {};
  const onFlow = (): void => {
    isWaiting = false;
    if (!nextIsFull) resumeEngine();
  };
  return {
    ...passOn(next),
    onHeaders(status, headers, length, resume) {
      resumeEngine = resume;
      next.onHeaders(status, headers, length, () => {
        nextIsFull = false;
        if (!isWaiting) resume();
      });
    },
    onData(piece) {
      nextIsFull = !next.onData(piece);
      if (!flow(piece.length, onFlow)) isWaiting = true;
      return !isWaiting && !nextIsFull;
    },
  };
}

/**
 * Changes an answer as policy demands: what a rule redacts, images of others.
 *
 * INVARIANT: of an answer that cannot be changed as demanded nothing more passes, and it looks cut short.
 */
export function transform(
  next: EngineHandler,
  change: AnswerChanger,
  operation: Operation,
  control: AnswerControl,
  warn: (message: string) => void,
): EngineHandler {
  let body: AnswerTransform | undefined;
  let isOver = false;
  const holdBack = (error: unknown): void => {
    isOver = true;
    control.abort();
    const refusal = answerRefusal(error);
    warn(refusal.message);
    next.onError(refusal);
  };
  return {
    ...passOn(next),
    onHeaders(status, headers, length, resume) {
      try {
        const changed = change({ status, headers, length });
        body = changed.transform;
        if (body !== undefined) {
          control.holdsBack = status >= 300 || operation.response !== 'stream';
          control.isResized = length >= 0;
        }
        next.onHeaders(status, changed.headers, body === undefined ? length : -1, resume);
      } catch (error) {
        holdBack(error);
      }
    },
    onData(piece) {
      if (isOver) return true;
      if (body === undefined) return next.onData(piece);
      try {
        return next.onData(bufferOf(body.feed(piece)));
      } catch (error) {
        holdBack(error);
        return true;
      }
    },
    onComplete() {
      if (isOver) return;
      try {
        if (body !== undefined) next.onData(bufferOf(body.end()));
      } catch (error) {
        holdBack(error);
        return;
      }
      next.onComplete();
    },
    onError(error) {
      if (!isOver) next.onError(error);
    },
  };
}

const bufferOf = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
