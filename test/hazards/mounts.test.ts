import t from 'tap';
import type { JsonObject } from '../../src/base/json.js';
import { OPERATIONS } from '../../src/docker/catalogue.js';
import { inspect } from '../../src/hazards/inspect.js';
import { formatHazard } from '../../src/hazards/inspection.js';
import { hostPathsOf } from '../../src/hazards/mounts.js';
import { create, makeCall } from './make-call.js';

// Every word that is known of binds, volumes and tmpfs mounts, one by one.

const raised = (HostConfig: JsonObject): string[] =>
  inspect(create(HostConfig)).hazards.map(formatHazard).sort();

void t.test('each mode of a bind', (t) => {
  for (const mode of ['rw', 'ro', 'z', 'Z', 'nocopy', 'consistent', 'cached', 'delegated', 'default']) {
    t.same(raised({ Binds: [`/srv:/x:${mode}`] }), ['bind:/srv'], mode);
    t.same(raised({ Binds: [`data:/x:${mode}`] }), [], `${mode}, of a volume`);
  }
  for (const mode of ['private', 'rprivate'])
    t.same(raised({ Binds: [`/srv:/x:${mode}`] }), ['bind:/srv'], mode);
  for (const mode of ['slave', 'rslave', 'shared', 'rshared']) {
    t.same(raised({ Binds: [`/srv:/x:${mode}`] }), [`bind-propagation:${mode}`, 'bind:/srv'], mode);
    t.same(
      raised({
        Mounts: [{ Type: 'bind', Source: '/srv', Target: '/x', BindOptions: { Propagation: mode } }],
      }),
      [`bind-propagation:${mode}`, 'bind:/srv'],
      `${mode}, of a mount`,
    );
  }
  // What the parser of the engine refuses is a bind of the literal text.
  for (const mode of [
    'RO',
    'x',
    'ro,rw',
    'z,Z',
    'shared,slave',
    'nocopy,nocopy',
    'cached,delegated',
    'exec',
  ]) {
    t.ok(raised({ Binds: [`data:/x:${mode}`] }).includes(`bind:data:/x:${mode}`), `${mode}: no mode`);
  }
  t.end();
});

void t.test(
  'each way in which options of the local driver make a volume of a host directory or a disk',
  (t) => {
    const ways: readonly (readonly [options: Readonly<Record<string, string>>, also: string])[] = [
      [{ o: 'bind', type: 'none', device: '/etc' }, 'bind:/etc'],
      [{ o: 'ro,bind', type: 'ext4', device: '/etc' }, 'bind:/etc'],
      [{ o: 'rbind', type: 'ext4', device: '/etc' }, 'bind:/etc'],
      [{ type: '', device: '/etc' }, 'bind:/etc'],
      [{ type: 'none', device: '/etc' }, 'bind:/etc'],
      // The device is under /dev here: only the type tells that it is a directory.
      [{ type: 'bind', device: '/dev/shm' }, 'bind:/dev/shm'],
      [{ type: 'none', device: '/dev/shm' }, 'bind:/dev/shm'],
      [{ device: '/dev/shm' }, 'bind:/dev/shm'],
      [{ o: 'bind', type: 'ext4', device: '/dev/shm' }, 'bind:/dev/shm'],
      [{ o: 'rbind', type: 'ext4', device: '/dev/shm' }, 'bind:/dev/shm'],
      [{ type: 'ext4', device: '/srv/disk.img' }, 'bind:/srv/disk.img'],
      [{ type: 'ext4', device: '/dev/sda1' }, 'device:/dev/sda1'],
      [{ type: 'ext4', o: 'nobind', device: '/dev/sda1' }, 'device:/dev/sda1'],
      [{ type: 'binder', device: '/dev/sda1' }, 'device:/dev/sda1'],
    ];
    for (const [options, also] of ways) {
      const own = Object.entries(options).map(([key, value]) => `volume-option:${key}=${value}`);
      const expected = [...own, also].sort();
      const name = JSON.stringify(options);
      const volume = makeCall('VolumeCreate', { body: { Name: 'v', DriverOpts: options } });
      t.same(inspect(volume).hazards.map(formatHazard).sort(), expected, name);
      const VolumeOptions = { DriverConfig: { Name: 'local', Options: options } };
      t.same(
        raised({ Mounts: [{ Type: 'volume', Source: 'v', Target: '/x', VolumeOptions }] }),
        expected,
        `${name}, of a mount`,
      );
    }
    for (const options of [
      { type: 'nfs', device: ':/x' },
      { type: 'cifs', device: 'host/x' },
      { type: 'tmpfs', device: 'tmpfs' },
    ]) {
      const volume = makeCall('VolumeCreate', { body: { Name: 'v', DriverOpts: options } });
      t.notMatch(
        inspect(volume).hazards.map(formatHazard).join(' '),
        /\b(bind|device):/,
        JSON.stringify(options),
      );
    }
    t.end();
  },
);

void t.test('each option of a tmpfs', (t) => {
  for (const option of [
    ...[
      '',
      'rw',
      'ro',
      'noexec',
      'nosuid',
      'nodev',
      'sync',
      'async',
      'dirsync',
      'atime',
      'noatime',
      'diratime',
    ],
    ...['nodiratime', 'relatime', 'norelatime', 'strictatime', 'nostrictatime', 'mand', 'nomand', 'defaults'],
    ...[
      'private',
      'rprivate',
      'size=64m',
      'mode=1777',
      'uid=1',
      'gid=1',
      'nr_inodes=9',
      'nr_blocks=9',
      'mpol=local',
    ],
  ]) {
    t.same(raised({ Tmpfs: { '/x': option } }), [], option);
  }
  for (const option of [
    'exec',
    'suid',
    'dev',
    'shared',
    'rshared',
    'slave',
    'bind',
    'remount',
    'RW',
    'huge=always',
  ]) {
    t.same(raised({ Tmpfs: { '/x': `rw,${option}` } }), [`tmpfs-option:${option}`], option);
    const TmpfsOptions = { Options: [option.split('=')] };
    t.same(
      raised({ Mounts: [{ Type: 'tmpfs', Target: '/x', TmpfsOptions }] }),
      [`tmpfs-option:${option}`],
      `${option}, of a mount`,
    );
  }
  t.end();
});

void t.test('the host paths of a call are those that its inspection finds, whatever the operation', (t) => {
  const Mounts = [
    { Type: 'bind', Source: '/a/../b', Target: '/x' },
    { Type: 'volume', VolumeOptions: { DriverConfig: { Options: { type: 'none', device: '/c' } } } },
    { Type: 'volume', Source: 'data', Target: '/y' },
  ];
  const host = { Binds: ['/d:/x', '/b:/y', 'cache:/z', '../e:/v'], Mounts, InitPath: '/f' };
  const body: JsonObject = {
    ...host,
    HostConfig: { ...host, Binds: ['/g:/x'] },
    TaskTemplate: { ContainerSpec: { Mounts: [{ Type: 'bind', Source: '/h', Target: '/x' }] } },
    DriverOpts: { o: 'bind', device: '/i' },
  };
  const found = new Map<string, readonly string[]>();
  for (const { id } of OPERATIONS) {
    const call = makeCall(id, { body });
    const paths = inspect(call)
      .hazards.filter(({ kind, argument }) => kind === 'bind' && argument.startsWith('/'))
      .map(({ argument }) => argument);
    t.same([...hostPathsOf(call)].sort(), paths.sort(), id);
    found.set(id, paths);
  }
  t.same(found.get('ContainerCreate'), ['/b', '/c', '/d', '/f', '/g']);
  t.same(found.get('ContainerStart'), ['/b', '/c', '/d', '/f']);
  t.same(found.get('ServiceUpdate'), ['/h']);
  t.same(found.get('VolumeCreate'), ['/i']);
  t.same(hostPathsOf(create({ Binds: [], Mounts: null })), []);
  t.same(hostPathsOf(makeCall('SystemPing')), []);
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
  for (const [spec, hazards] of rows) t.same(raised({ Binds: [spec] }), hazards, spec);
  t.end();
});
