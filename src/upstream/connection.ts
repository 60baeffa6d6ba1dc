import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { Dialler } from './engine-address.js';
import { EngineError, type EngineHandler, type EngineRequest } from './engine-call.js';
import { BodyWriter, renderHead, writeRequest } from './request-writer.js';
import { ResponseParser, type AnswerSink } from './response-parser.js';

/** Bytes read at once. */
const READ_SIZE = 64 * 1024;
/** Pieces up to this size are copied, so that what was read into can be read into again. */
const COPY_LIMIT = 8 * 1024;

/** A request that is on its way, or about to be. */
export interface Job {
  readonly request: EngineRequest;
  readonly handler: EngineHandler;
  connection: Connection | undefined;
  aborted: boolean;
}

export interface ConnectionEvents {
  /** It can take another request. */
  idle(connection: Connection): void;
  /** It is no more, or it became the socket of an upgraded call. */
  gone(connection: Connection): void;
  /** `stale`: it was a kept connection, and ended before a single byte of the answer. */
  failed(job: Job, error: Error, stale: boolean): void;
}

/** One connection to the engine, used for one call at a time. */
export class Connection implements AnswerSink {
  readonly #events: ConnectionEvents;
  readonly #socket: Socket;
  readonly #parser = new ResponseParser(this);
  /** Read by events, so that the socket can be handed over. */
  readonly #isForUpgrade: boolean;
  #job: Job | undefined;
  /** Of the request, while it is being sent. */
  #body: BodyWriter | undefined;
  #isClosed = false;
  /** It has carried a call before. */
  #wasUsed = false;
  /** The engine has sent a byte of the answer. */
  #isAnswered = false;
  /** The handler takes no more for now. */
  #isPaused = false;
  #upgradeHeaders: string[] = [];
  /** Limits the silence of the engine; 0 and undefined: it does not. */
  #timeout = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #readBuffer: ReadBuffer;

  /** @param connectTimeout milliseconds, TLS handshake included. */
  constructor(dialler: Dialler, isForUpgrade: boolean, connectTimeout: number, events: ConnectionEvents) {
    this.#events = events;
    this.#isForUpgrade = isForUpgrade;
    this.#readBuffer = new ReadBuffer(isForUpgrade ? 0 : READ_SIZE);
    this.#socket = dialler.dial(
      isForUpgrade ? undefined : { buffer: this.#readBuffer.next, callback: this.#onRead },
    );
    if (isForUpgrade) this.#socket.on('data', this.#onData);
    this.#socket.on('end', this.#onEnd).on('error', this.#onError).on('close', this.#onClose);
    this.#limitOpening(dialler.ready, connectTimeout);
  }

  /** Only when idle. @throws EngineError `ENGINE_REQUEST`. */
  send(job: Job): void {
    const { request } = job;
    this.#job = job;
    job.connection = this;
    this.#isAnswered = false;
    const head = renderHead(request);
    this.#parser.begin(request.method === 'HEAD', this.#isForUpgrade);
    if (request.timeout === this.#timeout) this.#timer?.refresh();
    else this.#watch(request.timeout);
    if (!(request.body instanceof Readable)) return writeRequest(this.#socket, head, request.body);
    this.#socket.write(head, 'latin1');
    this.#body = new BodyWriter(this.#socket, request.body, request.length, {
      progress: () => void this.#timer?.refresh(),
      done: () => {
        this.#body = undefined;
        this.#timer?.refresh();
      },
      failed: (error) => this.#fail(error, false),
    });
  }

  /** Closes it at once; the job that it carries hears nothing more. */
  abort(): void {
    this.#job = undefined;
    this.#close();
  }

  /** Closes it at once; the job that it carries fails. */
  destroy(error: Error): void {
    this.#fail(error, false);
  }

  // What the parser reads.

  onHeaders(status: number, headers: string[], length: number): void {
    if (status === 101) this.#upgradeHeaders = headers;
    else this.#job?.handler.onHeaders(status, headers, length, this.#resume);
  }

  onData(piece: Buffer): void {
    if (this.#job === undefined) return;
    const own = this.#isForUpgrade ? piece : this.#readBuffer.keep(piece);
    if (!this.#job.handler.onData(own)) this.#isPaused = true;
  }

  /** @returns whether more is to be read. */
  readonly #onRead = (bytes: number, buffer: Buffer): boolean => {
    const data = buffer.subarray(0, bytes);
    const job = this.#job;
    if (job === undefined) {
      // INVARIANT: bytes without a request are never taken for the answer to a later request.
      this.#close();
      return false;
    }
    this.#isAnswered = true;
    try {
      const read = this.#parser.feed(data);
      const { phase } = this.#parser;
      if (this.#isClosed || (phase !== 'done' && phase !== 'upgrade')) this.#timer?.refresh();
      else if (phase === 'done') this.#complete(job, read === data.length);
      else this.#handOver(job, data.subarray(read));
    } catch (error) {
      this.#fail(error as Error, false);
    }
    return !this.#isPaused;
  };

  /** @param isClean nothing followed the answer. */
  #complete(job: Job, isClean: boolean): void {
    this.#job = job.connection = undefined;
    this.#isPaused = false;
    this.#wasUsed = true;
    // Without the rest of its body the request never ends: nothing else can follow it.
    const isWhole = isClean && this.#body === undefined;
    const keep = this.#parser.keep && isWhole && !this.#isForUpgrade && !this.#isClosed;
    if (this.#body !== undefined) this.#dropBody();
    if (keep) this.#events.idle(this);
    else this.#close();
    try {
      job.handler.onComplete();
    } catch (error) {
      job.handler.onError(error as Error);
    }
  }

  #handOver(job: Job, rest: Buffer): void {
    const socket = this.#socket;
    this.#job = job.connection = undefined;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    socket.off('data', this.#onData).off('end', this.#onEnd);
    socket.off('error', this.#onError).off('close', this.#onClose);
    socket.pause();
    if (rest.length > 0) socket.unshift(rest);
    this.#events.gone(this);
    try {
      job.handler.onUpgrade!(101, this.#upgradeHeaders, socket);
    } catch (error) {
      socket.destroy();
      job.handler.onError(error as Error);
    }
  }

  #fail(error: Error, stale: boolean): void {
    const job = this.#job;
    this.#job = undefined;
    this.#close();
    if (job === undefined) return;
    job.connection = undefined;
    this.#events.failed(job, error, stale && this.#wasUsed && !this.#isAnswered);
  }

  #close(): void {
    this.#dropBody();
    clearTimeout(this.#timer);
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.destroy();
    this.#events.gone(this);
  }

  #dropBody(): void {
    this.#body?.detach();
    this.#body = undefined;
  }

  /** Changes the limit on the engine's silence; 0 for none. */
  #watch(ms: number): void {
    clearTimeout(this.#timer);
    this.#timeout = ms;
    this.#timer = ms === 0 ? undefined : setTimeout(() => this.#onSilence(), ms).unref();
  }

  #onSilence(): void {
    if (this.#job === undefined) return;
    // It is not the engine that is waited for: the client sends, or reads, slowly.
    if (this.#isPaused || (this.#body !== undefined && !this.#body.blocked)) this.#timer?.refresh();
    else
      this.#fail(new EngineError('ENGINE_TIMEOUT', `the engine was silent for ${this.#timeout} ms`), false);
  }

  #limitOpening(ready: Dialler['ready'], connectTimeout: number): void {
    const timer = setTimeout(() => {
      this.#fail(
        new EngineError('ENGINE_CONNECT_TIMEOUT', `no connection within ${connectTimeout} ms`),
        false,
      );
    }, connectTimeout);
    this.#socket.once(ready, () => clearTimeout(timer)).once('close', () => clearTimeout(timer));
  }

  // Listeners, which are taken away when the socket is handed over, and the handler's way to go on.

  readonly #onData = (data: Buffer): void => {
    if (!this.#onRead(data.length, data) && !this.#isClosed) this.#socket.pause();
  };

  readonly #onEnd = (): void => {
    if (this.#job !== undefined && this.#parser.end()) this.#complete(this.#job, true);
    else this.#onClose();
  };

  readonly #onError = (error: Error): void => this.#fail(error, true);

  readonly #onClose = (): void => {
    const what = 'the engine closed the connection before its answer was complete';
    this.#fail(new EngineError('ENGINE_CUT', what), true);
  };

  readonly #resume = (): void => {
    if (!this.#isPaused || this.#isClosed) return;
    this.#isPaused = false;
    this.#timer?.refresh();
    this.#socket.resume();
  };
}

/** What a socket reads into. */
class ReadBuffer {
  #bytes: Buffer;
  /** A handler holds a part of it. */
  #isHeld = false;

  constructor(size: number) {
    this.#bytes = Buffer.allocUnsafeSlow(size);
  }

  /**
   * Node asks for it after each read. INVARIANT: what a handler still holds a piece of is never read into again.
   */
  readonly next = (): Buffer => {
    if (this.#isHeld) this.#bytes = Buffer.allocUnsafeSlow(this.#bytes.length);
    this.#isHeld = false;
    return this.#bytes;
  };

  /** A piece of it that may be held: a copy, or a view of a buffer that is not used again. */
  keep(piece: Buffer): Buffer {
    if (piece.length <= COPY_LIMIT) return Buffer.from(piece);
    this.#isHeld = true;
    return piece;
  }
}
