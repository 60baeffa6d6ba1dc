/**
 * Options of an `lru-cache` that holds at most so many entries. Its own `max` would allocate the room for all of them at the
 * start: some megabytes for caches that mostly stay empty.
 */
export function atMost(entries: number): { maxSize: number; sizeCalculation: () => number } {
  return { maxSize: entries, sizeCalculation: one };
}

const one = (): number => 1;

/** `Promise.all` of a mapping, with a bound on how many are on their way; the order stays. */
export async function mapBounded<T, R>(
  items: readonly T[],
  limit: number,
  map: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    for (let n = next++; n < items.length; n = next++) results[n] = await map(items[n]!);
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, work));
  return results;
}
