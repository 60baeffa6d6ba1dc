import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { buildIndex, type Listed } from '../../src/intel/index-build.js';
import { run, until, type Outcome } from '../support/command.js';
import type { Engine } from '../support/engine.js';
import { fetch, ownBridge, refused } from '../support/internet.js';
import { must, startHost } from '../support/namespace.js';
import { playScenes } from '../support/play-scenes.js';

const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const TABLE = 'breakwater_e2e';

type Line = Readonly<Record<string, string | number>>;

/** The outbound side on a real engine, in this network namespace (see egress.test.ts). */
export const scenes = (): Promise<void> => playScenes('containers and builds of a real engine', play);

/** What is listed in most scenes. */
const LISTED = [
  listed('ipv4', '198.51.100.66'),
  listed('ipv4', '198.51.100.128/28'),
  listed('ipv4', '198.51.100.70', 'alert'),
  listed('ipv4', '10.0.0.0/9'),
  listed('ipv6', '2001:db8:1::66'),
  listed('ipv6', '2001:db8:1:0:bad::/80'),
  listed('domain', 'c2.evil.example'),
  listed('url', 'good.example:8080/dock/main.sh'),
];

function listed(type: Listed['type'], value: string, action: Listed['action'] = 'block'): Listed {
  return { type, value, action, feed: 'report', confidence: 90, threat: 'miner', port: 0 };
}

async function play(t: Test, docker: Engine): Promise<void> {
  const state = join(docker.dir, 'feeds');
  const attempts = join(docker.dir, 'attempts');
  const configFile = join(docker.dir, 'egress.json');
  mkdirSync(state);
  const bridge = await ownBridge();
  const gateway = `${bridge.prefix}.1`;

  const list = (entries: readonly Listed[]): void => {
    const path = join(state, 'index.bin');
    writeFileSync(`${path}.new`, Buffer.from(buildIndex(entries, { seed: [1, 2] })));
    renameSync(`${path}.new`, path);
  };
  const configure = (mode: 'block' | 'alert'): void =>
    writeFileSync(
      configFile,
      JSON.stringify({
        feeds: { state },
        egress: {
          mode,
          table: TABLE,
          poll: '100ms',
          attempts: { directory: attempts },
          dns: { listen: `${gateway}:5300`, upstream: ['198.51.100.53'] },
          gateway: { listen: `${gateway}:3128`, ports: [8080] },
          networks: [
            { bridge: 'bwdeny', default: 'deny', allow: ['198.51.100.12', 'good.example', 'inside.example'] },
          ],
        },
      }),
    );
  const told = (): Line[] => {
    const segments = readdirSync(attempts).filter((name) => name.endsWith('.jsonl'));
    const text = segments.map((name) => readFileSync(join(attempts, name), 'utf8')).join('');
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line);
  };
  const tells = async (test: Test, wanted: Line, what: string): Promise<void> => {
    const matches = (line: Line): boolean =>
      Object.entries(wanted).every(([key, value]) => line[key] === value);
    const found = await until(() => told().some(matches), 8_000, 50);
    test.ok(found, what);
    if (!found) test.comment(JSON.stringify(wanted), JSON.stringify(told().slice(-12)));
  };
  const cli = (...args: string[]): Promise<Outcome> =>
    run(process.execPath, [CLI, 'egress', ...args, '--config', configFile], { timeout: 30_000 });
  const env = { DOCKER_HOST: docker.host, DOCKER_CONFIG: docker.dockerConfig, DOCKER_BUILDKIT: '0' };
  const engine = (...args: string[]): Promise<Outcome> => run('docker', args, { env, timeout: 60_000 });
  /** Runs a script in a container; what it prints. */
  const inside = async (script: string, ...options: string[]): Promise<string> => {
    const { stdout, stderr } = await engine(
      'run',
      '--rm',
      ...options,
      'tools',
      'sh',
      '-c',
      `{ ${script}; } 2>&1`,
    );
    return stdout + stderr;
  };
  const get = (address: string): string => fetch(`${address}:8080/`);

  let process_: ChildProcess | undefined;
  let said = '';
  const start = async (): Promise<void> => {
    const child = spawn(process.execPath, [CLI, 'egress', 'run', '--config', configFile], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    process_ = child;
    said = '';
    child.stderr.on('data', (piece: Buffer) => (said += piece.toString()));
    const up = await until(() => said.includes('is in force') || child.exitCode !== null, 15_000, 20);
    if (!up || child.exitCode !== null) throw new Error(`breakwater egress run: ${said}`);
  };
  const stop = async (): Promise<number | null> => {
    const child = process_!;
    child.kill('SIGTERM');
    if (!(await until(() => child.exitCode !== null, 10_000, 20))) child.kill('SIGKILL');
    return child.exitCode;
  };
  t.teardown(() => process_?.kill('SIGKILL'));

  const last = [10, 11, 12, 20, 30, 53, 54, 66, 70, 130];
  const c2 = await startHost(new URL('../support/c2-host.js', import.meta.url), [], {
    outer: 'bwout',
    inner: 'c2',
    addresses: [
      ...last.map((one) => `198.51.100.${one}/24`),
      ...['2001:db8:1::10/64', '2001:db8:1::66/64', '2001:db8:1:0:bad::1/64'],
    ],
    via: '198.51.100.1',
  });
  t.teardown(() => c2.stop());
  await must('ip', ['address', 'add', '198.51.100.1/24', 'dev', 'bwout']);
  await must('ip', ['address', 'add', '2001:db8:1::1/64', 'dev', 'bwout', 'nodad']);
  c2.begin();
  if (!(await until(() => c2.lines.includes('ready'), 10_000, 20)))
    throw new Error('the C2 host does not start');
  await engine('network', 'create', '-o', 'com.docker.network.bridge.name=bwdeny', 'deny');
  await engine('network', 'create', 'own');
  configure('block');
  list(LISTED);

  await t.test('before: everything answers, and show says that nothing is in force', async (test) => {
    test.match(
      await inside(`${get('198.51.100.66')}; ${get('198.51.100.10')}`),
      /hello 198.51.100.66.*\nhello/,
    );
    const { code, stdout } = await cli('show');
    test.equal(code, 1);
    test.match(stdout, /NOT THERE/);
  });

  await start();
  await t.test('a container, by address: refused at once, told with its own address', async (test) => {
    const started = Date.now();
    const text = await inside(
      `hostname -i; for a in 66 130 10 70; do ${get('198.51.100.$a')}; done; ping -c 1 -W 5 198.51.100.66 | tail -1`,
    );
    test.ok(Date.now() - started < 15_000, 'no time-out was waited for');
    const own = /10\.\d+\.0\.\d+/.exec(text)?.[0] ?? '';
    test.match(text, refused('198.51.100.66'));
    test.match(text, refused('198.51.100.130'), 'a range');
    test.match(text, /hello 198.51.100.10/, 'not listed');
    test.match(text, /hello 198.51.100.70/, 'listed for alerts');
    const attempt = {
      kind: 'attempt',
      via: 'address',
      source: own,
      protocol: 'tcp',
      port: 8080,
      feed: 'report',
    };
    const blocked = { ...attempt, action: 'blocked', confidence: 90, threat: 'miner', type: 'ipv4' };
    await tells(
      test,
      { ...blocked, destination: '198.51.100.66', indicator: '198.51.100.66', count: 1 },
      'single',
    );
    await tells(test, { ...blocked, destination: '198.51.100.130', indicator: '198.51.100.128/28' }, 'range');
    await tells(test, { ...attempt, action: 'observed', destination: '198.51.100.70' }, 'alert');
    await tells(
      test,
      { kind: 'attempt', source: own, protocol: 'icmp', destination: '198.51.100.66', port: 0 },
      'ping',
    );
  });

  await t.test('the network of the host: caught too, loopback is not', async (test) => {
    const text = await inside(`${get('198.51.100.66')}; ${get('198.51.100.10')}`, '--network', 'host');
    test.match(text, refused('198.51.100.66'));
    test.match(text, /hello 198.51.100.10/);
    await tells(test, { source: '198.51.100.1', destination: '198.51.100.66', action: 'blocked' }, 'told');
    const view = JSON.parse((await cli('show', '--json')).stdout) as {
      status: { elements: { spared: number } };
    };
    test.ok(
      view.status.elements.spared >= 1,
      'a listed private range is left out, or nothing here would work',
    );
  });

  await t.test('IPv6, from the host itself', async (test) => {
    const reach = (address: string): Promise<Outcome> =>
      run('curl', ['-sS', '-m', '20', `http://[${address}]:8080/`]);
    test.match(await reach('2001:db8:1::10'), { code: 0, stdout: /hello/ });
    for (const address of ['2001:db8:1::66', '2001:db8:1:0:bad::1']) {
      test.match(await reach(address), { code: 7, stderr: /after \d{1,3} ms/ }, address);
    }
    const told6 = { via: 'address', action: 'blocked', type: 'ipv6', destination: '2001:db8:1:0:bad::1' };
    await tells(test, { ...told6, indicator: '2001:db8:1:0:bad::/80', source: '2001:db8:1::1' }, 'told');
  });

  await t.test('a damaged index changes nothing', async (test) => {
    writeFileSync(join(state, 'index.bin'), 'no index');
    const message = (line: Line): boolean =>
      String(line['message']).startsWith('index not read, the last good one is in force');
    test.ok(await until(() => told().some(message), 8_000), 'told');
    test.match(await inside(get('198.51.100.66')), refused('198.51.100.66'));
    list(LISTED);
  });

  await t.test('by name: redirected to the resolver, whatever resolver is asked', async (test) => {
    const names = ['c2.evil.example', 'www.c2.evil.example', 'points.example', 'alias.example'];
    const script = [...names, 'good.example', 'private.example']
      .map((name) => `nslookup -type=a ${name} 198.51.100.54`)
      .join('; ');
    const text = await inside(`${script}; nc -w 5 198.51.100.54 853 </dev/null; echo "dot $?"`);
    for (const name of names) test.match(text, new RegExp(`can't find ${name}: NXDOMAIN`), name);
    test.match(text, /Address[^\n]*198.51.100.10\n/, 'an unlisted name');
    test.match(text, /Address[^\n]*10.1.2.3\n/, 'a private address, whatever is listed');
    test.match(text, /dot [1-9]/, 'DNS over TLS is refused');
    const dns = { kind: 'attempt', action: 'blocked', via: 'dns', port: 53 };
    await tells(
      test,
      { ...dns, name: 'www.c2.evil.example', indicator: 'c2.evil.example', type: 'domain' },
      'subdomain',
    );
    await tells(test, { ...dns, name: 'points.example', destination: '198.51.100.66' }, 'a listed address');
    await tells(
      test,
      { via: 'policy', destination: '198.51.100.54', port: 853, action: 'blocked' },
      'DNS over TLS',
    );
    const embedded = await inside(
      'grep nameserver /etc/resolv.conf; nslookup -type=a c2.evil.example; nslookup -type=a good.example',
      ...['--network', 'own', '--dns', '198.51.100.54'],
    );
    test.match(embedded, /127.0.0.11/, "the engine's own resolver");
    test.match(embedded, /can't find c2.evil.example: NXDOMAIN/);
    test.match(embedded, /Address[^\n]*198.51.100.10\n/);
  });

  await t.test('a build', async (test) => {
    const build = async (command: string): Promise<Outcome> => {
      const file = `FROM tools\nRUN ${command}\n`;
      return run('docker', ['build', '--no-cache', '-'], { env, input: file, timeout: 60_000 });
    };
    const bad = await build(get('198.51.100.66'));
    test.not(bad.code, 0);
    // What the build said on standard error comes in red, letter by letter.
    test.match(bad.stdout.replace(/\u001b\[\d*m/g, ''), refused('198.51.100.66'));
    const named = await build('nslookup -type=a c2.evil.example 198.51.100.54');
    test.match(named.stdout + named.stderr, /NXDOMAIN/);
    const good = await build(get('198.51.100.10'));
    test.equal(good.code, 0);
    test.match(good.stdout, /hello 198.51.100.10/);
  });

  await t.test(
    'an established connection ends when its other side is listed, and the sweep finds it',
    async (test) => {
      const lines: string[] = [];
      const child = spawn('docker', ['run', '--rm', '-i', 'tools', 'nc', '198.51.100.30', '9000'], {
        env: { ...process.env, ...env },
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      child.stdout.on('data', (piece: Buffer) => lines.push(piece.toString()));
      await inside('nslookup -type=a www.good.example 198.51.100.54');
      test.ok(await until(() => lines.length > 3, 15_000), 'lines come');
      list([...LISTED, listed('ipv4', '198.51.100.30'), listed('domain', 'www.good.example')]);
      test.ok(await until(() => child.exitCode !== null, 10_000), 'the connection is cut');
      await tells(
        test,
        { kind: 'attempt', destination: '198.51.100.30', port: 9000, action: 'blocked' },
        'told',
      );
      await tells(test, { kind: 'sweep', via: 'address', destination: '198.51.100.30', port: 9000 }, 'flow');
      await tells(test, { kind: 'sweep', via: 'dns', name: 'www.good.example' }, 'name');
      child.kill('SIGKILL');
      list(LISTED);
    },
  );

  await t.test('a network with default deny', async (test) => {
    const text = await inside(
      [
        `echo A; ${get('198.51.100.10')}; echo B; ${get('198.51.100.12')}; echo C; nslookup -type=a other.example 198.51.100.54`,
        `echo D; nslookup -type=a good.example 198.51.100.54; echo E; ${get('198.51.100.10')}`,
        `echo F; nslookup -type=a inside.example 198.51.100.54; nc -w 5 172.20.1.2 80 </dev/null; echo "inside $?"`,
        `echo G; nc -w 5 ${gateway} 9 </dev/null; echo "host $?"; echo H`,
      ].join('; '),
      ...['--network', 'deny', '--dns', '198.51.100.54'],
    );
    const between = (from: string, to: string): string =>
      text.slice(text.indexOf(`${from}\n`), text.indexOf(`${to}\n`));
    test.match(between('A', 'B'), refused('198.51.100.10'), 'not allowed');
    test.match(between('B', 'C'), /hello/, 'an allowed address');
    test.match(between('C', 'D'), /NXDOMAIN/, 'names are a way out too');
    test.match(between('E', 'F'), /hello/, 'an address learnt from an allowed name');
    test.match(between('F', 'G'), /inside 1/, 'a name does not open private networks');
    test.match(between('G', 'H'), /host 1/, 'nor does the host serve as the way around');
    await tells(
      test,
      { via: 'policy', destination: '198.51.100.10', action: 'blocked', indicator: '' },
      'told',
    );
    await tells(test, { via: 'policy', name: 'other.example', action: 'blocked' }, 'name told');
    await tells(test, { via: 'policy', destination: gateway, port: 9, action: 'blocked' }, 'host told');
  });

  await t.test('the gateway', async (test) => {
    const proxy = ['-e', `http_proxy=http://${gateway}:3128`];
    const text = await inside(
      [
        'good.example:8080/',
        'good.example:8080/dock/main.sh',
        'c2.evil.example:8080/',
        'inside.example:8080/',
      ]
        .map((url) => `echo "@ ${url}"; ${fetch(url)}`)
        .join('; '),
      ...proxy,
    );
    test.match(text, /@ good.example:8080\/\nhello good.example:8080\//);
    test.match(text, /@ good.example:8080\/dock\/main.sh\n[^@]*is listed by report/);
    test.match(text, /@ c2.evil.example:8080\/\n[^@]*is listed by report/);
    test.match(text, /@ inside.example:8080\/\n[^@]*is not public/);
    await tells(
      test,
      { via: 'gateway', name: 'good.example:8080/dock/main.sh', type: 'url', action: 'blocked' },
      'URL',
    );
    const denied = await inside(fetch('other.example:8080/'), ...proxy, '--network', 'deny');
    test.match(denied, /is not allowed from this network/, 'the allowlist of the network holds there, too');
  });

  await t.test('the table is lost: it comes back', async (test) => {
    await must('nft', ['flush', 'ruleset']);
    test.ok(await until(async () => (await cli('show')).code === 0, 10_000, 20), 'back');
    await tells(
      test,
      { kind: 'notice', message: `the nftables table ${TABLE} was gone; it is back` },
      'told',
    );
    test.match(await inside(`${get('198.51.100.66')}; ${get('198.51.100.10')}`), /after \d{1,3} ms[^]*hello/);
    await must('nft', ['flush', 'chain', 'inet', TABLE, 'forward']);
    const back = async (): Promise<boolean> =>
      refused('198.51.100.66').test(await inside(get('198.51.100.66')));
    test.ok(await until(back, 10_000), 'and so do its rules');
  });

  await t.test(
    '10,000 connections while lists and tables are replaced: no leak, no false refusal',
    async (test) => {
      const burst = await startHost(
        new URL('../support/burst.js', import.meta.url),
        ['10000', '198.51.100.66:8080=refused', '198.51.100.10:8080=open', '198.51.100.130:8080=refused'],
        { outer: 'bwin', inner: 'eth0', addresses: [`${bridge.prefix}.200/24`], via: gateway },
      );
      await must('ip', ['link', 'set', 'bwin', 'master', bridge.name]);
      const nft = (verb: string, address: string): Promise<Outcome> =>
        run('nft', [verb, 'element', 'inet', TABLE, 'block4', `{ ${address} }`]);
      let reloads = 0;
      let replaced = 0;
      // A first connection must not wait for the bridge to learn.
      burst.begin();
      while (burst.lines.length === 0 && burst.child.exitCode === null) {
        const others = Array.from({ length: 200 + (reloads % 7) }, (_, index) =>
          listed('ipv4', `203.0.${reloads % 100}.${index}`),
        );
        const single = `203.2.${reloads % 100}.7`;
        list([...LISTED, ...others, listed('ipv4', `203.1.${reloads % 100}.0/25`), listed('ipv4', single)]);
        if (!(await until(async () => (await nft('get', single)).code === 0, 10_000, 5))) break;
        reloads++;
        // Then the next list cannot take it out, and the whole table is replaced.
        if (reloads % 2 === 0 && (await nft('delete', single)).code === 0) replaced++;
      }
      const result = JSON.parse(burst.lines[0] ?? '{}') as object;
      test.same(result, { wrong: 0, open: 3333, refused: 6667, first: '' });
      test.ok(reloads >= 5 && replaced >= 2, `${reloads} reloads, ${replaced} of them of the whole table`);
      list(LISTED);
    },
  );

  await t.test('alert: nothing is refused, everything is told', async (test) => {
    test.equal(await stop(), 0);
    test.match(
      await inside(get('198.51.100.66')),
      refused('198.51.100.66'),
      'without the process the table still holds',
    );
    configure('alert');
    await start();
    const text = await inside(`${get('198.51.100.66')}; nslookup -type=a c2.evil.example 198.51.100.54`);
    test.match(text, /hello 198.51.100.66[^]*198.51.100.20/);
    test.match(await inside(get('198.51.100.10'), '--network', 'deny'), /hello/);
    await tells(
      test,
      { kind: 'attempt', action: 'observed', via: 'address', destination: '198.51.100.66' },
      'address',
    );
    await tells(test, { kind: 'attempt', action: 'observed', via: 'dns', name: 'c2.evil.example' }, 'name');
    await tells(
      test,
      { kind: 'attempt', action: 'observed', via: 'policy', destination: '198.51.100.10' },
      'policy',
    );
  });

  await t.test('remove takes everything away', async (test) => {
    const running = await cli('remove');
    test.equal(running.code, 1);
    test.match(running.stderr, /would put the table back: stop it first/);
    test.match(await cli('apply'), { code: 1, stderr: /stop it first/ });
    test.equal(await stop(), 0);
    test.equal((await cli('remove')).stdout, `table inet ${TABLE} is gone\n`);
    test.notMatch((await run('nft', ['list', 'tables'])).stdout, /breakwater/);
    test.match(await cli('remove'), { code: 0, stdout: /^there was no table/ });
    test.match(await inside(get('198.51.100.66')), /hello/);
  });
}
