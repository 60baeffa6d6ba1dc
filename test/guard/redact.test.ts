import t from 'tap';
import { deflateSync, gzipSync } from 'node:zlib';
import { editJson } from '../../src/docker/answers/edit-json.js';
import { filterElements } from '../../src/docker/answers/elements.js';
import { everywhere, recursive } from '../../src/docker/answers/place.js';
import type { Call } from '../../src/docker/call.js';
import { operationById } from '../../src/docker/catalogue.js';
import { bothChanges, redactAnswer, type AnswerChanger } from '../../src/policy/change-answer.js';
import { startGuarded } from './guarded.js';
import { FIN, talk, type Conversation } from '../support/raw.js';
import { bytes, echo, type Behaviour } from '../support/recording-upstream.js';

// Answers of an engine that answers oddly, through a guard that redacts: either they are redacted, or they do not pass.

const S3 = 'p14nted-s3cret';
const POLICY = {
  rules: [
    { id: 'plain', sources: ['*'], operations: ['SystemVersion'] },
    {
      id: 'redacted',
      sources: ['*'],
      operations: ['*'],
      permit: ['*'],
      redact: 'all',
    },
  ],
};

const guarded = await startGuarded({ policy: POLICY });
t.teardown(() => guarded.close());

const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n';
const INSPECT = 'GET /v1.41/containers/web/json HTTP/1.1\r\nHost: docker\r\n\r\n';
const EVENTS = 'GET /v1.41/events HTTP/1.1\r\nHost: docker\r\n\r\n';

/** An answer with its length; `body` as bytes or latin-1. */
function whole(body: string | Buffer, head = HEAD): string {
  const text = typeof body === 'string' ? body : body.toString('latin1');
  return `${head}Content-Length: ${text.length}\r\n\r\n${text}`;
}

function chunked(pieces: readonly string[], head = HEAD, end = '0\r\n\r\n'): string {
  const chunks = pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join('');
  return `${head}Transfer-Encoding: chunked\r\n\r\n${chunks}${end}`;
}

async function answerTo(request: string, behave: Behaviour, options = {}): Promise<Conversation> {
  guarded.upstream.behave = behave;
  return talk(guarded.tcp, [request], options);
}

const CONFIG = (body: string): string => `{"Id":"web","Config":${body}}`;

t.test('what can be read is redacted', async (t) => {
  const cases: Record<string, string> = {
    usual: CONFIG(`{"Env":["A=${S3}"]}`),
    'a key twice': CONFIG(`{"Env":["A=${S3}"],"Env":["B=${S3}"]}`),
    'another case': CONFIG(`{"ENV":["A=${S3}"],"env":["A=${S3}"]}`),
    'keys in escapes': CONFIG(
      `{"\\u0045nv":["A=${S3}"],"E\\u006ev":["A=${S3}"],"L\\u0061bels":{"a":"${S3}"}}`,
    ),
    blanks: `\n {\t"Config" : {"Env"\r\n: [ "A=${S3}" , "B=${S3}"] } }\n\n`,
    'values in escapes': CONFIG(`{"Env":["A\\u003d${S3}","\\u0041=\\"${S3}"]}`),
    'more of it than a piece': CONFIG(
      `{"Env":["A=${S3.repeat(20_000)}"],"Labels":{"k":"${S3.repeat(20_000)}"}}`,
    ),
    deep: `{"Config":${'{"a":['.repeat(200)}{"Env":["A=${S3}"]}${']}'.repeat(200)}}`,
    'in a place nobody knows': `{"New":[{"Spec":{"Labels":{"a":"${S3}"}}}]}`,
  };
  for (const [name, body] of Object.entries(cases)) {
    const forms = [whole(body), chunked([body]), chunked([...Array.from(body.slice(0, 60)), body.slice(60)])];
    for (const form of forms) {
      const { answers, text } = await answerTo(INSPECT, bytes(form));
      t.match(answers, [{ status: 200, complete: true }], name);
      t.notMatch(text, S3, name);
      JSON.parse(answers[0]!.body.toString());
    }
    // Until the end of the connection.
    const { answers } = await answerTo(INSPECT, bytes(`${HEAD}\r\n${body}`, 'end'));
    t.match(answers, [{ status: 200, complete: true }], `${name}, until the end`);
    t.notMatch(answers[0]!.body.toString(), S3, name);
  }
});

t.test('its length is that of what is sent, and nothing tells of what was not', async (t) => {
  const head = `${HEAD}ETag: "abc"\r\nContent-MD5: eA==\r\nDigest: sha-256=x\r\nDocker-Experimental: false\r\n`;
  const { answers } = await answerTo(INSPECT, bytes(whole(CONFIG(`{"Env":["A=${S3}"]}`), head)));
  const [answer] = answers;
  t.equal(answer!.body.toString(), CONFIG('{"Env":["A=<redacted>"]}'));
  t.equal(answer!.headers['content-length'], String(answer!.body.length));
  t.equal(answer!.headers['docker-experimental'], 'false');
  for (const name of ['etag', 'content-md5', 'digest']) t.equal(answer!.headers[name], undefined, name);
  const decision = guarded
    .audit()
    .find(({ event, operation }) => event === 'decision' && operation === 'ContainerInspect');
  t.match(decision, { rewrites: ['answer: env, paths, labels, secrets, commands'] });
});

t.test('what cannot be read is refused', async (t) => {
  const body = CONFIG(`{"Env":["A=${S3}"]}`);
  const cases: Record<string, [string, RegExp]> = {
    gzip: [whole(gzipSync(body), `${HEAD}Content-Encoding: gzip\r\n`), /body is encoded \(\\"gzip\\"\)/],
    deflate: [whole(deflateSync(body), `${HEAD}content-encoding: deflate\r\n`), /encoded/],
    'an encoding that is none': [whole(body, `${HEAD}Content-Encoding: aws-chunked\r\n`), /encoded/],
    'gzip that says it is JSON': [whole(gzipSync(body)), /not valid JSON/],
    'another type': [
      whole(body, 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n'),
      /Content-Type is \\"text\/plain\\", not JSON/,
    ],
    html: [whole(body, 'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n'), /not JSON/],
    multipart: [whole(body, 'HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=x\r\n'), /not JSON/],
    'no type': [whole(body, 'HTTP/1.1 200 OK\r\n'), /without a Content-Type/],
    'two types': [whole(body, `${HEAD}Content-Type: text/plain\r\n`), /two Content-Types/],
    'a type for streams': [
      whole(body, 'HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n'),
      /not JSON/,
    ],
    'another charset': [
      whole(
        Buffer.from(body, 'utf16le'),
        'HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-16le\r\n',
      ),
      /Content-Type/,
    ],
    'utf-16': [whole(Buffer.from(body, 'utf16le')), /not valid JSON/],
    'a part': [
      whole(
        body,
        `HTTP/1.1 206 Partial\r\nContent-Type: application/json\r\nContent-Range: bytes 0-9/10\r\n`,
      ),
      /only a part/,
    ],
    'a byte order mark': [whole(Buffer.from(`\ufeff${body}`)), /not valid JSON/],
    'something behind it': [whole(`${body}A=${S3}`), /follows its JSON value/],
    'two values': [whole(`${body}${body}`), /follows its JSON value/],
    'cut inside': [whole(body.slice(0, -3)), /middle of its JSON value/],
    'cut inside a value': [whole(body.slice(0, -8)), /middle of its JSON value/],
    'a flaw before the secret': [whole(`{"a":01,"Env":["A=${S3}"]}`), /not valid JSON/],
    'a flaw behind the secret': [whole(`{"Env":["A=${S3}"],"a":tru}`), /not valid JSON/],
    'too deep': [whole(`${'['.repeat(600)}"${S3}"${']'.repeat(600)}`), /deeper than 512/],
    'not UTF-8': [whole(`{"Env":["A=${S3}\xff"]}`), /not valid JSON/],
    'chunks that add up to nothing valid': [chunked(['{"Env":', `"${S3}`]), /middle/],
  };
  for (const [name, [form, why]] of Object.entries(cases)) {
    const { answers, text } = await answerTo(INSPECT, bytes(form, 'end'));
    t.match(answers, [{ status: 502 }], name);
    t.match(answers[0]?.body.toString(), why, name);
    t.match(answers[0]?.body.toString(), /the engine's answer is held back, because a rule changes it and/);
    t.notMatch(text, S3, name);
    // The same answer passes where nothing is to be redacted.
    if (!name.startsWith('a part')) {
      const free = await answerTo('GET /v1.41/version HTTP/1.1\r\nHost: docker\r\n\r\n', bytes(form, 'end'));
      t.match(free.answers, [{ status: 200 }], `${name}: passes where nothing is redacted`);
    }
  }
  const lines = guarded.audit().filter(({ event, status }) => event === 'outcome' && status === 502);
  t.equal(lines.length, Object.keys(cases).length);
  t.ok(lines.every(({ end }) => end === 'upstream-error'));
});

t.test('after a refusal the connection serves the next call', async (t) => {
  let n = 0;
  guarded.upstream.behave = (request, socket) =>
    bytes(n++ === 0 ? whole(`{"Env":["A=${S3}"`) : whole('{"Env":["A=1"]}'))(request, socket);
  const { answers, text } = await talk(guarded.tcp, [INSPECT, 50, INSPECT], { answers: 2 });
  t.match(answers, [{ status: 502 }, { status: 200 }]);
  t.notMatch(text, S3);
});

t.test('a large answer that goes wrong is cut, and does not look complete', async (t) => {
  const entry = JSON.stringify({ Id: 'x'.repeat(64), Command: S3, Labels: { a: S3 } });
  const many = Array.from({ length: 2000 }, () => entry).join(',');
  const list = 'GET /v1.41/containers/json HTTP/1.1\r\nHost: docker\r\n\r\n';
  for (const [name, form] of [
    ['a flaw', whole(`[${many},}]`)],
    ['something behind it', whole(`[${many}]x`)],
    ['too short', whole(`[${many}`)],
    ['chunked, without an end', chunked([`[${many}]`], HEAD, '')],
    ['chunked, something behind it', chunked([`[${many}]`, S3])],
    ['chunked, too short', chunked([`[${many}`, `,${entry}`])],
  ] as const) {
    const { answers, text, closed } = await answerTo(list, bytes(form, 'end'), { answers: 0 });
    t.match(answers, [{ status: 200, complete: false }], name);
    t.not(closed, 'open', name);
    t.notMatch(text, S3, name);
  }
});

t.test('a long list streams, in constant memory', async (t) => {
  const entry = (i: number): string =>
    JSON.stringify({
      Id: String(i).padStart(64, '0'),
      Command: S3,
      Created: 1700000000,
      Labels: { a: S3, b: S3 },
      Pad: 'p'.repeat(5000),
    });
  const count = 60_000;
  const before = process.memoryUsage.rss();
  let peak = before;
  const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 5);
  guarded.upstream.behave = (_request, socket) => {
    socket.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
    let i = 0;
    const more = (): void => {
      while (i < count) {
        const piece = `${i === 0 ? '[' : ','}${entry(i)}`;
        i += 1;
        if (!socket.write(`${piece.length.toString(16)}\r\n${piece}\r\n`))
          return void socket.once('drain', more);
      }
      socket.write('1\r\n]\r\n0\r\n\r\n');
    };
    more();
  };
  const response = await fetch(`http://127.0.0.1:${guarded.tcp.port}/v1.41/containers/json`);
  let length = 0;
  let entries = 0;
  let tail = '';
  for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
    length += piece.length;
    const text = tail + Buffer.from(piece).toString('latin1');
    if (text.includes(S3)) t.fail('a secret');
    entries += text.split('"Command":"<redacted>"').length - 1;
    tail = text.slice(-('"Command":"<redacted>"'.length - 1));
  }
  clearInterval(watch);
  t.equal(entries, count);
  // Held as a whole, it would be more than that; what V8 has not collected yet does not grow with the list.
  const grown = `guard, engine and client together grew by ${((peak - before) / 1e6).toFixed(0)} MB`;
  t.ok(length > 300e6 && peak - before < 200e6, `${(length / 1e6).toFixed(0)} MB passed, ${grown}`);
});

t.test('events', async (t) => {
  const event = (action: string): string =>
    `${JSON.stringify({ Type: 'container', Action: action, Actor: { ID: 'x', Attributes: { image: 'alpine', k: S3 } } })}\n`;
  const types = [
    'application/json',
    'application/x-ndjson',
    'application/jsonl',
    'application/json-seq',
    'application/json; charset=utf-8',
  ];
  for (const type of types) {
    const head = `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\n`;
    const text = `${event('start')}${event(`exec_create: ${S3}`)}${event('die')}`;
    const pieces = type.endsWith('seq')
      ? [text.replace(/^/gm, '\x1e').slice(0, -1)]
      : [text.slice(0, 100), text.slice(100)];
    const { answers, text: all } = await answerTo(EVENTS, bytes(chunked(pieces, head)));
    t.match(answers, [{ status: 200, complete: true }], type);
    t.notMatch(all, S3);
    t.match(all, 'exec_create: <redacted>');
  }
  // A silent stream shows its head at once, and each event when it comes.
  let write: ((text: string) => void) | undefined;
  guarded.upstream.behave = (_request, socket) => {
    socket.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
    write = (text) => socket.write(`${text.length.toString(16)}\r\n${text}\r\n`);
  };
  const talking = talk(guarded.tcp, [EVENTS], { answers: 0, timeout: 1500 });
  while (write === undefined) await new Promise((resolve) => setTimeout(resolve, 10));
  const first = event('start');
  write(first.slice(0, 50));
  await new Promise((resolve) => setTimeout(resolve, 100));
  write(first.slice(50));
  const { text } = await talking;
  t.match(text, /^HTTP\/1\.1 200 OK/);
  t.match(text, '"Action":"start"');
  t.notMatch(text, S3);
  // Garbage in the middle cuts it.
  guarded.upstream.behave = (_request, socket) => {
    socket.write(chunked([event('start')], HEAD, ''));
    setTimeout(() => socket.write(chunked([`${S3}\n`, event('die')], '').replace(/^.*\r\n\r\n/, '')), 100);
  };
  const odd = await talk(guarded.tcp, [EVENTS], { answers: 0 });
  t.match(odd.answers, [{ status: 200, complete: false }]);
  t.not(odd.closed, 'open');
  t.match(odd.text, '"Action":"start"');
  t.notMatch(odd.text, S3);
  // A stream of another type is refused before anything of it passes.
  const other = await answerTo(
    EVENTS,
    bytes(chunked([S3], 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n')),
  );
  t.match(other.answers, [{ status: 502 }]);
});

t.test('errors', async (t) => {
  const error = (status: number, type: string, body: string): string =>
    whole(body, `HTTP/1.1 ${status} X\r\nContent-Type: ${type}\r\n`);
  const start = 'POST /v1.41/containers/web/start HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n';
  const quoting = JSON.stringify({ message: `exec: "${S3}": executable file not found` });
  for (const request of [start, INSPECT, EVENTS]) {
    const { answers, text } = await answerTo(request, bytes(error(500, 'application/json', quoting)));
    t.match(answers, [{ status: 500, complete: true }]);
    t.match(JSON.parse(answers[0]!.body.toString()), { message: /<redacted>/ });
    t.notMatch(text, S3);
  }
  const plain = await answerTo(start, bytes(error(500, 'text/plain; charset=utf-8', `exec: ${S3}\n`)));
  t.match(plain.answers, [{ status: 500 }]);
  t.notMatch(plain.text, S3);
  const kept = await answerTo(
    INSPECT,
    bytes(error(404, 'application/json', '{"message":"No such container: web"}\n')),
  );
  t.equal(kept.answers[0]?.body.toString(), '{"message":"No such container: web"}\n');
  const html = await answerTo(start, bytes(error(500, 'text/html', `<p>${S3}`)));
  t.match(html.answers, [{ status: 502 }]);
  t.notMatch(html.text, S3);
  // After a hijack: raw text until the connection ends.
  const attach =
    'POST /v1.41/containers/web/attach?stream=1 HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n';
  const raw = `HTTP/1.1 404 Not Found\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n${S3}`;
  const hijacked = await answerTo(attach, bytes(raw, 'end'));
  t.notMatch(hijacked.text, S3);
  t.match(hijacked.answers, [{ status: 502 }]);
});

t.test('two changes of one answer', (t) => {
  const call = { operation: operationById('ContainerList') } as Call;
  const place = recursive({ env: everywhere('<redacted>') });
  const redact = redactAnswer(
    {
      rewrites: [],
      body: () => editJson(place, { documents: 'one' }),
      error: () => editJson(place, { documents: 'one' }),
      errorText: (text) => text,
      path: undefined,
    },
    call,
  );
  const filter: AnswerChanger = ({ headers, length }) => {
    t.equal(length, -1, 'its length is no longer known');
    const keep = (element: unknown): boolean => (element as { Id: number }).Id !== 1;
    return { headers: [...headers, 'X-Filtered', 'yes'], transform: filterElements(keep, { element: 1000 }) };
  };
  const both = bothChanges(redact, filter)!({
    status: 200,
    headers: ['Content-Type', 'application/json', 'Content-Length', '99', 'ETag', 'x'],
    length: 99,
  });
  t.strictSame(both.headers, ['Content-Type', 'application/json', 'X-Filtered', 'yes']);
  const out = both.transform!.feed(Buffer.from('[{"Id":1,"Env":["a"]},{"Id":2,"Env":["b"]}]'));
  t.equal(Buffer.from(out).toString(), '[{"Id":2,"Env":["<redacted>"]}]');
  t.equal(bothChanges(undefined, undefined), undefined);
  t.equal(bothChanges(redact, undefined), redact);
  t.equal(bothChanges(undefined, filter), filter);
  t.end();
});

t.test('content passes, and so does what has no body', async (t) => {
  const logs = 'GET /v1.41/containers/web/logs?stdout=1 HTTP/1.1\r\nHost: docker\r\n\r\n';
  const { text } = await answerTo(
    logs,
    bytes(whole('output', 'HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n')),
  );
  t.match(text, 'output');
  const ping = await answerTo(
    'GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n',
    bytes(whole('OK', 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n')),
  );
  t.equal(ping.answers[0]?.body.toString(), 'OK');
  const empty = await answerTo(
    'POST /v1.41/containers/web/start HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n',
    bytes('HTTP/1.1 204 No Content\r\n\r\n'),
  );
  t.match(empty.answers, [{ status: 204, complete: true }]);
  const nothing = await answerTo(INSPECT, bytes(whole('')));
  t.match(nothing.answers, [{ status: 200, complete: true }]);
  const attach =
    'POST /v1.41/containers/web/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n';
  guarded.upstream.behave = echo();
  const tunnel = await talk(guarded.tcp, [attach, 100, 'hello', 100, FIN], { answers: 0, timeout: 2000 });
  t.match(tunnel.text, /^HTTP\/1\.1 101 [^]*hello$/);
});

t.test('the target of a link, in a header', async (t) => {
  const stat = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64');
  const link = {
    name: 'link',
    size: 9,
    mode: 134218239,
    mtime: '2026-01-01T00:00:00Z',
    linkTarget: `/host/${S3}`,
  };
  const request = 'HEAD /v1.41/containers/web/archive?path=%2Flink HTTP/1.1\r\nHost: docker\r\n\r\n';
  const head = (value: string): string => `HTTP/1.1 200 OK\r\nX-Docker-Container-Path-Stat: ${value}\r\n\r\n`;
  const { answers } = await answerTo(request, bytes(head(stat(link))), { headAt: 0 });
  const found: unknown = JSON.parse(
    Buffer.from(answers[0]!.headers['x-docker-container-path-stat']!, 'base64').toString(),
  );
  t.strictSame(found, { ...link, linkTarget: '<redacted>' });
  for (const odd of ['%%%', stat(link).slice(0, 40), Buffer.from(`${S3}`).toString('base64')]) {
    const refused = await answerTo(request, bytes(head(odd)), { headAt: 0 });
    t.match(refused.answers, [{ status: 502 }], odd);
  }
  const get = await answerTo(
    request.replace('HEAD', 'GET'),
    bytes(
      `HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\nX-Docker-Container-Path-Stat: ${stat(link)}\r\nContent-Length: 3\r\n\r\ntar`,
    ),
  );
  t.equal(get.answers[0]?.body.toString(), 'tar', 'the archive is content');
  t.notMatch(Buffer.from(get.answers[0]!.headers['x-docker-container-path-stat']!, 'base64').toString(), S3);
});
