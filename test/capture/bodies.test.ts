import { once } from 'node:events';
import { IncomingMessage, ServerResponse } from 'node:http';
import { connect, createServer, Socket } from 'node:net';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import {
  bufferBody,
  openBodyBudget,
  type BodyBudget,
  type BufferLimits,
} from '../../src/capture/buffer-body.js';
import { PlainBody } from '../../src/guard/incoming.js';
import { framedBody, type BodyFraming } from '../../src/capture/framed-body.js';
import { relayBody } from '../../src/capture/relay-body.js';

const takeWhole = (request: IncomingMessage, limits: BufferLimits, budget: BodyBudget): Buffer | undefined =>
  new PlainBody(request, new ServerResponse(request), false).takeWhole(limits, budget);

/** A connected pair: what is written to `far` arrives at `near`. */
async function socketPair(): Promise<{ near: Socket; far: Socket; close(): void }> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const far = connect((server.address() as { port: number }).port, '127.0.0.1');
  const [near] = (await once(server, 'connection')) as [Socket];
  near.on('error', () => {});
  far.on('error', () => {});
  return {
    near,
    far,
    close() {
      near.destroy();
      far.destroy();
      server.close();
    },
  };
}

async function readAll(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Feeds `wire` in the given pieces; what the body was, and what was left on the socket for the tunnel. */
async function frame(
  wire: Buffer,
  cuts: number[],
  framing: BodyFraming,
): Promise<{ body: Buffer; rest: Buffer }> {
  const pair = await socketPair();
  try {
    const points = [...new Set(cuts.map((cut) => cut % (wire.length + 1)))].sort((a, b) => a - b);
    const pieces: Buffer[] = [];
    let last = 0;
    for (const point of [...points, wire.length]) {
      pieces.push(wire.subarray(last, point));
      last = point;
    }
    const body = framedBody(pair.near, pieces[0] ?? Buffer.alloc(0), framing);
    void (async () => {
      for (const piece of pieces.slice(1)) {
        if (piece.length > 0) pair.far.write(piece);
        await new Promise((resolve) => setImmediate(resolve));
      }
      pair.far.end();
    })();
    const read = await readAll(body);
    return { body: read, rest: await readAll(pair.near) };
  } finally {
    pair.close();
  }
}

function chunked(chunks: string[]): string {
  return chunks
    .filter((chunk) => chunk !== '')
    .map((chunk) => `${Buffer.byteLength(chunk).toString(16)}\r\n${chunk}\r\n`)
    .join('')
    .concat('0\r\n\r\n');
}

t.test('framed body: any split of the wire gives the same body and the same rest', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ maxLength: 40 }), { maxLength: 5 }),
      fc.string({ maxLength: 20 }),
      fc.array(fc.nat(200), { maxLength: 4 }),
      fc.boolean(),
      async (chunks, rest, cuts, byLength) => {
        const body = chunks.join('');
        const wire = Buffer.from((byLength ? body : chunked(chunks)) + rest);
        const framing: BodyFraming = byLength
          ? { kind: 'length', length: Buffer.byteLength(body) }
          : { kind: 'chunked' };
        const got = await frame(wire, cuts, framing);
        return got.body.toString() === body && got.rest.toString() === rest;
      },
    ),
    { numRuns: 60 },
  );
  t.pass('60 random wires');
});

t.test('framed body: malformed chunk framing is refused, never guessed', async (t) => {
  const bad: Record<string, string> = {
    'bare LF after the size': '3\nabc\r\n0\r\n\r\n',
    'chunk longer than its size': '2\r\nabc\r\n0\r\n\r\n',
    'no number': 'xyz\r\n\r\n',
    'negative size': '-1\r\n\r\n',
    '0x prefix': '0x3\r\nabc\r\n0\r\n\r\n',
    'huge size': `${'f'.repeat(17)}\r\n`,
    'endless size line': `3;${'a'.repeat(10_000)}`,
    'bare CR in the size line': '3\r;a\r\nabc\r\n0\r\n\r\n',
    'cut in the middle': '5\r\nab',
    'leading blank': ' 3\r\nabc\r\n0\r\n\r\n',
  };
  for (const [name, wire] of Object.entries(bad)) {
    await t.rejects(
      frame(Buffer.from(wire), [], { kind: 'chunked' }),
      { name: 'Refusal', status: 400 },
      name,
    );
  }
  const ok = await frame(Buffer.from('3;ext=1\r\nabc\r\n0\r\nX: y\r\n\r\nrest'), [], { kind: 'chunked' });
  t.equal(ok.body.toString(), 'abc', 'extensions and trailers are dropped');
  t.equal(ok.rest.toString(), 'rest');
});

t.test('buffered body: size, time and the common budget are limits', async (t) => {
  const budget = openBodyBudget(100);
  const limits = { bytes: 50, timeout: 100 };
  t.equal(
    (await bufferBody(Readable.from([Buffer.from('ab'), Buffer.from('c')]), -1, limits, budget)).toString(),
    'abc',
  );
  t.equal(budget.used, 3, 'held until the call is over');
  await t.rejects(bufferBody(Readable.from([Buffer.alloc(51)]), -1, limits, budget), {
    name: 'Refusal',
    status: 413,
  });
  await t.rejects(
    bufferBody(new Readable({ read() {} }), 51, limits, budget),
    { name: 'Refusal', status: 413 },
    'announced',
  );
  await t.rejects(bufferBody(new Readable({ read() {} }), -1, limits, budget), {
    name: 'Refusal',
    status: 408,
  });
  t.equal(budget.used, 3, 'refused bodies are given back');
  budget.take(90);
  await t.rejects(bufferBody(Readable.from([Buffer.alloc(20)]), -1, limits, budget), {
    name: 'Refusal',
    status: 503,
  });
  const cut = new Readable({ read() {} });
  setImmediate(() => cut.destroy());
  await t.rejects(bufferBody(cut, -1, limits, budget), { name: 'Refusal', status: 400, code: 'body-cut' });
});

t.test('a body that came with its head is taken at once, within the same limits', async (t) => {
  const budget = openBodyBudget(100);
  const limits = { bytes: 50, timeout: 100 };
  const request = (...pieces: string[]): IncomingMessage => {
    const made = new IncomingMessage(new Socket());
    for (const piece of pieces) made.push(piece);
    return made;
  };
  const whole = (...pieces: string[]): IncomingMessage => {
    const made = request(...pieces);
    made.push(null);
    made.complete = true;
    return made;
  };
  t.equal(takeWhole(whole('ab', 'c'), limits, budget)?.toString(), 'abc');
  t.equal(budget.used, 3, 'held until the call is over');
  t.equal(takeWhole(whole(), limits, budget)?.length, 0, 'a chunked body may be empty');
  t.equal(takeWhole(request('ab'), limits, budget), undefined, 'more is to come');
  t.equal(takeWhole(whole('a'.repeat(51)), limits, budget), undefined, 'too large');
  const cut = whole('ab');
  cut.destroy();
  t.equal(takeWhole(cut, limits, budget), undefined, 'the client is gone');
  await t.rejects(bufferBody(cut, -1, limits, budget), { code: 'body-cut' }, 'and nothing is waited for');
  budget.take(90);
  t.equal(takeWhole(whole('a'.repeat(20)), limits, budget), undefined, 'the common budget is used up');
  t.equal(budget.used, 93, 'what is not taken is not held');
});

t.test('relayed body: back-pressure, limits, and a cut is never a clean end', async (t) => {
  let made = 0;
  const endless = new Readable({
    read() {
      made += 1;
      this.push(Buffer.alloc(64 * 1024));
    },
  });
  const slow = relayBody(endless, { bytes: 1e12, idle: 10_000 });
  slow.read(0);
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.ok(made < 20, `an unread body stops after ${made} pieces`);
  slow.destroy();
  t.notOk(endless.destroyed, 'the client stream survives: it still has to carry the answer');
  endless.destroy();

  const large = relayBody(Readable.from([Buffer.alloc(60), Buffer.alloc(60)]), { bytes: 100, idle: 1000 });
  await t.rejects(readAll(large), { name: 'Refusal', status: 413 });

  const silent = relayBody(new Readable({ read() {} }), { bytes: 100, idle: 30 });
  await t.rejects(readAll(silent), { name: 'Refusal', status: 408 });

  const source = new Readable({ read() {} });
  const broken = relayBody(source, { bytes: 100, idle: 1000 });
  source.push(Buffer.from('half'));
  setTimeout(() => source.destroy(), 10);
  await t.rejects(readAll(broken), { name: 'Refusal', code: 'body-cut' });
  t.equal(broken.bytes, 4);
});
