import { join } from 'node:path';
import { openJournal } from '../../src/audit/journal.js';
import { openSinks, type Sinks } from '../../src/audit/sinks/sinks.js';
import { until } from './command.js';
import { JOURNAL } from './journal-options.js';
import { SINK } from './sink-options.js';

// Writes records as fast as it can and sends them on: sink-writer DIR URL CA EVENTS. Prints the name of each that is on
// record; ends when the receiver has all of them.

const [, , directory = '', url = '', ca = '', events = '0'] = process.argv;
const journal = openJournal({
  ...JOURNAL,
  directory,
  key: join(directory, 'key.pem'),
  segmentSize: 2 ** 20,
  retention: { ...JOURNAL.retention, needed: () => sinks.needed() },
});
const sinks: Sinks = openSinks(
  [{ ...SINK, url, tls: { ca } }],
  { directory, last: () => journal.last() },
  { version: '0', host: 'host.example' },
  () => {},
);
journal.onRecords(() => sinks.wake());

let n = 0;
const next = (done: () => void): void => {
  if (n >= Number(events)) return done();
  const call = `${process.pid}-${(n += 1)}`;
  const base = { event: 'outcome', operation: 'SystemPing', status: 200, end: 'complete' } as const;
  journal.record(
    { ...base, call, duration: 1, bytesIn: 0, bytesOut: 0 },
    (error) => {
      // What is not printed before a kill is not asked for; a full pipe must not end the writer.
      if (error === undefined) process.stdout.write(`${call}\n`);
      next(done);
    },
    n % 3 === 0,
  );
};
await Promise.all(Array.from({ length: 32 }, () => new Promise<void>((resolve) => next(resolve))));
const isDelivered = await until(() => sinks.needed() > journal.last(), 60_000);
journal.close();
await sinks.stop(5_000);
process.exit(isDelivered ? 0 : 1);
