import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { startEngine, startGuard, type GuardBuild, type Places } from './field.js';
import { interleave, measure, median, type Sample } from './load.js';
import type { Cores } from './processes.js';
import { writeScript } from './workload.js';

/** What the journal costs: one guard with it, one whose audit trail goes to /dev/null, in turn. */
export interface JournalFigures {
  /** Reads, whose records are handed to the system; creations, whose records are on the disk before the engine gets the call. */
  readonly loads: ReadonlyMap<'mix' | 'create', Readonly<Record<'journal' | 'none', readonly Sample[]>>>;
  /** Milliseconds of one fdatasync after a write of 4 KiB, on the same disk between the measurements: median and 99th of 100. */
  readonly sync: { readonly p50: number; readonly p99: number };
}

export async function measureJournal(
  places: Places,
  cores: Cores,
  build: GuardBuild,
  options: { seconds: number; rounds: number; progress: (what: string) => void },
): Promise<JournalFigures> {
  const { seconds, rounds, progress } = options;
  const engine = await startEngine(places, cores.rest);
  const guards = {
    journal: (await startGuard(places, cores, engine.socket, { ...build, trail: 'journal' })).target,
    none: (await startGuard(places, cores, engine.socket, { ...build, trail: 'none' })).target,
  };
  const loads = new Map<'mix' | 'create', Record<'journal' | 'none', readonly Sample[]>>();
  const syncs: number[] = [];
  for (const load of ['mix', 'create'] as const) {
    const script = writeScript(places.short, load);
    const once = (name: keyof typeof guards): Promise<Sample> =>
      measure(guards[name], { script, connections: 16, seconds, cores });
    progress(`journal, ${load === 'mix' ? 'reads' : 'creations'}`);
    for (const name of ['journal', 'none'] as const) await once(name);
    const found = await interleave(['journal', 'none'] as const, rounds, async (name) => {
      syncs.push(...syncTimes(places.disk));
      return once(name);
    });
    loads.set(load, { journal: found.get('journal') ?? [], none: found.get('none') ?? [] });
  }
  syncs.sort((a, b) => a - b);
  return {
    loads,
    sync: { p50: median(syncs), p99: syncs[Math.floor(syncs.length * 0.99)] ?? Number.NaN },
  };
}

const PIECE = Buffer.alloc(4096, 'x');

/** The disk alone: so fast a group commit can be at best. */
function syncTimes(directory: string): number[] {
  const fd = openSync(join(directory, 'sync'), 'a');
  try {
    return Array.from({ length: 100 }, () => {
      writeSync(fd, PIECE);
      const before = performance.now();
      fdatasyncSync(fd);
      return performance.now() - before;
    });
  } finally {
    closeSync(fd);
  }
}
