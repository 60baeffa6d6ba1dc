import { crc32, deflateRawSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import t from 'tap';
import { earliestAttempt, isStale, nextAttempt, recordAttempt } from '../../src/feeds/schedule.js';
import { NO_ATTEMPTS, type Attempts } from '../../src/feeds/copy.js';
import { fingerprint, importedAt, renewImports } from '../../src/feeds/imports.js';
import { unpack } from '../../src/feeds/unpack.js';

const MAX = 2 ** 20;

interface ZipEntry {
  readonly name: string;
  readonly data: Buffer;
  /** What the archive states about the size. */
  readonly stated?: number;
  readonly flags?: number;
}

/** A zip archive, as PKWARE's APPNOTE 4.3 has it. */
function zip(entries: readonly ZipEntry[], count = entries.length): Buffer {
  const locals: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const { name, data, stated = data.length, flags = 0 } of entries) {
    const packed = deflateRawSync(data);
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(flags, 2);
    fields.writeUInt16LE(8, 4);
    fields.writeUInt32LE(crc32(data), 10);
    fields.writeUInt32LE(packed.length, 14);
    fields.writeUInt32LE(stated, 18);
    fields.writeUInt16LE(Buffer.byteLength(name), 22);
    const local = Buffer.concat([Buffer.from('PK\u0003\u0004', 'latin1'), fields, Buffer.from(name), packed]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(offset, 10);
    central.push(
      Buffer.concat([
        Buffer.from('PK\u0001\u0002', 'latin1'),
        Buffer.from([20, 0]),
        fields,
        tail,
        Buffer.from(name),
      ]),
    );
    locals.push(local);
    offset += local.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.write('PK\u0005\u0006', 0, 'latin1');
  end.writeUInt16LE(count, 8);
  end.writeUInt16LE(count, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, directory, end]);
}

const text = (name: string, data: string): ZipEntry => ({ name, data: Buffer.from(data) });

await t.test('what is packed, and in what', async (t) => {
  const plain = Buffer.from('198.51.100.7\n');
  t.same(await unpack(plain, MAX), ['198.51.100.7\n']);
  t.same(await unpack(gzipSync(plain), MAX), ['198.51.100.7\n']);
  t.same(await unpack(zip([text('a.csv', 'one'), text('dir/', ''), text('dir/b.csv', 'two')]), MAX), [
    'one',
    'two',
  ]);
  t.same(await unpack(gzipSync(zip([{ name: 'x.gz', data: gzipSync(plain) }])), MAX), ['198.51.100.7\n']);
  t.same(await unpack(Buffer.from('\ufeffa', 'utf16le'), MAX), ['a'], 'UTF-16 with a byte order mark');
  t.same(await unpack(Buffer.alloc(0), MAX), ['']);
});

await t.test('bombs and damage', async (t) => {
  const zeros = Buffer.alloc(4 * MAX);
  const cases: [string, Buffer, RegExp][] = [
    ['a gzip bomb', gzipSync(zeros), /larger than maxSize when unpacked/],
    ['a zip bomb', zip([{ name: 'a', data: zeros }]), /larger than maxSize when unpacked/],
    [
      'a zip bomb that states a small size',
      zip([{ name: 'a', data: zeros, stated: 10 }]),
      /^zip: .*(too many bytes|larger)/,
    ],
    ['a zip that states a large size', zip([{ name: 'a', data: Buffer.from('x'), stated: 99 }]), /^zip: /],
    [
      'many entries that are too much together',
      zip(Array.from({ length: 30 }, (_, at) => ({ name: `${at}`, data: Buffer.alloc(MAX / 16) }))),
      /larger than maxSize/,
    ],
    [
      'a zip of many entries',
      zip(Array.from({ length: 100 }, (_, at) => text(`${at}`, ''))),
      /100 entries; 64 at most/,
    ],
    ['a zip that lies about its entries', zip([text('a', 'x')], 3), /damaged zip/],
    ['an encrypted zip', zip([{ name: 'a', data: Buffer.from('x'), flags: 1 }]), /encrypted/],
    [
      'gzip in gzip in gzip …',
      [1, 2, 3, 4].reduce((body: Buffer) => gzipSync(body), Buffer.from('x')),
      /too many times/,
    ],
    ['a gzip cut short', gzipSync(Buffer.from('198.51.100.7')).subarray(0, 20), /damaged gzip/],
    ['a zip cut short', zip([text('a', 'x')]).subarray(0, 40), /damaged zip/],
  ];
  for (const [name, body, expected] of cases) await t.rejects(unpack(body, MAX), expected, name);
});

await t.test('no bytes crash the unpacking', async (t) => {
  const archive = zip([text('a', '198.51.100.7'), text('b', 'c2.example')]);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(archive.length - 1), fc.nat(255)), { maxLength: 4 }),
      fc.nat(archive.length),
      async (changes, end) => {
        const body = Buffer.from(archive.subarray(0, end));
        for (const [at, byte] of changes) if (at < body.length) body[at] = byte;
        const texts = await unpack(body, 4096).catch((error: Error) => {
          t.match(error, Error);
          return [];
        });
        return texts.every((one) => one.length <= 4096);
      },
    ),
    { numRuns: 300 },
  );
});

await t.test('when a feed is asked', async (t) => {
  const source = { refresh: 3_600_000, minInterval: 300_000 };
  const after = (attempts: Partial<Attempts>, random = 0.5): number =>
    nextAttempt(source, { ...NO_ATTEMPTS, attemptedAt: 1e12, ...attempts }, random) - 1e12;
  t.equal(nextAttempt(source, NO_ATTEMPTS, 0.5), 0, 'never asked: now');
  t.equal(after({}), 3_600_000);
  t.ok(after({}, 0) >= 0.9 * 3_600_000 && after({}, 1) <= 1.1 * 3_600_000, 'a tenth early or late');
  const failed = [1, 2, 3, 4, 10, 1000].map((failures) => after({ failures }, 0));
  t.same(
    failed,
    [300_000, 600_000, 1_200_000, 2_400_000, 3_240_000, 3_240_000],
    'later each time, never beyond refresh',
  );
  t.equal(after({ failures: 1, notBefore: 1e12 + 7e6 }), 7e6, 'not before the server wants it');
  t.equal(earliestAttempt(source, { ...NO_ATTEMPTS, attemptedAt: 1e12 }), 1e12 + 300_000);
  t.same(recordAttempt({ ...NO_ATTEMPTS, failures: 2 }, 5, 'x', 10), {
    attemptedAt: 5,
    failures: 3,
    notBefore: 15,
    error: 'x',
  });
  t.same(recordAttempt({ ...NO_ATTEMPTS, failures: 2 }, 5, '', 0), {
    attemptedAt: 5,
    failures: 0,
    notBefore: 0,
    error: '',
  });
  t.notOk(isStale(source, 1e12, 1e12 + 3 * 3_600_000));
  t.ok(isStale(source, 1e12, 1e12 + 3 * 3_600_000 + 1));
});

await t.test('the time of the first import stays with an indicator as long as it is listed', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.array(fc.nat(30), { maxLength: 20 }), { minLength: 1, maxLength: 5 }),
      (rounds) => {
        const print = (n: number): number => fingerprint({ type: 'domain', value: `d${n}.example` });
        const naive = new Map<number, number>();
        let imports = { prints: new Float64Array(0), times: new Float64Array(0) };
        rounds.forEach((listed, round) => {
          for (const n of naive.keys()) if (!listed.includes(n)) naive.delete(n);
          for (const n of listed) if (!naive.has(n)) naive.set(n, round);
          imports = renewImports(imports, listed.map(print), round) as typeof imports;
        });
        for (let n = 0; n <= 30; n++) {
          const nothing = {
            confidence: undefined,
            firstSeen: 0,
            lastSeen: 0,
            expires: 0,
            threat: '',
            port: 0,
          };
          const found = importedAt(imports, { type: 'domain', value: `d${n}.example`, ...nothing });
          if (found !== naive.get(n)) return false;
        }
        return true;
      },
    ),
  );
  t.pass();
});
