import { Refusal } from '../docker/refusal.js';
import type { End, Exchange } from './exchange.js';
import { finish } from './finish.js';
import { LINGER } from './linger.js';
import type { GuardState } from './state.js';

export const STOPPING = new Refusal(503, 'shutting-down', 'the guard is shutting down');

/** Where one request ends and the next begins is in doubt after these (RFC 9112 section 6.3): nothing more is read. */
const CLOSING = new Set(['framing', 'duplicate-header', 'header-character', 'http-version']);

/**
 * Answers with Docker's error shape. A client that is still sending its body gets time to read the answer: closing
 * at once would reset the connection, and `docker build` would print "connection reset" instead of the reason.
 */
export function refuse(guard: GuardState, exchange: Exchange, refusal: Refusal, end: End = 'refused'): void {
  const { request, response, socket } = exchange;
  if (exchange.finished) return;
  if (response.headersSent || !socket.writable) {
    socket.destroy();
    finish(guard, exchange, response.headersSent ? response.statusCode : 0, end);
    return;
  }
  const message = JSON.stringify({ message: `breakwater: ${refusal.message} (call ${exchange.id})` });
  const unread = !request.complete || exchange.upgrade !== undefined;
  const headers = ['Content-Type', 'application/json', 'Content-Length', String(Buffer.byteLength(message))];
  if (refusal.retryAfter > 0) headers.push('Retry-After', String(refusal.retryAfter));
  // Without its body the rest of an expecting request cannot be told from the next one.
  if (
    refusal.status === 503 ||
    CLOSING.has(refusal.code) ||
    exchange.upgrade !== undefined ||
    (exchange.expectsContinue && unread)
  ) {
    headers.push('Connection', 'close');
    exchange.closing = true;
  }
  response.writeHead(refusal.status, headers);
  response.end(request.method === 'HEAD' ? undefined : message);
  exchange.bytesOut = message.length;
  finish(guard, exchange, refusal.status, end);
  // An upgraded connection is ended by the listener, as after any other answer.
  if (unread && !exchange.expectsContinue && exchange.upgrade === undefined) drain(exchange);
}

function drain({ request, socket }: Exchange): void {
  const timer = setTimeout(() => socket.destroy(), LINGER);
  const done = (): void => clearTimeout(timer);
  socket.once('close', done);
  request.resume();
  request.once('end', done);
}
