import { randomUUID } from 'node:crypto';
import { parse, short } from './http-kinds.js';

/** Between two requests for the state of acknowledgements. */
const POLL_INTERVAL_MS = 250;
/** Indexing is slow: acknowledgements may take this many times the time-out of a post. */
const TIMEOUT_FACTOR = 30;
/** Status codes after which the answer will be the same the next time. */
const REFUSALS = new Set([400, 401, 403, 404]);

/** Requests the state of ids in a channel. */
export type AckRequest = (
  channel: string,
  ids: readonly number[],
  signal: AbortSignal,
) => Promise<{ readonly status: number; readonly text: string }>;

/** A confirmation that is waited for: numbers that are not acknowledged yet. */
interface Confirmation {
  readonly ids: Set<number>;
  readonly until: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Splunk's indexer acknowledgement: each post gets a number, counted per channel, and a request returns which numbers are
 * indexed. Splunk reports a number once and then forgets it: if that response is lost, the records are posted again.
 *
 * INVARIANT: a number stands for one post. A receiver that was restarted counts anew, in the same channel: its numbers must
 * not be taken for those of posts that it has forgotten.
 */
export class Acknowledgements {
  readonly #timeout: number;
  readonly #send: AckRequest;
  #channel: string = randomUUID();
  /** The highest number of this channel. */
  #newest = -1;
  /** Numbers of posts since the last confirmation was asked for. */
  #posted: number[] = [];
  #confirmations: Confirmation[] = [];
  #isPolling = false;

  /** @param timeout of one request (ms). */
  constructor(timeout: number, send: AckRequest) {
    this.#timeout = timeout;
    this.#send = send;
  }

  /** The channel of posts and of requests for acknowledgements. */
  get channel(): string {
    return this.#channel;
  }

  /** Reads the answer to a post. @throws Error when posts are not acknowledged, or earlier ones will never be. */
  posted(answer: string): void {
    const { ackId } = parse(answer);
    if (typeof ackId !== 'number') {
      throw new Error('answered without an ackId: indexer acknowledgement is not switched on for this token');
    }
    if (ackId <= this.#newest) {
      throw new Error(`counts its acknowledgements anew (${ackId} after ${this.#newest}): it was restarted`);
    }
    this.#newest = ackId;
    this.#posted.push(ackId);
  }

  /** Resolves when all that was posted before is acknowledged; in the order of the calls. */
  confirm(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const until = Date.now() + this.#timeout * TIMEOUT_FACTOR;
      this.#confirmations.push({ ids: new Set(this.#posted), until, resolve, reject });
      this.#posted = [];
      void this.#poll(signal);
    });
  }

  /** Begins anew: what was posted before is given up. */
  reset(): void {
    this.#fail(new Error('given up'));
    this.#channel = randomUUID();
    this.#newest = -1;
  }

  async #poll(signal: AbortSignal): Promise<void> {
    if (this.#isPolling) return;
    this.#isPolling = true;
    while (this.#confirmations.length > 0) {
      const problem = await this.#request(signal);
      for (
        let confirmation = this.#confirmations[0];
        confirmation?.ids.size === 0;
        confirmation = this.#confirmations[0]
      ) {
        this.#confirmations.shift();
        confirmation.resolve();
      }
      const [first] = this.#confirmations;
      if (first === undefined) break;
      if (signal.aborted) this.#fail(new Error('stopped'));
      else if (Date.now() >= first.until) {
        const waited = `not acknowledged by the indexers within ${this.#timeout * TIMEOUT_FACTOR} ms`;
        this.#fail(new Error(problem === '' ? waited : `${waited}; ${problem}`));
      } else await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS));
    }
    this.#isPolling = false;
  }

  /** @returns what was wrong; empty when it was answered. */
  async #request(signal: AbortSignal): Promise<string> {
    const channel = this.#channel;
    const ids = this.#confirmations.flatMap((confirmation) => [...confirmation.ids]);
    if (ids.length === 0) return '';
    try {
      const { status, text } = await this.#send(channel, ids, signal);
      if (channel !== this.#channel) return '';
      if (status !== 200) {
        const problem = `the request for acknowledgements was answered ${status}: ${short(text)}`;
        if (REFUSALS.has(status)) this.#fail(new Error(problem));
        return problem;
      }
      const acks = Object(parse(text)['acks']) as Record<string, unknown>;
      for (const confirmation of this.#confirmations) {
        for (const id of confirmation.ids) if (acks[id] === true) confirmation.ids.delete(id);
      }
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  }

  #fail(error: Error): void {
    const failed = this.#confirmations;
    this.#confirmations = [];
    this.#posted = [];
    for (const { reject } of failed) reject(error);
  }
}
