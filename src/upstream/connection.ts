import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { Dialler } from './engine-address.js';
import { EngineError, type EngineHandler, type EngineRequest } from './engine-call.js';
import { renderHead, writeBody, writeRequest, type BodyWriter } from './request-writer.js';
import { responseParser } from './response-parser.js';

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

/** One connection to the engine, used for one call at a time. */
export interface Connection {
  /** Only when idle. @throws EngineError `ENGINE_REQUEST`. */
  send(job: Job): void;
  /** Closes it at once; the job that it carries hears nothing more. */
  abort(): void;
  /** Closes it at once; the job that it carries fails. */
  destroy(error: Error): void;
}

export interface ConnectionEvents {
  /** It can take another request. */
  idle(connection: Connection): void;
  /** It is no more, or it became the socket of an upgraded call. */
  gone(connection: Connection): void;
  /** `stale`: it was a kept connection, and ended before a single byte of the answer. */
  failed(job: Job, error: Error, stale: boolean): void;
}

/**
 * Opens a connection.
 *
 * @param forUpgrade read by events, so that the socket can be handed over.
 * @param connectTimeout milliseconds, TLS handshake included.
 */
export function openConnection(
  dialler: Dialler,
  forUpgrade: boolean,
  connectTimeout: number,
  events: ConnectionEvents,
): Connection {
  let job: Job | undefined;
  let body: BodyWriter | undefined;
  let closed = false;
  let used = false;
  let answered = false;
  let paused = false;
  let upgradeHeaders: string[] = [];
  let timer: NodeJS.Timeout | undefined;
  let timerLength = 0;
  let slab: Buffer = Buffer.allocUnsafeSlow(forUpgrade ? 0 : READ_SIZE);
  let slabKept = false;

  const parser = responseParser({
    onHeaders(status, headers, length) {
      if (status === 101) upgradeHeaders = headers;
      else job?.handler.onHeaders(status, headers, length, resume);
    },
    onData(piece) {
      if (job === undefined) return;
      let own = piece;
      if (!forUpgrade) {
        if (piece.length <= COPY_LIMIT) own = Buffer.from(piece);
        else slabKept = true;
      }
      if (!job.handler.onData(own)) paused = true;
    },
  });

  const onRead = (data: Buffer): boolean => {
    if (job === undefined) {
      // INVARIANT: bytes that nobody asked for are never taken for the answer to a later request.
      close();
      return false;
    }
    answered = true;
    const active = job;
    try {
      const read = parser.feed(data);
      if (closed || parser.state === 'more') {
        if (timerLength > 0) timer?.refresh();
        return !paused;
      }
      const rest = data.subarray(read);
      if (parser.state === 'upgrade') handOver(active, rest);
      else complete(active, rest.length === 0);
    } catch (error) {
      fail(error as Error, false);
    }
    return !paused;
  };

  const onEvent = (data: Buffer): void => {
    if (!onRead(data) && !closed) socket.pause();
  };

  const complete = (active: Job, clean: boolean): void => {
    job = active.connection = undefined;
    paused = false;
    used = true;
    // Without the rest of its body the request never ends: nothing else can follow it.
    const keep = parser.keep && clean && body === undefined && !forUpgrade && !closed;
    body?.detach();
    body = undefined;
    if (keep) events.idle(connection);
    else close();
    try {
      active.handler.onComplete();
    } catch (error) {
      active.handler.onError(error as Error);
    }
  };

  const handOver = (active: Job, rest: Buffer): void => {
    job = active.connection = undefined;
    closed = true;
    clearTimeout(timer);
    socket.off('data', onEvent).off('end', onEnd).off('error', onError).off('close', onClose);
    socket.pause();
    if (rest.length > 0) socket.unshift(rest);
    events.gone(connection);
    try {
      active.handler.onUpgrade!(101, upgradeHeaders, socket);
    } catch (error) {
      socket.destroy();
      active.handler.onError(error as Error);
    }
  };

  const fail = (error: Error, stale: boolean): void => {
    const active = job;
    job = undefined;
    close();
    if (active === undefined) return;
    active.connection = undefined;
    events.failed(active, error, stale && used && !answered);
  };

  const close = (): void => {
    body?.detach();
    body = undefined;
    clearTimeout(timer);
    if (closed) return;
    closed = true;
    socket.destroy();
    events.gone(connection);
  };

  const resume = (): void => {
    if (!paused || closed) return;
    paused = false;
    if (timerLength > 0) timer?.refresh();
    socket.resume();
  };

  /** Restarts the limit on the engine's silence; 0 for none. */
  const watch = (ms: number): void => {
    if (ms !== 0 && ms === timerLength) {
      timer?.refresh();
      return;
    }
    clearTimeout(timer);
    timerLength = ms;
    timer = ms === 0 ? undefined : setTimeout(onSilence, ms).unref();
  };
  const onSilence = (): void => {
    if (job === undefined) return;
    // It is not the engine that is waited for: the client sends, or reads, slowly.
    if (paused || (body !== undefined && !body.blocked)) timer?.refresh();
    else fail(new EngineError('ENGINE_TIMEOUT', `the engine was silent for ${timerLength} ms`), false);
  };

  const onEnd = (): void => {
    if (job !== undefined && parser.end()) complete(job, true);
    else onClose();
  };
  const onError = (error: Error): void => fail(error, true);
  const onClose = (): void =>
    fail(
      new EngineError('ENGINE_CUT', 'the engine closed the connection before its answer was complete'),
      true,
    );

  const connection: Connection = {
    send(next) {
      const { request } = next;
      job = next;
      next.connection = connection;
      answered = false;
      const head = renderHead(request);
      parser.begin(request.method === 'HEAD', forUpgrade);
      watch(request.timeout);
      if (request.body instanceof Readable) {
        socket.write(head, 'latin1');
        body = writeBody(socket, request.body, request.length, {
          progress: () => void (timerLength > 0 && timer?.refresh()),
          done() {
            body = undefined;
            if (timerLength > 0) timer?.refresh();
          },
          failed: (error) => fail(error, false),
        });
      } else {
        writeRequest(socket, head, request.body);
      }
    },
    abort() {
      job = undefined;
      close();
    },
    destroy: (error) => fail(error, false),
  };

  const socket: Socket = dialler.dial(
    forUpgrade
      ? undefined
      : {
          // Node asks after each read. INVARIANT: what a handler still holds a piece of is never read into again.
          buffer() {
            if (slabKept) slab = Buffer.allocUnsafeSlow(READ_SIZE);
            slabKept = false;
            return slab;
          },
          callback: (bytes) => onRead(slab.subarray(0, bytes)),
        },
  );
  if (forUpgrade) socket.on('data', onEvent);
  socket.on('end', onEnd).on('error', onError).on('close', onClose);
  const opening = setTimeout(() => {
    fail(new EngineError('ENGINE_CONNECT_TIMEOUT', `no connection within ${connectTimeout} ms`), false);
  }, connectTimeout);
  socket.once(dialler.ready, () => clearTimeout(opening)).once('close', () => clearTimeout(opening));
  return connection;
}
