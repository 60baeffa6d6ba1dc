import t from 'tap';
import { create } from './make-call.js';
import { formatHazard } from '../../src/hazards/inspection.js';
import { inspect } from '../../src/hazards/inspect.js';
import { cleanPath, mayHoldEngineSocket } from '../../src/hazards/host-access.js';
import { raisedBy, type Act } from '../support/sequence-player.js';

// What leads out of a container, entry by entry: an image that was never here is pulled, and run with it. The lists here
// are written anew, so that an entry that is lost or misspelt is missed.

const words = (text: string): string[] => text.trim().split(/\s+/);
const pull: Act = {
  operation: 'ImageCreate',
  parts: { query: { fromImage: 'evil/x', tag: '1' } },
  engine: { hadRepository: false },
};
/** Does a container with these settings reach its host? */
const escapes = (HostConfig: object, more: Partial<Act> = {}): boolean =>
  raisedBy([
    pull,
    { operation: 'ContainerCreate', parts: { body: { Image: 'evil/x:1', HostConfig } as never }, ...more },
  ]).includes('pull-and-escape');

void t.test('each capability that leads out of a container', (t) => {
  for (const name of words(`ALL SYS_ADMIN SYS_PTRACE SYS_MODULE SYS_RAWIO SYS_BOOT SYS_CHROOT SYSLOG DAC_READ_SEARCH BPF
      PERFMON MKNOD MAC_ADMIN MAC_OVERRIDE AUDIT_CONTROL CHECKPOINT_RESTORE`)) {
    t.ok(escapes({ CapAdd: [name] }), name);
    t.ok(escapes({ CapAdd: [`cap_${name.toLowerCase()}`] }), `cap_${name.toLowerCase()}`);
    t.notOk(escapes({ CapDrop: [name] }), `${name} dropped`);
  }
  // Each changes only what is inside, or belongs to the default set.
  for (const name of words(`NET_ADMIN NET_RAW NET_BIND_SERVICE NET_BROADCAST CHOWN FOWNER FSETID KILL SETGID SETUID SETPCAP
      SETFCAP DAC_OVERRIDE AUDIT_WRITE IPC_LOCK IPC_OWNER LEASE SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM
      BLOCK_SUSPEND LINUX_IMMUTABLE SYS_PACCT BPFS`)) {
    t.notOk(escapes({ CapAdd: [name] }), `${name}: stays inside`);
  }
  t.end();
});

void t.test('each directory that is the host’s own', (t) => {
  const bind = (path: string): boolean => escapes({ Binds: [`${path}:/x`] });
  for (const path of words(`/bin /boot /cgroup /dev /etc /lib /lib32 /lib64 /proc /root /run /sbin /sys /usr /var/cache
      /var/lib/containerd /var/lib/docker /var/lib/kubelet /var/lib/systemd /var/run /var/spool`)) {
    t.ok(bind(path), path);
    t.ok(bind(`${path}/x/y`), `${path}/x/y`);
    // Engines keep their sockets by name under any path, so this name is none of those.
    t.notOk(bind(`${path}ish/x`), `${path}ish/x: another directory`);
    t.notOk(bind(`/srv${path}`), `/srv${path}: a copy`);
  }
  for (const path of ['/', '/home', '/home/me', '/var', '/var/lib']) t.ok(bind(path), path);
  for (const path of ['/home/me/x', '/var/www', '/var/lib/app', '/srv', '/opt', '/mnt'])
    t.notOk(bind(path), path);
  for (const name of ['.ssh', '.gnupg', '.aws', '.azure', '.kube', '.docker', '.config/gcloud']) {
    t.ok(bind(`/home/me/src/${name}`), name);
    t.ok(bind(`/srv/${name}/x`), `${name}/x`);
    t.notOk(bind(`/srv/${name}y`), `${name}y: another name`);
  }
  for (const path of ['/etc/localtime', '/etc/timezone']) {
    t.notOk(bind(path), `${path}: half of all compose files have it`);
    t.ok(bind(`${path}2`), `${path}2`);
  }
  t.end();
});

void t.test('each setting that leads out of a container', (t) => {
  const volume = (Options: object): object => ({
    Mounts: [{ Type: 'volume', Target: '/x', VolumeOptions: { DriverConfig: { Name: 'local', Options } } }],
  });
  const ways: readonly (readonly [string, object])[] = [
    ['privileged', { Privileged: true }],
    ['docker-socket', { Binds: ['/srv/docker.sock:/s'] }],
    ...['PidMode', 'IpcMode', 'UTSMode', 'UsernsMode', 'CgroupnsMode', 'NetworkMode'].map(
      (field) => [field, { [field]: 'host' }] as const,
    ),
    ['device', { Devices: [{ PathOnHost: '/dev/fuse' }] }],
    ['device-rule', { DeviceCgroupRules: ['b 8:0 rwm'] }],
    ['bind-propagation', { Binds: ['/srv/x:/x:rshared'] }],
    ['security-opt', { SecurityOpt: ['seccomp=unconfined'] }],
    ['masked-paths', { MaskedPaths: [] }],
    ['readonly-paths', { ReadonlyPaths: [] }],
    ['cgroup-parent', { CgroupParent: '/' }],
    ['runtime', { Runtime: 'other' }],
    ['annotation', { Annotations: { 'org.example': '1' } }],
    // The device is no path that is a hazard by itself: the option alone tells.
    ['volume-option o=bind', volume({ o: 'bind' })],
    ['volume-option o=rbind', volume({ o: 'ro,rbind' })],
    ['volume-option device', volume({ type: 'ext4', device: '/srv/disk' })],
  ];
  for (const [name, HostConfig] of ways) t.ok(escapes(HostConfig), name);
  const unknown = {
    operation: 'ContainerCreate' as const,
    parts: { body: { Image: 'evil/x:1' }, unknown: ['/HostConfig/X'] },
  };
  t.ok(raisedBy([pull, unknown]).includes('pull-and-escape'), 'unknown-field');
  const harmless: readonly (readonly [string, object])[] = [
    ['nothing', {}],
    ['group-add', { GroupAdd: ['audio'] }],
    ['sysctl', { Sysctls: { 'net.core.somaxconn': '1' } }],
    ['publish', { PublishAllPorts: true }],
    ['restart-policy', { RestartPolicy: { Name: 'always' } }],
    ['ulimit', { Ulimits: [{ Name: 'nofile' }] }],
    ['tmpfs-option', { Tmpfs: { '/x': 'exec' } }],
    [
      'volume-option of a remote file system',
      volume({ type: 'nfs', o: 'addr=192.0.2.1,nobind', device: ':/x' }),
    ],
    ['volume-option of a remote share', volume({ type: 'cifs', device: '//192.0.2.1/x' })],
  ];
  for (const [name, HostConfig] of harmless) t.notOk(escapes(HostConfig), `${name}: stays inside`);
  t.end();
});

// Which paths of the host hold the socket of an engine: every name and every place, one by one.

/** Does a bind of it give the engine's socket away? */
const holdsSocket = (path: string): boolean =>
  inspect(create({ Mounts: [{ Type: 'bind', Source: path, Target: '/x' }] }))
    .hazards.map(formatHazard)
    .includes('docker-socket');

void t.test('each name that an engine gives its socket, wherever it lies', (t) => {
  for (const name of [
    ...['docker.sock', 'containerd.sock', 'podman.sock', 'crio.sock', 'buildkitd.sock', 'dockershim.sock'],
    'cri-dockerd.sock',
  ]) {
    for (const place of ['/srv', '/var/run', '/run/user/1000', '/a/b/c', '']) {
      t.ok(holdsSocket(`${place}/${name}`), `${place}/${name}`);
    }
    t.notOk(holdsSocket(`/srv/my-${name}`), `my-${name}`);
    t.notOk(holdsSocket(`/srv/${name}.d/x`), `${name}.d/x`);
    t.notOk(holdsSocket(`/srv/${name}et`), `${name}et`);
  }
  t.end();
});

void t.test('each directory in which an engine keeps its socket, and all above', (t) => {
  for (const path of [
    ...['/', '/run', '/var', '/var/run', '/proc', '/proc/1/root', '/run/user', '/run/user/1000'],
    ...['docker', 'containerd', 'podman', 'crio', 'buildkit'].flatMap((name) => [
      `/run/${name}`,
      `/var/run/${name}`,
    ]),
    '/run//docker/',
    '/srv/../run',
  ]) {
    t.ok(holdsSocket(path), path);
  }
  for (const path of [
    ...['/run/app', '/run/dockerish', '/running', '/process', '/var/lib', '/srv/run', '/srv/proc/1/root'],
    ...['/run/user/1000/app', '/variable/run', '/home'],
  ]) {
    t.notOk(holdsSocket(path), path);
  }
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
