import t, { type Test } from 'tap';
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HAZARDS } from '../../src/hazards/catalogue.js';
import { run, type Outcome } from '../support/command.js';
import { missing, startEngine, type Engine } from '../support/engine.js';
import { selfCheck, startGuard, type Guard } from '../support/guard.js';
import { startRegistry } from '../support/registry.js';
import { file, tar } from '../support/tar.js';

// The published attack in many forms, each of which a real engine would run; and ordinary days, which are let be.

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Sends one call; `from` is the address it comes from. */
type Send = (method: string, path: string, body?: object | Buffer, from?: string) => Promise<Answer>;

function sender(target: { readonly port: number } | { readonly socketPath: string }, own = ''): Send {
  return (method, path, body, from = own) =>
    new Promise((resolve, reject) => {
      const bytes = body === undefined || Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
      const type = Buffer.isBuffer(body) ? 'application/x-tar' : 'application/json';
      const outgoing = request(
        {
          ...('port' in target ? { host: '127.0.0.1', ...target, localAddress: from } : target),
          ...{ method, path, agent: false, timeout: 60_000 },
          headers: {
            ...(bytes !== undefined && { 'content-type': type }),
            ...(method === 'GET' ? {} : { 'content-length': bytes?.length ?? 0 }),
          },
        },
        (incoming) => {
          let text = '';
          incoming.setEncoding('utf8');
          incoming.on('data', (chunk: string) => (text += chunk));
          incoming.on('error', reject);
          incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, text }));
        },
      );
      outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer to ${method} ${path}`)));
      outgoing.on('error', reject);
      outgoing.end(bytes);
    });
}

const all = HAZARDS.filter(({ kind }) => kind !== 'sequence').map(({ kind, argument }) =>
  argument === 'none' ? kind : argument === 'path' ? `${kind}:/**` : `${kind}:**`,
);

/** Over the network everything but sequences; whoever has the socket, sequences as well; one may create, not start. */
const POLICY = {
  sources: {
    lan: { listener: ['tcp'] },
    creator: { cidr: ['127.0.9.0/24'] },
    ci: { listener: ['unix'] },
  },
  rules: [
    { id: 'create', sources: ['creator'], operations: ['ContainerCreate'], permit: [...all, 'sequence:**'] },
    { id: 'ci', sources: ['ci'], operations: ['*'], permit: ['*'] },
    {
      id: 'no-secrets',
      effect: 'deny',
      sources: ['*'],
      operations: ['SecretList', 'SwarmInspect'],
    },
    { id: 'lan', sources: ['lan'], operations: ['*'], permit: all },
  ],
};

const V = '/v1.41';

/** What an attacker does to get an image onto the engine, and the name by which he then runs it. */
interface Attack {
  readonly send: Send;
  /** Unique, and a valid name. */
  readonly tag: string;
  readonly from: string;
  /** An address that has done nothing yet. */
  readonly other: string;
  readonly build: (query: string, version?: string) => Promise<string>;
}

interface Variant {
  readonly name: string;
  /** Returns what is run. */
  readonly make: (attack: Attack) => Promise<string>;
  readonly look?: readonly string[];
  readonly runner?: 'other';
  /** The create is permitted; the start is not. Returns the name by which the container is started. */
  readonly start?: (container: string, attack: Attack) => Promise<string>;
}

const idOf = ({ text }: Answer): string =>
  /sha256:([0-9a-f]{64})/.exec(text)?.[1] ?? /Successfully built ([0-9a-f]{12})/.exec(text)?.[1] ?? 'none';
const tagged = async ({ build, tag }: Attack): Promise<string> => {
  await build(`t=${tag}`);
  return tag;
};

const VARIANTS: readonly Variant[] = [
  { name: 'as published', make: tagged },
  {
    name: 'the tag of a registry',
    make: async ({ build, tag }) => (
      await build(`t=registry.example.com/${tag}:v1`),
      `registry.example.com/${tag}:v1`
    ),
  },
  {
    name: 'the long form of the name',
    make: async (attack) => `docker.io/library/${await tagged(attack)}:latest`,
  },
  { name: 'no tag: short id', make: async ({ build }) => (await build('')).slice(0, 12) },
  { name: 'no tag: seven digits', make: async ({ build }) => (await build('')).slice(0, 7) },
  { name: 'no tag: whole id', make: ({ build }) => build('') },
  { name: 'no tag: id with its algorithm', make: async ({ build }) => `sha256:${await build('')}` },
  { name: 'quiet', make: ({ build }) => build('q=1') },
  { name: 'an API version without aux', make: ({ build }) => build('', '/v1.24') },
  {
    name: 'BuildKit in one request',
    make: async ({ build, tag }) => (await build(`version=2&t=${tag}`), tag),
  },
  {
    name: 'a tag given later',
    make: async ({ build, send, tag }) => {
      const id = await build('');
      await send('POST', `${V}/images/${id.slice(0, 12)}/tag?repo=nginx-${tag}&tag=1`);
      return `nginx-${tag}:1`;
    },
  },
  {
    name: 'a tag given later, the first one removed',
    make: async (attack) => {
      const tag = await tagged(attack);
      await attack.send('POST', `${V}/images/${tag}/tag?repo=second-${tag}`);
      await attack.send('DELETE', `${V}/images/${tag}`);
      return `second-${tag}`;
    },
  },
  {
    name: 'a step in the middle of the build',
    make: async ({ send, tag }) => {
      const context = tar(file('Dockerfile', `FROM alpine\nRUN echo ${tag} > /main.sh\nRUN echo 2 > /x\n`));
      const { text } = await send('POST', `${V}/build?rm=1`, context);
      return / ---\\u003e ([0-9a-f]{12})\\n"\}\r?\n\{"stream":"Step 3/.exec(text)?.[1] ?? 'none';
    },
  },
  {
    name: 'a step of a build that failed',
    make: async ({ send, tag }) => {
      const context = tar(file('Dockerfile', `FROM alpine\nRUN echo ${tag} > /main.sh\nRUN false\n`));
      const { text } = await send('POST', `${V}/build?rm=1`, context);
      return / ---\\u003e ([0-9a-f]{12})\\n"\}\r?\n\{"stream":"Step 3/.exec(text)?.[1] ?? 'none';
    },
  },
  {
    name: 'commit',
    make: async ({ send, tag }) => {
      const made = await send('POST', `${V}/containers/create`, { Image: 'alpine', Cmd: ['true'] });
      const { Id } = JSON.parse(made.text) as { Id: string };
      await send('POST', `${V}/commit?container=${Id}&repo=${tag}`);
      return tag;
    },
  },
  {
    name: 'commit, by id',
    make: async ({ send }) => {
      const made = await send('POST', `${V}/containers/create`, { Image: 'alpine', Cmd: ['true'] });
      const { Id } = JSON.parse(made.text) as { Id: string };
      return idOf(await send('POST', `${V}/commit?container=${Id}`));
    },
  },
  {
    name: 'import',
    make: async ({ send, tag }) => {
      await send('POST', `${V}/images/create?fromSrc=-&repo=${tag}&tag=x`, tar(file('main.sh', tag)));
      return `${tag}:x`;
    },
  },
  {
    name: 'import, by id',
    make: async ({ send, tag }) =>
      idOf(await send('POST', `${V}/images/create?fromSrc=-`, tar(file('main.sh', `${tag} id`)))),
  },
  {
    name: 'load',
    make: async ({ send, tag }) => {
      await send('POST', `${V}/images/load`, await loadable(tag));
      return `${tag}:loaded`;
    },
  },
  {
    name: 'load, by id under another name',
    make: async ({ send, tag }) => {
      await send('POST', `${V}/images/load`, await loadable(`${tag}b`));
      const { text } = await send('GET', `${V}/images/${tag}b:loaded/json`);
      await send('POST', `${V}/images/${tag}b:loaded/tag?repo=${tag}c`);
      await send('DELETE', `${V}/images/${tag}b:loaded`);
      return idOf({ status: 200, text });
    },
  },
  { name: 'another address runs it', make: tagged, runner: 'other' },
  {
    name: 'two addresses, and the one that runs it looked around',
    make: async ({ send, tag, other }) => {
      await send('POST', `${V}/build?t=${tag}`, contextOf(tag), other);
      return tag;
    },
  },
  { name: 'version and disk usage', look: ['/version', `${V}/system/df`], make: tagged },
  { name: 'info, and a list of all', look: ['/info', `${V}/containers/json?all=1`], make: tagged },
  {
    name: 'benign calls in between',
    make: async (attack) => {
      const calm = async (): Promise<void> => {
        for (const path of [
          '/_ping',
          '/info',
          '/containers/json',
          '/images/json',
          '/images/alpine/json',
          '/networks',
          '/volumes',
        ]) {
          await attack.send('GET', path.startsWith('/_') ? path : `${V}${path}`);
        }
        const made = await attack.send('POST', `${V}/containers/create`, { Image: 'busybox', Cmd: ['true'] });
        const { Id } = JSON.parse(made.text) as { Id: string };
        await attack.send('POST', `${V}/containers/${Id}/start`);
      };
      await calm();
      const tag = await tagged(attack);
      for (let n = 0; n < 5; n++) await calm();
      return tag;
    },
  },
  {
    name: 'the create is permitted: started by its name',
    make: tagged,
    start: (_container, { tag }) => Promise.resolve(`box-${tag}`),
  },
  { name: 'the create is permitted: started by its id', make: tagged, start: (id) => Promise.resolve(id) },
  {
    name: 'the create is permitted: started by its short id',
    make: tagged,
    start: (id) => Promise.resolve(id.slice(0, 12)),
  },
  {
    name: 'the create is permitted: renamed before',
    make: tagged,
    async start(id, { send, tag }) {
      await send('POST', `${V}/containers/${id}/rename?name=nginx-${tag}`);
      return `nginx-${tag}`;
    },
  },
];

const contextOf = (tag: string): Buffer =>
  tar(file('Dockerfile', `FROM alpine\nRUN echo ${tag} > /main.sh\nCMD ["cat", "/main.sh"]\n`));

let engine: Engine;

/** An archive as `docker save` writes it, of an image that the engine then has no more. */
async function loadable(tag: string): Promise<Buffer> {
  const direct = sender({ socketPath: engine.socket });
  await direct('POST', `${V}/images/create?fromSrc=-&repo=${tag}&tag=loaded`, tar(file('main.sh', tag)));
  const out = join(engine.dir, `${tag}.tar`);
  const saved = await run('docker', ['-H', engine.host, 'save', '-o', out, `${tag}:loaded`]);
  if (saved.code !== 0) throw new Error(saved.stderr);
  await direct('DELETE', `${V}/images/${tag}:loaded`);
  return readFileSync(out);
}

type Line = Readonly<Record<string, unknown>>;
const decisions = (guard: Guard): Line[] => guard.audit().filter(({ event }) => event === 'decision');

async function main(): Promise<void> {
  t.setTimeout(400_000);
  // Every guard ends with this process.
  process.setMaxListeners(40);
  engine = await startEngine();
  t.teardown(() => engine.stop());

  await t.test('the published attack in every form', async (t) => {
    const guard = await startGuard({ upstream: engine.host, policy: POLICY });
    t.teardown(() => guard.stop());
    let raised = 0;
    for (const [index, variant] of VARIANTS.entries()) {
      const from = `127.0.1.${index + 1}`;
      const send = sender({ port: guard.tcp.port }, from);
      const tag = `v${index}${Math.random().toString(36).slice(2, 8)}`;
      const build: Attack['build'] = async (query, version = V) => {
        const answer = await send('POST', `${version}/build?${query}`, contextOf(tag));
        t.equal(answer.status, 200, `${variant.name}: it builds`);
        return idOf(answer);
      };
      const attack: Attack = { send, tag, from, other: `127.0.2.${index + 1}`, build };
      for (const path of variant.look ?? ['/_ping', `${V}/containers/json?limit=-1&all=0`]) {
        t.equal((await send('GET', path)).status, 200);
      }
      const image = await variant.make(attack);
      const runner = variant.runner === 'other' ? attack.other : from;
      const body = { Image: image, Cmd: ['cat', '/main.sh'] };
      let answer: Answer;
      if (variant.start === undefined) {
        answer = await send('POST', `${V}/containers/create`, body, runner);
      } else {
        const made = await send(
          'POST',
          `${V}/containers/create?name=box-${tag}`,
          body,
          `127.0.9.${index + 1}`,
        );
        t.equal(made.status, 201, made.text);
        const container = (JSON.parse(made.text) as { Id: string }).Id;
        const name = await variant.start(container, attack);
        answer = await send('POST', `${V}/containers/${name}/start`);
      }
      t.equal(answer.status, 403, `${variant.name}: ${answer.text.slice(0, 300)}`);
      t.match(answer.text, 'sequence:build-and-run', variant.name);
      const line = decisions(guard).at(-1);
      t.match(line?.['sequences'], [{ sequence: 'build-and-run', action: 'deny' }]);
      if (answer.status === 403 && answer.text.includes('sequence:build-and-run')) raised += 1;
      // The engine would have done it.
      if (variant.start === undefined) {
        const direct = sender({ socketPath: engine.socket });
        t.equal(
          (await direct('POST', `${V}/containers/create`, body)).status,
          201,
          `${variant.name}: it works`,
        );
      }
    }
    t.comment(`engine ${engine.version}: ${raised} of ${VARIANTS.length} forms were raised`);
  });

  await t.test('pauses, and a window that is over', async (t) => {
    const config = { sequences: { 'build-and-run': { window: '4s' } } };
    const guard = await startGuard({ upstream: engine.host, policy: POLICY, config });
    t.teardown(() => guard.stop());
    for (const [index, pause, status] of [
      [1, 1_000, 403],
      [2, 5_000, 201],
    ] as const) {
      const send = sender({ port: guard.tcp.port }, `127.0.1.${index}`);
      await send('GET', '/_ping');
      await send('GET', `${V}/containers/json`);
      await sleep(index === 1 ? 1_000 : 0);
      await send('POST', `${V}/build?t=pause${index}`, contextOf(`pause${index}`));
      await sleep(pause);
      const { status: got, text } = await send('POST', `${V}/containers/create`, { Image: `pause${index}` });
      t.equal(got, status, `${pause} ms: ${text}`);
    }
  });

  await t.test('a pull of what was never here, and the host', async (t) => {
    const registry = await startRegistry(rootfs());
    t.teardown(() => registry.close());
    const guard = await startGuard({ upstream: engine.host, policy: POLICY });
    t.teardown(() => guard.stop());
    const send = sender({ port: guard.tcp.port }, '127.0.1.1');
    registry.put('evil/miner', 'latest');
    const image = `${registry.host}/evil/miner`;
    const pull = (): Promise<Answer> =>
      send('POST', `${V}/images/create?fromImage=${encodeURIComponent(image)}&tag=latest`);
    const create = (Image: string, HostConfig: object): Promise<Answer> =>
      send('POST', `${V}/containers/create`, { Image, Cmd: ['true'], HostConfig });
    t.match((await pull()).text, /Downloaded newer image|Pull complete/);
    const { text } = await send('GET', `${V}/images/${image}/json`);
    for (const [name, config] of [
      [image, { Privileged: true }],
      [image, { Binds: ['/:/host'] }],
      [`${image}:latest`, { PidMode: 'host' }],
      [idOf({ status: 200, text }), { Binds: ['/var/run/docker.sock:/s'] }],
    ] as const) {
      const got = await create(name, config);
      t.equal(got.status, 403, got.text);
      t.match(got.text, 'sequence:pull-and-escape');
    }
    t.equal((await create(image, {})).status, 201, 'without the host it runs');
    await send('POST', `${V}/images/${image}/tag?repo=harmless`);
    await send('DELETE', `${V}/images/${image}?force=1`);
    t.match(
      (await create('harmless', { Privileged: true })).text,
      'sequence:pull-and-escape',
      'under another name',
    );
    // After a restart nothing is remembered; by then the engine has the repository.
    await pull();
    const again = await startGuard({ upstream: engine.host, policy: POLICY });
    t.teardown(() => again.stop());
    const later = sender({ port: again.tcp.port }, '127.0.1.1');
    await later('POST', `${V}/images/create?fromImage=${encodeURIComponent(image)}&tag=latest`);
    const known = await later('POST', `${V}/containers/create`, {
      Image: image,
      HostConfig: { Privileged: true },
    });
    t.equal(known.status, 201, known.text);
  });

  await ordinaryDays();
}

const rootfs = (): Buffer =>
  tar(
    file('bin/sh', readFileSync('/bin/busybox'), { mode: 0o755 }),
    file('bin/sleep', readFileSync('/bin/busybox'), { mode: 0o755 }),
  );

/** Everything that one day did: nothing of it may be denied for a sequence, or be on record as an alert. */
async function day(
  name: string,
  live: (t: Test, guard: Guard) => Promise<void>,
  trusted = false,
): Promise<void> {
  await t.test(`an ordinary day: ${name}`, async (t) => {
    const guard = await startGuard({ upstream: engine.host, policy: POLICY });
    t.teardown(() => guard.stop());
    await live(t, guard);
    const lines = decisions(guard);
    const raised = lines.filter(
      ({ sequences, verdict }) => sequences !== undefined && (!trusted || verdict === 'deny'),
    );
    t.same(
      raised.map(({ operation, sequences }) => ({ operation, sequences })),
      [],
      `${lines.length} calls`,
    );
    calls += lines.length;
    quiet += raised.length === 0 ? 1 : 0;
    days += 1;
    t.comment(`${name}: ${lines.length} calls, ${raised.length} raised`);
  });
}

let calls = 0;
let quiet = 0;
let days = 0;

function docker(host: string, args: readonly string[], more: object = {}): Promise<Outcome> {
  return run('docker', args, {
    env: { DOCKER_HOST: host, DOCKER_CONFIG: engine.dockerConfig, DOCKER_BUILDKIT: '0', HOME: engine.dir },
    timeout: 60_000,
    ...more,
  });
}

const fine = (t: Test, outcome: Outcome, what: string): void => {
  t.equal(outcome.code, 0, `${what}: ${outcome.stderr.slice(-300)}`);
};

async function ordinaryDays(): Promise<void> {
  await day(
    'CI builds and runs, with the permit',
    async (t, { unix }) => {
      for (let n = 0; n < 3; n++) {
        fine(t, await docker(unix.host, ['ps']), 'ps');
        fine(
          t,
          await docker(unix.host, ['build', '-t', `ci-${n}`, '-'], { input: `FROM alpine\nRUN echo ${n}\n` }),
          'build',
        );
        fine(t, await docker(unix.host, ['run', '--rm', `ci-${n}`, 'true']), 'run');
      }
    },
    true,
  );
  await day(
    'a developer builds and runs, with the permit',
    async (t, { unix }) => {
      fine(t, await docker(unix.host, ['info']), 'info');
      fine(
        t,
        await docker(unix.host, ['build', '-t', 'dev', '-'], { input: 'FROM alpine\nRUN echo dev\n' }),
        'build',
      );
      fine(t, await docker(unix.host, ['run', '-d', '--name', 'dev', 'dev', 'sleep', '60']), 'run');
      fine(t, await docker(unix.host, ['ps', '-a']), 'ps');
      fine(t, await docker(unix.host, ['exec', 'dev', 'true']), 'exec');
      fine(t, await docker(unix.host, ['restart', '-t', '0', 'dev']), 'restart');
      fine(t, await docker(unix.host, ['rm', '-f', 'dev']), 'rm');
    },
    true,
  );
  await day(
    'CI builds and runs with the permit, and autoheal restarts that without',
    async (t, guard) => {
      const autoheal = sender({ port: guard.tcp.port }, '127.0.1.1');
      const list = `${V}/containers/json?filters=${encodeURIComponent('{"health":["unhealthy"]}')}`;
      for (const path of ['/_ping', list]) t.equal((await autoheal('GET', path)).status, 200);
      const dockerfile = 'FROM alpine\nRUN echo app\n';
      fine(
        t,
        await docker(guard.unix.host, ['build', '-q', '-t', 'app', '-'], { input: dockerfile }),
        'build',
      );
      const sick = ['--health-cmd', 'false', '--health-interval', '200ms', '--health-retries', '1'];
      const args = ['run', '-d', '--init', '--name', 'app', ...sick, 'app', 'sleep', '60'];
      fine(t, await docker(guard.unix.host, args), 'run');
      for (let round = 0; round < 3; round++) {
        await autoheal('GET', list);
        t.equal((await autoheal('POST', `${V}/containers/app/restart?t=0`)).status, 204);
      }
      fine(t, await docker(guard.unix.host, ['rm', '-f', 'app']), 'rm');
    },
    true,
  );
  await day('a developer runs images, without', async (t, { tcp }) => {
    for (const args of [
      ['version'],
      ['ps'],
      ['images'],
      ['run', '--rm', 'alpine', 'true'],
      ['run', '-d', '--name', 'web', 'busybox', 'sleep', '60'],
      ['exec', 'web', 'true'],
      ['logs', 'web'],
      ['rm', '-f', 'web'],
    ]) {
      fine(t, await docker(tcp.host, args), args.join(' '));
    }
  });
  if (engine.compose) {
    const project = (body: string): string => {
      const path = join(engine.dir, 'compose.yaml');
      writeFileSync(path, body);
      return path;
    };
    await day('Compose, images only', async (t, { tcp }) => {
      const path = project(
        'services:\n  web: {image: alpine, command: sleep 60, init: true}\n  db: {image: busybox, command: sleep 60, init: true}\n',
      );
      for (const args of [
        ['up', '-d'],
        ['ps'],
        ['exec', '-T', 'web', 'true'],
        ['restart', '-t', '0'],
        ['up', '-d', '--force-recreate', '-t', '0'],
        ['logs'],
        ['down', '-t', '0'],
      ]) {
        fine(t, await docker(tcp.host, ['compose', '-f', path, '-p', 'days', ...args]), args.join(' '));
      }
    });
    await day(
      'Compose with a build, with the permit',
      async (t, { unix }) => {
        mkdirSync(join(engine.dir, 'context'));
        writeFileSync(join(engine.dir, 'context', 'Dockerfile'), 'FROM alpine\nRUN echo composed\n');
        const path = project('services:\n  web: {build: ./context, command: sleep 60, init: true}\n');
        fine(t, await docker(unix.host, ['ps']), 'ps');
        for (const args of [['build'], ['up', '-d'], ['ps'], ['down', '-t', '0']]) {
          fine(t, await docker(unix.host, ['compose', '-f', path, '-p', 'built', ...args]), args.join(' '));
        }
      },
      true,
    );
  } else {
    t.comment('NOT TESTED: there is no Compose');
  }
  await day('Watchtower updates a container that has the socket', async (t, guard) => {
    const registry = await startRegistry(rootfs());
    t.teardown(() => registry.close());
    registry.put('app', 'latest', { version: '1' });
    const image = `${registry.host}/app`;
    fine(t, await docker(engine.host, ['pull', '-q', image]), 'the image is there before');
    const send = sender({ port: guard.tcp.port }, '127.0.1.1');
    const HostConfig = { Binds: ['/var/run/docker.sock:/var/run/docker.sock', '/etc:/host/etc:ro'] };
    let id = (
      JSON.parse(
        (await send('POST', `${V}/containers/create?name=app`, { Image: image, HostConfig })).text,
      ) as { Id: string }
    ).Id;
    await send('POST', `${V}/containers/${id}/start`);
    for (let version = 2; version < 5; version++) {
      registry.put('app', 'latest', { version: String(version) });
      for (const path of [
        '/_ping',
        `${V}/info`,
        `${V}/containers/json`,
        `${V}/containers/${id}/json`,
        `${V}/images/${encodeURIComponent(image)}/json`,
      ]) {
        t.equal((await send('GET', path)).status, 200, path);
      }
      const pulled = await send(
        'POST',
        `${V}/images/create?fromImage=${encodeURIComponent(image)}&tag=latest`,
      );
      t.match(pulled.text, /Downloaded newer image/, pulled.text.slice(-200));
      t.equal((await send('POST', `${V}/containers/${id}/stop?t=0`)).status < 400, true);
      t.equal((await send('DELETE', `${V}/containers/${id}?force=1`)).status, 204);
      const made = await send('POST', `${V}/containers/create?name=app`, { Image: image, HostConfig });
      t.equal(made.status, 201, made.text);
      id = (JSON.parse(made.text) as { Id: string }).Id;
      t.equal((await send('POST', `${V}/containers/${id}/start`)).status, 204);
    }
    await send('DELETE', `${V}/containers/${id}?force=1`);
  });
  await day('a dashboard polls, also what it is denied', async (t, guard) => {
    const names: string[] = [];
    for (let n = 0; n < 3; n++) {
      fine(
        t,
        await docker(engine.host, ['run', '-d', '--name', `dash-${n}`, 'alpine', 'sleep', '600']),
        'run',
      );
      names.push(`dash-${n}`);
    }
    const agent = new Agent({ keepAlive: true, maxSockets: 4 });
    const get = (path: string): Promise<void> =>
      new Promise((resolve, reject) => {
        const outgoing = request({ host: '127.0.0.1', port: guard.tcp.port, path, agent }, (incoming) => {
          incoming.resume();
          incoming.on('end', resolve);
        });
        outgoing.on('error', reject);
        outgoing.end();
      });
    for (let round = 0; round < 130; round++) {
      await Promise.all(
        [
          '/_ping',
          '/info',
          '/version',
          '/containers/json?all=1',
          '/images/json',
          '/volumes',
          '/networks',
          '/secrets',
          '/swarm',
          '/events?since=1&until=2',
          '/system/df',
        ]
          .concat(
            names.flatMap((one) => [
              `/containers/${one}/json`,
              ...(round % 20 === 0 ? [`/containers/${one}/stats?stream=0`] : []),
              `/containers/${one}/logs?stdout=1&tail=5`,
              `/containers/${one}/top`,
            ]),
          )
          .map((path) => get(path === '/_ping' ? path : `${V}${path}`)),
      );
      if (round % 30 === 7) await docker(guard.tcp.host, ['restart', '-t', '0', names[0]!]);
    }
    agent.destroy();
    fine(t, await docker(engine.host, ['rm', '-f', ...names]), 'rm');
  });
  await day('Traefik watches', async (t, guard) => {
    const events = spawn('docker', ['events'], {
      env: { ...process.env, DOCKER_HOST: guard.tcp.host },
      stdio: 'ignore',
    });
    const send = sender({ port: guard.tcp.port });
    for (let round = 0; round < 100; round++) {
      await send('GET', '/version');
      const { text } = await send(
        'GET',
        `${V}/containers/json?limit=0&filters=${encodeURIComponent('{"status":["running"]}')}`,
      );
      for (const { Id } of JSON.parse(text) as { Id: string }[])
        await send('GET', `${V}/containers/${Id}/json`);
      if (round % 10 === 0) fine(t, await docker(engine.host, ['run', '--rm', 'alpine', 'true']), 'run');
    }
    events.kill();
  });
  await day('autoheal restarts', async (t, guard) => {
    fine(
      t,
      await docker(engine.host, [
        'run',
        '-d',
        '--name',
        'sick',
        '--health-cmd',
        'false',
        '--health-interval',
        '200ms',
        '--health-retries',
        '1',
        'alpine',
        'sleep',
        '600',
      ]),
      'run',
    );
    const send = sender({ port: guard.tcp.port });
    for (let round = 0; round < 30; round++) {
      await send('GET', `${V}/containers/json?filters=${encodeURIComponent('{"health":["unhealthy"]}')}`);
      if (round % 5 === 4) t.equal((await send('POST', `${V}/containers/sick/restart?t=0`)).status, 204);
      await sleep(50);
    }
    fine(t, await docker(engine.host, ['rm', '-f', 'sick']), 'rm');
  });
  await day('a GitLab runner: jobs that attach, and exec in a few containers', async (t, guard) => {
    for (let job = 0; job < 14; job++) {
      fine(
        t,
        await docker(guard.tcp.host, ['create', '-i', '--name', `job-${job}`, 'alpine', 'sh']),
        'create',
      );
      fine(
        t,
        await docker(guard.tcp.host, ['start', '-ai', `job-${job}`], { input: 'echo built\nexit 0\n' }),
        'attach and start',
      );
      fine(t, await docker(guard.tcp.host, ['wait', `job-${job}`]), 'wait');
      fine(t, await docker(guard.tcp.host, ['rm', `job-${job}`]), 'rm');
    }
    for (let service = 0; service < 4; service++) {
      fine(
        t,
        await docker(engine.host, ['run', '-d', '--name', `service-${service}`, 'alpine', 'sleep', '60']),
        'run',
      );
      fine(t, await docker(guard.tcp.host, ['exec', `service-${service}`, 'true']), 'exec');
      fine(t, await docker(engine.host, ['rm', '-f', `service-${service}`]), 'rm');
    }
  });
  t.comment(`engine ${engine.version}: ${quiet} of ${days} ordinary days were quiet, ${calls} calls`);
}

const skip = missing({ cli: true }) ?? (selfCheck ? 'self-check: a relay denies nothing' : undefined);
if (skip !== undefined) {
  t.comment(skip);
  t.plan(0, skip);
} else {
  await main();
}
