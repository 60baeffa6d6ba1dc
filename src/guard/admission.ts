import { Refusal } from '../docker/refusal.js';
import type { Release } from './incoming.js';

export const STOPPING = new Refusal(503, 'shutting-down', 'the guard is shutting down');

export const TOO_MANY = new Refusal(503, 'upstream-busy', 'too many calls at once (upstream.maxConnections)');

/** Counts the calls that are on their way, streams included, and bounds how many of them may hold the engine. */
export class Admission {
  /** Calls on their way now. */
  open = 0;
  /** New calls are refused; running ones finish. */
  isClosed = false;
  readonly #max: number;
  #idle: (() => void) | undefined;

  /** @param max calls at once that may be sent to the engine (`upstream.maxConnections`). */
  constructor(max: number) {
    this.#max = max;
  }

  enter(): Release {
    this.open += 1;
    return () => {
      this.open -= 1;
      if (this.open === 0) this.#idle?.();
    };
  }

  /** There are too many calls to send another one to the engine. */
  get isFull(): boolean {
    return this.open > this.#max;
  }

  /** Takes no new calls any more. Resolves when none is on its way, or after `deadline` milliseconds. */
  drain(deadline: number): Promise<void> {
    this.isClosed = true;
    if (this.open === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, deadline);
      this.#idle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
