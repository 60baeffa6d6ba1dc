import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import t from 'tap';
import { formatRecord } from '../../src/audit/formats/format.js';
import { RECORD_FORMATS, type RecordFormat } from '../../src/base/audit-names.js';
import { summarize } from '../../src/audit/formats/summary.js';
import { TECHNIQUES } from '../../src/audit/formats/techniques.js';
import { HAZARDS, type HazardKind } from '../../src/hazards/catalogue.js';
import { RECORDS } from './records.js';

// The golden files are read from the source tree; BREAKWATER_GOLDEN=write makes them anew.
const golden = fileURLToPath(new URL('../../../test/audit/golden/', import.meta.url));
const sender = { version: '1.2.3', host: 'guard.example' };
type Json = Record<string, unknown>;

const texts = (format: RecordFormat, record: Json): string[] =>
  formatRecord(format, record, sender).map(({ text }) => text);

for (const format of RECORD_FORMATS) {
  await t.test(`${format}: golden file`, async (t) => {
    const made = RECORDS.flatMap((record) => texts(format, record))
      .map((text) => `${text}\n`)
      .join('');
    const file = `${golden}${format}.txt`;
    if (process.env['BREAKWATER_GOLDEN'] === 'write') writeFileSync(file, made);
    t.equal(made, readFileSync(file, 'utf8'));
  });
}

await t.test('ids are stable and tell messages of one record apart', async (t) => {
  const ids = RECORDS.flatMap((record) => formatRecord('ocsf', record, sender)).map(({ id }) => id);
  t.equal(new Set(ids).size, ids.length);
  t.same(
    RECORDS.flatMap((record) => formatRecord('ocsf', record, sender)).map(({ id }) => id),
    ids,
  );
});

await t.test('every technique of a hazard has a name', async (t) => {
  for (const { kind, attack, attackBy = {} } of HAZARDS as readonly HazardKind[]) {
    for (const ids of [attack, ...Object.values(attackBy)]) {
      for (const id of ids?.split(' ') ?? []) t.ok(TECHNIQUES[id], `${kind}: ${id}`);
    }
  }
});

await t.test(
  'sequences: their techniques, also of those that only alert, and how grave they are',
  async (t) => {
    const line = { event: 'decision', operation: 'ContainerCreate', verdict: 'allow', hazards: [] };
    const alerted = summarize({ ...line, sequences: [{ sequence: 'probing', action: 'alert' }] });
    t.strictSame(
      alerted.techniques.map(({ id }) => id),
      ['T1046', 'T1613'],
    );
    t.match(alerted.sequences, [{ name: 'probing' }]);
    t.ok(alerted.severity > summarize(line).severity);
    const denied = summarize({
      ...line,
      verdict: 'deny',
      hazards: ['sequence:build-and-run'],
      sequences: [{ sequence: 'build-and-run', action: 'deny' }],
    });
    t.strictSame(
      denied.techniques.map(({ id }) => id),
      ['T1612', 'T1610'],
    );
    t.strictSame(summarize({ ...line, hazards: ['sequence:toString', 'sequence'] }).techniques, []);
  },
);

await t.test('OCSF: what the schema 1.8.0 requires of each class', async (t) => {
  for (const record of RECORDS) {
    for (const text of texts('ocsf', record)) {
      const { unmapped, ...message } = JSON.parse(text) as Json;
      const { class_uid, category_uid, activity_id, type_uid, severity_id } = message as Record<
        string,
        number
      >;
      const metadata = message['metadata'] as { version: string; profiles?: string[]; product: Json };
      t.strictSame(unmapped, record);
      t.equal(type_uid, class_uid! * 100 + activity_id!);
      t.ok([1, 2, 3, 4, 5].includes(severity_id!));
      t.ok(Number.isInteger(message['time']));
      t.equal(metadata.version, '1.8.0');
      t.equal((metadata.profiles ?? []).includes('osint'), message['osint'] !== undefined, text);
      t.equal(
        (metadata.profiles ?? []).includes('security_control'),
        message['action_id'] !== undefined || record['event'] === 'outcome',
      );
      t.notMatch(JSON.stringify(message), /:(""|\[\]|\{\})[,}]/, 'nothing is empty');
      const required = {
        6003: ['actor', 'api', 'src_endpoint'],
        4001: ['src_endpoint'],
        2004: ['finding_info'],
        0: [],
      }[class_uid as 0];
      t.equal(category_uid, Math.floor(class_uid! / 1000));
      for (const name of required) t.type(message[name], 'object', text);
    }
  }
  const blocked = JSON.parse(texts('ocsf', RECORDS[7]!)[0]!) as Json;
  t.match(blocked, { class_uid: 4001, activity_id: 5, action_id: 2, disposition_id: 2 });
  const found = texts('ocsf', RECORDS[4]!).map((text) => (JSON.parse(text) as Json)['class_uid']);
  t.strictSame(found, [6003, 2004, 2004]);
  const several = texts(
    'ocsf',
    RECORDS.find(({ seq }) => seq === 21)!,
  ).map((text) => JSON.parse(text) as Json);
  t.match(several, [
    { class_uid: 6003, action_id: 1 },
    { class_uid: 2004, osint: [{ value: 'c2.example' }] },
    {
      class_uid: 2004,
      action_id: 3,
      start_time: Date.parse('2026-01-02T03:02:01.000Z'),
      finding_info: {
        uid: 'record-21.f2',
        title: 'Image built on the host and run',
        attacks: [{ technique: { uid: 'T1612' } }, { technique: { uid: 'T1610' } }],
        related_events: [{ uid: 'call-0.d' }, { uid: 'call-1.d' }, { uid: 'record-21' }],
      },
    },
    { class_uid: 2004, finding_info: { uid: 'record-21.f3', related_events: [{ uid: 'call-3.d' }, {}] } },
  ]);
  t.equal(several.length, 4);
});

await t.test('ECS: typed fields hold values of their type, or are not there', async (t) => {
  for (const record of RECORDS) {
    const document = JSON.parse(texts('ecs', record)[0]!) as Record<string, Json>;
    for (const side of ['source', 'destination']) {
      const ip = document[side]?.['ip'];
      if (ip !== undefined) t.match(ip, /^[0-9a-f.:]+$/);
    }
    const { breakwater, ...rest } = document;
    t.strictSame(breakwater, record);
    t.notMatch(JSON.stringify(rest), /:(""|\[\]|\{\})[,}]/);
  }
  t.match(JSON.parse(texts('ecs', RECORDS[2]!)[0]!), {
    event: { category: ['api'], type: ['denied'], outcome: 'failure' },
  });
});

/** A strict reader of CEF: seven header fields, then `key=value` where a blank before `key=` parts them. */
function readCef(line: string): { header: string[]; fields: Map<string, string> } {
  const header: string[] = [];
  const parts: string[] = [];
  let from = 0;
  for (let at = 0; at < line.length; at++) {
    const one = line[at];
    if (one === '\\') at += 1;
    else if (one === (header.length < 7 ? '|' : '=')) {
      (header.length < 7 ? header : parts).push(line.slice(from, at));
      from = at + 1;
    }
  }
  parts.push(line.slice(from));
  const fields = new Map<string, string>();
  let key = parts[0]!;
  parts.slice(1).forEach((part, index) => {
    const cut = index === parts.length - 2 ? part.length : part.lastIndexOf(' ');
    const value = part.slice(0, cut).replace(/\\(.)/g, (_, one: string) => (one === 'n' ? '\n' : one));
    if (!/^[A-Za-z0-9]+$/.test(key) || fields.has(key)) throw new Error(`forged key ${key.slice(0, 50)}`);
    fields.set(key, value);
    key = part.slice(cut + 1);
  });
  return { header, fields };
}

function readLeef(line: string): { header: string[]; fields: Map<string, string> } {
  const [version = '', vendor = '', product = '', release = '', id = '', delimiter = '', ...rest] =
    line.split('|');
  const fields = new Map<string, string>();
  for (const pair of rest.join('|').split(delimiter)) {
    const [, key = '', value = ''] = /^([A-Za-z]+)=(.*)$/s.exec(pair) ?? [];
    if (key === '' || fields.has(key)) throw new Error(`forged ${pair}`);
    fields.set(key, value);
  }
  return { header: [version, vendor, product, release, id, delimiter], fields };
}

const NASTY = [
  '\r\n',
  '\n',
  '\r',
  '\0',
  '|',
  '=',
  '\\',
  '^',
  '\u202e',
  '\u2028',
  '\ud800',
  '"',
  ' src=6.6.6.6',
  '^src=6.6.6.6',
  ' ',
  'a',
];
const nasty = fc.array(fc.constantFrom(...NASTY), { maxLength: 12 }).map((parts) => parts.join(''));
/** What would end a line or a frame, or show a text as another one. */
const UNSAFE =
  /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|\p{Surrogate}/u;
/** What the line formats make of text that they cannot say. */
const gone = (value: string): string =>
  value.replace(
    /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|\p{Surrogate}/gu,
    '?',
  );

/** Cut to what the field takes. */
const ended = (value: string, most: number): string =>
  value.length <= most ? value : `${value.slice(0, most - 1)}…`;

/** The record with a hostile text wherever a client has a say. */
function hostile(record: Json, value: string): Json {
  const client = { listener: 'lan', address: value, port: 1, certificate: [value] };
  return {
    ...record,
    client,
    address: value,
    sources: [value],
    method: value,
    params: { [value]: value },
    target: value,
    facts: { image: value },
    hazards: [`bind:${value}`, value],
    reason: value,
    rule: value,
    code: value,
    kind: record['kind'] === undefined ? undefined : value,
    container: { id: value, name: value, image: value },
    name: value,
    destination: value,
    message: value,
  };
}

await t.test('no value breaks the frame of any format, or becomes a field of its own', async () => {
  fc.assert(
    fc.property(fc.constantFrom(...RECORDS), nasty, (record, value) => {
      check(record, value);
    }),
    { numRuns: 300 },
  );
  check(RECORDS[2]!, NASTY.join('x').repeat(200));
  const long = NASTY.join('x').repeat(2 ** 14);
  const client = { listener: 'lan', address: '', port: 1, certificate: [long] };
  check(RECORDS[2]!, long, { ...RECORDS[2], client });
});

function check(record: Json, value: string, evil = hostile(record, value)): void {
  const expected = (text: unknown): void => {
    if (text !== true)
      throw new Error(`broken by ${JSON.stringify(value.slice(0, 100))} in ${String(record['id'])}`);
  };
  for (const format of RECORD_FORMATS) {
    for (const text of texts(format, evil)) {
      expected(!UNSAFE.test(text));
      if (format === 'cef' || format === 'leef') continue;
      const json = JSON.parse(text) as Json;
      if (format === 'breakwater') expected(JSON.stringify(json) === JSON.stringify(evil));
      if (format === 'gelf')
        expected(json['_id'] === undefined && json['full_message'] === JSON.stringify(evil));
      if (format === 'ecs') expected(JSON.stringify(json['breakwater']) === JSON.stringify(evil));
      if (format === 'ocsf') expected(JSON.stringify(json['unmapped']) === JSON.stringify(evil));
    }
  }
  const cef = readCef(texts('cef', evil)[0]!);
  expected(cef.header[0] === 'CEF:0' && cef.header[1] === 'Breakwater' && !cef.fields.has('src'));
  if (value !== '') expected(cef.fields.get('suser') === ended(gone(value.replace(/\r\n?/g, '\n')), 1023));
  const leef = readLeef(texts('leef', evil)[0]!);
  expected(leef.header[0] === 'LEEF:2.0' && leef.header[5] === '^' && !leef.fields.has('src'));
  if (value !== '') {
    expected(
      leef.fields.get('usrName') === ended(gone(value.replace(/[\r\n]+/g, ' ')), 255).replaceAll('^', "'"),
    );
  }
}
