import { rmSync } from 'node:fs';
import { syncDirectorySync } from '../store/write-whole.js';
import { listSegments, segmentSize } from './journal-files.js';
import { JOURNAL_FULL } from './writer.js';

/** How much of the journal is kept. */
export interface Retention {
  /** Bytes of all segments together; above that the oldest go. */
  readonly size: number;
  /** Milliseconds; segments that were closed longer ago go, once they were delivered. */
  readonly age: number;
  /** The first record that is not delivered to every receiver yet; Infinity without receivers. */
  readonly needed: () => number;
  /** What happens when the room is used up by records that are not delivered yet. */
  readonly onFull: 'block' | 'drop';
}

/**
 * Removes the oldest segments as far as they are too many or too old. The last one, which is being written, stays.
 *
 * @param now milliseconds since 1970.
 * @returns members of an event that says what was removed, or undefined when nothing was.
 * @throws Error when there is no room and nothing may go.
 */
export function makeRoom(directory: string, retention: Retention, now: number): string | undefined {
  const segments = listSegments(directory).map((segment) => ({ ...segment, ...segmentSize(segment) }));
  let total = segments.reduce((sum, { size }) => sum + size, 0);
  const needed = retention.needed();
  let dropped = 0;
  let until = 0;
  for (const [index, { path, first, size, changed }] of segments.entries()) {
    const next = segments[index + 1]?.first;
    if (next === undefined) break;
    const full = total > retention.size;
    if (!full && now - changed <= retention.age) break;
    if (next > needed) {
      if (!full) break;
      if (retention.onFull === 'block') {
        const message = `the audit journal has used up its ${retention.size} bytes with records that are not delivered yet (from number ${needed} on)`;
        throw Object.assign(new Error(message), { code: JOURNAL_FULL });
      }
      dropped += next - Math.max(first, needed);
    }
    rmSync(path);
    total -= size;
    until = next - 1;
  }
  if (until === 0) return undefined;
  syncDirectorySync(directory);
  return `"kind":"removed","upTo":${until},"undelivered":${dropped}`;
}
