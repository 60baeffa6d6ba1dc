import t, { type Test } from 'tap';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTcp, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openJournal, type Journal } from '../../src/audit/journal.js';
import type { SinkConfig } from '../../src/audit/sinks/sink.js';
import { openSinks, type Sinks } from '../../src/audit/sinks/sinks.js';
import { sleep, until } from '../support/command.js';

const root = mkdtempSync(join(tmpdir(), 'bw-sinks-'));
t.teardown(() => rmSync(root, { recursive: true, force: true }));

let rooms = 0;
function journalIn(directory: string, needed: () => number = () => Infinity): Journal {
  return openJournal({
    directory,
    key: join(root, 'key.pem'),
    segmentSize: 64 * 1024,
    segmentAge: 86_400_000,
    retention: { size: 2 ** 30, age: 86_400_000, needed, onFull: 'block' },
    checkpointRecords: 100,
    checkpointInterval: 60_000,
    patience: 5_000,
    warn: () => {},
  });
}

const config = (url: string, other: Partial<SinkConfig>): SinkConfig => ({
  name: 's',
  type: 'webhook',
  url,
  format: 'breakwater',
  headers: {},
  tls: {},
  batch: { records: 50, bytes: 64 * 1024, interval: 5 },
  timeout: 400,
  retry: { min: 5, max: 40 },
  confirm: { records: 200, interval: 50, settle: 30 },
  facility: 13,
  index: '',
  acknowledge: false,
  labels: {},
  body: 'array',
  ...other,
});

async function write(journal: Journal, count: number): Promise<void> {
  for (let at = 0; at < count; at += 20) {
    const group = Array.from({ length: Math.min(20, count - at) }, (_, n) => {
      const call = `c${at + n}`;
      const base = { event: 'outcome', operation: 'SystemPing', status: 200, end: 'complete' } as const;
      return new Promise<void>((resolve, reject) =>
        journal.record({ ...base, call, duration: 1, bytesIn: 0, bytesOut: 0 }, (error) =>
          error === undefined ? resolve() : reject(error),
        ),
      );
    });
    await Promise.all(group);
  }
}

function linesOf(directory: string, journal: Journal): string[] {
  const lines = readFileSync(join(directory, '0000000000000001.jsonl'), 'utf8').split('\n').slice(0, -1);
  return journal.last() === lines.length ? lines : [];
}

function start(directory: string, journal: Journal, one: SinkConfig, log: string[] = []): Sinks {
  const where = { directory, last: () => journal.last() };
  const sinks = openSinks([one], where, { version: '0', host: 'h' }, (text) => void log.push(text));
  journal.onRecords(() => sinks.wake());
  return sinks;
}

const room = (): string => join(root, `journal-${(rooms += 1)}`);
const isDone = (sinks: Sinks): boolean => sinks.status().every((one) => one.behind === 0);
const listen = (server: Server): Promise<number> =>
  new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)),
  );

type Misbehaviour = (response: ServerResponse, taken: () => void) => void;

/** What a receiver does wrong, one after the other; then it works. */
const MISBEHAVIOUR: Readonly<Record<string, Misbehaviour>> = {
  'busy, for a second': (response) => response.writeHead(429, { 'retry-after': '1' }).end(),
  unavailable: (response) => response.writeHead(503).end(),
  'wrong key': (response) => response.writeHead(401).end(),
  redirects: (response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
  hangs: () => {},
  'hangs after it took them': (_response, taken) => taken(),
  'resets in the middle of the answer': (response, taken) => {
    taken();
    response
      .writeHead(200, { 'content-length': '100' })
      .write('half', () => response.socket?.resetAndDestroy());
  },
};

async function receiver(
  t: Test,
  answer: (body: string, response: ServerResponse, request: IncomingMessage) => void,
): Promise<string> {
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (piece: string) => (body += piece));
    request.on('end', () => answer(body, response, request));
  });
  const port = await listen(server);
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${port}/`;
}

await t.test('a webhook that does everything wrong gets every record, unaltered and in order', async (t) => {
  const got: string[] = [];
  const wrong = Object.values(MISBEHAVIOUR);
  const asked: number[] = [];
  const url = await receiver(t, (body, response) => {
    const take = (): void => void got.push(...body.split('\n').slice(0, -1));
    asked.push(performance.now());
    const one = wrong.shift();
    if (one !== undefined) return one(response, take);
    take();
    response.end();
  });
  const directory = room();
  const journal = journalIn(directory);
  const log: string[] = [];
  const sinks = start(directory, journal, config(url, { body: 'ndjson' }), log);
  await write(journal, 120);
  t.ok(await until(() => isDone(sinks), 10_000), JSON.stringify(sinks.status()));
  await sinks.stop(1_000);
  const lines = linesOf(directory, journal);
  t.ok(lines.length > 120);
  t.strictSame([...new Set(got)], lines, 'each one, byte for byte, in order');
  t.ok(asked[1]! - asked[0]! >= 950, 'Retry-After is honoured');
  t.match(log.join('\n'), /429[^]*503[^]*401[^]*302[^]*no answer within[^]*works again/);
  journal.close();
});

await t.test('Elasticsearch: partial failure, poison, and what was there already', async (t) => {
  const stored = new Map<string, string>();
  let busy = 3;
  const url = await receiver(t, (body, response) => {
    const lines = body.split('\n');
    const items: object[] = [];
    for (let at = 0; at + 1 < lines.length; at += 2) {
      const id = (JSON.parse(lines[at]!) as { create: { _id: string } }).create._id;
      let status = 201;
      if (id.includes('7.o')) status = 400;
      else if (stored.has(id)) status = 409;
      else if (at % 6 === 0 && busy > 0) status = 429;
      else stored.set(id, lines[at + 1]!);
      items.push({ create: { _id: id, status, error: { type: 'x', reason: 'no' } } });
    }
    busy -= 1;
    response.end(JSON.stringify({ errors: true, items }));
  });
  const directory = room();
  const journal = journalIn(directory);
  const sinks = start(directory, journal, config(url, { type: 'elasticsearch', format: 'ecs' }));
  await write(journal, 60);
  t.ok(await until(() => isDone(sinks), 10_000), JSON.stringify(sinks.status()));
  const refused = readFileSync(join(directory, 'refused-s.jsonl'), 'utf8').split('\n').slice(0, -1);
  t.equal(refused.length, 6, 'each once');
  t.equal(sinks.status()[0]!.refused, 6);
  t.equal(stored.size + refused.length, journal.last());
  await sinks.stop(1_000);
  journal.close();
});

await t.test('a receiver that takes nothing at all: nothing is put aside, retention waits', async (t) => {
  let isMended = false;
  let got = 0;
  const url = await receiver(t, (body, response) => {
    if (isMended) got += (JSON.parse(body) as unknown[]).length;
    response.writeHead(isMended ? 200 : 400).end();
  });
  const directory = room();
  const journal = journalIn(directory);
  const sinks = start(directory, journal, config(url, {}));
  await write(journal, 30);
  t.ok(await until(() => sinks.status()[0]!.error.startsWith('takes no record'), 5_000));
  t.equal(sinks.needed(), 1);
  isMended = true;
  t.ok(await until(() => isDone(sinks), 5_000));
  t.equal(sinks.needed(), journal.last() + 1);
  t.equal(sinks.status()[0]!.refused, 0);
  t.equal(got, journal.last());
  await sinks.stop(1_000);
  journal.close();
});

/** Reads octet counting. */
function messagesIn(bytes: Buffer): string[] {
  const found: string[] = [];
  for (let at = 0; ;) {
    const space = bytes.indexOf(0x20, at);
    const length = Number(bytes.toString('latin1', at, space));
    if (space < 0 || space + 1 + length > bytes.length) return found;
    found.push(bytes.toString('utf8', space + 1, space + 1 + length));
    at = space + 1 + length;
  }
}

await t.test('syslog over TCP: connections that die, a restart with the cursor', async (t) => {
  const got: string[] = [];
  let connections = 0;
  const open = new Set<Socket>();
  const server = createTcp((socket) => {
    const number = (connections += 1);
    open.add(socket);
    const pieces: Buffer[] = [];
    socket.on('error', () => {});
    // Reads nothing and dies; dies in the middle; ends without being asked; says nothing at the end.
    if (number === 1) return void socket.pause().setTimeout(50, () => socket.resetAndDestroy());
    socket.on('data', (piece) => {
      pieces.push(piece);
      if (number === 2) socket.resetAndDestroy();
      if (number === 3) socket.destroy();
    });
    socket.on('close', () => got.push(...messagesIn(Buffer.concat(pieces))));
  });
  const port = await listen(server);
  t.teardown(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const directory = room();
  const journal = journalIn(directory);
  const one = config(`tcp://127.0.0.1:${port}`, { type: 'syslog' });
  const first = start(directory, journal, one);
  await write(journal, 150);
  t.ok(await until(() => isDone(first), 10_000), JSON.stringify(first.status()));
  await first.stop(1_000);
  const before = connections;
  const second = start(directory, journal, one);
  await write(journal, 50);
  t.ok(await until(() => isDone(second), 10_000), JSON.stringify(second.status()));
  await second.stop(1_000);
  t.ok(before >= 4, `${before} connections`);
  const lines = linesOf(directory, journal);
  const texts = [...new Set(got)].map((text) => text.slice(text.indexOf('] {') + 2));
  t.strictSame(texts, lines, 'each one, byte for byte, in order');
  t.ok(got.filter((text) => text.includes(`seq="${lines.length - 1}"`)).length >= 1);
  t.ok(got.every((text) => /^<\d+>1 \S+ h breakwater - audit \[breakwater@32473 id="/.test(text)));
  journal.close();
});

await t.test('a receiver that stops ends its connections in order and forgets what it read', async (t) => {
  const kept: string[] = [];
  const open = new Set<Socket>();
  let memory: string[] = [];
  let stops = 0;
  let ends = 0;
  // Each process of the receiver holds what it reads in memory for a while, and is stopped at the worst moment.
  const stop = (): void => {
    stops += 1;
    memory = [];
    for (const socket of open) socket.end();
    open.clear();
  };
  const server = createTcp({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    const pieces: Buffer[] = [];
    let read = 0;
    socket.on('error', () => {}).on('close', () => open.delete(socket));
    socket.on('data', (piece) => {
      pieces.push(piece);
      const found = messagesIn(Buffer.concat(pieces));
      const mine = memory;
      mine.push(...found.slice(read));
      read = found.length;
      setTimeout(() => mine === memory && kept.push(...mine.splice(0)), 60);
    });
    socket.on('end', () => {
      ends += 1;
      // Now and then in the same breath, now and then a little later.
      if (ends % 3 === 1 && stops < 6) return setTimeout(stop, (stops % 3) * 10);
      return socket.end();
    });
  });
  const port = await listen(server);
  t.teardown(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const directory = room();
  const journal = journalIn(directory);
  const confirm = { records: 20, interval: 20, settle: 150 };
  const sinks = start(
    directory,
    journal,
    config(`tcp://127.0.0.1:${port}`, { type: 'syslog', confirm, timeout: 2_000 }),
  );
  for (let n = 0; n < 10; n++) {
    await write(journal, 20);
    await sleep(20);
  }
  t.ok(await until(() => isDone(sinks), 20_000), JSON.stringify(sinks.status()));
  t.equal(stops, 6);
  const texts = new Set(kept.map((text) => text.slice(text.indexOf('] {') + 2)));
  t.strictSame(
    linesOf(directory, journal).filter((line) => !texts.has(line)),
    [],
    'every record outlived the stops',
  );
  await sinks.stop(1_000);
  journal.close();
});
