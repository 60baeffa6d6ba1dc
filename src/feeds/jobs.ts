import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { BuildJob, BuildOutcome } from './build.js';
import { FeedError } from './feed-error.js';
import type { LoadJob, LoadOutcome } from './index-file.js';
import type { CopySummary } from './copy.js';
import type { RefreshJob } from './refresh.js';

/** The outcome of a refresh, in short. */
export interface RefreshSummary {
  /** The last good copy is a new one. */
  readonly hasChanged: boolean;
  readonly meta: CopySummary;
}

/** The kinds of jobs, each with its outcome. */
export interface Jobs {
  refresh: { job: RefreshJob; outcome: RefreshSummary };
  build: { job: BuildJob; outcome: BuildOutcome };
  load: { job: LoadJob; outcome: LoadOutcome };
}

export type Job = Jobs[keyof Jobs]['job'];

/** A message of a worker. */
export type JobMessage =
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

/** A process or thread that does one job. */
interface JobWorker {
  onMessage(listener: (message: JobMessage) => void): void;
  /** Calls the listener with the reason when the worker ends without having been stopped. */
  onEnd(listener: (reason: string) => void): void;
  stop(): void;
}

const PROGRAM = new URL('./job.js', import.meta.url);
const TOO_LARGE = 'needs more memory than feeds.limits.memory';

/**
 * Runs one job outside of this thread; nothing of it costs the guard a turn of its event loop. What reads feeds has a
 * process of its own: V8 ends the whole process where a worker thread runs out of memory within one call, of JSON.parse
 * for instance, and a feed must not be able to do that to the guard. Loading the index is done by a thread, which hands
 * it over without a copy.
 *
 * @throws FeedError with one readable line.
 */
export function runJob<K extends keyof Jobs>(
  job: Jobs[K]['job'],
  limits: JobLimits,
): Promise<Jobs[K]['outcome']> {
  if (limits.signal?.aborted === true) return Promise.reject(new FeedError('stopped'));
  return new Promise((resolve, reject) => {
    const worker = job.kind === 'load' ? startThread(job) : startProcess(job, limits.memory);
    const settle = (): void => {
      clearTimeout(timer);
      limits.signal?.removeEventListener('abort', onAbort);
      worker.stop();
    };
    const fail = (message: string, retryAfter = 0): void => {
      settle();
      reject(new FeedError(message, retryAfter));
    };
    const timer = setTimeout(() => fail(`took longer than ${limits.time} ms`), limits.time);
    const onAbort = (): void => fail('stopped');
    limits.signal?.addEventListener('abort', onAbort);
    worker.onEnd(fail);
    worker.onMessage((message) => {
      if (message.kind === 'progress') limits.onBytes?.(message.bytes);
      else if (message.kind === 'failed') fail(message.message, message.retryAfter);
      else {
        settle();
        resolve(message.outcome as Jobs[K]['outcome']);
      }
    });
  });
}

function startProcess(job: Job, memory: number): JobWorker {
  const child: ChildProcess = fork(fileURLToPath(PROGRAM), {
    execArgv: [`--max-old-space-size=${Math.ceil(memory / 2 ** 20)}`],
    serialization: 'advanced',
    // What V8 prints when memory is out is no line of the guard's log.
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  // The job has keys in it: it goes through the pipe, not into arguments, which every user of the host can read.
  child.send(job, () => undefined);
  let stopped = false;
  return {
    onMessage: (listener) =>
      void child.on('message', (message) => stopped || listener(message as JobMessage)),
    onEnd(listener) {
      child.on('error', (error) => stopped || listener(error.message));
      child.on('exit', (code, signal) => {
        if (stopped) return;
        listener(
          signal === 'SIGABRT' || code === 134
            ? TOO_LARGE
            : `its process ended: ${signal ?? `exit code ${code}`}`,
        );
      });
    },
    stop() {
      stopped = true;
      child.kill('SIGKILL');
    },
  };
}

function startThread(job: Job): JobWorker {
  const worker = new Worker(PROGRAM, { workerData: job, execArgv: [] });
  let stopped = false;
  return {
    onMessage: (listener) => void worker.on('message', (message: JobMessage) => stopped || listener(message)),
    onEnd(listener) {
      worker.on('error', (error) => stopped || listener(error.message.split('\n', 1)[0]!));
      worker.on('exit', () => stopped || listener('its thread ended without a result'));
    },
    stop() {
      stopped = true;
      void worker.terminate();
    },
  };
}
