import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { relayBody, type RelayedBody } from '../capture/relay-body.js';
import type { AnswerTransform } from '../docker/answers/transform.js';
import type { Call } from '../docker/call.js';
import { Refusal } from '../docker/refusal.js';
import { renderBody, renderHeaders, renderTarget } from '../docker/render.js';
import type { Abort, EngineRequest } from '../upstream/engine-call.js';
import { answerRefusal } from './answer.js';
import { bodyOf } from './body.js';
import type { End, Exchange } from './exchange.js';
import { finish } from './finish.js';
import { flowOf } from './limits.js';
import { refuse } from './refuse.js';
import { watchAnswer, type GuardState } from './state.js';

/** Answers up to this size are passed on with one write. */
const SMALL = 64 * 1024;

/** Headers that belong to one connection, not to the answer (RFC 9110 section 7.6.1). */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const HOP_LENGTHS = new Set([...HOP_BY_HOP].map((name) => name.length));

/** forward: sends what was rendered from the call, and passes the engine's answer on as it comes. */
export function forward(guard: GuardState, exchange: Exchange, call: Call): void {
  const body = requestBody(guard, exchange, call);
  exchangeWith(
    guard,
    exchange,
    {
      method: call.operation.method,
      target: renderTarget(call),
      headers: renderHeaders(call),
      body,
      length: bodyLength(exchange, call, body),
      upgrade: '',
      timeout: answerTimeout(guard, call),
    },
    { watch: watchAnswer(guard, call) },
  );
}

/** A streamed request body that tells how much of it the client has sent. */
type CountedBody = Readable & { readonly bytes: number };

type RequestBody = string | RelayedBody | undefined;

function requestBody(guard: GuardState, exchange: Exchange, call: Call): RequestBody {
  if (call.body.kind === 'json') return renderBody(call);
  if (call.body.kind === 'none' || exchange.reading!.framing.kind === 'none') return undefined;
  const { context: bytes, bodyIdle: idle } = guard.limits;
  return relayBody(bodyOf(exchange), { bytes, idle, flow: flowOf(exchange) });
}

/** A POST without a body says so with `Content-Length: 0`; a stream of known length keeps it. */
function bodyLength(exchange: Exchange, call: Call, body: RequestBody): number | undefined {
  if (body === undefined)
    return call.operation.method === 'POST' || call.operation.method === 'PUT' ? 0 : undefined;
  const framing = exchange.reading!.framing;
  return framing.kind === 'length' && typeof body !== 'string' ? framing.length : undefined;
}

/** Finite answers have a limit; what may rightly be silent for hours (events, logs, wait …) has none. */
export function answerTimeout(guard: GuardState, call: Call): number {
  return call.operation.response === 'finite' ? guard.config.upstream.timeout : 0;
}

/** Who else has a say in what becomes of an exchange. */
export interface Turns {
  /** Takes over when the engine switches protocols; a request that asks for it needs one. */
  onUpgrade?(headers: string[], upstream: Socket): void;
  /**
   * The engine answers, or fails, before it was given all of the request. True: the answer passes on as usual. False:
   * somebody else answers the client; the engine's side is closed.
   */
  onEarly?(event: { readonly status: number } | { readonly error: Error }): boolean;
  /** The exchange is cut, or the client is gone; called before that is on record. */
  onCut?(end: End): void;
  /** Sees every piece of the engine's answer. */
  readonly watch?: ((piece: Buffer) => void) | undefined;
}

/** Sends a request to the engine and its answer to the client. Exactly one of complete, error, or a cut ends it. */
export function exchangeWith(
  guard: GuardState,
  exchange: Exchange,
  engineRequest: EngineRequest,
  turns: Turns = {},
): void {
  const { request, response, socket } = exchange;
  const body = typeof engineRequest.body === 'string' ? undefined : (engineRequest.body as CountedBody);
  const flow = flowOf(exchange);
  let resume: (() => void) | undefined;
  /** The bytes of its caller are used up. */
  let waiting = false;
  let status = 0;
  let headers: string[] = [];
  /** Declared length, or -1. */
  let length = -1;
  let held: Buffer[] = [];
  let heldBytes = 0;
  let transform: AnswerTransform | undefined;
  let streaming = false;
  let corked = false;
  let over = false;

  const end = (how: End): void => {
    release();
    finish(guard, exchange, status, how);
  };
  /** Lets go of everything but the outcome. */
  const release = (): void => {
    over = true;
    held = [];
    response.off('close', onGone);
    if (streaming) socket.off('drain', onDrain);
    if (body === undefined) return;
    exchange.bytesIn = body.bytes;
    // The engine may answer before it has read everything: the rest of the client's body goes nowhere.
    body.destroy();
    if (!request.complete && exchange.upgrade === undefined) request.resume();
  };
  const stop = (how: End): void => {
    if (over) return;
    turns.onCut?.(how);
    end(how);
    abort();
    if (how !== 'client-gone') socket.destroy();
  };
  const onGone = (): void => stop('client-gone');
  const onDrain = (): void => {
    if (!waiting) resume?.();
  };
  const onFlow = (): void => {
    waiting = false;
    if (!socket.writableNeedDrain) resume?.();
  };

  /** The answer goes on after this turn, or is large: from here on it is passed on as it comes. */
  const stream = (): void => {
    if (over || streaming) return;
    streaming = true;
    response.writeHead(status, headers);
    cork();
    // A silent stream must show its head at once: `docker events` waits for it.
    response.flushHeaders();
    socket.on('drain', onDrain);
    for (const piece of held) response.write(piece);
    held = [];
  };
  /**
   * What is written in one turn leaves with one write. The socket is corked, not the response: a corked response of
   * Node 22 and 24 sends the end of its chunks before the chunks.
   */
  const cork = (): void => {
    if (corked) return;
    corked = true;
    socket.cork();
    process.nextTick(uncork);
  };
  const uncork = (): void => {
    corked = false;
    socket.uncork();
  };

  /** INVARIANT: of an answer that cannot be changed as policy demands nothing more passes, and it looks cut short. */
  const holdBack = (error: unknown): void => {
    abort();
    if (!response.headersSent) exchange.bytesOut = 0;
    const refusal = answerRefusal(error);
    guard.log.warn({ call: exchange.id, err: refusal.message }, 'an answer was held back');
    if (!response.headersSent) status = refusal.status;
    release();
    refuse(guard, exchange, refusal, 'upstream-error');
  };
  /** Passes on a piece of the answer, or keeps it while all of it may still be small. */
  const take = (piece: Buffer): void => {
    if (piece.length === 0) return;
    exchange.bytesOut += piece.length;
    if (streaming) {
      cork();
      response.write(piece);
    } else {
      held.push(piece);
      heldBytes += piece.length;
      if (heldBytes > SMALL) stream();
    }
  };

  exchange.cut = stop;
  response.on('close', onGone);
  const abort: Abort = guard.engine.dispatch(engineRequest, {
    onHeaders(code, raw, bytes, resumeUpstream) {
      if (over) return;
      if (turns.onEarly?.({ status: code }) === false) {
        release();
        abort();
        return;
      }
      status = code;
      headers = endToEnd(raw);
      length = bytes;
      resume = resumeUpstream;
      try {
        const change = exchange.changeAnswer?.({ status, headers, length });
        if (change !== undefined) ({ headers, transform } = change);
      } catch (error) {
        holdBack(error);
        return;
      }
      if (guard.draining) headers.push('Connection', 'close');
      if (transform !== undefined) {
        length = -1;
        // Its first part is held, so that what is wrong with an answer is mostly found while it can still be refused.
        if (status >= 300 || exchange.call?.operation.response !== 'stream') return;
      }
      if (length > SMALL) stream();
      else if (length < 0) process.nextTick(stream);
    },
    onData(piece) {
      if (over) return true;
      turns.watch?.(piece);
      try {
        take(transform === undefined ? piece : bufferOf(transform.feed(piece)));
      } catch (error) {
        holdBack(error);
        return true;
      }
      // False pauses the engine's side until the client has taken what is on its way (`drain`).
      if (flow?.(piece.length, onFlow) === false) waiting = true;
      return !waiting && !socket.writableNeedDrain;
    },
    onComplete() {
      if (over) return;
      try {
        if (transform !== undefined) take(bufferOf(transform.end()));
      } catch (error) {
        holdBack(error);
        return;
      }
      if (streaming) {
        response.end();
      } else {
        // All of it came in one turn: its length is known now, and head and body leave with one write.
        if (length < 0) headers.push('Content-Length', String(heldBytes));
        response.writeHead(status, headers);
        if (heldBytes === 0) response.end();
        else response.end(latin1(held), 'latin1');
      }
      end('complete');
    },
    onError(error) {
      if (over) return;
      if (turns.onEarly?.({ error }) === false) {
        release();
        return;
      }
      const how = endOf(error);
      if (response.headersSent) {
        // INVARIANT: an answer that was cut short must not look complete.
        end(how);
        socket.destroy();
        return;
      }
      const refusal = upstreamRefusal(guard, error);
      status = refusal.status;
      exchange.bytesOut = 0;
      release();
      refuse(guard, exchange, refusal, how);
    },
    onUpgrade(_status, raw, upstream) {
      if (over || turns.onUpgrade === undefined) {
        upstream.destroy();
        return;
      }
      over = true;
      response.off('close', onGone);
      turns.onUpgrade(raw, upstream);
    },
  });
}

const bufferOf = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const latin1 = (pieces: Buffer[]): string =>
  pieces.length === 1 ? pieces[0]!.toString('latin1') : Buffer.concat(pieces).toString('latin1');

/**
 * The headers of an answer without those that belong to one connection (RFC 9110 section 7.6.1), by name and by
 * being listed in Connection.
 */
function endToEnd(raw: string[]): string[] {
  let listed: string[] | undefined;
  const headers: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!;
    if (HOP_LENGTHS.has(name.length)) {
      const lower = name.toLowerCase();
      if (lower === 'connection') (listed ??= []).push(...raw[i + 1]!.toLowerCase().split(/[ \t,]+/));
      if (HOP_BY_HOP.has(lower)) continue;
    }
    headers.push(name, raw[i + 1]!);
  }
  if (listed === undefined) return headers;
  return headers.filter((_, i) => !listed.includes(headers[i - (i % 2)]!.toLowerCase()));
}

function endOf(error: Error): End {
  if (error instanceof Refusal) return BODY_ENDS[error.code] ?? 'refused';
  return TIMEOUT.test((error as NodeJS.ErrnoException).code ?? '') ? 'upstream-timeout' : 'upstream-error';
}

const BODY_ENDS: Readonly<Record<string, End>> = {
  'body-cut': 'client-gone',
  'upstream-timeout': 'upstream-timeout',
};

/** `ENGINE_TIMEOUT`, `ENGINE_CONNECT_TIMEOUT`, the system's `ETIMEDOUT`. */
const TIMEOUT = /TIMED?OUT/;

/** What the client is told when the engine does not answer. */
export function upstreamRefusal(guard: GuardState, error: Error): Refusal {
  if (error instanceof Refusal) return error;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const url = guard.config.upstream.url;
  guard.log.warn({ code, err: error.message }, 'the engine did not answer');
  if (TIMEOUT.test(code)) {
    return new Refusal(504, 'upstream-timeout', `the Docker engine at ${url} did not answer in time`);
  }
  return new Refusal(
    502,
    'upstream',
    `the Docker engine at ${url} cannot be reached or broke off (${code === '' ? error.message : code}); is it running?`,
  );
}
