import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { EngineError, type EngineRequest } from './engine-call.js';

/**
 * Most bytes that are gathered before they are written. Fewer than a unix socket holds (208 KiB by default), so that one
 * call to the system takes them all.
 */
const GATHER_LIMIT = 128 * 1024;

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const TARGET = /^[\x21-\x7e]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/**
 * The head of a request. INVARIANT: no method, target, name or value can end its line, so that one call is one
 * request for the daemon.
 *
 * @throws EngineError `ENGINE_REQUEST` naming the part that cannot be written.
 */
export function renderHead(request: EngineRequest): string {
  const { method, target, headers, body, upgrade } = request;
  const length = typeof body === 'string' ? Buffer.byteLength(body) : request.length;
  if (!TOKEN.test(method)) unwritable('the method');
  if (!TARGET.test(target)) unwritable('the target');
  let head = `${method} ${target} HTTP/1.1\r\n`;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    const value = headers[i + 1];
    if (!TOKEN.test(name)) unwritable('a header name');
    if (value === undefined || !VALUE.test(value)) unwritable(`the value of ${name}`);
    head += `${name}: ${value}\r\n`;
  }
  if (length !== undefined) head += `Content-Length: ${length}\r\n`;
  else if (body !== undefined) head += 'Transfer-Encoding: chunked\r\n';
  if (upgrade !== '') {
    if (!TOKEN.test(upgrade)) unwritable('the protocol to upgrade to');
    head += `Connection: Upgrade\r\nUpgrade: ${upgrade}\r\n`;
  }
  return `${head}\r\n`;
}

function unwritable(what: string): never {
  throw new EngineError('ENGINE_REQUEST', `${what} cannot be written in an HTTP/1.1 request`);
}

/** Writes a request without a body, or with all of it, at once. */
export function writeRequest(socket: Socket, head: string, body = ''): void {
  if (Buffer.byteLength(body) === body.length) {
    // Nothing but ASCII, so that one encoding serves both.
    socket.write(head + body, 'latin1');
  } else {
    socket.cork();
    socket.write(head, 'latin1');
    socket.write(body, 'utf8');
    socket.uncork();
  }
}

export interface BodyWriterEvents {
  /** Bytes went out, or the daemon took some. */
  progress(): void;
  /** All of the body has been written. */
  done(): void;
  /** The body failed, or is not as long as announced: the connection has to be destroyed. */
  failed(error: Error): void;
}

/**
 * Writes a streamed body, with its length or chunked. The pieces of one turn leave together, as one chunk.
 *
 * INVARIANT: only the `end` of the stream, with all the bytes that were announced, writes a clean end. A body that
 * was cut, refused or destroyed never looks complete to the daemon, which would act on the part.
 */
export class BodyWriter {
  readonly #socket: Socket;
  readonly #body: Readable;
  /** Bytes that were announced; undefined: chunked. */
  readonly #length: number | undefined;
  readonly #events: BodyWriterEvents;
  /** Pieces of this turn of the event loop, and their bytes. */
  #pieces: Buffer[] = [];
  #size = 0;
  /** Bytes of the body so far. */
  #read = 0;
  #isDetached = false;

  constructor(socket: Socket, body: Readable, length: number | undefined, events: BodyWriterEvents) {
    this.#socket = socket;
    this.#body = body;
    this.#length = length;
    this.#events = events;
    // The error listener stays: a body may fail when it is not wanted any more.
    body.on('end', this.#onEnd).on('close', this.#onClose).on('error', this.#fail);
    socket.on('drain', this.#onDrain);
    if (body.destroyed) {
      process.nextTick(() => this.#fail(body.errored ?? new Error('the request body is gone')));
    } else body.on('data', this.#onData);
  }

  /** Is the daemon the one that is waited for? Else the client is. */
  get blocked(): boolean {
    return this.#socket.writableNeedDrain;
  }

  /** Reads and writes no more. The stream itself stays as it is. */
  detach(): void {
    if (this.#isDetached) return;
    this.#isDetached = true;
    this.#body.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose);
    this.#body.pause();
    this.#socket.off('drain', this.#onDrain);
  }

  readonly #flush = (): void => {
    if (this.#isDetached || this.#size === 0) return;
    const socket = this.#socket;
    const isChunked = this.#length === undefined;
    socket.cork();
    if (isChunked) socket.write(`${this.#size.toString(16)}\r\n`, 'latin1');
    for (const piece of this.#pieces) socket.write(piece);
    if (isChunked) socket.write('\r\n', 'latin1');
    socket.uncork();
    this.#pieces = [];
    this.#size = 0;
    this.#events.progress();
    if (socket.writableNeedDrain) this.#body.pause();
  };

  readonly #onData = (piece: Buffer): void => {
    if (piece.length === 0) return;
    this.#read += piece.length;
    if (this.#length !== undefined && this.#read > this.#length) {
      // More than announced would be read as the next request on this connection.
      this.#fail(new EngineError('ENGINE_REQUEST', 'the request body is longer than announced'));
      return;
    }
    // A client that sends fast is read from several times in one turn.
    if (this.#size === 0) setImmediate(this.#flush);
    this.#size += piece.length;
    this.#pieces.push(piece);
    // A source that always has more never lets the turn end.
    if (this.#size >= GATHER_LIMIT) this.#flush();
  };

  readonly #onDrain = (): void => {
    this.#events.progress();
    this.#body.resume();
  };

  readonly #onEnd = (): void => {
    if (this.#length !== undefined && this.#read !== this.#length) {
      this.#fail(new EngineError('ENGINE_REQUEST', 'the request body is shorter than announced'));
      return;
    }
    this.#socket.cork();
    this.#flush();
    if (this.#length === undefined) this.#socket.write('0\r\n\r\n', 'latin1');
    this.#socket.uncork();
    this.detach();
    this.#events.done();
  };

  readonly #onClose = (): void => {
    this.#fail(new EngineError('ENGINE_REQUEST', 'the request body was cut short'));
  };

  readonly #fail = (error: Error): void => {
    if (this.#isDetached) return;
    this.detach();
    this.#events.failed(error);
  };
}
