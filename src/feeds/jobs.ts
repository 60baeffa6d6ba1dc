import { Worker } from 'node:worker_threads';
import type { BuildJob, BuildOutcome } from './build.js';
import type { LoadJob, LoadOutcome } from './index-file.js';
import { FeedError } from './feed-error.js';
import type { RefreshJob, RefreshOutcome } from './refresh.js';

/** What a worker can be asked to do, and what it answers. */
export interface Jobs {
  refresh: { job: RefreshJob; outcome: RefreshOutcome };
  build: { job: BuildJob; outcome: BuildOutcome };
  load: { job: LoadJob; outcome: LoadOutcome };
}

export type Job = Jobs[keyof Jobs]['job'];

/** What a worker says. */
export type WorkerMessage =
  | { readonly kind: 'progress'; readonly bytes: number }
  | { readonly kind: 'done'; readonly outcome: unknown }
  | { readonly kind: 'failed'; readonly message: string; readonly retryAfter: number };

export interface JobLimits {
  /** Heap, in bytes. */
  readonly memory: number;
  /** ms */
  readonly time: number;
  /** Ends the job. */
  readonly signal?: AbortSignal;
  /** Bytes that came since the last time. */
  readonly onBytes?: (bytes: number) => void;
}

/**
 * Runs one job in a worker thread of its own, which ends with it: its memory goes back, and a feed that needs too much
 * of it, or too long, hurts nobody but itself.
 *
 * @throws FeedError with one readable line.
 */
export function runJob<K extends keyof Jobs>(
  job: Jobs[K]['job'],
  limits: JobLimits,
): Promise<Jobs[K]['outcome']> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: job,
      // Standard streams of its own would keep the process alive; it prints nothing.
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: Math.ceil(limits.memory / 2 ** 20) },
    });
    const timer = setTimeout(() => stop(`took longer than ${limits.time} ms`), limits.time);
    const onAbort = (): void => stop('stopped');
    const settle = (): void => {
      clearTimeout(timer);
      limits.signal?.removeEventListener('abort', onAbort);
      worker.removeAllListeners('message').removeAllListeners('exit');
      void worker.terminate();
    };
    const stop = (message: string, retryAfter = 0): void => {
      settle();
      reject(new FeedError(message, retryAfter));
    };
    limits.signal?.addEventListener('abort', onAbort, { once: true });
    if (limits.signal?.aborted === true) onAbort();
    worker.on('message', (message: WorkerMessage) => {
      if (message.kind === 'progress') limits.onBytes?.(message.bytes);
      else if (message.kind === 'failed') stop(message.message, message.retryAfter);
      else {
        settle();
        resolve(message.outcome as Jobs[K]['outcome']);
      }
    });
    worker.on('error', (error: NodeJS.ErrnoException) => {
      const full = error.code === 'ERR_WORKER_OUT_OF_MEMORY';
      stop(full ? 'needs more memory than feeds.limits.memory' : error.message.split('\n', 1)[0]!);
    });
    worker.on('exit', () => stop('the worker ended without a result'));
  });
}
