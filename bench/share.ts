import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { missing, send, startEngine } from '../test/support/engine.js';
import { startGuard, type GuardBuild, type Places } from './field.js';
import { interleave, measure, median, type Target } from './load.js';
import { cpuTime, freePort, Malfunction, type Cores } from './processes.js';
import { writeReadScript } from './workload.js';

/** Reads that many clients ask for at once, of a real dockerd: straight, and through the guard, which shares them. */
export interface ShareFigures {
  /** Answers per second. */
  readonly rate: Readonly<Record<'direct' | 'guard', number>>;
  /** CPU milliseconds of dockerd per 1,000 answers. */
  readonly cpu: Readonly<Record<'direct' | 'guard', number>>;
}

export type ShareResult = ReadonlyMap<string, ShareFigures>;

const POLLERS = 32;
const CONTAINERS = 20;

/** Undefined, after a note why, where no dockerd can be started. */
export async function measureShare(
  places: Places,
  cores: Cores,
  build: GuardBuild,
  options: { seconds: number; rounds: number; note: (what: string) => void },
): Promise<ShareResult | undefined> {
  const reason = missing();
  if (reason !== undefined) {
    options.note(`shared reads were not measured: ${reason}`);
    return undefined;
  }
  // The load generator speaks no unix sockets.
  const port = await freePort();
  const dockerd = await startEngine(undefined, ['-H', `tcp://127.0.0.1:${port}`, '--tls=false']);
  try {
    const running = await createContainers(dockerd.socket);
    const pid = Number(readFileSync(join(dockerd.dir, 'pid'), 'utf8'));
    const { target: guard, process: started } = await startGuard(places, cores, dockerd.socket, build);
    const targets: readonly Target[] = [{ name: 'direct', port, pid }, guard];
    const results = new Map<string, ShareFigures>();
    const poll = async (name: string, path: string, seconds: number): Promise<void> => {
      const load = { script: writeReadScript(places.short, path), connections: POLLERS, cores, longest: 30 };
      const found = await interleave(targets, options.rounds, async (target) => {
        const before = cpuTime(pid);
        const { rate } = await measure(target, { ...load, seconds });
        return { rate, cpu: (cpuTime(pid) - before) / ((rate * seconds) / 1000) };
      });
      const pick = (what: 'rate' | 'cpu'): ShareFigures['rate'] => {
        const [direct = Number.NaN, shared = Number.NaN] = targets.map((target) =>
          median((found.get(target) ?? []).map((one) => one[what])),
        );
        return { direct, guard: shared };
      };
      results.set(name, { rate: pick('rate'), cpu: pick('cpu') });
    };
    await poll(`list of ${CONTAINERS} containers`, '/v1.41/containers/json?all=1', options.seconds);
    // Each takes the engine a second or two.
    await poll(
      'stats of a container',
      `/v1.41/containers/${running}/stats?stream=false`,
      Math.max(options.seconds, 15),
    );
    await started.stop();
    return results;
  } finally {
    await dockerd.stop();
  }
}

/** @returns the name of the one that runs; the others are only created. */
async function createContainers(socket: string): Promise<string> {
  const body = JSON.stringify({
    Image: 'busybox',
    Cmd: ['sleep', '3600'],
    Labels: { 'com.example.app': 'a', 'com.example.stage': 'test' },
  });
  const post = async (path: string, text = ''): Promise<void> => {
    const { status } = await send(socket, 'POST', path, text, 60_000, 'application/json');
    if (status >= 300) throw new Malfunction(`dockerd answered POST ${path} with status ${status}`);
  };
  for (let i = 1; i < CONTAINERS; i++) await post(`/containers/create?name=app-${i}`, body);
  await post('/containers/create?name=app-0', body);
  await post('/containers/app-0/start');
  return 'app-0';
}
