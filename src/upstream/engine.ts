import { readAddress, type EngineAddress } from './engine-address.js';
import type { Abort, EngineHandler, EngineRequest } from './engine-call.js';
import { openPool, type Pool } from './pool.js';

/** Where the engine is and how long to wait for it. */
export interface EngineOptions extends EngineAddress {
  /** Longest wait for the connection itself, TLS handshake included (ms). */
  readonly connectTimeout: number;
}

export interface Engine {
  /** Sends one request. Never throws: what goes wrong goes to `onError`. Calls nothing before it has returned. */
  dispatch(request: EngineRequest, handler: EngineHandler): Abort;
  /** A real `GET /_ping` within `timeout` milliseconds; rejects with a readable reason. */
  ping(timeout: number): Promise<void>;
  /** Cuts every connection; calls that are on their way fail. */
  destroy(): Promise<void>;
}

/**
 * Opens the pool of kept connections to the engine. One connection is used for one call at a time; streams and
 * hijacked calls hold theirs for as long as they last. How many calls there are at once is for the caller to bound.
 *
 * @throws Error when the URL or a TLS file cannot be used.
 */
export function openEngine(options: EngineOptions): Engine {
  const pool = openPool(readAddress(options), options.connectTimeout);
  return {
    dispatch: (request, handler) => pool.dispatch(request, handler),
    ping: (timeout) => ping(pool, timeout),
    destroy: async () => pool.destroy(),
  };
}

function ping(pool: Pool, timeout: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = pool.dispatch(
      {
        method: 'GET',
        target: '/_ping',
        headers: ['Host', 'docker'],
        body: undefined,
        upgrade: '',
        timeout: 0,
      },
      {
        onHeaders: (code) => void (status = code),
        onData: () => true,
        onComplete() {
          clearTimeout(timer);
          if (status === 200) resolve();
          else reject(new Error(`the engine answered /_ping with status ${status}`));
        },
        onError(error) {
          clearTimeout(timer);
          reject(error);
        },
      },
    );
    let status = 0;
    const timer = setTimeout(() => {
      abort();
      reject(new Error(`the engine did not answer /_ping within ${timeout} ms`));
    }, timeout);
  });
}
