import { join } from 'node:path';
import { writeSync } from 'node:fs';
import { openJournal } from '../../src/audit/journal.js';
import { JOURNAL } from './journal-options.js';

// Writes records as fast as it can, and prints the name of each that is told as written: journal-writer DIR KEY

const [, , directory = '', key = join(directory, 'key.pem')] = process.argv;
const journal = openJournal({
  directory,
  key,
  ...JOURNAL,
  segmentSize: 256 * 1024,
  checkpointRecords: 100,
});
let n = 0;
const next = (): void => {
  const call = `${process.pid}-${(n += 1)}`;
  const base = { event: 'outcome', operation: 'SystemPing', status: 200, end: 'complete' } as const;
  journal.record(
    { ...base, call, duration: 1, bytesIn: 0, bytesOut: 0 },
    (error) => {
      if (error === undefined) writeSync(1, `${call}\n`);
      next();
    },
    n % 3 === 0,
  );
};
for (let at = 0; at < 8; at++) next();
