import type { HttpAnswer } from './http-client.js';
import { short, type HttpKind } from './http-kinds.js';
import { RetryLater, type Outcome, type Outgoing } from './sink.js';

/** Bad data: the same post will not be taken later either. Anything else may be mended on the other side. */
const BAD_DATA = new Set([400, 413, 422]);
/** Posts made to find what is refused in one batch. */
const MAX_SEARCH_POSTS = 40;

/** What posts of a batch need. */
export interface BatchPoster {
  readonly kind: HttpKind;
  /** The body of a post of these messages. */
  body(messages: readonly Outgoing[]): string;
  post(body: string): Promise<HttpAnswer>;
  /** A post was taken: reads what its answer says of acknowledgements. @throws Error */
  onTaken(answer: string): void;
  /** The credentials were not accepted. */
  onUnauthorized(): void;
}

/** Posts a batch of messages, splits it when it is refused, and records the outcome of each message. */
export class HttpBatch {
  readonly #poster: BatchPoster;
  readonly #refused = new Map<Outgoing, string>();
  readonly #again = new Map<Outgoing, string>();
  /** Refused when posted alone; the receiver may still be the cause, if it accepts nothing at all. */
  readonly #suspects = new Map<Outgoing, string>();
  #unnamed: { readonly count: number; readonly reason: string } | undefined;
  /** Parts that are still to be posted, the next one last. */
  #parts: (readonly Outgoing[])[] = [];
  /** Milliseconds that the receiver asked to be left alone; above 0, nothing more is posted. */
  #retryAfter = 0;
  #posts = 0;
  #taken = 0;

  constructor(poster: BatchPoster) {
    this.#poster = poster;
  }

  /** @throws Error when nothing was taken. */
  async deliver(messages: readonly Outgoing[]): Promise<Outcome> {
    this.#parts = this.#split(messages).reverse();
    for (let part = this.#parts.pop(); part !== undefined; part = this.#parts.pop()) {
      if (this.#retryAfter > 0 || this.#posts - this.#taken >= MAX_SEARCH_POSTS) {
        this.#postpone(part, 'not tried yet');
      } else await this.#deliverPart(part);
    }
    // A receiver that accepts nothing at all is misconfigured: its records must not be put aside.
    if (this.#taken === 0) {
      throw new Error(`takes no record: ${[...this.#suspects.values()][0] ?? 'all were refused'}`);
    }
    for (const [message, reason] of this.#suspects) await this.#retry(message, reason);
    return {
      refused: this.#refused,
      again: this.#again,
      ...(this.#unnamed === undefined ? {} : { unnamed: this.#unnamed }),
      retryAfter: this.#retryAfter,
    };
  }

  async #deliverPart(part: readonly Outgoing[]): Promise<void> {
    this.#posts += 1;
    let answer: HttpAnswer;
    try {
      answer = await this.#poster.post(this.#poster.body(part));
    } catch (error) {
      if (this.#taken === 0) throw error;
      // Messages that were accepted before are not sent again.
      this.#postpone(part, (error as Error).message);
      this.#retryAfter = 1;
      return;
    }
    if (isSuccess(answer.status)) this.#noteTaken(part, answer);
    else this.#noteFailure(part, answer);
  }

  #noteTaken(part: readonly Outgoing[], { text, retryAfter }: HttpAnswer): void {
    this.#taken += 1;
    this.#poster.onTaken(text);
    const outcome = this.#poster.kind.readOutcome?.(text, part);
    if (outcome === undefined) return;
    for (const [message, reason] of outcome.refused) this.#refused.set(message, reason);
    for (const [message, reason] of outcome.again) this.#again.set(message, reason);
    if (outcome.unnamed !== undefined) {
      const { count, reason } = outcome.unnamed;
      this.#unnamed = { count: (this.#unnamed?.count ?? 0) + count, reason };
    }
    if (outcome.again.size > 0) this.#retryAfter = Math.max(this.#retryAfter, retryAfter);
  }

  #noteFailure(part: readonly Outgoing[], { status, text, retryAfter }: HttpAnswer): void {
    const reason = `answered ${status}: ${short(text)}`;
    if (status === 401) this.#poster.onUnauthorized();
    if (!BAD_DATA.has(status)) {
      if (this.#taken === 0) throw new RetryLater(reason, retryAfter);
      this.#postpone(part, reason);
      this.#retryAfter = Math.max(1, retryAfter);
    } else if (part.length === 1) this.#suspects.set(part[0]!, reason);
    else {
      const half = part.length >> 1;
      this.#parts.push(part.slice(half), part.slice(0, half));
    }
  }

  #postpone(part: readonly Outgoing[], reason: string): void {
    for (const message of part) this.#again.set(message, reason);
  }

  /** The receiver may have been the cause: the message is posted once more, now that it accepts others. */
  async #retry(message: Outgoing, reason: string): Promise<void> {
    const status = this.#retryAfter > 0 ? 0 : await this.#statusOf(message);
    if (BAD_DATA.has(status)) this.#refused.set(message, reason);
    else if (!isSuccess(status)) this.#again.set(message, reason);
  }

  /** @returns the status of a post of this message alone, 0 where there is none. */
  async #statusOf(message: Outgoing): Promise<number> {
    try {
      const answer = await this.#poster.post(this.#poster.body([message]));
      if (isSuccess(answer.status)) this.#poster.onTaken(answer.text);
      return answer.status;
    } catch {
      return 0;
    }
  }

  /** Splits messages so that no post is larger than the limit; one that is larger alone goes alone. */
  #split(messages: readonly Outgoing[]): (readonly Outgoing[])[] {
    const { limit } = this.#poster.kind;
    if (limit === 0 || messages.length < 2 || Buffer.byteLength(this.#poster.body(messages)) <= limit) {
      return [messages];
    }
    const half = messages.length >> 1;
    return [...this.#split(messages.slice(0, half)), ...this.#split(messages.slice(half))];
  }
}

const isSuccess = (status: number): boolean => status >= 200 && status < 300;
