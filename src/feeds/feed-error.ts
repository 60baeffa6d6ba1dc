/** A refresh that did not work, in one readable line. */
export class FeedError extends Error {
  /** When the server wants to be asked again (ms from now); 0: no word. */
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
