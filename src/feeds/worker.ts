import { parentPort, workerData } from 'node:worker_threads';
import { FeedError } from './feed-error.js';
import type { Job, WorkerMessage } from './jobs.js';

/** Progress is told in steps of so many bytes. */
const STEP = 2 ** 20;

// The thread in which feeds are fetched, read and made into an index: nothing of that costs the guard a turn of its
// event loop. One job each; see jobs.ts.
let bytes = 0;
const onBytes = (more: number): void => {
  bytes += more;
  if (bytes < STEP) return;
  say({ kind: 'progress', bytes });
  bytes = 0;
};

function say(message: WorkerMessage, transfer: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transfer);
}

async function perform(job: Job): Promise<void> {
  switch (job.kind) {
    case 'refresh': {
      const { refreshFeed } = await import('./refresh.js');
      const outcome = await refreshFeed(job, onBytes);
      say({ kind: 'progress', bytes });
      say({ kind: 'done', outcome });
      return;
    }
    case 'build': {
      const { buildIndexFile } = await import('./build.js');
      sayIndex(await buildIndexFile(job));
      return;
    }
    case 'load': {
      const { loadIndexFile } = await import('./index-file.js');
      sayIndex(await loadIndexFile(job));
    }
  }
}

/** The index goes over as it is, without a copy. */
function sayIndex(outcome: { readonly buffer: ArrayBuffer | undefined }): void {
  say({ kind: 'done', outcome }, outcome.buffer === undefined ? [] : [outcome.buffer]);
}

try {
  await perform(workerData as Job);
} catch (error) {
  const message = error instanceof Error ? error.message.split('\n', 1)[0]! : String(error);
  say({ kind: 'failed', message, retryAfter: error instanceof FeedError ? error.retryAfter : 0 });
}
