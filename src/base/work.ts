/**
 * What reading and judging one call may still cost: all parts of it share one, whatever they look at. A unit is about 5 ns.
 * Each part charges what it is about to do, and stops when nothing is left, so that no call holds the event loop, which all
 * callers share, for longer than `CALL_WORK`.
 */
export interface Work {
  left: number;
}

/** Some 40 ms. Enough for a config of 1 MB, the largest that engines take, or a Dockerfile of 60 KB. */
export const CALL_WORK = 12 * 1024 ** 2;

/** For texts that no client has sent: the policy, say. */
export const unlimited = (): Work => ({ left: Infinity });
