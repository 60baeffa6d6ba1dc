/**
 * Options of an `lru-cache` that holds at most so many entries. Its own `max` would allocate the room for all of them at the
 * start: some megabytes for caches that mostly stay empty.
 */
export function atMost(entries: number): { maxSize: number; sizeCalculation: () => number } {
  return { maxSize: entries, sizeCalculation: one };
}

const one = (): number => 1;
