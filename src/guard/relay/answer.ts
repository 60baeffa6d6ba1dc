import type { Readable } from 'node:stream';
import type { Flow } from '../../capture/relay-body.js';
import { endToEnd } from '../../docker/http.js';
import { Refusal } from '../../docker/refusal.js';
import type { Judgement } from '../../policy/judge.js';
import type { EngineHandler } from '../../upstream/engine-call.js';
import type { Guard } from '../guard.js';
import type { Incoming, Progress } from '../incoming.js';
import type { End, Outcome } from '../outcome.js';
import type { ReplyEvents } from '../reply.js';

/** Answers up to this size are passed on with one write. */
const MAX_HELD = 64 * 1024;

/** A streamed request body that tells how much of it the client has sent. */
export type CountedBody = Readable & { readonly bytes: number };

/** One call on its way to the engine, and how its answer comes back. */
export interface Exchange {
  readonly guard: Guard;
  readonly incoming: Incoming;
  readonly judgement: Judgement;
  /** Counts bytes against the limits of the caller's sources. */
  readonly flow: Flow | undefined;
  readonly progress: Progress;
}

/** What the handlers of one answer share. */
export interface AnswerControl {
  /** Closes the engine's side. */
  abort(): void;
  /**
   * The beginning of the answer is held back, so that what is wrong with it is mostly found while it can still be
   * refused.
   */
  holdsBack: boolean;
  /** The engine gave a length that is not that of the changed answer: the client is given the right one. */
  isResized: boolean;
}

/** Puts a handler before the next one: it changes what it is about, and passes on the rest. */
export type Wrap = (next: EngineHandler) => EngineHandler;

/** A handler that hands everything to the next one. */
export const passOn = (next: EngineHandler): EngineHandler => ({
  onHeaders: (status, headers, length, resume) => next.onHeaders(status, headers, length, resume),
  onData: (piece) => next.onData(piece),
  onComplete: () => next.onComplete(),
  onError: (error) => next.onError(error),
  onUpgrade: (status, headers, socket) => next.onUpgrade?.(status, headers, socket),
});

/**
 * Passes the engine's answer on to the client: the end of the chain of handlers. Exactly one of complete, error, or a cut
 * ends it. The framing stays as the engine chose it: an answer with a length keeps it, one without goes out in chunks.
 */
export class ClientAnswer implements EngineHandler, ReplyEvents {
  readonly outcome: Promise<Outcome>;
  readonly endsWithInput: boolean;
  readonly #exchange: Exchange;
  readonly #control: AnswerControl;
  readonly #body: CountedBody | undefined;
  readonly #whenCut: ((end: End) => void) | undefined;
  #resolve!: (outcome: Outcome) => void;
  #state: 'waiting' | 'holding' | 'streaming' | 'over' = 'waiting';
  #status = 0;
  #headers: string[] = [];
  #held: Buffer[] = [];
  #heldBytes = 0;
  #bytesOut = 0;
  #resume: (() => void) | undefined;

  /**
   * @param body the request body, while it goes to the engine; undefined when it is a text or there is none.
   * @param whenCut called when the call is cut from the client's side, before its outcome is known.
   */
  constructor(
    exchange: Exchange,
    control: AnswerControl,
    body: CountedBody | undefined,
    whenCut: ((end: End) => void) | undefined,
  ) {
    this.#exchange = exchange;
    this.#control = control;
    this.#body = body;
    this.#whenCut = whenCut;
    this.outcome = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.endsWithInput = exchange.judgement.sent.operation.endsWithInput;
    exchange.incoming.reply.listen(this);
  }

  get isOver(): boolean {
    return this.#state === 'over';
  }

  onHeaders(status: number, headers: string[], length: number, resume: () => void): void {
    if (this.#state === 'over') return;
    this.#state = 'holding';
    this.#status = status;
    this.#headers = endToEnd(headers);
    this.#resume = resume;
    // The guard takes no new calls: the connection closes behind the answer.
    if (this.#exchange.guard.admission.isClosed) this.#headers.push('Connection', 'close');
    if (this.#control.holdsBack) return;
    if (length > MAX_HELD) this.#stream();
    // What comes in this turn can still leave together with the head.
    else if (length < 0) process.nextTick(this.#streamLater);
  }

  readonly #streamLater = (): void => {
    if (this.#state === 'holding') this.#stream();
  };

  /** The answer goes on after this turn, or is large: from here on it is passed on as it comes. */
  #stream(): void {
    const { reply } = this.#exchange.incoming;
    this.#state = 'streaming';
    reply.begin(this.#status, this.#headers);
    for (const piece of this.#held) reply.write(piece);
    this.#held = [];
  }

  onData(piece: Buffer): boolean {
    if (this.#state === 'over' || piece.length === 0) return true;
    const { reply } = this.#exchange.incoming;
    this.#bytesOut += piece.length;
    if (this.#state === 'streaming') {
      reply.write(piece);
      return reply.takesMore;
    }
    this.#held.push(piece);
    this.#heldBytes += piece.length;
    if (this.#heldBytes <= MAX_HELD) return true;
    this.#stream();
    return reply.takesMore;
  }

  onDrain(): void {
    this.#resume?.();
  }

  onComplete(): void {
    if (this.#state === 'over') return;
    const { reply } = this.#exchange.incoming;
    if (this.#state === 'streaming') {
      reply.end();
    } else {
      if (this.#control.isResized) this.#headers.push('Content-Length', String(this.#heldBytes));
      reply.sendWhole(this.#status, this.#headers, this.#held);
    }
    this.#finish('complete', this.#status, this.#bytesOut);
  }

  onError(error: Error): void {
    if (this.#state === 'over') return;
    const { guard, incoming } = this.#exchange;
    const end = endOf(error);
    if (incoming.reply.hasBegun) {
      this.#finish(end, this.#status, this.#bytesOut);
      incoming.reply.cut();
      return;
    }
    this.detach();
    const refusal = upstreamRefusal(error, guard.config.upstream.url);
    if (refusal !== error) guard.log.warn({ err: error.message }, 'the engine did not answer');
    const { status, bytes } = incoming.reply.refuse(refusal, incoming.id);
    this.#finish(end, status, bytes);
  }

  /** The client has left, its carrier gave it up, or the guard stops. */
  onCut(end: End): void {
    if (this.#state === 'over') return;
    this.#whenCut?.(end);
    this.#finish(end, this.#status, this.#bytesOut);
    this.#control.abort();
    if (end !== 'client-gone') this.#exchange.incoming.reply.cut();
  }

  #finish(end: End, status: number, bytesOut: number): void {
    this.detach();
    const bytesIn = this.#exchange.progress.bytesIn + (this.#body?.bytes ?? 0);
    this.#resolve({ status, end, bytesIn, bytesOut });
  }

  /** Lets go of the client, who is answered in another way from here on. The engine's side is not touched. */
  detach(): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    this.#held = [];
    const { incoming } = this.#exchange;
    incoming.reply.listen(undefined);
    if (this.#body === undefined) return;
    // The engine may answer before it has read everything: the rest of the client's body goes nowhere.
    this.#body.destroy();
    incoming.body.discard();
  }
}

/** `ENGINE_TIMEOUT`, `ENGINE_CONNECT_TIMEOUT`, the system's `ETIMEDOUT`. */
const TIMEOUT = /TIMED?OUT/;

const ENDS: Readonly<Record<string, End>> = {
  'body-cut': 'client-gone',
  'upstream-timeout': 'upstream-timeout',
  answer: 'upstream-error',
  upstream: 'upstream-error',
};

function endOf(error: Error): End {
  if (error instanceof Refusal) return ENDS[error.code] ?? 'refused';
  return TIMEOUT.test((error as NodeJS.ErrnoException).code ?? '') ? 'upstream-timeout' : 'upstream-error';
}

/** What the client gets when the engine does not answer. @param url of the engine. */
export function upstreamRefusal(error: Error, url: string): Refusal {
  if (error instanceof Refusal) return error;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (TIMEOUT.test(code)) {
    return new Refusal(504, 'upstream-timeout', `the Docker engine at ${url} did not answer in time`);
  }
  return new Refusal(
    502,
    'upstream',
    `the Docker engine at ${url} cannot be reached or broke off (${code === '' ? error.message : code}); is it running?`,
  );
}
