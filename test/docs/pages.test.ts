import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { fill, table } from '../../src/app/docs/markdown.js';
import { metricsTable } from '../../src/app/docs/metrics-page.js';
import { referencePages } from '../../src/app/docs/pages.js';
import { keysTable } from '../../src/app/docs/config-page.js';
import { configFileSchema } from '../../src/config/config.js';
import { schemaRows } from '../../src/app/docs/schema-rows.js';
import { policyFileSchema } from '../../src/policy/schema.js';
import { rewriteSchema } from '../../src/policy/rewrite-schema.js';

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const pageOf = (name: string): string => readFileSync(`docs/reference/${name}`, 'utf8');

await t.test('the generated pages are fresh (npm run docs)', async (t) => {
  const pages = await referencePages({
    read: pageOf,
    help: (args) => execFileSync(process.execPath, [main, ...args], { encoding: 'utf8' }),
  });
  for (const [name, text] of pages) t.equal(pageOf(name), text, name);
});

await t.test('every key of the config file and of a policy says what it means', async (t) => {
  for (const schema of [configFileSchema, policyFileSchema, rewriteSchema]) {
    for (const { path, meaning, type } of schemaRows(schema, '')) {
      t.match(meaning, /\w/, `${path}: a meaning`);
      t.match(type, /\w/, `${path}: a type`);
    }
  }
});

await t.test(
  'a table of keys: defaults in units, lists, sections, and defaults that are described',
  async (t) => {
    const rows = new Map(schemaRows(configFileSchema, '').map((row) => [row.path, row]));
    t.match(rows.get('limits.body'), { default: '`"2MiB"`', type: 'size' });
    t.match(rows.get('upstream.timeout'), { default: '`"2m"`', type: 'time' });
    t.match(rows.get('listen[].url'), { default: 'required', type: 'text' });
    t.match(rows.get('listen[].mode'), { default: '`"0660"`' });
    t.match(rows.get('egress.networks[].default'), { default: 'required', type: '`"deny"`' });
    t.match(rows.get('sequences.probing'), { default: 'as below', type: '`false` or object' });
    t.match(rows.get('audit.sinks[].token'), { default: 'none', type: 'text or object' });
    t.match(rows.get('audit.sinks[].type')?.meaning, /`syslog`.*`stdout`/);
    t.notMatch(keysTable(configFileSchema.shape.audit, 'audit', ['audit.sinks']), 'audit.sinks[]');
  },
);

await t.test('parts of a page are filled in, the rest stays', async (t) => {
  const page = 'a\n\n<!-- generated: x -->\nold\n<!-- end of generated -->\n\nb\n';
  const made = fill(page, new Map([['x', 'new $1']]));
  t.equal(made, 'a\n\n<!-- generated: x -->\n\nnew $1\n\n<!-- end of generated -->\n\nb\n');
  t.equal(fill(made, new Map([['x', 'new $1']])), made, 'twice is the same');
  t.throws(() => fill(page, new Map()), /nothing generates the part x/);
  t.throws(() => fill('', new Map([['x', '']])), /no mark for x/);
  t.equal(table(['a', 'b'], [['1|2', 'long']]), '| a    | b    |\n| ---- | ---- |\n| 1\\|2 | long |');
});

await t.test('metrics: name, type, labels and help', async (t) => {
  const scrape =
    '# HELP a_total Calls\n# TYPE a_total counter\na_total{x="1",y="2"} 3\n# HELP b Now\n# TYPE b gauge\nb 1\n';
  const [, , first, second] = metricsTable(scrape).split('\n');
  t.match(first, /^\| `a_total` \| counter \| `x`, `y` +\| Calls +\|$/);
  t.match(second, /^\| `b` +\| gauge +\| +\| Now +\|$/);
});
