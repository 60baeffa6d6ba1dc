import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import t from 'tap';
import { nodeProblem } from '../../src/cli/check-node.js';
import { projectRoot } from '../support/command.js';

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

t.test('versions of Node', async (t) => {
  for (const version of ['12.22.12', '18.20.8', '20.9.0', '20.18.1', '20.19.9', '0.10.48', '', 'x'])
    t.match(nodeProblem(version), `needs Node 20.20.0 or newer, and this is Node ${version} (`, version);
  for (const version of [
    '20.20.0',
    '20.20.2',
    '20.100.0',
    '21.0.0',
    '22.23.3',
    '24.21.0',
    '26.10.0',
    '26.0.0-rc.1',
  ])
    t.equal(nodeProblem(version), '', version);
  const { engines } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as {
    engines: { node: string };
  };
  t.equal(engines.node, '>=20.20.0', 'package.json says the same');
});

t.test('an older Node refuses to start, and says why', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'bw-node-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  // This Node, under another number.
  const pretend = join(directory, 'pretend.mjs');
  writeFileSync(
    pretend,
    "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.18.1' } });",
  );
  const start = (...options: string[]): ReturnType<typeof spawnSync> =>
    spawnSync(process.execPath, [...options, main, '--version'], { encoding: 'utf8' });
  const old = start('--import', pathToFileURL(pretend).href);
  t.match(old, { status: 1, stdout: '', stderr: /^breakwater needs Node 20\.20\.0 or newer, .*\n$/ });
  t.match(start(), { status: 0, stdout: /^\d+\.\d+\.\d+\n$/, stderr: '' }, 'this one starts');
});

t.test('what runs before the check has no syntax that old versions lack', async (t) => {
  for (const name of ['main.js', 'check-node.js']) {
    const text = readFileSync(fileURLToPath(new URL(`../../src/cli/${name}`, import.meta.url)), 'utf8');
    const code = text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
    t.notMatch(code, /\?\.|\?\?|\bawait\b|#\w+\s*[=(]|\|\|=|&&=/, name);
    const imports = [...code.matchAll(/^import .*$/gm)].map(String);
    t.strictSame(imports, name === 'main.js' ? ["import './check-node.js';"] : [], `${name}: what it loads`);
  }
});
