/** A refresh that did not work, in one readable line. */
export class FeedError extends Error {
  /** Waiting time that the server asks for (ms from now); 0: none. */
  readonly retryAfter: number;
  /** HTTP status of the answer; 0 where there was none. */
  readonly status: number;

  constructor(message: string, retryAfter = 0, status = 0) {
    super(message);
    this.name = 'FeedError';
    this.retryAfter = retryAfter;
    this.status = status;
  }
}
