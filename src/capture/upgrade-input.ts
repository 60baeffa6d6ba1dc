import { createServer, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex, Readable } from 'node:stream';
import { ignoreErrors } from '../base/socket-errors.js';
import { Refusal } from '../docker/refusal.js';
import { framedBody, type BodyFraming } from './framed-body.js';

/** What follows the head of a request with an `Upgrade` header. */
export interface UpgradeInput {
  /** The body of the request; to be asked for once. */
  body(framing: BodyFraming): Readable;
  /**
   * The bytes of the new protocol, when the body has been read.
   *
   * @param framing `none` when the operation has no body, whatever the request announced.
   */
  rest(framing: BodyFraming): Duplex;
  /** The request was answered: what is left of its body is thrown away. */
  discard(): void;
}

/**
 * Takes over what node's `upgrade` event brings; to be called in the same turn. Node hands over such a request in two
 * ways: before Node 26 all that follows its head is unparsed, since then its body is parsed.
 */
export function takeUpgrade(request: IncomingMessage, stream: Duplex, head: Buffer): UpgradeInput {
  return NODE_PARSES_BODIES ? parsedInput(request, stream, head) : unparsedInput(request.socket, head);
}

/** Body and new protocol follow each other, unparsed: first in `head`, then from the socket. */
function unparsedInput(socket: Socket, head: Buffer): UpgradeInput {
  return {
    body: (framing) => framedBody(socket, head, framing),
    rest(framing) {
      // A body that was read has put the rest back on the socket.
      if (framing.kind === 'none' && head.length > 0) socket.unshift(head);
      return socket;
    },
    discard: ignore,
  };
}

/**
 * The body arrives through the request as that of any other. What follows it is `head`, then `stream`: the socket, or
 * a wrapper of it when the body was not there with the head. (Then an error in its chunks is not reported: the time
 * limit of the body ends it.)
 */
function parsedInput(request: IncomingMessage, stream: Duplex, head: Buffer): UpgradeInput {
  const { socket } = request;
  const body = new Readable({
    read: () => void request.resume(),
    destroy(error, callback) {
      request.off('data', onData);
      callback(error);
    },
  });
  const onData = (piece: Buffer): void => {
    if (!body.push(piece)) request.pause();
  };
  // Node does not report to such a request that its connection has ended.
  const onCut = (): void => {
    if (!request.complete)
      body.destroy(new Refusal(400, 'body-cut', 'the request body ended before it was complete'));
  };
  ignoreErrors(body);
  // At once: the wrapper makes the request flow when the client ends its half, whether there is a reader or not.
  request.on('data', onData).on('end', () => body.push(null));
  socket.on('end', onCut).on('close', onCut);
  return {
    body: () => body,
    rest(framing) {
      if (stream !== socket && framing.kind !== 'none') return stream;
      if (stream !== socket) leaveParser(socket);
      if (head.length > 0) socket.unshift(head);
      return socket;
    },
    discard() {
      body.destroy();
      request.resume();
      if (stream !== socket) stream.resume();
    },
  };
}

/**
 * Some clients announce a chunked body and never start it: they send the bytes of the new protocol, which node would
 * read as chunks.
 */
function leaveParser(socket: Socket): void {
  for (const event of ['data', 'end', 'drain', 'timeout']) socket.removeAllListeners(event);
  // Node's HTTP server reads from below the socket until its data has a listener.
  socket.on('data', ignore).off('data', ignore).pause();
}

const ignore = (): void => {};

const NODE_PARSES_BODIES = probe();

/**
 * Which of the two ways this version of Node has. Determined by a test at start, since the bytes of a request do not distinguish an empty
 * chunked body, which is left out, from a new protocol that begins with such bytes.
 */
function probe(): boolean {
  const head =
    'POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n';
  const body = '0\r\n\r\n';
  let left = -1;
  const server = createServer();
  server.on('upgrade', (_request, _stream, rest: Buffer) => {
    left = rest.length;
  });
  const socket = new Duplex({ read: ignore, write: (_piece, _encoding, done) => done() });
  ignoreErrors(socket);
  server.emit('connection', socket);
  socket.emit('data', Buffer.from(head + body));
  socket.destroy();
  if (left !== 0 && left !== body.length) {
    throw new Error(
      `Node ${process.version} hands over requests with an Upgrade header in a way that Breakwater does not know: use Node 20.20, 22, 24 or 26`,
    );
  }
  return left === 0;
}
