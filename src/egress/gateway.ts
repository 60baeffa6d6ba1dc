import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, isIP, type Socket } from 'node:net';
import { parseAddress } from '../base/address.js';
import { isWithin, type Network } from '../base/network.js';
import type { Duplex } from 'node:stream';
import { ignoreErrors, ignoreSocketErrors } from '../base/socket-errors.js';
import { MAX_HELLO_BYTES, readHello } from './client-hello.js';
import { Forwarder, IDLE_TIMEOUT_MS } from './gateway-forward.js';
import { readTarget, type TargetDecider, type Target, type Decision } from './gateway-target.js';

/** An HTTP proxy for builds: plain HTTP and CONNECT. */
export interface Gateway {
  close(): Promise<void>;
}

export interface GatewayOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** Others are not served. */
  readonly clients: readonly Network[];
  readonly decider: TargetDecider;
}

const MAX_CONNECTIONS = 1_024;
const CONNECT_TIMEOUT_MS = 10_000;
/** For the whole ClientHello. */
const HELLO_TIMEOUT_MS = 10_000;
/** Time for a client to close a connection that was refused. */
const CLOSE_TIMEOUT_MS = 10_000;
/**
 * Requests are written anew from what was read, to an address that was checked: a name is resolved once, so that a
 * second answer of a hostile server leads nowhere else.
 *
 * @throws Error when the address cannot be listened on.
 */
export async function listenGateway({ listen, clients, decider }: GatewayOptions): Promise<Gateway> {
  const server = ignoreSocketErrors(
    createServer({ insecureHTTPParser: false, requestTimeout: 0, headersTimeout: 15_000 }),
  );
  server.maxConnections = MAX_CONNECTIONS;
  const tunnels = new Set<Socket>();
  server.on('connection', (socket) => {
    const client = parseAddress(clientOf(socket));
    if (client === undefined || !isWithin(client, clients)) socket.destroy();
  });
  const forwarder = new Forwarder();
  server.on('request', (request, response) => void forward(request, response, decider, forwarder));
  server.on('connect', (request: IncomingMessage, client: Socket, head: Buffer) => {
    tunnels.add(client);
    client.once('close', () => tunnels.delete(client));
    void tunnel(request, client, head, decider);
  });
  // Node hands over requests with `Upgrade`, body and all; there is no need for one in a build.
  server.on('upgrade', (_request, client) => {
    ignoreErrors(client);
    turnAway(client, 501, 'upgrades are not forwarded');
  });
  server.on('clientError', (_error, client) => {
    if (client.writable) client.end(head(400, 'that is no HTTP request'));
    else client.destroy();
  });
  server.listen(listen.port, listen.host);
  await once(server, 'listening');
  server.on('error', () => undefined);
  return {
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      for (const client of tunnels) client.destroy();
      await closed;
    },
  };
}

/** Answers on a connection that the HTTP server has handed over, and closes it; what the client still sends is not read. */
function turnAway(client: Duplex, status: number, reason: string): void {
  const timer = setTimeout(() => client.destroy(), CLOSE_TIMEOUT_MS);
  client.once('close', () => clearTimeout(timer));
  client.end(head(status, reason));
  client.resume();
}

function clientOf(socket: Socket): string {
  return (socket.remoteAddress ?? '').replace(/^::ffff:/, '');
}

async function forward(
  request: IncomingMessage,
  response: ServerResponse,
  decider: TargetDecider,
  forwarder: Forwarder,
): Promise<void> {
  const refuse = (status: number, reason: string): void => {
    response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' });
    response.end(`breakwater: ${reason}\n`);
    request.resume();
  };
  const target = readTarget(request.method ?? '', request.url ?? '');
  if (typeof target === 'string') return refuse(400, target);
  // Node would remove codings other than chunked without reporting them.
  const coding = request.headers['transfer-encoding'];
  if (coding !== undefined && coding.toLowerCase() !== 'chunked')
    return refuse(400, 'only chunked bodies are forwarded');
  const decision = await decide(decider, clientOf(request.socket), target);
  if (!decision.ok) return refuse(decision.status, decision.reason);
  if (response.destroyed) return undefined;
  const failed = (error: Error): void => {
    if (response.headersSent) response.destroy();
    else refuse(502, `${target.host}: ${error.message}`);
  };
  try {
    forwarder.send(request, response, target, decision.address, failed);
  } catch (error) {
    failed(error as Error);
  }
  return undefined;
}

async function tunnel(
  request: IncomingMessage,
  client: Socket,
  first: Buffer,
  decider: TargetDecider,
): Promise<void> {
  const refuse = (status: number, reason: string): void => turnAway(client, status, reason);
  const target = readTarget('CONNECT', request.url ?? '');
  if (typeof target === 'string') return refuse(400, target);
  const source = clientOf(client);
  const decision = await decide(decider, source, target);
  if (!decision.ok) return refuse(decision.status, decision.reason);
  let upstream: Socket;
  try {
    upstream = await open(decision.address, target.port);
  } catch (error) {
    return refuse(502, `${target.host}: ${(error as Error).message}`);
  }
  upstream.on('error', () => client.destroy());
  client.on('close', () => upstream.destroy());
  upstream.on('close', () => client.destroySoon());
  if (client.destroyed) return void upstream.destroy();
  client.write('HTTP/1.1 200 Connection established\r\n\r\n');
  const hello = await readFirst(client, first);
  // INVARIANT: not a byte goes to the other side before the server name is checked.
  if (hello === undefined) return void client.destroy();
  const name = hello.name === undefined ? target.host : hello.name;
  const missing = hello.name === undefined && isIP(target.host) === 0;
  if (missing || name !== target.host || !decider.allowsServerName(source, target, name)) {
    if (missing || name !== target.host) decider.onMismatch(source, target, hello.name ?? '');
    client.destroy();
    return undefined;
  }
  upstream.write(hello.bytes);
  for (const socket of [client, upstream]) socket.setTimeout(IDLE_TIMEOUT_MS, () => socket.destroy());
  client.pipe(upstream);
  upstream.pipe(client);
  return undefined;
}

/** An error in the decision is a denial. */
async function decide(decider: TargetDecider, source: string, target: Target): Promise<Decision> {
  try {
    return await decider.decide(source, target);
  } catch (error) {
    return { ok: false, status: 502, reason: `${target.host}: ${(error as Error).message}` };
  }
}

function open(host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true });
    ignoreErrors(socket);
    const timer = setTimeout(() => socket.destroy(new Error('connecting took too long')), CONNECT_TIMEOUT_MS);
    const fail = (error: Error): void => {
      clearTimeout(timer);
      reject(error);
    };
    socket.once('error', fail);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', fail);
      resolve(socket);
    });
  });
}

/** The bytes up to the end of the ClientHello; undefined for anything else, and after too long a time. */
function readFirst(
  client: Socket,
  first: Buffer,
): Promise<{ readonly bytes: Buffer; readonly name: string | undefined } | undefined> {
  return new Promise((resolve) => {
    let bytes = first;
    const finish = (result: { bytes: Buffer; name: string | undefined } | undefined): void => {
      clearTimeout(timer);
      client.off('data', onData).off('close', onClose);
      client.pause();
      resolve(result);
    };
    const look = (): boolean => {
      const hello = bytes.length === 0 ? ({ state: 'partial' } as const) : readHello(bytes);
      if (hello.state === 'complete') finish({ bytes, name: hello.name });
      else if (hello.state === 'bad' || bytes.length > 2 * MAX_HELLO_BYTES) finish(undefined);
      else return false;
      return true;
    };
    const onData = (piece: Buffer): void => {
      bytes = Buffer.concat([bytes, piece]);
      look();
    };
    const onClose = (): void => finish(undefined);
    const timer = setTimeout(() => finish(undefined), HELLO_TIMEOUT_MS);
    if (look()) return;
    client.on('data', onData).on('close', onClose);
  });
}

const STATUS: Readonly<{ [code: number]: string }> = {
  400: 'Bad Request',
  403: 'Forbidden',
  501: 'Not Implemented',
  502: 'Bad Gateway',
};

function head(status: number, reason: string): string {
  const body = `breakwater: ${reason.replace(/[^\x20-\x7e]/g, '?')}\n`;
  return (
    `HTTP/1.1 ${status} ${STATUS[status]}\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n` +
    `Connection: close\r\n\r\n${body}`
  );
}
