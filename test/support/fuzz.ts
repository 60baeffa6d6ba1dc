import fc from 'fast-check';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from './command.js';

/** A run of a property that every later run repeats before it draws inputs of its own. */
interface Seed {
  /** The name that `hold` was given. */
  readonly property: string;
  readonly seed: number;
  /** Way to the one input that failed; empty: the whole run. */
  readonly path: string;
  /** What it was that failed, for people. */
  readonly found: string;
}

const FILE = join(projectRoot, 'test', 'fuzz', 'seeds.json');
const readSeeds = (): Seed[] => JSON.parse(readFileSync(FILE, 'utf8')) as Seed[];

/** How many times the usual number of inputs are drawn: `npm run fuzz` sets it. */
const times = Number(process.env['BREAKWATER_FUZZ_TIMES'] ?? 1);

/** Seed of this process: `BREAKWATER_FUZZ_SEED`, else another one each time. */
export const freshSeed: number = Number(
  process.env['BREAKWATER_FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 31),
);

/**
 * Asserts that a property holds: for its seeds in test/fuzz/seeds.json first, then for `numRuns` inputs of a fresh one.
 *
 * @returns how many inputs were tried
 * @throws Error with the seed, the path and the smallest input that fails; with `BREAKWATER_FUZZ_RECORD` set they are
 * added to the file as well
 */
export async function hold<T>(name: string, property: fc.IRawProperty<T>, numRuns: number): Promise<number> {
  const kept = readSeeds().filter((one) => one.property === name);
  const runs: fc.Parameters<T>[] = [
    ...kept.map(({ seed, path }) => ({ seed, numRuns, ...(path !== '' && { path, endOnFailure: true }) })),
    { seed: freshSeed, numRuns: numRuns * times },
  ];
  let tried = 0;
  for (const parameters of runs) {
    const details = await fc.check(property, parameters);
    tried += details.numRuns;
    if (!details.failed) continue;
    if (process.env['BREAKWATER_FUZZ_RECORD'] !== undefined) {
      record({
        property: name,
        seed: details.seed,
        path: details.counterexamplePath ?? '',
        found: fc.stringify(details.counterexample).slice(0, 2000),
      });
    }
    throw new Error(`${name}: ${await fc.asyncDefaultReportMessage(details)}`);
  }
  return tried;
}

function record(seed: Seed): void {
  const seeds = readSeeds();
  if (seeds.some((one) => one.property === seed.property && one.found === seed.found)) return;
  writeFileSync(FILE, `${JSON.stringify([...seeds, seed], null, 2)}\n`);
}
