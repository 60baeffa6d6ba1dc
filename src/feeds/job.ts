import { writeFile } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { summaryOf } from './copy.js';
import { FeedError } from './feed-error.js';
import type { Job, JobMessage, RefreshSummary } from './jobs.js';

/** Progress is reported in steps of this many bytes. */
const STEP = 2 ** 20;

// Where feeds are fetched, read and made into an index: the program of a process or a thread that does one job and
// is then stopped by its parent; see jobs.ts.

let bytes = 0;
const onBytes = (more: number): void => {
  bytes += more;
  if (bytes < STEP) return;
  send({ kind: 'progress', bytes });
  bytes = 0;
};

function send(message: JobMessage, transfer: ArrayBuffer[] = []): void {
  if (parentPort === null) process.send?.(message);
  else parentPort.postMessage(message, transfer);
}

async function perform(job: Job): Promise<void> {
  // Each part is loaded when it is needed: reading a file does not wait for the HTTP client.
  switch (job.kind) {
    case 'refresh': {
      const { refreshFeed } = await import('./refresh.js');
      const { hasChanged, meta } = await refreshFeed(job, onBytes);
      const outcome: RefreshSummary = { hasChanged, meta: summaryOf(meta) };
      send({ kind: 'progress', bytes });
      send({ kind: 'done', outcome });
      return;
    }
    case 'build': {
      const { buildIndexFile } = await import('./build.js');
      send({ kind: 'done', outcome: await buildIndexFile(job) });
      return;
    }
    case 'load': {
      const { loadIndexFile } = await import('./index-file.js');
      const outcome = await loadIndexFile(job);
      send({ kind: 'done', outcome }, outcome.buffer === undefined ? [] : [outcome.buffer]);
    }
  }
}

async function run(job: Job): Promise<void> {
  try {
    await perform(job);
  } catch (error) {
    const message = error instanceof Error ? error.message.split('\n', 1)[0]! : String(error);
    send({ kind: 'failed', message, retryAfter: error instanceof FeedError ? error.retryAfter : 0 });
  }
}

if (parentPort !== null) await run(workerData as Job);
else {
  // The guard has ended: the result is not needed any more.
  process.once('disconnect', () => process.exit(0));
  process.once('message', (job) => void run(job as Job));
  // When memory runs out, the kernel ends this process before the guard (proc(5)).
  await writeFile('/proc/self/oom_score_adj', '1000').catch(() => undefined);
}
