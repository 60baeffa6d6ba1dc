import type { Readable } from 'node:stream';
import { endsWithInput } from '../../docker/call.js';
import type { Operation } from '../../docker/operation.js';
import { endToEnd } from '../../docker/answers/headers.js';
import { Refusal } from '../../docker/refusal.js';
import type { EngineHandler } from '../../upstream/engine-call.js';
import type { Incoming } from '../incoming.js';
import type { End, Outcome } from '../outcome.js';
import type { ReplyEvents } from '../reply.js';

/** Answers up to this size are passed on with one write. */
const MAX_HELD = 64 * 1024;

/** A streamed request body that tells how much of it the client has sent. */
export type CountedBody = Readable & { readonly bytes: number };

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

/** What the end of the chain has to know of its call. */
export interface AnswerOptions {
  readonly operation: Operation;
  /** The request body, while it goes to the engine; undefined when it is a text or there is none. */
  readonly body: CountedBody | undefined;
  /** Body bytes that were read into memory before. */
  readonly captured: number;
  readonly control: AnswerControl;
  /** The guard takes no new calls: the connection closes behind the answer. */
  isStopping(): boolean;
  /** What the client is told when the engine fails. */
  refusalFor(error: Error): Refusal;
  /** Called when the call is cut from the client's side, before its outcome is known. */
  readonly onCut?: (end: End) => void;
}

/**
 * Passes the engine's answer on to the client: the end of the chain of handlers. Exactly one of complete, error, or a cut
 * ends it. The framing stays as the engine chose it: an answer with a length keeps it, one without goes out in chunks.
 */
export class ClientAnswer implements EngineHandler, ReplyEvents {
  readonly outcome: Promise<Outcome>;
  readonly endsWithInput: boolean;
  readonly #incoming: Incoming;
  readonly #options: AnswerOptions;
  readonly #resolve: (outcome: Outcome) => void;
  #state: 'waiting' | 'holding' | 'streaming' | 'over' = 'waiting';
  #status = 0;
  #headers: string[] = [];
  #held: Buffer[] = [];
  #heldBytes = 0;
  #bytesOut = 0;
  #resume: (() => void) | undefined;

  constructor(incoming: Incoming, options: AnswerOptions) {
    this.#incoming = incoming;
    this.#options = options;
    const { promise, resolve } = withResolvers<Outcome>();
    this.outcome = promise;
    this.#resolve = resolve;
    this.endsWithInput = endsWithInput(options.operation);
    incoming.reply.listen(this);
  }

  get isOver(): boolean {
    return this.#state === 'over';
  }

  onHeaders(status: number, headers: string[], length: number, resume: () => void): void {
    if (this.isOver) return;
    this.#state = 'holding';
    this.#status = status;
    this.#headers = endToEnd(headers);
    this.#resume = resume;
    if (this.#options.isStopping()) this.#headers.push('Connection', 'close');
    if (this.#options.control.holdsBack) return;
    if (length > MAX_HELD) this.#stream();
    // What comes in this turn can still leave together with the head.
    else if (length < 0) process.nextTick(this.#streamLater);
  }

  readonly #streamLater = (): void => {
    if (this.#state === 'holding') this.#stream();
  };

  /** The answer goes on after this turn, or is large: from here on it is passed on as it comes. */
  #stream(): void {
    this.#state = 'streaming';
    this.#incoming.reply.begin(this.#status, this.#headers);
    for (const piece of this.#held) this.#incoming.reply.write(piece);
    this.#held = [];
  }

  onData(piece: Buffer): boolean {
    if (this.isOver || piece.length === 0) return true;
    const { reply } = this.#incoming;
    this.#bytesOut += piece.length;
    if (this.#state === 'streaming') {
      reply.write(piece);
    } else {
      this.#held.push(piece);
      this.#heldBytes += piece.length;
      if (this.#heldBytes > MAX_HELD) this.#stream();
    }
    return reply.takesMore;
  }

  onDrain(): void {
    this.#resume?.();
  }

  onComplete(): void {
    if (this.isOver) return;
    const { reply } = this.#incoming;
    if (this.#state === 'streaming') {
      reply.end();
    } else {
      if (this.#options.control.isResized) this.#headers.push('Content-Length', String(this.#heldBytes));
      reply.sendWhole(this.#status, this.#headers, this.#held);
    }
    this.#finish('complete');
  }

  onError(error: Error): void {
    if (this.isOver) return;
    const { reply, id } = this.#incoming;
    const end = endOf(error);
    if (reply.hasBegun) {
      this.#finish(end);
      reply.cut();
      return;
    }
    this.detach();
    const refused = reply.refuse(this.#options.refusalFor(error), id);
    this.#resolve({ status: refused.status, end, bytesIn: this.#bytesIn, bytesOut: refused.bytes });
  }

  /** The client has left, its carrier gave it up, or the guard stops. */
  onCut(end: End): void {
    if (this.isOver) return;
    this.#options.onCut?.(end);
    this.#finish(end);
    this.#options.control.abort();
    if (end !== 'client-gone') this.#incoming.reply.cut();
  }

  #finish(end: End): void {
    this.detach();
    this.#resolve({ status: this.#status, end, bytesIn: this.#bytesIn, bytesOut: this.#bytesOut });
  }

  get #bytesIn(): number {
    return this.#options.captured + (this.#options.body?.bytes ?? 0);
  }

  /** Lets go of the client, whom somebody else answers from here on. The engine's side is not touched. */
  detach(): void {
    if (this.isOver) return;
    this.#state = 'over';
    this.#held = [];
    this.#incoming.reply.listen(undefined);
    const { body } = this.#options;
    if (body === undefined) return;
    // The engine may answer before it has read everything: the rest of the client's body goes nowhere.
    body.destroy();
    this.#incoming.body.discard();
  }
}

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((take) => {
    resolve = take;
  });
  return { promise, resolve };
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

/** What the client is told when the engine does not answer. @param url of the engine. */
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
