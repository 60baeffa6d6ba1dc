import { isIP } from 'node:net';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { formatRecord } from '../../src/audit/formats/format.js';
import { RECORDS } from '../audit/records.js';
import { ECS } from '../audit/rules-ecs.js';
import { holds, ingest, type Document, type Pipeline } from '../support/ingest.js';
import { fieldsOf } from '../support/json-fields.js';
import { playSiemScenes } from '../support/siem-scenes.js';

// The shipped ingest pipelines run over real records, and what comes out is held against the shipped mapping and the formatter.

const folder = fileURLToPath(new URL('../../../deploy/siem/elastic/', import.meta.url));
const read = (name: string): unknown => JSON.parse(readFileSync(folder + name, 'utf8'));
const pipelines = new Map(
  readdirSync(folder)
    .filter((name) => name.endsWith('.pipeline.json'))
    .map((name) => [name.replace('.pipeline.json', ''), read(name) as Pipeline]),
);

interface Mapping {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Mapping>>;
  readonly dynamic?: boolean;
  readonly ignore_above?: number;
}
const index = read('breakwater-audit.index-template.json') as {
  readonly index_patterns: readonly string[];
  readonly data_stream: object;
  readonly template: {
    readonly settings: Readonly<Record<string, unknown>>;
    readonly mappings: Mapping;
  };
};
const { mappings, settings } = index.template;

/** Paths of all mapped fields with their mapping. */
function mapped(mapping: Mapping, path = ''): [string, Mapping][] {
  return Object.entries(mapping.properties ?? {}).flatMap(([name, inner]) =>
    inner.properties === undefined
      ? [[`${path}${name}`, inner] as [string, Mapping]]
      : mapped(inner, `${path}${name}.`),
  );
}
const FIELDS = new Map(mapped(mappings));

const isDate = (value: unknown): boolean =>
  value === '' || (typeof value === 'string' && !Number.isNaN(Date.parse(value)));
const HOLDS: Readonly<Record<string, (value: unknown) => boolean>> = {
  keyword: (value) => typeof value === 'string',
  match_only_text: (value) => typeof value === 'string',
  long: (value) => Number.isSafeInteger(value),
  double: (value) => typeof value === 'number',
  boolean: (value) => typeof value === 'boolean',
  ip: (value) => typeof value === 'string' && isIP(value) > 0 && !value.includes('%'),
  date: isDate,
  flattened: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
};

/** What Elasticsearch would refuse a document for, and fields that it would not index. */
function problems(value: unknown, mapping: Mapping, path: string, loose: string[]): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => problems(item, mapping, path, loose));
  if (mapping.type !== undefined && mapping.properties === undefined) {
    return HOLDS[mapping.type]!(value) ? [] : [`${path}: ${JSON.stringify(value)} is no ${mapping.type}`];
  }
  if (typeof value !== 'object' || value === null) return [`${path}: an object is mapped`];
  return Object.entries(value).flatMap(([name, inner]) => {
    const next = mapping.properties?.[name];
    if (next !== undefined) return problems(inner, next, `${path}${name}.`, loose);
    loose.push(`${path}${name}`);
    return [];
  });
}

const scenes = await playSiemScenes();
const records = [...RECORDS, ...Object.values(scenes).flatMap((scene) => scene.records)];
const sender = { version: '1.2.3', host: 'guard.example' };

function run(document: Document): Document {
  const copy = structuredClone(document);
  ingest(String(settings['index.default_pipeline']), pipelines, copy);
  return copy;
}
const ecsOf = (record: Document): Document =>
  JSON.parse(formatRecord('ecs', record, sender)[0]!.text) as Document;

await t.test('documents of both formats fit the mapping, every field of them', async (t) => {
  for (const record of records) {
    for (const document of [record, ecsOf(record)]) {
      const done = run(document);
      const loose: string[] = [];
      t.strictSame(problems(done, mappings, '', loose), [], JSON.stringify(record).slice(0, 200));
      t.strictSame(loose, [], 'nothing that is not indexed');
    }
  }
});

const at = (document: unknown, path: string): unknown =>
  path.split('.').reduce((value, name) => (value as Document | undefined)?.[name], document);

await t.test('a record in JSON becomes what the format ecs makes of it', async (t) => {
  /** What needs tables that a pipeline has not: the ATT&CK techniques of hazards, the words of messages, nanoseconds. */
  const left = /^(message|tags|event\.duration|observer\.version|threat\.(framework|technique\..*))$/;
  for (const record of records) {
    const paths = (document: Document): string[] =>
      fieldsOf(document).filter((path) => !path.startsWith('breakwater') && !left.test(path));
    const made = run(record);
    const wanted = run(ecsOf(record));
    const pick = (document: Document): object =>
      Object.fromEntries(
        paths(document)
          .map((path) => [path, at(document, path)] as const)
          .filter(([, value]) => typeof value !== 'object' || Array.isArray(value))
          .sort(([a], [b]) => (a < b ? -1 : 1)),
      );
    t.strictSame(pick(made), pick(wanted), JSON.stringify(record).slice(0, 300));
    t.type(made['message'], 'string');
  }
});

await t.test('nothing is lost: below breakwater stands the whole record', async (t) => {
  for (const record of records) {
    const { breakwater } = run(record) as { breakwater: Document };
    t.strictSame(breakwater, record);
  }
});

await t.test('the mapping: ECS types, and nothing that a client could make grow', async (t) => {
  for (const [path, { type }] of FIELDS) {
    if (path.startsWith('breakwater.') || path === 'error.message') continue;
    t.equal(type, ECS.fields[path]?.type, path);
  }
  for (const path of Object.keys(ECS.fields)) t.ok(FIELDS.has(path), `${path} is mapped`);
  const dynamics = [mappings, mappings.properties?.['breakwater']].map((one) => one?.dynamic);
  t.strictSame(dynamics, [false, false]);
  for (const name of ['facts', 'params']) t.equal(FIELDS.get(`breakwater.${name}`)?.type, 'flattened');
  t.ok(FIELDS.size < Number(settings['index.mapping.total_fields.limit']));
  for (const [path, { type, ignore_above }] of FIELDS) {
    // Lucene takes 32,766 bytes of a term, and refuses the document for more.
    if (type === 'keyword' || type === 'flattened') {
      const isOwn = /^breakwater\.(hash|head|previous|signature)$/.test(path);
      t.ok(isOwn || (ignore_above !== undefined && ignore_above * 4 < 32_766), path);
    }
  }
  t.ok(index.index_patterns.some((pattern) => pattern.replace('*', '') === 'breakwater-audit'));
});

await t.test('odd documents do not fail', async (t) => {
  const [decision] = scenes['privileged'].records as [Document];
  for (const odd of [
    { ...decision, client: { listener: 'unix', address: '', port: 0 }, sources: [] },
    { ...decision, client: { listener: 'lan', address: 'fe80::1%eth0', port: 1 } },
    { ...decision, facts: { env: ['A'], deep: 'x' }, params: {} },
    { ...scenes['alert of denials'].records[0], client: { address: '10.0.0.1' } },
    { ...decision, sequences: [] },
    { v: 1, event: 'news', time: '2026-01-02T03:04:05.678Z', id: 'x' },
  ]) {
    const loose: string[] = [];
    t.strictSame(problems(run(odd), mappings, '', loose), []);
  }
});

await t.test('the interpreter is as strict as Painless', async (t) => {
  const document = { a: { n: 1, s: 'x' }, e: {} };
  t.ok(holds("ctx.a?.n >= 1 && (ctx.a.s == 'y' || ctx.a.s == 'x')", document));
  t.notOk(holds('ctx.b?.n != null && ctx.b.n > 0', document));
  t.throws(() => holds('ctx.b.n == null', document), 'a field of null');
  t.throws(() => holds('ctx.e?.n > 0', document), 'null compared with a number');
  t.throws(() => holds('ctx.a?.n ~ 1', document), 'an operator of another language');
  t.throws(() => ingest('x', new Map([['x', { description: '', processors: [{ grok: {} }] }]]), {}));
});
