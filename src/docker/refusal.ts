import { maskCredentials } from '../base/mask.js';

/**
 * A request that has no single clear reading. Every pure step may throw it; the pipeline turns it into an answer
 * with this status and Docker's error shape. It is never a pass.
 */
export class Refusal extends Error {
  /** HTTP status for the client: 400 unreadable, 404 unknown operation, 405 method, 413 too large, 415 media type, 429 too often. */
  readonly status: number;
  /** Stable machine word for the audit line and metrics, e.g. `duplicate-parameter`. Lower-case, hyphens. */
  readonly code: string;
  /** Whole seconds after which it is worth trying again; 0: not said. */
  readonly retryAfter: number;

  constructor(status: number, code: string, message: string, retryAfter = 0) {
    // Denials are written to logs of clients: credentials in a URL that a reason quotes are not for them.
    super(maskCredentials(message));
    this.name = 'Refusal';
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}
