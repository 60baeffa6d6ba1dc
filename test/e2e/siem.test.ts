import t, { type Test } from 'tap';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { killGroup, run, sleep, until } from '../support/command.js';
import { freePort } from '../support/guard.js';
import {
  isThere,
  network,
  RECEIVERS,
  startReceiver,
  stopReceiver,
  tools,
} from '../support/syslog-servers.js';

// A real rsyslog and a real syslog-ng get the journal of a writer that is killed five times, over a network that is cut, while
// the receiver is stopped and started.

const writer = fileURLToPath(new URL('../support/sink-writer.js', import.meta.url));
const EVENTS = 20_000;

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
