import fc from 'fast-check';
import t from 'tap';
import { OPERATIONS } from '../../src/docker/catalogue.js';
import {
  isBuild,
  compileRate,
  isCreate,
  describeExceeded,
  fullLevel,
  parseRate,
  refill,
  retryAfter,
  spend,
  waitFor,
  worstOf,
  type QuotaLevel,
  type ExceededQuota,
  type Rate,
} from '../../src/policy/quotas.js';
import { compile, problems } from './words.js';

const withLimits = (limits: unknown, mode?: string): object => ({
  ...(mode !== undefined && { mode }),
  sources: { ci: { listener: ['tcp'], limits } },
});

t.test('a rate is read, or it is said what would be one', async (t) => {
  const ok: [string, boolean, number, number][] = [
    ['600/1m', false, 600, 60_000],
    ['1/1s', false, 1, 1_000],
    ['20/12h', false, 20, 43_200_000],
    ['5/366d', false, 5, 366 * 86_400_000],
    ['10GiB/1h', true, 10 * 2 ** 30, 3_600_000],
    ['1000/1s', true, 1_000, 1_000],
  ];
  for (const [text, bytes, amount, interval] of ok)
    t.same(parseRate(text, bytes), { amount, interval }, text);
  const counts = [
    '',
    '600',
    '600/',
    '/1m',
    '0/1m',
    '-1/1m',
    '1.5/1m',
    '1e3/1m',
    '600/0m',
    '600/01m',
    '600/1',
    '600/m',
  ];
  for (const bad of [
    ...counts,
    '600/1m/1m',
    ' 600/1m',
    '600 / 1m',
    '600/1ms',
    '600/367d',
    '600/1M',
    '9999999999999999/1s',
  ])
    t.equal(parseRate(bad, false), undefined, `no rate: ${JSON.stringify(bad)}`);
  t.equal(parseRate('10GiB/1h', false), undefined, 'a size is no count');
  t.equal(parseRate('9000TiB/1h', true), undefined, 'too large to count exactly');

  t.same(parseRate('64M/1h', true), { amount: 67_108_864, interval: 3_600_000 }, 'as in a rewrite');

  const limits = {
    calls: '600/1m',
    builds: { rate: '20/1h', burst: 5 },
    bytes: '1GiB/1h',
    streams: 50,
    per: 'client',
  };
  const { withQuotas: limited } = compile(withLimits(limits));
  t.match(limited.get('ci')?.quotas, {
    per: 'client',
    observe: false,
    streams: 50,
    rates: {
      calls: { amount: 600, burst: 600 },
      builds: { amount: 20, burst: 5 },
      bytes: { burst: 2 ** 30 },
    },
  });
  t.equal(compile(withLimits({ calls: '1/1s' }, 'observe')).withQuotas.get('ci')?.quotas?.observe, true);
  t.equal(compile({ sources: { ci: { listener: ['tcp'] } } }).withQuotas.size, 0);
  t.equal(compile(withLimits({ bytes: { rate: '1GiB/1h', burst: '1MiB' } })).withQuotas.size, 1);
  t.equal(compile(withLimits({ bytes: { rate: '1GiB/1h', burst: 4096 } })).withQuotas.size, 1);

  const bad: [unknown, RegExp][] = [
    [{}, /^\/sources\/ci\/limits: .*at least one of calls, builds, creates, bytes, streams/],
    [{ per: 'client' }, /at least one of/],
    [
      { per: 'address', calls: '1/1s' },
      /^\/sources\/ci\/limits\/per: found "address"; valid: "source", "client"/,
    ],
    [{ calls: '600' }, /^\/sources\/ci\/limits\/calls: found "600".*"600\/1m"/],
    [{ calls: 600 }, /^\/sources\/ci\/limits\/calls: found 600.*"600\/1m"/],
    [{ bytes: '10/1y' }, /^\/sources\/ci\/limits\/bytes: .*"10GiB\/1h"/],
    [{ calls: { rate: '1/1s', burst: 0 } }, /^\/sources\/ci\/limits\/calls\/burst: .*whole number from 1/],
    [{ calls: { rate: '1/1s', burst: '5MiB' } }, /^\/sources\/ci\/limits\/calls/],
    [{ calls: { burst: 1 } }, /^\/sources\/ci\/limits\/calls/],
    [{ calls: { rate: '1/1s', brust: 1 } }, /burst/],
    [{ streams: 0 }, /^\/sources\/ci\/limits\/streams/],
    [{ streams: 1.5 }, /^\/sources\/ci\/limits\/streams/],
    [{ call: '1/1s' }, /unknown key "call".*Did you mean "calls"/],
  ];
  for (const [limits, expected] of bad) {
    const found = problems(withLimits(limits));
    t.equal(found.length, 1, `${JSON.stringify(limits)} is one problem: ${found.join(' | ')}`);
    t.match(found[0], expected);
  }
  t.match(problems({ sources: { ci: { limits: { calls: '1/1s' } } } })[0], /at least one of: listener, cidr/);
});

t.test('builds and creates, by the traits of the catalogue', async (t) => {
  const ids = (are: typeof isBuild): string[] => OPERATIONS.filter(are).map(({ id }) => id);
  t.same(ids(isBuild), ['ImageBuild', 'Grpc']);
  t.same(ids(isCreate), [
    'ContainerCreate',
    'ContainerExec',
    'CheckpointCreate',
    'ImageLoad',
    'ImageCreate',
    'ImageCommit',
    'NetworkCreate',
    'VolumeCreate',
    'PluginPull',
    'PluginCreate',
    'ServiceCreate',
    'SecretCreate',
    'ConfigCreate',
  ]);
});

const rates = fc
  .record({
    amount: fc.integer({ min: 1, max: 1_000 }),
    interval: fc.constantFrom(1_000, 7_000, 60_000, 3_600_000, 86_400_000),
    burst: fc.integer({ min: 1, max: 1_000 }),
  })
  .map((rate): Rate => ({ ...rate, text: '' }));
/** What comes when: milliseconds since the one before, and how much. A clock that goes back is in it. */
const arrivals = fc.array(
  fc.record({ gap: fc.integer({ min: -50, max: 5_000 }), amount: fc.integer({ min: 1, max: 30 }) }),
  { minLength: 1, maxLength: 120 },
);

interface Taken {
  readonly at: number;
  readonly amount: number;
}

/** What passes, one after another. */
function pass(
  rate: Rate,
  list: readonly { gap: number; amount: number }[],
): { taken: Taken[]; levels: QuotaLevel[] } {
  let level = fullLevel(rate, 0);
  let now = 0;
  const taken: Taken[] = [];
  const levels: QuotaLevel[] = [];
  for (const { gap, amount } of list) {
    now = Math.max(0, now + gap);
    if (waitFor(level, rate, amount, now) === 0) {
      level = spend(level, rate, amount, now);
      taken.push({ at: now, amount });
    }
    levels.push(level);
  }
  return { taken, levels };
}

t.test('never more than the burst and what came in since, in any window', async () => {
  fc.assert(
    fc.property(rates, arrivals, (rate, list) => {
      const { taken } = pass(rate, list);
      for (let from = 0; from < taken.length; from++) {
        let sum = 0;
        let end = taken[from]!.at;
        for (let to = from; to < taken.length; to++) {
          sum += taken[to]!.amount;
          end = Math.max(end, taken[to]!.at);
          const start = Math.min(...taken.slice(from, to + 1).map(({ at }) => at));
          if (sum > rate.burst + ((end - start) * rate.amount) / rate.interval + 1e-3) return false;
        }
      }
      return true;
    }),
    { numRuns: 300 },
  );
});

t.test(
  'a refill never exceeds the burst, never takes away, and time that goes back adds nothing',
  async () => {
    fc.assert(
      fc.property(rates, arrivals, fc.double({ min: -1e6, max: 1e12, noNaN: true }), (rate, list, later) => {
        for (const level of pass(rate, list).levels) {
          const filled = refill(level, rate, later);
          if (filled.left > rate.burst || filled.left < level.left || filled.at < level.at) return false;
          if (later <= level.at && filled.left !== level.left) return false;
        }
        return true;
      }),
    );
  },
);

t.test('what arrives at the same time leaves the same level in any order', async () => {
  const amounts = fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(rates, amounts, fc.integer({ min: 0, max: 10_000 }), (rate, list, now) => {
      const all = (some: readonly number[]): QuotaLevel =>
        some.reduce((level, amount) => spend(level, rate, amount, now), fullLevel(rate, 0));
      return all(list).left === all(list.toReversed()).left;
    }),
  );
});

t.test('who waits as long as told, and no less, gets what was asked for', async () => {
  fc.assert(
    fc.property(rates, arrivals, (rate, list) => {
      let level = fullLevel(rate, 0);
      let now = 0;
      for (const { gap, amount } of list) {
        const asked = Math.min(amount, rate.burst);
        now += Math.max(0, gap) / 100;
        const wait = waitFor(level, rate, asked, now);
        if (waitFor(level, rate, asked, now + wait) !== 0) return false;
        if (wait > 2 && waitFor(level, rate, asked, now + wait - 1.1) === 0) return false;
        level = spend(level, rate, asked, (now += wait));
      }
      return true;
    }),
  );
});

t.test('bytes: a debt is paid before anything else passes; what is only observed runs up none', async (t) => {
  const rate = compileRate('1000/1s', true);
  let level = spend(fullLevel(rate, 0), rate, 5_000, 0);
  t.equal(level.left, -4_000);
  t.equal(waitFor(level, rate, 0, 0), 4_000);
  t.equal(waitFor(level, rate, 0, 3_999), 1);
  t.equal(waitFor(level, rate, 0, 4_000), 0);
  for (let n = 0; n < 10; n++) level = spend(level, rate, 1e9, 4_000, -2_000);
  t.equal(level.left, -2_000);
});

t.test('the words of a denial', async (t) => {
  const over = (wait: number, more: Partial<ExceededQuota> = {}): ExceededQuota => ({
    source: 'ci',
    quota: 'calls',
    what: 'source ci is at its limit of calls (600/1m)',
    wait,
    observe: false,
    ...more,
  });
  t.equal(describeExceeded(over(1)), 'source ci is at its limit of calls (600/1m); try again in 1 s');
  t.equal(describeExceeded(over(1_001)), 'source ci is at its limit of calls (600/1m); try again in 2 s');
  t.match(describeExceeded(over(180_000)), /try again in 3 min$/);
  t.match(describeExceeded(over(86_400_000)), /try again in 24 h$/);
  t.match(describeExceeded(over(0, { quota: 'streams' })), /try again when one of them has ended$/);
  t.equal(retryAfter(over(0)), 1);
  t.equal(worstOf([]), undefined);
  t.equal(worstOf([over(5), over(9), over(7)])?.wait, 9);
  t.equal(worstOf([over(9, { observe: true }), over(5)])?.wait, 5, 'what is enforced comes first');
  t.equal(worstOf([over(5), over(9, { observe: true })])?.wait, 5);
});
