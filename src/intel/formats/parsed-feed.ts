import type { Indicator } from '../indicator.js';
import type { Run } from './run.js';
import type { FormatName } from './format.js';

/**
 * A feed as it was read. `rejected`, `skipped`, `problems` and `failure` are final once `indicators` was iterated to its
 * end, which is possible once: indicators are made one by one while they are read, so that a feed of any size needs little memory.
 */
export interface ParsedFeed {
  /** The format named or found; undefined when none was found. */
  readonly format: FormatName | undefined;
  readonly indicators: Iterable<Indicator>;
  /** Entries that could not be read. */
  readonly rejected: number;
  /** Entries left out on purpose: offline, revoked, expired, not for detection, of a kind that is no indicator here. */
  readonly skipped: number;
  /** At most 20, each with line or JSON pointer and reason. */
  readonly problems: readonly string[];
  /**
   * Why the text as a whole must not be used, even where indicators were yielded before: no format fits, the text is cut
   * short, a column is missing. Not repeated in `problems`.
   */
  readonly failure: string | undefined;
}

/** Shows a run, which goes on while the indicators are read, as a feed. */
export function feedOf(
  run: Run,
  format: FormatName | undefined,
  indicators: Iterable<Indicator>,
): ParsedFeed {
  return {
    format,
    indicators,
    get rejected() {
      return run.rejected;
    },
    get skipped() {
      return run.skipped;
    },
    get problems() {
      return run.problems;
    },
    get failure() {
      return run.failure;
    },
  };
}
