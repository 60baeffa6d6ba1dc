import t from 'tap';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openJournal, type Journal } from '../../src/audit/journal.js';
import type { SinkConfig } from '../../src/audit/sinks/sink.js';
import { openSinks, type Sinks } from '../../src/audit/sinks/sinks.js';
import { JOURNAL } from './journal-options.js';
import { SINK } from './sink-options.js';

// A journal to be sent on, in a directory of its own.

export const root = mkdtempSync(join(tmpdir(), 'bw-sinks-'));
t.teardown(() => rmSync(root, { recursive: true, force: true }));

let rooms = 0;
export function journalIn(directory: string, needed: () => number = () => Infinity): Journal {
  return openJournal({
    ...JOURNAL,
    directory,
    key: join(root, 'key.pem'),
    segmentSize: 64 * 1024,
    retention: { ...JOURNAL.retention, needed },
    checkpointRecords: 100,
  });
}

export const config = (url: string, other: Partial<SinkConfig>): SinkConfig => ({
  ...SINK,
  name: 's',
  type: 'webhook',
  url,
  batch: { records: 50, bytes: 64 * 1024, interval: 5 },
  timeout: 400,
  retry: { min: 5, max: 40 },
  confirm: { records: 200, interval: 50, settle: 30 },
  ...other,
});

export async function write(journal: Journal, count: number): Promise<void> {
  for (let at = 0; at < count; at += 20) {
    const group = Array.from({ length: Math.min(20, count - at) }, (_, n) => {
      const call = `c${at + n}`;
      const base = { event: 'outcome', operation: 'SystemPing', status: 200, end: 'complete' } as const;
      return new Promise<void>((resolve, reject) =>
        journal.record({ ...base, call, duration: 1, bytesIn: 0, bytesOut: 0 }, (error) =>
          error === undefined ? resolve() : reject(error),
        ),
      );
    });
    await Promise.all(group);
  }
}

export function linesOf(directory: string, journal: Journal): string[] {
  const lines = readFileSync(join(directory, '0000000000000001.jsonl'), 'utf8').split('\n').slice(0, -1);
  return journal.last() === lines.length ? lines : [];
}

export function start(directory: string, journal: Journal, one: SinkConfig, log: string[] = []): Sinks {
  const where = { directory, last: () => journal.last() };
  const sinks = openSinks([one], where, { version: '0', host: 'h' }, (text) => void log.push(text));
  journal.onRecords(() => sinks.wake());
  return sinks;
}

export const room = (): string => join(root, `journal-${(rooms += 1)}`);
export const isDone = (sinks: Sinks): boolean => sinks.status().every((one) => one.behind === 0);
export const listen = (server: Server): Promise<number> =>
  new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)),
  );
