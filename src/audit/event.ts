import type { Client } from '../docker/call.js';
import type { FactValue, SequenceFinding } from '../hazards/inspection.js';
import type { IndicatorMatch } from '../intel/indicator.js';
import type { AlertEvent } from './alert-event.js';
import type { EgressEvent } from './egress-event.js';

/** The decision about one call, and what it rests on. Written before it takes effect. */
export interface DecisionEvent {
  readonly event: 'decision';
  /** Call id; the same in the outcome line and in the response to the client. */
  readonly call: string;
  readonly client: Client;
  readonly sources: readonly string[];
  readonly method: string;
  /** operationId, or `""` when the request could not be read that far. */
  readonly operation: string;
  readonly apiVersion: string;
  /** Path parameters. */
  readonly params: Readonly<Record<string, string>>;
  /** The request target without values, see `shownTarget`; only when it could not be read into an operation. */
  readonly target?: string;
  readonly facts: Readonly<Record<string, FactValue>>;
  /** Hazards, written `kind:argument`. */
  readonly hazards: readonly string[];
  /** Listed indicators that were found in the call, those that only alert too; absent when there are none. */
  readonly indicators?: readonly IndicatorMatch[];
  /** Attacks in several calls that this one completes, those that only alert too; absent when there are none. */
  readonly sequences?: readonly SequenceFinding[];
  readonly verdict: 'allow' | 'deny';
  /** False in observe mode: the verdict is on record, the call was forwarded all the same. */
  readonly enforced: boolean;
  readonly rule: string;
  readonly code: string;
  readonly reason: string;
  /** What policy changed in the call before it was forwarded. */
  readonly rewrites: readonly string[];
  /** Revision of the policy that decided. */
  readonly policy: string;
}

/** How a call ended. */
export interface OutcomeEvent {
  readonly event: 'outcome';
  readonly call: string;
  readonly operation: string;
  /** HTTP status the client was sent; 0 when the client left before there was one. */
  readonly status: number;
  /** `complete`, `client-gone`, `upstream-error`, `upstream-timeout`, `refused`, `shutdown`. */
  readonly end: string;
  /** Milliseconds from the head of the request to the end. */
  readonly duration: number;
  /** Body bytes from and to the client (both directions of a hijacked stream). */
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export type AuditEvent = DecisionEvent | OutcomeEvent | EgressEvent | AlertEvent;
