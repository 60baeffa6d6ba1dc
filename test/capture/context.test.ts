import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import t from 'tap';
import { relayContext, type ContextRelay } from '../../src/capture/context/context.js';
import { detectCompression } from '../../src/capture/context/decompress.js';
import { CONTEXT_LIMITS, type ContextLimits } from '../../src/capture/context/rewrite.js';
import type { ContextReading } from '../../src/docker/build-context.js';
import { hasZstd } from '../support/compressed.js';
import { CASES, dockerfile } from '../support/context-cases.js';
import { hold } from '../support/fuzz.js';
import { readPlainTar } from '../support/read-tar.js';
import {
  dir,
  END,
  file,
  hardlink,
  pax,
  sealHeader,
  symlink,
  tar,
  tarEntries,
  tarHeader,
} from '../support/tar.js';

interface Outcome {
  readonly reading: ContextReading | undefined;
  readonly status: number | undefined;
  readonly code: string | undefined;
  /** Before the release. */
  readonly fresh: Buffer;
}

function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const out: Buffer[] = [];
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes.length === 0 ? bytes.length : Math.max(1, sizes[i % sizes.length]!);
    out.push(bytes.subarray(at, at + size));
    at += size;
  }
  return out;
}

function open(
  source: Readable,
  dockerfile = '',
  limits: Partial<ContextLimits> = {},
  idle = 5000,
): ContextRelay {
  const relay = relayContext(source, { dockerfile, limits: { ...CONTEXT_LIMITS, ...limits }, idle });
  return relay;
}

async function relayed(
  body: Buffer,
  options: { dockerfile?: string; sizes?: readonly number[]; limits?: Partial<ContextLimits> } = {},
): Promise<Outcome> {
  const relay = open(Readable.from(cut(body, options.sizes ?? [])), options.dockerfile, options.limits);
  const chunks: Buffer[] = [];
  relay.output.on('data', (chunk: Buffer) => chunks.push(chunk));
  try {
    const reading = await relay.read;
    await new Promise((resolve) => setImmediate(resolve));
    const fresh = Buffer.concat(chunks);
    relay.release();
    await once(relay.output, 'end');
    const whole = Buffer.concat(chunks);
    if (!whole.subarray(fresh.length).equals(END))
      throw new Error('not exactly the end-of-archive after release');
    return { reading, status: undefined, code: undefined, fresh };
  } catch (error) {
    const { status, code } = error as { status?: number; code?: string };
    if (status === undefined) throw error;
    return { reading: undefined, status, code, fresh: Buffer.concat(chunks) };
  }
}

/** Whether its compression, if any, is one that is read. */
function isRead(body: Buffer): boolean {
  const compression = detectCompression(body);
  return compression !== 'bzip2' && (compression !== 'zstd' || hasZstd);
}

const winner = (reading: ContextReading | undefined): string =>
  /winner=(\w)/.exec(Buffer.from(reading?.dockerfile?.content ?? '').toString())?.[1] ?? '';

t.test('each oddity: which Dockerfile it has, and whether it is clear', async (t) => {
  for (const c of CASES) {
    for (const sizes of [[], [1, 511, 700]]) {
      const got = await relayed(c.body, { sizes, dockerfile: c.dockerfile ?? '' });
      if (c.broken !== undefined) {
        t.equal(got.status, c.broken, `${c.name}: refused`);
        continue;
      }
      t.equal(winner(got.reading), c.winner, `${c.name}: Dockerfile ${c.winner}`);
      const reasons = got.reading?.ambiguities ?? [];
      if (c.ambiguity === undefined) t.same(reasons, [], `${c.name}: clear`);
      else
        t.ok(
          reasons.some((reason) => reason.includes(c.ambiguity!)),
          `${c.name}: ${reasons.join('; ')}`,
        );
    }
  }
});

t.test('INVARIANT: only what is clear is written, once, and the end only after the verdict', async (t) => {
  for (const c of CASES.filter((one) => one.broken === undefined)) {
    const got = await relayed(c.body, { dockerfile: c.dockerfile ?? '' });
    const { entries, rest } = readPlainTar(got.fresh);
    t.equal(rest.length, 0, `${c.name}: no block of zeros before the release`);
    const paths = entries
      .filter((entry) => entry.type !== '5')
      .map((entry) => entry.path.replace(/^\.\//, ''));
    t.equal(new Set(paths).size, paths.length, `${c.name}: no path twice`);
    t.notOk(
      entries.some((entry) => !'0125'.includes(entry.type)),
      `${c.name}: no odd types`,
    );
    t.notOk(
      paths.some((path) => /(^|\/)\.\.(\/|$)|^\//.test(path)),
      `${c.name}: no escapes`,
    );
    const again = await relayed(got.fresh, { dockerfile: c.dockerfile ?? '' });
    t.same(
      again.reading?.ambiguities.filter((reason) => !/Dockerfile|parameter/.test(reason)),
      [],
      `${c.name}: fresh is clear`,
    );
    t.equal(winner(again.reading), winner(got.reading), `${c.name}: the same Dockerfile`);
    t.ok(again.fresh.equals(got.fresh), `${c.name}: written the same again`);
  }
});

t.test('what an entry says is written anew', async (t) => {
  const long = 'n'.repeat(200);
  const got = await relayed(
    tar(
      pax({
        mtime: '1700000000.9',
        uid: '3000000000',
        path: long,
        'SCHILY.xattr.user.a': 'b\0c',
        atime: '5',
      }),
      file('x', 'data', { mode: 0o104755, gid: 7 }),
      pax({ linkpath: long, mtime: '-7' }),
      symlink('l', 'short'),
      pax({ linkpath: `./${long}` }),
      hardlink('h', 'x'),
      dir('d', { mode: 0o40700 }),
    ),
  );
  t.same(got.reading?.ambiguities, []);
  t.equal(got.reading?.entries, 4);
  t.equal(got.reading?.bytes, 4);
  const { entries } = readPlainTar(got.fresh);
  t.match(entries[0], {
    path: long,
    type: '0',
    mode: 0o4755,
    uid: 3000000000,
    mtime: 1700000000,
    data: 'data',
  });
  t.match(entries[1], { path: 'l', type: '2', link: long, mtime: -7 });
  t.match(entries[2], { path: 'h', type: '1', link: long });
  t.match(entries[3], { path: 'd', type: '5', mode: 0o700 });
  t.ok(got.fresh.includes('SCHILY.xattr.user.a=b\0c\n'), 'user attributes are kept');
  t.notOk(got.fresh.includes('atime'), 'times of access are not');
});

t.test('names, link targets and data are shown for indicators', async (t) => {
  const names: string[] = [];
  const relay = relayContext(Readable.from([tar(file('t/c2.example', '1'), symlink('l', 't/c2.example'))]), {
    dockerfile: '',
    limits: CONTEXT_LIMITS,
    idle: 1000,
    watch: {
      entry: (path, link) => names.push(path, link),
      file: (path, size) => names.push(`${path} ${size}`),
      data: (piece) => names.push(piece.toString()),
      done: () => names.push('done'),
    },
  });
  relay.output.resume();
  await relay.read;
  relay.destroy();
  t.same(names, ['t/c2.example', '', 't/c2.example 1', '1', 'done', 'l', 't/c2.example']);
});

t.test('random trees in random pieces: the same tree comes out, and the Dockerfile with it', async (t) => {
  const part = fc.constantFrom('a', 'b', 'ü', 'Dockerfile', 'x'.repeat(90), '.dockerignore', 'c d');
  const path = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
  const one = fc.record({
    path,
    kind: fc.constantFrom('file', 'file', 'file', 'directory', 'symlink'),
    size: fc.constantFrom(0, 1, 511, 512, 513, 5000, 70_000),
    target: path,
    mode: fc.integer({ min: 0, max: 0o7777 }),
    dotted: fc.boolean(),
  });
  const runs = await hold(
    'tar: the tree that went in comes out',
    fc.asyncProperty(
      fc.array(one, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 5 }),
      fc.boolean(),
      async (wanted, sizes, zip) => {
        const taken = new Map<string, boolean>();
        const entries = wanted.filter(({ path, kind }) => {
          const parts = path.split('/');
          for (let i = 1; i < parts.length; i++)
            if (taken.get(parts.slice(0, i).join('/')) === false) return false;
          if (taken.has(path)) return false;
          for (let i = 1; i < parts.length; i++) taken.set(parts.slice(0, i).join('/'), true);
          taken.set(path, kind === 'directory');
          return true;
        });
        const archive = tar(
          ...entries.flatMap(({ path, kind, size, target, mode, dotted }) => {
            const name = dotted ? `./${path}` : path;
            const long = Buffer.byteLength(name) > 100;
            const before = long ? [pax({ path: name })] : [];
            if (kind === 'symlink') return [pax({ path: name, linkpath: target }), symlink('x', 'y')];
            if (kind === 'directory') return [...before, dir(long ? 'x' : name, { mode })];
            return [...before, file(long ? 'x' : name, Buffer.alloc(size, path.length), { mode })];
          }),
        );
        const got = await relayed(zip ? gzipSync(archive, { level: 1 }) : archive, {
          sizes: zip ? [999] : sizes,
        });
        const bytes = (text: string): string => Buffer.from(text).toString('latin1');
        const read = readPlainTar(got.fresh).entries.map(({ path, type, link, mode, data }) => ({
          path,
          type,
          link,
          mode,
          data: data.length,
        }));
        const expected = entries.map(({ path, kind, size, target, mode }) => ({
          path: bytes(path),
          type: kind === 'file' ? '0' : kind === 'directory' ? '5' : '2',
          link: kind === 'symlink' ? bytes(target) : '',
          mode: kind === 'symlink' ? 0o644 : mode,
          data: kind === 'file' ? size : 0,
        }));
        const found = entries.find(({ path, kind }) => path === 'Dockerfile' && kind === 'file');
        return (
          JSON.stringify(read) === JSON.stringify(expected) &&
          (found === undefined || got.reading?.dockerfile?.content.length === found.size)
        );
      },
    ),
    150,
  );
  t.ok(runs >= 150, `${runs} trees`);
});

t.test('damaged archives: refused or read, never a crash, and what is written is always clear', async (t) => {
  const seeds = CASES.filter((c) => c.body.length < 10_000 && c.body.length >= 1024).map((c) => c.body);
  let refused = 0;
  const runs = await hold(
    'tar: damaged archives',
    fc.asyncProperty(
      fc.constantFrom(...seeds),
      fc.array(fc.record({ at: fc.nat(4095), value: fc.integer({ min: 0, max: 255 }), seal: fc.boolean() }), {
        minLength: 1,
        maxLength: 4,
      }),
      async (seed, changes) => {
        const body = Buffer.from(seed);
        for (const { at, value, seal } of changes) {
          const where = at % body.length;
          body[where] = value;
          const block = where - (where % 512);
          if (seal && block + 512 <= body.length) sealHeader(body.subarray(block, block + 512));
        }
        const got = await relayed(body, { sizes: [1000] });
        if (got.reading === undefined) {
          refused += 1;
          return got.status === (isRead(body) ? 400 : 415);
        }
        const again = await relayed(got.fresh);
        return again.fresh.equals(got.fresh) && winner(again.reading) === winner(got.reading);
      },
    ),
    400,
  );
  t.ok(refused > 0 && refused < runs, `${runs} damaged archives, ${refused} refused`);
});

t.test('limits: size, entries, names, inflation, the Dockerfile', async (t) => {
  const many = tar(...Array.from({ length: 50 }, (_, i) => file(`f${i}`, '1')));
  t.match(await relayed(many, { limits: { entries: 49 } }), { status: 413, code: 'context-too-large' });
  t.equal((await relayed(many, { limits: { entries: 50 } })).status, undefined);
  t.match(
    await relayed(tar(file('a/'.repeat(40) + 'x', '')), { limits: { entries: 20 } }),
    { status: 413 },
    'directories count',
  );
  t.match(await relayed(many, { limits: { inflated: 10_000 } }), { status: 413 });
  t.match(
    await relayed(gzipSync(many), { limits: { inflated: 10_000 } }),
    { status: 413 },
    'after decompression',
  );
  const bomb = gzipSync(tar(file('zeros', Buffer.alloc(80 * 1024 ** 2))), { level: 1 });
  t.match(await relayed(bomb, { limits: { ratio: 100 } }), { status: 413 }, 'ratio');
  const long = await relayed(tar(pax({ path: 'p'.repeat(201) }), file('x', '1')), { limits: { path: 200 } });
  t.match(long.reading?.ambiguities, [/longer than 200/]);
  t.match(
    (await relayed(tar(file('y'.repeat(60), ''), pax({ path: 'c'.repeat(256) }), file('x', '1')))).reading
      ?.ambiguities,
    [/no file system/],
  );
  const big = await relayed(tar(file('Dockerfile', 'x'.repeat(2000))), { limits: { dockerfile: 1000 } });
  t.match(big.reading, { dockerfile: undefined, ambiguities: [/larger than 1000/] });
  const forgotten = await relayed(
    tar(...Array.from({ length: 8 }, (_, i) => file(`f${i}`, 'x'.repeat(900))), symlink('Dockerfile', 'f7')),
    { limits: { dockerfile: 1000 } },
  );
  t.match(forgotten.reading?.ambiguities, [/came before it/], 'contents are kept up to a budget');
  const noisy = await relayed(
    tar(...Array.from({ length: 100 }, (_, i) => file(`f${i}`, '', { type: '6' }))),
  );
  t.equal(noisy.reading?.ambiguities.length, 20, 'reasons are bounded');
});

t.test('INVARIANT: cut, silent, or given up: the output is destroyed, never ended', async (t) => {
  const ends = (relay: ContextRelay): { ended: boolean } => {
    const seen = { ended: false };
    relay.output.on('end', () => (seen.ended = true)).resume();
    return seen;
  };
  const source = new Readable({ read() {} });
  const cutShort = open(source);
  const first = ends(cutShort);
  source.push(tarEntries(file('Dockerfile', dockerfile('A'))));
  setTimeout(() => source.destroy(), 10);
  await t.rejects(cutShort.read, { name: 'Refusal', status: 400, code: 'body-cut' });
  t.notOk(first.ended);
  t.ok(cutShort.output.destroyed);

  const silent = open(new Readable({ read() {} }), '', {}, 30);
  const second = ends(silent);
  await t.rejects(silent.read, { name: 'Refusal', status: 408 });
  t.notOk(second.ended);

  const client = new Readable({ read() {} });
  const dropped = open(client);
  dropped.output.resume();
  client.push(tar(file('Dockerfile', '')));
  dropped.destroy();
  await t.rejects(dropped.read, { name: 'Refusal' });
  t.notOk(client.destroyed, 'the client still has to get the answer');

  const unread = open(Readable.from([tar(file('x', ''))]));
  unread.output.destroy();
  await t.rejects(unread.read, { name: 'Refusal', status: 502 });

  const denied = open(Readable.from([tar(file('Dockerfile', ''))]));
  const third = ends(denied);
  await denied.read;
  denied.destroy();
  await new Promise((resolve) => setImmediate(resolve));
  t.notOk(third.ended, 'a denial after the reading');
  t.throws(() => denied.release(), 'no release after it');

  const early = open(new Readable({ read() {} }));
  t.throws(() => early.release(), 'no release before the end was read');
  early.destroy();
});

t.test('a waiting verdict is no silence of the client', async (t) => {
  const relay = open(Readable.from([gzipSync(tar(file('Dockerfile', '')))]), '', {}, 20);
  relay.output.resume();
  await relay.read;
  await new Promise((resolve) => setTimeout(resolve, 60));
  relay.release();
  await once(relay.output, 'end');
  t.equal(relay.output.destroyed, true);
});

t.test('back-pressure and memory: an engine that does not read stops the client', async (t) => {
  for (const zip of [false, true]) {
    const chunk = Buffer.alloc(64 * 1024, 1);
    const parts = zip
      ? cut(
          gzipSync(
            Buffer.concat([
              tarHeader({ name: 'big', size: 64 * 1024 ** 2 }),
              // Blanks alone would be so few bytes that the buffers of a decoder take all of them (64 KiB from Node 22 on).
              randomBytes(8 * 1024 ** 2),
              Buffer.alloc(56 * 1024 ** 2),
            ]),
          ),
          [4096],
        )
      : [tarHeader({ name: 'big', size: 64 * 1024 ** 2 }), ...Array.from({ length: 1024 }, () => chunk)];
    let made = 0;
    const source = new Readable({
      // The same in every version of Node: from 22 on its own buffer would take all of the small one.
      highWaterMark: 16 * 1024,
      read() {
        this.push(parts[made++] ?? null);
      },
    });
    const relay = open(source);
    relay.output.read(0);
    await new Promise((resolve) => setTimeout(resolve, 100));
    t.ok(relay.output.readableLength < 1024 ** 2, `${relay.output.readableLength} bytes wait`);
    t.ok(made < parts.length, `${made} of ${parts.length} pieces taken`);
    let total = 0;
    relay.output.on('data', (piece: Buffer) => (total += piece.length));
    await relay.read;
    relay.destroy();
    t.ok(total >= 64 * 1024 ** 2, 'and goes on when it is read');
  }
});

t.test('file data passes by reference', async (t) => {
  const data = Buffer.alloc(64 * 1024, 1);
  const relay = open(Readable.from([tarHeader({ name: 'big', size: data.length }), data]));
  const pieces: Buffer[] = [];
  relay.output.on('data', (piece: Buffer) => pieces.push(piece));
  await relay.read;
  relay.destroy();
  t.ok(pieces.some((piece) => piece.buffer === data.buffer && piece.length === data.length));
});
