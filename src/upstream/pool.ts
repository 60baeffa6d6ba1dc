import { openConnection, type Connection, type Job } from './connection.js';
import type { Dialler } from './engine-address.js';
import { EngineError, type Abort, type EngineHandler, type EngineRequest } from './engine-call.js';

export interface Pool {
  /** Sends one request, on a kept connection or a new one; there is no queue. Never throws. */
  dispatch(request: EngineRequest, handler: EngineHandler): Abort;
  /** Cuts every connection; calls that are on their way fail. */
  destroy(): void;
}

/** Idle connections are kept this long (ms). dockerd itself never closes an idle one. */
const KEEP_ALIVE = 60_000;

/** @param connectTimeout milliseconds. */
export function openPool(dialler: Dialler, connectTimeout: number): Pool {
  const open = new Set<Connection>();
  /** The one that was used last comes first: what is left over grows old and goes. */
  const idle: { readonly connection: Connection; readonly since: number }[] = [];
  let sweeper: NodeJS.Timeout | undefined;
  let destroyed = false;

  const sweep = (): void => {
    sweeper = undefined;
    const old = performance.now() - KEEP_ALIVE;
    // `abort` takes the connection out of the list.
    while (idle[0] !== undefined && idle[0].since <= old) idle[0].connection.abort();
    scheduleSweep();
  };
  const scheduleSweep = (): void => {
    if (sweeper !== undefined || idle.length === 0) return;
    sweeper = setTimeout(sweep, Math.max(1000, idle[0]!.since + KEEP_ALIVE - performance.now())).unref();
  };

  const events = {
    idle(connection: Connection) {
      idle.push({ connection, since: performance.now() });
      scheduleSweep();
    },
    gone(connection: Connection) {
      open.delete(connection);
      const at = idle.findIndex((entry) => entry.connection === connection);
      if (at !== -1) idle.splice(at, 1);
    },
    failed(job: Job, error: Error, stale: boolean) {
      // The daemon was restarted while the connection lay idle. INVARIANT: only a request that changes nothing is
      // sent twice, and only when not a byte of an answer came.
      if (stale && !destroyed && isRepeatable(job.request)) start(job, false);
      else job.handler.onError(error);
    },
  };

  /** @param kept may a kept connection be used? */
  const start = (job: Job, kept: boolean): void => {
    try {
      if (destroyed) throw stopping();
      const connection = (kept ? idle.pop()?.connection : undefined) ?? connect(job.request.upgrade !== '');
      connection.send(job);
    } catch (error) {
      job.connection?.abort();
      job.connection = undefined;
      process.nextTick(() => void (job.aborted || job.handler.onError(error as Error)));
    }
  };

  const connect = (forUpgrade: boolean): Connection => {
    const connection = openConnection(dialler, forUpgrade, connectTimeout, events);
    open.add(connection);
    return connection;
  };

  return {
    dispatch(request, handler) {
      const job: Job = { request, handler, connection: undefined, aborted: false };
      // An upgraded connection does not come back, and its request must not meet a stale one.
      start(job, request.upgrade === '');
      return () => {
        job.aborted = true;
        job.connection?.abort();
      };
    },
    destroy() {
      destroyed = true;
      clearTimeout(sweeper);
      for (const connection of open) connection.destroy(stopping());
    },
  };
}

const stopping = (): EngineError => new EngineError('ENGINE_CLOSED', 'the guard is stopping');

function isRepeatable({ method, body }: EngineRequest): boolean {
  return (method === 'GET' || method === 'HEAD') && (body === undefined || typeof body === 'string');
}
