import t from 'tap';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { missing, startEngine, type Engine } from '../support/engine.js';
import { selfCheck, startGuard, type Guard } from '../support/guard.js';

// Rewrites against a real engine: the container, the exec session and the image really are as the policy says, and
// not as the client asked.

const MiB = 2 ** 20;

const skip = missing() ?? (selfCheck ? 'self-check: a relay rewrites nothing' : undefined);
if (skip !== undefined) {
  t.comment(skip);
  t.plan(0, skip);
} else {
  await main();
}

function policy(): object {
  const labels = { 'org.example.source': '${source}', 'org.example.call': '${call}' };
  return {
    sources: { local: { listener: ['unix'] } },
    rules: [
      {
        id: 'look',
        sources: ['*'],
        operations: ['@read', 'ContainerStart', 'ContainerWait', 'ContainerDelete'],
      },
      {
        id: 'run',
        sources: ['local'],
        operations: ['ContainerCreate', 'ContainerUpdate'],
        where: { memory: { min: 1, max: 64 * MiB } },
        permit: ['dns:10.0.0.53', 'capability:KILL'],
        rewrite: {
          labels,
          network: { force: 'none' },
          limits: { memory: '64MiB', cpus: 0.5, pids: 32 },
          noNewPrivileges: true,
          readOnlyRoot: true,
          dropCapabilities: ['ALL'],
          user: '1000:1000',
          init: true,
          dns: ['10.0.0.53'],
          images: { 'docker.io/library/mirrored': 'docker.io/library/alpine' },
          remove: ['/HostConfig/Binds'],
        },
      },
      {
        id: 'exec',
        sources: ['local'],
        operations: ['ContainerExec', 'ExecStart'],
        rewrite: { user: '1000:1000' },
      },
      {
        id: 'pull',
        sources: ['local'],
        operations: ['ImageCreate'],
        rewrite: { pin: { 'alpine:3.20': `sha256:${'ab'.repeat(32)}` } },
      },
      {
        id: 'build',
        sources: ['local'],
        operations: ['ImageBuild'],
        permit: ['*'],
        rewrite: {
          labels,
          network: { force: 'none' },
          limits: { memory: '64MiB' },
          proxy: { http: 'http://proxy.example.com:3128' },
        },
      },
    ],
  };
}

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly json: Record<string, never>;
}

function ask(socketPath: string, method: string, path: string, body?: unknown): Promise<Answer> {
  const tar = Buffer.isBuffer(body);
  const bytes = body === undefined ? undefined : tar ? body : JSON.stringify(body);
  const type = tar ? 'application/x-tar' : 'application/json';
  return new Promise((resolve, reject) => {
    const headers =
      bytes === undefined ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(bytes) };
    const outgoing = request({ socketPath, method, path, agent: false, headers }, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8');
      incoming.on('data', (chunk: string) => (text += chunk));
      incoming.on('error', reject);
      incoming.on('end', () => {
        let json: Record<string, never> = {};
        try {
          json = JSON.parse(text) as Record<string, never>;
        } catch {
          // A stream of several documents, or raw output.
        }
        resolve({ status: incoming.statusCode ?? 0, text, json });
      });
    });
    outgoing.on('error', reject);
    outgoing.end(bytes);
  });
}

function context(engine: Engine, dockerfile: string): Buffer {
  const dir = join(engine.dir, 'context');
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'Dockerfile'), dockerfile);
  execFileSync('tar', ['-C', dir, '-cf', join(engine.dir, 'context.tar'), '.']);
  return readFileSync(join(engine.dir, 'context.tar'));
}

function decision(guard: Guard, operation: string): Record<string, unknown> {
  const lines = guard
    .audit()
    .filter((line) => line['event'] === 'decision' && line['operation'] === operation);
  return lines.at(-1) ?? {};
}

async function main(): Promise<void> {
  t.setTimeout(120_000);
  const engine = await startEngine();
  const guard = await startGuard({ upstream: engine.host, policy: policy() });
  t.teardown(async () => {
    await guard.stop();
    await engine.stop();
  });
  const through = (method: string, path: string, body?: unknown): Promise<Answer> =>
    ask(guard.unix.socket, method, `/v1.41${path}`, body);
  const direct = (method: string, path: string, body?: unknown): Promise<Answer> =>
    ask(engine.socket, method, `/v1.41${path}`, body);

  const wish = {
    Image: 'mirrored',
    Cmd: ['/bin/sh', '-c', 'cat /proc/self/status; id; touch /x; ls /sys/class/net; sleep 60'],
    User: '0',
    Labels: { 'org.example.source': 'forged', mine: 'kept' },
    HostConfig: {
      Binds: ['/:/host'],
      NetworkMode: 'host',
      Memory: 2 ** 34,
      MemorySwap: -1,
      CapAdd: ['ALL', 'KILL'],
      SecurityOpt: ['no-new-privileges:false'],
      Dns: ['203.0.113.9'],
    },
  };
  let id = '';

  await t.test('a container is what the policy makes of it', async (t) => {
    const created = await through('POST', '/containers/create?name=rewritten', wish);
    t.equal(created.status, 201, created.text);
    id = created.json['Id'] ?? '';
    const seen = (await direct('GET', `/containers/${id}/json`)).json as unknown as {
      Config: { User: string; Labels: Record<string, string>; Image: string };
      HostConfig: Record<string, unknown>;
    };
    const line = decision(guard, 'ContainerCreate');
    t.equal(seen.Config.User, '1000:1000');
    t.equal(seen.Config.Image, 'alpine');
    t.match(seen.Config.Labels, {
      'org.example.source': 'local',
      'org.example.call': String(line['call']),
      mine: 'kept',
    });
    t.match(seen.HostConfig, {
      Binds: null,
      NetworkMode: 'none',
      Memory: 64 * MiB,
      NanoCpus: 5e8,
      PidsLimit: 32,
      CapDrop: ['ALL'],
      CapAdd: ['KILL'],
      SecurityOpt: ['no-new-privileges'],
      ReadonlyRootfs: true,
      Init: true,
      Dns: ['10.0.0.53'],
    });

    t.equal((await through('POST', `/containers/${id}/start`)).status, 204);
    let output = '';
    for (let tries = 0; tries < 50 && !/lo\b/.test(output); tries++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      output = (await direct('GET', `/containers/${id}/logs?stdout=1&stderr=1`)).text;
    }
    t.match(output, /CapBnd:\s+0000000000000020/, 'only CAP_KILL is left');
    t.match(output, /NoNewPrivs:\s+1/);
    t.match(output, /uid=1000.* gid=1000/);
    t.match(output, /touch: \/x: Read-only file system/);
    t.notMatch(output, /eth0/, 'no network but the loopback');
    t.notMatch(output, /\/host/);
  });

  await t.test('the audit line shows before and after', async (t) => {
    const line = decision(guard, 'ContainerCreate');
    t.match(line, { verdict: 'allow', rule: 'run' });
    t.ok((line['hazards'] as string[]).includes('bind:/'), 'with the hazards of what was asked for');
    const rewrites = (line['rewrites'] as string[]).join('\n');
    t.match(rewrites, '/HostConfig/Binds: ["/:/host"] → (removed)');
    t.match(rewrites, '/HostConfig/NetworkMode: "host" → "none"');
    t.match(rewrites, `/HostConfig/Memory: ${2 ** 34} → ${64 * MiB}`);
    t.match(rewrites, '/User: "0" → "1000:1000"');
    t.match(rewrites, '/Labels/org.example.source: "forged" → "local"');
    t.match(rewrites, '/Image: "mirrored" → "alpine"');
    t.notMatch(rewrites, 'mine');
    t.same(decision(guard, 'ContainerStart')['rewrites'], []);
  });

  await t.test('exec sessions and updates of it', async (t) => {
    const exec = await through('POST', `/containers/${id}/exec`, {
      Cmd: ['id'],
      User: '0',
      AttachStdout: true,
    });
    t.equal(exec.status, 201, exec.text);
    const started = await through('POST', `/exec/${exec.json['Id']}/start`, {});
    t.match(started.text, /uid=1000.* gid=1000/, 'exec runs as the user of the policy');
    const update = await through('POST', `/containers/${id}/update`, { Memory: 2 ** 34, PidsLimit: -1 });
    t.equal(update.status, 200, update.text);
    const seen = (await direct('GET', `/containers/${id}/json`)).json as unknown as {
      HostConfig: Record<string, unknown>;
    };
    t.match(seen.HostConfig, { Memory: 64 * MiB, PidsLimit: 32 }, 'an update does not lift a limit');
  });

  await t.test('the old form of a create is moved, then rewritten', async (t) => {
    const { HostConfig, ...config } = wish;
    const created = await through('POST', '/containers/create', { ...config, ...HostConfig });
    t.equal(created.status, 201, created.text);
    const seen = (await direct('GET', `/containers/${created.json['Id']}/json`)).json as unknown as {
      HostConfig: Record<string, unknown>;
    };
    t.match(seen.HostConfig, { Binds: null, NetworkMode: 'none', Memory: 64 * MiB, CapAdd: ['KILL'] });
    const refused = await through('POST', '/containers/create', { ...config, Privileged: true });
    t.equal(refused.status, 403);
    t.match(refused.text, /does not permit privileged/);
  });

  await t.test('a build carries the label, the limits and the proxy, and has no network', async (t) => {
    const tar = context(
      engine,
      'FROM alpine\nARG HTTP_PROXY\nLABEL org.example.source=forged\nRUN echo "proxy $http_proxy"; ls /sys/class/net; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true\n',
    );
    const built = await through('POST', '/build?t=rewritten&networkmode=host&memory=0', tar);
    t.equal(built.status, 200, built.text.slice(0, 500));
    const log = built.text
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => (JSON.parse(line) as { stream?: string }).stream ?? '')
      .join('');
    t.match(log, /Successfully built/, log + built.text.slice(-300));
    t.match(log, 'proxy http://proxy.example.com:3128');
    t.notMatch(log, /eth0/);
    t.match(log, String(64 * MiB), 'the memory limit of the RUN step');
    const seen = (await direct('GET', '/images/rewritten/json')).json as unknown as {
      Config: { Labels: Record<string, string> };
    };
    const line = decision(guard, 'ImageBuild');
    t.match(seen.Config.Labels, { 'org.example.source': 'local', 'org.example.call': String(line['call']) });
    const rewrites = (line['rewrites'] as string[]).join('\n');
    t.match(rewrites, '?networkmode: "host" → "none"');
    t.match(rewrites, '?labels/org.example.source: (nothing) → "local"');
    t.match(rewrites, '?buildargs/HTTP_PROXY: (nothing) → "***"');
  });

  await t.test('a pinned pull asks for the digest', async (t) => {
    const pulled = await through('POST', '/images/create?fromImage=alpine&tag=3.20');
    t.not(pulled.status, 403, pulled.text);
    t.match((decision(guard, 'ImageCreate')['rewrites'] as string[]).join(), /\?tag: "3\.20" → "sha256:abab/);
  });
}
