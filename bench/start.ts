import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { join, resolve } from 'node:path';
import { startEngine, startGuard, type GuardBuild, type Places } from './field.js';
import { measure, median } from './load.js';
import { here, Malfunction, memory, run, sleep, start, type Cores } from './processes.js';
import { writeScript } from './workload.js';

/** What `npm run bundle` makes: what the package and the image run. */
const BUNDLE = resolve(here, '../bundle/bin/breakwater.js');

/** From the start of the process, a guard on a unix socket with the shipped policy and its admin listener. */
export interface StartFigures {
  /** `node -e 0`, start to end, in milliseconds: the least of the rounds, as of the other times. */
  readonly node: number;
  readonly builds: ReadonlyMap<'source' | 'bundle', BuildFigures>;
}

export interface BuildFigures {
  /** Milliseconds until a `/_ping` is answered. */
  readonly first: number;
  /** Resident memory in MB: two seconds after the first answer, and the highest under load (median of the rounds, one run). */
  readonly idle: number;
  readonly load: number;
}

/** How often each is started. Other programs only ever make a start longer, so the shortest is what the program needs. */
const STARTS = 7;

/** @throws Malfunction when there is no bundle, or a guard does not answer. */
export async function measureStart(
  places: Places,
  cores: Cores,
  build: GuardBuild,
  seconds: number,
): Promise<StartFigures> {
  if (!existsSync(BUNDLE)) throw new Malfunction('there is no bundle to start: npm run bundle');
  const engine = await startEngine(places, cores.rest);
  const mains = { source: build.main, bundle: BUNDLE } as const;
  const node: number[] = [];
  const first = { source: [] as number[], bundle: [] as number[] };
  const idle = { source: [] as number[], bundle: [] as number[] };
  for (let round = 0; round < STARTS; round++) {
    const before = performance.now();
    await run(process.execPath, ['-e', '0'], cores.tested, 30_000);
    node.push(performance.now() - before);
    for (const name of ['source', 'bundle'] as const) {
      const found = await startOnce(places, cores, engine.socket, { ...build, main: mains[name] }, round);
      first[name].push(found.first);
      idle[name].push(found.idle);
    }
  }
  const builds = new Map<'source' | 'bundle', BuildFigures>();
  for (const name of ['source', 'bundle'] as const) {
    builds.set(name, {
      first: Math.min(...first[name]),
      idle: median(idle[name]),
      load: await underLoad(places, cores, engine.socket, { ...build, main: mains[name] }, seconds),
    });
  }
  return { node: Math.min(...node), builds };
}

async function startOnce(
  places: Places,
  cores: Cores,
  engine: string,
  build: GuardBuild,
  round: number,
): Promise<{ first: number; idle: number }> {
  const directory = join(places.short, `start-${round}-${build.main === BUNDLE ? 'bundle' : 'source'}`);
  mkdirSync(directory);
  const socketPath = join(directory, 'guard.sock');
  const config = join(directory, 'config.json');
  writeFileSync(
    config,
    JSON.stringify({
      listen: [{ url: `unix://${socketPath}` }],
      upstream: { url: `unix://${engine}` },
      admin: { url: `unix://${directory}/admin.sock` },
      audit: { file: join(directory, 'audit.jsonl') },
    }),
  );
  const before = performance.now();
  const args = [...(build.nodeFlags ?? []), build.main, 'run', '--config', config];
  const guard = start(process.execPath, args, { core: cores.tested });
  while (!(await answers(socketPath))) {
    if (performance.now() - before > 30_000) throw new Malfunction(`no first answer:\n${guard.printed()}`);
    await sleep(2);
  }
  const first = performance.now() - before;
  await sleep(2_000);
  const idle = memory(guard.pid).now;
  await guard.stop();
  return { first, idle };
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    get({ socketPath, path: '/_ping', agent: false }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode === 200));
      response.on('error', () => resolve(false));
    }).on('error', () => resolve(false));
  });
}

/** Sixteen connections, the usual mix, as in the other parts; a run before it warms up. */
async function underLoad(
  places: Places,
  cores: Cores,
  engine: string,
  build: GuardBuild,
  seconds: number,
): Promise<number> {
  const { target, process } = await startGuard(places, cores, engine, build);
  const script = writeScript(places.short, 'mix');
  const peaks: number[] = [];
  for (let round = 0; round < 2; round++) {
    peaks.push((await measure(target, { script, connections: 16, seconds, cores })).rss);
  }
  await process.stop();
  return Math.max(...peaks);
}
