import type { Readable } from 'node:stream';
import type { BufferLimits } from '../capture/buffer-body.js';
import type { BodyBudget } from '../capture/body-budget.js';
import type { BodyFraming } from '../capture/framed-body.js';
import type { Client } from '../docker/call.js';
import type { HeadReading, RequestHead } from '../docker/read.js';
import { Refusal } from '../docker/refusal.js';
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
  /** Lets the rest go by that nobody will read. */
  discard(): void;
}

/** How a call ended, as the outcome record and the metrics name it. */
export type End = 'complete' | 'refused' | 'client-gone' | 'upstream-error' | 'upstream-timeout' | 'shutdown';

/** What became of a call. */
export interface Outcome {
  /** Status that the client was sent; 0 when it left before there was one. */
  readonly status: number;
  readonly end: End;
  /** Body bytes from and to the client (both directions of a raw stream). */
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** The call ended before it was answered. */
export class CallCut extends Refusal {
  readonly end: End;

  constructor(end: End, refusal: Refusal) {
    super(refusal.status, refusal.code, refusal.message);
    this.end = end;
  }
}

/** Gives something back that a call held. */
export type Release = () => void;

/**
 * What a call holds and gives back when it is over. INVARIANT: what is got only after the end is given back at once: of
 * lookups that run side by side, one may fail while another still waits for a name.
 */
export class Held {
  #releases: Release[] | undefined = [];

  add(release: Release): void {
    if (this.#releases === undefined) release();
    else this.#releases.push(release);
  }

  /** The call is over. */
  release(): void {
    const releases = this.#releases ?? [];
    this.#releases = undefined;
    for (const release of releases) release();
  }
}

/** What is known of a call while it is on its way. */
export interface Progress {
  head: HeadReading | undefined;
  /** Body bytes that were taken from the client. */
  bytesIn: number;
  readonly held: Held;
}

/** Random for each process, so that ids of two runs never meet. */
const run = Math.random().toString(36).slice(2, 8).padEnd(6, '0') + Date.now().toString(36).slice(-4);
let counter = 0;

/** A call id: unique, short enough to read out over the phone. */
export function nextCallId(): string {
  counter += 1;
  return `${run}-${counter.toString(36)}`;
}
