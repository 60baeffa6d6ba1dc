import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { Pool, type Dispatcher } from 'undici';

/** Where the engine is and how long to wait for it. Times in milliseconds. */
export interface EngineOptions {
  /** `unix:///PATH`, `tcp://HOST:PORT` or `tls://HOST:PORT`. */
  readonly url: string;
  readonly tls?: {
    readonly ca?: string;
    readonly cert?: string;
    readonly key?: string;
    readonly serverName?: string;
  };
  /** Longest wait for the connection itself. */
  readonly connectTimeout: number;
}

/** What one request towards the engine is made of: rendered from a `Call`, nothing else. */
export interface EngineRequest {
  readonly method: string;
  readonly target: string;
  /** Flat list of names and values. Framing headers are written by this room. */
  readonly headers: string[];
  /** A buffer is sent with its length; a stream with `length` when it is known, else chunked. */
  readonly body: Uint8Array | Readable | undefined;
  readonly length?: number | undefined;
  /** Protocol to upgrade to (`tcp`, `h2c`, `websocket`), or `""`. */
  readonly upgrade: string;
  /** Longest wait for the response head, and between two pieces of a body; 0 waits for ever (streams). */
  readonly timeout: number;
}

/** undici's raw handler: header names and values as the bytes that came, no object made of them. */
export type EngineHandler = Dispatcher.DispatchHandler;

export interface Engine {
  /** Sends one request. The handler sees exactly one of: complete, error, upgrade. Never throws. */
  dispatch(request: EngineRequest, handler: EngineHandler): void;
  /** A real `HEAD /_ping` within `timeout` milliseconds; rejects with a readable reason. */
  ping(timeout: number): Promise<void>;
  /** Cuts every connection. */
  destroy(): Promise<void>;
}

/** Idle upstream connections are kept this long (ms). dockerd itself never closes an idle one. */
const KEEP_ALIVE = 60_000;

/**
 * Opens the pool of kept connections to the engine. One connection is used for one call at a time; streams and
 * hijacked calls hold theirs for as long as they last.
 *
 * @throws Error when the URL or a TLS file cannot be used.
 */
export function openEngine(options: EngineOptions): Engine {
  const url = new URL(options.url);
  // Half-close must pass in both directions: `echo x | docker run -i` ends stdin and still reads the output.
  const connect = { timeout: options.connectTimeout, allowHalfOpen: true };
  const pool = openPool(url, connect, options);
  return {
    dispatch(request, handler) {
      const headers = request.headers;
      if (request.length !== undefined) headers.push('content-length', String(request.length));
      try {
        pool.dispatch(
          {
            method: request.method as Dispatcher.HttpMethod,
            path: request.target,
            headers,
            body: (request.body as Buffer | Readable | undefined) ?? null,
            upgrade: request.upgrade === '' ? null : request.upgrade,
            headersTimeout: request.timeout,
            bodyTimeout: request.timeout,
          },
          handler,
        );
      } catch (error) {
        // A request that the client library itself refuses must end like any other failure.
        handler.onError?.(error as Error);
      }
    },
    async ping(timeout) {
      const { statusCode, body } = await pool.request({
        method: 'GET',
        path: '/_ping',
        headers: ['host', 'docker'],
        headersTimeout: timeout,
        bodyTimeout: timeout,
        signal: AbortSignal.timeout(timeout),
      });
      await body.dump();
      if (statusCode !== 200) throw new Error(`the engine answered /_ping with status ${statusCode}`);
    },
    destroy: () => pool.destroy(),
  };
}

function openPool(url: URL, connect: object, options: EngineOptions): Pool {
  const common = {
    connections: null,
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE,
    keepAliveMaxTimeout: KEEP_ALIVE,
    maxHeaderSize: 64 * 1024,
    allowH2: false,
  };
  const port = url.port === '' ? (url.protocol === 'tls:' ? '2376' : '2375') : url.port;
  switch (url.protocol) {
    case 'unix:':
      return new Pool('http://docker', {
        ...common,
        connect: { ...connect, socketPath: decodeURIComponent(url.pathname) },
      });
    case 'tcp:':
      return new Pool(`http://${url.hostname}:${port}`, { ...common, connect });
    case 'tls:': {
      const { ca, cert, key, serverName } = options.tls ?? {};
      return new Pool(`https://${url.hostname}:${port}`, {
        ...common,
        connect: {
          ...connect,
          ...(ca !== undefined && { ca: readFileSync(ca) }),
          ...(cert !== undefined && { cert: readFileSync(cert) }),
          ...(key !== undefined && { key: readFileSync(key) }),
          ...(serverName !== undefined && { servername: serverName }),
        },
      });
    }
    default:
      throw new Error(`upstream ${options.url}: the scheme must be unix, tcp or tls`);
  }
}
