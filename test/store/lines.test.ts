import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { openLines, readLines, rewriteLines } from '../../src/store/lines.js';

const count = ({ n }: Readonly<Record<string, unknown>>): number | undefined =>
  typeof n === 'number' ? n : undefined;

await t.test('lines are appended, read back and replaced; damaged ones are left out', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'breakwater-lines-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, 'lines.jsonl');
  t.same(readLines(file, count), [], 'no file');
  const lines = openLines(file, (why) => t.fail(why));
  lines.append({ n: 1 });
  lines.close();
  appendFileSync(file, '{"n":2');
  const again = openLines(file, (why) => t.fail(why));
  again.append({ n: 3 });
  again.append({ other: 4 });
  again.close();
  t.same(readLines(file, count), [1, 3], 'a cut line does not swallow the next one');
  rewriteLines(file, [{ n: 5 }, { n: 6 }]);
  t.equal(readFileSync(file, 'utf8'), '{"n":5}\n{"n":6}\n');
});

await t.test(
  'a file that cannot be written is reported once; one that cannot be opened is an error',
  async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'breakwater-lines-'));
    t.teardown(() => rmSync(dir, { recursive: true, force: true }));
    const reasons: string[] = [];
    const lines = openLines(join(dir, 'lines.jsonl'), (why) => reasons.push(why));
    lines.close();
    lines.append({ n: 1 });
    lines.append({ n: 2 });
    t.match(reasons, [/EBADF/]);
    t.equal(reasons.length, 1);
    t.throws(() => openLines(join(dir, 'missing', 'lines.jsonl'), (why) => t.fail(why)), { code: 'ENOENT' });
  },
);
