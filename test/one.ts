import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from './support/command.js';
import { allTestFiles, SUFFIX, testFilesOf } from './support/test-files.js';

// `npm run test:one FILE…`: the given test files alone, in the runner and with the settings (.taprc) of the whole suite.
// A file is named as it lies in the repository (`test/policy/decide.test.ts`) or by a part of that (`policy/decide`).

const words = process.argv.slice(2);
if (words.length === 0) {
  console.error('Which file? For example: npm run test:one test/policy/decide.test.ts');
  process.exit(2);
}
const all = allTestFiles();
const files = new Set<string>();
for (const word of words) {
  const found = testFilesOf(word, all);
  if (found.length === 0) {
    console.error(`There is no test file ${word}. Test files are called test/ROOM/NAME${SUFFIX}.`);
    process.exit(2);
  }
  for (const file of found) files.add(file);
}

// `npm ci` puts the runner there.
const runner = join(projectRoot, 'node_modules', '.bin', 'tap');
if (!existsSync(runner)) {
  console.error('The test runner is not installed: run `npm ci` first.');
  process.exit(2);
}
const compiled = [...files].map((file) => join('dist', file.replace(/\.ts$/, '.js')));
const { status } = spawnSync(runner, compiled, { cwd: projectRoot, stdio: 'inherit' });
process.exit(status ?? 1);
