import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import t from 'tap';
import type { JsonObject, JsonValue } from '../../src/base/json.js';
import type { OperationId } from '../../src/docker/operation.js';
import { FACTS, HAZARDS, type FactKind } from '../../src/hazards/catalogue.js';
import { hazardsDocument } from '../../src/hazards/document.js';
import { shortImageName } from '../../src/hazards/image-name.js';
import { inspect } from '../../src/hazards/inspect.js';
import { formatHazard } from '../../src/hazards/inspection.js';
import { cleanPath, mayHoldEngineSocket } from '../../src/hazards/host-access.js';
import { create, makeCall, service } from './make-call.js';

const raised = (call: Parameters<typeof inspect>[0]): string[] =>
  inspect(call).hazards.map(formatHazard).sort();

void t.test('facts of a container', (t) => {
  const call = makeCall('ContainerCreate', {
    query: { name: '/ci-job', platform: 'linux/amd64' },
    body: {
      Image: 'docker.io/library/alpine',
      Cmd: ['sleep', '60'],
      Entrypoint: ['sh'],
      User: '1000',
      WorkingDir: '/src',
      Hostname: 'box',
      Env: ['TOKEN=s3cret', 'EMPTY'],
      Labels: { 'org.example.ci': 'x' },
      Volumes: { '/data': {} },
      HostConfig: {
        Binds: ['/srv//ci:/src:ro', 'cache:/cache'],
        Mounts: [{ Type: 'bind', Source: '/srv/x/', Target: '/x', ReadOnly: true }],
        Tmpfs: { '/t': '' },
        NetworkMode: 'ci_default',
        PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '8080' }] },
        Memory: 67108864n,
        NanoCpus: 1500000000,
        PidsLimit: 100,
        CapAdd: ['net_admin'],
        CapDrop: ['CAP_NET_RAW'],
        RestartPolicy: { Name: 'no' },
        AutoRemove: true,
        ReadonlyRootfs: true,
      },
      NetworkingConfig: { EndpointsConfig: { ci_default: { Aliases: ['web'] } } },
    },
  });
  t.same(inspect(call).facts, {
    image: 'alpine:latest',
    registry: 'docker.io',
    'image.tag': 'latest',
    'image.digest': '',
    platform: 'linux/amd64',
    'container.name': 'ci-job',
    command: ['sleep', '60'],
    entrypoint: ['sh'],
    user: '1000',
    workdir: '/src',
    hostname: 'box',
    env: ['TOKEN', 'EMPTY'],
    labels: ['org.example.ci'],
    mounts: [':/data:rw', '/srv/ci:/src:ro', 'cache:/cache:rw', '/srv/x:/x:ro', ':/t:rw'],
    'network.mode': 'ci_default',
    networks: ['ci_default'],
    'network.aliases': ['web'],
    publish: ['127.0.0.1:8080'],
    'capabilities.add': ['NET_ADMIN'],
    'capabilities.drop': ['NET_RAW'],
    memory: 67108864,
    cpus: 1.5,
    pids: 100,
    restart: 'no',
    'read-only': true,
    'auto-remove': true,
  });
  t.notMatch(JSON.stringify(inspect(call)), /s3cret/, 'no values of the environment');
  t.end();
});

void t.test('every operation states its facts, with their types, also when the call gives nothing', (t) => {
  const kinds: readonly FactKind[] = FACTS;
  const operations = new Set(
    kinds.flatMap(({ operations }) => operations).filter((id): id is OperationId => id !== '*'),
  );
  for (const id of operations) {
    const expected = kinds.filter((fact) => fact.operations.includes(id));
    for (const call of [makeCall(id), makeCall(id, { body: {} })]) {
      const { facts } = inspect(call);
      t.same(Object.keys(facts).sort(), expected.map(({ name }) => name).sort(), id);
      for (const { name, type } of expected) {
        const value = facts[name];
        t.equal(Array.isArray(value) ? 'strings' : typeof value, type, `${id}: ${name}`);
      }
    }
  }
  t.end();
});

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

void t.test('registry, tag and digest of an image', (t) => {
  const digest = `sha256:${'a'.repeat(64)}`;
  const parts = (call: Parameters<typeof inspect>[0]): string => {
    const { facts } = inspect(call);
    return ['registry', 'image.tag', 'image.digest'].map((name) => String(facts[name])).join(' ');
  };
  const rows: readonly (readonly [string, string])[] = [
    ['alpine', 'docker.io latest '],
    ['alpine:3', 'docker.io 3 '],
    ['index.docker.io/library/alpine:3', 'docker.io 3 '],
    [`alpine@${digest}`, `docker.io  ${digest}`],
    [`registry.example.com:5000/a/b:1@${digest}`, `registry.example.com:5000 1 ${digest}`],
    ['localhost/a', 'localhost latest '],
    ['127.0.0.1:5000/a', '127.0.0.1:5000 latest '],
    ['docker.io.example.com/library/alpine', 'docker.io.example.com latest '],
    ['team/beef', 'docker.io latest '],
    ['beef:1', 'docker.io 1 '],
    // What may be an id of any image, and what is no name.
    ['beef', '  '],
    ['6297af549210', '  '],
    [digest, '  '],
    ['a'.repeat(64), '  '],
    ['Alpine', '  '],
    ['', '  '],
  ];
  for (const [name, expected] of rows) {
    t.equal(parts(makeCall('ContainerCreate', { body: { Image: name } })), expected, `create ${name}`);
    t.equal(parts(service({ Image: name })), expected, `service ${name}`);
    if (name !== '') t.equal(parts(makeCall('ImageDelete', { path: { name } })), expected, `delete ${name}`);
  }
  const pull = (query: Record<string, string>): string => parts(makeCall('ImageCreate', { query }));
  t.equal(pull({ fromImage: 'alpine' }), 'docker.io  ', 'no tag is made up for a pull');
  t.equal(pull({ fromImage: 'beef', tag: '1' }), 'docker.io 1 ', 'what is pulled is no id');
  t.equal(pull({ fromImage: 'r.example/a:1', tag: digest }), `r.example  ${digest}`);
  t.equal(pull({ fromSrc: '-', repo: 'alpine' }), '  ', 'an import');
  const push = makeCall('ImagePush', { path: { name: 'r.example/a' }, query: { tag: '2' } });
  t.equal(parts(push), 'r.example 2 ');
  const login = makeCall('SystemAuth', { body: { serveraddress: '' } });
  t.equal(inspect(login).facts['registry'], 'docker.io');
  t.end();
});

void t.test('a HostConfig is inspected in all places where an engine may find it', (t) => {
  const legacy = makeCall('ContainerCreate', {
    body: { Image: 'a', Binds: ['/:/h'], PidMode: 'host', NetworkMode: 'host' },
  });
  t.same(raised(legacy), ['bind:/', 'docker-socket', 'host-namespace:network', 'host-namespace:pid']);
  t.equal(inspect(legacy).facts['network.mode'], 'host');
  const both = create({ Memory: 1 }, { Privileged: true });
  t.same(raised(both), ['privileged'], 'top level beside a HostConfig');
  t.same(raised(create({ InitPath: '/usr/../bin/evil' })), ['bind:/bin/evil'], 'a host program as init');
  t.same(raised(makeCall('ContainerStart', { path: { id: 'c' }, body: { Privileged: true } })), [
    'privileged',
  ]);
  t.end();
});

void t.test('a field without an inspector is a hazard, wherever it is', (t) => {
  t.same(raised(create({ Mounts: [{ Type: 'tmpfs', Target: '/t', 'a/b~c': 1 }] })), [
    'unknown-field:/HostConfig/Mounts/0/a~1b~0c',
  ]);
  t.same(raised(create({ constructor: 'x', toString: 'y', Foo: {}, Bar: null, Baz: 0 })), [
    'unknown-field:/HostConfig/constructor',
    'unknown-field:/HostConfig/toString',
  ]);
  t.same(raised(service({}, { Novel: true })), ['unknown-field:/TaskTemplate/Novel']);
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

void t.test('binds as moby reads them', (t) => {
  const rows: readonly (readonly [string, readonly string[]])[] = [
    ['//etc//./:/e', ['bind:/etc']],
    ['/:/h', ['bind:/', 'docker-socket']],
    ['/var/run/docker.sock:/s', ['bind:/var/run/docker.sock', 'docker-socket']],
    ['/home/u/x/docker.sock:/s', ['bind:/home/u/x/docker.sock', 'docker-socket']],
    ['/run/user/1000/:/s', ['bind:/run/user/1000', 'docker-socket']],
    ['/proc/1/root:/s', ['bind:/proc/1/root', 'docker-socket']],
    ['/srv/ci/..cache:/c', ['bind:/srv/ci/..cache']],
    ['name:/c:ro,nocopy', []],
    ['/anonymous', []],
    ['../etc:/e', ['bind:../etc:/e']],
    ['~/x:/e', ['bind:~/x:/e']],
    ['name', ['bind:name']],
    ['/etc:ro', ['bind:/etc', 'bind:/etc:ro']],
    ['/etc:/e:odd', ['bind:/etc', 'bind:/etc:/e:odd']],
    ['/etc:/e:ro,rw', ['bind:/etc', 'bind:/etc:/e:ro,rw']],
    ['/etc:/e:ro:x', ['bind:/etc', 'bind:/etc:/e:ro:x']],
    ['/etc:/e:slave', ['bind-propagation:slave', 'bind:/etc']],
    ['', ['bind']],
  ];
  for (const [spec, hazards] of rows) t.same(raised(create({ Binds: [spec] })), hazards, spec);
  t.end();
});

void t.test('the same hazards in a service', (t) => {
  const call = service(
    {
      Mounts: [{ Type: 'bind', Source: '/etc', Target: '/e', BindOptions: { Propagation: 'shared' } }],
      CapabilityAdd: ['CAP_SYS_ADMIN'],
      Privileges: {
        CredentialSpec: { File: 'x' },
        SELinuxContext: { Disable: true },
        Seccomp: { Mode: 'unconfined' },
        AppArmor: { Mode: 'disabled' },
        NoNewPrivileges: true,
      },
      Sysctls: { 'net.x': '1' },
      Hosts: ['192.0.2.6 mirror'],
      Groups: ['docker'],
      OomScoreAdj: -5,
      DNSConfig: { Nameservers: ['192.0.2.6'], Search: ['x'], Options: ['y'] },
      Ulimits: [{ Name: 'core' }],
      Isolation: 'hyperv',
    },
    {
      Runtime: 'odd',
      Networks: [{ Target: 'host' }],
      LogDriver: { Name: 'syslog', Options: { 'syslog-address': 'udp://c2' } },
      Resources: {
        Limits: { MemoryBytes: 5 },
        Reservations: { GenericResources: [{ DiscreteResourceSpec: { Kind: 'gpu', Value: 1 } }] },
      },
    },
    { EndpointSpec: { Ports: [{ PublishedPort: 80, TargetPort: 80, Protocol: 'tcp' }] } },
  );
  t.same(raised(call), [
    'bind-propagation:shared',
    'bind:/etc',
    'capability:SYS_ADMIN',
    'device-request:gpu',
    'dns-option:y',
    'dns-search:x',
    'dns:192.0.2.6',
    'extra-host:192.0.2.6 mirror',
    'group-add:docker',
    'host-namespace:network',
    'isolation:hyperv',
    'log-driver:syslog',
    'log-option:syslog-address=udp://c2',
    'oom-score:-5',
    'publish:0.0.0.0:80',
    'runtime:odd',
    'security-opt:apparmor=unconfined',
    'security-opt:credentialspec=file:x',
    'security-opt:label=disable',
    'security-opt:seccomp=unconfined',
    'sysctl:net.x',
    'ulimit:core',
  ]);
  t.equal(inspect(call).facts['memory'], 5);
  t.end();
});

void t.test('image names in their short form', (t) => {
  const rows = [
    ['alpine', 'alpine:latest'],
    ['library/alpine:3', 'alpine:3'],
    ['index.docker.io/library/alpine', 'alpine:latest'],
    ['docker.io/ci/app', 'ci/app:latest'],
    ['localhost/app', 'localhost/app:latest'],
    ['library/a/b', 'library/a/b:latest'],
    ['r.example:5000/app', 'r.example:5000/app:latest'],
    [`r.example/app:1@sha256:${'b'.repeat(64)}`, `r.example/app:1@sha256:${'b'.repeat(64)}`],
    ['a'.repeat(64), 'a'.repeat(64)],
    [`sha256:${'a'.repeat(64)}`, `sha256:${'a'.repeat(64)}`],
    ['Alpine', 'Alpine'],
    ['alpine:', 'alpine:'],
    ['a b', 'a b'],
    ['', ''],
  ] as const;
  for (const [given, short] of rows) t.equal(shortImageName(given), short, given);
  t.end();
});

void t.test('paths are cleaned as Go does', (t) => {
  const rows = [
    ['', '.'],
    ['/', '/'],
    ['//', '/'],
    ['/..', '/'],
    ['/../a', '/a'],
    ['a/..', '.'],
    ['../a', '../a'],
    ['a/../../b', '../b'],
    ['/a/./b/', '/a/b'],
    ['./a', 'a'],
    ['...', '...'],
    ['../../a/..', '../..'],
  ] as const;
  for (const [given, clean] of rows) t.equal(cleanPath(given), clean, given);
  for (const path of ['/', '/run', '/var', '/var/run', '/var/run/docker.sock', '/run/containerd', '/proc']) {
    t.ok(mayHoldEngineSocket(path), path);
  }
  for (const path of ['/srv', '/var/lib', '/running', '/var/runner', '/run/secrets', '/process']) {
    t.notOk(mayHoldEngineSocket(path), path);
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

void t.test('many hazards in one body take linear time', (t) => {
  const Binds = Array.from({ length: 100_000 }, (_, index) => `/srv/${index}:/x`);
  const started = performance.now();
  t.equal(inspect(create({ Binds })).hazards.length, 100_000);
  const long = '../'.repeat(300_000);
  t.same(raised(create({ Binds: [`/${long}etc:/e`] })), ['bind:/etc']);
  t.ok(performance.now() - started < 4000, `took ${Math.round(performance.now() - started)} ms`);
  t.end();
});

void t.test('the catalogue is consistent and its page is fresh', (t) => {
  t.equal(new Set(HAZARDS.map(({ kind }) => kind)).size, HAZARDS.length, 'kinds are unique');
  t.equal(new Set(FACTS.map(({ name }) => name)).size, FACTS.length, 'facts are unique');
  for (const { kind, argument, permit } of HAZARDS) {
    t.match(kind, /^[a-z]+(-[a-z]+)*$/, `${kind}: lower-case, hyphens`);
    t.ok(
      argument === 'none' ? permit === kind : permit.startsWith(`${kind}:`),
      `${kind}: example of a permit`,
    );
  }
  // npm run docs
  t.equal(readFileSync('docs/reference/hazards.md', 'utf8'), hazardsDocument(), 'docs/reference/hazards.md');
  t.end();
});
