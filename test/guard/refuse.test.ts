import t from 'tap';
import { talk } from '../support/raw.js';
import { get, lines, PING, postJson } from './case.js';
import { startGuarded } from './guarded.js';

// After some refusals it is in doubt where the request ends and the next one begins: nothing more is read.

const guarded = await startGuarded({
  policy: {
    rules: [
      {
        id: 'ping',
        sources: ['*'],
        operations: ['SystemPing', 'ImageCreate', 'ContainerCreate'],
        permit: ['*'],
      },
    ],
  },
});
t.teardown(() => guarded.close());

const twice = (name: string, value: string): string =>
  lines(['GET /_ping HTTP/1.1', 'Host: docker', `${name}: ${value}`, `${name}: ${value}`]);

const DOUBTFUL: readonly (readonly [name: string, bytes: string, code: string, status: number])[] = [
  ['two Hosts', lines(['GET /_ping HTTP/1.1', 'Host: docker', 'Host: docker']), 'duplicate-header', 400],
  ...['Content-Type', 'Authorization', 'Content-Encoding', 'Upgrade'].map(
    (name) => [`${name} twice`, twice(name, 'x'), 'duplicate-header', 400] as const,
  ),
  [
    'a header that is not ASCII',
    get('/v1.41/images/create?fromImage=a&tag=1', 'X-Registry-Auth: \xfc').replace('GET', 'POST'),
    'header-character',
    400,
  ],
  [
    'HTTP/1.0 with chunks',
    lines(['GET /_ping HTTP/1.0', 'Transfer-Encoding: chunked'], '0\r\n\r\n'),
    'framing',
    400,
  ],
];

for (const [name, bytes, code, status] of DOUBTFUL) {
  await t.test(name, async (t) => {
    guarded.audit();
    guarded.upstream.forget();
    const got = await talk(guarded.tcp, [bytes + PING], { answers: 0, timeout: 3_000 });
    t.same(
      got.answers.map((answer) => answer.status),
      [status],
      'one answer: the request behind it is not served',
    );
    t.equal(got.answers[0]?.headers['connection'], 'close', 'which says that it is the last');
    t.equal(got.closed, 'end', 'and the connection ends');
    const decisions = guarded.audit().filter(({ event }) => event === 'decision');
    t.same(
      decisions.map((line) => line.code),
      [code],
    );
    t.same(guarded.upstream.requests, []);
  });
}

await t.test('after any other refusal the connection serves the next request', async (t) => {
  for (const [bytes, status] of [
    [get('/v1.41/info'), 403],
    [get('/no/such/thing'), 404],
    [postJson('/v1.41/containers/create', '{"HostConfig":{"Binds":[],"binds":[]}}'), 400],
    [get('/_ping', 'Expect: x'), 417],
  ] as const) {
    const got = await talk(guarded.tcp, [bytes + PING], { answers: 2, timeout: 3_000 });
    t.same(
      got.answers.map((answer) => answer.status),
      [status, 200],
      bytes.split('\r\n', 1)[0]!,
    );
    t.not(got.answers[0]?.headers['connection'], 'close');
  }
});
