import fc from 'fast-check';
import t from 'tap';
import { formatPrefix, maskWord, parsePrefix } from '../../src/base/network.js';
import { buildIndex, type Exempt, type Listed } from '../../src/intel/index-build.js';
import { EMPTY_INDEX, openIndex } from '../../src/intel/indicator-index.js';
import type { Hit, IndicatorType } from '../../src/intel/indicator.js';

const listed = (type: IndicatorType, value: string, more: Partial<Listed> = {}): Listed => ({
  ...{ type, value, feed: 'c2', action: 'block', confidence: 50, threat: '', port: 0 },
  ...more,
});

/** Few values, so that they collide, nest and overlap. */
const octet = fc.constantFrom(0, 1, 127, 128, 255);
const four = fc
  .tuple(octet, octet, fc.constantFrom(8, 9, 15, 16, 17, 24, 31, 32))
  .map(([a, b, bits]) => formatPrefix(parsePrefix(`198.${a}.0.${b}/${bits}`)!));
const six = fc
  .tuple(octet, octet, fc.constantFrom(19, 32, 33, 64, 65, 96, 127, 128))
  .map(([a, b, bits]) => formatPrefix(parsePrefix(`2001:${a}:0:${b}:0:${a}::${b}/${bits}`)!));
const domain = fc
  .array(fc.constantFrom('a', 'b', 'com', 'c2'), { minLength: 1, maxLength: 4 })
  .map((labels) => labels.join('.'));
const url = fc
  .tuple(
    domain,
    fc.constantFrom('', ':81'),
    fc.constantFrom('/', '/a', '/b'),
    fc.constantFrom('', '?x', '?y'),
  )
  .map((parts) => parts.join(''));
const hash = fc
  .tuple(fc.constantFrom('0a', 'ff', '7b'), fc.constantFrom(16, 20, 32, 64))
  .map(([byte, bytes]) => byte.repeat(bytes));
const value: fc.Arbitrary<Exempt> = fc.oneof(
  four.map((text) => ({ type: 'ipv4' as const, value: text })),
  six.map((text) => ({ type: 'ipv6' as const, value: text })),
  domain.map((text) => ({ type: 'domain' as const, value: text })),
  url.map((text) => ({ type: 'url' as const, value: text })),
  hash.map((text) => ({ type: 'hash' as const, value: text })),
);
const entry = fc
  .tuple(
    value,
    fc.constantFrom('f', 'g'),
    fc.constantFrom('block' as const, 'alert' as const),
    fc.constantFrom(10, 90),
  )
  .map(([one, feed, action, confidence]) => ({ ...listed(one.type, one.value), feed, action, confidence }));

/** How specific a listing of `value` is for the thing looked up; -1 when it does not cover it. */
function covers(type: IndicatorType, value: string, asked: string): number {
  if (type === 'hash') return value === asked ? 0 : -1;
  if (type === 'url') return value === asked ? 1 : value === asked.replace(/\?.*/, '') ? 0 : -1;
  if (type === 'domain') return asked === value || asked.endsWith(`.${value}`) ? value.length : -1;
  const [prefix, address] = [parsePrefix(value)!, parsePrefix(asked)!];
  const words = (one: typeof prefix): readonly number[] => (one.family === 4 ? [one.address] : one.words);
  const inside = words(prefix).every(
    (word, i) => word === maskWord(words(address)[i]!, prefix.bits - 32 * i),
  );
  return prefix.family === address.family && inside ? prefix.bits : -1;
}

/** The meaning of an index, written down as plainly as possible. */
function oracle(
  entries: readonly Listed[],
  exempt: readonly Exempt[],
  type: IndicatorType,
  asked: string,
): string {
  if (exempt.some((one) => one.type === type && covers(type, one.value, asked) >= 0)) return 'none';
  const [best] = entries
    .filter((one) => one.type === type && covers(type, one.value, asked) >= 0)
    .sort(
      (x, y) =>
        Number(y.action === 'block') - Number(x.action === 'block') ||
        covers(type, y.value, asked) - covers(type, x.value, asked) ||
        y.confidence - x.confidence ||
        (x.feed < y.feed ? -1 : 1),
    );
  return best === undefined ? 'none' : `${best.value} ${best.action} ${best.confidence} ${best.feed}`;
}

const described = (hit: Hit | undefined): string =>
  hit === undefined ? 'none' : `${hit.indicator} ${hit.action} ${hit.confidence} ${hit.feed}`;

t.test('agrees with the plain meaning on random sets', async () => {
  const asked = fc.oneof(
    value,
    value.map((one) => ({ ...one, value: one.value.replace(/\/\d+$/, '') })),
  );
  fc.assert(
    fc.property(
      fc.array(entry, { maxLength: 30 }),
      fc.array(value, { maxLength: 3 }),
      fc.array(asked, { maxLength: 40 }),
      fc.tuple(fc.nat(0xffffffff), fc.nat(0xffffffff)),
      (entries, exempt, questions, seed) => {
        const index = openIndex(buildIndex(entries, { seed, exempt }));
        for (const { type, value: text } of [...questions, ...entries]) {
          const question = type === 'ipv4' || type === 'ipv6' ? text.replace(/\/\d+$/, '') : text;
          const prefix = parsePrefix(question);
          const hit =
            prefix === undefined || type === 'domain' || type === 'url' || type === 'hash'
              ? index[type as 'domain' | 'url' | 'hash'](question)
              : prefix.family === 4
                ? index.ipv4(prefix.address)
                : index.ipv6(...prefix.words);
          if (described(hit) !== oracle(entries, exempt, type, question)) return false;
          if (type === 'url' && hit !== undefined && !index.urlHost(question.replace(/[:/].*/, '')))
            return false;
        }
        for (const type of ['domain', 'url', 'hash'] as const) {
          const free = new Set(exempt.filter((one) => one.type === type).map((one) => one.value));
          const all = new Set(
            entries.filter((one) => one.type === type && !free.has(one.value)).map((one) => one.value),
          );
          if (index.counts[type] !== all.size) return false;
        }
        return disjoint([...index.ranges4()]) && disjoint([...index.ranges6()]);
      },
    ),
    { numRuns: 400 },
  );
});

function disjoint(
  ranges: readonly { readonly from: number | bigint; readonly to: number | bigint }[],
): boolean {
  return ranges.every(({ from, to }, i) => from <= to && (i === 0 || ranges[i - 1]!.to < from));
}

t.test('ranges for the packet filter', async (t) => {
  const index = openIndex(
    buildIndex(
      [
        listed('ipv4', '198.51.100.0/24'),
        listed('ipv4', '198.51.100.7', { action: 'alert' }),
        listed('ipv4', '255.255.255.255'),
      ],
      { seed: [1, 2], exempt: [{ type: 'ipv4', value: '198.51.100.128' }] },
    ),
  );
  t.strictSame(
    [...index.ranges4()].map(({ from, to, hit }) => [from, to, hit.indicator]),
    [
      [0xc6336400, 0xc633647f, '198.51.100.0/24'],
      [0xc6336481, 0xc63364ff, '198.51.100.0/24'],
      [0xffffffff, 0xffffffff, '255.255.255.255'],
    ],
  );
});

t.test('a damaged or foreign buffer is refused, and says why', async (t) => {
  const entries = [
    listed('ipv4', '198.51.100.7'),
    listed('domain', 'c2.example'),
    listed('url', 'c2.example/a'),
  ];
  const good = buildIndex(entries, { seed: [3, 4] });
  t.strictSame(openIndex(good).counts, { ipv4: 1, ipv6: 0, domain: 1, url: 1, hash: 0 });
  t.throws(() => openIndex(new ArrayBuffer(0)), /damaged: it has 0 bytes/);
  t.throws(() => openIndex(new ArrayBuffer(4096)), /no index of indicators/);
  t.throws(
    () => openIndex(good.slice(0, good.byteLength - 4)),
    /damaged: it has \d+ bytes, and was written with/,
  );
  const newer = good.slice(0);
  new Uint32Array(newer)[1] = 99;
  t.throws(() => openIndex(newer), /of version 99/);
  fc.assert(
    fc.property(fc.nat(good.byteLength * 8 - 1), (bit) => {
      const bad = good.slice(0);
      new Uint8Array(bad)[bit >> 3]! ^= 1 << (bit & 7);
      try {
        openIndex(bad);
        return false;
      } catch (error) {
        return error instanceof Error && /index of indicators/.test(error.message);
      }
    }),
    { numRuns: 300 },
  );
});

t.test('bounded, whatever a feed says', async (t) => {
  const many = function* (): Iterable<Listed> {
    for (let i = 0; i < 50_000; i++)
      yield listed('domain', `d${i}.example`, { threat: `threat ${i}`, port: i });
  };
  const buffer = buildIndex(many(), { seed: [5, 6] });
  const index = openIndex(buffer);
  t.equal(index.domain('d1.example')?.threat, 'threat 1');
  t.match(index.domain('d49999.example'), {
    threat: '',
    port: 0,
    feed: 'c2',
    action: 'block',
    confidence: 50,
  });
  t.ok(buffer.byteLength < 50_000 * 60);
  for (const [type, text] of [
    ['ipv4', '1.2.3'],
    ['ipv4', '::1'],
    ['hash', 'xy'],
    ['domain', 'a b'],
    ['domain', ''],
    ['url', 'h'],
  ] as const) {
    t.throws(() => buildIndex([listed(type, text)], { seed: [1, 2] }), /is not the canonical value/, text);
  }
  t.equal(index.domain('a.'.repeat(200)), undefined);
  t.equal(EMPTY_INDEX.domain('d1.example'), undefined);
});
