import type { JournalOptions } from '../../src/audit/journal.js';

/** A journal that is neither rotated nor signed while a test runs, unless the test says so. */
export const JOURNAL: Omit<JournalOptions, 'directory' | 'key'> = {
  segmentSize: 64 * 2 ** 20,
  segmentAge: 86_400_000,
  retention: { size: 2 ** 30, age: 86_400_000, needed: () => Infinity, onFull: 'block' },
  checkpointRecords: 1000,
  checkpointInterval: 60_000,
  timeout: 5_000,
  warn: () => {},
};
