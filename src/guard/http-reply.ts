import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { BodyFraming } from '../capture/framed-body.js';
import type { Refusal } from '../docker/refusal.js';
import type { End } from './outcome.js';
import { discardRest } from '../capture/linger.js';
import type { Refused, Reply, ReplyEvents } from './reply.js';

/** Where one request ends and the next begins is in doubt after these (RFC 9112 section 6.3): nothing more is read. */
const CLOSING = new Set(['framing', 'duplicate-header', 'header-character', 'http-version']);

/** The answer to a request of HTTP/1.1. */
export class HttpReply implements Reply {
  isDecided = false;
  /** The connection closes behind this answer: what is pipelined behind it is not served. */
  closes = false;
  unreadable: Refusal | undefined;
  protected readonly request: IncomingMessage;
  protected readonly response: ServerResponse;
  protected readonly socket: Socket;
  /** The client waits for `100 Continue` before it sends the body. */
  readonly #expectsContinue: boolean;
  #events: ReplyEvents | undefined;
  #isCorked = false;
  /** Past the HTTP server, see `sendWhole`. */
  #isWritten = false;

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
    return this.#isWritten || this.response.headersSent;
  }

  get takesMore(): boolean {
    return !this.socket.writableNeedDrain;
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
    // The client closed its half before there was a call that this ends: no further event says so.
    if (events.endsWithInput && this.socket.readableEnded) process.nextTick(this.#onInputEnd, events);
  }

  readonly #onInputEnd = (events: ReplyEvents): void => {
    if (this.#events === events) this.endInput();
  };

  /** The client has closed its half: a stream that ends with it ends now. */
  endInput(): void {
    if (!this.endsWithInput) return;
    this.interrupt('client-gone');
    // The HTTP server does not close it: to it, a half-closed connection is not idle.
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
      this.closes = true;
    }
    this.#writeHead(refusal.status, headers);
    response.end(request.method === 'HEAD' ? undefined : message);
    if (isUnread && !this.#expectsContinue) this.discardBody();
    return { status: refusal.status, bytes: message.length };
  }

  /** Part of the request has not been read. */
  protected isUnread(): boolean {
    return !this.request.complete;
  }

  /** Without its body, the rest of a request that expects `100 Continue` cannot be distinguished from the next request. */
  protected closesAfterRefusal(isUnread: boolean): boolean {
    return this.#expectsContinue && isUnread;
  }

  protected discardBody(): void {
    discardRest(this.request);
  }

  sendWhole(status: number, headers: readonly string[], body: readonly Buffer[]): void {
    const { response, socket } = this;
    if (this.#mayWriteItself(status, headers)) {
      this.#isWritten = true;
      socket.write(renderAnswer(status, headers, body), 'latin1');
      // The HTTP server takes this for the end of the answer, and goes on with the connection.
      response.emit('finish');
      return;
    }
    this.#writeHead(status, headers);
    // A text joins the head in one write; a buffer would be a second one.
    if (body.length === 0) response.end();
    else response.end(latin1(body), 'latin1');
  }

  /**
   * Is this an answer to which the HTTP server would add nothing that means anything? Its own way takes an answer apart into
   * several pieces and puts them together again, which costs as much as everything else that the guard does.
   */
  #mayWriteItself(status: number, headers: readonly string[]): boolean {
    const { request, response } = this;
    if (!response.shouldKeepAlive || request.httpVersion !== '1.1' || request.method === 'HEAD') return false;
    if (status < 200 || status === 204 || status === 304) return false;
    // It waits for the answer before it.
    if (response.socket === null || response.headersSent) return false;
    let hasLength = false;
    for (let i = 0; i < headers.length; i += 2) {
      const name = headers[i]!.toLowerCase();
      if (name === 'connection') return false;
      if (name === 'content-length') hasLength = true;
    }
    return hasLength;
  }

  begin(status: number, headers: readonly string[]): void {
    this.#writeHead(status, headers);
    this.#cork();
    this.response.flushHeaders();
  }

  #writeHead(status: number, headers: readonly string[]): void {
    this.response.writeHead(status, headers as string[]);
    // The client has asked for it, or the HTTP server knows a reason.
    if (!this.response.shouldKeepAlive) this.closes = true;
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

const latin1 = (pieces: readonly Buffer[]): string =>
  pieces.length === 1 ? pieces[0]!.toString('latin1') : Buffer.concat(pieces).toString('latin1');

/** Names and values come from the engine's answer, whose parser lets none pass that could end its line. */
function renderAnswer(status: number, headers: readonly string[], body: readonly Buffer[]): string {
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'unknown'}\r\n`;
  for (let i = 0; i < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`;
  text += '\r\n';
  for (const piece of body) text += piece.toString('latin1');
  return text;
}
