import fc from 'fast-check';
import t from 'tap';
import type { AnswerTransform } from '../../src/docker/answers/transform.js';
import type { Call } from '../../src/docker/call.js';
import type { Answer } from '../../src/docker/catalogue/traits.js';
import { OPERATIONS, operationById } from '../../src/docker/catalogue.js';
import { inspect } from '../../src/hazards/inspect.js';
import { VOCABULARY } from '../../src/policy/vocabulary.js';
import { compilePolicy, type CompiledPolicy } from '../../src/policy/compile.js';
import { decide } from '../../src/policy/decide.js';
import type { Redaction, Verdict } from '../../src/policy/compiled.js';
import { applyRewrite } from '../../src/policy/rewrite.js';
import { hold } from '../support/fuzz.js';

// What is redacted of the answers to each operation, by class, and what is not.

/** What the catalogue says that answers hold, by operation. */
const ANSWERS: Readonly<Record<string, Answer>> = Object.fromEntries(
  OPERATIONS.flatMap(({ id, does }) => (does.answer === undefined ? [] : [[id, does.answer]])),
);

function problemsOf(...rules: readonly object[]): string[] {
  const text = JSON.stringify({ rules: rules.map((rule, i) => ({ id: `r${i}`, sources: ['*'], ...rule })) });
  const result = compilePolicy([{ name: 'p', text }], VOCABULARY);
  return result.ok ? [] : result.problems.map(({ pointer, message }) => `${pointer} ${message}`);
}

function compile(rules: readonly object[], mode = 'enforce'): CompiledPolicy {
  const text = JSON.stringify({
    mode,
    rules: rules.map((rule, i) => ({ id: `r${i}`, sources: ['*'], ...rule })),
  });
  const result = compilePolicy([{ name: 'p', text }], VOCABULARY);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.policy;
}

function callOf(id: string, query: Call['query'] = {}): Call {
  return {
    id: 'c',
    operation: operationById(id)!,
    apiVersion: '1.41',
    path: {},
    query,
    headers: {},
    body: { kind: 'none' },
    unknown: [],
    upgrade: '',
    client: { listener: 'l', address: '', port: 0, certificate: [], tokenSha256: '' },
  };
}

function judge(policy: CompiledPolicy, id: string): Verdict {
  const call = callOf(id);
  return decide(policy, call, [], inspect(call));
}

const redactionOf = (id: string, redact: unknown): Redaction =>
  judge(compile([{ operations: ['*'], permit: ['*'], redact }]), id).redact!;

function run(transform: AnswerTransform, value: unknown): unknown {
  const bytes = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
  const out = Buffer.concat([Buffer.from(transform.feed(bytes)), transform.end()]).toString();
  return JSON.parse(out);
}

function redacted(id: string, redact: unknown, value: unknown, query?: Call['query']): unknown {
  const { body } = redactionOf(id, redact);
  if (body === undefined) return typeof value === 'string' ? (JSON.parse(value) as unknown) : value;
  return run(body(callOf(id, query)), value);
}

const CLASSES = ['env', 'paths', 'labels', 'secrets', 'commands'] as const;

/*
 * Answers as the engine gives them, in parts that are of interest. In capitals is what each class removes; all other
 * texts must stay whatever is redacted.
 */
const LABELS = { Labels: { 'com.example.a': 'LABELS', b: 'LABELS' } };
const MOUNTS = {
  Mounts: [
    { Type: 'bind', Source: '/PATHS', Destination: '/container', Mode: 'z' },
    { Type: 'volume', Name: 'vol', Source: '/PATHS/vol/_data', Destination: '/data' },
  ],
};
const CONFIG = {
  Hostname: 'host',
  Env: ['A=ENV', 'B=ENV=ENV'],
  Cmd: ['COMMANDS'],
  Entrypoint: ['COMMANDS', 'COMMANDS'],
  Healthcheck: { Test: ['COMMANDS', 'COMMANDS'], Interval: 1 },
  OnBuild: ['COMMANDS'],
  Shell: ['COMMANDS'],
  WorkingDir: '/container',
  Volumes: { '/container': {} },
  ...LABELS,
};
const NETWORKS = {
  Networks: { logconfig: { NetworkID: 'net', Gateway: '172.17.0.1', DriverOpts: { o: 'SECRETS' } } },
};
const DRIVER = { Driver: { Name: 'local', Options: { o: 'SECRETS' } } };
const SPEC = {
  ContainerSpec: {
    Image: 'alpine',
    ...LABELS,
    Command: ['COMMANDS'],
    Args: ['COMMANDS'],
    Env: ['A=ENV'],
    Dir: '/container',
    Mounts: [
      { Type: 'bind', Source: '/PATHS', Target: '/container' },
      {
        Type: 'volume',
        Source: 'vol',
        Target: '/x',
        VolumeOptions: { ...LABELS, DriverConfig: { Name: 'd', Options: { o: 'SECRETS' } } },
      },
    ],
    Healthcheck: { Test: ['COMMANDS'] },
    Secrets: [{ File: { Name: 'file', UID: '0' }, SecretID: 'id', SecretName: 'name' }],
  },
  LogDriver: { Name: 'syslog', Options: { tag: 'SECRETS' } },
  Networks: [{ Target: 'net', Aliases: ['web'], DriverOpts: { k: 'SECRETS' } }],
};
const SERVICE = {
  ID: 'id',
  Version: { Index: 9007199254740993n },
  Spec: { Name: 'web', ...LABELS, TaskTemplate: SPEC },
  PreviousSpec: { Name: 'web', ...LABELS, TaskTemplate: SPEC },
  UpdateStatus: { State: 'completed', Message: 'update completed' },
};
const TASK = {
  ID: 'id',
  ...LABELS,
  Spec: SPEC,
  Status: { State: 'running', Message: 'started', ContainerStatus: { PID: 1 } },
};
const VOLUME = {
  Name: 'vol',
  Driver: 'local',
  Mountpoint: '/PATHS',
  Options: { type: 'SECRETS', o: 'SECRETS' },
  Status: { token: 'SECRETS' },
  ...LABELS,
};
const NETWORK = {
  Name: 'net',
  Driver: 'bridge',
  Options: { 'com.example.o': 'SECRETS' },
  IPAM: {
    Driver: 'default',
    Options: { k: 'SECRETS' },
    Config: [{ Subnet: '10.0.0.0/24', Gateway: '10.0.0.1' }],
  },
  Containers: { id: { Name: 'web', IPv4Address: '10.0.0.2/24' } },
  ...LABELS,
};
const PLUGIN = {
  Id: 'id',
  Name: 'plugin',
  Settings: {
    Env: ['DEBUG=ENV'],
    Args: ['COMMANDS'],
    Mounts: [{ Name: 'm', Source: '/PATHS', Options: ['SECRETS'] }],
    Devices: [{ Name: 'd', Path: '/PATHS' }],
  },
  Config: {
    Description: 'text',
    Entrypoint: ['COMMANDS'],
    Interface: { Socket: 'plugin.sock', Types: ['docker.volumedriver/1.0'] },
    Env: [{ Name: 'DEBUG', Description: 'text', Settable: ['value'], Value: 'ENV' }],
    Args: { Name: 'args', Description: 'text', Settable: ['value'], Value: ['COMMANDS'] },
    Linux: { Devices: [{ Name: 'd', Description: 'text', Path: '/PATHS' }] },
    Mounts: [{ Name: 'm', Source: '/PATHS', Destination: '/container' }],
  },
};
const CONTAINER = {
  Id: 'id',
  Names: ['/web'],
  Image: 'alpine',
  Command: 'COMMANDS',
  Created: 1700000000,
  State: 'running',
  Status: 'Up 2 hours (healthy)',
  Ports: [{ PrivatePort: 80, Type: 'tcp' }],
  HostConfig: { NetworkMode: 'default', Annotations: { a: 'LABELS' } },
  NetworkSettings: NETWORKS,
  ...LABELS,
  ...MOUNTS,
};
const IMAGE = {
  Id: 'sha256:x',
  RepoTags: ['a:b'],
  Descriptor: { digest: 'sha256:x', annotations: { a: 'LABELS' } },
  ...LABELS,
};
const CLUSTER = {
  ID: 'id',
  Spec: {
    Name: 'default',
    ...LABELS,
    CAConfig: {
      NodeCertExpiry: 1,
      SigningCAKey: 'SECRETS',
      ExternalCAs: [{ URL: 'SECRETS', Options: { k: 'SECRETS' } }],
    },
    TaskDefaults: { LogDriver: { Name: 'syslog', Options: { tag: 'SECRETS' } } },
  },
  TLSInfo: { TrustRoot: 'SECRETS', CertIssuerSubject: 'SECRETS', CertIssuerPublicKey: 'SECRETS' },
};
const NODE = {
  ID: 'id',
  Spec: { Role: 'manager', ...LABELS },
  Description: { Hostname: 'h', Engine: { EngineVersion: '26', ...LABELS }, TLSInfo: CLUSTER.TLSInfo },
  Status: { State: 'ready', Addr: '127.0.0.1' },
};

const SAMPLES: Readonly<Record<string, unknown>> = {
  ContainerList: [CONTAINER],
  ContainerInspect: {
    Id: 'id',
    Path: 'COMMANDS',
    Args: ['COMMANDS', 'COMMANDS'],
    State: {
      Status: 'running',
      Error: '',
      Health: { Status: 'healthy', Log: [{ ExitCode: 0, Output: 'COMMANDS' }] },
    },
    ResolvConfPath: '/PATHS',
    HostnamePath: '/PATHS',
    HostsPath: '/PATHS',
    LogPath: '/PATHS',
    Name: '/web',
    HostConfig: {
      Binds: ['/PATHS:/container:ro', 'vol:/container', '/container'],
      ContainerIDFile: '/PATHS',
      LogConfig: { Type: 'syslog', Config: { tag: 'SECRETS' } },
      Devices: [{ PathOnHost: '/PATHS', PathInContainer: '/dev/x', CgroupPermissions: 'rwm' }],
      BlkioDeviceReadBps: [{ Path: '/PATHS', Rate: 1 }],
      SecurityOpt: ['label=disable', 'credentialspec=raw://SECRETS'],
      Dns: ['10.0.0.1'],
      DnsSearch: ['SECRETS'],
      ExtraHosts: ['SECRETS:10.0.0.2'],
      Mounts: [{ Type: 'bind', Source: '/PATHS', Target: '/container' }],
      Annotations: { a: 'LABELS' },
      Memory: 9007199254740993n,
      ShmSize: 67108864,
      Sysctls: { 'net.core.somaxconn': '1024' },
    },
    GraphDriver: { Name: 'overlay2', Data: { UpperDir: '/PATHS', LowerDir: '/PATHS:/PATHS' } },
    Config: CONFIG,
    NetworkSettings: { SandboxKey: '/PATHS', ...NETWORKS },
    ...MOUNTS,
  },
  ContainerTop: {
    Processes: [
      ['root', '1', 'COMMANDS'],
      ['root', '2', 'COMMANDS'],
    ],
    Titles: ['UID', 'PID', 'CMD'],
  },
  ContainerWait: { StatusCode: 0, Error: null },
  ContainerCreate: { Id: 'id', Warnings: [] },
  ContainerUpdate: { Warnings: null },
  ExecInspect: {
    ID: 'id',
    ExitCode: null,
    ProcessConfig: { tty: false, entrypoint: 'COMMANDS', arguments: ['COMMANDS'], user: 'root' },
  },
  ImageList: [IMAGE],
  ImageInspect: {
    ...IMAGE,
    Comment: 'COMMANDS',
    Author: 'somebody',
    Config: CONFIG,
    ContainerConfig: CONFIG,
    GraphDriver: { Data: { MergedDir: '/PATHS' } },
  },
  ImageHistory: [
    { Id: 'id', Created: 1, CreatedBy: 'COMMANDS', Comment: 'COMMANDS', Tags: ['a:b'], Size: 1 },
  ],
  ImageAttestations: [
    {
      Descriptor: { digest: 'd', annotations: { a: 'LABELS' } },
      PredicateType: 'https://slsa.dev/provenance/v1',
    },
  ],
  DistributionInspect: {
    Descriptor: { digest: 'd', annotations: { a: 'LABELS' }, data: 'SECRETS' },
    Platforms: [{ os: 'linux' }],
  },
  SystemInfo: {
    ID: 'id',
    DriverStatus: [
      ['Backing Filesystem', 'extfs'],
      ['Data loop file', '/PATHS'],
    ],
    DockerRootDir: '/PATHS',
    HttpProxy: 'SECRETS',
    HttpsProxy: 'SECRETS',
    NoProxy: 'localhost,SECRETS',
    Labels: ['a=LABELS', 'LABELS'],
    RegistryConfig: {
      InsecureRegistryCIDRs: ['127.0.0.0/8'],
      IndexConfigs: { 'docker.io': { Name: 'docker.io', Mirrors: ['SECRETS'], Secure: true } },
      Mirrors: ['SECRETS'],
    },
    Runtimes: { runc: { path: 'runc' }, other: { path: '/PATHS', runtimeArgs: ['COMMANDS'] } },
    Swarm: { NodeID: 'id', Cluster: CLUSTER, Error: '' },
    SecurityOptions: ['name=apparmor', 'name=seccomp,profile=default', 'name=seccomp,profile=/PATHS'],
    Containerd: { Address: '/PATHS', Namespaces: { Containers: 'moby' } },
    CDISpecDirs: ['/PATHS'],
    NRI: { Info: [['socket-path', '/PATHS']] },
    Warnings: ['WARNING: No swap limit support'],
  },
  SystemEvents: {
    status: 'exec_create: COMMANDS',
    id: 'id',
    from: 'alpine',
    Type: 'container',
    Action: 'exec_create: COMMANDS',
    Actor: {
      ID: 'id',
      Attributes: {
        image: 'alpine',
        name: 'web',
        exitCode: '0',
        'com.example.a': 'LABELS',
        signal: 'LABELS',
      },
    },
    scope: 'local',
    time: 1700000000,
    timeNano: 1700000000123456789n,
  },
  SystemDataUsage: {
    LayersSize: 1,
    Images: [IMAGE],
    Containers: [CONTAINER],
    Volumes: [VOLUME],
    BuildCache: [{ ID: 'id', Type: 'regular', Description: 'COMMANDS', Size: 1 }],
    BuildCacheUsage: { Items: [{ Description: 'COMMANDS' }] },
    VolumeUsage: { Items: [VOLUME] },
  },
  SystemAuth: { Status: 'Login Succeeded', IdentityToken: 'SECRETS' },
  NetworkList: [NETWORK],
  NetworkInspect: NETWORK,
  VolumeList: { Volumes: [VOLUME], Warnings: null },
  VolumeInspect: VOLUME,
  VolumeCreate: VOLUME,
  PluginList: [PLUGIN],
  PluginInspect: PLUGIN,
  PluginDelete: PLUGIN,
  GetPluginPrivileges: [
    { Name: 'mount', Description: 'text', Value: ['/PATHS'] },
    { Name: 'network', Value: ['host'] },
  ],
  SwarmInspect: { ...CLUSTER, JoinTokens: { Worker: 'SECRETS', Manager: 'SECRETS' } },
  SwarmUnlockkey: { UnlockKey: 'SECRETS' },
  NodeList: [NODE],
  NodeInspect: NODE,
  ServiceList: [SERVICE],
  ServiceInspect: SERVICE,
  ServiceCreate: { ID: 'id', Warnings: null },
  ServiceUpdate: { Warnings: null },
  TaskList: [TASK],
  TaskInspect: TASK,
  SecretList: [{ ID: 'id', Spec: { Name: 'name', ...LABELS, ...DRIVER } }],
  SecretInspect: { ID: 'id', Spec: { Name: 'name', ...LABELS, ...DRIVER } },
  ConfigList: [{ ID: 'id', Spec: { Name: 'name', ...LABELS, Data: 'SECRETS' } }],
  ConfigInspect: {
    ID: 'id',
    Spec: {
      Name: 'name',
      ...LABELS,
      Data: 'SECRETS',
      Templating: { Name: 'golang', Options: { k: 'SECRETS' } },
    },
  },
};

/** JSON with bigints as they stand. */
const write = (value: unknown): string =>
  JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? `#${item}#` : item)).replace(
    /"#(\d+)#"/g,
    '$1',
  );

/** What differs, as `before → after`. */
function differences(before: unknown, after: unknown, path = ''): string[] {
  if (typeof before !== 'object' || before === null) {
    return before === after ? [] : [`${path}: ${String(before)} → ${String(after)}`];
  }
  if (typeof after !== 'object' || after === null) return [`${path}: another type`];
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return keys.flatMap((key) =>
    differences(
      (before as Record<string, unknown>)[key],
      (after as Record<string, unknown>)[key],
      `${path}/${key}`,
    ),
  );
}

t.test('every operation that answers with JSON of this kind has a sample', (t) => {
  const withBody = Object.keys(ANSWERS).filter((id) => redactionOf(id, 'all').body !== undefined);
  t.strictSame(withBody.sort(), Object.keys(SAMPLES).sort());
  for (const id of Object.keys(ANSWERS)) t.ok(operationById(id), `${id} is in the catalogue`);
  t.end();
});

/** Content, streams of progress that the caller set off, ids and numbers. A new operation must be put somewhere. */
const NOTHING = [
  ...['ContainerExport', 'ImageGet', 'ImageGetAll', 'Session', 'Grpc'],
  ...['ImageBuild', 'ImageCreate', 'ImageLoad', 'ImagePush', 'PluginPull', 'PluginPush', 'PluginUpgrade'],
  ...[
    'ContainerAttachWebsocket',
    'ContainerStats',
    'ContainerChanges',
    'ContainerCopy',
    'PutContainerArchive',
  ],
  ...[
    'ContainerPrune',
    'ImagePrune',
    'ImageDelete',
    'BuildPrune',
    'NetworkPrune',
    'VolumePrune',
    'ImageSearch',
  ],
  ...[
    'ContainerResize',
    'ContainerStop',
    'ContainerKill',
    'ContainerRename',
    'ContainerPause',
    'ContainerUnpause',
  ],
  ...['ContainerDelete', 'ExecResize', 'CheckpointList', 'CheckpointCreate', 'CheckpointDelete', 'ImageTag'],
  ...['ImageCommit', 'BuildCancel', 'SystemPing', 'SystemPingHead', 'SystemVersion', 'NetworkCreate'],
  ...['NetworkConnect', 'NetworkDisconnect', 'NetworkDelete', 'VolumeUpdate', 'VolumeDelete', 'PluginCreate'],
  ...['PluginSet', 'PluginEnable', 'PluginDisable', 'SwarmInit', 'SwarmJoin', 'SwarmLeave', 'SwarmUpdate'],
  ...['SwarmUnlock', 'ServiceDelete', 'NodeUpdate', 'NodeDelete', 'SecretCreate', 'SecretUpdate'],
  ...['SecretDelete', 'ConfigCreate', 'ConfigUpdate', 'ConfigDelete'],
];

t.test('the content of answers is known for every operation', (t) => {
  t.strictSame([...Object.keys(ANSWERS), ...NOTHING].sort(), OPERATIONS.map(({ id }) => id).sort());
  t.end();
});

for (const [id, sample] of Object.entries(SAMPLES)) {
  t.test(id, (t) => {
    const text = write(sample);
    const before: unknown = JSON.parse(text);
    for (const one of CLASSES) {
      const mark = one.toUpperCase();
      const after = redacted(id, { [one]: true }, text);
      for (const difference of differences(before, after)) {
        // Options of drivers may hold paths of the host as well; no sample has one.
        t.match(difference, mark, `${one}: only its own are changed`);
      }
      t.notMatch(write(after), mark, `${one}: nothing of it is left`);
      if (text.includes(mark)) t.ok(ANSWERS[id]!.holds.includes(one), `${one} is said to be there`);
    }
    const all = redactionOf(id, 'all');
    const out = run(all.body!(callOf(id)), text);
    t.notMatch(write(out), /ENV|PATHS|LABELS|SECRETS|COMMANDS/, 'all');
    t.strictSame(
      differences(before, out).filter((one) => !/ENV|PATHS|LABELS|SECRETS|COMMANDS/.test(one)),
      [],
      'all: what is not marked stays',
    );
    t.strictSame(all.rewrites, [
      `answer: ${CLASSES.filter((one) => ANSWERS[id]!.holds.includes(one)).join(', ')}`,
    ]);
    if (text.includes('9007199254740993')) {
      const raw = Buffer.from(all.body!(callOf(id)).feed(Buffer.from(text))).toString();
      t.match(raw, '9007199254740993', 'int64 stays exact');
    }
    t.end();
  });
}

t.test('what is kept', (t) => {
  const inspected = (redact: unknown, value: unknown): unknown => redacted('ContainerInspect', redact, value);
  const env = { env: { keep: ['PATH', 'LC_*'] } };
  t.strictSame(
    inspected(env, { Env: ['PATH=/bin', 'LC_ALL=C', 'PATHX=1', 'TOKEN=2', 'EMPTY=', '=x', 'novalue'] }),
    {
      Env: [
        'PATH=/bin',
        'LC_ALL=C',
        'PATHX=<redacted>',
        'TOKEN=<redacted>',
        'EMPTY=<redacted>',
        '<redacted>',
        '<redacted>',
      ],
    },
  );
  const labels = { labels: { keep: ['com.docker.compose.*'] } };
  t.strictSame(inspected(labels, { Labels: { 'com.docker.compose.project': 'p', other: 'o', '': 'e' } }), {
    Labels: { 'com.docker.compose.project': 'p', other: '<redacted>', '': '<redacted>' },
  });
  const dir = 'com.docker.compose.project.working_dir';
  t.strictSame(
    inspected({ ...labels, paths: true }, { Labels: { [dir]: '/srv/x', 'com.docker.compose.service': 's' } }),
    {
      Labels: { [dir]: '<redacted>', 'com.docker.compose.service': 's' },
    },
  );
  t.strictSame(inspected({ paths: { keep: ['/srv/**'] } }, { Labels: { [dir]: '/srv/x', other: '/etc' } }), {
    Labels: { [dir]: '/srv/x', other: '/etc' },
  });
  const paths = { paths: { keep: ['/srv/ci/**'] } };
  const bind = (text: string): unknown =>
    (inspected(paths, { Binds: [text] }) as { Binds: string[] }).Binds[0];
  t.equal(bind('/srv/ci/a:/a:ro'), '/srv/ci/a:/a:ro');
  t.equal(bind('/srv/other:/a:ro'), '<redacted>:/a:ro');
  t.equal(bind('/srv/ci/../../etc:/a'), '<redacted>:/a', 'dots do not lead out of what is kept');
  t.equal(bind('name:/a'), 'name:/a', 'a volume is no path');
  t.equal(bind('C:\\x:C:\\y'), '<redacted>:C:\\y');
  const lower = (LowerDir: string): unknown => inspected(paths, { GraphDriver: { Data: { LowerDir } } });
  t.strictSame(lower('/srv/ci/a:/srv/ci/b'), { GraphDriver: { Data: { LowerDir: '/srv/ci/a:/srv/ci/b' } } });
  t.strictSame(
    lower('/srv/ci/a:/var/b'),
    { GraphDriver: { Data: { LowerDir: '<redacted>' } } },
    'each must be kept',
  );
  t.end();
});

const SENSITIVE = [
  'Env',
  'Labels',
  'Options',
  'Cmd',
  'Args',
  'JoinTokens',
  'DriverOpts',
  'Annotations',
  'Entrypoint',
];
const key = fc.constantFrom(
  ...SENSITIVE,
  'env',
  'LABELS',
  'Config',
  'Spec',
  'Volumes',
  'LogConfig',
  'Data',
  'Status',
  'x',
);
const { tree } = fc.letrec((tie) => ({
  tree: fc.oneof(
    { maxDepth: 7 },
    fc.constantFrom('text', '', 'A=text', 1, -0.5, true, null),
    fc.array(tie('tree'), { maxLength: 4 }),
    fc.dictionary(key, tie('tree'), { maxKeys: 5 }),
  ),
}));

/** Puts a secret into every text below a key that has such. */
function plantIn(value: unknown, inside: boolean): unknown {
  if (typeof value === 'string') return inside && value !== '' ? value.replace('text', 's3cr3t') : value;
  if (Array.isArray(value)) return value.map((item) => plantIn(item, inside));
  if (typeof value !== 'object' || value === null) return value;
  const names = SENSITIVE.map((name) => name.toLowerCase());
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [
      name,
      plantIn(item, inside || names.includes(name.toLowerCase())),
    ]),
  );
}

/** Keys, lengths and types. */
function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shape);
  if (typeof value !== 'object' || value === null) return typeof value === 'string' ? 'text' : value;
  return Object.entries(value).map(([name, item]) => [name, shape(item)]);
}

t.test('whatever the nesting and the cuts, nothing planted comes out', async (t) => {
  const redaction = redactionOf('ContainerInspect', 'all');
  const property = fc.property(tree, fc.array(fc.nat(400), { maxLength: 8 }), (value, cuts) => {
    const bytes = Buffer.from(JSON.stringify(plantIn(value, false)));
    const transform = redaction.body!(callOf('ContainerInspect'));
    const out: Uint8Array[] = [];
    let from = 0;
    for (const cut of [...cuts.sort((one, other) => one - other), bytes.length]) {
      out.push(Buffer.from(transform.feed(bytes.subarray(from, Math.max(from, cut)))));
      from = Math.max(from, cut);
    }
    out.push(transform.end());
    const text = Buffer.concat(out).toString();
    const same =
      JSON.stringify(shape(JSON.parse(text))) === JSON.stringify(shape(JSON.parse(bytes.toString())));
    return same && !text.includes('s3cr3t');
  });
  t.ok((await hold('redact: nothing planted comes out', property, 3000)) > 0);
});

t.test('where names come from users, or from engines of other times', (t) => {
  const out = redacted(
    'ContainerInspect',
    'all',
    '{"Networks":{"logconfig":{"DriverOpts":{"k":"s3"}},"data":{"DriverOpts":{"k":"s3"}},"volumes":{"DriverOpts":{"k":"s3"}},"path":{"DriverOpts":{"k":"s3"}},"env":{"DriverOpts":{"k":"s3"}}},"Newer":{"Deep":[{"ENV":["A=s3"]},{"LABELS":{"a":"s3"}}]},"\\u0045nv":["B=s3"],"Env":["C=s3"],"env":{"D":"s3"}}',
  );
  t.notMatch(JSON.stringify(out), 's3');
  t.match(JSON.stringify(out), 'A=<redacted>');
  t.end();
});

t.test('processes', (t) => {
  const top = (options: string | undefined, Titles: string[], Processes: string[][]): string =>
    JSON.stringify(
      redacted(
        'ContainerTop',
        { commands: true },
        { Titles, Processes },
        options === undefined ? {} : { ps_args: { type: 'string', value: options } },
      ),
    );
  const usual = top(undefined, ['UID', 'PID', 'STIME', 'CMD'], [['root', '7', '10:11', 'sh -c s3']]);
  t.equal(usual, '{"Titles":["UID","PID","STIME","CMD"],"Processes":[["root","7","10:11","<redacted>"]]}');
  t.match(top('aux', ['USER', 'PID', 'COMMAND'], [['root', '7', 's3']]), '["root","7","<redacted>"]');
  t.match(
    top('-ef', ['PID', 'CMD', 'X'], [['7', 's3', 's3']]),
    '["7","<redacted>","<redacted>"]',
    'the last, and by title',
  );
  for (const options of [
    '-eo pid,args',
    '-o args=PID',
    'axoargs',
    '-eOargs',
    '--format=args',
    'ax -o args',
    '-e\to',
  ]) {
    t.notMatch(
      top(
        options,
        ['PID', 's3'],
        [
          ['7', 's3'],
          ['s3', '7'],
        ],
      ),
      's3',
      `${options}: nothing is sure`,
    );
  }
  t.notMatch(
    JSON.stringify(
      redacted('ContainerTop', 'all', { Other: 's3', Processes: { a: ['s3'] }, Titles: 's3' }),
    ).replace('"Titles":"s3"', ''),
    's3',
  );
  t.end();
});

t.test('events', (t) => {
  const event = (
    Action: string,
    Attributes: object = {},
  ): { Action: string; Actor: { Attributes: object } } =>
    redacted('SystemEvents', 'all', { Type: 'container', Action, Actor: { Attributes } }) as never;
  for (const kept of [
    'start',
    'die',
    'exec_die',
    'health_status: healthy',
    'health_status: unhealthy',
    'pull',
    'create',
  ]) {
    t.equal(event(kept).Action, kept);
  }
  t.equal(event('exec_start: sh -c s3').Action, 'exec_start: <redacted>');
  t.equal(event('exec_start: sh -c\n s3').Action, 'exec_start: <redacted>');
  t.equal(event('health_status: s3').Action, 'health_status: <redacted>');
  t.equal(event('rm -rf s3').Action, '<redacted>');
  const kept = {
    image: 'a/b:c',
    name: 'web',
    exitCode: '137',
    signal: '15',
    execID: 'ab'.repeat(32),
    type: 'bridge',
  };
  t.strictSame(event('die', kept).Actor.Attributes, kept);
  const image = (type: string): object =>
    (redacted('SystemEvents', 'all', { Type: type, Actor: { Attributes: { image: 'a/b:c' } } }) as never)[
      'Actor'
    ];
  t.strictSame(image('container'), { Attributes: { image: 'a/b:c' } });
  t.strictSame(image('image'), { Attributes: { image: '<redacted>' } }, 'a label of an image');
  const stream = redactionOf('SystemEvents', 'all').body!(callOf('SystemEvents'));
  const both = ['container', 'image'].map((type) =>
    JSON.stringify({ Type: type, Actor: { Attributes: { image: type } } }),
  );
  const out = Buffer.from(stream.feed(Buffer.from(both.join('\n')))).toString();
  t.equal(out, both.join('\n').replace('"image":"image"', '"image":"<redacted>"'));
  const spoofed = {
    exitCode: 's3',
    signal: 's3',
    execID: 's3',
    driver: 's3',
    type: 's3',
    container: 's3',
    image: 's3 x',
    comment: 's3',
  };
  t.notMatch(JSON.stringify(event('start', spoofed)), 's3', 'labels that are named like an attribute');
  t.end();
});

t.test('messages of the engine', (t) => {
  const redaction = redactionOf('ContainerStart', 'all');
  const message = (text: string): unknown =>
    (run(redaction.error(), { message: text }) as { message: string }).message;
  for (const kept of [
    'No such container: web',
    'No such image: registry.example.com/a/b:1.2',
    'get vol: no such volume',
    'network net not found',
    'page not found',
    `Conflict. The container name "/web" is already in use by container "${'ab'.repeat(32)}". You have to remove (or rename) that container to be able to reuse that name.`,
    'client version 1.99 is too new. Maximum supported API version is 1.41',
  ]) {
    t.equal(message(kept), kept);
  }
  for (const quoted of [
    'OCI runtime create failed: exec: "s3": executable file not found in $PATH: unknown',
    'invalid mount config for type "bind": bind source path does not exist: /s3',
    'No such container: web\ns3 s3',
    'error while mounting volume: password=s3',
  ]) {
    t.notMatch(message(quoted), 's3');
    t.match(message(quoted), '<redacted>');
    t.notMatch(redaction.errorText(quoted), 's3');
  }
  t.equal(redaction.body, undefined, 'an answer with success passes');
  const waited = redacted(
    'ContainerWait',
    { commands: true },
    { StatusCode: 1, Error: { Message: 'exec s3' } },
  );
  t.notMatch(JSON.stringify(waited), 's3');
  t.notMatch(JSON.stringify(redacted('ContainerCreate', 'all', { Id: 'i', Warnings: ['/s3'] })), 's3');
  t.end();
});

t.test('other answers pass unchanged', (t) => {
  for (const id of [
    'SystemPing',
    'SystemVersion',
    'ContainerLogs',
    'ContainerStats',
    'ImageBuild',
    'ContainerArchive',
  ]) {
    t.equal(redactionOf(id, 'all').body, undefined, id);
  }
  t.strictSame(redactionOf('SystemPing', 'all').rewrites, []);
  t.equal(
    redactionOf('ImageList', { env: true }).body,
    undefined,
    'images are listed without their environment',
  );
  t.end();
});

t.test('logs are asked for without what a logger adds', (t) => {
  const variables = { source: 's', call: 'c', client: 'x' };
  for (const id of ['ContainerLogs', 'ServiceLogs', 'TaskLogs'] as const) {
    for (const redact of ['all', { env: true }, { labels: { keep: ['x'] } }]) {
      const [rule] = compile([{ operations: [id], redact }]).operations.get(id)!.allow;
      const query = {
        details: { type: 'boolean', value: true },
        tail: { type: 'string', value: '5' },
      } as const;
      const call = { ...callOf(id), query };
      const { call: sent, changes } = applyRewrite(call, rule!.rewrite!, variables);
      t.strictSame({ ...sent.query }, { tail: query.tail }, id);
      t.equal(changes.length, 1, 'on record');
      const plain = { ...call, query: { tail: query.tail } };
      t.equal(applyRewrite(plain, rule!.rewrite!, variables).call, plain, 'others are sent as they are');
    }
  }
  const [rule] = compile([
    { operations: ['ContainerLogs', 'ContainerList'], redact: { secrets: true } },
  ]).operations.get('ContainerLogs')!.allow;
  t.equal(rule!.rewrite, null, 'neither variables nor labels are redacted');
  t.end();
});

t.test('the verdict carries it', (t) => {
  const look = { operations: ['ContainerList'] };
  t.equal(judge(compile([look]), 'ContainerList').redact, undefined);
  const policy = compile([{ ...look, redact: { labels: true } }, look]);
  const verdict = judge(policy, 'ContainerList');
  t.ok(verdict.redact);
  t.strictSame(verdict.rewrites, ['answer: labels']);
  t.equal(judge(policy, 'ContainerList'), verdict, 'made once: an allowed call allocates nothing');
  const observed = compilePolicy(
    [
      { name: 'a', text: JSON.stringify({ rules: [{ id: 'a', sources: ['*'], ...look, redact: 'all' }] }) },
      {
        name: 'b',
        text: JSON.stringify({
          mode: 'observe',
          rules: [{ id: 'b', effect: 'deny', sources: ['*'], ...look }],
        }),
      },
    ],
    VOCABULARY,
  );
  if (!observed.ok) throw new Error('must compile');
  const denied = judge(observed.policy, 'ContainerList');
  t.match(denied, { effect: 'deny', observe: true, rule: 'b' });
  t.ok(denied.redact, 'a denial that is not enforced does not open the answer');
  t.end();
});

t.test('mistakes are reported', (t) => {
  const one = (redact: unknown, operations: string[], effect = 'allow'): string =>
    problemsOf({ operations, redact, effect }).join('\n');
  t.match(
    one('all', ['ContainerExport']),
    '/rules/0/redact no answer to the operations of this rule holds what is redacted',
  );
  t.match(
    one({ env: true }, ['ContainerTop']),
    '/rules/0/redact/env no answer to the operations of this rule holds env',
  );
  t.match(one({}, ['*']), '/rules/0/redact found an empty object');
  t.match(one('al', ['*']), '/rules/0/redact found "al"; expected "all" or an object');
  t.match(one({ labls: true }, ['*']), '/rules/0/redact/labls unknown key "labls". Did you mean "labels"?');
  t.match(one({ env: { keep: [] } }, ['*']), '/rules/0/redact/env/keep found an empty array');
  t.match(
    one({ paths: false }, ['*']),
    '/rules/0/redact/paths found false; expected true, or an object with "keep"',
  );
  t.match(one('all', ['*'], 'deny'), '/rules/0/redact a deny rule cannot redact');
  for (const operation of OPERATIONS) {
    const known = Object.hasOwn(ANSWERS, operation.id);
    t.equal(one('all', [operation.id]) === '', known, operation.id);
  }
  t.end();
});
