import type { IntelSnapshot } from './index-file.js';

/** What the feeds need from their caller, and the events that they report to it. */
export interface FeedHooks {
  /** Hosts and addresses that must stay reachable, and that only the caller knows: the engine, the log server. */
  readonly neverBlock: readonly string[];
  /** Called with each index that comes into force. */
  readonly swapped?: (snapshot: IntelSnapshot) => void;
}

/** The methods of pino that are used. */
export interface FeedLog {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}
