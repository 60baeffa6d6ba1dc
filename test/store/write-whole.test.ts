import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { openWhole, writeWhole, writeWholeSync } from '../../src/store/write-whole.js';

function directory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'breakwater-store-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const modeOf = (path: string): number => statSync(path).mode & 0o777;

for (const [name, write] of [
  ['writeWhole', writeWhole],
  ['writeWholeSync', writeWholeSync],
] as const) {
  await t.test(`${name}: the file is replaced, with its mode whatever the umask says`, async (t) => {
    const dir = directory(t);
    const path = join(dir, 'file');
    const before = process.umask(0o077);
    t.teardown(() => process.umask(before));
    await write(path, 'old');
    t.equal(modeOf(path), 0o600);
    await write(path, Buffer.from('new'), 0o640);
    t.equal(readFileSync(path, 'utf8'), 'new');
    t.equal(modeOf(path), 0o640);
    t.same(readdirSync(dir), ['file'], 'nothing else is left');
  });

  await t.test(`${name}: what cannot be put in its place is taken away`, async (t) => {
    const dir = directory(t);
    const path = join(dir, 'taken');
    mkdirSync(path);
    writeFileSync(join(path, 'inside'), '');
    await t.rejects(async () => write(path, 'new'));
    t.same(readdirSync(dir), ['taken']);
    await t.rejects(async () => write(join(dir, 'missing', 'file'), 'new'));
  });
}

await t.test(
  'openWhole: nothing is seen before the commit, and nothing is left of what is discarded',
  async (t) => {
    const dir = directory(t);
    const path = join(dir, 'file');
    writeFileSync(path, 'old');
    const first = await openWhole(path);
    await first.append('a');
    await first.append('b');
    t.equal(readFileSync(path, 'utf8'), 'old');
    await first.commit();
    await first.discard();
    t.equal(readFileSync(path, 'utf8'), 'ab');
    const second = await openWhole(path);
    await second.append('c');
    await second.discard();
    t.equal(readFileSync(path, 'utf8'), 'ab');
    t.same(readdirSync(dir), ['file']);
  },
);
