import fc from 'fast-check';
import t from 'tap';
import type { JsonObject, JsonValue } from '../../src/base/json.js';
import { FACTS, HAZARDS } from '../../src/hazards/catalogue.js';
import { inspect } from '../../src/hazards/inspect.js';
import { formatHazard } from '../../src/hazards/inspection.js';
import { create, makeCall, service } from './make-call.js';

const raised = (call: Parameters<typeof inspect>[0]): string[] =>
  inspect(call).hazards.map(formatHazard).sort();

void t.test('facts of builds, images, exec and services', (t) => {
  const build = makeCall('ImageBuild', {
    query: {
      t: ['ci/app', 'docker.io/ci/app:2'],
      dockerfile: 'a/../Dockerfile',
      buildargs: { V: '1' },
      labels: { l: 'x' },
      pull: true,
      memory: 5n,
      cachefrom: { json: ['ci/cache'] },
      networkmode: 'default',
    },
  });
  t.match(inspect(build).facts, {
    'build.tags': ['ci/app:latest', 'ci/app:2'],
    'build.dockerfile': 'Dockerfile',
    'build.args': ['V'],
    'build.labels': ['l'],
    'build.pull': true,
    'build.memory': 5,
    'build.cache-from': ['ci/cache'],
    'build.network': 'default',
    'build.context-bytes': 0,
    'build.context-entries': 0,
  });
  t.match(inspect(makeCall('ImageBuild', { dockerfile: 'FROM alpine' })).facts, {
    'build.context-bytes': 11,
    'build.context-entries': 1,
  });
  t.match(
    inspect(makeCall('ImageBuild', { stream: true })).facts,
    { 'build.context-bytes': Number.MAX_SAFE_INTEGER, 'build.context-entries': Number.MAX_SAFE_INTEGER },
    'what nobody has read is larger than any limit',
  );
  const image = (query: Record<string, string>): unknown =>
    inspect(makeCall('ImageCreate', { query })).facts['image'];
  t.equal(image({ fromImage: 'alpine:evil', tag: 'latest' }), 'alpine:latest', 'the tag parameter wins');
  const digest = `sha256:${'a'.repeat(64)}`;
  t.equal(image({ fromImage: 'alpine:1', tag: digest }), `alpine@${digest}`, 'a tag may be a digest');
  t.equal(image({ fromImage: 'alpine' }), 'alpine', 'no tag is made up for a pull');
  const load = makeCall('ImageCreate', { query: { fromSrc: '-', repo: 'alpine' } });
  t.equal(inspect(load).facts['image.target'], 'alpine:latest', 'what an import would replace');
  t.same(raised(load), ['opaque:image-archive']);
  t.match(inspect(makeCall('ImageTag', { path: { name: 'a' }, query: { repo: 'ci/b', tag: '1' } })).facts, {
    image: 'a:latest',
    'image.target': 'ci/b:1',
  });
  const digested = { repo: `ci/b@${digest}`, tag: '1' };
  t.match(
    inspect(makeCall('ImageTag', { path: { name: 'a' }, query: digested })).facts,
    { 'image.target': 'ci/b:1' },
    'dockerd 20.10 cuts the digest off and moves the tag',
  );
  t.equal(image({ fromImage: 'alpine:', tag: '1' }), 'alpine:1', 'it drops one trailing colon');
  t.match(inspect(service({ Args: ['x'], Command: ['sh'], Env: ['A=1'] })).facts, {
    'service.name': 'web',
    image: 'alpine:latest',
    command: ['x'],
    entrypoint: ['sh'],
    env: ['A'],
  });
  t.end();
});

void t.test('what the docker command sends by default raises nothing', (t) => {
  const body: JsonObject = {
    Hostname: '',
    Domainname: '',
    User: '1000',
    AttachStdin: false,
    AttachStdout: true,
    Tty: false,
    OpenStdin: false,
    StdinOnce: false,
    Env: null,
    Cmd: ['echo', 'hi'],
    Image: 'alpine:latest',
    Volumes: {},
    WorkingDir: '',
    Entrypoint: null,
    OnBuild: null,
    Labels: {},
    NetworkingConfig: { EndpointsConfig: { default: {} } },
    HostConfig: {
      Binds: null,
      ContainerIDFile: '',
      LogConfig: { Type: '', Config: {} },
      NetworkMode: 'default',
      PortBindings: {},
      RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
      AutoRemove: false,
      VolumeDriver: '',
      VolumesFrom: null,
      ConsoleSize: [0, 0],
      CapAdd: null,
      CapDrop: null,
      CgroupnsMode: '',
      Dns: [],
      DnsOptions: [],
      DnsSearch: [],
      ExtraHosts: null,
      GroupAdd: null,
      IpcMode: '',
      Cgroup: '',
      Links: null,
      OomScoreAdj: 0,
      PidMode: '',
      Privileged: false,
      PublishAllPorts: false,
      ReadonlyRootfs: false,
      SecurityOpt: null,
      UTSMode: '',
      UsernsMode: '',
      ShmSize: 0,
      Isolation: '',
      CpuShares: 0,
      Memory: 0,
      NanoCpus: 0,
      CgroupParent: '',
      BlkioWeight: 0,
      BlkioWeightDevice: [],
      BlkioDeviceReadBps: [],
      CpuPeriod: 0,
      CpuQuota: 0,
      CpusetCpus: '',
      CpusetMems: '',
      Devices: [],
      DeviceCgroupRules: null,
      DeviceRequests: null,
      MemoryReservation: 0,
      MemorySwap: 0,
      MemorySwappiness: -1,
      OomKillDisable: false,
      PidsLimit: 0,
      Ulimits: [],
      CpuCount: 0,
      CpuPercent: 0,
      IOMaximumIOps: 0,
      IOMaximumBandwidth: 0,
      MaskedPaths: null,
      ReadonlyPaths: null,
    },
  };
  t.same(raised(makeCall('ContainerCreate', { query: { name: 'ci-cli' }, body })), []);
  const query = {
    buildargs: { json: {} },
    cachefrom: { json: [] },
    cgroupparent: '',
    cpuperiod: 0n,
    dockerfile: 'Dockerfile',
    labels: { json: {} },
    memory: 0n,
    networkmode: 'default',
    rm: true,
    shmsize: 0n,
    t: ['ci/app:1'],
    target: '',
    ulimits: { json: [] },
    version: '1',
  };
  t.same(raised(makeCall('ImageBuild', { query, stream: true })), ['opaque:context']);
  t.end();
});

void t.test('ways to BuildKit are opaque', (t) => {
  for (const query of [
    { version: '2' },
    { session: 's' },
    { buildid: 'upload-request:x' },
    { outputs: { json: [{ Type: 'tar' }] } },
  ]) {
    t.same(raised(makeCall('ImageBuild', { query })), ['opaque:buildkit'], JSON.stringify(query));
  }
  t.same(raised(makeCall('ImageBuild', { query: { remote: 'client-session' } })), ['opaque:session-build']);
  t.same(raised(makeCall('ImageBuild', { query: { remote: 'upload-request' } })), ['opaque:upload-request']);
  for (const [id, what] of [
    ['Grpc', 'grpc'],
    ['Session', 'session'],
  ] as const) {
    t.same(raised(makeCall(id, { upgrade: 'h2c' })), [`opaque:${what}`]);
  }
  for (const [id, ...hazards] of [
    ['ImageLoad', 'opaque:image-archive'],
    ['PutContainerArchive', 'opaque:archive'],
    ['PluginCreate', 'opaque:plugin', 'plugin'],
  ] as const) {
    t.same(raised(makeCall(id, { stream: true })), hazards, id);
  }
  t.end();
});

void t.test('calls about which there is nothing to say share one frozen result', (t) => {
  const ping = inspect(makeCall('SystemPing'));
  t.equal(ping, inspect(makeCall('ContainerList')));
  t.ok(Object.isFrozen(ping) && Object.isFrozen(ping.facts) && Object.isFrozen(ping.hazards));
  t.same(inspect(makeCall('ContainerInspect', { path: { id: 'c' } })), { facts: { name: 'c' }, hazards: [] });
  t.end();
});

void t.test('property: no body makes inspect throw, and it speaks only words of the catalogue', (t) => {
  const kinds = new Map(HAZARDS.map(({ kind, argument }) => [kind as string, argument]));
  const names = new Map(FACTS.map(({ name, type }) => [name as string, type as string]));
  const operations = [
    'ContainerCreate',
    'ContainerUpdate',
    'ContainerStart',
    'ContainerExec',
    'ServiceCreate',
    'SwarmInit',
    'SwarmJoin',
    'SwarmUpdate',
    'NetworkCreate',
    'NetworkConnect',
    'VolumeCreate',
    'SecretCreate',
    'ConfigCreate',
    'ImageCommit',
    'SystemAuth',
    'PluginPull',
    'ImageBuild',
    'ImageCreate',
    'CheckpointCreate',
  ] as const;
  // Field names from the sources' own words, so that random bodies reach the judges.
  const words = [
    'HostConfig',
    'NetworkingConfig',
    'EndpointsConfig',
    'Binds',
    'Mounts',
    'Type',
    'Source',
    'VolumeOptions',
    'DriverConfig',
    'Options',
    'Devices',
    'DeviceRequests',
    'Capabilities',
    'CapAdd',
    'SecurityOpt',
    'LogConfig',
    'Config',
    'PortBindings',
    'RestartPolicy',
    'Name',
    'TaskTemplate',
    'ContainerSpec',
    'Privileges',
    'IPAM',
    'IPAMConfig',
    'Spec',
    'CAConfig',
    'Tmpfs',
    'TmpfsOptions',
    'Ulimits',
    'NetworkMode',
    'IpcMode',
    'Env',
    'Cmd',
    'Image',
    '__proto__',
    'constructor',
  ];
  const leaf = fc.oneof(
    fc.constantFrom<JsonValue>(
      null,
      true,
      0,
      1n,
      '',
      'host',
      'bind',
      'container:x',
      '/etc:/e:ro',
      '::',
      ':',
      '=',
      '\ud800',
    ),
    fc.string(),
    fc.double(),
  );
  const { value } = fc.letrec<{ value: JsonValue; object: JsonObject }>((tie) => ({
    value: fc.oneof({ maxDepth: 5 }, leaf, fc.array(tie('value'), { maxLength: 3 }), tie('object')),
    object: fc.dictionary(fc.constantFrom(...words), tie('value'), { maxKeys: 5, noNullPrototype: false }),
  }));
  const body = fc.dictionary(fc.constantFrom(...words), value, { maxKeys: 6 });
  fc.assert(
    fc.property(fc.constantFrom(...operations), body, (id, object) => {
      const { facts, hazards } = inspect(
        makeCall(id, { body: object, query: { buildargs: object, t: ['x'] } }),
      );
      for (const { kind, argument } of hazards) {
        const expected = kinds.get(kind);
        if (expected === undefined || typeof argument !== 'string') return false;
        if (expected === 'none' && argument !== '') return false;
      }
      return Object.entries(facts).every(
        ([name, fact]) => names.get(name) === (Array.isArray(fact) ? 'strings' : typeof fact),
      );
    }),
    { numRuns: 1500 },
  );
  t.end();
});

void t.test('many hazards in one body, or a very long one, are opaque', (t) => {
  const Binds = Array.from({ length: 100_000 }, (_, index) => `/srv/${index}:/x`);
  const started = performance.now();
  const { hazards, facts } = inspect(create({ Binds }));
  t.ok(hazards.length <= 4097, `${hazards.length} are listed`);
  t.same(hazards.at(-1), { kind: 'opaque', argument: 'work' });
  t.equal(facts['mounts'], undefined, 'no condition holds because a list is shorter than it should be');
  t.same(raised(create({ Binds: [`/${'../'.repeat(30_000)}etc:/e`] })), ['bind:/etc']);
  t.same(raised(create({ Binds: [`/${'../'.repeat(300_000)}etc:/e`] })), ['opaque:work']);
  t.ok(performance.now() - started < 4000, `took ${Math.round(performance.now() - started)} ms`);
  t.end();
});

void t.test('each protocol that a client may upgrade to', (t) => {
  const upgrade = (name: string): string[] =>
    raised(makeCall('ExecStart', { path: { id: 'e1' }, upgrade: name }));
  for (const name of ['', 'tcp', 'websocket', 'h2c']) t.same(upgrade(name), [], name);
  for (const name of ['TCP', 'spdy', 'h2', 'tcps', 'tcp,h2c'])
    t.same(upgrade(name), [`upgrade:${name}`], name);
  t.end();
});

void t.test('each header with credentials that the daemon sends to a registry', (t) => {
  const value = btoa('{"serveraddress":"registry.example.com","username":"x"}');
  const config = btoa('{"registry.example.com":{"username":"x"}}');
  for (const [header, text] of [
    ['x-registry-auth', value],
    ['x-registry-config', config],
  ] as const) {
    const call = makeCall('ImageBuild', { dockerfile: 'FROM alpine', headers: { [header]: text } });
    t.same(raised(call), ['registry-credentials:registry.example.com'], header);
    t.same(
      raised(makeCall('ImageBuild', { dockerfile: 'FROM alpine', headers: { [`${header}s`]: text } })),
      [],
    );
  }
  t.end();
});
