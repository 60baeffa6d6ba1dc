import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Answer } from './haproxy.js';

/** What is asked and answered: shaped like the real thing, all names invented. */

const id = (n: number): string => String(n).padStart(2, '0').repeat(32);

const containers = [0, 1, 2, 3].map((n) => ({
  Id: id(n),
  Names: [`/app-${n}`],
  Image: 'registry.example.com/app:1',
  ImageID: `sha256:${id(n)}`,
  Command: '/bin/app serve',
  Created: 1_700_000_000,
  Ports: [],
  Labels: { 'com.example.app': 'a' },
  State: 'running',
  Status: 'Up 2 hours',
  HostConfig: { NetworkMode: 'default' },
  Mounts: [],
}));

const inspect = {
  Id: id(1),
  Created: '2026-01-01T00:00:00.000000000Z',
  Path: '/bin/app',
  Args: ['serve'],
  State: { Status: 'running', Running: true, Paused: false, OOMKilled: false, Pid: 4711, ExitCode: 0 },
  Image: `sha256:${id(1)}`,
  Name: '/app-1',
  RestartCount: 0,
  Driver: 'overlay2',
  HostConfig: {
    NetworkMode: 'default',
    RestartPolicy: { Name: 'no' },
    Memory: 268_435_456,
    Privileged: false,
  },
  Config: { Hostname: 'app-1', User: '1000', Env: ['PATH=/usr/bin:/bin', 'MODE=production'], Cmd: ['serve'] },
  NetworkSettings: { Networks: { bridge: { IPAddress: '172.17.0.2', Gateway: '172.17.0.1' } } },
};

/** About what `docker create` sends, without its many empty fields. */
const create = {
  Hostname: '',
  User: '1000',
  AttachStdout: true,
  AttachStderr: true,
  Env: ['PATH=/usr/bin:/bin', 'MODE=production', 'LANG=C.UTF-8'],
  Cmd: ['/bin/app', 'serve', '--port', '8080'],
  Image: 'registry.example.com/app:1',
  WorkingDir: '/srv',
  Labels: { 'com.example.app': 'a', 'com.example.stage': 'test' },
  ExposedPorts: { '8080/tcp': {} },
  HostConfig: {
    NetworkMode: 'default',
    Memory: 268_435_456,
    PidsLimit: 256,
    CapDrop: ['ALL'],
    ReadonlyRootfs: true,
    PortBindings: { '8080/tcp': [{ HostIp: '127.0.0.1', HostPort: '8080' }] },
    RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
    LogConfig: { Type: 'json-file', Config: { 'max-size': '10m' } },
  },
  NetworkingConfig: { EndpointsConfig: { bridge: {} } },
};

/** Ten rules, as a careful site would write them; the requests of the benchmark are decided by several of them. */
export const policy = {
  sources: {
    ci: { cidr: ['10.20.0.0/16', '2001:db8:20::/48'] },
    ops: { cidr: ['127.0.0.0/8', '10.30.0.0/16'] },
    local: { listener: ['unix'] },
  },
  rules: [
    {
      id: 'never-exec-as-root',
      effect: 'deny',
      sources: ['*'],
      operations: ['ContainerExec'],
      where: { 'exec.user': ['', '0', 'root'] },
    },
    {
      id: 'run-limits',
      effect: 'deny',
      sources: ['*'],
      operations: ['ContainerCreate'],
      where: { memory: 0 },
    },
    { id: 'look', sources: ['*'], operations: ['SystemPing', 'SystemPingHead', 'SystemVersion'] },
    { id: 'local-read', sources: ['local'], operations: ['@read'] },
    {
      id: 'ci-build',
      sources: ['ci'],
      operations: ['ImageBuild'],
      where: { 'build.tags': { each: ['registry.example.com/ci/**'] } },
      permit: ['opaque:context'],
    },
    {
      id: 'ci-run',
      sources: ['ci'],
      operations: ['ContainerCreate', 'ContainerStart'],
      where: { image: 'registry.example.com/ci/**' },
    },
    { id: 'ops-list', sources: ['ops'], operations: ['ContainerList', 'ImageList'] },
    {
      id: 'ops-inspect',
      sources: ['ops'],
      operations: ['ContainerInspect', 'ContainerLogs', 'ContainerStats', 'ImageInspect'],
    },
    {
      id: 'ops-run',
      sources: ['ops'],
      operations: ['ContainerCreate', 'ContainerStart', 'ContainerStop'],
      where: { image: 'registry.example.com/**', memory: { min: 1, max: 4_294_967_296 } },
      permit: ['publish:127.0.0.1:**'],
    },
    {
      id: 'ops-images',
      sources: ['ops', 'local'],
      operations: ['ImageLoad', 'ImageGet', 'ImageGetAll', 'ImageBuild'],
      permit: ['opaque:image-archive'],
    },
  ],
};

/** Writes the stand-in engine's answers; returns the file of each. */
export function writeAnswers(dir: string): Record<Answer, string> {
  const write = (name: Answer, value: unknown): string => {
    const file = join(dir, `${name}.json`);
    writeFileSync(file, JSON.stringify(value));
    return file;
  };
  return {
    list: write('list', containers),
    inspect: write('inspect', inspect),
    create: write('create', { Id: id(9), Warnings: [] }),
  };
}

/** The three kinds of load. `mix`: ping, list and inspect in turn. */
export type Load = 'mix' | 'ping' | 'create';

const REQUESTS: Readonly<Record<Load, readonly string[]>> = {
  ping: [`wrk.format('GET', '/_ping')`],
  mix: [
    `wrk.format('GET', '/_ping')`,
    `wrk.format('GET', '/v1.41/containers/json?all=1')`,
    `wrk.format('GET', '/v1.41/containers/${id(1)}/json')`,
  ],
  create: [
    `wrk.format('POST', '/v1.41/containers/create?name=app-1', { ['Content-Type'] = 'application/json' },
      [==[${JSON.stringify(create)}]==])`,
  ],
};

/** Writes wrk's script for a load; its last line of output is `RESULT` and the figures that load.ts reads. */
export const writeScript = (dir: string, load: Load): string => writeRequests(dir, load, REQUESTS[load]);

/** The same for one read again and again. */
export const writeReadScript = (dir: string, path: string): string =>
  writeRequests(dir, 'read', [`wrk.format('GET', '${path}')`]);

function writeRequests(dir: string, name: string, requests: readonly string[]): string {
  const file = join(dir, `${name}.lua`);
  writeFileSync(
    file,
    `local requests, count, at = {}, 0, 0
init = function()
  requests = { ${requests.join(',\n')} }
  count = #requests
end
request = function()
  at = at % count + 1
  return requests[at]
end
done = function(summary, latency)
  local e = summary.errors
  print(string.format('RESULT %d %d %d %d %d %d', summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), e.status, e.connect + e.read + e.write + e.timeout))
end
`,
  );
  return file;
}
