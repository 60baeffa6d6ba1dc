import { relayBody, type RelayedBody } from '../capture/relay-body.js';
import type { Call } from '../docker/call.js';
import { Refusal } from '../docker/refusal.js';
import { renderBody, renderHeaders, renderTarget } from '../docker/render.js';
import type { EngineHandler } from '../upstream/engine.js';
import { bodyOf } from './body.js';
import type { End, Exchange } from './exchange.js';
import { finish } from './finish.js';
import { refuse } from './refuse.js';
import type { GuardState } from './state.js';

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

/** forward: sends what was rendered from the call, and passes the engine's answer on as it comes. */
export function forward(guard: GuardState, exchange: Exchange, call: Call): void {
  const body = requestBody(guard, exchange, call);
  guard.engine.dispatch(
    {
      method: call.operation.method,
      target: renderTarget(call),
      headers: renderHeaders(call),
      body,
      length: bodyLength(exchange, call, body),
      upgrade: '',
      timeout: answerTimeout(guard, call),
    },
    answerHandler(guard, exchange, body),
  );
}

type RequestBody = Uint8Array | RelayedBody | undefined;

function requestBody(guard: GuardState, exchange: Exchange, call: Call): RequestBody {
  if (call.body.kind === 'json') return renderBody(call);
  if (call.body.kind === 'none' || exchange.reading!.framing.kind === 'none') return undefined;
  return relayBody(bodyOf(exchange), { bytes: guard.limits.context, idle: guard.limits.bodyIdle });
}

/** A POST without a body says so with `Content-Length: 0`; a stream of known length keeps it. */
function bodyLength(exchange: Exchange, call: Call, body: RequestBody): number | undefined {
  if (body === undefined)
    return call.operation.method === 'POST' || call.operation.method === 'PUT' ? 0 : undefined;
  if (body instanceof Uint8Array) return body.length;
  const framing = exchange.reading!.framing;
  return framing.kind === 'length' ? framing.length : undefined;
}

/** Finite answers have a limit; what may rightly be silent for hours (events, logs, wait …) has none. */
export function answerTimeout(guard: GuardState, call: Call): number {
  return call.operation.response === 'finite' ? guard.config.upstream.timeout : 0;
}

/** The engine's answer, on its way to the client. Exactly one of complete, error, or a cut ends it. */
export function answerHandler(guard: GuardState, exchange: Exchange, body?: RequestBody): EngineHandler {
  const { request, response, socket } = exchange;
  let abort: ((error?: Error) => void) | undefined;
  let resume: (() => void) | undefined;
  let status = 0;
  let small: Buffer | undefined;
  let expected = -1;
  let over = false;

  const end = (how: End): void => {
    if (over) return;
    over = true;
    response.off('close', onGone).off('drain', onDrain);
    if (body !== undefined && !(body instanceof Uint8Array)) {
      exchange.bytesIn = body.bytes;
      // The engine may answer before it has read everything: the rest of the client's body goes nowhere.
      if (!body.readableEnded) body.destroy();
      if (!request.complete && exchange.upgradeHead === undefined) request.resume();
    }
    finish(guard, exchange, status, how);
  };
  const stop = (how: End): void => {
    if (over) return;
    end(how);
    abort?.(new Error(how));
    if (how !== 'client-gone') socket.destroy();
  };
  const onGone = (): void => stop('client-gone');
  const onDrain = (): void => resume?.();
  exchange.cut = stop;
  response.on('close', onGone);

  return {
    onConnect(abortUpstream) {
      abort = abortUpstream;
      if (over) abortUpstream(new Error('the call is over'));
    },
    onHeaders(code, raw, resumeUpstream) {
      if (code < 200) return true;
      status = code;
      const headers: string[] = [];
      for (let i = 0; i < raw.length; i += 2) {
        const name = raw[i]!.toString('latin1');
        const lower = name.toLowerCase();
        if (HOP_BY_HOP.has(lower)) continue;
        const value = raw[i + 1]!.toString('latin1');
        if (lower === 'content-length') expected = Number(value);
        headers.push(name, value);
      }
      if (guard.draining) headers.push('Connection', 'close');
      response.writeHead(code, headers);
      if (expected < 0 || expected > SMALL || request.method === 'HEAD') {
        expected = -1;
        // A silent stream must show its head at once: `docker events` waits for it.
        response.flushHeaders();
        response.on('drain', onDrain);
        resume = resumeUpstream;
      }
      return true;
    },
    onData(chunk) {
      exchange.bytesOut += chunk.length;
      if (expected >= 0) {
        small = small === undefined ? chunk : Buffer.concat([small, chunk]);
        return true;
      }
      // False pauses the engine's side until the client has taken what is on its way (`drain`).
      return response.write(chunk);
    },
    onComplete() {
      // As one latin1 string, head and body leave with one write.
      if (small === undefined) response.end();
      else response.end(small.toString('latin1'), 'latin1');
      end('complete');
    },
    onError(error) {
      if (over) return;
      const how = endOf(error);
      if (response.headersSent) {
        // INVARIANT: an answer that was cut short must not look complete.
        end(how);
        socket.destroy();
        return;
      }
      const refusal = upstreamRefusal(guard, error);
      status = refusal.status;
      over = true;
      response.off('close', onGone);
      if (body !== undefined && !(body instanceof Uint8Array)) exchange.bytesIn = body.bytes;
      refuse(guard, exchange, refusal, how);
    },
  };
}

function endOf(error: Error): End {
  if (error instanceof Refusal) return error.code === 'body-cut' ? 'client-gone' : 'refused';
  return (error as NodeJS.ErrnoException).code?.includes('TIMEOUT') === true
    ? 'upstream-timeout'
    : 'upstream-error';
}

/** What the client is told when the engine does not answer. */
export function upstreamRefusal(guard: GuardState, error: Error): Refusal {
  if (error instanceof Refusal) return error;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const url = guard.config.upstream.url;
  guard.log.warn({ code, err: error.message }, 'the engine did not answer');
  if (code.includes('TIMEOUT')) {
    return new Refusal(504, 'upstream-timeout', `the Docker engine at ${url} did not answer in time`);
  }
  return new Refusal(
    502,
    'upstream',
    `the Docker engine at ${url} cannot be reached or broke off (${code === '' ? error.message : code}); is it running?`,
  );
}
