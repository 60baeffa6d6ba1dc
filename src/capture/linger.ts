import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

/** How long a client may go on sending a body that is not read any more (milliseconds). */
export const LINGER_TIMEOUT_MS = 30_000;

/**
 * Ends our half of a connection and throws away what still comes, until the client has ended too. Closing at once
 * would reset the connection under the answer, and the client would see "connection reset" instead of it.
 */
export function endGently(socket: Socket): void {
  if (socket.destroyed) return;
  if (socket.readableEnded) {
    socket.destroySoon();
    return;
  }
  const timer = setTimeout(() => socket.destroy(), LINGER_TIMEOUT_MS);
  socket.once('close', () => clearTimeout(timer));
  socket.once('end', () => socket.destroySoon());
  socket.end();
  // An earlier reader of the body would stop the flow, and the end would never arrive.
  socket.removeAllListeners('data');
  socket.resume();
}

/**
 * Reads the rest of a body that nobody wants and throws it away, so that another request can follow it. A client that takes
 * too long loses its connection.
 */
export function discardRest(request: IncomingMessage): void {
  const { socket } = request;
  const timer = setTimeout(() => socket.destroy(), LINGER_TIMEOUT_MS);
  const done = (): void => {
    clearTimeout(timer);
    socket.off('close', done);
  };
  socket.once('close', done);
  request.resume();
  request.once('end', done);
}

/**
 * Closes connections that both sides have ended and that take nothing of what is left for the client. Node loses the
 * end of some TLS connections that are reset right behind the client's own end; they would count for ever.
 *
 * @param interval milliseconds; a connection is closed after one to two of them
 */
export function closeEnded(sockets: ReadonlySet<Socket>, interval: number): NodeJS.Timeout {
  let waiting = new Map<Socket, number>();
  const check = (): void => {
    const before = waiting;
    waiting = new Map();
    for (const socket of sockets) {
      if (!socket.readableEnded || !socket.writableEnded) continue;
      if (before.get(socket) === socket.writableLength) socket.destroy();
      else waiting.set(socket, socket.writableLength);
    }
  };
  return setInterval(check, interval).unref();
}
