import t, { type Test } from 'tap';
import { spawn, type ChildProcess } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { killGroup, run, sleep, until } from '../support/command.js';
import { freePort } from '../support/guard.js';

// A real rsyslog and a real syslog-ng get the journal of a writer that is killed five times, over a network that is cut, while
// the receiver is stopped and started.

const tools =
  process.env['BREAKWATER_SYSLOG'] ?? join(process.env['HOME'] ?? '/root', '.cache/breakwater/syslog');
const isThere = ['rsyslogd', 'syslog-ng'].every((name) => existsSync(join(tools, 'usr/sbin', name)));
const lib = join(tools, 'usr/lib/x86_64-linux-gnu');
const env = {
  LD_LIBRARY_PATH: [lib, join(tools, 'lib/x86_64-linux-gnu'), join(tools, 'usr/lib/syslog-ng')].join(':'),
};
const writer = fileURLToPath(new URL('../support/sink-writer.js', import.meta.url));
const EVENTS = 20_000;

interface Place {
  readonly directory: string;
  readonly port: number;
  readonly out: string;
  readonly tls: boolean;
}

const RECEIVERS: Readonly<Record<string, (place: Place) => readonly string[]>> = {
  rsyslog({ directory, port, out, tls }) {
    const file = join(directory, 'rsyslog.conf');
    const files = `defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="${directory}/cert.pem" defaultNetstreamDriverCertFile="${directory}/cert.pem" defaultNetstreamDriverKeyFile="${directory}/key.pem"`;
    const driver = 'StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon"';
    writeFileSync(
      file,
      `global(workDirectory="${directory}" maxMessageSize="128k" parser.escapeControlCharactersOnReceive="off" ${tls ? files : ''})
module(load="imtcp" ${tls ? driver : ''})
template(name="raw" type="string" string="%msg:::drop-last-lf%\\n")
input(type="imtcp" address="127.0.0.1" port="${port}" ruleset="in")
ruleset(name="in") { action(type="omfile" file="${out}" template="raw") }
`,
    );
    const modules = `${join(lib, 'rsyslog')}/`;
    return ['rsyslogd', '-n', '-f', file, '-i', join(directory, 'r.pid'), '-M', modules];
  },
  'syslog-ng'({ directory, port, out, tls }) {
    const file = join(directory, 'syslog-ng.conf');
    const keys = `tls(key-file("${directory}/key.pem") cert-file("${directory}/cert.pem") peer-verify(optional-untrusted))`;
    writeFileSync(
      file,
      `@version: 3.35
options { log-msg-size(131072); stats-freq(0); };
source in { syslog(ip("127.0.0.1") port(${port}) transport("${tls ? 'tls' : 'tcp'}") ${tls ? keys : ''} flags(no-multi-line)); };
destination out { file("${out}" template("$MSG\\n")); };
log { source(in); destination(out); flags(flow-control); };
`,
    );
    return [
      ...['syslog-ng', '-F', '--no-caps', '-f', file, '--module-path', join(tools, 'usr/lib/syslog-ng/3.38')],
      ...[
        '-R',
        join(directory, 'ng.persist'),
        '-p',
        join(directory, 'ng.pid'),
        '-c',
        join(directory, 'ng.ctl'),
      ],
    ];
  },
};

async function startReceiver(place: Place, command: readonly string[]): Promise<ChildProcess> {
  const [name = '', ...args] = command;
  const child = spawn(join(tools, 'usr/sbin', name), args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
    detached: true,
  });
  const isUp = await until(
    () =>
      new Promise<boolean>((resolve) => {
        const socket = connect(place.port, '127.0.0.1', () => resolve(true)).on('error', () =>
          resolve(false),
        );
        socket.once('connect', () => socket.end());
      }),
    10_000,
  );
  if (!isUp) throw new Error(`${name} did not start`);
  return child;
}

async function stopReceiver(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

/** A network that can be cut: connections are reset, as they are when a way is gone. */
async function network(t: Test, port: number): Promise<{ port: number; cut: () => void }> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one);
      one.pipe(other);
      one.on('error', () => other.resetAndDestroy()).on('close', () => open.delete(one));
    }
  });
  const own = await freePort();
  await new Promise<void>((resolve) => server.listen(own, '127.0.0.1', resolve));
  const cut = (): void => {
    for (const one of open) one.resetAndDestroy();
  };
  t.teardown(() => {
    cut();
    server.close();
  });
  return { port: own, cut };
}

async function prove(t: Test, name: string, tls: boolean): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'bw-siem-'));
  const journal = join(directory, 'journal');
  mkdirSync(journal);
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const keys = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'];
  const files = ['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', join(directory, 'key.pem'), '-out'];
  t.equal((await run('openssl', [...keys, ...files, join(directory, 'cert.pem')])).code, 0);
  const place = { directory, tls, port: await freePort(), out: join(directory, 'out.log') };
  const command = RECEIVERS[name]!(place);
  let receiver = await startReceiver(place, command);
  t.teardown(() => killGroup(receiver));
  const { port, cut } = await network(t, place.port);
  const url = `${tls ? 'tls' : 'tcp'}://127.0.0.1:${port}`;

  const told = new Set<string>();
  const write = (events: number): { child: ChildProcess; ended: Promise<number | null> } => {
    const args = ['--enable-source-maps', writer, journal, url, join(directory, 'cert.pem'), String(events)];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
    let rest = '';
    child.stdout.setEncoding('utf8').on('data', (piece: string) => {
      const lines = (rest + piece).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) told.add(line);
    });
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    t.teardown(() => killGroup(child));
    return { child, ended };
  };
  for (let kill = 1; kill <= 5; kill++) {
    const before = told.size;
    const { child, ended } = write(EVENTS);
    t.ok(await until(() => told.size > before + (kill * EVENTS) / 50, 20_000, 5), `busy, time ${kill}`);
    if (kill === 2 || kill === 4) cut();
    if (kill === 3) {
      await stopReceiver(receiver);
      receiver = await startReceiver(place, command);
    }
    child.kill('SIGKILL');
    await ended;
  }
  const last = write(Math.max(1_000, EVENTS - told.size));
  await sleep(200);
  cut();
  t.equal(await last.ended, 0, 'the last writer delivered all of it');
  await stopReceiver(receiver);

  const lines = new Map<string, string>();
  for (const file of readdirSync(journal).filter((one) => one.endsWith('.jsonl'))) {
    for (const line of readFileSync(join(journal, file), 'utf8').split('\n').slice(0, -1)) {
      lines.set((JSON.parse(line) as { id: string }).id, line);
    }
  }
  const got = new Set<string>();
  let altered = 0;
  const received = readFileSync(place.out, 'utf8').split('\n').slice(0, -1);
  for (const text of received) {
    const line = text.trimStart();
    const id = /"id":"([^"]*)"/.exec(line)?.[1] ?? '';
    if (lines.get(id) === line) got.add(id);
    else altered += 1;
  }
  t.equal(altered, 0, 'none altered, none that is not on record');
  t.equal(got.size, lines.size, 'every record');
  t.strictSame(
    [...told].filter((call) => !got.has(`${call}.o`)),
    [],
    `all ${told.size} that took effect`,
  );
  t.ok(told.size >= EVENTS);
  t.comment(`${name}: ${lines.size} records, ${received.length - got.size} came twice, with equal ids`);
}

if (isThere) {
  for (const name of Object.keys(RECEIVERS)) {
    for (const tls of [false, true]) {
      await t.test(`${name} over ${tls ? 'TLS' : 'TCP'}`, (t) => prove(t, name, tls));
    }
  }
} else if (process.env['BREAKWATER_E2E'] === 'required') {
  t.fail(`no rsyslog and syslog-ng in ${tools}; get them with test/support/fetch-syslog.sh`);
} else {
  const how = `NO rsyslog AND syslog-ng in ${tools}: sh test/support/fetch-syslog.sh ${tools}`;
  await t.test('rsyslog and syslog-ng', { skip: how }, async () => {});
}
