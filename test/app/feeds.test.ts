import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import t, { type Test } from 'tap';
import { loadConfig } from '../../src/config/load.js';
import { startGuard, TRIAL_ENGINE, type RunningGuard } from '../../src/app/guard.js';
import { addresses } from '../feeds/feed-server.js';

/** A guard in front of the trial engine with these feeds. */
async function guardWith(t: Test, feeds: object, files: Record<string, string>): Promise<RunningGuard> {
  const directory = t.testdir({
    ...files,
    'policy.json': JSON.stringify({ sources: {}, rules: [] }),
  });
  const path = join(directory, 'config.json');
  const config = {
    listen: [{ url: 'tcp://127.0.0.1:0' }],
    policy: ['policy.json'],
    admin: { url: 'tcp://127.0.0.1:0' },
    audit: { file: 'audit.jsonl' },
    feeds: { state: 'state', ...feeds },
  };
  writeFileSync(path, JSON.stringify(config));
  const loaded = loadConfig(path, { listen: [], policy: [] });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const upstream = { ...loaded.config.upstream, url: TRIAL_ENGINE };
  const guard = await startGuard({ config: { ...loaded.config, upstream }, log: pino({ level: 'silent' }) });
  t.teardown(() => guard.close(100));
  return guard;
}

async function page(guard: RunningGuard, path: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`${guard.adminUrl}${path}`);
  return { status: response.status, text: await response.text() };
}

const SOURCES = [
  { name: 'mine', url: 'file:list.txt' },
  { name: 'none', url: 'file:missing.txt' },
];

await t.test('health, readiness and metrics tell of the feeds', async (t) => {
  const guard = await guardWith(t, { sources: SOURCES }, { 'list.txt': addresses(7) });
  const ready = await page(guard, '/readyz');
  t.equal(ready.status, 200);
  t.match(JSON.parse(ready.text), { ready: true, problems: [], notes: [/^feed none has no data: .*ENOENT/] });
  t.match(JSON.parse((await page(guard, '/healthz')).text), {
    status: 'degraded',
    feeds: {
      revision: /^[0-9a-f]{12}$/,
      indicators: { ipv4: 7 },
      sources: [
        { name: 'mine', indicators: 7, listed: 7, stale: false, error: null },
        { name: 'none', fetchedAt: null, stale: true, error: /ENOENT/ },
      ],
    },
  });
  const { text } = await page(guard, '/metrics');
  for (const line of [
    'breakwater_indicators{type="ipv4"} 7',
    'breakwater_feed_indicators{feed="mine"} 7',
    'breakwater_feed_stale{feed="mine"} 0',
    'breakwater_feed_stale{feed="none"} 1',
    'breakwater_feed_failing{feed="none"} 1',
  ]) {
    t.ok(text.includes(`\n${line}\n`), line);
  }
  t.match(text, /\nbreakwater_feed_age_seconds\{feed="mine"\} [\d.]+\n/);
  t.match(text, /\nbreakwater_indicators_info\{revision="[0-9a-f]{12}"\} 1\n/);
  writeFileSync(join(t.testdirName, 'missing.txt'), addresses(2, 0x2e000000));
  await guard.reload();
  t.match(JSON.parse((await page(guard, '/healthz')).text), {
    status: 'ok',
    feeds: { indicators: { ipv4: 9 } },
  });
});

await t.test('feeds that are required', async (t) => {
  const guard = await guardWith(t, { required: true, sources: SOURCES }, { 'list.txt': addresses(7) });
  const { status, text } = await page(guard, '/readyz');
  t.equal(status, 503);
  t.match(JSON.parse(text), { ready: false, problems: [/^feed none has no data/], notes: [] });
});

await t.test('a state that cannot be written is said before the first call', async (t) => {
  await t.rejects(
    guardWith(t, { state: 'list.txt/state', sources: SOURCES }, { 'list.txt': '' }),
    /feeds\.state .* cannot be written/,
  );
});
