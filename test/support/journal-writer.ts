import { join } from 'node:path';
import { writeSync } from 'node:fs';
import { openJournal } from '../../src/audit/journal.js';

// Writes records as fast as it can, and prints the name of each that is told as written: journal-writer DIR KEY

const [, , directory = '', key = join(directory, 'key.pem')] = process.argv;
const journal = openJournal({
  directory,
  key,
  segmentSize: 256 * 1024,
  segmentAge: 86_400_000,
  retention: { size: 2 ** 30, age: 86_400_000, needed: () => Infinity, onFull: 'block' },
  checkpointRecords: 100,
  checkpointInterval: 60_000,
  patience: 5_000,
  warn: () => {},
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
