import type { IndicatorAction, IndicatorIndex } from '../intel/indicator.js';

/** What is listed right now. Immutable: a call takes it once and keeps it to its end. */
export interface IntelSnapshot {
  readonly index: IndicatorIndex;
  /** First 12 hex digits of the SHA-256 of the index file; empty while there is none. */
  readonly revision: string;
}

/** How one feed is doing. Times in ms since 1970, 0 where there is none. */
export interface FeedStatus {
  readonly name: string;
  /** Without its query, which may hold a key. */
  readonly url: string;
  readonly action: IndicatorAction;
  /** Indicators of the last good copy, before confidence, age and the lists of exceptions count. */
  readonly indicators: number;
  /** When the last good copy was fetched. */
  readonly fetchedAt: number;
  /** When the feed last said that there is nothing newer, or gave something newer. */
  readonly checkedAt: number;
  readonly nextAt: number;
  /** The feed did not answer well for three times its refresh interval; its last good copy is enforced all the same. */
  readonly stale: boolean;
  /** There is a last good copy. */
  readonly hasData: boolean;
  /** Why the last attempt failed; undefined when it did not. */
  readonly error: string | undefined;
}

/** The running feeds. */
export interface Feeds {
  current(): IntelSnapshot;
  status(): readonly FeedStatus[];
  /** Asks every feed that may be asked now; resolves when what came is in force. */
  refresh(): Promise<void>;
  stop(): Promise<void>;
}
