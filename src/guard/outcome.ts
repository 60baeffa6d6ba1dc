import { Refusal } from '../docker/refusal.js';

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
