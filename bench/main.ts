import { existsSync } from 'node:fs';
import { cpus } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { measureBulk } from './bulk.js';
import { measureContext } from './context.js';
import { ownGuard, startEngine, startGuard, startProxy, type GuardBuild, type Places } from './field.js';
import { measureIntel } from './intel.js';
import { measureJournal } from './journal.js';
import { interleave, measure, type Sample, type Target } from './load.js';
import {
  chooseCores,
  cleanUp,
  here,
  Malfunction,
  memory,
  requireTools,
  run,
  scratch,
  type Cores,
} from './processes.js';
import { profile } from './profile.js';
import { measureShare } from './share.js';
import { report, type Results } from './report.js';
import { measureStall } from './stall.js';
import { measureStart } from './start.js';
import { writeScript, type Load } from './workload.js';

const PARTS = [
  'requests',
  'latency',
  'create',
  'journal',
  'bulk',
  'context',
  'share',
  'intel',
  'stall',
  'start',
] as const;
type Part = (typeof PARTS)[number];

const HELP = `npm run bench -- [options]: the guard against HAProxy and against no proxy at all, in one run

  --only PART    one of ${PARTS.join(', ')}; may be given several times (default: all)
  --seconds N    length of one measurement (default 3); bulk transfers are N x 192 MiB, contexts 1 GiB and 250 MiB, twice
  --rounds N     measurements of each kind, all targets in turn; the median counts (default 3)
  --guard F      main.js of another build of the guard, to compare two builds
  --feed F       a list of indicators that the guard looks for in every call, to see what that costs
  --node-flag F  a flag for the guard's node, such as --max-semi-space-size=4; may be given several times
  --check        exit 1 when a target is missed (else only when something does not work)
  --profile      instead: the guard under V8's profiler, and where its time goes; --load mix|ping|create,
                 --only journal: with the audit journal
  --help

Needs Linux, wrk, haproxy and taskset: on Debian, apt-get install wrk haproxy util-linux.

The target under test runs on one CPU (taskset), the load generator and the stand-in engine on another. The
guard runs with a policy of ten rules and writes its audit trail to the disk of the checkout. HAProxy is set up in
the manner of Tecnativa/docker-socket-proxy, once with keep-alive and without a log (the denominator of the ratios), once with
its log and a new upstream connection per request, as that image does it. "direct" is the stand-in engine itself, which
then shares its CPU with the load generator.
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', multiple: true },
      seconds: { type: 'string', default: '3' },
      rounds: { type: 'string', default: '3' },
      guard: { type: 'string', default: ownGuard },
      feed: { type: 'string' },
      'node-flag': { type: 'string', multiple: true, default: [] },
      check: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      load: { type: 'string', default: 'mix' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const seconds = whole('--seconds', values.seconds, 60);
  const rounds = whole('--rounds', values.rounds, 100);
  const parts = new Set(values.only ?? PARTS);
  for (const part of parts) oneOf('--only', part, PARTS);
  const load = oneOf('--load', values.load, ['mix', 'ping', 'create'] as const);
  if (!existsSync(values.guard)) throw new UsageError(`--guard: there is no ${values.guard}`);

  requireTools();
  const cores = chooseCores();
  const places: Places = { short: scratch(), disk: scratch(here) };
  console.log(await describe(cores));
  const build: GuardBuild = {
    main: values.guard,
    nodeFlags: values['node-flag'],
    ...(values.feed !== undefined && { feed: resolve(values.feed) }),
  };
  if (values.profile) {
    const trail = values.only?.includes('journal') === true ? 'journal' : 'file';
    const profiled = { build: { ...build, trail } as const, load, seconds: Math.max(seconds, 5) };
    console.log(await profile(places, cores, profiled));
    return 0;
  }
  const results = await measureParts(parts, places, cores, { build, seconds, rounds });
  const { text, missed, notes } = report(results);
  console.log(`\n${text}\n`);
  for (const note of notes) console.log(note);
  if (missed.length > 0) console.log(`Targets missed: ${missed.map((name) => name.trim()).join('; ')}`);
  return values.check && missed.length > 0 ? 1 : 0;
}

async function measureParts(
  parts: ReadonlySet<string>,
  places: Places,
  cores: Cores,
  options: { build: GuardBuild; seconds: number; rounds: number },
): Promise<Results> {
  const { seconds, rounds } = options;
  const has = (part: Part): boolean => parts.has(part);
  const results: Results = {};
  const highest = new Map<Target['name'], { load: number; life: number }>();
  const guardMemory = new Map<string, number>();
  let now = '';
  const left: string[] = [];
  const remember = (target: Target, rss: number): void => {
    const before = highest.get(target.name) ?? { load: 0, life: 0 };
    const life = memory(target.pid).peak;
    if (target.name === 'guard') guardMemory.set(now, Math.max(guardMemory.get(now) ?? 0, rss));
    highest.set(target.name, { load: Math.max(before.load, rss), life: Math.max(before.life, life) });
  };

  const progress = (what: string): void => {
    now = what;
    process.stderr.write(`  measuring: ${what} …\n`);
  };

  if (has('requests') || has('latency') || has('create')) {
    const engine = await startEngine(places, cores.rest);
    const proxy = await startProxy(places, cores, engine.socket, false);
    const logging = await startProxy(places, cores, engine.socket, true);
    const guard = (await startGuard(places, cores, engine.socket, options.build)).target;

    const wrk = (load: Load, connections: number) => {
      const script = writeScript(places.short, load);
      return async (target: Target): Promise<Sample> => {
        const sample = await measure(target, { script, connections, seconds, cores });
        if (target !== engine.target) remember(target, sample.rss);
        return sample;
      };
    };
    const rate = async (what: string, targets: readonly Target[], load: Load, connections: number) => {
      progress(what);
      const once = wrk(load, connections);
      const found = await interleave(targets, rounds, once);
      return new Map([...found].map(([target, samples]) => [target.name, samples] as const));
    };

    progress('warming up');
    // V8 compiles while it runs: the guard's first seconds are not its speed.
    for (const load of ['mix', ...(has('create') ? (['create'] as const) : [])] as const)
      await wrk(load, 16)(guard);
    await wrk('mix', 16)(proxy);
    if (has('requests')) {
      results.requests = await rate('requests', [engine.target, proxy, guard, logging], 'mix', 16);
    }
    if (has('latency')) results.latency = await rate('latency', [engine.target, proxy, guard], 'mix', 1);
    if (has('create')) {
      results.create = {
        ping: await rate('ping', [proxy, guard], 'ping', 16),
        create: await rate('create', [proxy, guard], 'create', 16),
      };
    }
  }
  if (has('journal')) {
    results.journal = await measureJournal(places, cores, options.build, { seconds, rounds, progress });
  }
  if (has('bulk')) {
    progress('bulk');
    results.bulk = await measureBulk(places, cores, options.build, { mib: seconds * 192, rounds, remember });
  }
  if (has('context')) {
    progress('context');
    results.context = await measureContext(places, cores, options.build, {
      rounds: Math.min(rounds, 2),
      remember,
      note: (what) => left.push(what),
    });
  }
  if (has('share')) {
    progress('shared reads');
    const note = (what: string): void => void left.push(what);
    results.share = await measureShare(places, cores, options.build, { seconds, rounds, note });
  }
  if (has('start')) {
    progress('start');
    results.start = await measureStart(places, cores, options.build, seconds);
  }
  if (has('stall')) {
    results.stall = await measureStall(places, cores, options.build, progress);
  }
  if (has('intel')) {
    progress('intel');
    results.intel = await measureIntel();
  }
  results.memory = highest;
  results.guardMemory = guardMemory;
  results.left = left;
  return results;
}

async function describe(cores: Cores): Promise<string> {
  const haproxy = /version (\S+)/.exec(await run('haproxy', ['-v'], undefined, 5000))?.[1] ?? '?';
  const model = cpus()[0]?.model ?? 'unknown CPU';
  const placing =
    cores.tested === undefined
      ? 'ONE CPU for everything, nothing pinned: the load generator takes from what it measures, read only the ratios'
      : `target on CPU ${cores.tested}, load generator and engine on CPU ${cores.rest}`;
  return `${model}; Node ${process.versions.node}; HAProxy ${haproxy}; ${placing}`;
}

class UsageError extends Error {}

function whole(option: string, text: string, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new UsageError(`${option}: found "${text}"; expected a whole number from 1 to ${most}`);
}

function oneOf<T extends string>(option: string, text: string, known: readonly T[]): T {
  const found = known.find((one) => one === text);
  if (found !== undefined) return found;
  throw new UsageError(`${option}: found "${text}"; expected one of ${known.join(', ')}`);
}

process.on('exit', cleanUp);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));
try {
  process.exitCode = await main();
} catch (error) {
  const usage =
    error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS');
  const known = usage === true || error instanceof Malfunction;
  console.error(`bench: ${known ? (error as Error).message : String((error as Error).stack)}`);
  process.exitCode = usage === true ? 2 : 1;
}
// Servers still run: `exit` ends them.
process.exit();
