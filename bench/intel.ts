import { join } from 'node:path';
import { here, run } from './processes.js';

/** Figures of an index of 2.5 million indicators. */
export interface IntelFigures {
  /** Of building it, in a worker. */
  readonly seconds: number;
  /** Resident memory that it added, MB, when the worker is gone. */
  readonly rss: number;
  /** Per indicator. */
  readonly bytes: number;
  /** Longest pause of the main thread's event loop while the worker built and the index was opened, ms. */
  readonly pause: number;
  /** Opening it, ms. */
  readonly opened: number;
  /** Nanoseconds. */
  readonly lookUps: Readonly<Record<string, number>>;
  /** MB/s (10^6 characters) by kind of text. */
  readonly scans: Readonly<Record<string, number>>;
}

/** Builds the index in a process of its own, on all CPUs: a worker and the main thread beside it are what is measured. */
export async function measureIntel(): Promise<IntelFigures> {
  const out = await run(process.execPath, [join(here, 'intel-run.js')], undefined, 300_000);
  return JSON.parse(out) as IntelFigures;
}
