import type { EgressContainer } from './egress-event.js';
import type { IndicatorMatch } from '../intel/indicator.js';

/**
 * What an alert is about. `denied`: calls that policy denied. `unreadable`: input that never became a call. `indicator`:
 * calls that name what a feed lists. `sequence`: calls that together make an attack. `egress`: outbound traffic to what
 * is listed or not allowed. `audit`: records that could not be written.
 */
export type AlertKind = 'denied' | 'unreadable' | 'indicator' | 'sequence' | 'egress' | 'audit';

/** Several events of one kind, summed up. Each of them is in the trail by itself as well. */
export interface AlertEvent {
  readonly event: 'alert';
  readonly id: string;
  readonly kind: AlertKind;
  /** `blocked`, `observed` where it was let through, empty where it means nothing. */
  readonly action: 'blocked' | 'observed' | '';
  /** The client that called; absent for outbound traffic, and when there were many. */
  readonly client: AlertClient | undefined;
  /** The container that the outbound traffic came from; `address` alone where it is not known. */
  readonly container: EgressContainer | undefined;
  readonly address: string;
  /** How many clients or containers there were; 0 when it was the one that is named. */
  readonly addresses: number;
  readonly sources: readonly string[];
  /** The first few operationIds that were called. */
  readonly operations: readonly string[];
  readonly code: string;
  /** Of the last one. */
  readonly rule: string;
  /** The first few hazards and indicators that occurred once the alert had been raised. */
  readonly hazards: readonly string[];
  readonly indicators: readonly IndicatorMatch[];
  /** Events of this window so far, including those that an earlier alert of the same window reported. */
  readonly count: number;
  /** Milliseconds since 1970. */
  readonly first: number;
  readonly last: number;
  /** Milliseconds. */
  readonly window: number;
  readonly message: string;
}

export interface AlertClient {
  readonly listener: string;
  /** Address, empty on a unix socket. */
  readonly address: string;
  /** Of IPv6: the /64 that is counted as one. Else empty. */
  readonly network: string;
}
