import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { BodyFraming } from '../capture/framed-body.js';
import type { Refusal } from '../docker/refusal.js';
import type { End } from './outcome.js';
import { LINGER_TIMEOUT_MS } from '../capture/linger.js';
import type { Refused, Reply, ReplyEvents } from './reply.js';

/** Where one request ends and the next begins is in doubt after these (RFC 9112 section 6.3): nothing more is read. */
const CLOSING = new Set(['framing', 'duplicate-header', 'header-character', 'http-version']);

/** The answer to a request of HTTP/1.1. */
export class HttpReply implements Reply {
  isDecided = false;
  unreadable: Refusal | undefined;
  protected readonly request: IncomingMessage;
  protected readonly response: ServerResponse;
  protected readonly socket: Socket;
  /** The client waits for `100 Continue` before it sends the body. */
  readonly #expectsContinue: boolean;
  #events: ReplyEvents | undefined;
  #saysClose = false;
  #isCorked = false;

  constructor(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean) {
    this.request = request;
    this.response = response;
    this.socket = request.socket;
    this.#expectsContinue = expectsContinue;
  }

  get isOpen(): boolean {
    return this.socket.writable;
  }

  get hasBegun(): boolean {
    return this.response.headersSent;
  }

  get takesMore(): boolean {
    return !this.socket.writableNeedDrain;
  }

  /** The connection closes behind this answer: what is pipelined behind it is not served. Node may have said so itself. */
  get closes(): boolean {
    return this.#saysClose || (this.response.headersSent && !this.response.shouldKeepAlive);
  }

  /** The operation ends when the client closes its half of the connection. */
  get endsWithInput(): boolean {
    return this.#events?.endsWithInput === true;
  }

  listen(events: ReplyEvents | undefined): void {
    if (this.#events !== undefined) {
      this.response.off('close', this.#onClose);
      this.socket.off('drain', this.#onDrain);
    }
    this.#events = events;
    if (events === undefined) return;
    this.response.on('close', this.#onClose);
    this.socket.on('drain', this.#onDrain);
    // The client closed its half before there was a call that this ends: nobody hears of it again.
    if (events.endsWithInput && this.socket.readableEnded) process.nextTick(this.#onInputEnd, events);
  }

  readonly #onInputEnd = (events: ReplyEvents): void => {
    if (this.#events === events) this.endInput();
  };

  /** The client has closed its half: a stream that ends with it ends now. */
  endInput(): void {
    if (!this.endsWithInput) return;
    this.interrupt('client-gone');
    // Nobody else would close it: a half-closed connection is not idle for the HTTP server.
    this.socket.destroySoon();
  }

  /** The call ends now, if it is being answered; the connection stays as it is. */
  interrupt(end: End): void {
    this.#events?.onCut(end);
  }

  readonly #onClose = (): void => this.interrupt('client-gone');
  readonly #onDrain = (): void => this.#events?.onDrain();

  /**
   * Answers with Docker's error shape. A client that is still sending its body gets time to read the answer: closing at
   * once would reset the connection, and `docker build` would print "connection reset" instead of the reason.
   */
  refuse(refusal: Refusal, call: string): Refused {
    const { request, response, socket } = this;
    if (response.headersSent || !socket.writable) {
      socket.destroy();
      return { status: response.headersSent ? response.statusCode : 0, bytes: 0 };
    }
    const message = JSON.stringify({ message: `breakwater: ${refusal.message} (call ${call})` });
    const headers = [
      'Content-Type',
      'application/json',
      'Content-Length',
      String(Buffer.byteLength(message)),
    ];
    if (refusal.retryAfter > 0) headers.push('Retry-After', String(refusal.retryAfter));
    const isUnread = this.isUnread();
    if (refusal.status === 503 || CLOSING.has(refusal.code) || this.closesAfterRefusal(isUnread)) {
      headers.push('Connection', 'close');
      this.#saysClose = true;
    }
    response.writeHead(refusal.status, headers);
    response.end(request.method === 'HEAD' ? undefined : message);
    if (isUnread && !this.#expectsContinue) this.discardBody();
    return { status: refusal.status, bytes: message.length };
  }

  /** Part of the request has not been read. */
  protected isUnread(): boolean {
    return !this.request.complete;
  }

  /** Without its body, the rest of a request that expects `100 Continue` cannot be told from the next request. */
  protected closesAfterRefusal(isUnread: boolean): boolean {
    return this.#expectsContinue && isUnread;
  }

  /** Reads the rest of the body and throws it away, for a bounded time. */
  protected discardBody(): void {
    const { request, socket } = this;
    const timer = setTimeout(() => socket.destroy(), LINGER_TIMEOUT_MS);
    const done = (): void => {
      clearTimeout(timer);
      socket.off('close', done);
    };
    socket.once('close', done);
    request.resume();
    request.once('end', done);
  }

  sendWhole(status: number, headers: readonly string[], body: readonly Buffer[]): void {
    const { response } = this;
    response.writeHead(status, headers as string[]);
    // A text joins the head in one write; a buffer would be a second one.
    if (body.length === 0) response.end();
    else response.end((body.length === 1 ? body[0]! : Buffer.concat(body)).toString('latin1'), 'latin1');
  }

  begin(status: number, headers: readonly string[]): void {
    this.response.writeHead(status, headers as string[]);
    this.#cork();
    this.response.flushHeaders();
  }

  write(piece: Buffer): void {
    this.#cork();
    this.response.write(piece);
  }

  /**
   * What is written in one turn leaves with one call to the system. The socket is corked, never the response: node's own
   * corking of a response lets its end overtake what was written in the same turn (since 22).
   */
  #cork(): void {
    if (this.#isCorked) return;
    this.#isCorked = true;
    this.socket.cork();
    process.nextTick(this.#uncork);
  }

  readonly #uncork = (): void => {
    this.#isCorked = false;
    this.socket.uncork();
  };

  end(): void {
    this.response.end();
  }

  cut(): void {
    this.socket.destroy();
  }

  streamBehind(_framing: BodyFraming): Readable | undefined {
    return undefined;
  }

  takeConnection(): Socket {
    throw new Error('the client did not ask for the connection');
  }
}
