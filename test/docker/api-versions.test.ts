import t from 'tap';
import { VERSION_DIFFERENCES } from '../../src/docker/catalogue/api-versions.js';
import { isBefore, mayBeBefore } from '../../src/docker/call.js';
import type { JsonObject } from '../../src/base/json.js';
import type { OperationId } from '../../src/docker/operation.js';
import { inspect } from '../../src/hazards/inspect.js';
import { formatHazard, type FactValue } from '../../src/hazards/inspection.js';
import { makeCall, type Parts } from '../hazards/make-call.js';

// Each difference between API versions, with a call to which it matters, just below and at the version.

interface Sample extends Parts {
  readonly operation: OperationId;
  readonly before: number;
  /** Stands in what the engine does: of several differences at one version. */
  readonly about: string;
  /** Where the guard follows the version: facts and hazards of the older reading, and of the newer. */
  readonly older?: Readonly<Record<string, FactValue>> & { readonly hazards?: readonly string[] };
  readonly newer?: Readonly<Record<string, FactValue>> & { readonly hazards?: readonly string[] };
  /** Without a version: as the older one, because 20.10 reads it so in every version. */
  readonly unversioned?: 'older';
  /** Where it judges either: the hazard of the reading that does more. */
  readonly hazard?: string;
}

const c = { path: { id: 'c' } };
// What other versions differ in is said.
const container = (HostConfig: JsonObject, more: JsonObject = {}): Parts => ({
  body: {
    Image: 'alpine',
    ...more,
    HostConfig: { IpcMode: 'private', CgroupnsMode: 'private', ...HostConfig },
  },
});
const service = (ContainerSpec: JsonObject, task: JsonObject = {}, more: JsonObject = {}): Parts => ({
  body: {
    Name: 'web',
    ...more,
    TaskTemplate: { ContainerSpec: { Image: 'alpine', ...ContainerSpec }, ...task },
  },
});
const bind = (more: JsonObject): Parts =>
  container({ Mounts: [{ Type: 'bind', Source: '/srv', Target: '/srv', ...more }] });

const SAMPLES: readonly Sample[] = [
  {
    operation: 'ContainerAttachWebsocket',
    before: 42,
    about: 'input',
    ...c,
    query: { stdin: false, stdout: true, stream: true },
    older: { 'attach.stdin': true, hazards: ['attach-stdin'] },
    newer: { 'attach.stdin': false, hazards: [] },
    unversioned: 'older',
  },
  {
    operation: 'ContainerCreate',
    before: 40,
    about: 'IpcMode',
    ...container({ IpcMode: '' }),
    older: { hazards: ['namespace:ipc=shareable'] },
    newer: { hazards: [] },
  },
  {
    operation: 'ContainerCreate',
    before: 41,
    about: 'CgroupnsMode',
    ...container({ CgroupnsMode: '' }),
    older: { hazards: ['host-namespace:cgroup'] },
    newer: { hazards: [] },
  },
  {
    operation: 'ContainerCreate',
    before: 41,
    about: '`platform`',
    ...container({}),
    query: { platform: 'linux/arm64' },
    older: { platform: '' },
    newer: { platform: 'linux/arm64' },
  },
  {
    operation: 'ContainerCreate',
    before: 40,
    about: 'NonRecursive',
    ...bind({ BindOptions: { NonRecursive: true } }),
  },
  { operation: 'ContainerCreate', before: 44, about: 'read-only bind', ...bind({ ReadOnly: true }) },
  {
    operation: 'ContainerCreate',
    before: 42,
    about: 'another type',
    ...bind({ VolumeOptions: { DriverConfig: { Name: 'nfs' } } }),
    hazard: 'volume-driver:nfs',
  },
  {
    operation: 'ContainerCreate',
    before: 43,
    about: 'Annotations',
    ...container({ Annotations: { a: 'b' } }),
    hazard: 'annotation:a',
  },
  {
    operation: 'ContainerCreate',
    before: 44,
    about: 'StartInterval',
    ...container({}, { Healthcheck: { StartInterval: 1_000_000 } }),
    hazard: 'engine-load:health-interval=1ms',
  },
  {
    operation: 'ServiceCreate',
    before: 44,
    about: 'StartInterval',
    ...service({ Healthcheck: { StartInterval: 1_000_000 } }),
    hazard: 'engine-load:health-interval=1ms',
  },
  {
    operation: 'ContainerCreate',
    before: 44,
    about: 'MacAddress',
    ...container({}, { NetworkingConfig: { EndpointsConfig: { n: { MacAddress: '02:42:00:00:00:01' } } } }),
    hazard: 'mac-address:02:42:00:00:00:01',
  },
  {
    operation: 'ContainerCreate',
    before: 48,
    about: 'Sysctls',
    ...container({ Sysctls: { 'net.ipv4.conf.eth0.forwarding': '1' } }),
    hazard: 'sysctl:net.ipv4.conf.eth0.forwarding',
  },
  {
    operation: 'ContainerCreate',
    before: 53,
    about: 'PortBindings',
    ...container({ PortBindings: { '80/tcp': [] } }),
    hazard: 'publish:0.0.0.0:0',
  },
  {
    operation: 'ContainerCreate',
    before: 41,
    about: 'Capabilities',
    ...container({ Capabilities: ['SYS_ADMIN'] }),
    hazard: 'capability:SYS_ADMIN',
  },
  {
    operation: 'ContainerUpdate',
    before: 40,
    about: 'PidsLimit',
    ...c,
    body: { PidsLimit: 64 },
    older: { pids: 0 },
    newer: { pids: 64 },
  },
  {
    operation: 'ContainerUpdate',
    before: 55,
    about: 'block devices',
    ...c,
    body: { BlkioDeviceReadBps: [{ Path: '/dev/sda', Rate: 1 }] },
    hazard: 'block-device:/dev/sda',
  },
  ...(['ContainerStop', 'ContainerRestart'] as const).map((operation): Sample => ({
    operation,
    before: 42,
    about: '`signal`',
    ...c,
    query: { signal: 'SIGHUP' },
    older: { signal: '' },
    newer: { signal: 'SIGHUP' },
    unversioned: 'older',
  })),
  { operation: 'ContainerWait', before: 30, about: 'condition', ...c, query: { condition: 'removed' } },
  {
    operation: 'ContainerExec',
    before: 42,
    about: 'ConsoleSize',
    ...c,
    body: { Cmd: ['sh'], ConsoleSize: [1, 1] },
  },
  {
    operation: 'ExecStart',
    before: 42,
    about: 'ConsoleSize',
    ...c,
    body: { Tty: true, ConsoleSize: [1, 1] },
  },
  {
    operation: 'ContainerStats',
    before: 41,
    about: 'one-shot',
    ...c,
    query: { 'one-shot': true, stream: false },
  },
  { operation: 'ContainerLogs', before: 54, about: 'format', ...c, query: { format: 'json', stdout: true } },
  {
    operation: 'ImageCreate',
    before: 32,
    about: '`platform`',
    query: { fromImage: 'alpine', tag: '3', platform: 'linux/arm64' },
    older: { platform: '' },
    newer: { platform: 'linux/arm64' },
  },
  {
    operation: 'ImageBuild',
    before: 32,
    about: '`platform`',
    query: { platform: 'linux/arm64' },
    dockerfile: 'FROM alpine:3\nRUN true\n',
    older: { 'build.platform': '' },
    newer: { 'build.platform': 'linux/arm64' },
  },
  {
    operation: 'ImageBuild',
    before: 40,
    about: 'outputs',
    query: { outputs: { json: [{ Type: 'local' }] } },
    dockerfile: 'FROM alpine:3\n',
    hazard: 'opaque:buildkit',
  },
  { operation: 'BuildPrune', before: 48, about: 'reserved-space', query: { 'reserved-space': 1n } },
  {
    operation: 'ImagePush',
    before: 46,
    about: '`platform`',
    path: { name: 'registry.example.com/app' },
    query: { tag: '1', platform: { os: 'linux' } },
    older: { platform: '' },
    newer: { platform: '{"os":"linux"}' },
    unversioned: 'older',
  },
  ...(['ImageGet', 'ImageHistory'] as const).map((operation): Sample => ({
    operation,
    before: 48,
    about: 'platform',
    path: { name: 'alpine' },
    query: { platform: ['{"os":"linux"}'] },
  })),
  { operation: 'ImageGetAll', before: 48, about: 'platform', query: { names: ['alpine'], platform: ['{}'] } },
  { operation: 'ImageLoad', before: 48, about: 'platform', query: { platform: ['{}'] }, stream: true },
  {
    operation: 'ImageInspect',
    before: 49,
    about: 'platform',
    path: { name: 'alpine' },
    query: { platform: { os: 'linux' } },
  },
  {
    operation: 'ImageDelete',
    before: 50,
    about: 'platforms',
    path: { name: 'alpine' },
    query: { platforms: ['{}'] },
  },
  { operation: 'ImageList', before: 25, about: 'filter', query: { filter: 'alpine' } },
  { operation: 'SystemDataUsage', before: 42, about: 'type', query: { type: ['image'] } },
  { operation: 'NetworkList', before: 28, about: 'containers' },
  { operation: 'NetworkCreate', before: 48, about: 'EnableIPv4', body: { Name: 'n', EnableIPv4: false } },
  {
    operation: 'NetworkConnect',
    before: 54,
    about: 'MacAddress',
    path: { id: 'n' },
    body: { Container: 'c', EndpointConfig: { MacAddress: '02:42:00:00:00:01' } },
    hazard: 'mac-address:02:42:00:00:00:01',
  },
  {
    operation: 'VolumeCreate',
    before: 42,
    about: 'ClusterVolumeSpec',
    body: { ClusterVolumeSpec: { Group: 'g' }, DriverOpts: { device: '/etc', o: 'bind' } },
    hazard: 'bind:/etc',
  },
  { operation: 'VolumeList', before: 42, about: 'ClusterVolumeSpec', hazard: '' },
  { operation: 'VolumeInspect', before: 42, about: 'ClusterVolumeSpec', path: { name: 'v' }, hazard: '' },
  { operation: 'VolumeDelete', before: 42, about: 'ClusterVolumeSpec', path: { name: 'v' }, hazard: '' },
  { operation: 'VolumePrune', before: 42, about: 'with a name' },
  {
    operation: 'SwarmInit',
    before: 39,
    about: 'DefaultAddrPool',
    body: { DefaultAddrPool: ['10.0.0.0/8'], SubnetSize: 24 },
    hazard: 'subnet:10.0.0.0/8',
  },
  ...(['ServiceCreate', 'ServiceUpdate'] as const).flatMap((operation): Sample[] => [
    { operation, before: 30, about: 'digest', ...service({}) },
    { operation, before: 40, about: 'Sysctls', ...service({ Sysctls: { a: '1' } }), hazard: 'sysctl:a' },
    {
      operation,
      before: 41,
      about: 'CapabilityDrop',
      ...service({ CapabilityDrop: ['ALL'] }, { Resources: { Limits: { Pids: 64, MemoryBytes: 1 } } }),
      older: { 'capabilities.drop': [], pids: 0, memory: 1 },
      newer: { 'capabilities.drop': ['ALL'], pids: 64, memory: 1 },
    },
    {
      operation,
      before: 44,
      about: 'Networks',
      ...service({ Privileges: { Seccomp: { Mode: 'unconfined' } } }, {}, { Networks: [{ Target: 'host' }] }),
      hazard: 'host-namespace:network',
    },
    { operation, before: 46, about: 'OomScoreAdj', ...service({ OomScoreAdj: -1 }), hazard: 'oom-score:-1' },
    { operation, before: 52, about: 'SwapBytes', ...service({}, { Resources: { SwapBytes: 1 } }) },
  ]),
  {
    operation: 'ServiceUpdate',
    before: 44,
    about: 'StartInterval',
    ...service({ Healthcheck: { StartInterval: 1_000_000 } }),
    hazard: 'engine-load:health-interval=1ms',
  },
  { operation: 'ServiceList', before: 41, about: 'status', query: { status: 'true' } },
  ...(['SecretCreate', 'ConfigCreate'] as const).map((operation): Sample => ({
    operation,
    before: 37,
    about: 'Templating',
    body: { Name: 's', Data: 'eA==', Templating: { Name: 'golang' } },
    hazard: 'secret-driver:golang',
  })),
];

void t.test('each difference: calls just below the version, at it, and without one', (t) => {
  for (const { operations, before, engine, guard } of VERSION_DIFFERENCES) {
    for (const operation of operations) {
      const name = `${operation} before 1.${before}: ${engine}`;
      const samples = SAMPLES.filter(
        (one) => one.operation === operation && one.before === before && engine.includes(one.about),
      );
      t.equal(samples.length, 1, `${name}: one sample`);
      const [sample] = samples;
      if (sample === undefined) continue;
      const look = (version: string) => {
        const { facts, hazards } = inspect(makeCall(operation, { ...sample, version }));
        return { ...facts, hazards: hazards.map(formatHazard).sort() };
      };
      const [older, newer, unversioned] = [look(`1.${before - 1}`), look(`1.${before}`), look('')];
      if (guard === 'follows') {
        t.match(older, sample.older, `${name}: older`);
        t.match(newer, sample.newer, `${name}: newer`);
        // t.match takes a longer list as a match of a shorter one.
        if (sample.older?.hazards !== undefined) t.same(older.hazards, sample.older.hazards, name);
        if (sample.newer?.hazards !== undefined) t.same(newer.hazards, sample.newer.hazards, name);
        for (const [key, value] of Object.entries(sample.older ?? {}))
          if (Array.isArray(value)) t.same((older as Record<string, unknown>)[key], value, `${name}: ${key}`);
        t.notSame(older, newer, `${name}: they differ`);
        t.same(unversioned, sample.unversioned === 'older' ? older : newer, `${name}: without a version`);
      } else {
        t.same(older, newer, `${name}: judged alike`);
        t.same(unversioned, newer, `${name}: without a version`);
        if (sample.hazard !== undefined && sample.hazard !== '')
          t.ok(older.hazards.includes(sample.hazard), `${name}: ${sample.hazard}`);
        t.equal(sample.hazard !== undefined, guard === 'either', `${name}: its hazard`);
      }
    }
  }
  t.equal(
    SAMPLES.length,
    VERSION_DIFFERENCES.flatMap(({ operations }) => operations).length,
    'every sample has its difference',
  );
  t.end();
});

void t.test('a path without a version is the newest of an engine: 1.41 or more', (t) => {
  const of = (version: string) => makeCall('SystemPing', { version });
  t.same(
    ['1.24', '1.40', '1.41', '1.9', ''].map((version) => isBefore(of(version), 41)),
    [true, true, false, true, false],
  );
  t.equal(mayBeBefore(of(''), 41), false);
  t.equal(mayBeBefore(of(''), 42), true);
  t.equal(mayBeBefore(of('1.42'), 42), false);
  t.equal(mayBeBefore(of('1.41'), 42), true);
  t.end();
});
