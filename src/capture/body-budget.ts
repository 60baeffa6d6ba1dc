/**
 * Bytes of buffered bodies that all calls together may hold. Without it, many clients that each send a body just
 * under the limit would take all memory.
 */
export interface BodyBudget {
  /** Takes `bytes`; false when there is not enough left. */
  take(bytes: number): boolean;
  give(bytes: number): void;
  readonly used: number;
}

/** @param total bytes for all calls together. */
export function openBodyBudget(total: number): BodyBudget {
  let used = 0;
  return {
    take(bytes) {
      if (used + bytes > total) return false;
      used += bytes;
      return true;
    },
    give(bytes) {
      used -= bytes;
    },
    get used() {
      return used;
    },
  };
}
