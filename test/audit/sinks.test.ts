import t, { type Test } from 'tap';
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTcp, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Journal } from '../../src/audit/journal.js';
import { sleep, until } from '../support/command.js';
import { config, isDone, journalIn, linesOf, listen, room, start, write } from '../support/sink-room.js';

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

await t.test('events: a receiver gets what it asked for; the rest counts as delivered', async (t) => {
  for (const type of ['webhook', 'syslog'] as const) {
    const got: string[] = [];
    const url = await receiver(t, (body, response) => {
      got.push(...body.split('\n').slice(0, -1));
      response.end();
    });
    const tcp = createTcp((socket) => {
      socket.setEncoding('utf8').on('data', (piece: string) => void got.push(piece));
      socket.on('end', () => socket.end());
    });
    t.teardown(() => tcp.close());
    const where = type === 'webhook' ? url : `tcp://127.0.0.1:${await listen(tcp)}`;
    const directory = room();
    const journal = journalIn(directory);
    const sinks = start(directory, journal, config(where, { type, body: 'ndjson', events: ['alert'] }));
    await write(journal, 300);
    t.ok(await until(() => isDone(sinks), 10_000), JSON.stringify(sinks.status()));
    t.strictSame(got, [], 'checkpoints and outcomes are not for it');
    t.equal(sinks.needed(), journal.last() + 1, 'they hold up no room');
    journal.record({
      event: 'alert',
      id: 'x',
      kind: 'audit',
      action: '',
      client: undefined,
      container: undefined,
      address: '',
      addresses: 0,
      sources: [],
      operations: [],
      code: 'audit',
      rule: '',
      hazards: [],
      indicators: [],
      count: 1,
      first: 0,
      last: 0,
      window: 1000,
      message: 'one "event":"outcome" in words',
    });
    await write(journal, 10);
    t.ok(await until(() => isDone(sinks) && got.length > 0, 10_000), JSON.stringify(sinks.status()));
    await sinks.stop(1_000);
    t.equal(got.length, 1);
    t.match(got[0], /"event":"alert"/);
    journal.close();
  }
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

/** A record of so many bytes, roughly, with all that has to be escaped in it. */
function long(journal: Journal, length: number): void {
  const value = `"\\\u0000\n]${'x'.repeat(500)}`;
  const client = { listener: 'tcp', address: '127.0.0.1', port: 1, certificate: [], tokenSha256: '' };
  journal.record({
    event: 'decision',
    call: `long${length}`,
    client,
    ...{ sources: [], method: 'GET', operation: 'SystemPing', apiVersion: '', params: {}, facts: {} },
    hazards: Array.from({ length: Math.ceil(length / 520) }, (_, n) => `${n}${value}`),
    ...{ verdict: 'deny', enforced: true, rule: '', code: 'hazard', reason: value, rewrites: [], policy: '' },
  });
}

await t.test('GELF over TCP: NUL ends a message, and stands nowhere else', async (t) => {
  const pieces: Buffer[] = [];
  const server = createTcp((socket) => void socket.on('data', (piece) => pieces.push(piece)));
  const port = await listen(server);
  t.teardown(() => void server.close());
  const directory = room();
  const journal = journalIn(directory);
  const one = config(`tcp://127.0.0.1:${port}`, { type: 'gelf', format: 'gelf' });
  const sinks = start(directory, journal, one);
  await write(journal, 60);
  long(journal, 30_000);
  await write(journal, 1);
  t.ok(await until(() => isDone(sinks), 10_000), JSON.stringify(sinks.status()));
  const bytes = Buffer.concat(pieces);
  t.equal(bytes.at(-1), 0);
  checkGelf(t, bytes.toString('utf8').split('\0').slice(0, -1), linesOf(directory, journal));
  await sinks.stop(1_000);
  journal.close();
});

/** GELF 1.1: what each message must hold, and that the records are in there, each as it stands. */
function checkGelf(t: Test, texts: readonly string[], lines: readonly string[]): void {
  const got = new Set<unknown>();
  for (const text of texts) {
    const message = JSON.parse(text) as Record<string, unknown>;
    const wrong = Object.entries(message).filter(
      ([key, value]) =>
        !/^(version|host|short_message|full_message|timestamp|level|_[\w.-]+)$/.test(key) ||
        key === '_id' ||
        !['string', 'number'].includes(typeof value),
    );
    t.strictSame(wrong, []);
    t.match(message, { version: '1.1', host: 'h', short_message: /./, timestamp: Number });
    got.add(message['full_message']);
  }
  t.equal(got.size, lines.length, 'every record');
  t.ok(lines.every((line) => got.has(line) || got.has(JSON.stringify(JSON.parse(line)))));
}

/** A receiver of datagrams. */
async function datagrams(t: Test): Promise<{ port: number; got: Buffer[] }> {
  const got: Buffer[] = [];
  const socket = createSocket('udp4').on('message', (message) => void got.push(message));
  socket.bind(0, '127.0.0.1');
  await new Promise((resolve) => socket.once('listening', resolve));
  socket.setRecvBufferSize(2 ** 21);
  t.teardown(() => void socket.close());
  return { port: socket.address().port, got };
}

await t.test('GELF over UDP: long messages come in chunks', async (t) => {
  const { port, got } = await datagrams(t);
  const directory = room();
  const journal = journalIn(directory);
  const one = config(`udp://127.0.0.1:${port}`, { type: 'gelf', format: 'gelf' });
  const sinks = start(directory, journal, one);
  await write(journal, 20);
  for (const length of [600, 3_000, 30_000]) long(journal, length);
  await write(journal, 1);
  t.ok(await until(() => isDone(sinks), 10_000), JSON.stringify(sinks.status()));
  const chunks = new Map<string, Buffer[]>();
  const texts: string[] = [];
  let most = 0;
  await sleep(50);
  for (const datagram of got) {
    t.ok(datagram.length <= 1_420);
    if (datagram.readUInt16BE(0) !== 0x1e0f) {
      texts.push(datagram.toString('utf8'));
      continue;
    }
    const id = datagram.toString('hex', 2, 10);
    const [number = 0, count = 0] = [datagram[10], datagram[11]];
    t.ok(number < count && count <= 128);
    const parts = chunks.get(id) ?? [];
    t.notOk(parts[number], 'no chunk twice');
    parts[number] = datagram.subarray(12);
    chunks.set(id, parts);
    most = Math.max(most, count);
    if (Object.keys(parts).length === count) texts.push(Buffer.concat(parts).toString('utf8'));
  }
  t.ok(most >= 3, `${most} chunks`);
  checkGelf(t, texts, linesOf(directory, journal));
  await sinks.stop(1_000);
  journal.close();
});

await t.test('UDP: a receiver that there is no way to is named as the cause', async (t) => {
  const directory = room();
  const journal = journalIn(directory);
  // The system refuses to connect to it, as it refuses when there is no route.
  const sinks = start(directory, journal, config('udp://255.255.255.255:9', { type: 'syslog', facility: 4 }));
  await write(journal, 1);
  const error = (): string => sinks.status()[0]?.error ?? '';
  t.ok(await until(() => error() !== '', 10_000));
  t.match(error(), /EACCES/);
  await sinks.stop(0);
  journal.close();
});

await t.test('syslog over UDP: one message in one datagram', async (t) => {
  const { port, got } = await datagrams(t);
  const directory = room();
  const journal = journalIn(directory);
  const sinks = start(directory, journal, config(`udp://127.0.0.1:${port}`, { type: 'syslog', facility: 4 }));
  await write(journal, 40);
  t.ok(await until(() => isDone(sinks), 10_000), JSON.stringify(sinks.status()));
  await until(() => got.length >= journal.last(), 2_000);
  const rfc5424 =
    /^<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) h breakwater - audit \[breakwater@32473 id="([^"\\\]]+)" seq="(\d+)"\] (.*)$/;
  const texts = got.map((datagram) => {
    const [, priority = '', , id = '', seq = '', text = ''] = rfc5424.exec(datagram.toString('utf8')) ?? [];
    t.equal(Math.floor(Number(priority) / 8), 4, 'facility');
    t.match(JSON.parse(text), { id, seq: Number(seq) });
    return text;
  });
  t.strictSame(texts, linesOf(directory, journal));
  await sinks.stop(1_000);
  journal.close();
});
