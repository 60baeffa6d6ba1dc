import { Connection, type ConnectionEvents, type Job } from './connection.js';
import type { Dialler } from './engine-address.js';
import { EngineError, type Abort, type EngineHandler, type EngineRequest } from './engine-call.js';

export interface Pool {
  /** Sends one request, on a kept connection or a new one; there is no queue. Never throws. */
  dispatch(request: EngineRequest, handler: EngineHandler): Abort;
  /** Cuts every connection; calls that are on their way fail. */
  destroy(): void;
}

/** Idle connections are kept this long. dockerd itself never closes an idle one. */
const KEEP_ALIVE_MS = 60_000;

/** @param connectTimeout milliseconds. */
export function openPool(dialler: Dialler, connectTimeout: number): Pool {
  return new ConnectionPool(dialler, connectTimeout);
}

class ConnectionPool implements Pool, ConnectionEvents {
  readonly #dialler: Dialler;
  readonly #connectTimeout: number;
  readonly #open = new Set<Connection>();
  /** The one that was used last comes first: what is left over grows old and goes. */
  readonly #idle: { readonly connection: Connection; readonly since: number }[] = [];
  #sweeper: NodeJS.Timeout | undefined;
  #isDestroyed = false;

  constructor(dialler: Dialler, connectTimeout: number) {
    this.#dialler = dialler;
    this.#connectTimeout = connectTimeout;
  }

  dispatch(request: EngineRequest, handler: EngineHandler): Abort {
    const job: Job = { request, handler, connection: undefined, aborted: false };
    // An upgraded connection does not come back, and its request must not meet a stale one.
    this.#start(job, request.upgrade === '');
    return () => {
      job.aborted = true;
      job.connection?.abort();
    };
  }

  destroy(): void {
    this.#isDestroyed = true;
    clearTimeout(this.#sweeper);
    for (const connection of this.#open) connection.destroy(stopping());
  }

  idle(connection: Connection): void {
    this.#idle.push({ connection, since: performance.now() });
    this.#scheduleSweep();
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
    if (this.#sweeper !== undefined || oldest === undefined) return;
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
