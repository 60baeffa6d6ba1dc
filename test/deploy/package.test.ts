import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { projectRoot, run } from '../support/command.js';

// What `npm pack` makes must run by itself: installed into an empty directory, without a registry.
const place = mkdtempSync(join(tmpdir(), 'bw-pack-'));
const running = new Set<ChildProcess>();
t.teardown(() => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(place, { recursive: true, force: true });
});

await t.test('npm pack, and npm install without a registry', async (t) => {
  // As `npm pack` does by itself, but without `prepare`, which is for checkouts.
  const bundled = await run('npm', ['run', 'prepack'], { cwd: projectRoot, timeout: 120_000 });
  t.equal(bundled.code, 0, bundled.stderr);
  const packed = await run('npm', ['pack', '--ignore-scripts', '--pack-destination', place], {
    cwd: projectRoot,
    timeout: 120_000,
  });
  t.equal(packed.code, 0, packed.stderr);
  const archive = readdirSync(place).find((name) => name.endsWith('.tgz')) ?? '';
  const installed = await run(
    'npm',
    ['install', '--offline', '--no-audit', '--no-fund', '--ignore-scripts', join(place, archive)],
    { cwd: place, timeout: 120_000 },
  );
  t.equal(installed.code, 0, installed.stderr);
});
const home = join(place, 'node_modules', 'breakwater');
const bin = join(place, 'node_modules', '.bin', 'breakwater');

await t.test('the package brings all it needs, and nothing else', async (t) => {
  t.same(
    readdirSync(join(place, 'node_modules')).filter((name) => !name.startsWith('.')),
    ['breakwater'],
  );
  t.same(readdirSync(home).sort(), [
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'deploy',
    'dist',
    'docs',
    'package.json',
    'policies',
  ]);
  t.same(readdirSync(join(home, 'dist')), ['bundle']);
  const licences = readFileSync(join(home, 'dist/bundle/LICENSES.txt'), 'utf8');
  for (const name of ['pino', 'zod', 'undici', 'prom-client', 'lru-cache', 'tldts', 'yauzl'])
    t.match(licences, new RegExp(`^${name} \\d`, 'm'), name);
});

await t.test('its commands work', async (t) => {
  const npx = await run('npx', ['--no-install', 'breakwater', '--help'], { cwd: place });
  t.equal(npx.code, 0, npx.stderr);
  const { version } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as {
    version: string;
  };
  t.match(npx.stdout, `breakwater ${version}:`);
  for (const [, command = ''] of npx.stdout.matchAll(/^ {2}(\w+) {2}/gm)) {
    const help = await run(bin, [command, '--help']);
    t.equal(help.code, 0, `${command}: ${help.stderr}`);
    t.match(help.stdout + help.stderr, `breakwater ${command}`, command);
  }
  const policies = readdirSync(join(home, 'policies')).filter((name) => !name.endsWith('.schema.json'));
  const check = await run(bin, ['check', ...policies.map((name) => join(home, 'policies', name))]);
  t.match(check.stdout, `ok: ${policies.length} files`, check.stderr);
  const demo = await run(bin, ['demo'], { cwd: place });
  t.equal(demo.code, 0, demo.stderr);
  t.match(demo.stdout, 'Stopped: 3 of 3 steps');
});

interface Started {
  printed(): string;
  /** Asks it to stop; the exit code. */
  stop(): Promise<number | null>;
}

function start(args: readonly string[]): Started {
  const child = spawn(bin, args, { cwd: place, stdio: ['ignore', 'ignore', 'pipe'] });
  running.add(child);
  let text = '';
  child.stderr.on('data', (piece: Buffer) => (text += piece.toString()));
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
  return {
    printed: () => text,
    stop: async () => {
      child.kill('SIGTERM');
      const code = await ended;
      running.delete(child);
      return code;
    },
  };
}

/** GET on a socket, asked again until something answers. */
async function get(socketPath: string, path: string): Promise<{ status: number; text: string }> {
  for (let tries = 0; ; tries++) {
    try {
      return await new Promise((resolve, reject) => {
        request({ socketPath, path, agent: false }, (response) => {
          const pieces: Buffer[] = [];
          response.on('data', (piece: Buffer) => pieces.push(piece));
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, text: Buffer.concat(pieces).toString() }),
          );
        })
          .on('error', reject)
          .end();
      });
    } catch (error) {
      if (tries > 300) throw error;
      await sleep(50);
    }
  }
}

await t.test('it guards, with every part that is loaded when it is configured', async (t) => {
  const dir = join(place, 'full');
  mkdirSync(dir);
  const engine = createServer((_, response) => response.end('OK')).listen(join(dir, 'engine.sock'));
  t.teardown(() => void engine.close());
  writeFileSync(join(dir, 'list.txt'), 'c2.evil.example\n198.51.100.66\n');
  const config = {
    listen: [{ url: `unix://${dir}/guard.sock` }],
    upstream: { url: `unix://${dir}/engine.sock` },
    policy: [join(home, 'policies/default.json')],
    admin: { url: `unix://${dir}/admin.sock` },
    audit: {
      journal: join(dir, 'journal'),
      sinks: [{ name: 'siem', type: 'webhook', url: 'http://127.0.0.1:9/' }],
    },
    feeds: { state: join(dir, 'feeds'), sources: [{ name: 'own', url: `file://${dir}/list.txt` }] },
    egress: { attempts: { directory: join(dir, 'attempts') } },
  };
  writeFileSync(join(dir, 'config.json'), JSON.stringify(config));
  const guard = start(['run', '--config', join(dir, 'config.json')]);
  const ping = await get(join(dir, 'guard.sock'), '/_ping').catch((error: Error) => {
    throw new Error(`${error.message}: ${guard.printed()}`);
  });
  t.equal(ping.status, 200, guard.printed());
  const health = await get(join(dir, 'admin.sock'), '/healthz');
  t.match(health.text, /"own","indicators":2/, 'a process of its own has read the feed');
  const metrics = await get(join(dir, 'admin.sock'), '/metrics');
  t.match(metrics.text, /^breakwater_decisions_total\{/m);
  t.match(metrics.text, /^breakwater_sink_behind\{sink="siem"\}/m);
  t.equal(await guard.stop(), 0, guard.printed());
  const lookup = await run(bin, ['feeds', 'lookup', '--config', join(dir, 'config.json'), 'c2.evil.example']);
  t.equal(lookup.code, 0, lookup.stderr);
  const verified = await run(bin, ['audit', 'verify', join(dir, 'journal')]);
  t.equal(verified.code, 0, verified.stderr + verified.stdout);
});

await t.test('the shipped configuration starts as shipped', async (t) => {
  // The paths of the unit, moved into a directory; the group of the socket is the user's own here.
  const etc = join(place, 'etc');
  cpSync(join(home, 'policies'), join(etc, 'policies'), { recursive: true });
  mkdirSync(join(place, 'run'));
  const shipped = readFileSync(join(home, 'deploy/breakwater.json'), 'utf8');
  const moved = shipped
    .replace('/run/breakwater/', `${place}/run/`)
    .replace('/var/lib/breakwater/', `${place}/`)
    .replace(', "group": "breakwater"', '')
    .replace('tcp://127.0.0.1:9323', 'tcp://127.0.0.1:0');
  t.not(moved, shipped);
  writeFileSync(join(etc, 'breakwater.json'), moved);
  const unit = readFileSync(join(home, 'deploy/breakwater.service'), 'utf8');
  const [, program = '', args = ''] =
    /^ExecStart=\/usr\/bin\/node \/opt\/breakwater\/(\S+) (.*)$/m.exec(unit) ?? [];
  t.equal(join(home, program), join(home, 'dist/bundle/bin/breakwater.js'));
  const guard = start(args.replace('/etc/breakwater', etc).split(' '));
  t.match((await get(join(place, 'run/docker.sock'), '/_ping')).status, /200|502/, guard.printed());
  t.equal(await guard.stop(), 0, guard.printed());
});
