import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { runCheck } from '../../src/cli/check.js';
import { configJsonSchema } from '../../src/config/config.js';
import { OPERATIONS } from '../../src/docker/catalogue.js';
import type { Call } from '../../src/docker/call.js';
import type { JsonValue } from '../../src/base/json.js';
import { readCall, readHead } from '../../src/docker/read.js';
import { renderTarget } from '../../src/docker/render.js';
import { FACTS, HAZARDS } from '../../src/hazards/catalogue.js';
import { inspect } from '../../src/hazards/inspect.js';
import { VOCABULARY } from '../../src/policy/vocabulary.js';
import { compilePolicy, type CompiledPolicy } from '../../src/policy/compile.js';
import { decide, sourcesOf } from '../../src/policy/decide.js';
import { policyJsonSchema } from '../../src/policy/schema.js';
import { hazard } from './words.js';

const folder = fileURLToPath(new URL('../../../policies/', import.meta.url));
const read = (name: string): string => readFileSync(`${folder}${name}`, 'utf8');

function shipped(name: string): CompiledPolicy {
  const result = compilePolicy([{ name, text: read(name) }], VOCABULARY);
  if (!result.ok)
    throw new Error(result.problems.map((p) => `${name}:${p.pointer}: ${p.message}`).join('\n'));
  return result.policy;
}

async function check(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', ''];
  const sink = (add: (text: string) => void) =>
    ({ write: (text: string) => (add(text), true) }) as unknown as NodeJS.WritableStream;
  const code = await runCheck(args, { stdout: sink((s) => (out += s)), stderr: sink((s) => (err += s)) });
  return { code, out, err };
}

t.test('the published JSON Schemas are fresh (npm run schema)', async (t) => {
  const expected = {
    'policy.schema.json': policyJsonSchema(VOCABULARY),
    'config.schema.json': configJsonSchema(),
  };
  for (const [name, schema] of Object.entries(expected)) {
    t.equal(read(name), `${JSON.stringify(schema, null, 2)}\n`, name);
  }
});

t.test('every word of the catalogues can be used in a policy', async (t) => {
  const rules = OPERATIONS.map(({ id }) => ({ id: `op-${id}`, sources: ['*'], operations: [id] }));
  const permit = HAZARDS.map((one) => one.permit);
  rules.push({ id: 'permits', sources: ['*'], operations: ['*'], permit } as never);
  const sample = { string: '**', strings: { each: ['**'] }, number: { min: 0 }, boolean: true };
  const where = Object.fromEntries(FACTS.map((fact) => [fact.name, sample[fact.type]]));
  rules.push({ id: 'facts', sources: ['some'], operations: ['*'], where } as never);
  const sources = { some: { listener: ['unix'] } };
  const result = compilePolicy([{ name: 'all', text: JSON.stringify({ sources, rules }) }], VOCABULARY);
  t.same(result.ok ? [] : result.problems, []);
  const ids = new Set<string>(OPERATIONS.map((one) => one.id));
  for (const fact of FACTS) {
    const unknown = fact.operations.filter((id) => id !== '*' && !ids.has(id));
    t.same(unknown, [], `${fact.name} names operations of the catalogue`);
  }
});

interface Asked {
  id: string;
  client?: object;
  facts?: Record<string, never>;
  hazards?: string[];
}

function verdict(policy: CompiledPolicy, { id, client = {}, facts = {}, hazards = [] }: Asked): string {
  const operation = OPERATIONS.find((one) => one.id === id);
  if (operation === undefined) throw new Error(`no operation ${id}`);
  const full = {
    listener: 'tcp',
    address: '203.0.113.5',
    port: 1,
    certificate: [],
    tokenSha256: '',
    ...client,
  };
  const body = operation.body.kind === 'json' ? { kind: 'json', value: {} } : { kind: 'none' };
  const parts = { path: {}, query: {}, headers: {}, body, unknown: [], apiVersion: '1.41', upgrade: '' };
  const call = { id: 'c', operation, client: full, ...parts } as unknown as Call;
  const inspection = { facts, hazards: hazards.map(hazard) };
  // The facts and hazards of a row also stand for what is found in the call as a rule rewrites it.
  return decide(policy, call, sourcesOf(policy, call.client), inspection, () => inspection).effect;
}

function table(
  t: Test,
  name: string,
  rows: readonly [...([string] | [string, Partial<Asked>]), 'allow' | 'deny'][],
): void {
  const policy = shipped(name);
  for (const row of rows) {
    const more = row.length === 3 ? row[1] : {};
    const expected = row.length === 3 ? row[2] : row[1];
    t.equal(
      verdict(policy, { id: row[0], ...more }),
      expected,
      `${row[0]} ${JSON.stringify(more)}: ${expected}`,
    );
  }
}

const unix = { listener: 'unix', address: '' };

t.test('default.json', async (t) => {
  table(t, 'default.json', [
    ['SystemPing', 'allow'],
    ['SystemPingHead', 'allow'],
    ['SystemVersion', 'allow'],
    ['ContainerList', 'allow'],
    ['SystemInfo', 'deny'],
    ['ContainerInspect', 'deny'],
    ['ImageBuild', 'deny'],
    ['ImageBuild', { client: { address: '127.0.0.1' } }, 'deny'],
    ['ContainerCreate', 'deny'],
    ['ContainerExec', 'deny'],
    ['ImageBuild', { client: unix, hazards: ['opaque:context'] }, 'deny'],
    ['ImageBuild', { client: unix, hazards: ['download:https://a.example/x'] }, 'allow'],
    ['ImageBuild', { client: unix, hazards: ['download:http://a.example/x'] }, 'deny'],
    ['ImageBuild', { client: unix, hazards: ['remote-context:http://203.0.113.9/x'] }, 'deny'],
    ['ImageBuild', { client: unix, hazards: ['build-network:host'] }, 'deny'],
    ['ContainerCreate', { client: unix }, 'allow'],
    ['ContainerCreate', { client: unix, hazards: ['publish:127.0.0.1:8080/tcp'] }, 'allow'],
    ['ContainerCreate', { client: unix, hazards: ['publish:0.0.0.0:8080/tcp'] }, 'deny'],
    ['ContainerCreate', { client: unix, hazards: ['bind:/srv'] }, 'deny'],
    ['ContainerCreate', { client: unix, hazards: ['privileged'] }, 'deny'],
    ['ContainerCreate', { client: unix, hazards: ['host-namespace:pid'] }, 'deny'],
    ['ContainerCreate', { client: unix, hazards: ['docker-socket'] }, 'deny'],
    ['ContainerStart', { client: unix }, 'allow'],
    ['ContainerWait', { client: unix }, 'allow'],
    ['ContainerLogs', { client: unix }, 'allow'],
    ['ContainerAttach', { client: unix, hazards: ['attach-stdin'] }, 'allow'],
    ['ContainerDelete', { client: unix }, 'allow'],
    ['ContainerExec', { client: unix }, 'allow'],
    ['ExecStart', { client: unix }, 'allow'],
    ['ContainerExec', { client: unix, hazards: ['exec-privileged'] }, 'deny'],
    ['ImageCreate', { client: unix }, 'allow'],
    ['ImageList', { client: unix }, 'allow'],
    ['NetworkCreate', { client: unix }, 'allow'],
    ['NetworkCreate', { client: unix, hazards: ['network-driver:macvlan'] }, 'deny'],
    ['VolumeCreate', { client: unix }, 'allow'],
    ['VolumeCreate', { client: unix, hazards: ['volume-option:device=/etc'] }, 'deny'],
    ['SwarmInit', { client: unix }, 'deny'],
    ['PluginPull', { client: unix }, 'deny'],
    ['SecretCreate', { client: unix }, 'deny'],
  ]);
});

t.test('read-only.json', async (t) => {
  const local = { address: '127.0.0.1' };
  table(t, 'read-only.json', [
    ['SystemPing', 'deny'],
    ['ContainerList', { client: local }, 'allow'],
    ['ContainerInspect', { client: { address: '::1' } }, 'allow'],
    ['SystemEvents', { client: unix }, 'allow'],
    ['ContainerStats', { client: unix }, 'allow'],
    ['ContainerCreate', { client: unix }, 'deny'],
    ['ContainerStop', { client: unix }, 'deny'],
    ['ContainerExec', { client: local }, 'deny'],
    ['ImageBuild', { client: local }, 'deny'],
    ['ContainerArchive', { client: unix }, 'deny'],
    ['ContainerExport', { client: unix }, 'deny'],
    ['ImageGet', { client: unix }, 'deny'],
    ['SwarmUnlockkey', { client: unix }, 'deny'],
    ['ContainerAttachWebsocket', { client: unix }, 'deny'],
    ['DistributionInspect', { client: unix, hazards: ['daemon-connects:registry.example.com'] }, 'deny'],
  ]);
  const policy = shipped('read-only.json');
  const writes = OPERATIONS.filter(
    (one) => one.writes && verdict(policy, { id: one.id, client: unix }) === 'allow',
  );
  t.same(
    writes.map((one) => one.id),
    [],
    'nothing that writes passes',
  );
});

t.test('ci-build.json', async (t) => {
  const ci = { address: '10.20.1.1', certificate: ['CN=ci-7'] };
  const facts = (value: object): Record<string, never> => value as Record<string, never>;
  const tags = facts({ 'build.tags': ['registry.example.com/ci/app:1'], 'build.from': ['alpine:3'] });
  const create = facts({
    image: 'registry.example.com/ci/app:1',
    'container.name': 'ci-1',
  });
  table(t, 'ci-build.json', [
    ['SystemPing', 'deny'],
    ['SystemPing', { client: { address: '10.20.1.1' } }, 'deny'],
    ['SystemPing', { client: { certificate: ['CN=ci-7'] } }, 'deny'],
    ['SystemPing', { client: ci }, 'allow'],
    ['ImageBuild', { client: ci, facts: tags }, 'allow'],
    ['ImageBuild', { client: ci, facts: tags, hazards: ['opaque:context'] }, 'deny'],
    ['ImageBuild', { client: ci, facts: { ...tags, 'build.from': ['evil:1'] as never } }, 'deny'],
    ['ImageBuild', { client: ci, facts: tags, hazards: ['remote-context:x'] }, 'deny'],
    ['ImageBuild', { client: ci, facts: facts({ 'build.tags': ['alpine:latest'] }) }, 'deny'],
    ['ImageBuild', { client: ci, facts: facts({ 'build.tags': [] }) }, 'deny'],
    ['ContainerCreate', { client: ci, facts: create }, 'allow'],
    ['ContainerCreate', { client: ci, facts: create, hazards: ['privileged'] }, 'deny'],
    ['ContainerCreate', { client: ci, facts: { ...create, image: 'alpine:latest' as never } }, 'deny'],
    ['ContainerStart', { client: ci, facts: facts({ name: 'ci-1' }) }, 'allow'],
    ['ContainerStart', { client: ci, facts: facts({ name: 'a'.repeat(64) }) }, 'allow'],
    ['ContainerStart', { client: ci, facts: facts({ name: 'prod-db' }) }, 'deny'],
    ['ContainerList', { client: ci }, 'deny'],
    ['ImagePush', { client: ci, facts: facts({ image: 'registry.example.com/ci/app:1' }) }, 'allow'],
    ['ContainerExec', { client: ci }, 'deny'],
  ]);

  const client = { listener: 'tls', port: 1, tokenSha256: '', ...ci };
  const limits = { target: 16_384, jsonDepth: 64, jsonBody: 1 << 20 };
  const sent = (target: string, body?: object): JsonValue | undefined => {
    const bytes = body === undefined ? undefined : new TextEncoder().encode(JSON.stringify(body));
    const rawHeaders = ['Host', 'docker'];
    if (bytes !== undefined)
      rawHeaders.push('Content-Type', 'application/json', 'Content-Length', String(bytes.length));
    const head = readHead({ method: 'POST', target, rawHeaders, httpVersion: '1.1' }, limits);
    const read = readCall(head, bytes, 'c7', client, limits);
    // As the guard first looks at a build: its context is still on its way.
    const pending = {
      kind: 'stream',
      contentType: 'application/x-tar',
      present: true,
      context: 'pending',
    } as const;
    const call: Call = read.operation.id === 'ImageBuild' ? { ...read, body: pending } : read;
    const policy = shipped('ci-build.json');
    const rewritten = decide(policy, call, sourcesOf(policy, client), inspect(call)).call;
    return rewritten?.body.kind === 'json' ? rewritten.body.value : renderTarget(rewritten ?? call);
  };
  t.same(sent('/v1.41/containers/create?name=ci-1', { Image: 'registry.example.com/ci/app:1', Memory: -1 }), {
    Image: 'registry.example.com/ci/app:1',
    Labels: { 'com.example.run-by': 'ci 10.20.1.1', 'com.example.call': 'c7' },
    HostConfig: { Memory: 2 ** 32, PidsLimit: 1024, SecurityOpt: ['no-new-privileges'] },
  });
  const build = new URL(`http://docker${sent('/v1.41/build?t=registry.example.com/ci/app:1') as string}`);
  t.same(JSON.parse(build.searchParams.get('labels') ?? ''), {
    'com.example.built-by': 'ci 10.20.1.1',
    'com.example.call': 'c7',
  });
  t.equal(build.searchParams.get('memory'), String(2 ** 32));
});

t.test('breakwater check', async (t) => {
  const directory = t.testdir({
    'a.json': '{"rules": [{"id": "a", "sources": ["*"], "operations": ["Ping"]}]}',
    'b.json': '{}',
  });
  t.match(await check(folder), { code: 0, out: /^ok: 4 files, \d+ rules\n$/, err: '' });
  t.match(await check(`${folder}default.json`), { code: 0, out: /^ok: 1 file, / });
  const broken = await check(directory);
  t.match(broken, { code: 1, err: '' });
  t.match(broken.out, /^[^\n]*a\.json:\/rules\/0\/operations\/0: unknown operation "Ping"\.[^\n]*\n$/);
  t.match(await check(`${directory}/missing`), { code: 2, out: '', err: /missing/ });
  t.match(await check(), { code: 2, out: '', err: /name at least one/ });
  t.match(await check('--nope', 'x'), { code: 2, out: '', err: /^breakwater check: [^\n]*--nope[^\n]*\n$/ });
  t.match(await check('--help'), { code: 0, out: /^breakwater check PATH/ });
  t.ok(readdirSync(folder).includes('policy.schema.json'));
});
