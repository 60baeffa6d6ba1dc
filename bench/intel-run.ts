import { setTimeout as wait } from 'node:timers/promises';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { formatIpv4 } from '../src/base/address.js';
import { buildIndex, type Listed } from '../src/intel/index-build.js';
import { openIndex } from '../src/intel/indicator-index.js';
import type { IndicatorType } from '../src/intel/indicator.js';
import { scanText } from '../src/intel/scan.js';
import type { IntelFigures } from './intel.js';

/**
 * 1,000,000 IPv4 addresses, 1,000,000 domains and 500,000 URLs, made up: a worker makes the index of them, this thread opens it
 * and looks things up. Prints IntelFigures as JSON. Its own process, so that memory is that of the index.
 */
const COUNTS: readonly (readonly [IndicatorType, number])[] = [
  ['ipv4', 1_000_000],
  ['domain', 1_000_000],
  ['url', 500_000],
];
const TOTAL = COUNTS.reduce((sum, [, count]) => sum + count, 0);
const ENDINGS = ['com', 'net', 'org', 'xyz', 'top', 'ru', 'info', 'shop', 'cn', 'io'];

/** A number below 2^32 that looks random, the same in each run. */
function noise(n: number): number {
  let h = Math.imul(n ^ 0x9e3779b9, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 16), 0x27d4eb2f);
  return (h ^ (h >>> 15)) >>> 0;
}

function name(n: number): string {
  const first = noise(n).toString(36);
  return `${first}.${noise(n + 0x1000_0000).toString(36)}-${n % 7}.${ENDINGS[noise(n) % ENDINGS.length]}`;
}

function value(type: IndicatorType, n: number): string {
  if (type === 'ipv4') return formatIpv4(noise(n));
  if (type === 'domain') return name(n);
  const host = n % 2 === 0 ? formatIpv4(noise(n + 0x2000_0000)) : name(n + 0x2000_0000);
  return `${host}/${noise(n).toString(36)}/${noise(n + 1).toString(36)}.sh`;
}

function* listed(): Iterable<Listed> {
  for (const [type, count] of COUNTS) {
    for (let n = 0; n < count; n++) {
      const more = {
        feed: `feed-${n % 5}`,
        threat: `threat-${n % 50}`,
        confidence: n % 101,
        port: n % 3 === 0 ? 443 : 0,
      };
      yield { type, value: value(type, n), action: 'block', ...more };
    }
  }
}

if (!isMainThread) {
  const start = performance.now();
  const buffer = buildIndex(listed(), { seed: [1, 2] });
  parentPort?.postMessage({ buffer, seconds: (performance.now() - start) / 1000 }, [buffer]);
} else console.log(JSON.stringify(await measure()));

async function measure(): Promise<IntelFigures> {
  const before = process.memoryUsage().rss;
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last - 1);
    last = now;
  }, 1);
  const worker = new Worker(new URL(import.meta.url));
  const { buffer, seconds } = await new Promise<{ buffer: ArrayBuffer; seconds: number }>(
    (resolve, reject) => {
      worker.on('message', resolve);
      worker.on('error', reject);
    },
  );
  const opening = performance.now();
  const index = openIndex(buffer, { verified: true });
  const opened = performance.now() - opening;
  await new Promise((resolve) => worker.once('exit', resolve));
  await wait(50);
  clearInterval(timer);
  const rss = (process.memoryUsage().rss - before) / 1e6;

  const lookUps: Record<string, number> = {};
  const measureLookUp = (what: string, at: (n: number) => unknown): void => {
    const [hits, rounds] = [what.endsWith('hit'), 400_000];
    const run = (count: number): number => {
      const start = performance.now();
      let found = 0;
      for (let n = 0; n < count; n++) if (at(n & 8191) !== undefined) found++;
      if (hits ? found !== count : found > count / 100)
        throw new Error(`${what}: ${found} of ${count} found`);
      return performance.now() - start;
    };
    run(50_000);
    lookUps[what] = (Math.min(run(rounds), run(rounds), run(rounds)) * 1e6) / rounds;
  };
  for (const [what, shift] of [
    ['hit', 0],
    ['miss', 0x4000_0000],
  ] as const) {
    // Spread over all of the index, and made before the clock runs.
    const at = Array.from({ length: 8192 }, (_, n) => n * 61 + shift);
    const addresses = at.map((n) => noise(n));
    const [domains, urls] = [at.map((n) => `www.${value('domain', n)}`), at.map((n) => value('url', n))];
    measureLookUp(`IPv4 ${what}`, (n) => index.ipv4(addresses[n]!));
    measureLookUp(`domain ${what}`, (n) => index.domain(domains[n]!));
    measureLookUp(`URL ${what}`, (n) => index.url(urls[n]!));
  }

  const line = (n: number): string =>
    `RUN apk add curl=8.${n} && curl -fsSL https://${name(n + 0x5000_0000)}/dist/v1.${n}/tool.tar.gz -o /usr/local/bin/tool # ${n}\n`;
  const megabyte = (text: string): string =>
    Buffer.from(text.repeat(Math.ceil(1e6 / text.length)).slice(0, 1e6)).toString();
  const texts = {
    ordinary: megabyte(Array.from({ length: 2000 }, (_, n) => line(n)).join('')),
    'http://1.1.1.1 repeated': megabyte('http://1.1.1.1'),
    '- repeated': megabyte('-'),
    'a. repeated': megabyte('a.'),
  };
  const scans: Record<string, number> = {};
  for (const [what, text] of Object.entries(texts)) {
    const times = Array.from({ length: 7 }, () => {
      const start = performance.now();
      scanText(text, index, '');
      return performance.now() - start;
    });
    scans[what] = text.length / 1e3 / Math.min(...times);
  }
  return { seconds, rss, bytes: buffer.byteLength / TOTAL, pause: longest, opened, lookUps, scans };
}
