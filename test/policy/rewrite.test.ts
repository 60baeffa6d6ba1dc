import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { Call, Client } from '../../src/docker/call.js';
import type { JsonObject, JsonValue } from '../../src/base/json.js';
import { readCall, readHead } from '../../src/docker/read.js';
import { renderBody, renderHeaders, renderTarget } from '../../src/docker/render.js';
import { inspect } from '../../src/hazards/inspect.js';
import { formatHazard } from '../../src/hazards/inspection.js';
import { VOCABULARY } from '../../src/policy/vocabulary.js';
import { compilePolicy, type CompiledPolicy } from '../../src/policy/compile.js';
import { decide, sourcesOf } from '../../src/policy/decide.js';
import { applyRewrite } from '../../src/policy/rewrite.js';
import { rewriteSchema } from '../../src/policy/rewrite-schema.js';
import type { Verdict } from '../../src/policy/compiled.js';

const LIMITS = { target: 16_384, jsonDepth: 64, jsonBody: 4 << 20 };
const CLIENT: Client = {
  listener: 'lan',
  address: '10.20.1.7',
  port: 4711,
  certificate: [],
  tokenSha256: '',
};
const DIGEST = `sha256:${'ab'.repeat(32)}`;
const OTHER = `sha256:${'cd'.repeat(32)}`;

interface Asked {
  readonly method?: string;
  readonly target: string;
  readonly body?: unknown;
  readonly headers?: readonly string[];
  readonly client?: Client;
}

/** The call as the guard reads it from a request. */
function read({ method = 'POST', target, body, headers = [], client = CLIENT }: Asked): Call {
  const bytes = body === undefined ? undefined : new TextEncoder().encode(JSON.stringify(body));
  const rawHeaders = ['Host', 'docker', ...headers];
  if (bytes !== undefined) {
    rawHeaders.push('Content-Type', 'application/json', 'Content-Length', String(bytes.length));
  }
  const reading = readHead({ method, target, rawHeaders, httpVersion: '1.1' }, LIMITS);
  return readCall(reading, bytes, 'call-7', client, LIMITS);
}

const create = (body: object, version = '/v1.41'): Asked => ({
  target: `${version}/containers/create`,
  body: { Image: 'alpine', ...body },
});
const host = (HostConfig: object): Asked => create({ HostConfig });

function compileAll(rules: readonly object[]): CompiledPolicy {
  const text = JSON.stringify({
    sources: { ci: { cidr: ['10.20.0.0/16'] }, lan: { listener: ['lan'] } },
    rules: rules.map((rule, index) => ({ id: `r${index}`, sources: ['*'], ...rule })),
  });
  const result = compilePolicy([{ name: 'p', text }], VOCABULARY);
  if (!result.ok) throw new Error(result.problems.map((one) => `${one.pointer}: ${one.message}`).join('\n'));
  return result.policy;
}

function judge(policy: CompiledPolicy, call: Call): Verdict {
  return decide(policy, call, sourcesOf(policy, call.client), inspect(call));
}

interface Sent {
  readonly verdict: Verdict;
  readonly body: JsonObject;
  readonly query: Record<string, string>;
  readonly headers: string[];
}

/** What a call says; the work that is left for it is no part of that. */
const shown = (call: Call): string => JSON.stringify({ ...call, work: undefined }, big);

/** What reaches the engine under one rule with this rewrite, for the operation that the request is. */
function send(rewrite: object, asked: Asked, rule: object = {}): Sent {
  const call = read(asked);
  const before = shown(call);
  const policy = compileAll([{ operations: [call.operation.id], permit: ['*'], rewrite, ...rule }]);
  const verdict = judge(policy, call);
  if (shown(call) !== before) throw new Error('the original call was changed');
  const sent = verdict.call ?? call;
  const text = renderBody(sent);
  const target = new URL(`http://docker${renderTarget(sent)}`);
  return {
    verdict,
    body: text === undefined ? {} : (JSON.parse(text) as JsonObject),
    query: Object.fromEntries(target.searchParams),
    headers: renderHeaders(sent),
  };
}

function big(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}n` : value;
}

/** A table: rewrite, request, expected body or query (only the fields named count). */
type Row = readonly [rewrite: object, asked: Asked, expected: { body?: object; query?: object }];

function table(t: Test, rows: readonly Row[]): void {
  for (const [rewrite, asked, expected] of rows) {
    const { verdict, body, query } = send(rewrite, asked);
    const name = `${JSON.stringify(rewrite)} on ${asked.target} ${JSON.stringify(asked.body ?? '')}`;
    t.equal(verdict.effect, 'allow', `${name}: ${verdict.reason}`);
    if (expected.body !== undefined) t.same(body, expected.body, name);
    if (expected.query !== undefined) t.same(query, expected.query, name);
  }
}

t.test('labels', async (t) => {
  const labels = { 'org.example.source': '${source}', id: 'call ${call} of ${client}', plain: 'x' };
  const given = { 'org.example.source': 'lan', id: 'call call-7 of 10.20.1.7', plain: 'x' };
  const rewrite = { labels };
  table(
    t,
    (
      [
        [create({}), { Image: 'alpine', Labels: given }],
        [
          create({ Labels: { plain: 'mine', own: '1', Plain: '2' } }),
          { Image: 'alpine', Labels: { ...given, own: '1', Plain: '2' } },
        ],
        [
          { target: '/v1.41/volumes/create', body: { Name: 'v', Labels: { a: 'b' } } },
          { Name: 'v', Labels: { a: 'b', ...given } },
        ],
        [
          { target: '/v1.41/networks/create', body: { Name: 'n' } },
          { Name: 'n', Labels: given },
        ],
        [
          { target: '/v1.41/services/create', body: { Name: 's' } },
          { Name: 's', Labels: given },
        ],
        [
          { target: '/v1.41/services/s/update?version=1', body: { Name: 's', Labels: { id: '' } } },
          { Name: 's', Labels: given },
        ],
        [
          { target: '/v1.41/secrets/create', body: { Name: 's', Data: 'eA==' } },
          { Name: 's', Data: 'eA==', Labels: given },
        ],
        [
          { target: '/v1.41/configs/create', body: { Name: 'c', Data: 'eA==' } },
          { Name: 'c', Data: 'eA==', Labels: given },
        ],
        [{ target: '/v1.41/commit?container=c' }, { Labels: given }],
      ] as const
    ).map(([asked, body]): Row => [rewrite, asked, { body }]),
  );
  const build = send(rewrite, {
    target: `/v1.41/build?labels=${encodeURIComponent('{"plain":"mine","o":"1"}')}`,
  });
  t.same(JSON.parse(build.query['labels']!), { ...given, o: '1' }, 'a build carries them as a parameter');

  const source = (sources: string[]): JsonValue | undefined =>
    send({ labels: { s: '${source}' } }, create({}), { sources }).body['Labels'];
  t.same(source(['ci']), { s: 'ci' });
  t.same(source(['ci', 'lan']), { s: 'ci' }, 'the first of the rule that the caller belongs to');
  t.same(source(['lan', 'ci']), { s: 'lan' });
  const local = { ...create({}), client: { ...CLIENT, listener: 'unix', address: '' } };
  t.same(send({ labels: { s: '${source}@${client}' } }, local).body['Labels'], { s: 'unix@unix' });

  for (const change of ['LABEL plain=mine', 'ENV A=b \\', 'CMD ["x"]']) {
    const { verdict } = send(rewrite, {
      target: `/v1.41/commit?container=c&changes=${encodeURIComponent(change)}`,
    });
    t.match(verdict, { effect: 'deny', code: 'rewrite', reason: /cannot be done: .*changes/ }, change);
  }
});

t.test('network', async (t) => {
  const none = { network: { force: 'none' } };
  const fallback = { network: { default: 'ci-net' } };
  const endpoints = (EndpointsConfig: object): object => ({ NetworkingConfig: { EndpointsConfig } });
  const forced = (more: object = {}): { body: object } => ({
    body: { Image: 'alpine', HostConfig: { NetworkMode: 'none' }, ...more },
  });
  table(t, [
    [none, create({}), forced()],
    [none, host({ NetworkMode: 'host' }), forced()],
    [none, host({ NetworkMode: 'container:db' }), forced()],
    [none, create({ NetworkMode: 'host' }), forced()],
    [none, create(endpoints({ prod: {} })), forced({ NetworkingConfig: {} })],
    [
      none,
      create(endpoints({ prod: { Aliases: ['x'] }, none: { NetworkID: 'abc' } })),
      forced(endpoints({ none: {} })),
    ],
    [none, create(endpoints({})), forced(endpoints({}))],
    [none, { target: '/v1.41/build?networkmode=host' }, { query: { networkmode: 'none' } }],
    [none, { target: '/v1.41/build' }, { query: { networkmode: 'none' } }],
    [fallback, create({}), { body: { Image: 'alpine', HostConfig: { NetworkMode: 'ci-net' } } }],
    [
      fallback,
      host({ NetworkMode: 'default' }),
      { body: { Image: 'alpine', HostConfig: { NetworkMode: 'ci-net' } } },
    ],
    [
      fallback,
      host({ NetworkMode: 'none' }),
      { body: { Image: 'alpine', HostConfig: { NetworkMode: 'none' } } },
    ],
    [
      fallback,
      create({ HostConfig: { NetworkMode: 'default' }, ...endpoints({ default: { Aliases: ['x'] } }) }),
      {
        body: {
          Image: 'alpine',
          HostConfig: { NetworkMode: 'ci-net' },
          ...endpoints({ 'ci-net': { Aliases: ['x'] } }),
        },
      },
    ],
    [fallback, create(endpoints({ own: {} })), { body: { Image: 'alpine', ...endpoints({ own: {} }) } }],
    [fallback, { target: '/v1.41/build?networkmode=default' }, { query: { networkmode: 'ci-net' } }],
    [fallback, { target: '/v1.41/build?networkmode=none' }, { query: { networkmode: 'none' } }],
  ]);
});

t.test('limits', async (t) => {
  const MiB = 2 ** 20;
  const limits = { limits: { memory: '512MiB', cpus: 1.5, pids: 100 } };
  const swap = { limits: { memory: '512MiB', memorySwap: '600MiB' } };
  const memory = { limits: { memory: '512MiB' } };
  const cpus = { limits: { cpus: 0.5 } };
  const pids = { limits: { pids: 100 } };
  const hostIs = (HostConfig: object): { body: object } => ({ body: { Image: 'alpine', HostConfig } });
  const update = (body: object): Asked => ({ target: '/v1.41/containers/c/update', body });
  const all = { Memory: 512 * MiB, NanoCpus: 1.5e9, PidsLimit: 100 };
  table(t, [
    [limits, create({}), hostIs(all)],
    [{ limits: { memory: '64M' } }, create({}), hostIs({ Memory: 67_108_864 })],
    [{ limits: { memory: '64m' } }, create({}), hostIs({ Memory: 67_108_864 })],
    [{ limits: { memory: '2GB' } }, create({}), hostIs({ Memory: 2e9 })],
    [limits, host({ Memory: 0, NanoCpus: 0, PidsLimit: -1 }), hostIs(all)],
    [limits, host({ Memory: -1, NanoCpus: 64e9, PidsLimit: 101 }), hostIs(all)],
    [limits, host({ Memory: 2 ** 60, NanoCpus: 1.5e9, PidsLimit: 7 }), hostIs({ ...all, PidsLimit: 7 })],
    [
      limits,
      host({ Memory: MiB, NanoCpus: 1, PidsLimit: 1 }),
      hostIs({ Memory: MiB, NanoCpus: 1, PidsLimit: 1 }),
    ],
    [memory, host({ MemorySwap: -1 }), hostIs({ Memory: 512 * MiB, MemorySwap: 1024 * MiB })],
    [memory, host({ MemorySwap: 2 ** 40 }), hostIs({ Memory: 512 * MiB, MemorySwap: 1024 * MiB })],
    [memory, host({ Memory: 64 * MiB, MemorySwap: 0 }), hostIs({ Memory: 64 * MiB, MemorySwap: 0 })],
    [swap, create({}), hostIs({ Memory: 512 * MiB, MemorySwap: 600 * MiB })],
    [swap, host({ Memory: 64 * MiB }), hostIs({ Memory: 64 * MiB })],
    [swap, host({ Memory: 64 * MiB, MemorySwap: -1 }), hostIs({ Memory: 64 * MiB, MemorySwap: 600 * MiB })],
    // The other form of a CPU limit is kept, and the whole of it bounded.
    [cpus, host({ CpuQuota: 100_000 }), hostIs({ CpuQuota: 50_000 })],
    [cpus, host({ CpuQuota: 20_000 }), hostIs({ CpuQuota: 20_000 })],
    [cpus, host({ CpuQuota: 20_000, CpuPeriod: 10_000 }), hostIs({ CpuQuota: 5_000, CpuPeriod: 10_000 })],
    [cpus, host({ CpuPeriod: 10_000 }), hostIs({ CpuPeriod: 10_000, CpuQuota: 5_000 })],
    [cpus, host({ CpuQuota: -1 }), hostIs({ NanoCpus: 5e8 })],
    [cpus, host({ CpuQuota: 1000, NanoCpus: 4e9 }), hostIs({ CpuQuota: 1000, NanoCpus: 5e8 })],
    // An update leaves what it does not name.
    [limits, update({ CpuShares: 5 }), { body: { CpuShares: 5 } }],
    [limits, update({ Memory: 2 ** 40, PidsLimit: 0 }), { body: { Memory: 512 * MiB, PidsLimit: 100 } }],
    [pids, update({ PidsLimit: -1 }), { body: { PidsLimit: 100 } }],
    [memory, update({ MemorySwap: -1 }), { body: { MemorySwap: 1024 * MiB } }],
    [cpus, update({ NanoCpus: 8e9 }), { body: { NanoCpus: 5e8 } }],
    [cpus, update({ CpuPeriod: 1000 }), { body: { CpuPeriod: 1000, CpuQuota: 500 } }],
    [cpus, update({ CpuQuota: 60_000 }), { body: { CpuPeriod: 100_000, CpuQuota: 50_000 } }],
    [cpus, update({ CpuQuota: -1 }), { body: { CpuPeriod: 100_000, CpuQuota: 50_000 } }],
    [
      limits,
      { target: '/v1.41/build' },
      { query: { memory: String(512 * MiB), cpuperiod: '100000', cpuquota: '150000' } },
    ],
    [
      limits,
      { target: '/v1.41/build?memory=1048576&memswap=-1&cpuquota=1000000&cpuperiod=50000' },
      { query: { memory: '1048576', memswap: String(1024 * MiB), cpuperiod: '50000', cpuquota: '75000' } },
    ],
    [
      limits,
      { target: '/v1.41/services/create', body: { Name: 's' } },
      {
        body: {
          Name: 's',
          TaskTemplate: {
            Resources: { Limits: { MemoryBytes: 512 * MiB, NanoCPUs: 1.5e9, Pids: 100 } },
          },
        },
      },
    ],
  ]);
});

t.test('hardening', async (t) => {
  const nnp = { noNewPrivileges: true };
  const drop = { dropCapabilities: ['NET_RAW', 'CAP_MKNOD'] };
  const dropAll = { dropCapabilities: ['ALL'] };
  const is = (HostConfig: object, more: object = {}): { body: object } => ({
    body: { Image: 'alpine', HostConfig, ...more },
  });
  const spec = (ContainerSpec: object): Asked => ({
    target: '/v1.41/services/create',
    body: { TaskTemplate: { ContainerSpec } },
  });
  const specIs = (ContainerSpec: object): { body: object } => ({ body: { TaskTemplate: { ContainerSpec } } });
  table(t, [
    [nnp, create({}), is({ SecurityOpt: ['no-new-privileges'] })],
    [nnp, host({ SecurityOpt: ['no-new-privileges=true'] }), is({ SecurityOpt: ['no-new-privileges=true'] })],
    [nnp, host({ SecurityOpt: ['no-new-privileges:false'] }), is({ SecurityOpt: ['no-new-privileges'] })],
    [
      nnp,
      host({ SecurityOpt: ['no-new-privileges', 'apparmor=docker-default', 'no-new-privileges=0'] }),
      is({ SecurityOpt: ['apparmor=docker-default', 'no-new-privileges'] }),
    ],
    [{ readOnlyRoot: true }, host({ ReadonlyRootfs: false }), is({ ReadonlyRootfs: true })],
    [{ init: true }, create({}), is({ Init: true })],
    [{ runtime: 'runsc' }, host({ Runtime: 'runc' }), is({ Runtime: 'runsc' })],
    [{ dns: ['10.0.0.53'] }, host({ Dns: ['8.8.8.8'] }), is({ Dns: ['10.0.0.53'] })],
    [{ user: '1000:1000' }, create({ User: '0' }), { body: { Image: 'alpine', User: '1000:1000' } }],
    [
      { user: '1000' },
      { target: '/v1.41/containers/c/exec', body: { Cmd: ['id'], User: 'root' } },
      { body: { Cmd: ['id'], User: '1000' } },
    ],
    [drop, create({}), is({ CapDrop: ['NET_RAW', 'MKNOD'] })],
    [
      drop,
      host({ CapDrop: ['cap_net_raw', 'CHOWN'], CapAdd: ['mknod', 'SYS_TIME', 'CAP_NET_RAW'] }),
      is({ CapDrop: ['cap_net_raw', 'CHOWN', 'MKNOD'], CapAdd: ['SYS_TIME'] }),
    ],
    [drop, host({ CapAdd: 'NET_RAW' }), is({ CapDrop: ['NET_RAW', 'MKNOD'], CapAdd: [] })],
    [
      drop,
      host({ Capabilities: ['NET_RAW', 'KILL'] }),
      is({ CapDrop: ['NET_RAW', 'MKNOD'], Capabilities: ['KILL'] }),
    ],
    // CapAdd ALL wins over CapDrop ALL in the engine, so it goes; a name stays, and must be permitted.
    [dropAll, host({ CapAdd: ['all'] }), is({ CapDrop: ['ALL'], CapAdd: [] })],
    [dropAll, host({ CapAdd: ['KILL'] }), is({ CapDrop: ['ALL'], CapAdd: ['KILL'] })],
    [
      drop,
      spec({ CapabilityAdd: ['NET_RAW'] }),
      specIs({ CapabilityDrop: ['NET_RAW', 'MKNOD'], CapabilityAdd: [] }),
    ],
    [{ readOnlyRoot: true }, spec({}), specIs({ ReadOnly: true })],
    [{ init: true }, spec({}), specIs({ Init: true })],
    [{ user: '7' }, spec({ User: '0' }), specIs({ User: '7' })],
    [{ dns: ['fd00::1'] }, spec({}), specIs({ DNSConfig: { Nameservers: ['fd00::1'] } })],
  ]);
});

t.test('the old form with HostConfig fields at the top level', async (t) => {
  const init = { init: true };
  table(t, [
    [
      init,
      create({ Binds: ['/srv:/srv'] }),
      { body: { Image: 'alpine', HostConfig: { Binds: ['/srv:/srv'], Init: true } } },
    ],
    [
      init,
      create({ Privileged: true, Cpuset: '0', HostConfig: null }),
      { body: { Image: 'alpine', HostConfig: { Privileged: true, CpusetCpus: '0', Init: true } } },
    ],
    // Beside a HostConfig five of them fill gaps; the others are nothing to the engine.
    [
      init,
      create({ Memory: 5e6, CpuShares: 2, Privileged: true, HostConfig: { CpuShares: 3 } }),
      { body: { Image: 'alpine', HostConfig: { CpuShares: 3, Memory: 5e6, Init: true } } },
    ],
    [
      { remove: ['/HostConfig/Binds'] },
      create({ Binds: ['/:/host'] }),
      { body: { Image: 'alpine', HostConfig: {} } },
    ],
    [{ remove: ['/HostConfig'] }, create({ Binds: ['/:/host'], Memory: 5e6 }), { body: { Image: 'alpine' } }],
    [
      { limits: { memory: '6MiB' } },
      create({ Memory: 2 ** 40, HostConfig: { Memory: 0 } }),
      { body: { Image: 'alpine', HostConfig: { Memory: 6 * 2 ** 20 } } },
    ],
    [
      { labels: { a: 'b' } },
      create({ Init: true }),
      { body: { Image: 'alpine', Init: true, Labels: { a: 'b' } } },
    ],
  ]);
  const policy = compileAll([{ operations: ['ContainerCreate'], rewrite: init }]);
  const verdict = judge(policy, read(create({ Privileged: true })));
  t.match(
    verdict,
    { effect: 'deny', code: 'hazard', missing: [{ kind: 'privileged' }] },
    'moved, not forgotten',
  );
});

t.test('proxy', async (t) => {
  const proxy = { proxy: { http: 'http://proxy.example.com:3128', no: 'localhost' } };
  const build = send(proxy, {
    target: `/v1.41/build?buildargs=${encodeURIComponent('{"HTTP_PROXY":"http://evil","A":null,"no_proxy":null}')}`,
  });
  t.same(JSON.parse(build.query['buildargs']!), {
    A: null,
    HTTP_PROXY: 'http://proxy.example.com:3128',
    http_proxy: 'http://proxy.example.com:3128',
    NO_PROXY: 'localhost',
    no_proxy: 'localhost',
  });
  t.notMatch(build.verdict.rewrites.join('\n'), /evil|proxy\.example/, 'build arguments are masked');
  t.match(build.verdict.rewrites.join('\n'), /\?buildargs\/HTTP_PROXY: "\*\*\*" → "\*\*\*"/);
  const { body, verdict } = send(proxy, create({ Env: ['A=secret', 'http_proxy=http://evil', 'NO_PROXY'] }));
  t.same(body['Env'], [
    'A=secret',
    'HTTP_PROXY=http://proxy.example.com:3128',
    'http_proxy=http://proxy.example.com:3128',
    'NO_PROXY=localhost',
    'no_proxy=localhost',
  ]);
  t.notMatch(verdict.rewrites.join('\n'), /secret|evil|proxy\.example/, 'so is the environment');
  t.match(verdict.rewrites.join('\n'), /A=\*\*\*/);
});

t.test('images and pins', async (t) => {
  const images = {
    'docker.io/library/*': 'mirror.example.com/library/*',
    'docker.io/acme/app': 'registry.example.com/acme',
    'quay.io/**': 'mirror.example.com/quay/**',
  };
  const rewrite = { images, pin: { 'alpine:3.20': DIGEST, 'mirror.example.com/library/busybox': OTHER } };
  const mapped: [string, string][] = [
    ['alpine', 'mirror.example.com/library/alpine'],
    ['alpine:3.19', 'mirror.example.com/library/alpine:3.19'],
    ['docker.io/library/alpine:3.19', 'mirror.example.com/library/alpine:3.19'],
    ['index.docker.io/alpine', 'mirror.example.com/library/alpine'],
    [`debian@${DIGEST}`, `mirror.example.com/library/debian@${DIGEST}`],
    ['acme/app:1', 'registry.example.com/acme:1'],
    ['acme/other', 'acme/other'],
    ['quay.io/a/b/c:1', 'mirror.example.com/quay/a/b/c:1'],
    ['mirror.example.com/library/alpine', 'mirror.example.com/library/alpine'],
    [`sha256:${'0'.repeat(64)}`, `sha256:${'0'.repeat(64)}`],
    ['0'.repeat(64), '0'.repeat(64)],
    ['alpine:3.20', `mirror.example.com/library/alpine@${DIGEST}`],
    [`alpine:3.20@${OTHER}`, `mirror.example.com/library/alpine@${DIGEST}`],
    ['busybox', `mirror.example.com/library/busybox@${OTHER}`],
    ['busybox:latest', `mirror.example.com/library/busybox@${OTHER}`],
    [`busybox@${DIGEST}`, `mirror.example.com/library/busybox@${DIGEST}`],
    ['NOT:A:NAME', 'NOT:A:NAME'],
  ];
  for (const [given, expected] of mapped) {
    t.equal(send(rewrite, create({ Image: given })).body['Image'], expected, given);
    const service = send(rewrite, {
      target: '/v1.41/services/create',
      body: { TaskTemplate: { ContainerSpec: { Image: given } } },
    });
    t.same(service.body, { TaskTemplate: { ContainerSpec: { Image: expected } } }, `service ${given}`);
  }
  const pull = (query: string, headers: string[] = []): Sent =>
    send(rewrite, { target: `/v1.41/images/create?${query}`, headers });
  t.same(pull('fromImage=alpine&tag=3.19').query, {
    fromImage: 'mirror.example.com/library/alpine',
    tag: '3.19',
  });
  t.same(pull('fromImage=alpine:3.19').query, {
    fromImage: 'mirror.example.com/library/alpine',
    tag: '3.19',
  });
  t.same(pull('fromImage=alpine&tag=3.20').query, {
    fromImage: 'mirror.example.com/library/alpine',
    tag: DIGEST,
  });
  t.same(pull('fromImage=alpine:').query, { fromImage: 'mirror.example.com/library/alpine' });
  t.same(pull('fromImage=acme/x&tag=1').query, { fromImage: 'acme/x', tag: '1' });
  t.same(
    pull('fromSrc=-&repo=alpine&tag=3.20').query,
    { fromSrc: '-', repo: 'alpine', tag: '3.20' },
    'an import',
  );

  const all = send({ pin: { busybox: OTHER } }, { target: '/v1.41/images/create?fromImage=busybox' });
  t.same(all.query, { fromImage: 'busybox' }, 'a pull without a tag is of all tags, not of the pinned one');

  const auth = Buffer.from('{"username":"u","password":"p"}').toString('base64url');
  const moved = pull('fromImage=alpine&tag=1', ['X-Registry-Auth', auth]);
  t.notOk(moved.headers.includes('x-registry-auth'), 'credentials do not go to another registry');
  t.match(
    moved.verdict.rewrites.join('\n'),
    /^header x-registry-auth: "\*\*\*" → \(removed\)\n\?fromImage: /,
  );
  t.ok(pull('fromImage=acme/x&tag=1', ['X-Registry-Auth', auth]).headers.includes('x-registry-auth'));

  const everything = {
    images: { 'mirror.example.com/**': 'mirror.example.com/**', '**': 'mirror.example.com/**' },
  };
  t.equal(
    send(everything, create({ Image: 'quay.io/a:1' })).body['Image'],
    'mirror.example.com/quay.io/a:1',
    'an exception first, then all',
  );
  t.match(send(everything, create({ Image: 'r.example:5000/a' })).verdict, {
    effect: 'deny',
    code: 'rewrite',
  });
});

t.test('remove and set', async (t) => {
  const is = (HostConfig: object, more: object = {}): { body: object } => ({
    body: { Image: 'alpine', HostConfig, ...more },
  });
  table(t, [
    [{ remove: ['/HostConfig/Binds'] }, host({ Binds: ['/:/h'], Init: true }), is({ Init: true })],
    [{ remove: ['/HostConfig/Binds'] }, host({}), is({})],
    [
      { remove: ['/Labels/a~1b'] },
      create({ Labels: { 'a/b': '1', c: '2' } }),
      { body: { Image: 'alpine', Labels: { c: '2' } } },
    ],
    [{ set: { '/HostConfig/Init': true } }, create({}), is({ Init: true })],
    [{ set: { '/HostConfig/LogConfig/Type': 'none' } }, create({}), is({ LogConfig: { Type: 'none' } })],
    [{ set: { '/HostConfig/PidsLimit': 9007199254740991 } }, create({}), is({ PidsLimit: 9007199254740991 })],
    [{ set: { '/Cmd': 'id' } }, create({}), { body: { Image: 'alpine', Cmd: ['id'] } }],
    [
      { set: { '/Labels/__proto__x': 'y' } },
      create({}),
      { body: { Image: 'alpine', Labels: { __proto__x: 'y' } } },
    ],
    [
      { remove: ['?pull'], set: { '?nocache': true } },
      { target: '/build?pull=1&q=1' },
      { query: { nocache: '1', q: '1' } },
    ],
    [
      { set: { '?memory': 5, '?t': ['a', 'a'], '?target': 'x', '?cachefrom': ['c'] } },
      { target: '/build' },
      { query: { memory: '5', t: 'a', target: 'x', cachefrom: '["c"]' } },
    ],
  ]);
  // What the engine would never see needs no permit, whatever the rule removes.
  const policy = compileAll([{ operations: ['ContainerCreate'], rewrite: { remove: ['/HostConfig'] } }]);
  const odd = read(host({ Privileged: true, Binds: ['/:/h'], Brandnew: { x: 1 } }));
  t.ok(odd.unknown.length > 0);
  const verdict = judge(policy, odd);
  t.equal(verdict.effect, 'allow', verdict.reason);
  t.same(verdict.call?.unknown, []);
  t.match(judge(policy, read(create({ Brandnew: 1 }))), { effect: 'deny', code: 'hazard' });
});

t.test('a rule is judged on the rewritten call, a deny rule on both', async (t) => {
  const rewrite = { remove: ['/HostConfig/Binds'], limits: { memory: '6MiB' }, user: '1000' };
  const asked = read(host({ Binds: ['/:/h'] }));
  const plain = { operations: ['ContainerCreate'] };
  const verdictOf = (...rules: object[]): Verdict => judge(compileAll(rules), asked);
  const fits = { ...plain, rewrite, where: { user: '1000', memory: { min: 1 }, mounts: { none: ['**'] } } };
  const allowed = verdictOf(fits);
  t.equal(allowed.effect, 'allow', allowed.reason);
  t.same(inspect(allowed.call!).hazards, []);
  t.match(verdictOf({ ...fits, where: { user: '' } }), {
    effect: 'deny',
    code: 'condition',
    reason: /the call has "1000"/,
  });
  t.equal(verdictOf(plain, fits).rule, 'r1', 'the next rule may fit where the first does not');
  t.equal(verdictOf(fits, { ...plain, permit: ['*'] }).rule, 'r0');
  const never = (where: object): object => ({ ...plain, effect: 'deny', where });
  t.match(
    verdictOf(fits, never({ user: '' })),
    { effect: 'deny', observe: false, call: undefined, code: 'deny-rule', rule: 'r1' },
    'the original',
  );
  t.match(
    verdictOf(fits, never({ user: '1000' })),
    { effect: 'deny', observe: false, call: undefined, code: 'deny-rule', rule: 'r1' },
    'the result',
  );
  t.equal(verdictOf(fits, never({ user: '7' })).effect, 'allow');
  t.match(
    verdictOf(fits, { ...plain, effect: 'deny', where: { user: '1000' } }, { ...plain, permit: ['*'] }),
    { effect: 'deny', observe: false, rule: 'r1' },
    'a rule behind it does not open what a deny rule closed',
  );

  const observe = compilePolicy(
    [
      { name: 'a', text: JSON.stringify({ rules: [{ id: 'a', sources: ['*'], ...fits }] }) },
      {
        name: 'b',
        text: JSON.stringify({
          mode: 'observe',
          rules: [{ id: 'b', sources: ['*'], ...never({ user: '1000' }) }],
        }),
      },
    ],
    VOCABULARY,
  );
  if (!observe.ok) throw new Error('does not compile');
  const watched = judge(observe.policy, asked);
  t.match(watched, { effect: 'deny', observe: true, rule: 'b' });
  t.same(watched.call, allowed.call, 'a denial that is only observed sends the rewritten call');

  const again = verdictOf({ ...plain, permit: ['*'], rewrite: { user: '1000' } });
  t.equal(
    judge(compileAll([{ ...plain, permit: ['*'], rewrite: { user: '1000' } }]), again.call!).call,
    undefined,
  );
});

t.test('unknown fields stay hazards wherever a rewrite moves them', async (t) => {
  const policy = compileAll([
    { operations: ['ContainerCreate'], rewrite: { init: true, network: { default: 'n' } } },
  ]);
  const missing = (body: object): string =>
    judge(policy, read(create(body)))
      .missing.map(formatHazard)
      .join();
  t.equal(missing({ RestartPolicy: { Name: 'no', Odd: 1 } }), 'unknown-field:/HostConfig/RestartPolicy/Odd');
  t.equal(
    missing({ HostConfig: { RestartPolicy: { Odd: 1 } } }),
    'unknown-field:/HostConfig/RestartPolicy/Odd',
  );
  t.match(
    missing({ NetworkingConfig: { EndpointsConfig: { default: { IPAMConfig: { Odd: 1 } } } } }),
    /^unknown-field:\/NetworkingConfig\/EndpointsConfig\/n\/IPAMConfig\/Odd/,
  );
  t.equal(missing({ Healthcheck: { Odd: 1 } }), 'unknown-field:/Healthcheck/Odd');
  const query = compileAll([
    { operations: ['ImageBuild'], rewrite: { remove: ['?ulimits'] }, permit: ['opaque:**'] },
  ]);
  const ulimits = `ulimits=${encodeURIComponent('[{"Name":"x","Odd":1}]')}`;
  t.equal(judge(query, read({ target: `/build?${ulimits}` })).effect, 'allow', 'gone with its parameter');
  t.equal(judge(query, read({ target: `/build?${ulimits}&odd=1` })).effect, 'deny');
});

t.test('services of API versions whose fields the engine drops are denied', async (t) => {
  for (const rewrite of [{ limits: { pids: 5 } }, { dropCapabilities: ['ALL'] }]) {
    const service = (target: string): Verdict => send(rewrite, { target, body: { Name: 's' } }).verdict;
    t.match(service('/v1.40/services/create'), {
      effect: 'deny',
      code: 'rewrite',
      reason: /below API 1\.41/,
    });
    t.match(service('/v1.41/services/create'), { effect: 'allow' });
    t.match(service('/services/create'), { effect: 'allow' });
  }
});

t.test('the audit text is bounded, printable, and masks what may be secret', async (t) => {
  const text = (rewrite: object, asked: Asked): readonly string[] => send(rewrite, asked).verdict.rewrites;
  t.same(text({ limits: { memory: 8e6 } }, host({ Memory: 1e9 })), [
    '/HostConfig/Memory: 1000000000 → 8000000',
  ]);
  t.same(text({ init: true }, create({})), ['/HostConfig/Init: (nothing) → true']);
  t.same(text({ remove: ['/HostConfig/Binds'] }, host({ Binds: ['/etc:/h\n\u202e'] })), [
    '/HostConfig/Binds: ["/etc:/h\\n\\u202e"] → (removed)',
  ]);
  t.same(text({ remove: ['/Env'] }, create({ Env: ['TOKEN=abc', 'secret'] })), [
    '/Env: ["TOKEN=***", "***"] → (removed)',
  ]);
  t.same(
    text(
      { remove: ['/HostConfig/LogConfig'] },
      host({ LogConfig: { Type: 'splunk', Config: { 'splunk-token': 'abc' } } }),
    ),
    ['/HostConfig/LogConfig: {"Type": "splunk", "Config": {"splunk-token": "***"}} → (removed)'],
  );
  const large = host({ Binds: Array.from({ length: 5_000 }, (_, n) => `/a${n}:/b`) });
  const [line] = text({ remove: ['/HostConfig/Binds'] }, large);
  t.ok(line!.length < 500, `${line!.length} characters`);
  const many = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`l${n}`, 'x']));
  t.ok(text({ labels: many }, create({})).length <= 33);
});

t.test('no body makes it slow', async (t) => {
  const list = (item: (n: number) => string): string[] => Array.from({ length: 6_000 }, (_, n) => item(n));
  const map = (value: unknown): object => Object.fromEntries(list((n) => `k${n}`).map((key) => [key, value]));
  const rewrite = {
    labels: { a: 'b' },
    network: { force: 'none' },
    noNewPrivileges: true,
    dropCapabilities: ['ALL', 'NET_RAW'],
    dns: ['10.0.0.53'],
    proxy: { http: 'http://p.example' },
    remove: ['/HostConfig/Binds'],
  };
  const bodies: Record<string, object> = {
    security: { SecurityOpt: list((n) => (n % 2 === 0 ? `no-new-privileges=${n}` : `x${n}`)) },
    capabilities: { CapAdd: list((n) => `c${n}`), CapDrop: list((n) => `d${n}`) },
    binds: { Binds: list((n) => `/a${n}:/b`) },
    sysctls: { Sysctls: map('x') },
  };
  const asked: Record<string, Asked> = {
    env: create({ Env: list((n) => `HTTP_PROXY=${n}`) }),
    labels: create({ Labels: map('x') }),
    endpoints: create({ NetworkingConfig: { EndpointsConfig: map({}) } }),
  };
  for (const [name, body] of Object.entries(bodies)) {
    asked[name] = host(body);
    asked[`${name} in the old form`] = create(body);
  }
  const policy = compileAll([{ operations: ['ContainerCreate'], permit: ['*'], rewrite }]);
  for (const [name, one] of Object.entries(asked)) {
    const call = read(one);
    const started = performance.now();
    t.equal(judge(policy, call).effect, 'allow', name);
    const took = performance.now() - started;
    t.ok(took < 2_000, `${name}: ${Math.round(took)} ms`);
  }
});

t.test('mistakes in a policy are reported with their place', async (t) => {
  const wrong = (rewrite: unknown, rule: object, expected: readonly (string | RegExp)[]): void => {
    const text = JSON.stringify({
      rules: [{ id: 'r', sources: ['*'], operations: ['ContainerCreate'], rewrite, ...rule }],
    });
    const result = compilePolicy([{ name: 'p', text }], VOCABULARY);
    const found = result.ok ? [] : result.problems.map((one) => `${one.pointer}: ${one.message}`);
    t.equal(found.length, expected.length, `${JSON.stringify(rewrite)}: ${found.join(' | ')}`);
    expected.forEach((one, index) => t.match(found[index] ?? '', one, String(one)));
  };
  const build = { operations: ['ImageBuild'] };
  const R = '/rules/0/rewrite';
  wrong({ label: {} }, {}, [`${R}/label: unknown key "label". Did you mean "labels"?`]);
  wrong({}, {}, [`${R}: found an empty object`]);
  wrong({ labels: { a: '${sorce}' } }, {}, [/\/labels\/a: unknown variable .*Did you mean "source"\?/]);
  wrong({ labels: { a: '${source' } }, {}, [/\/labels\/a: .*has no "}"/]);
  wrong({ user: '7' }, { effect: 'deny' }, [/\/rewrite: a deny rule cannot rewrite/]);
  wrong({ user: '7' }, build, [
    /\/rewrite\/user: none of the operations of this rule takes "user"; it is for Cont/,
  ]);
  wrong({ images: { '**': 'x.example/**' } }, build, [/\/rewrite\/images: none of the operations/]);
  wrong({ network: {} }, {}, [/\/network: give exactly one/]);
  wrong({ network: { force: 'none', default: 'x' } }, {}, [/\/network: give exactly one/]);
  wrong({ network: { force: 'a b' } }, {}, [/\/network\/force: .*must be the name of a network/]);
  wrong({ network: { forse: 'none' } }, {}, [/\/network\/forse: unknown key .*Did you mean "force"/]);
  wrong({ network: { force: 'host' } }, {}, [
    /\/rewrite: .*hazard "host-namespace:network".*add it to permit/,
  ]);
  wrong({ network: { force: 'host' } }, { permit: ['host-namespace:network'] }, []);
  wrong({ dns: ['10.0.0.53'] }, {}, [
    /\/rewrite: the rewritten ContainerCreate has the hazard "dns:10.0.0.53"/,
  ]);
  wrong({ dns: ['10.0.0.53'] }, { permit: ['dns:10.0.0.*'] }, []);
  wrong({ dns: ['example.com'] }, {}, [/\/dns\/0: .*address of a DNS server/]);
  wrong({ limits: {} }, {}, [/\/limits: give at least one/]);
  wrong({ limits: { memory: '512 MiB' } }, {}, [/\/limits\/memory: .*a size such as "512MiB"/]);
  wrong({ limits: { memory: 512 } }, {}, [/\/limits\/memory: engines refuse less than 6MiB/]);
  wrong({ limits: { memory: '1GiB', memorySwap: '512MiB' } }, {}, [/memorySwap: .*cannot be less/]);
  wrong({ limits: { memorySwap: '512MiB' } }, {}, [/memorySwap needs memory/]);
  wrong({ limits: { cpus: 0 } }, {}, [/\/limits\/cpus: /]);
  wrong({ limits: { pids: 0.5 } }, {}, [/\/limits\/pids: /]);
  wrong({ noNewPrivileges: false }, {}, [/\/noNewPrivileges: found false; valid: "true"/]);
  wrong({ dropCapabilities: ['net_raw'] }, {}, [/\/dropCapabilities\/0: .*in capitals/]);
  wrong({ proxy: {} }, build, [/\/proxy: give at least one/]);
  wrong({ proxy: { http: 'http://p.example' } }, build, [/build-arg:HTTP_PROXY/, /build-arg:http_proxy/]);
  wrong(
    { proxy: { http: 'http://p.example' } },
    { ...build, permit: ['build-arg:*_PROXY', 'build-arg:*_proxy'] },
    [],
  );
  wrong({ images: { alpine: 'mirror.example.com/alpine' } }, {}, [
    /\/images\/alpine: .*complete name, "docker.io\/library\/alpine"/,
  ]);
  wrong({ images: { 'docker.io/library/alpine:3': 'x.example/a' } }, {}, [/leave the tag or digest out/]);
  wrong({ images: { 'docker.io/*/*': 'x.example/*' } }, {}, [/one \* or \*\*/]);
  wrong({ images: { 'docker.io/library/alpine': 'x.example/*' } }, {}, [/without a wildcard/]);
  wrong({ images: { '**': 'x.example/**' } }, {}, [
    /may match a pattern of "images" again; put "x.example\/\*\*": /,
  ]);
  wrong({ images: { 'a.example/*': 'b.example/*', 'b.example/*': 'c.example/*' } }, {}, [
    /\/images\/a\.example~1\*: .*again/,
  ]);
  wrong({ pin: { 'alpine:3': 'sha256:12' } }, {}, [/\/pin\/alpine:3: .*64 hex digits/]);
  wrong({ pin: { [`alpine@${DIGEST}`]: DIGEST } }, {}, [/expected an image with its tag/]);
  wrong({ pin: { alpine: DIGEST, 'docker.io/library/alpine:latest': DIGEST } }, {}, [/pinned twice/]);
  wrong({ remove: ['/HostConfig/Bind'] }, {}, [
    `${R}/remove/0: found "/HostConfig/Bind", but ContainerCreate has no such field. Did you mean "/HostConfig/Binds"?`,
  ]);
  wrong({ remove: ['/Binds'] }, {}, [/Did you mean "\/HostConfig\/Binds"\?/]);
  wrong({ remove: ['HostConfig'] }, {}, [/expected a JSON pointer/]);
  wrong({ remove: ['/HostConfig/Binds/0'] }, {}, [/is a list, which is set or removed as a whole/]);
  wrong({ remove: ['?pul'] }, build, [/ImageBuild has no such parameter\. Did you mean "\?pull"\?/]);
  wrong({ remove: ['/HostConfig', '/HostConfig/Binds'] }, {}, [/are about the same field/]);
  wrong({ set: { '/HostConfig/Init': 'yes' } }, {}, [
    /\/set\/~1HostConfig~1Init: not a value for .*true or false/,
  ]);
  wrong({ set: { '/HostConfig/PidsLimit': 1.5 } }, {}, [/not a value for/]);
  wrong({ set: { '/HostConfig/LogConfig': { Typ: 'none' } } }, {}, [/unknown field "\/Typ"/]);
  wrong({ set: { '/HostConfig/Init': null } }, {}, [/"remove" removes a field/]);
  wrong({ set: { '?nocache': 1 } }, build, [/expected true or false/]);
  wrong({ set: { '?memory': 2.5 } }, build, [/expected a whole number/]);
  wrong({ set: { '/HostConfig/Privileged': true } }, {}, [/has the hazard "privileged"/]);
});

t.test('the example of the reference does what the reference describes', async (t) => {
  const page = readFileSync(new URL('../../../docs/reference/policy.md', import.meta.url), 'utf8');
  const example = /## Rewrites[^]*?```json\n([^]*?)\n```/.exec(page)?.[1] ?? '';
  const rule = JSON.parse(example) as { id: string; rewrite: object };
  const policy = compileAll([rule]);
  const run = host({ Binds: ['/:/host'], Memory: 2 ** 36, NetworkMode: 'default' });
  const verdict = judge(policy, read(run));
  t.match(verdict, { effect: 'allow', rule: 'ci-run' }, verdict.reason);
  t.ok(verdict.rewrites.includes('/HostConfig/Binds: ["/:/host"] → (removed)'), verdict.rewrites.join());
  t.match(verdict.call?.body, {
    value: {
      Image: 'mirror.example.com/library/alpine',
      HostConfig: { Memory: 2 ** 31, NetworkMode: 'ci-net' },
    },
  });
  const keys = [...page.slice(page.indexOf('## Rewrites')).matchAll(/^\| (`.*?) +\|/gm)];
  const named = keys.flatMap(([, cell = '']) => [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name));
  const known = Object.keys(rewriteSchema.shape);
  t.same(
    known.filter((key) => !named.includes(key)),
    [],
    'every key is in the table',
  );
});

// ---- properties

const text = fc.constantFrom(
  '',
  'a',
  'none',
  'default',
  'host',
  'ci-net',
  'NET_RAW',
  'ALL',
  'no-new-privileges:false',
);
const amount = fc.constantFrom(-1, 0, 1, 1000, 20_000, 60_000, 100_000, 6e6, 1e9, 5e9, 2 ** 40);
const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(value, { nil: undefined });
const hostConfig = fc.record(
  {
    Binds: fc.array(fc.constantFrom('/etc:/e', '/srv:/s', 'v:/v'), { maxLength: 2 }),
    NetworkMode: text,
    Memory: amount,
    MemorySwap: amount,
    NanoCpus: amount,
    CpuQuota: amount,
    CpuPeriod: amount,
    PidsLimit: amount,
    SecurityOpt: fc.array(fc.constantFrom('no-new-privileges', 'no-new-privileges=0', 'seccomp=unconfined'), {
      maxLength: 3,
    }),
    CapAdd: fc.array(text, { maxLength: 2 }),
    CapDrop: fc.array(text, { maxLength: 2 }),
    Privileged: fc.boolean(),
    Init: fc.boolean(),
    Dns: fc.array(fc.constantFrom('10.0.0.53', '8.8.8.8'), { maxLength: 2 }),
  },
  { requiredKeys: [] },
);
const container = fc
  .record({
    top: maybe(hostConfig),
    HostConfig: fc.option(hostConfig, { nil: undefined }),
    Image: fc.constantFrom(
      'alpine',
      'alpine:3.20',
      'quay.io/x/y:1',
      'mirror.example.com/library/alpine',
      '0'.repeat(64),
      'b.example/q',
    ),
    User: maybe(text),
    Cpuset: maybe(fc.constantFrom('', '0')),
    RestartPolicy: maybe(fc.constant({ Name: 'no', Odd: 1 })),
    Env: maybe(fc.array(fc.constantFrom('A=1', 'HTTP_PROXY=x', 'no_proxy'), { maxLength: 3 })),
    Labels: maybe(fc.dictionary(fc.constantFrom('a', 'b', 'source'), text)),
    NetworkingConfig: maybe(
      fc.record({
        EndpointsConfig: fc.dictionary(text, fc.record({ NetworkID: text }, { requiredKeys: [] })),
      }),
    ),
  })
  .map(({ top, ...body }): Asked => ({ target: '/v1.41/containers/create', body: { ...top, ...body } }));
const build = fc
  .record(
    {
      memory: amount,
      memswap: amount,
      cpuquota: amount,
      cpuperiod: amount,
      networkmode: text,
      labels: fc.constantFrom('{}', '{"a":"x"}'),
      buildargs: fc.constantFrom('{"HTTP_PROXY":"x"}', '{"A":null}'),
      pull: fc.constantFrom('0', '1'),
    },
    { requiredKeys: [] },
  )
  .map((query): Asked => ({
    target: `/v1.41/build?${new URLSearchParams(Object.entries(query).map(([key, value]): [string, string] => [key, String(value)])).toString()}`,
  }));
const pull = fc
  .record({
    fromImage: fc.constantFrom('alpine', 'alpine:3.20', 'quay.io/x', 'alpine:'),
    tag: fc.constantFrom('', '3.20', DIGEST),
  })
  .map(({ fromImage, tag }): Asked => ({ target: `/v1.41/images/create?fromImage=${fromImage}&tag=${tag}` }));
const update = hostConfig.map(({ Memory, MemorySwap, NanoCpus, CpuQuota, CpuPeriod, PidsLimit }): Asked => ({
  target: '/v1.41/containers/c/update',
  body: { Memory, MemorySwap, NanoCpus, CpuQuota, CpuPeriod, PidsLimit },
}));
const requests = fc.oneof(container, container, build, pull, update);

const rewrites = fc
  .record(
    {
      labels: fc.constant({ a: '1', source: '${source} ${call} ${client}' }),
      network: fc.constantFrom(
        { force: 'none' },
        { force: 'ci-net' },
        { default: 'ci-net' },
        { default: 'default' },
      ),
      limits: fc.constantFrom(
        { memory: '512MiB' },
        { memory: '512MiB', memorySwap: '512MiB', cpus: 0.29, pids: 9 },
        { cpus: 2 },
      ),
      noNewPrivileges: fc.constant(true),
      readOnlyRoot: fc.constant(true),
      dropCapabilities: fc.constantFrom(['ALL'], ['NET_RAW', 'MKNOD']),
      user: fc.constantFrom('1000', '1000:1000'),
      init: fc.constant(true),
      dns: fc.constant(['10.0.0.53']),
      proxy: fc.constant({ http: 'http://p.example', no: 'x' }),
      images: fc.constantFrom(
        { 'docker.io/library/*': 'mirror.example.com/library/*' },
        { 'mirror.example.com/**': 'mirror.example.com/**', '**': 'mirror.example.com/**' },
      ),
      pin: fc.constantFrom({ 'alpine:3.20': DIGEST }, { 'mirror.example.com/library/alpine': OTHER }),
      remove: fc.constantFrom(
        ['/HostConfig/Binds', '?pull'],
        ['/HostConfig/CapAdd', '/HostConfig/SecurityOpt'],
        ['/Labels'],
      ),
      set: fc.constantFrom(
        { '/HostConfig/MemorySwap': -1, '/HostConfig/CpuQuota': -1 },
        { '/HostConfig/NetworkMode': 'default', '?memory': 5e9 },
        { '/Image': 'alpine:3.20', '/User': '0' },
      ),
    },
    { requiredKeys: [] },
  )
  .filter((rewrite) => Object.keys(rewrite).length > 0);
const permits = fc.constantFrom(
  ['*'],
  ['dns:**', 'build-arg:**', 'build-network:**', 'bind:**', 'host-namespace:**'],
);
const OPERATIONS = ['ContainerCreate', 'ContainerUpdate', 'ImageBuild', 'ImageCreate'];

function policyOf(rewrite: object, permit: readonly string[]): CompiledPolicy {
  return compileAll([{ operations: OPERATIONS, permit, rewrite }]);
}

t.test('INVARIANT: rewriting again changes nothing, and the original stays as it was', async (t) => {
  let changed = 0;
  fc.assert(
    fc.property(rewrites, requests, (rewrite, asked) => {
      const call = read(asked);
      const rule = policyOf(rewrite, ['*']).operations.get(call.operation.id)?.allow[0];
      if (rule?.rewrite == null) return true;
      const variables = { source: 's', call: 'c', client: 'x' };
      const before = shown(call);
      const once = applyRewrite(call, rule.rewrite, variables);
      if (shown(call) !== before) return false;
      if (once.changes.length === 0 && once.call !== call) return false;
      if (once.conflict !== '') return true;
      if (once.changes.length > 0) changed += 1;
      const twice = applyRewrite(once.call, rule.rewrite, variables);
      if (twice.changes.length > 0) throw new Error(JSON.stringify([once.changes, twice.changes], big));
      return twice.call === once.call;
    }),
    { numRuns: 1_500 },
  );
  t.ok(changed > 500, `${changed} calls were rewritten`);
});

t.test('INVARIANT: what is sent was inspected and allowed', async (t) => {
  let allowed = 0;
  fc.assert(
    fc.property(rewrites, requests, permits, (rewrite, asked, permit) => {
      const policy = policyOf(rewrite, permit);
      const call = read(asked);
      const verdict = judge(policy, call);
      if (verdict.effect === 'deny') return verdict.call === undefined;
      allowed += 1;
      const sent = verdict.call ?? call;
      // Judged anew, without any rewrite: the same rule must hold, hazard by hazard.
      const bare = compileAll([{ operations: OPERATIONS, permit }]);
      if (judge(bare, sent).effect !== 'allow') {
        throw new Error(inspect(sent).hazards.map(formatHazard).join());
      }
      // And it reads back from what is written to the engine as the same call.
      const text = renderBody(sent);
      const body = text === undefined ? undefined : (JSON.parse(text) as unknown);
      const back = read({ target: renderTarget(sent), ...(body === undefined ? {} : { body }) });
      const hazards = (of: Call): string => inspect(of).hazards.map(formatHazard).join();
      return hazards(back) === hazards(sent);
    }),
    { numRuns: 1_500 },
  );
  t.ok(allowed > 400, `${allowed} calls were allowed`);
});
