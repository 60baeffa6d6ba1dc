import t from 'tap';
import { request, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { run, sleep, until } from '../support/command.js';
import { get, missing, send, startEngine, type Engine } from '../support/engine.js';
import { selfCheck, socketsFall, startGuard, type Guard } from '../support/guard.js';
import { startRecorder, type Recorder } from '../support/recorder.js';

/** MiB. From version 22 on, V8 gives new objects more room before it collects any. */
const MAX_MEMORY = Number(process.versions.node.split('.')[0]) < 22 ? 200 : 300;

// Long, large and broken streams through the guard, in front of a real dockerd. Between the two stands a byte relay
// that counts the daemon's connections and can misbehave.

const MIB = 1024 * 1024;
const LARGE = 1024 * MIB;

const skip = missing();
if (skip !== undefined) {
  t.comment(skip);
  t.plan(0, skip);
} else {
  await main();
}

interface Bench {
  readonly engine: Engine;
  readonly recorder: Recorder;
  readonly guard: Guard;
  /** Path of the guard's unix socket. */
  readonly socket: string;
}

async function main(): Promise<void> {
  t.setTimeout(280_000);
  const engine = await startEngine();
  const recorder = await startRecorder(join(engine.dir, 'recorder.sock'), engine.socket);
  const guard = await startGuard({ upstream: recorder.host });
  t.teardown(async () => {
    await guard.stop();
    await recorder.close();
    await engine.stop();
  });
  const bench: Bench = { engine, recorder, guard, socket: guard.unix.socket };
  await container(engine, 'quiet', ['sleep', '600']);
  await container(engine, 'talker', ['sh', '-c', 'while :; do echo tick; sleep 0.2; done']);

  const silent = silence(bench);
  await leaving(bench);
  await silent;
  await largeTransfers(bench);
  await backPressure(bench);
  await cutStreams(bench);
  await expectContinue(bench);
  if (selfCheck) return t.comment('self-check: the guard-only tests are left out');
  await deadDaemons(engine);
  await gracefulStop(engine);
}

/** Events and `logs -f` without a byte for 15 s stay open, and then still deliver. */
function silence({ engine, socket }: Bench): Promise<unknown> {
  return t.test('events and logs -f stay open in silence', { timeout: 60_000 }, async (t) => {
    await container(engine, 'silent', ['sh', '-c', 'sleep 16; echo late; sleep 600']);
    const events = await open(socket, '/v1.41/events?filters={"container":["nothing-yet"]}');
    const logs = await open(socket, '/v1.41/containers/silent/logs?follow=1&stdout=1');
    const live = await open(socket, '/v1.41/events?filters={"container":["born-late"]}');
    await sleep(15_000);
    t.equal(events.ended(), undefined, 'events still open after 15 s without a byte');
    t.equal(logs.ended(), undefined, 'logs -f still open');
    await container(engine, 'born-late', ['true']);
    t.ok(await until(() => live.text().includes('"create"'), 3000), 'an event arrives after the silence');
    t.ok(await until(() => logs.text().includes('late'), 5000), 'a line arrives after the silence');
    for (const one of [events, logs, live]) one.leave();
  });
}

/** A client that leaves must free the daemon's side within a second: else containers cannot stop, sockets leak. */
async function leaving({ recorder, guard, socket }: Bench): Promise<void> {
  const streams = [
    ['events', '/v1.41/events?filters={"container":["nobody"]}'],
    ['logs -f of a silent container', '/v1.41/containers/quiet/logs?follow=1&stdout=1'],
    ['logs -f of a talking container', '/v1.41/containers/talker/logs?follow=1&stdout=1'],
    ['stats', '/v1.41/containers/quiet/stats'],
  ] as const;
  await t.test('a client that leaves closes the daemon side', { timeout: 60_000 }, async (t) => {
    await sleep(1000); // what earlier tests left is gone by then
    for (const [name, path] of streams) {
      const sockets = guard.sockets();
      const mark = `${path.split('?')[0]}`;
      const left = recorder.carrying(mark);
      const client = await open(socket, path);
      t.ok(await until(() => recorder.carrying(mark) > left, 2000), `${name}: the daemon serves it`);
      await sleep(300);
      const start = Date.now();
      client.leave();
      t.ok(await until(() => recorder.carrying(mark) <= left, 1000, 10), `${name}: closed within 1 s`);
      t.comment(`${name}: ${Date.now() - start} ms`);
      t.ok(await socketsFall(guard, sockets, 1000), `${name}: the guard holds no more sockets than before`);
    }
    for (const [name, path] of [
      ['attach', '/v1.41/containers/talker/attach?stream=1&stdout=1'],
      ['attach of a silent container', '/v1.41/containers/quiet/attach?stream=1&stdout=1&stdin=1'],
    ] as const) {
      const sockets = guard.sockets();
      const raw = await hijack(socket, path);
      await sleep(200);
      raw.destroy();
      // A closed and a half-closed unix socket look alike to dockerd, so the guard's own sockets are counted.
      t.ok(await socketsFall(guard, sockets, 1000), `${name}: the guard let go of both within 1 s`);
    }
  });
}

/** 1 GiB up and down in constant memory. */
async function largeTransfers({ engine, recorder, guard, socket }: Bench): Promise<void> {
  await t.test('1 GiB up and down in constant memory', { timeout: 150_000 }, async (t) => {
    await container(engine, 'store', ['true']);
    const before = guard.memory();
    let start = Date.now();
    const status = await upload(socket, '/v1.41/containers/store/archive?path=/tmp', tarOfZeros(LARGE));
    t.equal(status, 200, 'PUT archive of 1 GiB');
    t.comment(
      `up: ${Math.round(1024 / ((Date.now() - start) / 1000))} MiB/s, ${JSON.stringify(guard.memory())}`,
    );
    t.ok(recorder.forwarded() > LARGE, 'the bytes went to the daemon');
    recorder.forget();
    start = Date.now();
    const down = await download(socket, '/v1.41/containers/store/archive?path=/tmp/zeros');
    t.ok(down.complete, 'GET archive of 1 GiB ends cleanly');
    t.ok(down.bytes > LARGE, `all of it: ${down.bytes}`);
    const { now, peak } = guard.memory();
    t.comment(
      `down: ${Math.round(1024 / ((Date.now() - start) / 1000))} MiB/s, ${JSON.stringify({ now, peak })}`,
    );
    t.ok(peak < MAX_MEMORY, `the guard's memory peaked at ${peak} MiB (before: ${before.peak})`);
    t.ok(peak - before.peak < 160, 'and grew by far less than what went through');
  });
}

/** Whoever does not read, or a daemon that does not, must not fill the guard's memory. */
async function backPressure({ recorder, guard, socket }: Bench): Promise<void> {
  await t.test('back-pressure', { timeout: 60_000 }, async (t) => {
    recorder.forget();
    const before = guard.memory().now;
    const raw = connect(socket);
    raw.on('error', () => {});
    raw.write('GET /v1.41/containers/store/archive?path=/tmp/zeros HTTP/1.1\r\nHost: docker\r\n\r\n');
    await new Promise((resolve) => raw.once('readable', resolve)); // and never read
    await sleep(2500);
    const taken = recorder.received();
    t.ok(
      taken < 64 * MIB,
      `a client that does not read: ${Math.round(taken / MIB)} MiB were taken off the daemon`,
    );
    t.ok(guard.memory().now - before < 80, `memory ${before} -> ${guard.memory().now} MiB`);
    raw.destroy();

    // The other way: a daemon that never reads the body.
    recorder.mode = 'stall';
    let accepted = 0;
    const body = tarOfZeros(LARGE);
    const counted = new Readable({
      read: () => {
        const chunk = body.read() as Buffer | null;
        if (chunk === null) return void body.once('readable', () => counted.push(Buffer.alloc(0)));
        accepted += chunk.length;
        counted.push(chunk);
      },
    });
    const sending = upload(socket, '/v1.41/containers/store/archive?path=/tmp', counted).catch(() => 0);
    await sleep(2500);
    t.ok(accepted < 64 * MIB, `a daemon that does not read: ${Math.round(accepted / MIB)} MiB were accepted`);
    recorder.mode = 'relay';
    counted.destroy(new Error('done'));
    await sending;
  });
}

/** A stream that the daemon's side cuts must not look complete to the client. */
async function cutStreams({ recorder, socket }: Bench): Promise<void> {
  await t.test('a daemon that resets mid-stream', { timeout: 30_000 }, async (t) => {
    recorder.mode = 'cut';
    recorder.cutAfter = 4 * MIB;
    const cut = await download(socket, '/v1.41/containers/store/archive?path=/tmp/zeros');
    t.notOk(cut.complete, 'a cut download is an error for the client, not a shorter file');
    recorder.cutAfter = 1;
    const none = await download(socket, '/v1.41/containers/json');
    t.notOk(none.complete && none.status < 400, `cut before the answer: ${none.status || 'connection cut'}`);
    recorder.mode = 'relay';
    const answer = await get(socket, '/v1.41/containers/json');
    t.equal(answer.status, 200, 'and the next call works');
  });
}

async function expectContinue({ engine, socket }: Bench): Promise<void> {
  await t.test('Expect: 100-continue', { timeout: 30_000 }, async (t) => {
    const file = join(engine.dir, 'small.tar');
    const { writeFileSync } = await import('node:fs');
    writeFileSync(file, await collect(tarOfZeros(2 * MIB)));
    const url = 'http://docker/v1.41/containers/store/archive?path=/tmp';
    const args = [
      '-sv',
      '--max-time',
      '15',
      '--unix-socket',
      socket,
      '-H',
      'Expect: 100-continue',
      '-T',
      file,
    ];
    const outcome = await run('curl', [...args, '-o', '/dev/null', '-w', '%{http_code}', url]);
    t.match(outcome.stderr, /< HTTP\/1\.1 100 Continue/i, 'curl gets its 100');
    t.equal(outcome.stdout, '200', 'and the upload succeeds');
    t.ok(!/Done waiting for 100-continue/.test(outcome.stderr), 'without having waited it out');
  });
}

/** Absent, mute and hung daemons answer in bounded time. */
async function deadDaemons(engine: Engine): Promise<void> {
  await t.test('absent and hung daemons', { timeout: 60_000 }, async (t) => {
    const recorder = await startRecorder(join(engine.dir, 'dead.sock'), engine.socket);
    const attachPath = '/v1.41/containers/x/attach?stream=1&stdout=1';
    const config = { upstream: { timeout: '1s', connectTimeout: '1s' } };
    const hung = await startGuard({ upstream: recorder.host, config });
    recorder.mode = 'hang';
    let start = Date.now();
    const late = await send(hung.unix.socket, 'GET', '/v1.41/containers/json');
    t.equal(late.status, 504, 'a daemon that never answers: 504');
    t.match(late.body.toString(), /"message"/, "with Docker's error shape");
    t.ok(Date.now() - start < 5000, `in ${Date.now() - start} ms`);
    start = Date.now();
    const hijacked = await send(hung.unix.socket, 'POST', attachPath, '', 8000).then(
      (answer) => answer.status,
      (error: unknown) => String(error),
    );
    t.equal(hijacked, 504, `hijack on a hung daemon: ${hijacked} in ${Date.now() - start} ms`);
    recorder.mode = 'relay';
    t.equal((await get(hung.unix.socket, '/_ping')).status, 200, 'it recovers with the daemon');
    await hung.stop();
    await recorder.close();

    const absent = await startGuard({ upstream: `unix://${join(engine.dir, 'no-such.sock')}`, config });
    const answer = await send(absent.unix.socket, 'GET', '/v1.41/containers/json');
    t.equal(answer.status, 502, 'no daemon: 502');
    t.match(
      answer.body.toString(),
      /"message":"[^"]*(engine|daemon|upstream|Docker)/i,
      answer.body.toString().trim(),
    );
    const attach = await send(absent.unix.socket, 'POST', attachPath);
    t.equal(attach.status, 502, 'no daemon, hijack: 502');
    await absent.stop();
  });
}

async function gracefulStop(engine: Engine): Promise<void> {
  await t.test('SIGTERM: refuse new, finish running, cut streams, exit 0', { timeout: 60_000 }, async (t) => {
    const recorder = await startRecorder(join(engine.dir, 'slow.sock'), engine.socket);
    const guard = await startGuard({ upstream: recorder.host, config: { limits: { drain: '3s' } } });
    const { socket } = guard.unix;
    const events = await open(socket, '/v1.41/events');
    const attached = await hijack(socket, '/v1.41/containers/quiet/attach?stream=1&stdout=1');
    const attachedEnd = new Promise<void>((resolve) => attached.on('close', resolve).resume());
    recorder.delay = 1200;
    const running = get(socket, '/v1.41/version');
    await sleep(300);
    const start = Date.now();
    guard.kill('SIGTERM');
    await sleep(300);
    const refused = await get(socket, '/_ping').then(
      (answer) => answer.status,
      (error: NodeJS.ErrnoException) => error.code,
    );
    t.ok(refused !== 200, `a new call is refused: ${refused}`);
    t.equal((await running).status, 200, 'the running call finishes');
    const code = await guard.exited(6000);
    t.equal(code, 0, `exit 0 after ${Date.now() - start} ms (drain deadline 3 s)`);
    t.ok(await until(() => events.ended() !== undefined, 1000), `the stream was cut: ${events.ended()}`);
    t.equal(events.ended(), 'cut', 'and not ended as if complete');
    await attachedEnd;
    await guard.stop();
    await recorder.close();
  });
}

// --- clients ---

interface Stream {
  text(): string;
  /** `clean` or `cut` once it is over. */
  ended(): 'clean' | 'cut' | undefined;
  leave(): void;
}

/** Opens a streaming GET; resolves with the response head, or for dockerd's late heads after 500 ms. */
function open(socket: string, path: string): Promise<Stream> {
  return new Promise((resolve, reject) => {
    let text = '';
    let end: 'clean' | 'cut' | undefined;
    const outgoing = request({
      socketPath: socket,
      path: encodeURI(path),
      agent: false,
      headers: { host: 'docker' },
    });
    const stream: Stream = { text: () => text, ended: () => end, leave: () => outgoing.destroy() };
    // 20.10 sends the head of `logs -f` only with the first line.
    const timer = setTimeout(() => resolve(stream), 500);
    outgoing.on('response', (incoming) => {
      incoming.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
      incoming.on('close', () => (end ??= incoming.complete ? 'clean' : 'cut'));
      incoming.on('error', () => (end ??= 'cut'));
      clearTimeout(timer);
      resolve(stream);
    });
    outgoing.on('error', (error) => {
      end ??= 'cut';
      reject(error);
    });
    outgoing.end();
  });
}

/** POST with `Upgrade: tcp`, as the CLI does; resolves with the raw connection after the 101. */
function hijack(socket: string, path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const raw = connect(socket);
    let head = '';
    raw.on('error', reject);
    raw.write(
      `POST ${path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n`,
    );
    raw.on('data', function read(chunk: Buffer) {
      head += chunk.toString('latin1');
      if (!head.includes('\r\n\r\n')) return;
      raw.off('data', read);
      if (head.startsWith('HTTP/1.1 101')) resolve(raw);
      else reject(new Error(`no 101: ${head}`));
    });
  });
}

interface Download {
  readonly status: number;
  readonly bytes: number;
  readonly complete: boolean;
}

function download(socket: string, path: string): Promise<Download> {
  return new Promise((resolve) => {
    let bytes = 0;
    let incoming: IncomingMessage | undefined;
    const done = (): void =>
      resolve({ status: incoming?.statusCode ?? 0, bytes, complete: incoming?.complete === true });
    const outgoing = request(
      { socketPath: socket, path, agent: false, headers: { host: 'docker' } },
      (answer) => {
        incoming = answer;
        answer.on('data', (chunk: Buffer) => (bytes += chunk.length));
        answer.on('close', done);
        answer.on('error', () => {});
      },
    );
    outgoing.on('error', done);
    outgoing.end();
  });
}

function upload(socket: string, path: string, body: Readable): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        socketPath: socket,
        path,
        method: 'PUT',
        agent: false,
        headers: { host: 'docker', 'content-type': 'application/x-tar' },
      },
      (incoming) => {
        incoming.resume();
        incoming.on('end', () => resolve(incoming.statusCode ?? 0));
      },
    );
    outgoing.on('error', reject);
    body.on('error', (error) => outgoing.destroy(error));
    body.pipe(outgoing);
  });
}

/** A tar archive of one file `zeros`, made on the fly. */
function tarOfZeros(size: number): Readable {
  const header = Buffer.alloc(512);
  header.write('zeros', 0);
  header.write('0000644\0' + '0000000\0' + '0000000\0', 100);
  header.write(size.toString(8).padStart(11, '0') + '\0', 124);
  header.write('00000000000\0', 136);
  header.write('        ' + '0', 148);
  header.write('ustar\0' + '00', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(sum.toString(8).padStart(6, '0') + '\0 ', 148);
  const block = Buffer.alloc(MIB);
  return Readable.from(
    (function* () {
      yield header;
      for (let left = size; left > 0; left -= block.length)
        yield block.subarray(0, Math.min(left, block.length));
      yield Buffer.alloc(1024);
    })(),
    { objectMode: false, highWaterMark: 2 * MIB },
  );
}

async function collect(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function container(engine: Engine, name: string, command: readonly string[]): Promise<void> {
  const body = JSON.stringify({ Image: 'alpine', Cmd: command, OpenStdin: true });
  const created = await new Promise<number>((resolve, reject) => {
    const outgoing = request(
      {
        socketPath: engine.socket,
        method: 'POST',
        path: `/v1.41/containers/create?name=${name}`,
        agent: false,
        headers: {
          host: 'docker',
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
        },
      },
      (incoming) => incoming.resume().on('end', () => resolve(incoming.statusCode ?? 0)),
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
  if (created !== 201) throw new Error(`fixture ${name}: ${created}`);
  await send(engine.socket, 'POST', `/v1.41/containers/${name}/start`);
}
