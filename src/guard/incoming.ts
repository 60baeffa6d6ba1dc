import type { Readable } from 'node:stream';
import type { BufferLimits } from '../capture/buffer-body.js';
import type { BodyBudget } from '../capture/body-budget.js';
import type { BodyFraming } from '../capture/framed-body.js';
import type { Client } from '../docker/call.js';
import type { HeadReading, RequestHead } from '../docker/read.js';
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

/** Gives something back that a call held. */
export type Release = () => void;

/** What a call holds, until it is over. */
export class Holdings {
  #releases: Release[] | undefined = [];

  /** Lookups may still be on their way when their call has ended: what comes then is given back at once. */
  add(release: Release): void {
    if (this.#releases === undefined) release();
    else this.#releases.push(release);
  }

  /** The call is over. */
  releaseAll(): void {
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
  /** Gives back what the call holds, when it is over. */
  readonly held: Holdings;
}

/** Random for each process, so that ids of two runs never meet. */
const run = Math.random().toString(36).slice(2, 8).padEnd(6, '0') + Date.now().toString(36).slice(-4);
let counter = 0;

/** A call id: unique, short enough to read out over the phone. */
export function nextCallId(): string {
  counter += 1;
  return `${run}-${counter.toString(36)}`;
}
