import { execFile } from 'node:child_process';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { startTrialEngine } from '../../src/trial-engine/engine.js';
import { trialName } from '../../src/trial-engine/answers.js';
import { trialLimits } from '../../src/trial-engine/store.js';

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  readonly text: string;
}

const run = promisify(execFile);
const docker = await run('docker', ['--version']).then(
  () => true,
  () => false,
);
const engine = await startTrialEngine();
const socketPath = engine.url.slice('unix://'.length);
t.teardown(() => engine.close());

function call(method: string, path: string, body?: string | Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const bytes = Buffer.concat(chunks);
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          bytes,
          text: bytes.toString(),
        });
      });
      response.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

function field(answer: Answer, ...names: string[]): unknown {
  let value: unknown = JSON.parse(answer.text);
  for (const name of names) value = (value as Record<string, unknown>)[name];
  return value;
}

await t.test('says what it is and where it lives is private', async (t) => {
  t.match(engine.url, /^unix:\/\/\//);
  t.equal((await stat(dirname(socketPath))).mode & 0o777, 0o700);
  const ping = await call('GET', '/_ping');
  t.equal(ping.status, 200);
  t.equal(ping.text, 'OK');
  t.match(ping.headers, { 'api-version': '1.41', 'docker-experimental': 'false', ostype: 'linux' });
  const head = await call('HEAD', '/v1.41/_ping');
  t.equal(head.status, 200);
  t.equal(head.headers['api-version'], '1.41');
  t.equal(field(await call('GET', '/version'), 'Platform', 'Name'), trialName);
  const info = await call('GET', '/v1.30/info');
  t.equal(field(info, 'ServerVersion'), trialName);
  t.match(field(info, 'Warnings'), [/runs nothing/]);
});

await t.test('a build reads the context, keeps nothing, makes a name', async (t) => {
  const built = await call('POST', '/v1.41/build?t=demo%3A1&t=other', Buffer.alloc(3 << 20, 1));
  t.equal(built.status, 200);
  const lines = built.text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { stream?: string; aux?: { ID: string } });
  t.match(built.text, /3145728 bytes\) was read and thrown away; no instruction was run/);
  t.match(built.text, /Successfully tagged other:latest/);
  const id = lines.find((line) => line.aux)?.aux?.ID ?? '';
  t.match(id, /^sha256:[0-9a-f]{64}$/);
  for (const name of ['demo:1', 'other', 'docker.io/library/other:latest', id, id.slice(7, 19)]) {
    const found = await call('GET', `/v1.41/images/${encodeURIComponent(name)}/json`);
    t.equal(field(found, 'Id'), id, name);
  }
  t.match((await call('GET', '/images/json')).text, new RegExp(id), 'it is in the list');
  const quiet = await call('POST', '/build?q=1');
  t.match(quiet.text, /^{"stream":"sha256:[0-9a-f]{64}\\n"}\r\n$/);
  await call('POST', '/build?t=demo:1');
  t.not(field(await call('GET', '/images/demo:1/json'), 'Id'), id, 'a tag moves to the new image');
});

await t.test('a container is created, started, exits at once and says so', async (t) => {
  const body = JSON.stringify({ Image: 'alpine', Cmd: ['echo', 'hi'], HostConfig: { Privileged: true } });
  const created = await call('POST', '/v1.41/containers/create?name=one', body);
  t.equal(created.status, 201);
  const id = String(field(created, 'Id'));
  t.match(field(created, 'Warnings'), [/will not run anything/]);
  t.equal(field(await call('GET', '/containers/one/json'), 'State', 'Status'), 'created');
  t.equal(field(await call('GET', '/containers/one/json'), 'HostConfig', 'Privileged'), true);
  t.equal((await call('GET', '/containers/one/logs?stdout=1')).text, '');
  const waiting = call('POST', '/containers/one/wait?condition=next-exit');
  t.equal((await call('POST', `/containers/${id.slice(0, 12)}/start`)).status, 204);
  t.equal(field(await waiting, 'StatusCode'), 0);
  const logs = await call('GET', '/containers/one/logs?stdout=1&stderr=1');
  t.equal(logs.bytes.readUInt8(0), 1, 'stdcopy frame on stdout');
  t.equal(logs.bytes.readUInt32BE(4), logs.bytes.length - 8);
  t.match(logs.text, /nothing was run. The command would have been \["echo","hi"\]/);
  t.match((await call('GET', '/containers/json?all=1')).text, /"State":"exited"/);
  t.equal((await call('GET', '/containers/json')).text, '[]\n', 'none is ever running');
  t.equal((await call('POST', '/containers/one/stop')).status, 304);
  t.equal((await call('DELETE', '/images/alpine')).status, 409);
  t.equal((await call('DELETE', '/containers/one')).status, 204);
  t.equal((await call('GET', '/containers/one/json')).status, 404);
});

await t.test('errors have the shape of Docker', async (t) => {
  const cases: [string, string, string | undefined, number, RegExp][] = [
    ['GET', '/v1.99/info', undefined, 400, /Maximum supported API version is 1.41/],
    ['GET', '/v1.12/info', undefined, 400, /Minimum supported API version is 1.24/],
    ['GET', '/%zz', undefined, 400, /percent-encoding/],
    ['GET', '/images/nope/json', undefined, 404, /No such image: nope:latest/],
    ['GET', '/images/N%20ope/json', undefined, 400, /invalid reference/],
    ['POST', '/containers/create', '{"Image":"nope"}', 404, /No such image/],
    ['POST', '/containers/create', '{}', 400, /No image/],
    ['POST', '/containers/create', '[]', 400, /not a JSON object/],
    ['POST', '/containers/create', '{', 400, /not valid JSON/],
    ['POST', '/containers/create?name=a%20b', '{"Image":"alpine"}', 400, /Invalid container name/],
    ['POST', '/containers/create', `{"Image":"${'a'.repeat(trialLimits.jsonBody)}"}`, 413, /too large/],
    ['POST', '/containers/x/start', undefined, 404, /No such container: x/],
    ['GET', '/containers/x/logs', undefined, 404, /No such container/],
    ['GET', '/containers/json?filters=%7B%22a%22%3A1%7D', undefined, 501, /filters/],
    ['POST', '/build?version=2', 'x', 501, /DOCKER_BUILDKIT=0/],
    ['GET', '/events', undefined, 501, /GET \/events is not implemented/],
    ['PUT', '/version', undefined, 501, /not implemented/],
  ];
  for (const [method, path, body, status, message] of cases) {
    const answer = await call(method, path, body);
    t.equal(answer.status, status, `${method} ${path}`);
    t.match(field(answer, 'message'), message);
  }
});

await t.test('memory is bounded: a full engine refuses', async (t) => {
  let last = await call('POST', '/build');
  for (let n = 0; n < trialLimits.images && last.status === 200; n++) last = await call('POST', '/build');
  t.equal(last.status, 507);
  t.match(last.text, /holds at most 64 images/);
  const image = field(await call('GET', '/images/alpine/json'), 'Id');
  const body = JSON.stringify({ Image: image });
  for (let n = 0; n < trialLimits.containers; n++) last = await call('POST', '/containers/create', body);
  t.equal(last.status, 201);
  t.equal((await call('POST', '/containers/create', body)).status, 507);
});

await t.test('broken requests and clients that leave do no harm', async (t) => {
  for (const bytes of [
    '\0\0\0',
    'GET / HTTP/9.9\r\n\r\n',
    'POST /build HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx',
  ]) {
    await new Promise<void>((resolve) => {
      const socket = connect(socketPath, () => {
        socket.write(bytes);
        setTimeout(() => socket.destroy(), 20);
      });
      socket.on('error', () => undefined);
      socket.on('close', () => resolve());
    });
  }
  t.equal((await call('GET', '/_ping')).status, 200);
});

await t.test('close removes the socket and cuts who is still attached', async (t) => {
  const other = await startTrialEngine();
  const path = other.url.slice('unix://'.length);
  const id = await new Promise<string>((resolve, reject) => {
    const outgoing = request({ socketPath: path, method: 'POST', path: '/containers/create' }, (response) => {
      response.on('data', (chunk: Buffer) => resolve((JSON.parse(chunk.toString()) as { Id: string }).Id));
    });
    outgoing.on('error', reject);
    outgoing.end('{"Image":"alpine"}');
  });
  const socket = connect(path);
  socket.write(
    `POST /containers/${id}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`,
  );
  const head = await new Promise<string>((resolve) =>
    socket.once('data', (data) => resolve(data.toString())),
  );
  t.match(head, /^HTTP\/1\.1 101 UPGRADED\r\n/);
  const cut = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', () => undefined);
  socket.resume();
  await other.close();
  await cut;
  await t.rejects(stat(dirname(path)), { code: 'ENOENT' });
});

await t.test(
  'the docker CLI works with it',
  { skip: docker ? false : 'no docker CLI on PATH' },
  async (t) => {
    const own = await startTrialEngine();
    const directory = await mkdtemp(join(tmpdir(), 'breakwater-test-'));
    t.teardown(async () => {
      await own.close();
      await rm(directory, { recursive: true, force: true });
    });
    const env = { ...process.env, DOCKER_HOST: own.url, DOCKER_BUILDKIT: '0', DOCKER_CONFIG: directory };
    const docker = async (...args: string[]): Promise<string> => {
      const { stdout, stderr } = await run('docker', args, { env, timeout: 30_000 });
      return stdout + stderr;
    };
    t.match(await docker('version'), trialName);
    t.match(await docker('info'), /Server Version: Breakwater trial engine/);
    t.match(await docker('info'), /WARNING: this is the Breakwater trial engine/);
    t.match(await docker('images'), /alpine\s+latest/);
    await writeFile(join(directory, 'Dockerfile'), 'FROM alpine\nRUN false\n');
    t.match(
      await docker('build', '-t', 'mine', directory),
      /no instruction was run[^]*Successfully tagged mine:latest/,
    );
    await docker('create', '--name', 'two', 'mine', 'echo', 'hi');
    t.match(await docker('ps', '-a'), /two/);
    t.match(await docker('start', 'two'), /two/);
    t.match(await docker('logs', 'two'), /nothing was run/);
    t.match(await docker('start', '-a', 'two'), /nothing was run/);
    t.match(await docker('wait', 'two'), /0/);
    t.match(await docker('inspect', 'two'), /"Status": "exited"/);
    t.match(await docker('stop', 'two'), /two/);
    t.match(await docker('rm', 'two'), /two/);
    t.match(await docker('run', '--rm', 'mine', 'ls'), /nothing was run/);
    t.match(await docker('run', '--rm', '-t', 'mine', 'ls'), /nothing was run/);
    t.match(await docker('rmi', 'mine'), /Untagged: mine:latest/);
    t.notMatch(await docker('ps', '-a'), /mine/);
  },
);
