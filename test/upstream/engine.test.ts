import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { relayBody } from '../../src/capture/relay-body.js';
import { Refusal } from '../../src/docker/refusal.js';
import { openEngine, type EngineOptions } from '../../src/upstream/engine.js';
import type { EngineRequest } from '../../src/upstream/engine-call.js';
import {
  answerWith,
  call,
  directory,
  GET,
  ok,
  over,
  POST,
  sleep,
  startDaemon,
  until,
  type Behave,
} from './daemon.js';

t.test('connections are kept and used again, one call at a time', async (t) => {
  const { engine, seen } = await startDaemon(t, answerWith(ok('hello')));
  for (let i = 0; i < 5; i++) t.match(await call(engine, GET), { status: 200, end: 'complete', length: 5 });
  t.equal(seen.length, 1, 'five calls on one connection');
  t.equal(seen[0]!.text, 'GET /x HTTP/1.1\r\nHost: docker\r\n\r\n'.repeat(5));
  await Promise.all([1, 2, 3].map(() => call(engine, GET)));
  t.equal(seen.length, 3, 'three at once on three');
  await call(engine, GET);
  t.equal(seen.length, 3);
});

t.test('only requests that are marked are shared, where reads are shared', async (t) => {
  const asked = async (shareReads: boolean, shared: boolean): Promise<number> => {
    const { engine, seen } = await startDaemon(t, answerWith(ok('hello')), { engine: { shareReads } });
    const answers = await Promise.all([1, 2, 3].map(() => call(engine, { ...GET, shared })));
    for (const one of answers) t.match(one, { status: 200, end: 'complete', length: 5 });
    return seen.reduce((sum, { text }) => sum + text.split('GET ').length - 1, 0);
  };
  t.equal(await asked(true, true), 2, 'two wait for the first one, and share the next');
  t.equal(await asked(true, false), 3);
  t.equal(await asked(false, true), 3);
});

t.test('a connection that may not be used again is closed', async (t) => {
  const answers = {
    'Connection: close': ok('a', 'Connection: close\r\n'),
    'bytes after the answer': `${ok('a')}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`,
    'HTTP/1.0': ok('a').replace('1.1', '1.0'),
  };
  for (const [name, answer] of Object.entries(answers)) {
    const { engine, seen } = await startDaemon(t, answerWith(answer));
    for (let i = 1; i <= 2; i++) {
      t.match(await call(engine, GET), { end: 'complete', body: Buffer.from('a') }, name);
      t.equal(seen.length, i);
    }
    t.ok(await until(() => seen.every(over)), `${name}: closed`);
  }
  // INVARIANT: bytes that come later are never taken for the answer to the next request.
  const { engine, seen } = await startDaemon(t, (one) => {
    one.socket.write(ok('a'));
    setTimeout(() => one.socket.write(ok('evil')), 20);
  });
  await call(engine, GET);
  await until(() => over(seen[0]!));
  t.match((await call(engine, GET)).body.toString(), 'a', 'late bytes');
  t.equal(seen.length, 2);
});

t.test(
  'INVARIANT: only GET and HEAD are repeated, once, when a kept connection turns out to be dead',
  async (t) => {
    let dead = 0;
    const { engine, seen } = await startDaemon(t, (one) => {
      const nth = one.text.split('HTTP/1.1').length - 1;
      if (nth === 1 && dead < 2) one.socket.write(ok(one.text.startsWith('HEAD') ? '' : 'a'));
      else one.socket.destroy();
    });
    const requests = (): number => seen.reduce((sum, { text }) => sum + text.split('HTTP/1.1').length - 1, 0);
    await call(engine, GET);
    t.equal((await call(engine, GET)).end, 'complete', 'GET again');
    t.equal(seen.length, 2);
    t.equal((await call(engine, { ...GET, method: 'HEAD' })).end, 'complete', 'HEAD again');
    t.equal(seen.length, 3);
    const before = requests();
    t.match((await call(engine, POST)).end, /ENGINE_CUT|ECONNRESET|EPIPE/, 'POST not again');
    t.equal(requests(), before + 1, 'sent once');
    await call(engine, GET);
    dead = 2;
    t.match(
      (await call(engine, GET)).end,
      /ENGINE_CUT|ECONNRESET|EPIPE/,
      'a dead fresh connection is an error',
    );
    t.match((await call(engine, GET)).end, /ENGINE_CUT|ECONNRESET|EPIPE/, 'as is the first one');
  },
);

t.test('a kept connection that the daemon has closed is not used', async (t) => {
  const { engine, seen } = await startDaemon(t, (one) => one.socket.end(ok('a')));
  await call(engine, POST);
  await until(() => seen[0]!.ended);
  t.equal((await call(engine, POST)).end, 'complete');
  t.equal(seen.length, 2);
});

t.test('an answer that is cut is an error, once it has begun it is not asked for again', async (t) => {
  const cuts = [
    'HTTP/1.1 200 OK\r\nContent-Le',
    ok('abc').slice(0, -1),
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n',
  ];
  for (const cut of cuts) {
    let first = true;
    const { engine, seen } = await startDaemon(t, (one) => {
      if (first) one.socket.write(ok('a'));
      else one.socket.end(cut);
      first = false;
    });
    await call(engine, GET);
    t.match(await call(engine, GET), { end: 'ENGINE_CUT' });
    t.equal(seen.length, 1);
  }
  const until = await startDaemon(t, (one) => one.socket.end('HTTP/1.1 200 OK\r\n\r\nall of it'));
  t.match(await call(until.engine, GET), { end: 'complete', length: -1, body: Buffer.from('all of it') });
});

t.test('malformed answers and unusable engines are errors with a code', async (t) => {
  const bad = await startDaemon(t, answerWith('HTTP/1.1 200 OK\nContent-Length: 1\n\na'));
  t.match(await call(bad.engine, GET), { end: 'ENGINE_ANSWER', error: { message: /bare line feed/ } });
  t.ok(await until(() => over(bad.seen[0]!)), 'closed');
  const absent = openEngine({ url: `unix://${directory}/absent.sock`, connectTimeout: 1000 });
  t.equal((await call(absent, GET)).end, 'ENOENT');
  await t.rejects(absent.ping(500), { code: 'ENOENT' });
  const unwritable = openEngine({ url: `unix://${directory}/${'x'.repeat(200)}`, connectTimeout: 1000 });
  t.match((await call(unwritable, GET)).error, Error, 'a path that is too long');
  t.throws(() => openEngine({ url: 'http://x', connectTimeout: 1000 }), { message: /scheme/ });
});

t.test('INVARIANT: one call is one request, whatever is in it', async (t) => {
  const { engine, seen } = await startDaemon(t, answerWith(ok('a')));
  const evil: Partial<EngineRequest>[] = [
    { method: 'GET / HTTP/1.1\r\nX:' },
    { target: '/a b' },
    { target: '/a\r\nX: y' },
    { target: '' },
    { target: '/\xe9' },
    { headers: ['X', 'a\r\nY: b'] },
    { headers: ['X', 'a\nb'] },
    { headers: ['X', 'a\0b'] },
    { headers: ['X', 'a\u010ab'] },
    { headers: ['X: a\r\nY', 'b'] },
    { headers: ['', 'b'] },
    { headers: ['X'] },
    { upgrade: 'tcp\r\nX: y' },
  ];
  for (const one of evil)
    t.equal((await call(engine, { ...GET, ...one })).end, 'ENGINE_REQUEST', JSON.stringify(one));
  await call(engine, { ...GET, headers: ['X', '\u00e9\t!'] });
  t.equal(
    seen.map(({ text }) => text).join(''),
    'GET /x HTTP/1.1\r\nX: \xe9\t!\r\n\r\n',
    'nothing else arrived',
  );
});

t.test('bodies: buffered, streamed with a length, chunked', async (t) => {
  const { engine, seen } = await startDaemon(t, (one) => {
    if (/(?:one piece|0\r\n\r\n|END)$/.test(one.text)) one.socket.write(ok(''));
  });
  await call(engine, { ...POST, body: 'one piece' });
  t.match(seen[0]!.text, /\r\nContent-Length: 9\r\n\r\none piece$/);
  seen[0]!.text = '';
  await call(engine, { ...POST, body: '\u00e9\u{1f433} one piece' });
  t.match(
    seen[0]!.text,
    /\r\nContent-Length: 16\r\n\r\n\xc3\xa9\xf0\x9f\x90\xb3 one piece$/,
    'a text has the length of its bytes',
  );
  seen[0]!.text = '';
  await call(engine, { ...POST, body: 'END'.padStart(100_000) });
  t.equal(
    seen[0]!.text.length,
    100_000 + 'POST /x HTTP/1.1\r\nHost: docker\r\nContent-Length: 100000\r\n\r\n'.length,
  );
  seen[0]!.text = '';
  const pieces = [Buffer.from('ab'), Buffer.alloc(0), Buffer.from('cEND')];
  await call(engine, { ...POST, body: Readable.from(pieces), length: 6 });
  t.match(seen[0]!.text, /Content-Length: 6\r\n\r\nabcEND$/);
  seen[0]!.text = '';
  const stream = new Readable({ read() {} });
  for (const piece of pieces) stream.push(piece);
  stream.push(null);
  await call(engine, { ...POST, body: stream, length: undefined });
  t.match(seen[0]!.text, /Transfer-Encoding: chunked\r\n\r\n[26]\r\n/);
  t.match(seen[0]!.text.replace(/^.*?\r\n\r\n/s, ''), /^(6\r\nabcEND|2\r\nab\r\n4\r\ncEND)\r\n0\r\n\r\n$/);
  t.equal(seen.length, 1, 'all on one connection');
});

t.test('INVARIANT: a body that fails never ends cleanly for the daemon', async (t) => {
  const cases: [string, number | undefined, (body: Readable) => void, string][] = [
    ['cut by the client', undefined, (body) => body.destroy(new Refusal(400, 'body-cut', 'cut')), 'body-cut'],
    ['cut, with a length', 9, (body) => body.destroy(new Refusal(400, 'body-cut', 'cut')), 'body-cut'],
    ['destroyed without a reason', undefined, (body) => body.destroy(), 'ENGINE_REQUEST'],
    ['shorter than announced', 9, (body) => body.push(null), 'ENGINE_REQUEST'],
    ['longer than announced', 5, (body) => body.push('GET /evil HTTP/1.1\r\n\r\n'), 'ENGINE_REQUEST'],
  ];
  for (const [name, length, fail, code] of cases) {
    const { engine, seen } = await startDaemon(t, () => {});
    const body = new Readable({ read() {} });
    body.push('part');
    setTimeout(fail, 30, body);
    t.equal((await call(engine, { ...POST, body, length })).end, code, name);
    t.ok(await until(() => over(seen[0]!)), `${name}: closed`);
    const sent = seen[0]!.text.replace(/^.*?\r\n\r\n/s, '');
    t.equal(sent, length === undefined ? '4\r\npart\r\n' : 'part', `${name}: no end`);
    t.equal(seen.length, 1);
  }
  const gone = new Readable({ read() {} });
  gone.on('error', () => {});
  gone.destroy(new Refusal(413, 'too-large', 'x'));
  const { engine, seen } = await startDaemon(t, () => {});
  t.equal(
    (await call(engine, { ...POST, body: gone, length: undefined })).end,
    'too-large',
    'failed before it began',
  );
  t.notMatch(seen[0]?.text ?? '', /0\r\n\r\n$/);
});

t.test('an answer that comes before the body is sent', async (t) => {
  let made = 0;
  const endless = new Readable({
    read() {
      setImmediate(() => this.push(Buffer.alloc(10_000, ++made)));
    },
  });
  // As Go's server does it: answer, half-close, and close a little later.
  const { engine, seen } = await startDaemon(t, (one) => {
    if (one.bytes < 50_000 || one.socket.writableEnded) return;
    one.socket.end(ok('{"message":"no"}', 'Connection: close\r\n').replace('200 OK', '400 Bad'));
    one.socket.pause();
    setTimeout(() => one.socket.destroy(), 300);
  });
  t.match(await call(engine, { ...POST, body: endless, length: undefined }), {
    status: 400,
    end: 'complete',
    body: Buffer.from('{"message":"no"}'),
  });
  t.notOk(endless.destroyed, 'the stream is left as it is');
  const then = made;
  await sleep(50);
  t.ok(made - then < 10, 'and is not read any more');
  endless.destroy(new Error('late')); // nobody listens, nothing is thrown
  await until(() => over(seen[0]!));

  const kept = await startDaemon(
    t,
    (one) => void (one.text.endsWith('part\r\n') && one.socket.write(ok('a'))),
  );
  const half = new Readable({ read() {} });
  half.push('part');
  t.equal((await call(kept.engine, { ...POST, body: half, length: undefined })).end, 'complete');
  t.ok(await until(() => over(kept.seen[0]!)), 'not kept: its request never ended');
  t.notMatch(kept.seen[0]!.text, /0\r\n\r\n$/);
});

t.test('upgrades: the socket with what came early, half-closed both ways', async (t) => {
  const head = 'HTTP/1.1 101 UPGRADED\r\nContent-Type: a/b\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n';
  const { engine, seen } = await startDaemon(t, (one, chunk) => {
    if (one.text.endsWith('{"Tty":false}')) one.socket.write(`${head}early`);
    else one.socket.write(`got ${chunk.toString()}`);
    if (one.bytes === chunk.length) one.socket.on('end', () => one.socket.end('last'));
  });
  const up = await call(engine, { ...POST, upgrade: 'tcp', body: '{"Tty":false}' });
  t.match(up, { end: 'upgrade', status: 101, headers: ['Content-Type', 'a/b'], calls: ['upgrade'] });
  t.match(
    seen.at(-1)!.text,
    /\r\nContent-Length: 13\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n\{"Tty":false\}$/,
  );
  const socket = up.socket!;
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString())).resume();
  t.ok(await until(() => text === 'early'), 'early bytes');
  socket.write('ping');
  t.ok(await until(() => text === 'earlygot ping'));
  await sleep(20);
  socket.end();
  t.ok(await until(() => text === 'earlygot pinglast'), 'the output goes on after the end of the input');
  t.ok(await until(() => socket.destroyed));

  const refused = await startDaemon(t, answerWith(ok('no').replace('200 OK', '409 Conflict')));
  t.match(
    await call(refused.engine, { ...POST, upgrade: 'tcp' }),
    { status: 409, end: 'complete' },
    'an ordinary answer',
  );
  const large = await startDaemon(t, answerWith(ok('x'.repeat(300_000))));
  let taken = 0;
  const slow = call(large.engine, { ...POST, upgrade: 'tcp' }, () => ++taken % 2 === 0);
  const ticks = setInterval(slow.resume, 2);
  t.equal((await slow).body.length, 300_000, 'with back-pressure');
  clearInterval(ticks);
  const unasked = await startDaemon(t, answerWith(head));
  t.equal((await call(unasked.engine, GET)).end, 'ENGINE_ANSWER', '101 unasked');
});

t.test('an abort closes the engine’s side at once, and nothing more is heard', async (t) => {
  const stages: [string, Behave][] = [
    ['before the answer', () => {}],
    ['within the body', (one) => void one.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab')],
    [
      'a stream',
      (one) => void one.socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n'),
    ],
  ];
  for (const [name, behave] of stages) {
    const { engine, seen } = await startDaemon(t, behave);
    const running = call(engine, GET);
    await sleep(40);
    const started = Date.now();
    running.abort();
    t.ok(await until(() => over(seen[0]!)), `${name}: closed after ${Date.now() - started} ms`);
    t.ok(Date.now() - started < 200);
    await sleep(20);
    t.equal(running.so.end, '', `${name}: nothing more`);
  }
  const { engine, seen } = await startDaemon(t, answerWith(ok('a')));
  call(engine, GET).abort();
  const finished = call(engine, GET);
  await finished;
  const next = call(engine, GET);
  finished.abort();
  t.equal((await next).end, 'complete', 'an abort after the end touches no other call');
  t.equal(seen.filter((one) => !over(one)).length, 1);
  const running = call(engine, { ...GET, headers: ['X', '\n'] });
  running.abort();
  await sleep(10);
  t.equal(running.so.end, '');
});

t.test('limits: silence before and within the answer, but never the client’s own slowness', async (t) => {
  const silent = await startDaemon(t, () => {});
  t.equal((await call(silent.engine, { ...GET, timeout: 60 })).end, 'ENGINE_TIMEOUT', 'no head');
  t.ok(await until(() => over(silent.seen[0]!)));
  const stalled = await startDaemon(t, answerWith('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab'));
  t.equal((await call(stalled.engine, { ...GET, timeout: 60 })).end, 'ENGINE_TIMEOUT', 'within the body');
  await t.rejects(silent.engine.ping(60), { message: /within 60 ms/ });

  const slow = await startDaemon(t, (one) => {
    one.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n');
    for (let i = 1; i <= 5; i++) setTimeout(() => one.socket.write('a'), i * 50);
  });
  t.equal((await call(slow.engine, { ...GET, timeout: 120 })).end, 'complete', 'pieces within the limit');

  const paused = await startDaemon(t, answerWith(ok('x'.repeat(1_000_000))));
  const reader = call(paused.engine, { ...GET, timeout: 60 }, () => false);
  await sleep(200);
  t.equal(reader.so.end, '', 'a client that reads slowly');
  const ticks = setInterval(reader.resume, 1);
  t.equal((await reader).end, 'complete');
  clearInterval(ticks);

  const upload = await startDaemon(
    t,
    (one) => void (one.text.endsWith('0\r\n\r\n') && one.socket.write(ok(''))),
  );
  const body = new Readable({ read() {} });
  body.push('a');
  const sending = call(upload.engine, { ...POST, body, length: undefined, timeout: 60 });
  await sleep(200);
  t.equal(sending.so.end, '', 'a client that sends slowly');
  body.push(null);
  t.equal((await sending).end, 'complete');

  const forever = await startDaemon(t, () => {});
  const stream = call(forever.engine, GET);
  await sleep(300);
  t.equal(stream.so.end, '', '0 is no limit');
  await forever.engine.destroy();
  t.equal((await stream).end, 'ENGINE_CLOSED', 'until the engine is closed');
  t.equal((await call(forever.engine, GET)).end, 'ENGINE_CLOSED');
});

t.test('a daemon that takes nothing of an upload', async (t) => {
  const { engine } = await startDaemon(t, (one) => void one.socket.pause());
  const endless = (): Readable =>
    new Readable({
      read() {
        this.push(Buffer.alloc(65_536));
      },
    });
  const finite = await call(engine, { ...POST, body: endless(), length: undefined, timeout: 100 });
  t.equal(finite.end, 'ENGINE_TIMEOUT', 'by the limit of the call');
  const relayed = relayBody(endless(), { bytes: 1e12, idle: 100 });
  const streamed = await call(engine, { ...POST, body: relayed, length: undefined });
  t.match(streamed.error, { code: 'upstream-timeout', status: 504 }, 'by the idle limit of the body');
});

t.test('back-pressure: a slow reader holds the daemon, a slow daemon holds the sender', async (t) => {
  const big = randomBytes(1 << 20);
  let written = 0;
  const { engine } = await startDaemon(t, (one) => {
    one.socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
    const pour = (): void => {
      while (written < 64) {
        written += 1;
        if (!one.socket.write(Buffer.concat([Buffer.from('100000\r\n'), big, Buffer.from('\r\n')]))) break;
      }
      if (written === 64) {
        written += 1;
        one.socket.end('0\r\n\r\n');
      }
    };
    one.socket.on('drain', pour);
    pour();
  });
  let paused = true;
  const sum = createHash('md5');
  let size = 0;
  const done = new Promise<void>((resolve, reject) => {
    let go = (): void => {};
    engine.dispatch(GET, {
      onHeaders: (_status, _headers, _length, resume) => void (go = resume),
      onData(piece) {
        sum.update(piece);
        size += piece.length;
        return !paused;
      },
      onComplete: resolve,
      onError: reject,
    });
    setTimeout(() => {
      t.ok(size < 300_000, `${size} bytes read while paused`);
      t.ok(written < 8, `${written} MiB taken from the daemon`);
      paused = false;
      go();
    }, 200);
  });
  await done;
  const expected = createHash('md5');
  for (let i = 0; i < 64; i++) expected.update(big);
  t.equal(sum.digest('hex'), expected.digest('hex'), '64 MiB, unharmed');

  let made = 0;
  const source = new Readable({
    read() {
      this.push(made++ < 512 ? Buffer.alloc(65_536, made) : null);
    },
  });
  const slow = await startDaemon(t, (one, chunk) => {
    if (one.bytes === chunk.length) {
      one.socket.pause();
      setTimeout(() => one.socket.resume(), 200);
    }
    if (made >= 512 && one.bytes > 512 * 65_536) one.socket.write(ok(''));
  });
  const running = call(slow.engine, { ...POST, body: source, length: 512 * 65_536 });
  await sleep(100);
  t.ok(made < 40, `${made} pieces taken from the client`);
  t.equal((await running).end, 'complete');
});

t.test('what a handler keeps is never overwritten, whatever the sizes', async (t) => {
  const { engine } = await startDaemon(t, (one, chunk) => {
    const [, seed] = /GET \/(\d+)/.exec(chunk.toString())!;
    const sizes = seed!.match(/\d{1,6}/g)!.map(Number);
    let wire = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
    for (const [i, size] of sizes.entries()) {
      if (size > 0) wire += `${size.toString(16)}\r\n${String.fromCharCode(97 + i).repeat(size)}\r\n`;
    }
    one.socket.write(`${wire}0\r\n\r\n`);
  });
  const size = fc.oneof(fc.nat(20), fc.nat(20_000), fc.nat(200_000)).map((n) => String(n).padStart(6, '0'));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(size, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 4 }),
      async (all) => {
        const got = await Promise.all(
          all.map((sizes) => call(engine, { ...GET, target: `/${sizes.join('')}` })),
        );
        return got.every(
          ({ end, body }, n) =>
            end === 'complete' &&
            body.toString() ===
              all[n]!.map((one, i) => String.fromCharCode(97 + i).repeat(Number(one))).join(''),
        );
      },
    ),
    { numRuns: 60 },
  );
  t.pass('60 rounds');
});

t.test('a handler that throws hurts only its own call', async (t) => {
  const { engine } = await startDaemon(t, answerWith(ok('a')));
  for (const name of ['onHeaders', 'onData', 'onComplete'] as const) {
    const error = await new Promise<Error>((resolve, reject) => {
      engine.dispatch(GET, {
        onHeaders() {},
        onData: () => true,
        onComplete: () => reject(new Error('complete')),
        onError: resolve,
        [name]() {
          throw new Error(name);
        },
      });
    });
    t.equal(error.message, name);
  }
  t.equal((await call(engine, GET)).end, 'complete');
});

t.test('ping', async (t) => {
  const well = await startDaemon(t, answerWith(ok('OK')));
  await well.engine.ping(1000);
  t.match(well.seen[0]!.text, /^GET \/_ping HTTP/);
  const ill = await startDaemon(t, answerWith(ok('').replace('200', '500')));
  await t.rejects(ill.engine.ping(1000), { message: /status 500/ });
});

t.test('TCP', async (t) => {
  const { engine, seen } = await startDaemon(t, answerWith(ok('a')), { scheme: 'tcp' });
  for (let i = 0; i < 3; i++) t.equal((await call(engine, GET)).end, 'complete');
  t.equal(seen.length, 1);
});

const certificates = makeCertificates();
t.test(
  'TLS',
  { skip: certificates === undefined ? 'SKIPPED, NOT TESTED: there is no openssl' : false },
  async (t) => {
    const { ca, cert, key, other } = certificates!;
    const server = { cert: readFileSync(cert), key: readFileSync(key) };
    const large = ok('x'.repeat(500_000));
    const { engine, seen, url } = await startDaemon(t, answerWith(large), {
      tls: server,
      scheme: 'tls',
      engine: { tls: { ca } },
    });
    for (let i = 0; i < 3; i++) {
      const got = await call(engine, GET);
      t.match(got, { end: 'complete' });
      t.equal(got.body.length, 500_000);
    }
    t.equal(seen.length, 1, 'kept');
    let taken = 0;
    const slow = call(engine, GET, () => ++taken % 2 === 0);
    const ticks = setInterval(slow.resume, 1);
    t.equal((await slow).body.length, 500_000, 'with back-pressure');
    clearInterval(ticks);

    const strangers: [string, EngineOptions['tls']][] = [
      ['an unknown authority', { ca: other }],
      ['no authority', {}],
      ['another name', { ca, serverName: 'other.example' }],
    ];
    for (const [name, tls] of strangers) {
      const stranger = openEngine({ url, connectTimeout: 2000, tls: tls! });
      t.match((await call(stranger, GET)).end, /CERT|SIGNATURE|ALTNAME/, name);
    }
    t.equal(
      seen.reduce((sum, { text }) => sum + text.split('HTTP/1.1').length - 1, 0),
      4,
      'no request went to a stranger',
    );

    const mutual = await startDaemon(t, answerWith(ok('a')), {
      tls: { ...server, ca: readFileSync(ca), requestCert: true, rejectUnauthorized: true },
      scheme: 'tls',
      engine: { tls: { ca, cert, key } },
    });
    t.equal((await call(mutual.engine, GET)).end, 'complete', 'with a client certificate');
    const without = openEngine({ url: mutual.url, connectTimeout: 2000, tls: { ca } });
    t.not((await call(without, GET)).end, 'complete', 'without one');

    const upgraded = await startDaemon(
      t,
      (one, chunk) =>
        void one.socket.write(
          chunk.includes('POST') ? 'HTTP/1.1 101 U\r\n\r\nearly' : `got ${chunk.toString()}`,
        ),
      { tls: server, scheme: 'tls', engine: { tls: { ca } } },
    );
    const up = await call(upgraded.engine, { ...POST, upgrade: 'h2c' });
    let text = '';
    up.socket!.on('data', (chunk: Buffer) => (text += chunk.toString())).resume();
    up.socket!.write('x');
    t.ok(await until(() => text === 'earlygot x'), 'upgraded');

    const mute = await startDaemon(t, () => {}, { scheme: 'tcp' });
    const hung = openEngine({ url: mute.url.replace('tcp', 'tls'), connectTimeout: 100 });
    t.equal((await call(hung, GET)).end, 'ENGINE_CONNECT_TIMEOUT', 'a handshake that never ends');
  },
);

/** A self-signed certificate for localhost that is its own authority, and one of a stranger. */
function makeCertificates(): { ca: string; cert: string; key: string; other: string } | undefined {
  const make = (name: string): { cert: string; key: string } => {
    const cert = join(directory, `${name}.pem`);
    const key = join(directory, `${name}-key.pem`);
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    const kind = [
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
    ];
    execFileSync('openssl', ['req', ...kind, ...subject, '-keyout', key, '-out', cert], { stdio: 'ignore' });
    return { cert, key };
  };
  try {
    const { cert, key } = make('engine');
    return { ca: cert, cert, key, other: make('other').cert };
  } catch {
    return undefined;
  }
}
