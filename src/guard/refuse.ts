import type { Refusal } from '../docker/refusal.js';
import type { End, Exchange } from './exchange.js';
import { finish } from './finish.js';
import type { GuardState } from './state.js';

/** How long a refused client may go on sending the body that nobody wants (milliseconds). */
const LINGER = 30_000;

/**
 * Answers with Docker's error shape. A client that is still sending its body gets time to read the answer: closing
 * at once would reset the connection, and `docker build` would print "connection reset" instead of the reason.
 */
export function refuse(guard: GuardState, exchange: Exchange, refusal: Refusal, end: End = 'refused'): void {
  const { request, response, socket } = exchange;
  if (exchange.finished) return;
  if (response.headersSent || socket.destroyed) {
    socket.destroy();
    finish(guard, exchange, response.statusCode, end);
    return;
  }
  const message = JSON.stringify({ message: `breakwater: ${refusal.message} (call ${exchange.id})` });
  const unread = !request.complete || exchange.upgradeHead !== undefined;
  const headers = ['Content-Type', 'application/json', 'Content-Length', String(Buffer.byteLength(message))];
  // Without its body the rest of an expecting request cannot be told from the next one.
  if (refusal.status === 503 || exchange.upgradeHead !== undefined || (exchange.expectsContinue && unread)) {
    headers.push('Connection', 'close');
  }
  response.writeHead(refusal.status, headers);
  response.end(request.method === 'HEAD' ? undefined : message);
  exchange.bytesOut = message.length;
  finish(guard, exchange, refusal.status, end);
  if (unread && !exchange.expectsContinue) drain(exchange);
}

function drain(exchange: Exchange): void {
  const { request, response, socket } = exchange;
  const timer = setTimeout(() => socket.destroy(), LINGER);
  const done = (): void => clearTimeout(timer);
  socket.once('close', done);
  if (exchange.upgradeHead === undefined) {
    request.resume();
    request.once('end', done);
  } else {
    response.once('finish', () => socket.end());
    socket.once('end', () => socket.destroy());
    socket.resume();
  }
}
