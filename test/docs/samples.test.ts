import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { OPERATIONS, operationById } from '../../src/docker/catalogue.js';
import { configFileSchema } from '../../src/config/config.js';
import { loadConfig } from '../../src/config/load.js';
import { VOCABULARY } from '../../src/policy/vocabulary.js';
import { compilePolicy } from '../../src/policy/compile.js';

// Every sample of a policy, a rule or a configuration on any page is a valid one.

const root = fileURLToPath(new URL('../../../', import.meta.url));
const pages = [
  join(root, 'README.md'),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(root, 'docs', name)),
];

const samples = pages.flatMap((page) =>
  [...readFileSync(page, 'utf8').matchAll(/^```json\n([^]*?)\n```$/gm)].map(([, text = ''], index) => ({
    name: `${relative(root, page)} ${index + 1}`,
    text,
  })),
);

type Kind = 'policy' | 'rule' | 'config' | 'other';

function kindOf(text: string): Kind {
  let value: Readonly<Record<string, unknown>>;
  try {
    value = JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    // Several JSON lines, or a part of a file.
    return 'other';
  }
  const keys = Object.keys(value);
  if ('rules' in value || (keys.length === 1 && keys[0] === 'sources')) return 'policy';
  if ('id' in value && 'operations' in value) return 'rule';
  return keys.length > 0 && keys.every((key) => key in configFileSchema.shape) ? 'config' : 'other';
}

/** A rule alone, with the sources that it names. */
function asPolicy(text: string): string {
  const rule = JSON.parse(text) as { readonly sources: readonly string[] };
  const names = rule.sources.filter((name) => name !== '*');
  const sources = Object.fromEntries(names.map((name) => [name, { listener: [name] }]));
  return JSON.stringify({ sources, rules: [rule] });
}

await t.test('policies and rules', async (t) => {
  const found = samples.filter(({ text }) => ['policy', 'rule'].includes(kindOf(text)));
  t.ok(found.length >= 10, `${found.length} samples`);
  for (const { name, text } of found) {
    const policy = kindOf(text) === 'rule' ? asPolicy(text) : text;
    const compiled = compilePolicy([{ name, text: policy }], VOCABULARY);
    t.same(compiled.ok ? [] : compiled.problems, [], name);
  }
});

await t.test('configurations', async (t) => {
  const found = samples.filter(({ text }) => kindOf(text) === 'config');
  t.ok(found.length >= 10, `${found.length} samples`);
  const folder = t.testdir({});
  found.forEach(({ name, text }, index) => {
    const path = join(folder, String(index), 'config.json');
    mkdirSync(join(folder, String(index)));
    writeFileSync(path, text);
    const loaded = loadConfig(path, { listen: [], policy: [] });
    t.same(loaded.ok ? [] : loaded.problems, [], name);
  });
});

await t.test(
  "Tecnativa's variables: every operation is one, and every operation of a section is there",
  async (t) => {
    const page = readFileSync(join(root, 'docs/how-to/from-tecnativa.md'), 'utf8');
    const rows = [...page.matchAll(/^\| `([A-Z_]+)` +\| [01] +\|(.*)\|$/gm)];
    t.ok(rows.length > 30, `${rows.length} variables`);
    const named = new Set(
      rows.flatMap(([, , cells = '']) => [...cells.matchAll(/`([A-Za-z]+)`/g)].map(([, id = '']) => id)),
    );
    for (const id of named) t.ok(operationById(id) !== undefined, id);
    for (const { id, until } of OPERATIONS) t.ok(until !== undefined || named.has(id), id);
  },
);

await t.test('every dependency has its reason, every room its place on the map', async (t) => {
  const read = (path: string): string => readFileSync(join(root, path), 'utf8');
  const architecture = read('docs/explanation/architecture.md');
  const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<string, object>;
  for (const name of Object.keys(dependencies ?? {})) {
    t.match(architecture, new RegExp(`^\\| \`${name}\` `, 'm'), name);
  }
  for (const name of Object.keys(devDependencies ?? {})) t.ok(architecture.includes(`\`${name}\``), name);
  const contributing = read('CONTRIBUTING.md');
  for (const entry of readdirSync(join(root, 'src'), { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    t.ok(contributing.includes(`\`src/${entry.name}/\``), entry.name);
    t.ok(architecture.includes(`\`${entry.name}\``), entry.name);
  }
});
