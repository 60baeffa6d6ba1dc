import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pino from 'pino';
import t, { type Test } from 'tap';
import { startGuard, type RunningGuard } from '../../src/app/guard.js';
import { loadConfig } from '../../src/config/load.js';
import { startTrialEngine } from '../../src/trial-engine/engine.js';
import { killGroup, run, until } from '../support/command.js';
import { freePort } from '../support/free-port.js';
import { runGuard } from '../support/guard-process.js';
import { addresses } from '../feeds/feed-server.js';

// A guard starts as a whole or not at all, leaves alone what is another one's, and does not take an engine that is not there
// for one that answers.

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const POLICY = JSON.stringify({ rules: [{ id: 'all', sources: ['*'], operations: ['*'], permit: ['*'] }] });

function directoryOf(t: Test, files: Readonly<Record<string, string>> = {}): string {
  // Short: a unix socket is in it.
  const directory = mkdtempSync(join(tmpdir(), 'bw-start-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  for (const [name, text] of Object.entries({ 'policy.json': POLICY, ...files }))
    writeFileSync(join(directory, name), text);
  return directory;
}

interface File {
  readonly listen?: readonly object[];
  readonly [section: string]: unknown;
}

function writeConfig(directory: string, name: string, more: File): string {
  const path = join(directory, name);
  writeFileSync(
    path,
    JSON.stringify({
      listen: [{ name: 'tcp', url: 'tcp://127.0.0.1:0' }],
      upstream: { url: `unix://${join(directory, 'engine.sock')}` },
      policy: ['policy.json'],
      admin: { url: 'tcp://127.0.0.1:0' },
      audit: { file: `${name}.jsonl` },
      ...more,
    }),
  );
  return path;
}

async function start(t: Test, directory: string, name: string, more: File): Promise<RunningGuard> {
  const loaded = loadConfig(writeConfig(directory, name, more), { listen: [], policy: [] });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const guard = await startGuard({ config: loaded.config, log: pino({ level: 'silent' }) });
  t.teardown(() => guard.close(100));
  return guard;
}

async function status(url: string, path: string): Promise<number> {
  return (await fetch(`${url.replace('tcp:', 'http:')}${path}`)).status;
}

const FEEDS = { state: 'feeds', sources: [{ name: 'mine', url: 'file:list.txt' }] };

await t.test('a guard without feeds leaves the index of another one alone', async (t) => {
  const directory = directoryOf(t, { 'list.txt': addresses(7) });
  const production = await start(t, directory, 'production.json', { feeds: FEEDS });
  const index = join(directory, 'feeds', 'index.bin');
  const before = readFileSync(index);
  // As the demo and `run` without a file do it; the default directory is this one.
  const loaded = loadConfig(undefined, {
    listen: ['tcp://127.0.0.1:0'],
    policy: [join(directory, 'policy.json')],
  });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const { config } = loaded;
  t.equal(config.feeds.ownsState, false);
  const feeds = { ...config.feeds, state: join(directory, 'feeds') };
  const audit = { ...config.audit, file: join(directory, 'other.jsonl') };
  const other = await startGuard({
    config: { ...config, feeds, audit, admin: null },
    log: pino({ level: 'silent' }),
  });
  await other.reload();
  await other.close(100);
  t.same(readFileSync(index), before);
  await production.reload();
  t.match(await (await fetch(`${production.adminUrl}/healthz`)).json(), {
    feeds: { indicators: { ipv4: 7 } },
  });
  await production.close(100);
  // One that says that it has no feeds any more takes them out of force.
  await start(t, directory, 'production.json', { feeds: { state: 'feeds', sources: [] } });
  t.notSame(readFileSync(index), before);
});

const SHARED: readonly (readonly [key: string, File])[] = [
  ['feeds.state', { feeds: FEEDS }],
  ['ownership.state', { ownership: { state: 'owners' } }],
  ['egress.attempts.directory', { egress: { attempts: { directory: 'attempts' } } }],
];

for (const [key, section] of SHARED) {
  await t.test(`two guards with one ${key}`, async (t) => {
    const directory = directoryOf(t, { 'list.txt': addresses(7) });
    const first = await start(t, directory, 'one.json', section);
    await t.rejects(
      start(t, directory, 'two.json', section),
      new RegExp(`^${key} .* is in use by another guard`),
    );
    await first.close(100);
    const again = await start(t, directory, 'two.json', section);
    t.equal(again.listeners.length, 1, 'after the first has stopped');
  });
}

await t.test('a guard that was killed leaves no lock behind', async (t) => {
  const directory = directoryOf(t);
  const more = { ownership: { state: 'owners' } };
  const audit = { file: 'audit.jsonl' };
  const options = { port: await freePort(), upstream: `unix://${directory}/e.sock`, audit, more };
  const killed = await runGuard(t, directory, options);
  await t.rejects(
    runGuard(t, directory, { ...options, port: await freePort() }),
    /is in use by another guard/,
  );
  await killed.kill('SIGKILL');
  t.ok(existsSync(join(directory, 'owners', 'guard.lock')));
  const next = await runGuard(t, directory, options);
  await next.kill('SIGTERM');
  t.notOk(existsSync(join(directory, 'owners', 'guard.lock')));
});

await t.test('the lock of a directory with a long path', async (t) => {
  const directory = directoryOf(t);
  const long = join('d'.repeat(90), 'e'.repeat(90));
  const section = { ownership: { state: long } };
  await start(t, directory, 'one.json', section);
  t.ok(existsSync(join(directory, long, 'guard.lock')));
  await t.rejects(start(t, directory, 'two.json', section), /in use by another guard/);
});

await t.test('what cannot start ends, with the reason', async (t) => {
  const directory = directoryOf(t, { file: '', 'list.txt': addresses(3) });
  const busy = createServer();
  await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve));
  t.teardown(() => busy.close());
  const port = (busy.address() as { port: number }).port;
  const socket = join(directory, 'first.sock');
  const first = { name: 'first', url: `unix://${socket}` };
  const journal = {
    journal: 'journal',
    sinks: [{ name: 'siem', type: 'syslog', url: 'tcp://127.0.0.1:9' }],
  };
  // A feed whose server accepts and is silent.
  const feeds = {
    state: 'feeds',
    sources: [
      { name: 'slow', url: `http://127.0.0.1:${port}/list`, internal: true },
      { name: 'mine', url: 'file:list.txt' },
    ],
  };
  const cases: readonly (readonly [name: string, File, RegExp])[] = [
    [
      'an unknown group',
      { listen: [first, { name: 'b', url: `unix://${directory}/b.sock`, group: 'nobody-has-this' }], feeds },
      /cannot listen on unix:.*there is no group "nobody-has-this"/,
    ],
    [
      'a certificate that is not there',
      { listen: [first, { name: 'b', url: 'tls://127.0.0.1:0', tls: { cert: 'no', key: 'no' } }], feeds },
      /ENOENT.*no'/,
    ],
    [
      'a port that is in use',
      { listen: [first, { name: 'b', url: `tcp://127.0.0.1:${port}` }], feeds, audit: journal },
      /cannot listen on tcp:.*EADDRINUSE/,
    ],
    ['the admin port', { listen: [first], admin: { url: `tcp://127.0.0.1:${port}` }, feeds }, /EADDRINUSE/],
    [
      'the CA of the engine',
      { listen: [first], upstream: { url: 'tls://127.0.0.1:9', tls: { ca: 'no.pem' } }, audit: journal },
      /ENOENT.*no\.pem/,
    ],
    [
      'a directory that is a file',
      { listen: [first], ownership: { state: 'file/x' }, feeds },
      /ownership\.state/,
    ],
    // Exit code 2, as for what else is wrong in the files that a start reads.
    ['no policy', { listen: [first], policy: ['none.json'], feeds }, /none\.json/],
  ];
  for (const [name, more, reason] of cases) {
    const config = writeConfig(directory, 'config.json', more);
    const { code, stderr, timedOut } = await run(process.execPath, [main, 'run', '--config', config], {
      timeout: 20_000,
    });
    t.match({ code, timedOut }, { code: name === 'no policy' ? 2 : 1, timedOut: false }, name);
    t.match(stderr.split('\n').find((line) => line.startsWith('breakwater run:')) ?? stderr, reason, name);
    t.notOk(existsSync(socket), `${name}: nothing listens`);
  }
});

await t.test('a socket of the admin listener that a killed guard left', async (t) => {
  const directory = directoryOf(t);
  const path = join(directory, 'admin.sock');
  const child = spawn(
    process.execPath,
    ['-e', `require('net').createServer().listen(${JSON.stringify(path)},()=>console.log('up'))`],
    { stdio: ['ignore', 'pipe', 'inherit'], detached: true },
  );
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const admin = { url: `unix://${path}` };
  await t.rejects(start(t, directory, 'one.json', { admin }), /another process is listening there/);
  const gone = new Promise((resolve) => child.once('exit', resolve));
  killGroup(child);
  await gone;
  t.ok(existsSync(path));
  const guard = await start(t, directory, 'one.json', { admin });
  t.equal(guard.adminUrl, `unix://${path}`);
});

await t.test('an engine that is not there is waited for, never replaced', async (t) => {
  const directory = directoryOf(t);
  const guard = await start(t, directory, 'one.json', {});
  const url = guard.listeners[0]!.url;
  const ready = async (): Promise<number> => status(guard.adminUrl!, '/readyz');
  t.equal(await status(url, '/v1.41/images/json'), 502);
  t.equal(await ready(), 503);
  // Docker makes a directory of a bind whose source is missing.
  mkdirSync(join(directory, 'engine.sock'));
  t.equal(await status(url, '/v1.41/images/json'), 502);
  t.equal(await ready(), 503);

  const later = await startTrialEngine();
  t.teardown(() => later.close());
  const port = await freePort();
  const config = writeConfig(directory, 'late.json', {
    upstream: { url: `unix://${join(directory, 'late.sock')}` },
    listen: [{ name: 'tcp', url: `tcp://127.0.0.1:${port}` }],
  });
  const child = spawn(process.execPath, [main, 'run', '--config', config], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  t.teardown(() => killGroup(child));
  let printed = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (printed += piece));
  t.ok(await until(() => /policy/.test(printed), 15_000), 'it is up');
  t.match(printed, /there is no engine at .*late\.sock yet/);
  t.notMatch(printed, /trial engine/);
  t.equal(await status(`tcp://127.0.0.1:${port}`, '/v1.41/images/json'), 502);
  symlinkSync(later.url.slice('unix://'.length), join(directory, 'late.sock'));
  t.equal(
    await status(`tcp://127.0.0.1:${port}`, '/v1.41/images/json'),
    200,
    'it is used as soon as it is there',
  );
});

await t.test('the trial engine is asked for', async (t) => {
  const directory = directoryOf(t);
  const port = await freePort();
  const listen = ['--listen', `tcp://127.0.0.1:${port}`, '--audit', join(directory, 'audit.jsonl')];
  const both = await run(process.execPath, [
    main,
    'run',
    '--trial',
    '--upstream',
    'unix:///x.sock',
    ...listen,
  ]);
  t.equal(both.code, 2);
  t.match(both.stderr, /--trial is an engine of its own/);
  const config = writeConfig(directory, 'config.json', {});
  t.equal((await run(process.execPath, [main, 'run', '--trial', '--config', config])).code, 2);
  const child = spawn(process.execPath, [main, 'run', '--trial', ...listen], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  t.teardown(() => killGroup(child));
  let printed = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (printed += piece));
  t.ok(await until(() => /policy/.test(printed), 15_000));
  t.match(printed, /engine +the built-in trial engine/);
  t.equal(await status(`tcp://127.0.0.1:${port}`, '/v1.41/version'), 200);
});
