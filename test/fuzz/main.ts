import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { run } from '../support/command.js';

// `npm run fuzz -- --minutes N`: the property tests of the readers with many more inputs, over and over, and one
// round of random Dockerfiles and contexts that a real dockerd and the guard must read alike. What fails is added to
// test/fuzz/seeds.json and is tried first from then on.

const READERS = ['docker/go-json', 'docker/dockerfile', 'docker/answers', 'capture/context'];
const ENGINE = ['e2e/dockerfile', 'e2e/context'];

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '5' } } });
const minutes = Number(values.minutes);
if (!(minutes > 0)) {
  console.error('--minutes takes a number above 0');
  process.exit(2);
}

let failed = false;

async function once(name: string, times: number): Promise<void> {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const file = fileURLToPath(new URL(`../${name}.test.js`, import.meta.url));
  const env = {
    BREAKWATER_FUZZ_SEED: String(seed),
    BREAKWATER_FUZZ_TIMES: String(times),
    BREAKWATER_FUZZ_RECORD: '1',
    TAP_TIMEOUT: '600',
  };
  const outcome = await run(process.execPath, ['--enable-source-maps', file], { timeout: 600_000, env });
  const skipped = /SKIPPED, NOT TESTED.*/.exec(outcome.stdout)?.[0];
  const good = outcome.code === 0 && !outcome.timedOut;
  if (!good) failed = true;
  console.log(`${good ? (skipped ?? 'ok') : 'FAILED'}  ${name}  seed ${seed}`);
  if (!good) console.log(outcome.stdout, outcome.stderr);
}

const end = Date.now() + minutes * 60_000;
for (const name of ENGINE) await once(name, 1);
do {
  for (const name of READERS) await once(name, 10);
} while (Date.now() < end);
process.exit(failed ? 1 : 0);
