import { Connection, type ConnectionEvents, type Job } from './connection.js';
import { readAddress, type Dialler, type EngineAddress } from './engine-address.js';
import {
  EngineError,
  type Abort,
  type Dispatcher,
  type EngineHandler,
  type EngineRequest,
} from './engine-call.js';
import { SharedReads } from './share.js';

/** Where the engine is and how long to wait for it. */
export interface EngineOptions extends EngineAddress {
  /** Longest wait for the connection itself, TLS handshake included (ms). */
  readonly connectTimeout: number;
  /** Requests marked `shared` that are equal share calls. */
  readonly shareReads?: boolean;
}

export interface Engine extends Dispatcher {
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
  return new PooledEngine(options);
}

/** Idle connections are kept this long. dockerd itself never closes an idle one. */
const KEEP_ALIVE_MS = 60_000;

/** There is no queue: each request gets a kept connection or a new one. */
class PooledEngine implements Engine, ConnectionEvents {
  readonly #dialler: Dialler;
  readonly #connectTimeout: number;
  readonly #sharedReads: SharedReads | undefined;
  readonly #open = new Set<Connection>();
  /** The one that was used last comes first: what is left over grows old and goes. */
  readonly #idle: { readonly connection: Connection; readonly since: number }[] = [];
  #sweeper: NodeJS.Timeout | undefined;
  #isDestroyed = false;

  constructor(options: EngineOptions) {
    this.#dialler = readAddress(options);
    this.#connectTimeout = options.connectTimeout;
    this.#sharedReads = options.shareReads === true ? new SharedReads(this) : undefined;
  }

  dispatch(request: EngineRequest, handler: EngineHandler): Abort {
    if (request.shared === true && this.#sharedReads !== undefined)
      return this.#sharedReads.dispatch(request, handler);
    const job: Job = { request, handler, connection: undefined, aborted: false };
    // An upgraded connection does not come back, and its request must not meet a stale one.
    this.#start(job, request.upgrade === '');
    return () => {
      job.aborted = true;
      job.connection?.abort();
    };
  }

  ping(timeout: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = this.dispatch(
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

  async destroy(): Promise<void> {
    this.#isDestroyed = true;
    clearTimeout(this.#sweeper);
    for (const connection of this.#open) connection.destroy(stopping());
  }

  idle(connection: Connection): void {
    this.#idle.push({ connection, since: performance.now() });
    if (this.#sweeper === undefined) this.#scheduleSweep();
  }

  gone(connection: Connection): void {
    this.#open.delete(connection);
    const at = this.#idle.findIndex((entry) => entry.connection === connection);
    if (at !== -1) this.#idle.splice(at, 1);
  }

  failed(job: Job, error: Error, stale: boolean): void {
    // The daemon was restarted while the connection lay idle. INVARIANT: only a request that changes nothing is
    // sent twice, and only when not a byte of an answer came.
    if (stale && !this.#isDestroyed && isRepeatable(job.request)) this.#start(job, false);
    else job.handler.onError(error);
  }

  /** @param mayReuse a kept connection will do. */
  #start(job: Job, mayReuse: boolean): void {
    try {
      if (this.#isDestroyed) throw stopping();
      const reused = mayReuse ? this.#idle.pop()?.connection : undefined;
      (reused ?? this.#connect(job.request.upgrade !== '')).send(job);
    } catch (error) {
      job.connection?.abort();
      job.connection = undefined;
      process.nextTick(() => void (job.aborted || job.handler.onError(error as Error)));
    }
  }

  #connect(isForUpgrade: boolean): Connection {
    const connection = new Connection(this.#dialler, isForUpgrade, this.#connectTimeout, this);
    this.#open.add(connection);
    return connection;
  }

  #scheduleSweep(): void {
    const [oldest] = this.#idle;
    if (oldest === undefined) return;
    const wait = Math.max(1000, oldest.since + KEEP_ALIVE_MS - performance.now());
    this.#sweeper = setTimeout(() => this.#sweep(), wait).unref();
  }

  #sweep(): void {
    this.#sweeper = undefined;
    const old = performance.now() - KEEP_ALIVE_MS;
    // `abort` takes the connection out of the list.
    while (this.#idle[0] !== undefined && this.#idle[0].since <= old) this.#idle[0].connection.abort();
    this.#scheduleSweep();
  }
}

const stopping = (): EngineError => new EngineError('ENGINE_CLOSED', 'the guard is stopping');

function isRepeatable({ method, body }: EngineRequest): boolean {
  return (method === 'GET' || method === 'HEAD') && (body === undefined || typeof body === 'string');
}
