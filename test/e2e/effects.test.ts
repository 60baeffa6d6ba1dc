import t, { type Test } from 'tap';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { until } from '../support/command.js';
import { missing, startEngine } from '../support/engine.js';
import { freePort } from '../support/free-port.js';
import { selfCheck, startGuard } from '../support/guard.js';
import { file, tar } from '../support/tar.js';

// The hazards are real: with its permit a call passes and its effect is there to see, in the engine's own words and
// from inside the container; without it nothing was created.

interface Answer {
  readonly status: number;
  readonly text: string;
  // What engines answer is looked at with t.match, which wants no types.
  readonly json: Record<string, never>;
}

interface Case {
  readonly title: string;
  /** Everything the call needs beyond what is given; a denial names all of it. */
  readonly hazards: readonly string[];
  /** What the caller may do already, and what is not enough. */
  readonly given?: readonly string[];
  readonly path: string;
  readonly body: unknown;
  /** Looks at what became of the permitted call. */
  readonly effect: (t: Test, answer: Answer) => Promise<void> | void;
  /** Looks again after the denial, beyond the lists of containers, volumes, images and exec sessions. */
  readonly untouched?: (t: Test) => void;
}

const SYS_ADMIN = 1n << 21n;
const NAMESPACES = { pid: 'pid', network: 'net', ipc: 'ipc', uts: 'uts' } as const;
const SHOW =
  'grep -E "^(Cap|Seccomp)" /proc/self/status; for n in pid net ipc uts; do readlink /proc/self/ns/$n; done';

const capabilities = (output: string): bigint =>
  BigInt(`0x${/CapBnd:\s+([0-9a-f]+)/.exec(output)?.[1] ?? '0'}`);

/**
 * A machine that is itself confined may not have every capability to give: then runc refuses to start what is
 * privileged, and its words are the proof.
 */
const LAST_CAPABILITY = BigInt(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8').trim());
const lacksCapabilities =
  capabilities(readFileSync('/proc/self/status', 'utf8')) !== (1n << (LAST_CAPABILITY + 1n)) - 1n;
const LACKS =
  'this machine lacks capabilities: what is privileged does not start, which is what is looked at';
const namespaceOf = (process: number | 'self', name: string): string =>
  readlinkSync(`/proc/${process}/ns/${name}`);

const skip = missing() ?? (selfCheck ? 'self-check: a relay denies nothing' : undefined);
if (skip !== undefined) {
  t.comment(skip);
  t.plan(0, skip);
} else {
  await main();
}

function ask(socketPath: string, method: string, path: string, body?: unknown, token = ''): Promise<Answer> {
  const archive = Buffer.isBuffer(body);
  const bytes = body === undefined ? '' : archive ? body : JSON.stringify(body);
  const headers = {
    'content-type': archive ? 'application/x-tar' : 'application/json',
    'content-length': Buffer.byteLength(bytes),
    ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
  };
  return new Promise((resolve, reject) => {
    const options = { socketPath, method, path: `/v1.41${path}`, agent: false, headers, timeout: 20_000 };
    const outgoing = request(options, (incoming) => {
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
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer to ${method} ${path}`)));
    outgoing.on('error', reject);
    outgoing.end(bytes);
  });
}

async function main(): Promise<void> {
  t.setTimeout(120_000);
  const engine = await startEngine();
  t.teardown(() => engine.stop());
  const direct = (method: string, path: string, body?: unknown): Promise<Answer> =>
    ask(engine.socket, method, path, body);

  // ---- what the attacks are after: a file and a service of the host, and another container
  const SECRET = 'secret-of-the-host';
  const hostDirectory = join(realpathSync(engine.dir), 'host');
  mkdirSync(hostDirectory);
  writeFileSync(join(hostDirectory, 'secret'), SECRET);
  const workspace = join(realpathSync(engine.dir), 'workspace');
  mkdirSync(workspace);
  symlinkSync('/etc', join(workspace, 'innocent'));
  symlinkSync('innocent', join(workspace, 'twice'));
  const socket = realpathSync(engine.socket);
  const etc = realpathSync('/etc');
  const passwd = readFileSync('/etc/passwd', 'utf8').trim();
  const port = await freePort();

  let fetched = 0;
  const web = createServer((_request, response) => {
    fetched += 1;
    response.setHeader('content-type', 'text/plain');
    response.end('FROM alpine\nLABEL remote=yes\n');
  });
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  t.teardown(() => web.close());
  const url = `http://127.0.0.1:${(web.address() as AddressInfo).port}/Dockerfile`;

  await direct('POST', '/containers/create?name=victim', {
    Image: 'alpine',
    Cmd: ['/bin/sh', '-c', `echo ${SECRET} > /data/secret; sleep 300`],
    HostConfig: { Binds: ['victim-data:/data'] },
  });
  await direct('POST', '/containers/victim/start');
  await direct('POST', '/containers/create?name=own', {
    Image: 'alpine',
    Cmd: ['/bin/sleep', '300'],
    HostConfig: { Links: ['victim:peer'] },
  });
  await direct('POST', '/containers/own/start');
  const victim = (await direct('GET', '/containers/victim/json')).json as unknown as {
    Id: string;
    State: { Pid: number };
  };
  if (!(victim.State?.Pid > 0)) throw new Error(`the victim does not run: ${JSON.stringify(victim)}`);

  // ---- how to look at effects
  const inspect = async (id: string): Promise<object> => (await direct('GET', `/containers/${id}/json`)).json;
  /** Starts a created container and gives what it prints before `done`. */
  const outputOf = async (t: Test, { json }: Answer): Promise<string> => {
    const id = String(json['Id']);
    const started = await ask(guard.unix.socket, 'POST', `/containers/${id}/start`);
    t.equal(started.status, 204, started.text);
    let text = '';
    await until(async () => {
      text = (await direct('GET', `/containers/${id}/logs?stdout=1&stderr=1`)).text;
      return text.includes('done\n');
    }, 10_000);
    t.match(text, 'done\n', 'the container ran');
    return text;
  };
  const listening = (): string[] =>
    readFileSync('/proc/net/tcp', 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(
        ([, local, , state]) => state === '0A' && Number.parseInt(local?.split(':')[1] ?? '', 16) === port,
      )
      .map(([, local]) => local?.split(':')[0] ?? '');
  const inventory = async (): Promise<unknown> => {
    const ids = async (path: string): Promise<string[]> =>
      ((await direct('GET', path)).json as unknown as { Id: string; RepoTags?: string[] }[])
        .map(({ Id, RepoTags }) => `${Id} ${(RepoTags ?? []).join(' ')}`)
        .sort();
    const volumes = (await direct('GET', '/volumes')).json as unknown as {
      Volumes: { Name: string }[] | null;
    };
    return {
      containers: await ids('/containers/json?all=1'),
      images: await ids('/images/json?all=1'),
      volumes: (volumes.Volumes ?? []).map(({ Name }) => Name).sort(),
      execs: ((await inspect('victim')) as { ExecIDs: string[] | null }).ExecIDs ?? [],
    };
  };

  const shell = (script: string): string[] => ['/bin/sh', '-c', `${script}; echo done; sleep 60`];
  const create = (
    title: string,
    hazards: readonly string[],
    HostConfig: object,
    script: string,
    effect: (t: Test, output: string, seen: object) => void,
    given: readonly string[] = [],
  ): Case => ({
    title,
    hazards,
    given,
    path: '/containers/create',
    body: {
      Image: 'alpine',
      Cmd: shell(`${SHOW}; ${script}`),
      ExposedPorts: 'PortBindings' in HostConfig ? { '80/tcp': {} } : {},
      HostConfig,
    },
    effect: async (t, answer) => {
      const output = await outputOf(t, answer);
      effect(t, output, await inspect(String(answer.json['Id'])));
    },
  });
  const joins = (name: keyof typeof NAMESPACES, field: string): Case =>
    create(
      `the host’s ${name} namespace`,
      [`host-namespace:${name}`],
      { [field]: 'host' },
      'true',
      (t, output, seen) => {
        t.match(output, namespaceOf('self', NAMESPACES[name]), 'it is ours');
        t.match(seen, { HostConfig: { [field]: 'host' } });
      },
    );
  const publish = (address: string, hex: string): Case =>
    create(
      `a port on ${address}`,
      [`publish:${address}:${port}`],
      { PortBindings: { '80/tcp': [{ HostIp: address, HostPort: String(port) }] } },
      'true',
      (t, _output, seen) => {
        t.match(seen, {
          NetworkSettings: { Ports: { '80/tcp': [{ HostIp: address, HostPort: String(port) }] } },
        });
        t.same(listening(), [hex], 'and the host listens there');
      },
    );

  const CASES: readonly Case[] = [
    {
      title: 'privileged',
      hazards: ['privileged'],
      path: '/containers/create',
      body: {
        Image: 'alpine',
        Cmd: shell(`${SHOW}; ls -l /dev/kmsg`),
        HostConfig: { Privileged: true },
      },
      async effect(t, answer) {
        const id = String(answer.json['Id']);
        t.match(await inspect(id), { HostConfig: { Privileged: true } });
        if (lacksCapabilities) {
          t.comment(LACKS);
          const started = await ask(guard.unix.socket, 'POST', `/containers/${id}/start`);
          t.match(started.text, 'unable to apply caps', 'it asks for every capability there is');
          return;
        }
        const output = await outputOf(t, answer);
        t.equal(capabilities(output) & SYS_ADMIN, SYS_ADMIN, 'CAP_SYS_ADMIN');
        t.match(output, /Seccomp:\s+0/);
        t.match(output, /crw.*\/dev\/kmsg/, 'devices of the host');
      },
    },
    create(
      'a bind of /etc',
      [`bind:${etc}`],
      { Binds: [`${etc}/../.${etc}:/host:ro`] },
      'cat /host/passwd',
      (t, output) => t.ok(output.includes(passwd.split('\n').at(-1)!), 'the host’s own file'),
    ),
    create(
      'a bind through a link',
      [`bind:${etc}`],
      { Binds: [`${workspace}/innocent:/host:ro`] },
      'cat /host/passwd',
      (t, output) => t.ok(output.includes(passwd.split('\n').at(-1)!), 'the host’s own file'),
      [`bind:${workspace}/**`],
    ),
    create(
      'a mount through a link to a link, and below it',
      [`bind:${etc}/passwd`],
      { Mounts: [{ Type: 'bind', Source: `${workspace}/twice/passwd`, Target: '/host', ReadOnly: true }] },
      'cat /host',
      (t, output) => t.ok(output.includes(passwd.split('\n').at(-1)!), 'the host’s own file'),
      [`bind:${workspace}/**`],
    ),
    create(
      'the engine’s socket',
      [`bind:${socket}`, 'docker-socket'],
      { Binds: [`${socket}:/s`] },
      'stat -c "%F %i" /s',
      (t, output) => t.match(output, `socket ${statSync(socket).ino}`, 'the very socket'),
    ),
    joins('pid', 'PidMode'),
    joins('network', 'NetworkMode'),
    joins('ipc', 'IpcMode'),
    joins('uts', 'UTSMode'),
    create('a capability', ['capability:SYS_ADMIN'], { CapAdd: ['sys_admin'] }, 'true', (t, output) => {
      t.equal(capabilities(output) & SYS_ADMIN, SYS_ADMIN, 'CAP_SYS_ADMIN');
      t.match(output, /Seccomp:\s+2/, 'and no more');
    }),
    create(
      'no seccomp',
      ['security-opt:seccomp=unconfined'],
      { SecurityOpt: ['seccomp:unconfined'] },
      'true',
      (t, output) => t.match(output, /Seccomp:\s+0/),
    ),
    create(
      'no AppArmor',
      ['security-opt:apparmor=unconfined'],
      { SecurityOpt: ['apparmor=unconfined'] },
      'cat /proc/self/attr/current 2>/dev/null',
      (t, output, seen) => {
        t.match(seen, { HostConfig: { SecurityOpt: ['apparmor=unconfined'] } });
        if (existsSync('/sys/kernel/security/apparmor')) t.match(seen, { AppArmorProfile: 'unconfined' });
        t.notMatch(output, 'docker-default');
      },
    ),
    create(
      'a device',
      ['device:/dev/full'],
      {
        Devices: [{ PathOnHost: '/dev/../dev/full', PathInContainer: '/dev/mine', CgroupPermissions: 'rwm' }],
      },
      'ls -l /dev/mine; echo x 2>&1 >/dev/mine',
      (t, output) => {
        t.match(output, /crw.* 1,\s+7 .*\/dev\/mine/);
        t.match(output, 'No space left', 'it answers');
      },
    ),
    create(
      'a kernel parameter',
      ['sysctl:net.ipv4.ip_unprivileged_port_start'],
      { Sysctls: { 'net.ipv4.ip_unprivileged_port_start': '77' } },
      'echo starts at $(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)',
      (t, output) => t.match(output, 'starts at 77'),
    ),
    create(
      'the network of another container',
      ['container-namespace:network=victim'],
      { NetworkMode: 'container:victim' },
      'true',
      (t, output) => t.match(output, namespaceOf(victim.State.Pid, 'net'), 'it is the victim’s'),
    ),
    create(
      'the volumes of another container',
      ['volumes-from:victim'],
      { VolumesFrom: ['victim'] },
      'cat /data/secret',
      (t, output) => t.match(output, SECRET),
    ),
    publish('0.0.0.0', '00000000'),
    publish('127.0.0.1', '0100007F'),
    {
      title: 'a privileged exec',
      hazards: ['exec-privileged'],
      path: '/containers/victim/exec',
      body: { Cmd: ['/bin/sh', '-c', SHOW], Privileged: true, AttachStdout: true },
      async effect(t, { json }) {
        const ran = await ask(guard.unix.socket, 'POST', `/exec/${String(json['Id'])}/start`, {});
        if (lacksCapabilities) t.match(ran.text, 'unable to apply caps', LACKS);
        else t.equal(capabilities(ran.text) & SYS_ADMIN, SYS_ADMIN, 'CAP_SYS_ADMIN');
      },
    },
    {
      title: 'an exec through a link of another container',
      hazards: ['link-alias:own/peer'],
      path: '/containers/own/peer/exec',
      body: { Cmd: ['/bin/cat', '/data/secret'], AttachStdout: true },
      async effect(t, { json }) {
        const id = String(json['Id']);
        t.match((await direct('GET', `/exec/${id}/json`)).json, { ContainerID: victim.Id }, 'the victim’s');
        const ran = await ask(guard.unix.socket, 'POST', `/exec/${id}/start`, {});
        t.match(ran.text, SECRET);
      },
    },
    {
      title: 'a volume that is a bind',
      hazards: [
        `bind:${hostDirectory}`,
        ...['type=none', 'o=bind', `device=${hostDirectory}`].map((option) => `volume-option:${option}`),
      ],
      path: '/volumes/create',
      body: { Name: 'disguised', DriverOpts: { type: 'none', o: 'bind', device: hostDirectory } },
      async effect(t) {
        const created = await ask(guard.unix.socket, 'POST', '/containers/create', {
          Image: 'alpine',
          Cmd: shell('cat /v/secret'),
          HostConfig: { Binds: ['disguised:/v'] },
        });
        t.equal(created.status, 201, 'a volume by its name is no hazard: who may create one is what counts');
        t.match(await outputOf(t, created), SECRET);
      },
    },
    {
      title: 'a trigger for later builds',
      hazards: ['on-build:RUN touch /triggered'],
      path: '/build?t=trap',
      body: tar(file('Dockerfile', 'FROM alpine\nONBUILD RUN touch /triggered\n')),
      async effect(t) {
        const image = await direct('GET', '/images/trap/json');
        t.match(image.json, { Config: { OnBuild: ['RUN touch /triggered'] } });
        const built = await ask(
          guard.unix.socket,
          'POST',
          '/build?t=trapped',
          tar(file('Dockerfile', 'FROM trap\nRUN ls -l /triggered\n')),
        );
        t.match(built.text, 'Successfully built');
        t.match(built.text, /-rw.*\/triggered/, 'it ran in a build that does not say so');
      },
    },
    {
      title: 'a build context from a URL',
      hazards: [`remote-context:${url}`],
      path: `/build?t=remote&remote=${encodeURIComponent(url)}`,
      body: undefined,
      async effect(t, { text }) {
        t.match(text, 'Successfully built');
        t.ok(fetched > 0, 'the daemon fetched it');
        t.match((await direct('GET', '/images/remote/json')).json, { Config: { Labels: { remote: 'yes' } } });
      },
      untouched: (t) => t.equal(fetched, 0, 'nothing was fetched'),
    },
  ];

  // ---- the guard: everyone may do all of it without hazards; a case's second token has its permit too
  const GRANTS = ['given', 'all'] as const;
  const sources: Record<string, object> = {};
  const rules: object[] = [
    { id: 'look', sources: ['*'], operations: ['@read', 'ContainerStart', 'ExecStart'] },
    {
      id: 'run',
      sources: ['*'],
      operations: ['ContainerCreate', 'ContainerExec', 'VolumeCreate', 'ImageBuild'],
    },
  ];
  for (const [index, { hazards, given = [] }] of CASES.entries()) {
    for (const grant of GRANTS) {
      const id = `${grant}-${index}`;
      sources[id] = { token: [`sha256:${createHash('sha256').update(id).digest('hex')}`] };
      const permit = grant === 'all' ? [...given, ...hazards] : given;
      rules.push({ id, sources: [id], operations: ['@run', '@exec', '@volume', '@build'], permit });
    }
  }
  const guard = await startGuard({ upstream: engine.host, policy: { sources, rules } });
  t.teardown(() => guard.stop());

  await t.test('near misses pass without any permit', async (t) => {
    const plain = await ask(guard.unix.socket, 'POST', '/containers/create', {
      Image: 'alpine',
      Cmd: shell(`${SHOW}; ls /dev; echo kept > /cache/x; cat /cache/x`),
      HostConfig: {
        Binds: ['cache:/cache'],
        NetworkMode: 'bridge',
        CapDrop: ['NET_RAW'],
        SecurityOpt: ['no-new-privileges'],
        Privileged: false,
      },
    });
    t.equal(plain.status, 201, plain.text);
    const output = await outputOf(t, plain);
    t.equal(capabilities(output) & SYS_ADMIN, 0n, 'no CAP_SYS_ADMIN');
    t.match(output, /Seccomp:\s+2/);
    for (const name of Object.values(NAMESPACES)) {
      t.notMatch(output, namespaceOf('self', name), `a ${name} namespace of its own`);
    }
    t.notMatch(output, 'kmsg');
    t.match(output, 'kept');
    t.equal((await ask(guard.unix.socket, 'POST', '/volumes/create', { Name: 'plain' })).status, 201);
    const exec = await ask(guard.unix.socket, 'POST', '/containers/victim/exec', { Cmd: ['true'] });
    t.equal(exec.status, 201, exec.text);
    const built = await ask(
      guard.unix.socket,
      'POST',
      '/build?t=plain',
      tar(file('Dockerfile', 'FROM alpine\nCOPY a /a\n'), file('a', 'x')),
    );
    t.match(built.text, 'Successfully built');
  });

  for (const [index, { title, hazards, path, body, effect, untouched }] of CASES.entries()) {
    await t.test(title, async (t) => {
      const before = await inventory();
      const denied = await ask(guard.unix.socket, 'POST', path, body, `given-${index}`);
      t.equal(denied.status, 403, denied.text.slice(0, 500));
      for (const hazard of hazards) t.ok(denied.text.includes(hazard), `${hazard} in ${denied.text}`);
      t.equal((await ask(guard.unix.socket, 'POST', path, body)).status, 403, 'to everyone else');
      t.same(await inventory(), before, 'nothing was created');
      untouched?.(t);
      const answer = await ask(guard.unix.socket, 'POST', path, body, `all-${index}`);
      t.ok(answer.status === 201 || answer.status === 200, answer.text.slice(0, 500));
      await effect(t, answer);
      // The next case may want its port.
      const id = answer.json['Id'];
      if (path === '/containers/create') await direct('DELETE', `/containers/${String(id)}?force=1&v=1`);
    });
  }
}
