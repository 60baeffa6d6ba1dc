import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { JsonObject, JsonValue } from '../../src/base/json.js';
import type { Call } from '../../src/docker/call.js';
import { OPERATIONS } from '../../src/docker/catalogue.js';
import { BOUNDS, patternStates, type BoundName } from '../../src/hazards/engine-load.js';
import { inspect } from '../../src/hazards/inspect.js';
import { formatHazard } from '../../src/hazards/inspection.js';
import { projectRoot } from '../support/command.js';
import { create, makeCall, service } from './make-call.js';

// What a call costs the engine itself: each bound, at each place where its number stands, with the last value that is none.

const raised = (call: Call): string[] => inspect(call).hazards.map(formatHazard).sort();
const load = (call: Call): string[] => raised(call).filter((hazard) => hazard.startsWith('engine-load:'));

const MS = 1_000_000;
const many = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
const members = (count: number, value: JsonValue): JsonObject =>
  Object.fromEntries(many(count).map((index) => [`k${index}`, value]));
const exec = (body: JsonObject): Call => makeCall('ContainerExec', { path: { id: 'c' }, body });
const update = (body: JsonObject): Call => makeCall('ContainerUpdate', { path: { id: 'c' }, body });
const network = (Config: JsonValue): Call =>
  makeCall('NetworkCreate', { body: { Name: 'n', IPAM: { Config } } });
const swarm = (body: JsonObject): Call => makeCall('SwarmUpdate', { body });
const init = (body: JsonObject): Call => makeCall('SwarmInit', { body });
const filtered = (filters: JsonObject): Call => makeCall('ContainerList', { query: { filters } });
const build = (dockerfile: string): Call =>
  makeCall('ImageBuild', { dockerfile: `FROM alpine:3\n${dockerfile}\n` });

interface Place {
  readonly of: BoundName;
  /** A call in which the number is this. */
  readonly with: (value: number) => Call;
  /** What is ordinary; one beyond; how the hazard shows it. */
  readonly ordinary: readonly number[];
  readonly beyond: readonly (readonly [value: number, shown: string])[];
}

const health = (field: string, make: (check: JsonObject) => Call): Place => ({
  of: 'health-interval',
  with: (ms) => make({ Test: ['CMD', 'true'], [field]: ms * MS }),
  ordinary: [0, 500, 1_000, 5_000, 30_000, 3_600_000],
  beyond: [
    [1, '1ms'],
    [499, '499ms'],
    [-1, '-1ms'],
  ],
});

const counts = (of: BoundName, most: number, make: (count: number) => Call): Place => ({
  of,
  with: make,
  ordinary: [0, 1, 10, most],
  beyond: [[most + 1, String(most + 1)]],
});

const PLACES: Readonly<Record<string, Place>> = {
  'Healthcheck.Interval': health('Interval', (check) => create({}, { Healthcheck: check })),
  'Healthcheck.StartInterval': health('StartInterval', (check) => create({}, { Healthcheck: check })),
  'of a service': health('Interval', (Healthcheck) => service({ Healthcheck })),
  'HEALTHCHECK --interval': {
    of: 'health-interval',
    with: (ms) => build(`HEALTHCHECK --interval=${ms}ms CMD true`),
    ordinary: [0, 500, 1_000, 30_000],
    beyond: [[1, '1ms']],
  },
  'HEALTHCHECK --start-interval': {
    of: 'health-interval',
    with: (ms) => build(`HEALTHCHECK --interval=1m30s --start-interval=${ms / 1000}s CMD true`),
    ordinary: [500, 1_000, 30_000],
    beyond: [[20, '20ms']],
  },
  StopTimeout: {
    of: 'stop-timeout',
    with: (StopTimeout) => create({}, { StopTimeout }),
    ordinary: [0, 1, 10, 120, 3_600, 86_400],
    beyond: [
      [86_401, '86401s'],
      [-1, '-1s'],
    ],
  },
  'StopGracePeriod of a service': {
    of: 'stop-timeout',
    with: (seconds) => service({ StopGracePeriod: seconds * 1e9 }),
    ordinary: [0, 1, 10, 86_400],
    beyond: [
      [86_401, '86401s'],
      [-1, '-1s'],
    ],
  },
  CpuShares: {
    of: 'cpu-shares',
    with: (CpuShares) => create({ CpuShares }),
    ordinary: [0, 2, 512, 1_024, 4_096, 16_384],
    beyond: [[262_144, '262144']],
  },
  'CpuShares of an update': {
    of: 'cpu-shares',
    with: (CpuShares) => update({ CpuShares }),
    ordinary: [0, 1_024],
    beyond: [[16_385, '16385']],
  },
  'cpushares of a build': {
    of: 'cpu-shares',
    with: (shares) =>
      makeCall('ImageBuild', { query: { cpushares: BigInt(shares) }, dockerfile: 'FROM alpine' }),
    ordinary: [0, 1_024],
    beyond: [[16_385, '16385']],
  },
  Replicas: counts('replicas', 1_000, (Replicas) => service({}, {}, { Mode: { Replicated: { Replicas } } })),
  MaxConcurrent: counts('replicas', 1_000, (MaxConcurrent) =>
    service({}, {}, { Mode: { ReplicatedJob: { MaxConcurrent } } }),
  ),
  TotalCompletions: counts('replicas', 1_000, (TotalCompletions) =>
    service({}, {}, { Mode: { ReplicatedJob: { TotalCompletions } } }),
  ),
  'RestartPolicy.Delay of a service': {
    of: 'restart-delay',
    with: (ms) => service({}, { RestartPolicy: { Condition: 'any', Delay: ms * MS } }),
    ordinary: [500, 5_000],
    beyond: [
      [0, '0ms'],
      [10, '10ms'],
    ],
  },
  'Dispatcher.HeartbeatPeriod': {
    of: 'heartbeat',
    with: (ms) => swarm({ Dispatcher: { HeartbeatPeriod: ms * MS } }),
    ordinary: [0, 1_000, 5_000],
    beyond: [[1, '1ms']],
  },
  TaskHistoryRetentionLimit: {
    of: 'task-history',
    with: (TaskHistoryRetentionLimit) => swarm({ Orchestration: { TaskHistoryRetentionLimit } }),
    ordinary: [0, 5, 100],
    beyond: [
      [101, '101'],
      [-1, '-1'],
    ],
  },
  'Raft.SnapshotInterval': {
    of: 'raft-snapshots',
    with: (SnapshotInterval) => swarm({ Raft: { SnapshotInterval } }),
    ordinary: [0, 1_000, 10_000],
    beyond: [[1, '1']],
  },
  'Raft.KeepOldSnapshots': counts('raft-kept', 100_000, (KeepOldSnapshots) =>
    swarm({ Raft: { KeepOldSnapshots } }),
  ),
  'Raft.LogEntriesForSlowFollowers': counts('raft-kept', 100_000, (LogEntriesForSlowFollowers) =>
    swarm({ Raft: { LogEntriesForSlowFollowers } }),
  ),
  'SubnetSize, of the default pool': {
    of: 'swarm-subnets',
    with: (bits) => init({ SubnetSize: bits }),
    ordinary: [0, 16, 24],
    beyond: [
      [25, '131072'],
      [29, '2097152'],
    ],
  },
  'SubnetSize, of own pools': {
    of: 'swarm-subnets',
    with: (bits) => init({ SubnetSize: bits, DefaultAddrPool: ['10.20.0.0/16', '10.64.0.0/12'] }),
    ordinary: [0, 24, 28],
    beyond: [[29, '131072']],
  },
  Volumes: counts('volumes', 100, (count) => create({}, { Volumes: members(count, {}) })),
  Binds: counts('volumes', 100, (count) => create({ Binds: many(count).map((n) => `v${n}:/v${n}`) })),
  Mounts: counts('volumes', 100, (count) =>
    create({ Mounts: many(count).map((n) => ({ Type: 'volume', Target: `/v${n}` })) }),
  ),
  'Mounts of a service': counts('volumes', 100, (count) =>
    service({ Mounts: many(count).map((n) => ({ Type: 'volume', Target: `/v${n}` })) }),
  ),
  Tmpfs: counts('volumes', 100, (count) => create({ Tmpfs: members(count, 'size=1m') })),
  VOLUME: counts('volumes', 100, (count) =>
    build(
      many(count)
        .map((n) => `VOLUME /v${n}`)
        .join('\n'),
    ),
  ),
  'VOLUME, in one line': counts('volumes', 100, (count) =>
    build(
      count === 0
        ? ''
        : `VOLUME ${many(count)
            .map((n) => `/v${n}`)
            .join(' ')}`,
    ),
  ),
  'PortBindings, of many ports': counts('published', 256, (count) =>
    create({ PortBindings: Object.fromEntries(many(count).map((n) => [`${n + 1}/tcp`, []])) }),
  ),
  'PortBindings, of one port': counts('published', 256, (count) =>
    create({
      PortBindings: count === 0 ? {} : { '80/tcp': many(count).map((n) => ({ HostPort: String(n + 1) })) },
    }),
  ),
  'Ports of a service': counts('published', 256, (count) =>
    service({}, {}, { EndpointSpec: { Ports: many(count).map((n) => ({ PublishedPort: n + 1 })) } }),
  ),
  EndpointsConfig: counts('networks', 64, (count) =>
    create({}, { NetworkingConfig: { EndpointsConfig: members(count, {}) } }),
  ),
  'Networks of a service': counts('networks', 64, (count) =>
    service({}, { Networks: many(count).map((n) => ({ Target: `n${n}` })) }),
  ),
  Aliases: counts('aliases', 256, (count) =>
    makeCall('NetworkConnect', {
      path: { id: 'n' },
      body: { Container: 'c', EndpointConfig: { Aliases: many(count).map((n) => `a${n}`) } },
    }),
  ),
  AuxiliaryAddresses: counts('aux-addresses', 256, (count) =>
    network([{ AuxiliaryAddresses: members(count, '10.0.0.1') }]),
  ),
  'IPAM.Config': counts('address-pools', 16, (count) => network(many(count).map(() => ({})))),
  Labels: counts('entries', 1_000, (count) => create({}, { Labels: members(count, 'x') })),
  'Labels of a network': counts('entries', 1_000, (count) =>
    makeCall('NetworkCreate', { body: { Name: 'n', Labels: members(count, 'x') } }),
  ),
  'Labels of a volume': counts('entries', 1_000, (count) =>
    makeCall('VolumeCreate', { body: { Labels: members(count, 'x') } }),
  ),
  'Labels of a service': counts('entries', 1_000, (count) =>
    service({}, {}, { Labels: members(count, 'x') }),
  ),
  Env: counts('entries', 1_000, (count) => create({}, { Env: many(count).map((n) => `A${n}=x`) })),
  'Env of an exec': counts('entries', 1_000, (count) => exec({ Env: many(count).map((n) => `A${n}=x`) })),
  'Cmd of an exec': counts('entries', 1_000, (count) => exec({ Cmd: many(count).map(String) })),
  Cmd: counts('entries', 1_000, (count) => create({}, { Cmd: many(count).map(String) })),
  Entrypoint: counts('entries', 1_000, (count) => create({}, { Entrypoint: many(count).map(String) })),
  ExposedPorts: counts('entries', 1_000, (count) =>
    create({}, { ExposedPorts: Object.fromEntries(many(count).map((n) => [`${n + 1}/tcp`, {}])) }),
  ),
  'Placement.Constraints': counts('entries', 1_000, (count) =>
    service({}, { Placement: { Constraints: many(count).map((n) => `node.labels.a==${n}`) } }),
  ),
  'length of Env': counts('text', 512 * 1024, (length) => create({}, { Env: ['x'.repeat(length)] })),
  'length of a label': counts('text', 512 * 1024, (length) =>
    create({}, { Labels: length === 0 ? {} : { a: 'x'.repeat(length - 1) } }),
  ),
  'length of the Cmd of an exec': counts('text', 512 * 1024, (length) => exec({ Cmd: ['x'.repeat(length)] })),
  instructions: counts('instructions', 1_000, (count) =>
    build(
      many(Math.max(0, count - 1))
        .map((n) => `ENV A${n}=x`)
        .join('\n'),
    ),
  ),
  'a filter for names': counts('name-filter', 20_000, (length) => filtered({ name: ['x'.repeat(length)] })),
  'a filter for names, as an object': counts('name-filter', 20_000, (length) =>
    filtered({ name: { ['x'.repeat(length)]: true } }),
  ),
  'filters for ids together': counts('name-filter', 20_000, (length) =>
    filtered({ id: ['x'.repeat(Math.floor(length / 2)), 'x'.repeat(Math.ceil(length / 2))] }),
  ),
};

void t.test('each number, count and text: what is ordinary is no hazard, what is beyond is', (t) => {
  for (const [name, { of, with: make, ordinary, beyond }] of Object.entries(PLACES)) {
    for (const value of ordinary) t.same(load(make(value)), [], `${name}: ${value}`);
    for (const [value, shown] of beyond)
      t.same(load(make(value)), [`engine-load:${of}=${shown}`], `${name}: ${value}`);
  }
  t.same(
    new Set(Object.values(PLACES).map(({ of }) => of)),
    new Set(Object.keys(BOUNDS)),
    'every bound has a place',
  );
  t.end();
});

void t.test('numbers that a double does not hold', (t) => {
  const huge = 9_223_372_036_854_775_807n;
  t.match(load(create({}, { StopTimeout: huge })), [/^engine-load:stop-timeout=9\.?2/]);
  t.match(load(service({}, {}, { Mode: { Replicated: { Replicas: huge } } })), [
    /^engine-load:replicas=9\.?2/,
  ]);
  t.same(
    load(create({ Memory: huge, NanoCpus: huge, ShmSize: huge, PidsLimit: huge })),
    [],
    'the container’s own',
  );
  t.end();
});

void t.test('what a filter costs is the number of states that its patterns make', (t) => {
  for (const pattern of [
    ...['web', '^/?web-[0-9]+$', '^[0-9a-f]{64}$', '[0-9]{4}-[0-9]{2}-[0-9]{2}', 'ab{1,3}', 'a{2,}', '.*'],
    ...['{}', '{x}', 'a{', '{a{1}'],
  ]) {
    t.ok(patternStates(pattern) <= 1_000, pattern);
    t.same(load(filtered({ name: [pattern] })), [], pattern);
  }
  // Each of these takes dockerd seconds and hundreds of megabytes, for a caller who may only list.
  for (const pattern of [
    'a{1000}'.repeat(2_000),
    '((a{10}){100}){1}'.repeat(100),
    '(.{0,1000}x){1}'.repeat(50),
  ])
    t.match(load(filtered({ name: [pattern] })), [/^engine-load:name-filter=/], pattern.slice(0, 20));
  t.same(load(filtered({ label: ['x'.repeat(30_000)] })), [], 'labels are compared as they are');
  for (const { id, query } of OPERATIONS) {
    if (query['filters'] === undefined) continue;
    const call = makeCall(id, { query: { filters: { name: ['a{999}'.repeat(4)] } } });
    t.match(load(call), [/^engine-load:name-filter=/], id);
  }
  t.end();
});

void t.test('options of logs: each with its ordinary values, and what costs the daemon', (t) => {
  const of = (option: string, value: string): string[] =>
    raised(create({ LogConfig: { Type: 'json-file', Config: { [option]: value } } }));
  const plain: Readonly<Record<string, readonly string[]>> = {
    'max-size': ['10m', '1g', '100k', '-1', '1'],
    'max-file': ['1', '3', '5', '10', '+7', '1000', '007'],
    compress: ['true', 'false'],
    mode: ['', 'blocking'],
    'max-buffer-size': ['1m', '4m', '25M', '64m', '64MiB', '65536k', '1048576', '0.5m', '8 mb'],
    'cache-disabled': ['true'],
    'cache-max-size': ['20m'],
    'cache-max-file': ['5'],
    'cache-compress': ['true'],
    labels: ['com.example.team', 'a,b'],
    env: ['TEAM,STAGE'],
    'labels-regex': ['^com\\.example\\.', '^(prod|test)'],
    'env-regex': ['^(os|customer)', '[0-9]{1,3}'],
    tag: [
      '',
      'web',
      ...['ID', 'FullID', 'Name', 'ImageID', 'ImageFullID', 'ImageName', 'DaemonName'].map(
        (name) => `{{.${name}}}`,
      ),
      '{{.ImageName}}/{{.Name}}/{{.ID}}',
      '{{ .Name }}',
      '{{- .Name -}}',
      'docker/{{.Name}}',
      'a}}b',
      'x'.repeat(1_024),
    ],
  };
  const costly: Readonly<Record<string, readonly string[]>> = {
    'max-file': ['1001', '2000000000', '9223372036854775807', '1e3', '0x7', '١'],
    mode: ['non-blocking'],
    'max-buffer-size': ['800g', '65m', '1t', '65537k', '99999999999', '1e9', '', 'm', '8 gb', '64mm'],
    'cache-max-file': ['2000000000'],
    'labels-regex': ['a{1000}b', 'x'.repeat(1_001)],
    'env-regex': ['(a{100}){100}'],
    tag: [
      '{{pad "x" 30000000000000 0}}',
      '{{json .}}',
      '{{.ContainerEnv}}',
      '{{.LogPath}}',
      '{{.Hostname}}',
      '{{.Config}}',
      '{{.Name.ID}}',
      '{{.Name}}{{range .ContainerEnv}}{{end}}',
      '{{.Name | printf "%1000000s"}}',
      '{{define "a"}}{{template "a"}}{{end}}',
      '{{/* a */}}',
      '{{"x"}}',
      '{{ "{{.Name}}" }}',
      '{{`x`}}',
      '{{.Name }',
      '{{\n.Name}}{{$}}',
      '{{.name}}',
      '{{.Name}}'.repeat(114),
    ],
  };
  for (const [option, values] of Object.entries(plain))
    for (const value of values) t.same(of(option, value), [], `${option}=${value.slice(0, 60)}`);
  for (const [option, values] of Object.entries(costly))
    for (const value of values)
      t.same(of(option, value), [`log-option:${option}=${value}`], `${option}=${value.slice(0, 60)}`);
  const task = (Options: JsonObject): string[] =>
    raised(service({}, { LogDriver: { Name: 'local', Options } }));
  t.same(task({ tag: '{{.Name}}', 'max-file': '3' }), []);
  t.same(task({ tag: '{{json .}}' }), ['log-option:tag={{json .}}']);
  t.end();
});

void t.test('templates of services: each place, short fields and everything else', (t) => {
  const places: Readonly<Record<string, (text: string) => Call>> = {
    'env=A': (text) => service({ Env: [`A=${text}`, 'B=b'] }),
    hostname: (Hostname) => service({ Hostname }),
    'mount=/x': (text) => service({ Mounts: [{ Type: 'tmpfs', Source: text, Target: '/x' }] }),
    'mount=/l': (text) =>
      service({ Mounts: [{ Type: 'volume', Target: '/l', VolumeOptions: { Labels: { a: text } } }] }),
    'mount=/o': (text) =>
      service({
        Mounts: [{ Type: 'volume', Target: '/o', VolumeOptions: { DriverConfig: { Options: { a: text } } } }],
      }),
  };
  const templates = (call: Call): string[] => raised(call).filter((one) => one.startsWith('template:'));
  for (const [place, make] of Object.entries(places)) {
    for (const text of [
      ...['plain', 'a}}b', '{{.Node.Hostname}}-{{.Task.Slot}}', '{{ .Service.Name }}', '{{.Service.ID}}'],
      ...[
        '{{.Node.ID}}',
        '{{.Node.Platform.Architecture}}',
        '{{.Node.Platform.OS}}',
        '{{.Task.ID}}',
        '{{.Task.Name}}',
      ],
    ])
      t.same(templates(make(text)), [], `${place}: ${text}`);
    for (const text of [
      ...[
        '{{.Service.Labels}}',
        '{{index .Service.Labels "a"}}',
        '{{printf "%1000000d" 1}}',
        '/srv/{{"../etc"}}',
      ],
      ...['{{range .Service.Labels}}{{.}}{{end}}', '{{.}}', '{{join . ","}}'],
    ])
      t.same(templates(make(text)), [`template:${place}`], `${place}: ${text}`);
  }
  t.same(templates(service({ Mounts: [{ Type: 'volume', Target: '/{{1}}' }] })), ['template:mount=/{{1}}']);
  t.same(templates(service({ Env: ['A={{.Task.Slot}}={{1}}', '{{1}}=a'] })), ['template:env=A']);
  t.same(raised(create({}, { Env: ['A={{1}}'], Hostname: '{{1}}' })), [], 'a container has no templates');
  t.end();
});

void t.test('no field is harmless without the reason why', (t) => {
  const folder = join(projectRoot, 'src/hazards');
  for (const name of readdirSync(folder)) {
    const text = readFileSync(join(folder, name), 'utf8');
    t.same(text.match(/^ *\w+: harmless,$/gm) ?? [], [], name);
  }
  t.end();
});
