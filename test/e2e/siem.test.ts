import t, { type Test } from 'tap';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startTrialEngine } from '../../src/trial-engine/engine.js';
import { killGroup, run, sleep, until } from '../support/command.js';
import { freePort } from '../support/free-port.js';
import { runGuard, type GuardProcess } from '../support/guard-process.js';
import {
  isThere,
  network,
  type Place,
  RECEIVERS,
  startReceiver,
  stopReceiver,
  tools,
} from '../support/syslog-servers.js';

t.setTimeout(560_000);

// A real rsyslog and a real syslog-ng get the journal of a writer that is killed five times, over a network that is cut, while
// the receiver is stopped and started.

const writer = fileURLToPath(new URL('../support/sink-writer.js', import.meta.url));
/** Events that took effect, for each receiver. */
const EVENTS = 100_000;
/** The receiver is stopped and started so many times, each time when it has got so many bytes more. */
const STOPS = 8;
const BETWEEN_STOPS = 4 * 2 ** 20;

interface Scene {
  readonly journal: string;
  readonly place: Place;
  /** Where the receiver is reached; connections can be cut on the way. */
  readonly url: string;
  readonly cut: () => void;
  /** Stops and starts the receiver in mid-stream, until `STOPS` or the end of the scene. */
  readonly stops: () => number;
  /** Stops the receiver for good. */
  readonly end: () => Promise<void>;
}

async function setUp(t: Test, name: string, tls: boolean): Promise<Scene> {
  const directory = mkdtempSync(join(tmpdir(), 'bw-siem-'));
  const journal = join(directory, 'journal');
  mkdirSync(journal);
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const keys = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'];
  const files = ['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', join(directory, 'key.pem'), '-out'];
  t.equal((await run('openssl', [...keys, ...files, join(directory, 'cert.pem')])).code, 0);
  const place = { directory, tls, port: await freePort(), out: join(directory, 'out.log') };
  const command = RECEIVERS[name]!(place);
  let receiver = await startReceiver(place.port, command);
  t.teardown(() => killGroup(receiver));
  const { port, cut } = await network(t, place.port);
  let isOver = false;
  let stops = 0;
  const stopping = (async () => {
    for (let due = BETWEEN_STOPS; stops < STOPS; due = sizeOf(place.out) + BETWEEN_STOPS) {
      await until(() => isOver || sizeOf(place.out) >= due, 600_000, 5);
      if (isOver) return;
      await stopReceiver(receiver);
      receiver = await startReceiver(place.port, command);
      stops += 1;
    }
  })();
  t.teardown(() => (isOver = true));
  const end = async (): Promise<void> => {
    isOver = true;
    await stopping;
    await stopReceiver(receiver);
  };
  const url = `${tls ? 'tls' : 'tcp'}://127.0.0.1:${port}`;
  return { journal, place, url, cut, stops: () => stops, end };
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

/** What is on record is at the receiver, byte for byte. @returns ids that are there. */
function compare(t: Test, name: string, { journal, place, stops }: Scene): Set<string> {
  const lines = new Map<string, string>();
  for (const file of readdirSync(journal).filter((one) => /^\d+\.jsonl$/.test(one))) {
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
  const twice = received.length - got.size;
  t.comment(`${name}: ${lines.size} records, ${twice} came twice, with equal ids; ${stops()} stops`);
  return got;
}

async function prove(t: Test, name: string, tls: boolean): Promise<void> {
  const scene = await setUp(t, name, tls);
  const told = new Set<string>();
  const write = (events: number): { child: ChildProcess; ended: Promise<number | null> } => {
    const ca = join(scene.place.directory, 'cert.pem');
    const args = ['--enable-source-maps', writer, scene.journal, scene.url, ca, String(events)];
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
    t.ok(await until(() => told.size > before + (kill * EVENTS) / 25, 60_000, 5), `busy, time ${kill}`);
    if (kill === 2 || kill === 4) scene.cut();
    child.kill('SIGKILL');
    await ended;
  }
  const last = write(EVENTS - told.size);
  await until(() => told.size > EVENTS * 0.9, 60_000, 5);
  scene.cut();
  t.equal(await last.ended, 0, 'the last writer delivered all of it');
  t.ok(scene.stops() >= 3, 'the receiver was stopped in mid-stream');
  await scene.end();
  const got = compare(t, name, scene);
  t.strictSame(
    [...told].filter((call) => !got.has(`${call}.o`)),
    [],
    `all ${told.size} that took effect`,
  );
  t.ok(told.size >= EVENTS);
}

/** Starts the guard itself, with a journal and a syslog sink; resolves when it listens. */
function startGuard(t: Test, scene: Scene, port: number, upstream: string): Promise<GuardProcess> {
  const { directory, tls } = scene.place;
  const sink = {
    ...{ name: 'siem', type: 'syslog', url: scene.url, ...(tls ? { tls: { ca: 'cert.pem' } } : {}) },
    ...{ batch: { interval: '20ms' }, retry: { min: '20ms', max: '200ms' } },
    confirm: { interval: '200ms', settle: '1s' },
  };
  const audit = { journal: 'journal', rotate: { size: '1MiB' }, sinks: [sink] };
  return runGuard(t, directory, { port, upstream, audit });
}

/** Changes and reads with a name each, one after the other, until `isOver`. Adds the names that got an answer. */
async function client(port: number, name: string, answered: Set<string>, isOver: () => boolean) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const call = (method: string, path: string, body: string): Promise<number> =>
    new Promise((resolve) => {
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
      const sent = request({ port, host: '127.0.0.1', agent, method, path, headers }, (answer) => {
        answer
          .resume()
          .on('end', () => resolve(answer.statusCode ?? 0))
          .on('error', () => resolve(0));
      });
      sent.on('error', () => resolve(0));
      sent.end(body);
    });
  for (let n = 0; !isOver(); n++) {
    const unique = `${name}-${n}`;
    const status =
      n % 2 === 0
        ? await call('POST', `/v1.41/containers/create?name=${unique}`, '{"Image":"alpine"}')
        : await call('GET', `/v1.41/containers/${unique}/json`, '');
    if (status > 0) answered.add(unique);
    else await sleep(5);
  }
  agent.destroy();
}

/** Who got an answer finds the decision at the receiver, however often the guard itself was killed. */
async function proveGuard(t: Test, name: string): Promise<void> {
  const scene = await setUp(t, name, true);
  const port = await freePort();
  const answered = new Set<string>();
  const engine = await startTrialEngine();
  t.teardown(() => engine.close());
  let guard = await startGuard(t, scene, port, engine.url);
  let isOver = false;
  t.teardown(() => (isOver = true));
  const clients = Array.from({ length: 8 }, (_, n) => client(port, `job${n}`, answered, () => isOver));
  for (let kill = 1; kill <= 5; kill++) {
    const before = answered.size;
    t.ok(await until(() => answered.size > before + kill * 200, 60_000, 5), `busy, time ${kill}`);
    if (kill % 2 === 0) scene.cut();
    await guard.kill('SIGKILL');
    guard = await startGuard(t, scene, port, engine.url);
  }
  const before = answered.size;
  t.ok(await until(() => answered.size > before + 1_000, 60_000, 5));
  isOver = true;
  await Promise.all(clients);
  const cursor = join(scene.journal, 'cursor-siem.json');
  const isDelivered = (): boolean => {
    if (!existsSync(cursor)) return false;
    const { seq } = JSON.parse(readFileSync(cursor, 'utf8')) as { seq: number };
    const last = readdirSync(scene.journal)
      .filter((one) => /^\d+\.jsonl$/.test(one))
      .sort()
      .at(-1)!;
    const record = readFileSync(join(scene.journal, last), 'utf8').trimEnd().split('\n').at(-1)!;
    return seq === (JSON.parse(record) as { seq: number }).seq;
  };
  t.ok(await until(isDelivered, 60_000, 100), 'delivered');
  await scene.end();
  await guard.kill('SIGKILL');
  compare(t, `the guard and ${name}`, scene);
  const records = readFileSync(scene.place.out, 'utf8')
    .split('\n')
    .filter((line) => line.includes('"event":"decision"'))
    .flatMap((line) => line.match(/job\d+-\d+/g) ?? []);
  const named = new Set(records);
  t.strictSame(
    [...answered].filter((one) => !named.has(one)),
    [],
    `the decisions of all ${answered.size} calls that got an answer`,
  );
}

if (isThere) {
  for (const name of Object.keys(RECEIVERS)) {
    for (const tls of [false, true]) {
      await t.test(`${name} over ${tls ? 'TLS' : 'TCP'}`, (t) => prove(t, name, tls));
    }
    await t.test(`the guard itself, and ${name} over TLS`, (t) => proveGuard(t, name));
  }
} else if (process.env['BREAKWATER_E2E'] === 'required') {
  t.fail(`no rsyslog and syslog-ng in ${tools}; get them with test/support/fetch-syslog.sh`);
} else {
  const how = `NO rsyslog AND syslog-ng in ${tools}: sh test/support/fetch-syslog.sh ${tools}`;
  await t.test('rsyslog and syslog-ng', { skip: how }, async () => {});
}
