import { readFileSync } from 'node:fs';
import {
  createServer as createHttpServer,
  ServerResponse,
  type IncomingMessage,
  type Server,
} from 'node:http';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { ListenConfig, Limits } from '../config/config.js';
import type { Client } from '../docker/call.js';
import type { Operation } from '../docker/operation.js';
import { Refusal } from '../docker/refusal.js';
import { bind, removeSocket } from './bind.js';
import { nextCallId, type Exchange } from './exchange.js';
import { identifyConnection } from './identify.js';
import { endGently } from './linger.js';

export interface Listener {
  readonly name: string;
  /** The address it is bound to, as a URL (with the real port). */
  readonly url: string;
  /** Stops accepting and closes idle connections. */
  close(): void;
  /** Cuts everything that is still open. */
  destroy(): void;
}

/** What a listener hands over. */
export interface ListenerEvents {
  serve(exchange: Exchange): void;
  /** Something that is not an HTTP request, or came too slowly or too large. `client` is who sent it. */
  unreadable(code: string, message: string, client: Client, target: string): void;
  /** The same of a request that is being read already, and is denied itself for it. */
  broken(code: string): void;
  connections: { open: number; accepted: number; dropped: number };
  warn(message: string): void;
}

/** How often slow requests are looked for (ms). */
const CHECK_INTERVAL = 1_000;

/**
 * Opens one listener. Plain HTTP/1.1 by node:http in its strict mode; TLS with optional client certificates.
 *
 * @throws Error naming the listener when it cannot be bound.
 */
export async function openListener(
  config: ListenConfig,
  limits: Limits,
  events: ListenerEvents,
): Promise<Listener> {
  const url = new URL(config.url);
  const server = createServer(config, limits);
  const sockets = new Set<Socket>();
  const secure = url.protocol === 'tls:';
  server.on(secure ? 'secureConnection' : 'connection', (socket: Socket) => accept(socket));
  if (secure)
    server.on('tlsClientError', () =>
      events.unreadable('tls-handshake', 'TLS handshake failed', nobody(config.name), ''),
    );

  const accept = (socket: Socket): void => {
    // A certificate that was sent but does not verify is not the same as none: somebody claims to be who they are not.
    if (secure && hasBadCertificate(socket as TLSSocket)) {
      events.unreadable(
        'client-certificate',
        'the client certificate does not verify',
        nobody(config.name),
        '',
      );
      socket.destroy();
      return;
    }
    events.connections.open += 1;
    events.connections.accepted += 1;
    sockets.add(socket);
    const client = identifyConnection(config.name, socket);
    const connection: Connection = { client, exchange: undefined, queue: [], broken: false };
    connections.set(socket, connection);
    socket.once('close', () => {
      events.connections.open -= 1;
      sockets.delete(socket);
    });
    // A client that closed its half has no use for a stream any more; any other answer may still be awaited.
    socket.once('end', () => {
      const exchange = connection.exchange;
      if (exchange?.finished !== false || !endsWithInput(exchange.call?.operation)) return;
      exchange.cut?.('client-gone');
      // Nobody else would close it: a half-closed connection is not idle for the HTTP server.
      socket.destroySoon();
    });
  };
  const begin = (request: IncomingMessage, response: ServerResponse, more: Partial<Exchange>): void => {
    const socket = request.socket;
    const connection = connections.get(socket)!;
    // What was parsed before the connection was cut, or follows an answer that closes it, is not served.
    if (socket.destroyed || closes(connection.exchange)) return;
    const exchange: Exchange = {
      id: nextCallId(),
      started: performance.now(),
      request,
      response,
      socket,
      client: connection.client,
      upgradeHead: undefined,
      expectsContinue: false,
      reading: undefined,
      call: undefined,
      share: undefined,
      changeAnswer: undefined,
      held: 0,
      bytesIn: 0,
      bytesOut: 0,
      release: undefined,
      cut: undefined,
      closing: false,
      unreadable: undefined,
      finished: false,
      next: undefined,
      ...more,
    };
    const running = connection.exchange;
    if (running === undefined || running.finished) {
      connection.exchange = exchange;
      events.serve(exchange);
    } else if (connection.queue.length < PIPELINE_LIMIT) {
      // One call at a time for each connection, as dockerd serves them: pipelining must not multiply streams.
      connection.queue.push(exchange);
      running.next = () => serveNext(connection);
    } else {
      events.unreadable('pipeline', 'too many pipelined requests', connection.client, request.url ?? '');
      socket.destroy();
    }
  };
  const serveNext = (connection: Connection): void => {
    const exchange = connection.queue.shift();
    if (exchange === undefined || exchange.socket.destroyed || closes(connection.exchange)) return;
    connection.exchange = exchange;
    if (connection.queue.length > 0) exchange.next = () => serveNext(connection);
    events.serve(exchange);
  };

  server.on('request', (request, response) => begin(request, response, NOTHING));
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) =>
    begin(request, response, { expectsContinue: true }),
  );
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) =>
    begin(request, response, NOTHING),
  );
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    // The HTTP server has let go of the socket: an error on it is ours to catch.
    socket.on('error', () => socket.destroy());
    const connection = connections.get(socket)!;
    if (connection.exchange?.finished === false) {
      // No client does this: the answers of two calls would run into each other.
      events.unreadable(
        'pipeline',
        'an upgrade request behind an unfinished one',
        connection.client,
        request.url ?? '',
      );
      socket.destroy();
      return;
    }
    const start = (): void => {
      const response = new ServerResponse(request);
      response.shouldKeepAlive = false;
      response.assignSocket(socket);
      // An ordinary answer on a connection that the HTTP server does not watch any more. What follows the request
      // is never read as another one.
      response.once('finish', () => endGently(socket));
      begin(request, response, { upgradeHead: head, expectsContinue: request.headers.expect !== undefined });
    };
    // The last bytes of the answer before may still be on their way to the kernel.
    const previous = (socket as { _httpMessage?: ServerResponse | null })._httpMessage;
    if (previous == null) start();
    else previous.once('finish', start);
  });
  // CONNECT would make the guard an open proxy; node hands it over as a raw socket.
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    events.unreadable(
      'method',
      'CONNECT is not an operation',
      connections.get(socket)!.client,
      request.url ?? '',
    );
    socket.end(answer(405, 'CONNECT is not part of the Docker API'));
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    const connection = connections.get(socket);
    // The parser fails again with every further piece of the same input: once is enough for the record.
    if (connection?.broken === true) return;
    if (connection !== undefined) connection.broken = true;
    const [status, code, message] = CLIENT_ERRORS[error.code ?? ''] ?? BAD_REQUEST;
    const reason = `${message} (${error.code ?? error.message})`;
    const exchange = connection?.exchange;
    const running = exchange?.finished === false;
    const unjudged = running && exchange.call === undefined && !exchange.response.headersSent;
    // The rest of a request that was refused before it was whole is on record already, and answered.
    const refused = exchange?.finished === true && !exchange.request.complete;
    if (error.code !== 'ECONNRESET' && connection !== undefined && !refused) {
      if (unjudged) {
        events.broken(code);
        exchange.unreadable ??= new Refusal(status, code, reason);
      } else {
        events.unreadable(code, reason, connection.client, '');
      }
    }
    if (socket.writable && !refused && (!running || unjudged)) socket.end(answer(status, reason));
    // An answer in progress is cut rather than mixed with an error text.
    if (running) exchange.cut?.('client-gone');
    socket.destroySoon();
  });
  server.on('drop', () => {
    events.connections.dropped += 1;
  });

  const bound = await bind(server, config, url, (message) => events.warn(message));
  return {
    name: config.name,
    url: bound,
    close() {
      server.close();
      server.closeIdleConnections();
      if (url.protocol === 'unix:') removeSocket(url.pathname);
    },
    destroy() {
      for (const socket of sockets) {
        connections.get(socket)?.exchange?.cut?.('shutdown');
        socket.destroy();
      }
    },
  };
}

const NOTHING = {};

interface Connection {
  readonly client: Client;
  exchange: Exchange | undefined;
  /** Pipelined requests that wait for their turn. */
  readonly queue: Exchange[];
  /** The HTTP parser has given it up. */
  broken: boolean;
}

/**
 * Does dockerd end this operation when the client closes its half? It does for logs, events, stats, wait, builds and
 * pulls. What changes things and may take long (create, start, stop, delete, prune) it carries out and answers.
 */
function endsWithInput(operation: Operation | undefined): boolean {
  return operation?.response === 'stream' && (!operation.writes || operation.body.kind === 'stream');
}

/** Did its answer say that the connection closes? Node says so too, when a client was not told to continue. */
function closes(exchange: Exchange | undefined): boolean {
  if (exchange === undefined) return false;
  return exchange.closing || (exchange.response.headersSent && !exchange.response.shouldKeepAlive);
}

/** Most pipelined requests that may wait on one connection. */
const PIPELINE_LIMIT = 64;

function hasBadCertificate(socket: TLSSocket): boolean {
  const certificate = socket.getPeerCertificate();
  return !socket.authorized && certificate !== null && Object.keys(certificate).length > 0;
}

const connections = new WeakMap<Socket, Connection>();

const nobody = (listener: string): Client => ({
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
    highWaterMark: 64 * 1024,
  };
  const tls = config.tls;
  const server: Server =
    tls === undefined
      ? createHttpServer(options)
      : // Loaded here: TLS takes some megabytes, and a guard on a socket does without.
        process.getBuiltinModule('node:https').createServer({
          ...options,
          cert: readFileSync(tls.cert),
          key: readFileSync(tls.key),
          minVersion: 'TLSv1.2',
          handshakeTimeout: limits.headersTimeout,
          ...(tls.clientCa !== undefined && {
            ca: readFileSync(tls.clientCa),
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
