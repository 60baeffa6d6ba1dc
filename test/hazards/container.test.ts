import t from 'tap';
import { inspect } from '../../src/hazards/inspect.js';
import { formatHazard } from '../../src/hazards/inspection.js';
import type { Call } from '../../src/docker/call.js';
import type { JsonObject } from '../../src/base/json.js';
import { create, makeCall } from './make-call.js';

// Names that a container's settings are harmless with, one by one, and names much like them.

const raised = (call: Call): string[] => inspect(call).hazards.map(formatHazard).sort();
const of = (HostConfig: JsonObject): string[] => raised(create(HostConfig));

void t.test('the runtime: the engine’s own by its exact name, and nothing that only begins like it', (t) => {
  for (const runtime of ['', 'runc']) t.same(of({ Runtime: runtime }), [], runtime);
  for (const runtime of [
    ...[
      'runc2',
      'runc-host',
      'runc.v2',
      'runc ',
      'Runc',
      'RUNC',
      'my-runc',
      'crun',
      'kata',
      'nvidia',
      'runsc',
    ],
    ...['io.containerd.runc.v2', '/usr/bin/runc', 'runc/../evil', 'run'],
  ]) {
    t.same(of({ Runtime: runtime }), [`runtime:${runtime}`], runtime);
  }
  t.end();
});

void t.test('each namespace, each mode that keeps it apart', (t) => {
  const fields = {
    PidMode: 'pid',
    IpcMode: 'ipc',
    UTSMode: 'uts',
    UsernsMode: 'user',
    CgroupnsMode: 'cgroup',
  };
  const apart: Readonly<Record<string, readonly string[]>> = {
    IpcMode: ['private', 'none'],
    CgroupnsMode: ['private'],
  };
  for (const [field, name] of Object.entries(fields)) {
    t.same(of({ [field]: 'host' }), [`host-namespace:${name}`], `${field}: host`);
    t.same(
      of({ [field]: 'container:db' }),
      [`container-namespace:${name}=db`],
      `${field}: another container's`,
    );
    for (const mode of ['private', 'none', 'shareable', 'Host', 'x']) {
      const expected = apart[field]?.includes(mode) === true ? [] : [`namespace:${name}=${mode}`];
      t.same(of({ [field]: mode }), expected, `${field}: ${mode}`);
    }
  }
  for (const mode of ['', 'default', 'bridge', 'none', 'ci_default'])
    t.same(of({ NetworkMode: mode }), [], mode);
  t.same(of({ NetworkMode: 'host' }), ['host-namespace:network']);
  t.same(of({ NetworkMode: 'cafe' }), ['network-id:cafe']);
  t.end();
});

void t.test('each security option that keeps or strengthens the defaults', (t) => {
  const kept = ['1', 't', 'T', 'true', 'TRUE', 'True'].flatMap((yes) => [
    `no-new-privileges=${yes}`,
    `no-new-privileges:${yes}`,
  ]);
  const no = ['0', 'f', 'F', 'false', 'FALSE', 'False'];
  for (const option of [
    ...['no-new-privileges', 'seccomp=builtin', 'seccomp:builtin', 'apparmor=docker-default', ...kept],
    ...no.map((value) => `writable-cgroups=${value}`),
  ]) {
    t.same(of({ SecurityOpt: [option] }), [], option);
  }
  for (const option of [
    ...[
      'seccomp=unconfined',
      'apparmor=unconfined',
      'apparmor=mine',
      'label=disable',
      'systempaths=unconfined',
    ],
    ...[
      'no-new-privileges=yes',
      'no-new-privileges=tRUE',
      'no-new-privileges=',
      'writable-cgroups=1',
      'credentialspec=x',
    ],
    ...no.map((value) => `no-new-privileges=${value}`),
    ...['writable-cgroups=true', 'label=type:x', 'unknown'],
  ]) {
    t.same(of({ SecurityOpt: [option] }), [`security-opt:${option}`], option);
  }
  t.end();
});

void t.test('each restart policy', (t) => {
  for (const Name of ['', 'no', 'on-failure']) t.same(of({ RestartPolicy: { Name } }), [], Name);
  for (const Name of ['always', 'unless-stopped', 'on-failures']) {
    t.same(of({ RestartPolicy: { Name } }), [`restart-policy:${Name}`], Name);
    const update = makeCall('ContainerUpdate', { path: { id: 'c' }, body: { RestartPolicy: { Name } } });
    t.same(raised(update), [`restart-policy:${Name}`], `${Name}, of an update`);
  }
  t.end();
});

void t.test('each log driver that writes to files of the daemon, each option that stays there', (t) => {
  const log = (Type: string, Config: JsonObject): string[] => of({ LogConfig: { Type, Config } });
  for (const driver of ['', 'json-file', 'local']) t.same(log(driver, {}), [], driver);
  for (const driver of [
    'none',
    'syslog',
    'journald',
    'gelf',
    'fluentd',
    'awslogs',
    'splunk',
    'gcplogs',
    'locals',
  ]) {
    t.same(log(driver, {}), [`log-driver:${driver}`], driver);
  }
  for (const option of [
    ...['max-size', 'max-file', 'compress', 'mode', 'max-buffer-size', 'cache-disabled', 'cache-max-size'],
    ...['cache-max-file', 'cache-compress', 'labels', 'labels-regex', 'env', 'env-regex', 'tag'],
  ]) {
    t.same(log('', { [option]: '1' }), [], option);
  }
  for (const option of [
    ...[
      'syslog-address',
      'gelf-address',
      'fluentd-address',
      'splunk-url',
      'awslogs-group',
      'loki-url',
      'Tag',
    ],
    ...['max-sizes', 'envy', 'etwlogs-x'],
  ]) {
    t.same(log('', { [option]: '1' }), [`log-option:${option}=1`], option);
  }
  for (const option of [
    'splunk-token',
    'client-secret',
    'a-password',
    'tls-key',
    'credentials-file',
    'Token',
  ]) {
    t.same(log('', { [option]: 's3cret' }), [`log-option:${option}`], `${option}: its value is not shown`);
  }
  t.end();
});

void t.test('each sysctl, each way to change a field of the engine’s lists', (t) => {
  for (const name of [
    'kernel.core_pattern',
    'kernel.shm_rmid_forced',
    'net.ipv4.ip_forward',
    'fs.mqueue.msg_max',
    'x',
  ]) {
    t.same(of({ Sysctls: { [name]: '1' } }), [`sysctl:${name}`], name);
  }
  for (const driver of ['local', '']) t.same(of({ VolumeDriver: driver }), [], driver);
  for (const driver of ['Local', 'locals', 'nfs'])
    t.same(of({ VolumeDriver: driver }), [`volume-driver:${driver}`], driver);
  for (const mode of ['default', '']) t.same(of({ Isolation: mode }), [], mode);
  for (const mode of ['process', 'hyperv', 'Default'])
    t.same(of({ Isolation: mode }), [`isolation:${mode}`], mode);
  t.end();
});

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
