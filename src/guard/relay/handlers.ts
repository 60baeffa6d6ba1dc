import type { Flow } from '../../capture/relay-body.js';
import type { EngineHandler } from '../../upstream/engine-call.js';

/** A handler that passes everything on as it is; each feature of an answer changes what it is about. */
export type Wrap = (next: EngineHandler) => EngineHandler;

/** The handlers of an answer, the first one nearest to the engine; `answer` ends the chain. */
export function compose(answer: EngineHandler, ...wraps: readonly (Wrap | undefined)[]): EngineHandler {
  let handler = answer;
  for (let n = wraps.length - 1; n >= 0; n--) handler = wraps[n]?.(handler) ?? handler;
  return handler;
}

/** Shows every piece of the answer to those who learn from it. */
export const observe =
  (watch: (piece: Buffer) => void): Wrap =>
  (next) => ({
    ...passOn(next),
    onData(piece) {
      watch(piece);
      return next.onData(piece);
    },
  });

/** Lets bytes through no faster than the limits of the caller's sources. */
export const pace =
  (flow: Flow): Wrap =>
  (next) => {
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
  };

/** A handler that hands everything to the next one. */
export const passOn = (next: EngineHandler): EngineHandler => ({
  onHeaders: (status, headers, length, resume) => next.onHeaders(status, headers, length, resume),
  onData: (piece) => next.onData(piece),
  onComplete: () => next.onComplete(),
  onError: (error) => next.onError(error),
  onUpgrade: (status, headers, socket) => next.onUpgrade?.(status, headers, socket),
});
