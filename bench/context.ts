import { join } from 'node:path';
import { missing, startEngine } from '../test/support/engine.js';
import { startGuard, startProxy, type GuardBuild, type Places } from './field.js';
import { interleave, median, watchMemory, type Target } from './load.js';
import { cpuTime, here, listening, run, start, type Cores } from './processes.js';

export const CONTEXTS = ['large', 'small'] as const;
/** `discard`: a stand-in that throws the context away; `dockerd`: a real engine, which extracts it to its disk. */
export const ENGINES = ['discard', 'dockerd'] as const;
export type ContextEngine = (typeof ENGINES)[number];

/** Median MB/s (10^6 bytes), and CPU milliseconds of the target per GB; of `direct`, those of the stand-in. */
export interface ContextFigures {
  readonly rate: number;
  readonly cpu: number;
}
export type ContextResult = ReadonlyMap<
  `${ContextEngine} ${(typeof CONTEXTS)[number]}`,
  ReadonlyMap<Target['name'], ContextFigures>
>;

/** GB of the files of one context; the client sends a little more. */
const GIGABYTES = { large: 2 ** 30 / 1e9, small: (25_000 * 10 * 1024) / 1e9 };

/**
 * Sends build contexts over unix sockets: direct, through HAProxy, through the guard. To a stand-in always, to a
 * dockerd of our own where one can be started.
 */
export async function measureContext(
  places: Places,
  cores: Cores,
  build: GuardBuild,
  options: { rounds: number; remember: (target: Target, rss: number) => void; note: (what: string) => void },
): Promise<ContextResult> {
  const socket = join(places.short, 'context.sock');
  const discard = start(process.execPath, [join(here, 'bulk-engine.js'), socket], { core: cores.rest });
  await listening(socket, discard, 'the stand-in engine for build contexts');
  const result = new Map<
    `${ContextEngine} ${(typeof CONTEXTS)[number]}`,
    Map<Target['name'], ContextFigures>
  >();

  const measureWith = async (engine: ContextEngine, upstream: string, pid: number): Promise<void> => {
    const direct: Target = { name: 'direct', port: 0, socket: upstream, pid };
    const proxy = await startProxy(places, cores, upstream, false);
    const guard = (await startGuard(places, cores, upstream, build)).target;
    const client = join(here, 'context-client.js');
    const jobs = CONTEXTS.flatMap((kind) => [direct, proxy, guard].map((target) => ({ kind, target })));
    const found = await interleave(jobs, options.rounds, async ({ kind, target }) => {
      const rss = watchMemory(target.pid);
      const before = cpuTime(target.pid);
      const out = await run(
        process.execPath,
        [client, target.socket ?? '', kind, engine],
        cores.rest,
        300_000,
      );
      const peak = rss();
      if (target !== direct) options.remember(target, peak);
      target.after?.();
      return { rate: Number(out), cpu: (cpuTime(target.pid) - before) / GIGABYTES[kind] };
    });
    for (const [{ kind, target }, samples] of found) {
      const of = (what: 'rate' | 'cpu'): number => median(samples.map((sample) => sample[what]));
      const row = result.get(`${engine} ${kind}`) ?? new Map<Target['name'], ContextFigures>();
      row.set(target.name, { rate: of('rate'), cpu: of('cpu') });
      result.set(`${engine} ${kind}`, row);
    }
  };

  await measureWith('discard', socket, discard.pid);
  await discard.stop();
  const without = missing();
  if (without !== undefined) {
    options.note(`no build contexts for a real engine: ${without}`);
    return result;
  }
  const dockerd = await startEngine();
  try {
    // Its CPU time is not looked at: it is several processes.
    await measureWith('dockerd', dockerd.socket, process.pid);
  } finally {
    await dockerd.stop();
  }
  return result;
}
