import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import type { BodyBudget, BufferLimits } from '../capture/buffer-body.js';
import type { BodyFraming } from '../capture/framed-body.js';
import { discardRest } from '../capture/linger.js';
import type { UpgradeInput } from '../capture/upgrade-input.js';
import type { Client } from '../docker/call.js';
import type { HeadReading, RequestHead } from '../docker/read.js';
import type { Admission, Guard } from './guard.js';
import type { Reply } from './reply.js';

/** One request as a listener hands it over. It never changes; what became of it is an `Outcome`. */
export interface Incoming {
  /** Call id. */
  readonly id: string;
  /** `performance.now()` when the head had arrived. */
  readonly started: number;
  /** Who is connected; a bearer token of this one request is not part of it. */
  readonly client: Client;
  readonly head: RequestHead;
  readonly body: IncomingBody;
  readonly reply: Reply;
}

/** The body of a request, while it arrives. */
export interface IncomingBody {
  /** It came with its head, or there is none: nothing more will arrive. */
  readonly isComplete: boolean;
  /** The whole body when it has arrived together with the head; undefined: `open` it. */
  takeWhole(limits: BufferLimits, budget: BodyBudget): Buffer | undefined;
  /** The body as a stream. Tells a client that waits for it to go on (`100 Continue`). Once for each request. */
  open(framing: BodyFraming): Readable;
  /** Reads the rest and throws it away. */
  discard(): void;
}

/** Gives something back that a call held. */
export type Release = () => void;

/** What is known of a call while it is on its way, and what it holds until it is over. */
export class Progress {
  head: HeadReading | undefined;
  /** Body bytes that were taken from the client. */
  bytesIn = 0;
  /** Those of them that are in memory: the budget gets them back. */
  buffered = 0;
  readonly #admission: Admission;
  readonly #budget: BodyBudget;
  #held: Release[] | undefined = [];

  constructor({ admission, budget }: Pick<Guard, 'admission' | 'budget'>) {
    this.#admission = admission;
    this.#budget = budget;
    admission.open += 1;
  }

  /** Lookups may still be on their way when their call has ended: what comes then is given back at once. */
  hold(release: Release): void {
    if (this.#held === undefined) release();
    else this.#held.push(release);
  }

  /**
   * Gives back what lookups hold: they begin anew, and must not wait for themselves.
   *
   * @param kept how many things were held before them.
   */
  letGo(kept: number): void {
    for (const release of this.#held?.splice(kept) ?? []) release();
  }

  /** The call is over: gives back what it holds. */
  end(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const release of held) release();
    if (this.buffered > 0) this.#budget.give(this.buffered);
    const admission = this.#admission;
    admission.open -= 1;
    if (admission.open === 0) admission.onIdle?.();
  }
}

/** Random for each process, so that ids of two runs never meet. */
const run = Math.random().toString(36).slice(2, 8).padEnd(6, '0') + Date.now().toString(36).slice(-4);
let counter = 0;

/** A call id: unique, short enough to read out over the phone. */
export function nextCallId(): string {
  counter += 1;
  return `${run}-${counter.toString(36)}`;
}

/** The body of an ordinary request: node's HTTP parser takes it apart. */
export class PlainBody implements IncomingBody {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #expectsContinue: boolean;

  constructor(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean) {
    this.#request = request;
    this.#response = response;
    this.#expectsContinue = expectsContinue;
  }

  get isComplete(): boolean {
    return this.#request.complete;
  }

  /** No listener, no timer. Undefined too when there is anything to refuse; nothing was read then. */
  takeWhole(limits: BufferLimits, budget: BodyBudget): Buffer | undefined {
    const request = this.#request;
    const size = request.readableLength;
    if (this.#expectsContinue || !request.complete || request.destroyed) return undefined;
    if (size > limits.bytes || !budget.take(size)) return undefined;
    // Since Node 26 one read gives one piece of what has arrived.
    const pieces: Buffer[] = [];
    let piece: Buffer | null;
    while ((piece = request.read() as Buffer | null) !== null) pieces.push(piece);
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
  }

  open(): Readable {
    if (this.#expectsContinue) this.#response.writeContinue();
    return this.#request;
  }

  discard(): void {
    if (!this.#request.complete) discardRest(this.#request);
  }
}

/** The body of a request with an `Upgrade` header. */
export class UpgradedBody implements IncomingBody {
  readonly isComplete = false;
  readonly #input: UpgradeInput;
  readonly #response: ServerResponse;
  readonly #expectsContinue: boolean;

  constructor(input: UpgradeInput, response: ServerResponse, expectsContinue: boolean) {
    this.#input = input;
    this.#response = response;
    this.#expectsContinue = expectsContinue;
  }

  takeWhole(): undefined {
    return undefined;
  }

  open(framing: BodyFraming): Readable {
    if (this.#expectsContinue) this.#response.writeContinue();
    return this.#input.body(framing);
  }

  discard(): void {}
}
