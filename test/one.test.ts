import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { projectRoot, run } from './support/command.js';
import { allTestFiles, testFilesOf } from './support/test-files.js';

void t.test('CONTRIBUTING names test files that exist', (t) => {
  const text = readFileSync(join(projectRoot, 'CONTRIBUTING.md'), 'utf8');
  const named = [...text.matchAll(/\btest\/[\w./-]+\.ts\b/g)].map(([path]) => path);
  t.ok(named.length > 0);
  for (const path of named) t.ok(existsSync(join(projectRoot, path)), path);
  t.end();
});

void t.test('a file is named in full, as the compiler names it, or in part', (t) => {
  const all = allTestFiles();
  const bind = ['test/app/bind.test.ts'];
  for (const word of ['test/app/bind.test.ts', './test/app/bind.test.ts', 'dist/test/app/bind.test.js']) {
    t.same(testFilesOf(word, all), bind, word);
  }
  t.same(testFilesOf('app/bind', all), bind);
  const room = testFilesOf('test/policy/', all);
  t.ok(room.length > 1 && room.every((file) => file.startsWith('test/policy/')), 'a room');
  t.same(testFilesOf('decision.test.ts', all), []);
  t.end();
});

void t.test('no file, or one that does not exist, is an error that says so', async (t) => {
  const script = join(projectRoot, 'dist', 'test', 'one.js');
  const wrong = await run(process.execPath, [script, 'test/policy/decision.test.ts']);
  t.equal(wrong.code, 2);
  t.match(wrong.stderr, /no test file test\/policy\/decision\.test\.ts/);
  const none = await run(process.execPath, [script]);
  t.equal(none.code, 2);
  t.match(none.stderr, /Which file/);
});
