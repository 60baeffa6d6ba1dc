import { join } from 'node:path';
import { startGuard, startProxy, type GuardBuild, type Places } from './field.js';
import { interleave, median, watchMemory, type Target } from './load.js';
import { cpuTime, here, listening, run, start, type Cores } from './processes.js';

/** Figures of one direction through one target. */
export interface BulkFigures {
  /** Median, MB/s (10^6 bytes). */
  readonly rate: number;
  /** CPU milliseconds of the target per GB (10^9 bytes), median. */
  readonly cpu: number;
}

export type Direction = 'down' | 'up';
export type BulkResult = Map<Target['name'], Record<Direction, BulkFigures>>;

/** Moves `mib` MiB in both directions, `rounds` times: direct, through HAProxy, through the guard. */
export async function measureBulk(
  places: Places,
  cores: Cores,
  build: GuardBuild,
  options: { mib: number; rounds: number; remember: (target: Target, rss: number) => void },
): Promise<BulkResult> {
  const socket = join(places.short, 'bulk.sock');
  const engine = start(process.execPath, [join(here, 'bulk-engine.js'), socket], { core: cores.rest });
  await listening(socket, engine, 'the stand-in engine for bulk data');
  const proxy = await startProxy(places, cores, socket, false);
  const guard = (await startGuard(places, cores, socket, build)).target;
  // Without a port: the client goes to the engine's own socket.
  const direct: Target = { name: 'direct', port: 0, pid: engine.pid };
  const targets = [direct, proxy, guard];

  const client = join(here, 'bulk-client.js');
  const move = async (target: Target, direction: Direction, mib: number) => {
    const where = target.port === 0 ? socket : String(target.port);
    const rss = watchMemory(target.pid);
    const before = cpuTime(target.pid);
    const out = await run(process.execPath, [client, where, direction, String(mib)], cores.rest, 120_000);
    const gigabytes = (mib * 2 ** 20) / 1e9;
    const cpu = (cpuTime(target.pid) - before) / gigabytes;
    const peak = rss();
    if (target !== direct) options.remember(target, peak);
    target.after?.();
    return { rate: Number(out), cpu };
  };

  const result: BulkResult = new Map();
  const figures = new Map<string, Awaited<ReturnType<typeof move>>[]>();
  const jobs = (['down', 'up'] as const).flatMap((direction) =>
    targets.map((target) => ({ target, direction })),
  );
  for (const { target, direction } of jobs) await move(target, direction, 64);
  for (const [{ target, direction }, samples] of await interleave(jobs, options.rounds, (job) =>
    move(job.target, job.direction, options.mib),
  )) {
    figures.set(`${target.name} ${direction}`, samples);
  }
  for (const { name } of targets) {
    const of = (direction: Direction): BulkFigures => {
      const samples = figures.get(`${name} ${direction}`) ?? [];
      return {
        rate: median(samples.map((sample) => sample.rate)),
        cpu: median(samples.map((sample) => sample.cpu)),
      };
    };
    result.set(name, { down: of('down'), up: of('up') });
  }
  return result;
}
