import { existsSync, readFileSync, readdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { loadConfig } from '../../src/config/load.js';

const folder = fileURLToPath(new URL('../../../deploy/siem/', import.meta.url));
const readme = readFileSync(`${folder}README.md`, 'utf8');

await t.test('every example of a config loads', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'bw-readme-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const blocks = [...readme.matchAll(/```json\n([^]*?)```/g)].map(([, block]) => block!);
  t.equal(blocks.length, 4);
  for (const block of blocks) {
    writeFileSync(join(directory, 'config.json'), block);
    const loaded = loadConfig(join(directory, 'config.json'), { listen: [], policy: [] });
    t.same(loaded.ok ? [] : loaded.problems, [], block);
    if (!loaded.ok) continue;
    // What the shipped files are made for.
    t.match(loaded.config.audit.journal?.sinks[0]?.format, /^(breakwater|ecs)$/);
  }
});

await t.test('it names every file, and no other', async (t) => {
  const links = [...readme.matchAll(/\]\(([^)#]+)\)/g)].map(([, link]) => link!);
  for (const link of links) t.ok(existsSync(join(folder, link)), link);
  for (const name of readdirSync(folder)) {
    t.ok(name === 'README.md' || links.some((link) => link.split('/')[0] === name), name);
  }
});
