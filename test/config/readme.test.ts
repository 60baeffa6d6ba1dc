import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { loadConfig, type ConfigResult } from '../../src/config/load.js';
import { parseDuration, parseSize } from '../../src/base/units.js';
import { VOCABULARY } from '../../src/policy/vocabulary.js';
import { compilePolicy } from '../../src/policy/compile.js';

// What README and docs promise of policy and config must be what the code does.
const root = fileURLToPath(new URL('../../../', import.meta.url));
const page = (name: string): string => readFileSync(`${root}${name}`, 'utf8');
const policyPage = page('docs/reference/policy.md');

await t.test('the policy example is a valid policy', async (t) => {
  for (const name of ['README.md', 'docs/reference/policy.md']) {
    const text = /```json\n(\{\n {2}"\$schema"[^]*?)\n```/.exec(page(name))?.[1] ?? '';
    const compiled = compilePolicy([{ name, text }], VOCABULARY);
    t.same(compiled.ok ? [] : compiled.problems, [], name);
  }
});

await t.test('the rule that redacts is a valid rule', async (t) => {
  const rule = /```json\n(\{\n {2}"id": "dashboard"[^]*?)\n```/.exec(policyPage)?.[1] ?? '';
  const text = `{"sources": {"dashboard": {"listener": ["unix"]}}, "rules": [${rule}]}`;
  const compiled = compilePolicy([{ name: 'policy.md', text }], VOCABULARY);
  t.same(compiled.ok ? compiled.policy.rules : compiled.problems, 1);
});

await t.test('the example of feeds with the outbound side is a valid config', async (t) => {
  const text =
    /```json\n(\{\n {2}"audit"[^]*?)\n```/.exec(page('docs/how-to/feeds-and-egress.md'))?.[1] ?? '';
  const path = join(t.testdir({ 'config.json': text }), 'config.json');
  const loaded = loadConfig(path, { listen: [], policy: [] });
  t.same(loaded.ok ? [] : loaded.problems, []);
  if (!loaded.ok) return;
  t.equal(loaded.config.egress?.state, loaded.config.feeds.state, 'both use one directory');
  t.equal(loaded.config.feeds.sources.length, 1);
});

await t.test('the config table has every limit, with its default', async (t) => {
  const defaults: ConfigResult = loadConfig(undefined, { listen: [], policy: [] });
  if (!defaults.ok) throw new Error('no config is a valid config');
  const { upstream, limits } = defaults.config;
  const expected = new Map<string, number>();
  for (const [section, values] of Object.entries({ upstream, limits })) {
    for (const [key, value] of Object.entries(values)) {
      if (typeof value === 'number') expected.set(`${section}.${key}`, value);
    }
  }
  const stated = new Map<string, number | undefined>();
  for (const [, keys = '', values = ''] of page('docs/reference/config.md').matchAll(
    /^\| (`(?:limits|upstream)\.[^|]*)\|([^|]*)\|/gm,
  )) {
    const names = [...keys.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);
    const texts = [...values.matchAll(/`"?([^`"]+)"?`/g)].map(([, text = '']) => text);
    const section = names[0]?.split('.')[0] ?? '';
    names.forEach((name, index) => {
      const text = texts[index] ?? '';
      const key = name.includes('.') ? name : `${section}.${name}`;
      if (expected.has(key)) stated.set(key, parseDuration(text) ?? parseSize(text));
    });
  }
  t.strictSame(Object.fromEntries(stated), Object.fromEntries(expected));
});

await t.test('files that the documents point at are there', async (t) => {
  for (const document of ['README.md', 'SECURITY.md', 'CONTRIBUTING.md']) {
    const text = readFileSync(`${root}${document}`, 'utf8');
    for (const [, target = ''] of text.matchAll(/\]\((?!https?:)([^)#]+)\)/g)) {
      t.ok(existsSync(`${root}${target}`), `${document}: ${target}`);
    }
  }
});
