import { Readable } from 'node:stream';
import { once } from 'node:events';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import t from 'tap';
import { relayContext } from '../../src/capture/context/context.js';
import { WindowShare } from '../../src/capture/context/decode/memory.js';
import { detectCompression, openDecoder, type Decoder } from '../../src/capture/context/decompress.js';
import { CONTEXT_LIMITS } from '../../src/capture/context/rewrite.js';
import type { Compression } from '../../src/docker/build-context.js';
import {
  ARCHIVES,
  BZIP2_REFUSED,
  compressed,
  hasZstd,
  READ,
  REFUSED,
  ZSTD_REFUSED,
} from '../support/compressed.js';

// xz, and zstd where Node has it: what the tools have written is read as it was, and anything else is refused.

interface Decoded {
  readonly out: Buffer;
  readonly error: string;
  /** Most output in one turn of the event loop. */
  readonly largest: number;
}

const NO_EVENTS = { data: () => {}, ready: () => {}, end: () => {}, error: () => {} };

/** Zstd is read from Node 22.15 on only. */
const readable = (names: readonly string[]): string[] =>
  names.filter((name) => hasZstd || !name.endsWith('.zst'));

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

await t.test('bzip2, and zstd where Node has it not, are refused with 415 and say what to do', async (t) => {
  for (const [name, compression, reason] of REFUSED) {
    const body = compressed(name);
    t.equal(detectCompression(body), compression, name);
    const refused = { status: 415, code: 'context-compression', message: reason };
    t.throws(() => openDecoder(compression as Exclude<Compression, ''>, NO_EVENTS), refused, name);
    for (const pieces of [[body], [body.subarray(0, 4), body.subarray(4)]]) {
      const relay = relayContext(Readable.from(pieces), {
        dockerfile: '',
        limits: CONTEXT_LIMITS,
        idle: 5000,
      });
      relay.output.resume();
      await t.rejects(relay.read, refused, `${name}, as a context`);
    }
  }
  t.ok(BZIP2_REFUSED.test(REFUSED.map(([, , reason]) => reason.source).join()), 'bzip2 is among them');
  t.equal(
    REFUSED.some(([, , reason]) => reason === ZSTD_REFUSED),
    process.version.startsWith('v20.'),
    'zstd is among them on Node 20',
  );
});

await t.test('several one after the other are one, as for the tools', async (t) => {
  const { small, large } = ARCHIVES;
  const skippable = Buffer.from('5a2a4d1803000000616263', 'hex');
  const good: readonly [string, Buffer[], Buffer[]][] = [
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
    ['xz, SHA-256 first', [compressed('small-sha256.xz'), compressed('large-blocks.xz')], [small, large]],
    ['xz, SHA-256 twice', [compressed('small-sha256.xz'), compressed('small-sha256.xz')], [small, small]],
    ['zstd', [compressed('large.zst'), compressed('small-unchecked.zst')], [large, small]],
    ['zstd with skippable frames', [skippable, compressed('small.zst'), skippable], [small]],
  ];
  for (const [name, parts, whole] of good.filter(([name]) => hasZstd || !name.startsWith('zstd'))) {
    for (const sizes of [[65_536], [3]]) {
      const { out, error } = await decode(Buffer.concat(parts), sizes);
      t.equal(error, '', name);
      t.ok(out.equals(Buffer.concat(whole)), `${name}: both`);
    }
  }
  const bad: readonly [string, Buffer[]][] = [
    ['xz, then three zeros', [compressed('small.xz'), Buffer.alloc(3)]],
    ['xz, then text', [compressed('small.xz'), Buffer.from('something else')]],
    ['zstd, then zeros', [compressed('small.zst'), Buffer.alloc(4)]],
    ['zstd, then bzip2', [compressed('small.zst'), compressed('small.bz2')]],
    ['zstd, then a skippable frame that is cut', [compressed('small.zst'), skippable.subarray(0, 9)]],
    ['zstd, then a frame that is cut', [compressed('large.zst'), compressed('small.zst').subarray(0, -2)]],
  ];
  for (const [name, parts] of bad.filter(([name]) => hasZstd || !name.startsWith('zstd')))
    t.match((await decode(Buffer.concat(parts))).error, /data (is damaged|stops)/, name);
});

await t.test('INVARIANT: cut anywhere, it is refused', async (t) => {
  for (const name of readable([
    'small.xz',
    'small-sha256.xz',
    'small.zst',
    'small-unchecked.zst',
    'noise.zst',
  ])) {
    const body = compressed(name);
    const passed: number[] = [];
    for (let end = 10; end < body.length; end += body.length > 1000 ? 37 : 1) {
      if (!/stops in the middle|damaged/.test((await decode(body.subarray(0, end))).error)) passed.push(end);
    }
    t.same(passed, [], name);
  }
});

await t.test('INVARIANT: a changed bit is refused, or changes nothing', async (t) => {
  for (const name of readable(['small.xz', 'small-sha256.xz', 'small.zst'])) {
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
  if (!hasZstd) return;
  t.match((await decode(compressed('large-window.zst'))).error, /window of 134217728 bytes/);
  const largest = Buffer.from('28b52ffd00f8000000000000', 'hex');
  t.match((await decode(largest)).error, /window of \d+ bytes/, 'the largest window that can be stated');
  t.match((await decode(Buffer.from('28b52ffd010001000000000000', 'hex'))).error, /dictionary/);
});

await t.test('bombs stop at the limit; what is unread stops the decoder', async (t) => {
  for (const name of readable(['bomb.xz', 'bomb.zst'])) {
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

/** An .xz file without checks, of one block that holds a chunk of LZMA2 many times over. */
function xzOf(chunk: Buffer, unpacked: number, times: number): Buffer {
  const sealed = (bytes: Buffer): Buffer => {
    const crc = Buffer.alloc(4);
    crc.writeUInt32LE(crc32(bytes));
    return Buffer.concat([bytes, crc]);
  };
  const number = (value: number): number[] =>
    value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...number(value >>> 7)];
  const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
  // Two times four bytes and a checksum; LZMA2 with a dictionary of 8 MiB.
  const header = sealed(Buffer.from([2, 0, 0x21, 1, 0x16, 0, 0, 0]));
  const data = Buffer.concat([...Array.from({ length: times }, () => chunk), Buffer.alloc(1)]);
  const sizes = [...number(header.length + data.length), ...number(unpacked * times)];
  const index = sealed(padded(Buffer.from([0, 1, ...sizes])));
  const footer = Buffer.alloc(6);
  footer.writeUInt32LE(index.length / 4 - 1);
  const seal = sealed(footer).subarray(6);
  const head = Buffer.from('fd377a585a000000ff12d941', 'hex');
  return Buffer.concat([head, header, padded(data), index, seal, footer, Buffer.from('YZ')]);
}

await t.test('xz: whatever is sent, no turn takes long', async (t) => {
  // Each chunk of 13 bytes makes the decoder set up all its state anew, and gives 8 bytes.
  const chunk = Buffer.from('e0000700065d003d6a7c000000', 'hex');
  const times = 40_000;
  const body = xzOf(chunk, 8, times);
  let longest = 0;
  let before = process.cpuUsage();
  const watch = setInterval(() => {}, 1000);
  let watching = true;
  const turn = (): void => {
    const { user, system } = process.cpuUsage(before);
    longest = Math.max(longest, (user + system) / 1000);
    before = process.cpuUsage();
    if (watching) setImmediate(turn);
  };
  // The decoder is loaded and warm.
  await decode(compressed('small.xz'));
  before = process.cpuUsage();
  setImmediate(turn);
  const { out, error } = await decode(body);
  watching = false;
  clearInterval(watch);
  t.equal(error, '');
  t.ok(out.equals(Buffer.alloc(8 * times, 'z')), 'all of it');
  t.ok(longest < 50, `${longest.toFixed(1)} ms of CPU in the longest turn`);
});

await t.test(
  'xz: one that sends slowly keeps no other waiting; what is given up is given back',
  async (t) => {
    const open = (): Decoder => {
      const decoder = openDecoder('xz', NO_EVENTS);
      decoder.flow(true);
      decoder.write(compressed('bomb.xz').subarray(0, 1000));
      return decoder;
    };
    const slow = Array.from({ length: 20 }, open);
    for (let turn = 0; turn < 20; turn++) {
      t.equal((await decode(compressed('large.xz'))).error, '', 'others are decoded meanwhile');
      // At any time: while it is loaded, in the middle, twice.
      const short = open();
      for (let wait = 0; wait < turn; wait++) await new Promise((resolve) => setImmediate(resolve));
      short.destroy();
      short.destroy();
      short.write(Buffer.from('more'));
      short.end();
    }
    for (const decoder of slow) decoder.destroy();
    const everything = new WindowShare();
    t.doesNotThrow(() => everything.grow(512 * 1024 ** 2), 'all memory is free');
    t.throws(() => everything.grow(512 * 1024 ** 2 + 1), { status: 503, code: 'context-budget' });
    t.match((await decode(compressed('large.xz'))).error, /too many contexts at the moment/);
    everything.close();
    for (const name of readable(['bomb.xz', 'bomb.zst'])) {
      let count = 0;
      const decoder = openDecoder(detectCompression(compressed(name)) as Exclude<Compression, ''>, {
        ...NO_EVENTS,
        data: () => (count += 1),
      });
      decoder.flow(true);
      decoder.write(compressed(name));
      while (count < 20) await new Promise((resolve) => setImmediate(resolve));
      t.throws(() => everything.grow(512 * 1024 ** 2), /too many contexts/, `${name}: it holds some`);
      decoder.destroy();
      t.doesNotThrow(() => everything.grow(512 * 1024 ** 2), `${name}: given back`);
      everything.close();
      await decode(compressed(name.replace('bomb', 'large')));
      t.doesNotThrow(() => everything.grow(512 * 1024 ** 2), `${name}: given back at the end`);
      everything.close();
    }
  },
);
