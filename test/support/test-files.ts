import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from './command.js';

export const SUFFIX = '.test.ts';

/** Every test file, as it lies in the repository: `test/policy/decide.test.ts`. */
export function allTestFiles(): readonly string[] {
  return readdirSync(join(projectRoot, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(SUFFIX))
    .map((name) => `test/${name}`)
    .sort();
}

/** The test files that a word means: the one whose path it spells out, else all whose path contains it. */
export function testFilesOf(word: string, all: readonly string[]): readonly string[] {
  const path = word
    .replace(/^\.\//, '')
    .replace(/^dist\//, '')
    .replace(/\.js$/, '.ts');
  if (all.includes(path)) return [path];
  return all.filter((file) => file.includes(path));
}
