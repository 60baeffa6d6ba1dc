import type { IntelSnapshot } from './index-file.js';

/** What the feeds need of their caller, and tell it. */
export interface FeedHooks {
  /** Hosts and addresses that must stay reachable, and that only the caller knows: the engine, the log server. */
  readonly neverBlock: readonly string[];
  /** Told of each index that comes into force. */
  readonly swapped?: (snapshot: IntelSnapshot) => void;
}

/** As pino has it. */
export interface FeedLog {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}
