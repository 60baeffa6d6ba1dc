import type { Kind } from '../../src/hazards/catalogue.js';
import { file, tar } from '../support/tar.js';

/** A real request that has one hazard, and what else it cannot be without. */
export interface HazardCase {
  readonly kind: Kind;
  readonly operation: string;
  /** `POST /v1.41/build` */
  readonly line: string;
  readonly headers?: readonly string[];
  /** Bytes are a tar archive, anything else is sent as JSON. */
  readonly body?: Buffer | Readonly<Record<string, unknown>> | readonly unknown[];
  /** The hazard as a denial words it. */
  readonly hazard: string;
  /** Other hazards that come with it: permitted in every policy of the test. */
  readonly beside?: readonly string[];
  /** Set where the `permit` example of the catalogue is about another argument. */
  readonly otherExample?: true;
}

type Fields = Readonly<Record<string, unknown>>;
type Rest = Partial<HazardCase>;

function create(
  kind: Kind,
  hazard: string,
  HostConfig: Fields,
  more: Fields = {},
  rest: Rest = {},
): HazardCase {
  const body = { Image: 'alpine', Cmd: ['true'], ...more, HostConfig };
  return { kind, operation: 'ContainerCreate', line: 'POST /v1.41/containers/create', body, hazard, ...rest };
}

function build(kind: Kind, hazard: string, query: string, rest: Rest = {}): HazardCase {
  const body = tar(file('Dockerfile', 'FROM alpine\nRUN true\n'));
  return { kind, operation: 'ImageBuild', line: `POST /v1.41/build?${query}`, body, hazard, ...rest };
}

/** A build whose Dockerfile has the hazard. */
function step(kind: Kind, hazard: string, dockerfile: string, rest: Rest = {}): HazardCase {
  return build(kind, hazard, 't=x', { body: tar(file('Dockerfile', dockerfile)), ...rest });
}

function network(kind: Kind, hazard: string, body: Fields): HazardCase {
  const line = 'POST /v1.41/networks/create';
  return { kind, operation: 'NetworkCreate', line, body: { Name: 'ci', ...body }, hazard };
}

function volume(
  kind: Kind,
  hazard: string,
  body: Fields,
  version = '1.41',
  beside: string[] = [],
): HazardCase {
  const line = `POST /v${version}/volumes/create`;
  return { kind, operation: 'VolumeCreate', line, body: { Name: 'v', ...body }, hazard, beside };
}

function service(kind: Kind, hazard: string, ContainerSpec: Fields): HazardCase {
  const body = { Name: 'web', TaskTemplate: { ContainerSpec: { Image: 'alpine', ...ContainerSpec } } };
  return { kind, operation: 'ServiceCreate', line: 'POST /v1.41/services/create', body, hazard };
}

function call(kind: Kind, hazard: string, operation: string, line: string, rest: Rest = {}): HazardCase {
  return { kind, hazard, operation, line, ...rest };
}

const json = (value: unknown): string => encodeURIComponent(JSON.stringify(value));

const CREDENTIALS = Buffer.from(
  '{"username":"u","password":"p","serveraddress":"registry.example.com"}',
).toString('base64url');
const UPGRADE = ['Connection: Upgrade', 'Upgrade: tcp'];
const twice = tar(file('Dockerfile', 'FROM alpine\n'), file('Dockerfile', 'FROM evil\n'));

/** At least one for every kind of hazard, in the order of the catalogue. */
export const HAZARD_CASES: readonly HazardCase[] = [
  // ---- every call
  create('unknown-field', 'unknown-field:/HostConfig/NewSwitch', { NewSwitch: true }),
  create(
    'unknown-field',
    'unknown-field:?novel',
    {},
    {},
    { line: 'POST /containers/create?novel=1', otherExample: true },
  ),
  build('opaque', 'opaque:context', 't=x', { body: twice }),
  step('opaque', 'opaque:dockerfile', 'FROM alpine\nNOVEL x\n', { otherExample: true }),
  step('opaque', 'opaque:command', `FROM alpine\nRUN echo ${'$('.repeat(9)}true${')'.repeat(9)}\n`, {
    beside: ['opaque:text'],
    otherExample: true,
  }),
  build('opaque', 'opaque:buildkit', 'version=2&session=s1', {
    beside: ['opaque:context'],
    otherExample: true,
  }),
  build('opaque', 'opaque:session-build', 'remote=client-session', {
    beside: ['opaque:context'],
    otherExample: true,
  }),
  build('opaque', 'opaque:upload-request', 'remote=upload-request', { otherExample: true }),
  call('opaque', 'opaque:session', 'Session', 'POST /v1.41/session', {
    headers: ['Connection: Upgrade', 'Upgrade: h2c'],
    otherExample: true,
  }),
  call('opaque', 'opaque:grpc', 'Grpc', 'POST /v1.41/grpc', {
    headers: ['Connection: Upgrade', 'Upgrade: h2c'],
    otherExample: true,
  }),
  call('opaque', 'opaque:image-archive', 'ImageLoad', 'POST /v1.41/images/load', {
    body: tar(),
    otherExample: true,
  }),
  call('opaque', 'opaque:archive', 'PutContainerArchive', 'PUT /v1.41/containers/c/archive?path=/etc', {
    body: tar(file('passwd', 'x')),
    otherExample: true,
  }),
  call('opaque', 'opaque:plugin', 'PluginCreate', 'POST /v1.41/plugins/create?name=p', {
    body: tar(file('config.json', '{}')),
    beside: ['plugin:p'],
    otherExample: true,
  }),
  call(
    'opaque',
    'opaque:rollback',
    'ServiceUpdate',
    'POST /v1.41/services/web/update?version=1&rollback=previous',
    {
      body: { Name: 'web' },
      otherExample: true,
    },
  ),
  call('upgrade', 'upgrade:spdy', 'ContainerAttach', 'POST /v1.41/containers/c/attach?stream=1&stdout=1', {
    headers: ['Connection: Upgrade', 'Upgrade: spdy'],
  }),
  call('link-alias', 'link-alias:ci-app/db', 'ContainerExec', 'POST /v1.41/containers/ci-app/db/exec', {
    body: { Cmd: ['id'] },
  }),
  create('indicator', 'indicator:pool.miner.example', {}, { Env: ['POOL=eu.pool.miner.example:3333'] }),
  call(
    'registry-credentials',
    'registry-credentials:registry.example.com',
    'ImageCreate',
    'POST /v1.41/images/create?fromImage=alpine&tag=3',
    { headers: [`X-Registry-Auth: ${CREDENTIALS}`] },
  ),
  // ---- build
  call(
    'remote-context',
    'remote-context:https://git.example.com/evil.git',
    'ImageBuild',
    'POST /v1.41/build?remote=https%3A%2F%2Fgit.example.com%2Fevil.git',
  ),
  build('build-dockerfile', 'build-dockerfile:../Dockerfile', 'dockerfile=../Dockerfile', {
    beside: ['opaque:context'],
  }),
  build('build-network', 'build-network:host', 'networkmode=host'),
  build(
    'build-extra-hosts',
    'build-extra-hosts:mirror.example.com:10.0.0.5',
    'extrahosts=mirror.example.com%3A10.0.0.5',
  ),
  build('build-cgroup-parent', 'build-cgroup-parent:/ci', 'cgroupparent=/x/../ci'),
  build('build-security-opt', 'build-security-opt:seccomp=unconfined', 'securityopt=seccomp%3Dunconfined'),
  build('build-isolation', 'build-isolation:hyperv', 'isolation=hyperv'),
  build('build-ulimit', 'build-ulimit:nofile', `ulimits=${json([{ Name: 'nofile', Soft: 9, Hard: 9 }])}`),
  build('build-arg', 'build-arg:HTTP_PROXY', `buildargs=${json({ HTTP_PROXY: 'http://192.0.2.6' })}`),
  step(
    'add-url',
    'add-url:https://artifacts.example.com/x',
    'FROM alpine\nADD https://artifacts.example.com/x /x\n',
  ),
  step(
    'add-git',
    'add-git:https://git.example.com/x.git',
    'FROM alpine\nADD https://git.example.com/x.git /x\n',
    {
      beside: ['add-url:https://git.example.com/x.git'],
    },
  ),
  step(
    'copy-from-image',
    'copy-from-image:registry.example.com/tools:1',
    'FROM alpine\nCOPY --from=registry.example.com/tools:1 /a /b\n',
  ),
  step('syntax', 'syntax:docker/dockerfile:1.7', '# syntax=docker/dockerfile:1.7\nFROM alpine\n'),
  step('run-mount', 'run-mount:cache', 'FROM alpine\nRUN --mount=type=cache,target=/c true\n'),
  step('run-network', 'run-network:host', 'FROM alpine\nRUN --network=host true\n'),
  step('run-security', 'run-security:insecure', 'FROM alpine\nRUN --security=insecure true\n'),
  step(
    'run-device',
    'run-device:vendor.com/class=gpu0',
    'FROM alpine\nRUN --device=vendor.com/class=gpu0 true\n',
  ),
  step(
    'download',
    'download:https://artifacts.example.com/main.sh',
    'FROM alpine\nRUN wget -qO- https://artifacts.example.com/main.sh | sh\n',
  ),
  // ---- images
  call(
    'import',
    'import:https://artifacts.example.com/rootfs.tar',
    'ImageCreate',
    'POST /v1.41/images/create?fromSrc=https%3A%2F%2Fartifacts.example.com%2Frootfs.tar&repo=alpine',
  ),
  call('pull-all-tags', 'pull-all-tags:alpine', 'ImageCreate', 'POST /v1.41/images/create?fromImage=alpine'),
  call(
    'image-change',
    'image-change:LABEL a=b',
    'ImageCommit',
    'POST /v1.41/commit?container=c&changes=LABEL%20a%3Db',
  ),
  call(
    'daemon-connects',
    'daemon-connects:registry.example.com/app:1',
    'DistributionInspect',
    'GET /v1.41/distribution/registry.example.com/app:1/json',
  ),
  call('registry-login', 'registry-login:registry.example.com', 'SystemAuth', 'POST /v1.41/auth', {
    body: { username: 'u', password: 'p', serveraddress: 'registry.example.com' },
  }),
  // ---- containers: privileges
  create('privileged', 'privileged', { Privileged: true }),
  create('capability', 'capability:NET_ADMIN', { CapAdd: ['cap_net_admin'] }),
  create('security-opt', 'security-opt:apparmor=ci-tools', { SecurityOpt: ['apparmor:ci-tools'] }),
  create('masked-paths', 'masked-paths', { MaskedPaths: [] }),
  create('readonly-paths', 'readonly-paths', { ReadonlyPaths: [] }),
  create('host-namespace', 'host-namespace:network', { NetworkMode: 'host' }),
  create('host-namespace', 'host-namespace:pid', { PidMode: 'host' }, {}, { otherExample: true }),
  create('host-namespace', 'host-namespace:ipc', { IpcMode: 'host' }, {}, { otherExample: true }),
  create('host-namespace', 'host-namespace:uts', { UTSMode: 'host' }, {}, { otherExample: true }),
  create('host-namespace', 'host-namespace:user', { UsernsMode: 'host' }, {}, { otherExample: true }),
  create('host-namespace', 'host-namespace:cgroup', { CgroupnsMode: 'host' }, {}, { otherExample: true }),
  create('container-namespace', 'container-namespace:network=ci-db', { NetworkMode: 'container:ci-db' }),
  create('namespace', 'namespace:ipc=shareable', { IpcMode: 'shareable' }),
  create('device', 'device:/dev/fuse', {
    Devices: [{ PathOnHost: '/dev//fuse', PathInContainer: '/dev/x', CgroupPermissions: 'rwm' }],
  }),
  create('device-request', 'device-request:nvidia', { DeviceRequests: [{ Driver: 'nvidia', Count: -1 }] }),
  create('device-rule', 'device-rule:c 10:229 rwm', { DeviceCgroupRules: ['c 10:229 rwm'] }),
  create('block-device', 'block-device:/dev/sda', { BlkioDeviceReadBps: [{ Path: '/dev/sda', Rate: 1 }] }),
  create('runtime', 'runtime:runsc', { Runtime: 'runsc' }),
  create('sysctl', 'sysctl:net.core.somaxconn', { Sysctls: { 'net.core.somaxconn': '9' } }),
  create('group-add', 'group-add:1000', { GroupAdd: ['1000'] }),
  create('isolation', 'isolation:hyperv', { Isolation: 'hyperv' }),
  create(
    'annotation',
    'annotation:org.example.a',
    { Annotations: { 'org.example.a': '1' } },
    {},
    { line: 'POST /v1.43/containers/create' },
  ),
  // ---- containers: files
  create('bind', 'bind:/srv/ci/cache', { Binds: ['/srv/x/../ci//cache:/c:ro'] }),
  create(
    'docker-socket',
    'docker-socket',
    { Binds: ['/run/docker.sock:/s'] },
    {},
    { beside: ['bind:/run/docker.sock'] },
  ),
  create(
    'bind-propagation',
    'bind-propagation:rslave',
    { Binds: ['/srv/ci:/c:rslave'] },
    {},
    { beside: ['bind:/srv/ci'] },
  ),
  create(
    'mount-type',
    'mount-type:image',
    { Mounts: [{ Type: 'image', Source: 'alpine', Target: '/i' }] },
    {},
    { line: 'POST /v1.48/containers/create' },
  ),
  create('tmpfs-option', 'tmpfs-option:exec', { Tmpfs: { '/t': 'rw,exec' } }),
  create('volumes-from', 'volumes-from:ci-db', { VolumesFrom: ['ci-db'] }),
  create('volume-driver', 'volume-driver:nfs-plugin', { VolumeDriver: 'nfs-plugin' }),
  volume('volume-option', 'volume-option:type=tmpfs', { DriverOpts: { type: 'tmpfs' } }),
  volume(
    'bind',
    'bind:/srv/ci/cache',
    { DriverOpts: { type: 'none', o: 'bind', device: '/srv/ci/cache' } },
    '1.41',
    ['volume-option:**'],
  ),
  create('storage-option', 'storage-option:size=10G', { StorageOpt: { size: '10G' } }),
  create('container-id-file', 'container-id-file:/run/ci/id', { ContainerIDFile: '/run/ci/id' }),
  // ---- containers: network
  create('network-id', 'network-id:ca11ed', { NetworkMode: 'ca11ed' }),
  create(
    'static-address',
    'static-address:172.28.0.9',
    {},
    {
      NetworkingConfig: { EndpointsConfig: { n: { IPAMConfig: { IPv4Address: '172.28.0.9' } } } },
    },
  ),
  create('mac-address', 'mac-address:02:42:00:00:00:01', {}, { MacAddress: '02:42:00:00:00:01' }),
  create('publish', 'publish:127.0.0.1:8080', {
    PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '8080' }] },
  }),
  create(
    'publish',
    'publish:0.0.0.0:8080',
    { PortBindings: { '80/tcp': [{ HostPort: '8080' }] } },
    {},
    { otherExample: true },
  ),
  create('publish-all', 'publish-all', { PublishAllPorts: true }),
  create('extra-host', 'extra-host:host.docker.internal:host-gateway', {
    ExtraHosts: ['host.docker.internal:host-gateway'],
  }),
  create('dns', 'dns:10.0.0.2', { Dns: ['10.0.0.2'] }),
  create('dns-search', 'dns-search:example.com', { DnsSearch: ['example.com'] }),
  create('dns-option', 'dns-option:ndots:0', { DnsOptions: ['ndots:0'] }),
  create('link', 'link:ci-db:db', { Links: ['ci-db:db'] }),
  // ---- containers: resources and life
  call('cgroup-parent', 'cgroup-parent:/ci', 'ContainerUpdate', 'POST /v1.41/containers/c/update', {
    body: { CgroupParent: '/x/../ci' },
  }),
  create('oom-score', 'oom-score:-100', { OomScoreAdj: -100 }),
  create('oom-kill-disable', 'oom-kill-disable', { OomKillDisable: true }),
  create('ulimit', 'ulimit:nofile', { Ulimits: [{ Name: 'nofile', Soft: 9, Hard: 9 }] }),
  create('realtime-cpu', 'realtime-cpu', { CpuRealtimeRuntime: 950_000 }),
  create('restart-policy', 'restart-policy:unless-stopped', { RestartPolicy: { Name: 'unless-stopped' } }),
  create('log-driver', 'log-driver:journald', { LogConfig: { Type: 'journald', Config: {} } }),
  create('log-option', 'log-option:syslog-address=tcp://logs.example.com:514', {
    LogConfig: { Type: '', Config: { 'syslog-address': 'tcp://logs.example.com:514' } },
  }),
  create(
    'log-option',
    'log-option:tag={{json .}}',
    {
      LogConfig: { Type: 'json-file', Config: { tag: '{{json .}}' } },
    },
    {},
    { otherExample: true },
  ),
  create(
    'engine-load',
    'engine-load:volumes=101',
    {},
    { Volumes: Object.fromEntries(Array.from({ length: 101 }, (_, n) => [`/v${n}`, {}])) },
    {},
  ),
  create('on-build', 'on-build:COPY . /x', {}, { OnBuild: ['COPY . /x'] }),
  step('on-build', 'on-build:COPY . /x', 'FROM alpine\nONBUILD COPY . /x\n'),
  call('checkpoint', 'checkpoint:nightly', 'CheckpointCreate', 'POST /v1.41/containers/c/checkpoints', {
    body: { CheckpointID: 'nightly' },
  }),
  // ---- exec and attach
  call('exec-privileged', 'exec-privileged', 'ContainerExec', 'POST /v1.41/containers/c/exec', {
    body: { Cmd: ['id'], Privileged: true },
  }),
  call('exec-env', 'exec-env:LD_LIBRARY_PATH', 'ContainerExec', 'POST /v1.41/containers/c/exec', {
    body: { Cmd: ['id'], Env: ['LD_LIBRARY_PATH=/x'] },
  }),
  call(
    'attach-stdin',
    'attach-stdin',
    'ContainerAttach',
    'POST /v1.41/containers/c/attach?stream=1&stdin=1',
    {
      headers: UPGRADE,
    },
  ),
  call('ps-args', 'ps-args:aux', 'ContainerTop', 'GET /v1.41/containers/c/top?ps_args=aux'),
  // ---- networks
  network('network-driver', 'network-driver:macvlan', { Driver: 'macvlan' }),
  network('network-option', 'network-option:com.docker.network.bridge.enable_icc=false', {
    Options: { 'com.docker.network.bridge.enable_icc': 'false' },
  }),
  network('network-config', 'network-config:ci-hidden', { ConfigFrom: { Network: 'ci-hidden' } }),
  network('network-ingress', 'network-ingress', { Ingress: true }),
  network('subnet', 'subnet:172.28.0.0/24', { IPAM: { Config: [{ Subnet: '172.28.0.0/24' }] } }),
  network('ipam-driver', 'ipam-driver:example-ipam', { IPAM: { Driver: 'example-ipam' } }),
  // ---- plugins and swarm
  call(
    'plugin',
    'plugin:example/volume-driver:1',
    'PluginPull',
    'POST /v1.41/plugins/pull?remote=example/volume-driver:1&name=nice',
    { body: [] },
  ),
  call(
    'plugin-privilege',
    'plugin-privilege:network=host',
    'PluginPull',
    'POST /v1.41/plugins/pull?remote=p&name=p',
    {
      body: [{ Name: 'network', Description: '', Value: ['host'] }],
      beside: ['plugin:p'],
    },
  ),
  call('swarm', 'swarm:leave', 'SwarmLeave', 'POST /v1.41/swarm/leave?force=1'),
  call('swarm-address', 'swarm-address:remote=10.0.0.6:2377', 'SwarmJoin', 'POST /v1.41/swarm/join', {
    body: { RemoteAddrs: ['10.0.0.6:2377'], JoinToken: 's3cret' },
    beside: ['swarm:join'],
  }),
  call(
    'external-ca',
    'external-ca:https://ca.example.com/sign',
    'SwarmUpdate',
    'POST /v1.41/swarm/update?version=1',
    {
      body: { CAConfig: { ExternalCAs: [{ Protocol: 'cfssl', URL: 'https://ca.example.com/sign' }] } },
      beside: ['swarm:update'],
    },
  ),
  volume('cluster-volume', 'cluster-volume:create', { ClusterVolumeSpec: { Group: 'g' } }, '1.42'),
  service('template', 'template:env=A', { Env: ['A={{printf "%1000000d" 1}}'] }),
  service('uses-secret', 'uses-secret:ci-key', { Secrets: [{ SecretID: 'x1', SecretName: 'ci-key' }] }),
  service('uses-config', 'uses-config:ci-conf', { Configs: [{ ConfigID: 'x1', ConfigName: 'ci-conf' }] }),
  call('secret-driver', 'secret-driver:golang', 'SecretCreate', 'POST /v1.41/secrets/create', {
    body: { Name: 's', Data: 'eA==', Templating: { Name: 'golang' } },
  }),
];
