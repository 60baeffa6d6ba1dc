import { coreTime, cpuTime, type Cores, Malfunction, memory, run } from './processes.js';

/** Something that requests can be sent to. */
export interface Target {
  readonly name: 'direct' | 'haproxy' | 'haproxy-log' | 'guard';
  readonly port: number;
  /** The same on a unix socket. */
  readonly socket?: string;
  readonly pid: number;
  /** Called after each measurement: logs must not fill the disk. */
  readonly after?: () => void;
}

export interface Sample {
  /** Requests per second. */
  readonly rate: number;
  /** Microseconds. */
  readonly p50: number;
  readonly p99: number;
  /** CPU milliseconds of the target per 1,000 requests, all its threads. */
  readonly cpu: number;
  /** Part of one core that the target was busy for. */
  readonly busy: number;
  /** Part of the tested core that went to anything else on this machine. */
  readonly others: number;
  /** Highest resident memory of the target seen meanwhile, MB. */
  readonly rss: number;
}

/**
 * One run of wrk with one thread against a target.
 *
 * @param options `longest`: seconds that an answer may take.
 * @throws Malfunction when any request failed or was answered with an error: such figures compare nothing.
 */
export async function measure(
  target: Target,
  options: { script: string; connections: number; seconds: number; cores: Cores; longest?: number },
): Promise<Sample> {
  const { script, connections, seconds, cores, longest = 5 } = options;
  const rss = watchMemory(target.pid);
  const before = cpuTime(target.pid);
  const coreBefore = coreTime(cores.tested);
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', `${longest}s`, '-s', script];
  const out = await run(
    'wrk',
    [...args, `http://127.0.0.1:${target.port}`],
    cores.rest,
    (seconds + 20) * 1000,
  );
  const used = cpuTime(target.pid) - before;
  const coreUsed = coreTime(cores.tested) - coreBefore;
  const peak = rss();
  target.after?.();
  const [requests = 0, micros = 0, p50 = 0, p99 = 0, status = 0, broken = 0] = (
    /^RESULT (.*)$/m.exec(out)?.[1] ?? ''
  )
    .split(' ')
    .map(Number);
  if (requests === 0 || status > 0 || broken > 0) {
    const what = `${requests} requests, ${status} with an error status, ${broken} broken or timed out`;
    throw new Malfunction(`${target.name}: ${what}`);
  }
  return {
    rate: requests / (micros / 1e6),
    p50,
    p99,
    cpu: used / (requests / 1000),
    busy: used / (micros / 1000),
    // Of the stand-in engine, which has the other core, this says nothing.
    others: target.name === 'direct' ? Number.NaN : Math.max(0, coreUsed - used) / (micros / 1000),
    rss: peak,
  };
}

/** Samples VmRSS until the returned function is called, which gives the highest value. */
export function watchMemory(pid: number): () => number {
  let peak = 0;
  const look = (): void => {
    peak = Math.max(peak, memory(pid).now);
  };
  const timer = setInterval(look, 200);
  return () => {
    clearInterval(timer);
    look();
    return peak;
  };
}

/** All targets in turn, again and again, so that a slow moment of the machine hits none alone. */
export async function interleave<T, R>(
  targets: readonly T[],
  rounds: number,
  once: (target: T) => Promise<R>,
): Promise<Map<T, R[]>> {
  const results = new Map<T, R[]>(targets.map((target) => [target, []]));
  for (let round = 0; round < rounds; round++) {
    for (const target of targets) results.get(target)?.push(await once(target));
  }
  return results;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle] ?? Number.NaN;
  return ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}
