import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startEngine, startGuard, type GuardBuild, type Places } from './field.js';
import { measure } from './load.js';
import { Malfunction, scratch, sleep, type Cores } from './processes.js';
import { writeScript, type Load } from './workload.js';

/** The parts of V8's .cpuprofile format that are read here. Times in microseconds. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
    readonly children?: readonly number[];
  }[];
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Runs the guard under V8's sampling profiler, with load, and returns where the time went, as text. */
export async function profile(
  places: Places,
  cores: Cores,
  options: { build: GuardBuild; load: Load; seconds: number },
): Promise<string> {
  const dir = scratch(places.disk);
  const engine = await startEngine(places, cores.rest);
  const spawned = Date.now();
  const guard = await startGuard(places, cores, engine.socket, {
    ...options.build,
    nodeFlags: [
      ...(options.build.nodeFlags ?? []),
      '--cpu-prof',
      `--cpu-prof-dir=${dir}`,
      '--cpu-prof-interval=500',
    ],
  });
  const script = writeScript(places.short, options.load);
  const run = { script, connections: 16, cores };
  await measure(guard.target, { ...run, seconds: 2 });
  const skip = (Date.now() - spawned) * 1000;
  const sample = await measure(guard.target, { ...run, seconds: options.seconds });
  await sleep(200);
  await guard.process.stop();
  const file = readdirSync(dir).find((name) => name.endsWith('.cpuprofile'));
  if (file === undefined) {
    throw new Malfunction(`the guard left no profile behind:\n${guard.process.printed()}`);
  }
  const data = JSON.parse(readFileSync(join(dir, file), 'utf8')) as CpuProfile;
  const rate = `${Math.round(sample.rate)} requests/s under the profiler`;
  return `Profile of the guard, load "${options.load}", 16 connections, ${rate}\n\n${summarise(data, skip)}`;
}

/** Self time per function and per room, as a share of all time that was not idle; the first `skip` µs left out. */
export function summarise(data: CpuProfile, skip: number): string {
  const own = new Map<number, number>();
  let at = 0;
  let busy = 0;
  const nodes = new Map(data.nodes.map((node) => [node.id, node]));
  data.samples.forEach((id, i) => {
    const delta = data.timeDeltas[i] ?? 0;
    at += delta;
    if (at < skip || nodes.get(id)?.callFrame.functionName === '(idle)') return;
    own.set(id, (own.get(id) ?? 0) + delta);
    busy += delta;
  });
  const parents = new Map<number, number>();
  for (const node of data.nodes) for (const child of node.children ?? []) parents.set(child, node.id);

  const functions = new Map<string, number>();
  const rooms = new Map<string, number>();
  const add = (map: Map<string, number>, key: string, time: number): void =>
    void map.set(key, (map.get(key) ?? 0) + time);
  for (const [id, time] of own) {
    const frame = nodes.get(id)?.callFrame;
    if (frame === undefined) continue;
    // Built-in functions have no URL: they count for whoever called them, and are named after both.
    let caller: number | undefined = id;
    while (caller !== undefined && (nodes.get(caller)?.callFrame.url ?? '') === '')
      caller = parents.get(caller);
    const url = caller === undefined ? '' : (nodes.get(caller)?.callFrame.url ?? '');
    const name = frame.functionName === '' ? '(anonymous)' : frame.functionName;
    const place =
      frame.url === ''
        ? url === ''
          ? ''
          : `native, from ${short(url)}`
        : `${short(frame.url)}:${frame.lineNumber + 1}`;
    add(functions, `${name}  ${place}`, time);
    add(rooms, frame.url === '' ? builtIn(name, url) : roomOf(url), time);
  }
  const table = (map: Map<string, number>, count: number): string =>
    [...map]
      .sort((a, b) => b[1] - a[1])
      .slice(0, count)
      .map(([name, time]) => `  ${((time / busy) * 100).toFixed(1).padStart(5)} %  ${name}`)
      .join('\n');
  return [
    'by room (built-in functions count for their caller):',
    table(rooms, 40),
    '',
    'by function, self time:',
    table(functions, 25),
  ].join('\n');
}

/** V8's names for time outside of any function. */
const OUTSIDE: Readonly<Record<string, string>> = {
  '(program)': 'outside JavaScript: event loop, socket reads, HTTP parser',
  '(garbage collector)': 'garbage collector',
};

/** A function without a URL: V8's or Node's own code. */
function builtIn(name: string, caller: string): string {
  if (caller === '') return OUTSIDE[name] ?? name;
  if (name.startsWith('write') && caller === 'node:internal/stream_base_commons')
    return 'system calls: socket writes';
  if (name.startsWith('write') && caller === 'node:fs') return 'system calls: audit file';
  return roomOf(caller);
}

function short(url: string): string {
  return url.replace(/^.*\/(dist|\.build[^/]*)\//, '').replace(/^.*\/node_modules\//, '');
}

function roomOf(url: string): string {
  const room = /\/src\/(\w+)\/[^/]+(?:\/[^/]+)?\.js$/.exec(url)?.[1];
  if (url.includes('/node_modules/')) return /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? url;
  if (room !== undefined) return `src/${room}`;
  if (url.startsWith('wasm:')) return 'wasm (HTTP parser of undici)';
  if (!url.startsWith('node:')) return short(url);
  if (/^node:(_http|internal\/http)/.test(url)) return 'node:http';
  if (/^node:(net|internal\/stream_base|internal\/net)/.test(url)) return 'node:net';
  if (/^node:(internal\/streams|stream|internal\/webstreams)/.test(url)) return 'node:stream';
  if (/^node:(internal\/fs|fs)/.test(url)) return 'node:fs';
  if (/timers|process\/task_queues|async_hooks/.test(url)) return 'node: timers, ticks';
  return url.replace('internal/', '');
}
