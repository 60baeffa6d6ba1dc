import { join } from 'node:path';
import { startGuard, startProxy, type GuardBuild, type Places } from './field.js';
import { interleave, median, watchMemory, type Target } from './load.js';
import { cpuTime, here, listening, run, start, type Cores } from './processes.js';

export const CONTEXTS = ['large', 'small'] as const;
/** Per kind of context and target: median MB/s (10^6 bytes), and CPU milliseconds of the target per GB. */
export type ContextResult = ReadonlyMap<
  (typeof CONTEXTS)[number],
  ReadonlyMap<Target['name'], { readonly rate: number; readonly cpu: number }>
>;

/** Bytes of one context, about; the client sends a little more. */
const GIGABYTES = 2 ** 30 / 1e9;

/** Sends build contexts of 1 GiB to the engine, which reads them to the end: direct, through HAProxy, through the guard. */
export async function measureContext(
  places: Places,
  cores: Cores,
  build: GuardBuild,
  options: { rounds: number; remember: (target: Target, rss: number) => void },
): Promise<ContextResult> {
  const socket = join(places.short, 'context.sock');
  const engine = start(process.execPath, [join(here, 'bulk-engine.js'), socket], { core: cores.rest });
  await listening(socket, engine, 'the stand-in engine for build contexts');
  const proxy = await startProxy(places, cores, socket, false);
  const guard = (await startGuard(places, cores, socket, build)).target;
  // Without a port: the client goes to the engine's own socket.
  const direct: Target = { name: 'direct', port: 0, pid: engine.pid };
  const client = join(here, 'context-client.js');
  const jobs = CONTEXTS.flatMap((kind) => [direct, proxy, guard].map((target) => ({ kind, target })));
  const found = await interleave(jobs, options.rounds, async ({ kind, target }) => {
    const rss = watchMemory(target.pid);
    const before = cpuTime(target.pid);
    const where = target === direct ? socket : String(target.port);
    const out = await run(process.execPath, [client, where, kind], cores.rest, 120_000);
    const peak = rss();
    if (target !== direct) options.remember(target, peak);
    target.after?.();
    return { rate: Number(out), cpu: (cpuTime(target.pid) - before) / GIGABYTES };
  });
  const result = new Map(
    CONTEXTS.map((kind) => [kind, new Map<Target['name'], { rate: number; cpu: number }>()]),
  );
  for (const [{ kind, target }, samples] of found) {
    const of = (what: 'rate' | 'cpu'): number => median(samples.map((sample) => sample[what]));
    result.get(kind)?.set(target.name, { rate: of('rate'), cpu: of('cpu') });
  }
  return result;
}
