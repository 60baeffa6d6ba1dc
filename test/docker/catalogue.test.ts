import fc from 'fast-check';
import t from 'tap';
import { NEWEST_API, OLDEST_API, OPERATIONS, operationById } from '../../src/docker/catalogue.js';
import { matchOperation } from '../../src/docker/match.js';
import type { OperationSet } from '../../src/docker/catalogue/row.js';
import type { Operation } from '../../src/docker/operation.js';
import type { Schema } from '../../src/docker/schema.js';
import { SCHEMAS, resolveSchema } from '../../src/docker/schemas.js';

/** `GET /containers/json` → `ContainerList`, with parameters `ContainerInspect id=a/b`; else the kind. */
function matched(method: string, path: string): string {
  const match = matchOperation(method, path);
  if (match.kind === 'method-not-allowed') return `only ${match.allowed.join(' ')}`;
  if (match.kind === 'unknown') return 'unknown';
  const parameters = Object.entries(match.path).map(([name, value]) => ` ${name}=${value}`);
  return match.operation.id + parameters.join('');
}

function field(name: string, pointer: string): Schema {
  let schema = resolveSchema({ type: 'ref', name });
  for (const part of pointer.split('/').slice(1)) {
    if (schema.type === 'array') schema = schema.items;
    else if (schema.type === 'map') schema = schema.values;
    else if (schema.type === 'object') schema = schema.fields[part] ?? { type: 'ref', name: pointer };
    schema = resolveSchema(schema);
  }
  return schema;
}

t.test('the catalogue is whole and consistent', (t) => {
  t.equal(OPERATIONS.length, 114, 'the 108 of the swagger files, and six that are only routed');
  t.equal(new Set(OPERATIONS.map(({ id }) => id)).size, OPERATIONS.length, 'ids are unique');
  const routes = OPERATIONS.map(({ method, path }) => `${method} ${path}`);
  t.equal(new Set(routes).size, OPERATIONS.length, 'routes are unique');
  for (const operation of OPERATIONS) {
    const { id, path, spans, sets, query, headers, since, until } = operation;
    t.equal(operationById(id), operation, id);
    t.ok(sets.length > 0 && new Set(sets).size === sets.length, `${id} is in a set, and once`);
    t.ok(
      since >= OLDEST_API && since <= (until ?? NEWEST_API) && (until ?? since) <= NEWEST_API,
      `${id} range`,
    );
    t.ok(
      spans.every((name) => path.includes(`{${name}}`)),
      `${id} spans parameters that it has`,
    );
    t.ok(
      headers.every((name) => name === name.toLowerCase()),
      `${id} header names are lower-case`,
    );
    t.ok(
      Object.keys(query).every((name) => /^[A-Za-z_-]+$/.test(name)),
      `${id} query names`,
    );
  }
  t.equal(operationById('containerlist'), undefined, 'ids have one spelling');
  t.equal(operationById('__proto__'), undefined);
  t.end();
});

t.test('every template matches itself', (t) => {
  for (const { id, method, path, spans } of OPERATIONS) {
    const plain = path.replace(/\{(\w+)\}/g, 'x-$1');
    const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ` ${name}=x-${name}`);
    t.equal(matched(method, plain), id + parameters.join(''), `${method} ${plain}`);
    const [span] = spans;
    if (span !== undefined) {
      t.equal(
        matched(method, path.replace(`{${span}}`, 'own/peer')),
        `${id} ${span}=own/peer`,
        `${id} spans`,
      );
    }
  }
  t.end();
});

t.test('paths are matched as the routers of dockerd match them', (t) => {
  const table: readonly (readonly [method: string, path: string, expected: string])[] = [
    ['GET', '/_ping', 'SystemPing'],
    ['HEAD', '/_ping', 'SystemPingHead'],
    ['POST', '/_ping', 'only GET HEAD'],
    ['OPTIONS', '/_ping', 'only GET HEAD'],
    ['get', '/_ping', 'only GET HEAD'],
    ['GET', '/containers/json', 'ContainerList'],
    // A container may be called `json` or `create`.
    ['DELETE', '/containers/json', 'ContainerDelete id=json'],
    ['GET', '/containers/json/json', 'ContainerInspect id=json'],
    ['GET', '/networks/create', 'NetworkInspect id=create'],
    ['POST', '/networks/create', 'NetworkCreate'],
    ['DELETE', '/volumes/prune', 'VolumeDelete name=prune'],
    // Link aliases reach other containers, image names have slashes.
    ['POST', '/containers/own/peer/exec', 'ContainerExec id=own/peer'],
    ['GET', '/images/registry.example.com:5000/a/b/json', 'ImageInspect name=registry.example.com:5000/a/b'],
    ['DELETE', '/images/a/b:c', 'ImageDelete name=a/b:c'],
    ['GET', '/images/get', 'ImageGetAll'],
    ['GET', '/images/a/get', 'ImageGet name=a'],
    ['GET', '/containers/a/attach/ws', 'ContainerAttachWebsocket id=a'],
    ['POST', '/containers/a/attach', 'ContainerAttach id=a'],
    ['DELETE', '/containers/a/checkpoints/b', 'CheckpointDelete id=a checkpoint=b'],
    ['DELETE', '/containers/a/b/checkpoints/c', 'ContainerDelete id=a/b/checkpoints/c'],
    ['DELETE', '/containers/a/checkpoints/checkpoints/c', 'ContainerDelete id=a/checkpoints/checkpoints/c'],
    ['GET', '/networks/', 'NetworkList'],
    ['GET', '/networks/a/b', 'NetworkInspect id=a/b'],
    ['GET', '/services/a/b', 'unknown'],
    ['GET', '/services/a/b/logs', 'unknown'],
    ['PATCH', '/volumes/a', 'only DELETE GET PUT'],
    ['PUT', '/containers/create', 'only DELETE POST'],
    ['GET', '/containers/__proto__/json', 'ContainerInspect id=__proto__'],
  ];
  for (const [method, path, expected] of table) t.equal(matched(method, path), expected, `${method} ${path}`);
  const match = matchOperation('GET', '/_ping');
  t.equal(match.kind === 'match' && Object.getPrototypeOf(match.path), null, 'no prototype');
  t.end();
});

t.test('nothing matches what dockerd does not serve, or not there', (t) => {
  const paths = [
    '',
    '/',
    '//',
    '///',
    '/debug/pprof',
    '/debug/pprof/',
    '/debug/pprof/heap',
    '/debug/vars',
    '/containers',
    '/containers/',
    '/containers//',
    '/containers//json',
    '/containers//a/json',
    '/containers/a//json',
    '/containers/a//b/json',
    '/containers/json/',
    '/Containers/json',
    '/images/',
    '/images//json',
    '/volumes/',
    '/plugins//json',
    '/exec//start',
    '/services/',
    '/_ping/',
    '/constructor/a',
    '/__proto__/a',
    'containers/json',
    '/v1.41/containers/json',
  ];
  for (const path of paths) {
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE']) {
      t.equal(matchOperation(method, path).kind, 'unknown', `${method} ${JSON.stringify(path)}`);
    }
  }
  t.end();
});

t.test('any path has an answer, and the match equals the path', (t) => {
  const words = OPERATIONS.flatMap(({ path }) => path.split('/')).filter((word) => !word.includes('{'));
  const segment = fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 6 }), fc.constantFrom('', '..'));
  const path = fc.array(segment, { maxLength: 7 }).map((segments) => `/${segments.join('/')}`);
  const method = fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH');
  const kinds: Record<string, number> = {};
  fc.assert(
    fc.property(method, path, (method, path) => {
      const match = matchOperation(method, path);
      kinds[match.kind] = (kinds[match.kind] ?? 0) + 1;
      if (match.kind === 'match') {
        const { operation } = match;
        const filled = operation.path.replace(/\{(\w+)\}/g, (_, name: string) => match.path[name] ?? '?');
        if (operation.method !== method || (filled !== path && path !== '/networks/')) return false;
        return Object.entries(match.path).every(
          ([name, value]) => value !== '' && (operation.spans.includes(name) || !value.includes('/')),
        );
      }
      if (match.kind === 'unknown') return true;
      return match.allowed.every((other) => matchOperation(other, path).kind === 'match');
    }),
    { numRuns: 5000 },
  );
  t.ok(
    Object.values(kinds).every((count) => count > 8) && Object.keys(kinds).length === 3,
    JSON.stringify(kinds),
  );
  t.end();
});

t.test('matching takes time linear in the path', (t) => {
  // Each twice as long may take about twice the time; what is quadratic takes 400 times as long for 20 times the path.
  const shapes = [
    (n: number) => `/containers/${'a/'.repeat(n)}json`,
    (n: number) => `/containers/${'checkpoints/'.repeat(n)}b`,
    (n: number) => `/images/${'/'.repeat(n)}`,
    (n: number) => `/${'a'.repeat(n)}`,
  ];
  const fastest = (path: string): number => {
    let best = Infinity;
    for (let round = 0; round < 9; round++) {
      const start = performance.now();
      for (let run = 0; run < 5; run++) matchOperation('DELETE', path);
      best = Math.min(best, performance.now() - start);
    }
    return best;
  };
  for (const shape of shapes) {
    const small = fastest(shape(5_000));
    const large = fastest(shape(100_000));
    t.ok(large < 100 * small + 5, `${small.toFixed(3)} ms, ${large.toFixed(3)} ms for ${shape(2)}`);
  }
  t.end();
});

t.test('read-only calls that leak, write or make the daemon connect out are not in the read set', (t) => {
  const inSet = (set: OperationSet): string[] =>
    OPERATIONS.filter(({ sets }) => sets.includes(set)).map(({ id }) => id);
  const read = inSet('read');
  for (const id of ['ContainerList', 'ImageInspect', 'SystemPing', 'SystemEvents', 'ContainerLogs']) {
    t.ok(read.includes(id), id);
  }
  const kept = [
    'ContainerArchive',
    'ContainerArchiveInfo',
    'ContainerExport',
    'ContainerAttachWebsocket',
    'ImageGet',
    'ImageGetAll',
    'ImageSearch',
    'DistributionInspect',
    'GetPluginPrivileges',
    'SwarmInspect',
    'SwarmUnlockkey',
  ];
  for (const id of kept) t.notOk(read.includes(id), id);
  for (const id of read) t.equal(operationById(id)?.writes, false, `${id} does not write`);
  t.equal(operationById('ContainerAttachWebsocket')?.writes, true, 'a GET that writes');
  t.end();
});

t.test('what operations read and answer', (t) => {
  const expected: readonly (readonly [id: string, part: Partial<Operation>])[] = [
    ['ContainerWait', { response: 'stream', writes: false }],
    ['ContainerStop', { response: 'stream', writes: true }],
    ['ExecStart', { response: 'hijack' }],
    ['Session', { response: 'hijack', body: { kind: 'none' } }],
    ['Grpc', { response: 'hijack', since: 40 }],
    ['ImageAttestations', { since: 55 }],
    ['ContainerCopy', { until: 44 }],
    ['ImageBuild', { body: { kind: 'stream', contentType: 'application/x-tar', required: false } }],
    ['ImageLoad', { body: { kind: 'stream', contentType: 'application/x-tar', required: true } }],
    ['PluginSet', { body: { kind: 'json', schema: { type: 'ref', name: 'StringList' }, required: true } }],
  ];
  for (const [id, part] of expected) t.match(operationById(id), part, id);
  const build = operationById('ImageBuild')?.query;
  t.equal(build?.['t']?.type, 'strings');
  t.equal(build?.['extrahosts']?.type, 'strings');
  t.equal(build?.['pull']?.type, 'boolean');
  t.equal(build?.['memory']?.type, 'integer');
  t.equal(build?.['platform']?.type, 'string');
  t.equal(operationById('ImageInspect')?.query['platform']?.type, 'json');
  for (const { id, query } of OPERATIONS) {
    if (query['filters'] !== undefined) t.equal(query['filters'].type, 'json', `${id} filters`);
  }
  t.end();
});

t.test('schemas', (t) => {
  const check = (schema: Schema, where: string, depth: number): void => {
    if (depth > 20) throw new Error(`${where} is too deep or refers to itself`);
    const resolved = resolveSchema(schema);
    if (resolved.type === 'array') check(resolved.items, `${where}/[]`, depth + 1);
    else if (resolved.type === 'map') check(resolved.values, `${where}/{}`, depth + 1);
    else if (resolved.type === 'object') {
      const names = Object.keys(resolved.fields);
      const folded = new Set(names.map((name) => name.toLowerCase()));
      if (folded.size !== names.length) throw new Error(`two fields of ${where} differ by case alone`);
      for (const name of names) check(resolved.fields[name] ?? schema, `${where}/${name}`, depth + 1);
    }
  };
  const used = new Set<string>();
  for (const { id, body, query } of OPERATIONS) {
    const parameters = Object.values(query).flatMap((parameter) =>
      parameter.type === 'json' ? [parameter.schema] : [],
    );
    for (const schema of body.kind === 'json' ? [body.schema, ...parameters] : parameters) {
      t.doesNotThrow(() => check(schema, id, 0), id);
      if (schema.type === 'ref') used.add(schema.name);
    }
  }
  for (const name of Object.keys(SCHEMAS)) t.doesNotThrow(() => check({ type: 'ref', name }, name, 0), name);
  t.throws(() => resolveSchema({ type: 'ref', name: 'Nothing' }), /no schema is named Nothing/);
  t.ok(used.has('ContainerCreate') && used.has('ServiceSpec'));

  const types: readonly (readonly [name: string, pointer: string, expected: Schema])[] = [
    ['ContainerCreate', '/HostConfig/Privileged', { type: 'boolean' }],
    ['ContainerCreate', '/Privileged', { type: 'boolean' }],
    ['ContainerCreate', '/HostConfig/ExtraHosts', { type: 'array', items: { type: 'string' } }],
    ['ContainerCreate', '/Cmd', { type: 'strslice' }],
    ['ContainerCreate', '/HostConfig/Memory', { type: 'integer', bits: 64 }],
    ['ContainerCreate', '/HostConfig/BlkioWeight', { type: 'integer', bits: 16, unsigned: true }],
    ['ContainerCreate', '/HostConfig/PortBindings/80/0/HostPort', { type: 'string' }],
    ['ContainerCreate', '/HostConfig/Mounts/0/VolumeOptions/DriverConfig/Options/o', { type: 'string' }],
    [
      'ContainerCreate',
      '/HostConfig/Mounts/0/TmpfsOptions/Mode',
      { type: 'integer', bits: 32, unsigned: true },
    ],
    ['ContainerCreate', '/Healthcheck/Interval', { type: 'integer', bits: 64 }],
    ['ServiceSpec', '/TaskTemplate/ContainerSpec/Mounts/0/BindOptions/NonRecursive', { type: 'boolean' }],
    ['ServiceSpec', '/UpdateConfig/MaxFailureRatio', { type: 'float' }],
    ['SecretSpec', '/Data', { type: 'bytes' }],
    ['NetworkConnect', '/EndpointConfig/GwPriority', { type: 'integer', bits: 64 }],
  ];
  for (const [name, pointer, expected] of types) t.same(field(name, pointer), expected, name + pointer);
  t.end();
});

// INVARIANT of schemas/containers.ts: engines that honour HostConfig fields at the top level must not find there one
// that the inspectors never saw.
t.test('every HostConfig field is known at the top level of ContainerCreate', (t) => {
  const create = field('ContainerCreate', '');
  const host = field('HostConfig', '');
  const known = create.type === 'object' ? create.fields : {};
  const honoured = host.type === 'object' ? Object.entries(host.fields) : [];
  t.ok(honoured.length > 60);
  for (const [name, schema] of honoured) t.equal(known[name], schema, name);
  t.end();
});
