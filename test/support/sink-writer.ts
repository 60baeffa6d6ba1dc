import { join } from 'node:path';
import { openJournal } from '../../src/audit/journal.js';
import { openSinks, type Sinks } from '../../src/audit/sinks/sinks.js';
import { until } from './command.js';

// Writes records as fast as it can and sends them on: sink-writer DIR URL CA EVENTS. Prints the name of each that is on
// record; ends when the receiver has all of them.

const [, , directory = '', url = '', ca = '', events = '0'] = process.argv;
const journal = openJournal({
  directory,
  key: join(directory, 'key.pem'),
  segmentSize: 2 ** 20,
  segmentAge: 86_400_000,
  retention: { size: 2 ** 30, age: 86_400_000, needed: () => sinks.needed(), onFull: 'block' },
  checkpointRecords: 1_000,
  checkpointInterval: 60_000,
  patience: 5_000,
  warn: () => {},
});
const sinks: Sinks = openSinks(
  [
    {
      name: 'siem',
      type: 'syslog',
      url,
      format: 'breakwater',
      headers: {},
      tls: { ca },
      batch: { records: 500, bytes: 512 * 1024, interval: 5 },
      timeout: 5_000,
      retry: { min: 20, max: 200 },
      confirm: { records: 2_000, interval: 200, settle: 1_000 },
      facility: 13,
      index: '',
      acknowledge: false,
      labels: {},
      body: 'array',
    },
  ],
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
