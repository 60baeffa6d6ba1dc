import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { scanAnswer } from '../../src/docker/answers/scan.js';
import { isShareable, type Call } from '../../src/docker/call.js';
import type { Place } from '../../src/docker/catalogue/traits.js';
import { byOperation, operationOf, operationsThat, OPERATIONS } from '../../src/docker/catalogue.js';
import type { Operation, OperationId } from '../../src/docker/operation.js';
import type { Schema } from '../../src/docker/schema.js';
import { resolveSchema } from '../../src/docker/schemas.js';

// What the catalogue says that operations do: every row must agree with its own path, parameters and body, and what a
// path or a body suggests must be said. A new row is held to all of it.

const root = path.resolve(fileURLToPath(new URL('../../..', import.meta.url)));
const ids = (are: (operation: Operation) => boolean): readonly string[] => operationsThat(are);
const isEngineWide = ({ does }: Operation): boolean => typeof does.about === 'object';

/** The type of a field of the body; undefined where there is none. */
function bodyType({ body }: Operation, steps: readonly string[]): Schema['type'] | undefined {
  if (body.kind !== 'json') return undefined;
  let schema: Schema | undefined = resolveSchema(body.schema);
  for (const step of steps) {
    schema =
      schema?.type === 'object' && Object.hasOwn(schema.fields, step) ? schema.fields[step] : undefined;
    if (schema !== undefined) schema = resolveSchema(schema);
  }
  return schema?.type;
}

/** Paths of the fields with this name and type, through objects alone. */
function fieldsNamed(schema: Schema, name: string, type: Schema['type'], depth = 5): string[] {
  const resolved = resolveSchema(schema);
  if (resolved.type !== 'object' || depth === 0) return [];
  return Object.entries(resolved.fields).flatMap(([key, field]) => [
    ...(key === name && resolveSchema(field).type === type ? [key] : []),
    ...fieldsNamed(field, name, type, depth - 1).map((rest) => `${key}/${rest}`),
  ]);
}

const bodyFields = ({ body }: Operation, name: string, type: Schema['type']): string[] =>
  body.kind === 'json' ? fieldsNamed(body.schema, name, type) : [];

/** Is there such a place in the calls of the operation? */
function hasPlace(operation: Operation, { in: part, steps }: Place): boolean {
  const [first = ''] = steps;
  if (part === 'body') return bodyType(operation, steps) === 'string';
  if (steps.length !== 1) return false;
  return part === 'path' ? operation.path.includes(`{${first}}`) : operation.query[first] !== undefined;
}

t.test('a misspelt operationId does not compile', async (t) => {
  const misspelt = (): unknown => [
    // @ts-expect-error: there is no such operation.
    operationOf('ContainerCreat'),
    // @ts-expect-error: ids have one spelling.
    new Set<OperationId>(['containerCreate']),
    // @ts-expect-error: nor is it one for a map.
    new Map<OperationId, number>([['ImagePul', 1]]),
  ];
  t.ok(misspelt);
  for (const operation of OPERATIONS) t.equal(operationOf(operation.id), operation, operation.id);
});

t.test('places of traits are places of the operation', async (t) => {
  for (const operation of OPERATIONS) {
    const { id, does, query } = operation;
    for (const place of [...(does.namesAt ?? []), does.newNameAt, does.filesAt]) {
      if (place !== undefined) t.ok(hasPlace(operation, place), `${id} ${place.in} ${place.steps.join('/')}`);
    }
    for (const steps of [does.runsImageAt, does.userAt]) {
      if (steps !== undefined) t.equal(bodyType(operation, steps), 'string', `${id} ${steps.join('/')}`);
    }
    if (does.labelsAt === 'labels') t.equal(query['labels']?.type, 'json', `${id} ?labels`);
    else {
      for (const steps of does.labelsAt ?? []) {
        t.equal(bodyType(operation, steps), 'map', `${id} ${steps.join('/')}`);
      }
    }
    if (does.limitedAt === 'query') t.equal(query['memory']?.type, 'integer', `${id} ?memory`);
    else if (does.limitedAt !== undefined) {
      const memory = does.runs === 'service' ? 'MemoryBytes' : 'Memory';
      t.equal(bodyType(operation, [...does.limitedAt, memory]), 'integer', `${id} ${memory}`);
    }
    if (does.uniqueNameAt !== undefined) t.equal(bodyType(operation, does.uniqueNameAt), 'boolean', id);
    if (does.changes === true) t.equal(query['changes']?.type, 'strings', `${id} ?changes`);
    if (does.tags === 't') t.equal(query['t']?.type, 'strings', `${id} ?t`);
    if (does.tags === 'repo') t.ok(query['repo'] !== undefined && query['tag'] !== undefined, `${id} ?repo`);
    if (does.pulls === 'image') t.ok(query['fromImage'] !== undefined, `${id} ?fromImage`);
  }
});

t.test('every parameter of a path names something', async (t) => {
  for (const operation of OPERATIONS) {
    const { id, does } = operation;
    const named = (does.namesAt ?? []).filter((place) => place.in === 'path').map(({ steps }) => steps[0]);
    const parameters = [...operation.path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
    // Nodes and plugins are the engine's; a checkpoint belongs to its container; a registry's image is nowhere yet.
    const unnamed = parameters.filter(
      (name) => name !== 'checkpoint' && !named.includes(name) && !isEngineWide(operation),
    );
    t.same(unnamed, does.looksUp === 'image' ? ['name'] : [], id);
    if (isEngineWide(operation)) t.equal(does.namesAt, undefined, `${id} names nothing besides`);
  }
});

t.test('lists, prunes and other reads can be limited by labels, or are engine-wide', async (t) => {
  for (const operation of OPERATIONS) {
    const { id, does, query } = operation;
    if (does.about === 'filtered') t.equal(query['filters']?.type, 'json', id);
    else if (query['filters'] !== undefined) {
      t.ok(does.about === 'images' || does.looksUp === 'images' || isEngineWide(operation), id);
    }
  }
});

t.test('an image that a body names is one that runs', async (t) => {
  for (const operation of OPERATIONS) {
    const { id, does } = operation;
    const images = bodyFields(operation, 'Image', 'string');
    // The config of a commit is kept with the image; its `Image` is what the container was made of.
    if (does.makesImages === 'commit') continue;
    t.same(images, does.runsImageAt === undefined ? [] : [does.runsImageAt.join('/')], id);
    t.equal(does.runsImageAt !== undefined, does.runs !== undefined, `${id} runs`);
  }
});

t.test('what a path and method suggest is said', async (t) => {
  for (const operation of OPERATIONS) {
    const { id, method, path: route, does, writes } = operation;
    if (method === 'POST' && /\/(?:create|load|checkpoints|exec)$|^\/(?:build|commit)$/.test(route)) {
      t.ok(does.creates, `${id} creates`);
    }
    if (method === 'DELETE') t.ok(does.removes, `${id} removes`);
    if (route.endsWith('/prune') && !isEngineWide(operation)) t.ok(does.removes, `${id} removes`);
    if (route.endsWith('/update') || (method === 'PUT' && !route.endsWith('/archive'))) {
      t.ok(does.updates ?? does.swarmAction, `${id} updates`);
    }
    if (/\/containers\/\{id\}\/(?:start|restart)$/.test(route)) t.equal(does.starts, 'container', id);
    if (/\/\{id\}\/(?:exec|attach|attach\/ws)$/.test(route)) t.ok(does.enters, `${id} enters`);
    if (/\/(?:archive|copy)$/.test(route)) t.ok(does.filesAt, `${id} files`);
    if (route.includes('/checkpoint')) t.ok(does.checkpoints, `${id} checkpoints`);
    const acts = does.creates ?? does.removes ?? does.updates ?? does.starts ?? does.enters ?? does.runs;
    if (acts !== undefined) t.ok(writes, `${id} writes`);
    if (does.discovers !== undefined) t.notOk(writes, `${id} only reads`);
  }
});

t.test('labels', async (t) => {
  for (const operation of OPERATIONS) {
    const { id, does } = operation;
    // The labels of the cluster and of its nodes are the engine's.
    const has = bodyType(operation, ['Labels']) !== undefined && !isEngineWide(operation);
    if (has) t.same(does.labelsAt?.[0], ['Labels'], id);
    if (does.runs !== undefined || does.builds === 'dockerfile')
      t.ok(does.labelsAt, `${id} labels what it makes`);
    if (does.inheritsLabels === true) t.ok(does.labelsAt !== undefined && does.creates !== undefined, id);
  }
});

t.test('registries', async (t) => {
  for (const { id, headers, does } of OPERATIONS) {
    if (!headers.includes('x-registry-auth')) continue;
    t.ok(does.pulls ?? does.pushes ?? does.looksUp ?? does.runs, `${id} talks to a registry`);
  }
});

t.test('connections', async (t) => {
  for (const { id, does, response } of OPERATIONS) {
    if (does.upgrade !== undefined || does.opaque !== undefined) t.equal(response, 'hijack', id);
  }
  t.same(
    ids(({ does }) => does.upgrade === 'h2c'),
    ids(({ does }) => does.opaque !== undefined),
    'what speaks HTTP/2 is not read',
  );
});

/** What dockerd writes, and the ids in it. */
const ANSWERS: readonly (readonly [OperationId, string, string, readonly string[]])[] = [
  ['ContainerCreate', '', `{"Id":"${'a'.repeat(64)}","Warnings":[]}\n`, [`container ${'a'.repeat(64)}`]],
  ['ImageCommit', '', `{"Id":"sha256:${'b'.repeat(64)}"}\n`, [`image ${'b'.repeat(64)}`]],
  ['ImageCreate', '', `{"status":"sha256:${'c'.repeat(64)}"}\r\n`, [`image ${'c'.repeat(64)}`]],
  ['ImageLoad', '', `{"stream":"Loaded image: app:1\\n"}\r\n`, ['image app:1']],
  [
    'ImageLoad',
    '',
    `{"stream":"Loaded image ID: sha256:${'d'.repeat(64)}\\n"}\r\n`,
    [`image ${'d'.repeat(64)}`],
  ],
  [
    'ImageBuild',
    '1.41',
    `{"stream":" ---\\u003e Running in ${'e'.repeat(12)}\\n"}\r\n{"aux":{"ID":"sha256:${'f'.repeat(64)}"}}\r\n{"stream":"Successfully built ${'f'.repeat(12)}\\n"}\r\n`,
    [`image ${'f'.repeat(64)}`, `container ${'e'.repeat(12)}`],
  ],
  [
    'ImageBuild',
    '1.29',
    `{"stream":" ---\\u003e Running in ${'e'.repeat(12)}\\n"}\r\n{"stream":"Successfully built ${'f'.repeat(12)}\\n"}\r\n`,
    [`image ${'f'.repeat(12)}`, `container ${'e'.repeat(12)}`],
  ],
];

t.test('how answers name what was made', async (t) => {
  for (const [id, apiVersion, text, expected] of ANSWERS) {
    const call = { operation: operationOf(id), apiVersion } as Call;
    const found: string[] = [];
    for (const kind of ['image', 'container'] as const) {
      const scan = scanAnswer(call, kind, 512, (groups) => {
        found.push(`${kind} ${groups.find((group) => group !== undefined)}`);
      });
      for (const byte of Buffer.from(text)) scan?.(Buffer.of(byte));
    }
    t.same(found, expected, `${id} ${apiVersion}`);
  }
  for (const { id, does } of OPERATIONS) {
    for (const { pattern } of does.answerIds ?? []) t.ok(pattern.global, `${id} ${pattern.source}`);
    const kinds = new Set(does.answerIds?.map(({ kind }) => kind));
    if (does.creates === 'container') t.ok(kinds.has('container'), id);
    if (does.creates === 'image') t.ok(kinds.has('image'), id);
    if (kinds.size > 0)
      t.ok(
        ANSWERS.some(([sample]) => sample === id),
        `${id} has a sample above`,
      );
  }
});

t.test('a table by traits', async (t) => {
  const table = byOperation<string>([
    [({ does }) => does.starts === 'container', 'starts'],
    [({ query }) => query['signal'] !== undefined, 'signals'],
  ]);
  t.same(table.get('ContainerRestart'), ['starts', 'signals'], 'all that hold, in order');
  t.same(table.get('ContainerKill'), ['signals']);
  t.equal(table.get('SystemPing'), undefined, 'none');
});

// No other room knows operations by name: what one has to know of them is a trait, so that a new row is enough.
t.test('operationIds stand in the catalogue alone', async (t) => {
  const all = OPERATIONS.map(({ id }) => id).join('|');
  // In quotes, or as the key of a table; the names of schemas are not those of operations.
  const named = new RegExp(`['"\`](?:${all})['"\`]|\\b(?:${all})\\??:`);
  const files = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && !/^docker\/(?:catalogue|schemas)\//.test(file.replaceAll('\\', '/')),
  );
  t.ok(files.length > 200);
  const found = files.flatMap((file) =>
    readFileSync(path.join(root, 'src', file), 'utf8')
      .split('\n')
      .filter((line) => named.test(line) && !/^\s*(?:\/\/|\/?\*)/.test(line))
      .map((line) => `${file}: ${line.trim()}`),
  );
  t.same(found, [], 'give the row a trait instead');
});

t.test('the engine ends a stream with its input, unless it changes what is there', async (t) => {
  for (const { id, response, writes, body, endsWithInput } of OPERATIONS)
    t.equal(endsWithInput, response === 'stream' && (!writes || body.kind === 'stream'), id);
  for (const id of [
    'ContainerLogs',
    'ContainerStats',
    'ContainerWait',
    'SystemEvents',
    'ImageBuild',
  ] as const)
    t.equal(operationOf(id).endsWithInput, true, id);
  for (const id of ['ContainerCreate', 'ContainerStop', 'ContainerDelete', 'ContainerPrune'] as const)
    t.equal(operationOf(id).endsWithInput, false, id);
});

t.test('reads whose answers end can be shared, and nothing else', async (t) => {
  const call = (operation: Operation, query: Call['query'] = {}): Call =>
    ({ operation, query, body: { kind: operation.body.kind } }) as Call;
  const isShared = (one: Call): boolean => one.operation.mayBeShared && isShareable(one);
  const flag = (value: boolean): Call['query'][string] => ({ type: 'boolean', value });
  for (const operation of OPERATIONS) {
    const { id, method, writes, response, does, query } = operation;
    const reads = !writes && (method === 'GET' || method === 'HEAD') && operation.body.kind === 'none';
    const isFree = does.costsNothing === true;
    t.equal(isShared(call(operation)), reads && response === 'finite' && !isFree, id);
    const { endsWithout } = does;
    if (response === 'stream') t.equal(endsWithout !== undefined, 'stream' in query, `${id} ?stream`);
    if (endsWithout === undefined) continue;
    t.strictSame([response, query[endsWithout]?.type], ['stream', 'boolean'], id);
    t.ok(isShared(call(operation, { [endsWithout]: flag(false) })), `${id}, which ends`);
    t.notOk(isShared(call(operation, { [endsWithout]: flag(true) })), `${id}, which does not`);
  }
  const free = OPERATIONS.filter(({ does }) => does.costsNothing === true).map(({ id }) => id);
  t.same(free, ['SystemPing', 'SystemPingHead'], 'the engine answers these without any work');
  for (const id of ['ContainerList', 'ContainerInspect', 'SystemInfo', 'ImageInspect'] as const) {
    t.ok(isShared(call(operationOf(id))), id);
  }
  const withBody = {
    ...call(operationOf('ContainerList')),
    body: { kind: 'json', value: {} },
  } as unknown as Call;
  t.notOk(isShared(withBody));
});
