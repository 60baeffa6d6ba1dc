import {
  createServer as createHttpServer,
  ServerResponse,
  type IncomingMessage,
  type Server,
} from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { ignoreErrors, ignoreSocketErrors } from '../base/socket-errors.js';
import { takeUpgrade } from '../capture/upgrade-input.js';
import type { ListenConfig, Limits } from '../config/config.js';
import type { Client } from '../docker/call.js';
import { Refusal } from '../docker/refusal.js';
import { readNamedFile } from '../store/named-files.js';
import type { Guard } from './guard.js';
import { identifyConnection } from './identify.js';
import { nextCallId, PlainBody, UpgradedBody, type IncomingBody } from './incoming.js';
import { closeEnded, endGently } from '../capture/linger.js';
import { HijackReply } from './hijack-reply.js';
import { HttpReply } from './http-reply.js';
import { handle } from './pipeline.js';
import { recordInput } from './recorder.js';

export interface Listener {
  readonly name: string;
  /** The address it is bound to, as a URL (with the real port). */
  readonly url: string;
  /** A client has not taken all yet that was written for it. */
  readonly isWriting: boolean;
  /** Stops accepting and closes idle connections. */
  close(): void;
  /** Cuts everything that is still open. */
  destroy(): void;
}

/** Binds a server to the address of its listener. Resolves with the URL it is bound to; rejects with an Error that names it. */
export type Bind = (
  server: Server,
  config: ListenConfig,
  url: URL,
  warn: (message: string) => void,
) => Promise<string>;

/** A client that vanished without a word is noticed some time after this long (ms) of silence. */
const KEEP_ALIVE_DELAY_MS = 30_000;
/** How often slow requests are looked for (ms). */
const CHECK_INTERVAL = 1_000;

/**
 * Opens one listener. Plain HTTP/1.1 by node:http in its strict mode; TLS with optional client certificates.
 *
 * @throws Error naming the listener when it cannot be bound.
 */
export async function openListener(config: ListenConfig, guard: Guard, bind: Bind): Promise<Listener> {
  const { limits } = guard.config;
  const url = new URL(config.url);
  const server = ignoreSocketErrors(createServer(config, limits));
  const listener = new HttpListener(config.name, url.protocol === 'tls:', guard);
  listener.serve(server);
  const closer = closeEnded(listener.sockets, limits.idle);
  server.once('close', () => clearInterval(closer));
  const bound = await bind(server, config, url, (message) => guard.log.warn(message)).catch(
    (error: Error) => {
      clearInterval(closer);
      throw error;
    },
  );
  return {
    name: config.name,
    url: bound,
    get isWriting() {
      for (const socket of listener.sockets) if (socket.writableLength > 0 && !socket.destroyed) return true;
      return false;
    },
    close() {
      server.close();
      server.closeIdleConnections();
    },
    destroy: () => listener.destroy(),
  };
}

/** Makes calls of what clients send on the connections of one listener. */
class HttpListener {
  readonly sockets = new Set<Socket>();
  readonly #name: string;
  readonly #isSecure: boolean;
  readonly #guard: Guard;
  readonly #connections = new WeakMap<Socket, Connection>();

  constructor(name: string, isSecure: boolean, guard: Guard) {
    this.#name = name;
    this.#isSecure = isSecure;
    this.#guard = guard;
  }

  serve(server: Server): void {
    server.on(this.#isSecure ? 'secureConnection' : 'connection', (socket: Socket) => this.#accept(socket));
    server.on('tlsClientError', () => this.#refuseUnknown('tls-handshake', 'TLS handshake failed'));
    server.on('request', this.#onRequest);
    server.on('checkExpectation', this.#onRequest);
    server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) =>
      this.#onRequest(request, response, true),
    );
    server.on('upgrade', (request: IncomingMessage, stream: Duplex, head: Buffer) =>
      this.#onUpgrade(request, stream, head),
    );
    server.on('connect', (request: IncomingMessage) => this.#onConnect(request));
    server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) =>
      this.#onParseError(error, socket),
    );
    server.on('drop', () => {
      this.#guard.metrics.connections.dropped += 1;
    });
  }

  /** Cuts everything that is still open. */
  destroy(): void {
    for (const socket of this.sockets) {
      this.#connections.get(socket)?.reply?.interrupt('shutdown');
      socket.destroy();
    }
  }

  #accept(socket: Socket): void {
    // A certificate that was sent but does not verify is not the same as none: it claims an identity.
    if (this.#isSecure && hasBadCertificate(socket as TLSSocket)) {
      this.#refuseUnknown('client-certificate', 'the client certificate does not verify');
      socket.destroy();
      return;
    }
    const { connections } = this.#guard.metrics;
    connections.open += 1;
    connections.accepted += 1;
    this.sockets.add(socket);
    const client = identifyConnection(this.#name, socket);
    const connection: Connection = {
      ...{ client, request: undefined, reply: undefined, isBusy: false, queue: [], broken: false },
    };
    this.#connections.set(socket, connection);
    socket.once('close', () => {
      connections.open -= 1;
      this.sockets.delete(socket);
    });
    // A client that closed its half has no use for a stream any more; any other answer may still be awaited.
    socket.once('end', () => {
      if (connection.isBusy) connection.reply?.endInput();
    });
  }

  readonly #onRequest = (
    request: IncomingMessage,
    response: ServerResponse,
    expectsContinue: boolean = false,
  ): void =>
    void this.#serve({
      request,
      body: new PlainBody(request, response, expectsContinue),
      reply: new HttpReply(request, response, expectsContinue),
    });

  /** One call at a time for each connection, as dockerd serves them: pipelining must not multiply streams. */
  async #serve(arrived: Arrived): Promise<void> {
    const { socket } = arrived.request;
    const connection = this.#connections.get(socket);
    // What was parsed before the connection was cut, or follows an answer that closes it, is not served.
    if (connection === undefined || socket.destroyed || connection.reply?.closes === true) return;
    if (connection.isBusy) {
      if (mayStopReading(arrived.request))
        this.#cutOff(arrived.request, connection, 'a large body behind an unfinished request');
      else if (connection.queue.length < MAX_PIPELINED) connection.queue.push(arrived);
      else this.#cutOff(arrived.request, connection, 'too many pipelined requests');
      return;
    }
    connection.isBusy = true;
    for (let next: Arrived | undefined = arrived; next !== undefined; next = connection.queue.shift()) {
      if (socket.destroyed || connection.reply?.closes === true) break;
      const { request, body, reply } = next;
      connection.request = request;
      connection.reply = reply;
      await handle(this.#guard, {
        id: nextCallId(),
        started: performance.now(),
        client: connection.client,
        head: {
          method: request.method ?? '',
          target: request.url ?? '',
          rawHeaders: request.rawHeaders,
          httpVersion: request.httpVersion,
        },
        body,
        reply,
      });
    }
    connection.isBusy = false;
  }

  #onUpgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    ignoreErrors(stream);
    const { socket } = request;
    const upgrade = takeUpgrade(request, stream, head);
    const connection = this.#connections.get(socket)!;
    if (connection.isBusy) {
      // No client does this: the answers of two calls would run into each other.
      this.#cutOff(request, connection, 'an upgrade request behind an unfinished one');
      return;
    }
    const start = (): void => {
      const response = new ServerResponse(request);
      response.shouldKeepAlive = false;
      response.assignSocket(socket);
      // An ordinary answer on a connection that the HTTP server does not watch any more. What follows the request
      // is never read as another one.
      response.once('finish', () => {
        endGently(socket);
        upgrade.discard();
      });
      const expectsContinue = request.headers.expect !== undefined;
      void this.#serve({
        request,
        body: new UpgradedBody(upgrade, response, expectsContinue),
        reply: new HijackReply(request, response, expectsContinue, upgrade),
      });
    };
    // The last bytes of the answer before may still be on their way to the kernel.
    const previous = (socket as { _httpMessage?: ServerResponse | null })._httpMessage;
    if (previous == null) start();
    else previous.once('finish', start);
  }

  /** CONNECT would make the guard an open proxy; node hands it over as a raw socket. */
  #onConnect(request: IncomingMessage): void {
    const { socket, url = '' } = request;
    const connection = this.#connections.get(socket)!;
    recordInput(this.#guard, 'method', 'CONNECT is not an operation', connection.client, url);
    if (connection.isBusy) {
      // Behind a request that is still running: its answer is cut rather than mixed with this one.
      socket.destroy();
      return;
    }
    socket.write(answer(405, 'CONNECT is not part of the Docker API'));
    endGently(socket);
  }

  #onParseError(error: NodeJS.ErrnoException, socket: Socket): void {
    const connection = this.#connections.get(socket);
    // The parser fails again with every further piece of the same input: once is enough for the record.
    if (connection?.broken === true) return;
    if (connection !== undefined) connection.broken = true;
    const [status, code, message] = CLIENT_ERRORS[error.code ?? ''] ?? BAD_REQUEST;
    const reason = `${message} (${error.code ?? error.message})`;
    const isBusy = connection?.isBusy === true;
    const { request, reply } = connection ?? {};
    const isReading = isBusy && reply?.isDecided === false && !reply.hasBegun;
    // The rest of a request that was refused before it was whole is on record already, and answered.
    const isRefused = !isBusy && request?.complete === false;
    // A client that leaves (EPIPE on writing, a reset) has sent nothing that could not be read.
    const isGone = error.syscall !== undefined || error.code === 'ECONNRESET';
    if (!isGone && connection !== undefined && !isRefused) {
      if (isReading) {
        this.#guard.metrics.clientError(code);
        reply.unreadable ??= new Refusal(status, code, reason);
      } else {
        recordInput(this.#guard, code, reason, connection.client, '');
      }
    }
    if (socket.writable && !isRefused && (!isBusy || isReading)) socket.end(answer(status, reason));
    // An answer in progress is cut rather than mixed with an error text.
    if (isBusy) reply?.interrupt('client-gone');
    socket.destroySoon();
  }

  /** A request that comes where none may come: the connection ends, the reason is on record. */
  #cutOff({ socket, url = '' }: IncomingMessage, { client }: Connection, reason: string): void {
    recordInput(this.#guard, 'pipeline', reason, client, url);
    socket.destroy();
  }

  /** A connection that ends before it is known who is at its other end. */
  #refuseUnknown(code: string, reason: string): void {
    recordInput(this.#guard, code, reason, unknownClient(this.#name), '');
  }
}

/** A request as node hands it over. */
interface Arrived {
  readonly request: IncomingMessage;
  readonly body: IncomingBody;
  readonly reply: HttpReply;
}

interface Connection {
  readonly client: Client;
  /** The request that is served, or was served last, and its answer. */
  request: IncomingMessage | undefined;
  reply: HttpReply | undefined;
  /** A call of this connection is on its way. */
  isBusy: boolean;
  /** Pipelined requests that wait for their turn. */
  readonly queue: Arrived[];
  /** The HTTP parser has given it up. */
  broken: boolean;
}

/** Most pipelined requests that may wait on one connection. */
const MAX_PIPELINED = 64;
/** Bytes of a body that are read before anything asks for them. */
const READ_AHEAD = 64 * 1024;

/**
 * A body that waits, and is larger than what is read ahead, stops the reading of its connection. Nobody would see then that
 * the client has left, and a silent stream before it would never end.
 */
const mayStopReading = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) >= READ_AHEAD;

function hasBadCertificate(socket: TLSSocket): boolean {
  const certificate = socket.getPeerCertificate();
  return !socket.authorized && certificate !== null && Object.keys(certificate).length > 0;
}

const unknownClient = (listener: string): Client => ({
  listener,
  address: '',
  port: 0,
  certificate: [],
  tokenSha256: '',
});

const BAD_REQUEST = [400, 'http-parse', 'the request is not valid HTTP/1.1'] as const;

const CLIENT_ERRORS: Readonly<Record<string, readonly [number, string, string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'header-too-large', 'the request head is too large (limits.headers)'],
  ERR_HTTP_REQUEST_TIMEOUT: [
    408,
    'head-timeout',
    'the request head did not arrive in time (limits.headersTimeout)',
  ],
  HPE_INVALID_EOF_STATE: [400, 'cut-short', 'the connection ended before the request was whole'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'chunk-extensions', 'the chunk extensions are too large'],
};

function answer(status: number, message: string): string {
  const body = JSON.stringify({ message: `breakwater: ${message}` });
  return (
    `HTTP/1.1 ${status} Refused\r\nContent-Type: application/json\r\nConnection: close\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  );
}

function createServer(config: ListenConfig, limits: Limits): Server {
  const options = {
    insecureHTTPParser: false,
    // The reader refuses a missing Host itself, with a reason.
    requireHostHeader: false,
    maxHeaderSize: limits.headers,
    headersTimeout: limits.headersTimeout,
    // Uploads may take hours; bodies have their own limits (capture).
    requestTimeout: 0,
    keepAliveTimeout: limits.idle,
    connectionsCheckingInterval: CHECK_INTERVAL,
    noDelay: true,
    // The HTTP server asks for it by itself, the HTTPS server does not: the end of stdin would end the output as well.
    allowHalfOpen: true,
    highWaterMark: READ_AHEAD,
    // A peer that vanished says nothing: without it a stream to it would stay for ever.
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
  };
  const tls = config.tls;
  const server: Server =
    tls === undefined
      ? createHttpServer(options)
      : // Loaded here: TLS takes some megabytes, and a guard on a socket does without.
        process.getBuiltinModule('node:https').createServer({
          ...options,
          ...readTlsFiles(config.name, tls),
          minVersion: 'TLSv1.2',
          handshakeTimeout: limits.headersTimeout,
          ...(tls.clientCa !== undefined && {
            requestCert: true,
            rejectUnauthorized: tls.clientAuth !== 'optional',
          }),
        });
  server.maxConnections = limits.connections;
  // Node leaves out what is beyond 2,000 headers by default, but its parser has acted on it: a Content-Type or a
  // second Host could hide there. The size of the head is limited instead.
  server.maxHeadersCount = 0;
  // Half-closed requests get their answer, as dockerd gives it; streams are ended by `accept` above.
  (server as unknown as { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;
  return server;
}

/** @throws Error naming the listener, and the key and the file that cannot be used. */
function readTlsFiles(
  listener: string,
  { cert, key, clientCa }: NonNullable<ListenConfig['tls']>,
): Record<'cert' | 'key' | 'ca', Buffer | undefined> {
  const { createSecureContext } = process.getBuiltinModule('node:tls');
  const usable = (what: string, use: () => unknown): void => {
    try {
      use();
    } catch (error) {
      throw new Error(`listener ${listener}: ${what} cannot be used: ${(error as Error).message}`, {
        cause: error,
      });
    }
  };
  const read = (name: string, option: 'cert' | 'key' | 'ca', file: string): Buffer => {
    const bytes = readNamedFile(`listener ${listener}: tls.${name}`, file);
    usable(`tls.${name}, ${file},`, () => createSecureContext({ [option]: bytes }));
    return bytes;
  };
  const files = {
    cert: read('cert', 'cert', cert),
    key: read('key', 'key', key),
    ca: clientCa === undefined ? undefined : read('clientCa', 'ca', clientCa),
  };
  usable('tls.cert with tls.key', () => createSecureContext(files));
  return files;
}
