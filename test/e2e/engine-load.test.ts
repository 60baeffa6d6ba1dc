import { existsSync, readFileSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { sleep, until } from '../support/command.js';
import { missing, send, startEngine, type Engine } from '../support/engine.js';
import { freePort } from '../support/free-port.js';
import { selfCheck, startGuard, type Guard } from '../support/guard.js';
import { file, tar } from '../support/tar.js';

// What a call costs the engine itself, and what its API version changes: what the engine does when nobody stands before
// it, that it never comes to that behind the guard, and that calls much like it pass and reach the engine as they are.

/** Anybody may do anything that has no hazard; a stop sends one signal. */
const POLICY = {
  rules: [
    { id: 'plain', sources: ['*'], operations: ['Container*', 'Image*', 'Volume*', 'System*'] },
    {
      id: 'signal',
      effect: 'deny',
      sources: ['*'],
      operations: ['ContainerStop'],
      where: { signal: { not: ['SIGUSR1'] } },
    },
  ],
};

interface Answered {
  readonly status: number;
  readonly text: string;
  readonly json: Record<string, unknown>;
}

async function call(socket: string, method: string, path: string, body?: unknown): Promise<Answered> {
  const archive = Buffer.isBuffer(body);
  const bytes = body === undefined ? undefined : archive ? body : JSON.stringify(body);
  const type = archive ? 'application/x-tar' : 'application/json';
  const answer = await send(socket, method, path, bytes, 120_000, type);
  const text = answer.body.toString();
  let json: Record<string, unknown> = {};
  try {
    json = JSON.parse(text) as Record<string, unknown>;
  } catch {
    // No JSON.
  }
  return { status: answer.status, text, json };
}

async function main(t: Test, dockerd?: string): Promise<void> {
  // What an administrator may choose, and older API versions undo.
  const engine = await startEngine(dockerd, ['--default-cgroupns-mode=private']);
  t.teardown(() => engine.stop());
  const guard = await startGuard({ upstream: engine.host, policy: POLICY });
  t.teardown(() => guard.stop());
  await costs(t, engine, guard);
  await ordinary(t, engine, guard);
  await versions(t, engine, guard);
}

/** Not seconds of the machine, which others use as well: those of dockerd. */
function processorSeconds({ dir }: Engine): number {
  const pid = readFileSync(join(dir, 'pid'), 'utf8').trim();
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

const members = (count: number): Record<string, object> =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`/v${index}`, {}]));
const logs = (Config: Record<string, string>) => ({
  HostConfig: { LogConfig: { Type: 'json-file', Config } },
});
const filtered = (name: string): string =>
  `/containers/json?all=1&filters=${encodeURIComponent(JSON.stringify({ name: [name] }))}`;

async function costs(t: Test, engine: Engine, guard: Guard): Promise<void> {
  const direct = (method: string, path: string, body?: unknown) => call(engine.socket, method, path, body);
  const guarded = (method: string, path: string, body?: unknown) =>
    call(guard.unix.socket, method, path, body);
  const make = async (body: object): Promise<string> => {
    const { json, text } = await direct('POST', '/v1.41/containers/create', { Image: 'alpine', ...body });
    if (typeof json['Id'] !== 'string') throw new Error(text);
    return json['Id'];
  };
  const remove = (id: string) => direct('DELETE', `/containers/${id}?force=1&v=1`);

  await t.test('without a guard: one byte of a container is megabytes of its log', async (t) => {
    const id = await make({ ...logs({ tag: '{{pad "x" 3000000 0}}' }), Cmd: ['echo'] });
    await direct('POST', `/containers/${id}/start`);
    await direct('POST', `/containers/${id}/wait`);
    const { json } = await direct('GET', `/containers/${id}/json`);
    t.ok(statSync(String(json['LogPath'])).size > 3_000_000, 'the template ran in dockerd');
    await remove(id);
  });

  await t.test('without a guard: a health check every millisecond runs without a pause', async (t) => {
    const id = await make({ Cmd: ['sleep', '60'], Healthcheck: { Test: ['CMD', 'true'], Interval: 1e6 } });
    await direct('POST', `/containers/${id}/start`);
    await sleep(6_000);
    const now = Math.floor(Date.now() / 1000);
    const { text } = await direct(
      'GET',
      `/events?since=${now - 30}&until=${now}&filters={"container":["${id}"]}`,
    );
    const probes = text.split('exec_start').length - 1;
    t.ok(probes >= 8, `${probes} processes, where one every 5 s makes one`);
    await remove(id);
  });

  await t.test('without a guard: a filter of a reader costs dockerd seconds', async (t) => {
    const id = await make({});
    const started = processorSeconds(engine);
    t.equal((await direct('GET', filtered('^/?web-[0-9]{1,3}$'))).status, 200);
    const plain = processorSeconds(engine);
    t.equal((await direct('GET', filtered('a{1000}'.repeat(1_000)))).status, 200);
    const costly = processorSeconds(engine);
    t.ok(costly - plain > 0.2 + (plain - started), `${costly - plain} s, a plain one ${plain - started} s`);
    await remove(id);
  });

  await t.test('without a guard: each anonymous volume is one on disk', async (t) => {
    const id = await make({ Volumes: members(101) });
    const { json } = await direct('GET', '/volumes');
    t.equal((json['Volumes'] as unknown[]).length, 101);
    await remove(id);
  });

  await t.test('with the guard nothing of it reaches the engine', async (t) => {
    const create = '/v1.41/containers/create';
    const health = (Healthcheck: object) => ({ Healthcheck: { Test: ['CMD', 'true'], ...Healthcheck } });
    const build = (line: string) => tar(file('Dockerfile', `FROM alpine\n${line}\n`));
    const denied: readonly (readonly [hazard: string, method: string, path: string, body?: unknown])[] = [
      ['log-option:tag={{pad', 'POST', create, logs({ tag: '{{pad "x" 30000000000000 0}}' })],
      ['log-option:tag={{json .}}', 'POST', create, logs({ tag: '{{json .}}' })],
      [
        'log-option:max-buffer-size=800g',
        'POST',
        create,
        logs({ mode: 'non-blocking', 'max-buffer-size': '800g' }),
      ],
      ['log-option:mode=non-blocking', 'POST', create, logs({ mode: 'non-blocking' })],
      [
        'log-option:max-file=2000000000',
        'POST',
        create,
        logs({ 'max-size': '1m', 'max-file': '2000000000' }),
      ],
      ['engine-load:health-interval=1ms', 'POST', create, health({ Interval: 1e6 })],
      ['engine-load:volumes=101', 'POST', create, { Volumes: members(101) }],
      ['engine-load:stop-timeout=-1s', 'POST', create, { StopTimeout: -1 }],
      ['engine-load:cpu-shares=262144', 'POST', create, { HostConfig: { CpuShares: 262_144 } }],
      ['engine-load:text=', 'POST', create, { Labels: { a: 'x'.repeat(600_000) } }],
      ['engine-load:name-filter=', 'GET', filtered('a{1000}'.repeat(1_000))],
      [
        'engine-load:health-interval=1ms',
        'POST',
        '/v1.41/build?t=x',
        build('HEALTHCHECK --interval=1ms CMD true'),
      ],
    ];
    for (const [hazard, method, path, body] of denied) {
      const whole =
        Buffer.isBuffer(body) || body === undefined ? body : { Image: 'alpine', ...(body as object) };
      const { status, text } = await guarded(method, path, whole);
      t.equal(status, 403, hazard);
      t.ok(
        (JSON.parse(text) as { message: string }).message.includes(hazard),
        `${hazard}: ${text.slice(0, 200)}`,
      );
    }
    t.same((await direct('GET', '/containers/json?all=1')).json, [], 'no container');
    t.same((await direct('GET', '/volumes')).json['Volumes'] ?? [], [], 'no volume');
    t.notMatch((await direct('GET', '/images/json')).text, '"x:latest"', 'no image');
  });
}

async function ordinary(t: Test, engine: Engine, guard: Guard): Promise<void> {
  await t.test('what is ordinary passes, and reaches the engine as it is', async (t) => {
    const guarded = (method: string, path: string, body?: unknown) =>
      call(guard.unix.socket, method, path, body);
    const Config = {
      'max-size': '10m',
      'max-file': '3',
      tag: '{{.Name}}/{{.ID}}',
      'env-regex': '^(TEAM|STAGE)$',
    };
    const Healthcheck = { Test: ['CMD', 'true'], Interval: 5e9, Timeout: 1e9, Retries: 3 };
    const created = await guarded('POST', '/v1.41/containers/create?name=web-1', {
      Image: 'alpine',
      Cmd: ['sh', '-c', 'echo hello; sleep 60'],
      Env: ['TEAM=a'],
      Labels: { a: 'b' },
      Healthcheck,
      StopTimeout: 120,
      Volumes: members(5),
      HostConfig: { ...logs(Config).HostConfig, CpuShares: 2_048, ShmSize: 64e6 },
    });
    t.equal(created.status, 201, created.text);
    const id = String(created.json['Id']);
    t.equal((await guarded('POST', `/v1.41/containers/${id}/start`)).status, 204);
    const { json } = await call(engine.socket, 'GET', `/containers/${id}/json`);
    t.match(json, {
      HostConfig: { LogConfig: { Type: 'json-file', Config }, CpuShares: 2_048 },
      Config: { Healthcheck, StopTimeout: 120, Labels: { a: 'b' } },
    });
    t.equal((json['Mounts'] as unknown[]).length, 5);
    const log = (): string => readFileSync(String(json['LogPath']), 'utf8');
    t.ok(await until(() => log().includes('hello'), 10_000));
    t.match(log(), `"tag":"web-1/${id.slice(0, 12)}"`, 'the tag is in the line');
    const list = await guarded('GET', filtered('^/?web-[0-9]{1,3}$'));
    t.equal(list.status, 200);
    t.equal((JSON.parse(list.text) as unknown[]).length, 1);
    const { status, text } = await guarded(
      'POST',
      '/v1.41/build?t=fine',
      tar(file('Dockerfile', 'FROM alpine\nVOLUME /a /b\nHEALTHCHECK --interval=5s CMD true\n')),
    );
    t.equal(status, 200, text);
    t.match((await call(engine.socket, 'GET', '/images/fine/json')).json, {
      Config: { Healthcheck: { Interval: 5e9 } },
    });
    await call(engine.socket, 'DELETE', `/containers/${id}?force=1&v=1`);
  });
}

/** A client of a websocket that says it sends nothing, and sends a line. Resolves to the status line. */
function typeInto(socket: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const line = Buffer.from('hi\n');
    const mask = Buffer.from([1, 2, 3, 4]);
    const frame = Buffer.concat([
      Buffer.from([0x82, 0x80 | line.length]),
      mask,
      line.map((byte, at) => byte ^ mask[at % 4]!),
    ]);
    const client = connect(socket, () =>
      client.write(
        `GET ${path} HTTP/1.1\r\nHost: d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: http://d\r\n` +
          'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
      ),
    );
    client.setTimeout(10_000, () => client.destroy(new Error(`no answer to ${path}`)));
    client.on('error', reject);
    client.once('data', (head: Buffer) => {
      const status = head.toString('latin1').split('\r\n', 1)[0] ?? '';
      if (!status.includes(' 101 ')) {
        client.destroy();
        return resolve(status);
      }
      client.write(frame);
      setTimeout(() => {
        client.destroy();
        resolve(status);
      }, 1_500);
    });
  });
}

async function versions(t: Test, engine: Engine, guard: Guard): Promise<void> {
  const direct = (method: string, path: string, body?: unknown) => call(engine.socket, method, path, body);
  const guarded = (method: string, path: string, body?: unknown) =>
    call(guard.unix.socket, method, path, body);
  const { ApiVersion } = (await direct('GET', '/version')).json as { ApiVersion: string };
  const newest = Number(ApiVersion.split('.')[1]);
  const start = async (body: object): Promise<string> => {
    const made = await direct('POST', '/v1.41/containers/create', { Image: 'alpine', ...body });
    const id = String(made.json['Id']);
    await direct('POST', `/containers/${id}/start`);
    return id;
  };
  const remove = (id: string) => direct('DELETE', `/containers/${id}?force=1&v=1`);

  await t.test('attach/ws: below 1.42 input is attached whatever the call says', async (t) => {
    const READ = { OpenStdin: true, Cmd: ['sh', '-c', 'read x; echo got $x; sleep 60'] };
    const got = async (id: string): Promise<boolean> =>
      (await direct('GET', `/containers/${id}/logs?stdout=1`)).text.includes('got hi');
    const query = 'attach/ws?stream=1&stdout=1&stdin=0';
    const open = await start(READ);
    t.match(await typeInto(engine.socket, `/v1.41/containers/${open}/${query}`), / 101 /);
    t.equal(await got(open), true, 'without a guard: the line was read');
    const closed = await start(READ);
    for (const version of ['/v1.41', '/v1.24', '']) {
      const status = await typeInto(guard.unix.socket, `${version}/containers/${closed}/${query}`);
      t.match(status, / 403 /, `${version || 'no version'}: denied`);
    }
    if (newest >= 42) {
      t.match(
        await typeInto(guard.unix.socket, `/v1.42/containers/${closed}/${query}`),
        / 101 /,
        '1.42: passes',
      );
    }
    t.equal(await got(closed), false, 'nothing was read');
    await remove(open);
    await remove(closed);
  });

  await t.test('create: namespaces that a call does not name', async (t) => {
    const create = (version: string, HostConfig: object) =>
      [`/v${version}/containers/create`, { Image: 'alpine', HostConfig }] as const;
    const modes = async (version: string): Promise<unknown> => {
      const { json } = await direct('POST', ...create(version, {}));
      const made = await direct('GET', `/containers/${String(json['Id'])}/json`);
      await remove(String(json['Id']));
      const { IpcMode, CgroupnsMode } = made.json['HostConfig'] as Record<string, string>;
      return { IpcMode, CgroupnsMode };
    };
    const old = existsSync('/sys/fs/cgroup/cgroup.controllers') ? 'private' : 'host';
    t.same(await modes('1.39'), { IpcMode: 'shareable', CgroupnsMode: old });
    t.same(await modes('1.40'), { IpcMode: 'private', CgroupnsMode: old });
    t.same(await modes('1.41'), { IpcMode: 'private', CgroupnsMode: 'private' });
    t.match((await guarded('POST', ...create('1.39', {}))).text, /namespace:ipc=shareable/);
    t.match((await guarded('POST', ...create('1.40', {}))).text, /host-namespace:cgroup/);
    for (const [version, host] of [
      ['1.39', { IpcMode: 'private', CgroupnsMode: 'private' }],
      ['1.40', { CgroupnsMode: 'private' }],
      ['1.41', {}],
    ] as const) {
      const { status, json } = await guarded('POST', ...create(version, host));
      t.equal(status, 201, version);
      await remove(String(json['Id']));
    }
  });

  await t.test('stop: the signal counts from 1.42 on', async (t) => {
    const trap = { Cmd: ['sh', '-c', 'trap "exit 7" USR1; trap "exit 8" TERM; while :; do sleep 0.1; done'] };
    const code = async (id: string): Promise<number> =>
      ((await direct('GET', `/containers/${id}/json`)).json['State'] as { ExitCode: number }).ExitCode;
    const one = await start(trap);
    await sleep(500);
    await direct('POST', `/v1.41/containers/${one}/stop?signal=SIGUSR1`);
    t.equal(await code(one), 8, 'without a guard: another signal was sent');
    const two = await start(trap);
    await sleep(500);
    t.equal((await guarded('POST', `/v1.41/containers/${two}/stop?signal=SIGUSR1`)).status, 403, '1.41');
    t.equal((await guarded('POST', `/containers/${two}/stop?signal=SIGUSR1`)).status, 403, 'no version');
    if (newest >= 42) {
      t.equal((await guarded('POST', `/v1.42/containers/${two}/stop?signal=SIGUSR1`)).status, 204, '1.42');
      t.equal(await code(two), 7);
    }
    await remove(one);
    await remove(two);
  });

  await t.test('what an engine ignores: the limit of an update, capabilities of a service', async (t) => {
    const id = await start({ Cmd: ['sleep', '60'] });
    const pids = async (): Promise<unknown> =>
      (
        (await direct('GET', `/containers/${id}/json`)).json['HostConfig'] as {
          PidsLimit: unknown;
        }
      ).PidsLimit;
    await direct('POST', `/v1.39/containers/${id}/update`, { PidsLimit: 64 });
    t.not(await pids(), 64, '1.39');
    await direct('POST', `/v1.40/containers/${id}/update`, { PidsLimit: 64 });
    t.equal(await pids(), 64, '1.40');
    await remove(id);

    const address = `127.0.0.1:${await freePort()}`;
    const init = await direct('POST', '/v1.41/swarm/init', {
      ListenAddr: address,
      AdvertiseAddr: '127.0.0.1',
    });
    if (init.status !== 200) return t.comment(`no swarm here: ${init.text}`);
    for (const [version, dropped] of [
      ['1.40', undefined],
      ['1.41', ['CAP_CHOWN']],
    ] as const) {
      const made = await direct('POST', `/v${version}/services/create`, {
        Name: `s${version.slice(2)}`,
        TaskTemplate: {
          ContainerSpec: { Image: 'alpine', CapabilityDrop: ['CAP_CHOWN'] },
          Resources: { Limits: { Pids: 64 } },
        },
        Mode: { Replicated: { Replicas: 0 } },
      });
      const { json } = await direct('GET', `/services/${String(made.json['ID'])}`);
      const task = json['Spec'] as {
        TaskTemplate: {
          ContainerSpec: { CapabilityDrop?: string[] };
          Resources: { Limits?: { Pids?: number } };
        };
      };
      t.same(task.TaskTemplate.ContainerSpec.CapabilityDrop, dropped, `${version}: dropped capabilities`);
      t.equal(
        task.TaskTemplate.Resources.Limits?.Pids ?? 0,
        dropped === undefined ? 0 : 64,
        `${version}: pids`,
      );
    }
    await direct('POST', '/swarm/leave?force=1');
  });
}

const skip = missing() ?? (selfCheck ? 'self-check: a relay denies nothing' : undefined);
if (skip !== undefined) {
  t.comment(skip);
  t.plan(0, skip);
} else {
  t.setTimeout(560_000);
  await t.test('this engine', { timeout: 270_000 }, (t) => main(t));
  // fetch-trixie.sh puts a newer dockerd there.
  const newer = join(process.env['BREAKWATER_TRIXIE'] ?? '', 'dockerd');
  if (existsSync(newer)) await t.test('a newer engine', { timeout: 270_000 }, (t) => main(t, newer));
  else t.comment('NOT TESTED with a newer dockerd: BREAKWATER_TRIXIE is not set');
}
