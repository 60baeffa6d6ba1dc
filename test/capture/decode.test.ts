import { Readable } from 'node:stream';
import { once } from 'node:events';
import fc from 'fast-check';
import t from 'tap';
import { relayContext } from '../../src/capture/context/context.js';
import { bzip2Crc, openCrc64, openXxh64 } from '../../src/capture/context/decode/checksums.js';
import { detectCompression, openDecoder } from '../../src/capture/context/decompress.js';
import { CONTEXT_LIMITS } from '../../src/capture/context/rewrite.js';
import type { Compression } from '../../src/docker/build-context.js';
import { ARCHIVES, compressed, READ } from '../support/compressed.js';

// bzip2, xz and zstd: what the tools have written is read as it was, and anything else is refused.

interface Decoded {
  readonly out: Buffer;
  readonly error: string;
  /** Most output in one turn of the event loop. */
  readonly largest: number;
}

async function decode(body: Buffer, sizes: readonly number[] = [65_536]): Promise<Decoded> {
  const compression = detectCompression(body) as Exclude<Compression, ''>;
  const out: Buffer[] = [];
  let error = '';
  let at = 0;
  let turn = 0;
  await new Promise<void>((resolve) => {
    const decoder = openDecoder(compression, {
      data: (piece) => out.push(piece),
      ready: () => {},
      end: () => resolve(),
      error: (reason) => {
        error = reason.message;
        resolve();
      },
    });
    const give = (): void => {
      while (at < body.length && decoder.ready()) {
        const size = sizes[turn++ % sizes.length]!;
        decoder.write(body.subarray(at, at + size));
        at += size;
      }
      if (at >= body.length) return decoder.end();
      setImmediate(give);
    };
    decoder.flow(true);
    give();
  });
  return { out: Buffer.concat(out), error, largest: Math.max(0, ...out.map(({ length }) => length)) };
}

await t.test('what the tools have written', async (t) => {
  for (const [name, compression, of] of READ) {
    const body = compressed(name);
    t.equal(detectCompression(body), compression, name);
    for (const sizes of [[65_536], [1], [7, 1, 1000]]) {
      const { out, error, largest } = await decode(body, sizes);
      t.equal(error, '', `${name}, in pieces of ${sizes.join()}`);
      t.ok(out.equals(ARCHIVES[of]), `${name}: the same bytes`);
      t.ok(largest <= 128 * 1024, `${name}: in pieces of at most 128 KiB`);
    }
  }
});

await t.test('several one after the other are one, as for the tools', async (t) => {
  const { small, large } = ARCHIVES;
  const skippable = Buffer.from('5a2a4d1803000000616263', 'hex');
  const good: readonly [string, Buffer[], Buffer[]][] = [
    ['bzip2', [compressed('large.bz2'), compressed('small.bz2')], [large, small]],
    [
      'an empty bzip2',
      [compressed('small.bz2'), Buffer.from('425a683917724538509000000000', 'hex')],
      [small],
    ],
    ['xz', [compressed('large.xz'), compressed('small-sha256.xz')], [large, small]],
    [
      'xz with padding',
      [compressed('small.xz'), Buffer.alloc(8), compressed('large.xz'), Buffer.alloc(4)],
      [small, large],
    ],
    [
      'an empty xz',
      [Buffer.from('fd377a585a000004e6d6b446000000001cdf44211fb6f37d010000000004595a', 'hex')],
      [],
    ],
    ['zstd', [compressed('large.zst'), compressed('small-unchecked.zst')], [large, small]],
    ['zstd with skippable frames', [skippable, compressed('small.zst'), skippable], [small]],
  ];
  for (const [name, parts, whole] of good) {
    for (const sizes of [[65_536], [3]]) {
      const { out, error } = await decode(Buffer.concat(parts), sizes);
      t.equal(error, '', name);
      t.ok(out.equals(Buffer.concat(whole)), `${name}: both`);
    }
  }
  const bad: readonly [string, Buffer[]][] = [
    ['bzip2, then zeros', [compressed('small.bz2'), Buffer.alloc(4)]],
    ['bzip2, then text', [compressed('small.bz2'), Buffer.from('text')]],
    ['xz, then three zeros', [compressed('small.xz'), Buffer.alloc(3)]],
    ['xz, then text', [compressed('small.xz'), Buffer.from('something else')]],
    ['zstd, then zeros', [compressed('small.zst'), Buffer.alloc(4)]],
    ['zstd, then bzip2', [compressed('small.zst'), compressed('small.bz2')]],
    ['a skippable frame that is cut', [compressed('small.zst'), skippable.subarray(0, 9)]],
  ];
  for (const [name, parts] of bad)
    t.match((await decode(Buffer.concat(parts))).error, /data (is damaged|stops)/, name);
});

await t.test('INVARIANT: cut anywhere, it is refused', async (t) => {
  for (const name of [
    'small.bz2',
    'small.xz',
    'small-sha256.xz',
    'small.zst',
    'small-unchecked.zst',
    'noise.zst',
  ]) {
    const body = compressed(name);
    const passed: number[] = [];
    for (let end = 10; end < body.length; end += body.length > 1000 ? 37 : 1) {
      if (!/stops in the middle|damaged/.test((await decode(body.subarray(0, end))).error)) passed.push(end);
    }
    t.same(passed, [], name);
  }
});

await t.test('INVARIANT: a changed bit is refused, or changes nothing', async (t) => {
  for (const name of ['small.bz2', 'small.xz', 'small-sha256.xz', 'small.zst']) {
    const body = compressed(name);
    const passed: string[] = [];
    let harmless = 0;
    for (let bit = 80; bit < body.length * 8; bit++) {
      const changed = Buffer.from(body);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      const { out, error } = await decode(changed, [4096]);
      if (error !== '') continue;
      harmless += 1;
      if (!out.equals(ARCHIVES.small)) passed.push(`${bit >> 3}.${bit & 7}`);
    }
    t.same(passed, [], `${name}: ${harmless} changes without effect`);
    t.ok(harmless < 16, `${name}: ${harmless} changes without effect`);
  }
});

await t.test('anything at all in the middle: an answer, of the right bytes or none', async (t) => {
  const names = READ.filter(([name]) => !name.includes('unchecked')).map(
    ([name, , of]) => [name, of] as const,
  );
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...names),
      fc.array(fc.record({ at: fc.nat(8000), value: fc.integer({ min: 0, max: 255 }) }), {
        minLength: 1,
        maxLength: 5,
      }),
      fc.integer({ min: 1, max: 5000 }),
      async ([name, of], changes, size) => {
        const body = Buffer.from(compressed(name));
        for (const { at, value } of changes) body[10 + (at % (body.length - 10))] = value;
        const { out, error } = await decode(body, [size]);
        if (error !== '') refused += 1;
        return error !== '' || out.equals(ARCHIVES[of]);
      },
    ),
    { numRuns: 300 },
  );
  t.ok(refused > 200, `${refused} of 300 refused`);
});

await t.test('what is not read says so', async (t) => {
  t.match((await decode(compressed('large-x86.xz'))).error, /filter other than LZMA2/);
  t.match((await decode(compressed('small-window.xz'))).error, /window of 134217728 bytes.*67108864/);
  t.match((await decode(compressed('large-window.zst'))).error, /window of 134217728 bytes/);
  const largest = Buffer.from('28b52ffd00f8000000000000', 'hex');
  t.match((await decode(largest)).error, /window of \d+ bytes/, 'the largest window that can be stated');
  t.match((await decode(Buffer.from('28b52ffd010001000000000000', 'hex'))).error, /dictionary/);
  const random = Buffer.from(compressed('small.bz2'));
  random[14]! |= 0x80;
  t.match((await decode(random)).error, /randomised/);
});

await t.test('bombs stop at the limit; what is unread stops the decoder', async (t) => {
  for (const name of ['bomb.bz2', 'bomb.xz', 'bomb.zst']) {
    const limits = { ...CONTEXT_LIMITS, inflated: 2 * 1024 ** 2 };
    const bomb = relayContext(Readable.from([compressed(name)]), { dockerfile: '', limits, idle: 5000 });
    bomb.output.resume();
    await t.rejects(bomb.read, { status: 413, code: 'context-too-large' }, name);

    const slow = relayContext(Readable.from([compressed(name)]), {
      dockerfile: '',
      limits: CONTEXT_LIMITS,
      idle: 5000,
    });
    slow.output.read(0);
    for (let turn = 0; turn < 500; turn++) await new Promise((resolve) => setImmediate(resolve));
    t.ok(slow.output.readableLength < 1024 ** 2, `${name}: ${slow.output.readableLength} bytes wait`);
    let total = 0;
    slow.output.on('data', (piece: Buffer) => (total += piece.length));
    await slow.read;
    t.ok(total > 16 * 1024 ** 2, `${name}: all of it once it is read`);
    slow.release();
    await once(slow.output, 'end');
  }
});

await t.test('checksums as they are published', (t) => {
  const digits = Buffer.from('123456789');
  t.equal(~bzip2Crc(digits, -1) >>> 0, 0xfc891918);
  const crc = openCrc64();
  crc.update(digits);
  t.equal(crc.bytes().readBigUInt64LE(), 0x995dc9bbdf1939fan);
  const xxh = (text: string): number => {
    const digest = openXxh64();
    for (const one of text) digest.update(Buffer.from(one));
    return digest.bytes().readUInt32LE();
  };
  t.equal(xxh(''), 0x51d8e999);
  t.equal(xxh('abc'), 0xad770999);
  t.end();
});
