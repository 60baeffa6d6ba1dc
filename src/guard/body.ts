import type { Readable } from 'node:stream';
import { bufferBody, takeWhole, type BufferLimits } from '../capture/buffer-body.js';
import type { Exchange } from './exchange.js';
import type { GuardState } from './state.js';

/**
 * The request body as a stream. Call it once
 * per request. Answers `100 Continue` to a client that waits for it: nobody needs to send a body before this.
 */
export function bodyOf(exchange: Exchange): Readable {
  if (exchange.expectsContinue) exchange.response.writeContinue();
  return exchange.upgrade?.body(exchange.reading!.framing) ?? exchange.request;
}

type Step<T> = (guard: GuardState, exchange: Exchange, result: T) => void;

interface Waiting {
  readonly guard: GuardState;
  readonly exchange: Exchange;
  readonly then: Step<Buffer>;
  readonly failed: Step<unknown>;
}

/** Requests whose head came in this turn. */
let arrived: Waiting[] = [];

/**
 * capture: a body that is judged is read whole first. Exactly one of `then` and `failed` follows, the latter also when
 * `then` throws.
 */
export function captureBody(
  guard: GuardState,
  exchange: Exchange,
  then: Step<Buffer>,
  failed: Step<unknown>,
): void {
  if (exchange.upgrade !== undefined || exchange.expectsContinue) {
    void awaitBody(guard, exchange, then, failed);
  } else {
    // What came together with the head is parsed after this: small bodies are all there when the turn ends.
    if (arrived.length === 0) setImmediate(takeArrived);
    arrived.push({ guard, exchange, then, failed });
  }
}

function takeArrived(): void {
  const turn = arrived;
  arrived = [];
  for (const { guard, exchange, then, failed } of turn) {
    try {
      const body = takeWhole(exchange.request, limitsOf(guard, exchange), guard.budget);
      if (body === undefined) void awaitBody(guard, exchange, then, failed);
      else captured(guard, exchange, body, then);
    } catch (error) {
      failed(guard, exchange, error);
    }
  }
  // Their decisions are still of this turn: nobody has to wait for the next one.
  for (const { guard } of turn) guard.audit.flush();
}

async function awaitBody(
  guard: GuardState,
  exchange: Exchange,
  then: Step<Buffer>,
  failed: Step<unknown>,
): Promise<void> {
  try {
    const limits = limitsOf(guard, exchange);
    const { framing } = exchange.reading!;
    const announced = framing.kind === 'length' ? framing.length : -1;
    const body = await bufferBody(bodyOf(exchange), announced, limits, guard.budget);
    captured(guard, exchange, body, then);
  } catch (error) {
    failed(guard, exchange, error);
  }
}

const limitsOf = (guard: GuardState, exchange: Exchange): BufferLimits => ({
  bytes: exchange.reading!.bufferLimit,
  timeout: guard.limits.bodyTimeout,
});

function captured(guard: GuardState, exchange: Exchange, body: Buffer, then: Step<Buffer>): void {
  exchange.held = body.length;
  exchange.bytesIn = body.length;
  then(guard, exchange, body);
}
