import { isIP } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import { formatRecord } from '../../src/audit/formats/format.js';
import type { RecordFormat } from '../../src/base/audit-names.js';
import { syslogMessage } from '../../src/audit/sinks/frames.js';
import { RECORDS } from './records.js';
import { ECS, type EcsType } from './rules-ecs.js';
import { readCef, readLeef, readSyslog } from './rules-lines.js';
import { problemsOf } from './rules-ocsf.js';

// The formats against the published rules of their receivers, as tables and grammars that know nothing of the formatters.

type Json = Record<string, unknown>;
const sender = { version: '1.2.3', host: 'guard.example' };
const texts = (format: RecordFormat, record: Json): string[] =>
  formatRecord(format, record, sender).map(({ text }) => text);

const base = RECORDS.find(({ event }) => event === 'decision')!;
const egress = RECORDS.find(({ event }) => event === 'egress')!;
const long = 'x'.repeat(9_000);
/** Besides the usual records: what is large, malformed, or from a file of another program. */
const ODD: readonly Json[] = [
  { ...base, id: `${'0'.repeat(36)}.1234567890`, reason: long, verdict: 'deny', code: 'hazard', rule: '' },
  { ...base, sources: [long], hazards: Array.from({ length: 200 }, (_, n) => `bind:/srv/${n}${long}`) },
  { ...base, client: { listener: long, address: '2001:db8::7', port: 65_535, certificate: [long] } },
  { ...base, client: 'nobody', sources: 'ci', hazards: 'privileged', facts: [], time: 'yesterday' },
  { ...base, method: 'BREW', operation: '', facts: {}, params: {} },
  {
    ...base,
    indicators: [
      { indicator: '', type: 'domain' },
      { indicator: '198.51.100.0/24', type: 'ipv4' },
    ],
  },
  { ...base, event: long, kind: long },
  { ...base, sequences: ['probing', {}, { sequence: 'constructor', calls: [long, ''], since: 'once' }] },
  { ...base, sequences: { sequence: 'probing' } },
  { event: 'alert', kind: 'sequence', operation: '', client: {}, container: { image: 'app' } },
  { ...egress, destination: '', name: '', port: 443 },
  { ...egress, container: undefined, address: '', indicator: '', feed: '', threat: '', first: '', last: '?' },
  { ...egress, protocol: 'TCP', type: 'mutex', indicator: 'x' },
  { ...egress, count: 0, port: 0, address: '::1', destination: '2001:db8::1', container: { id: 'abc' } },
  { event: 'outcome', id: 'a.o', time: '2026-01-02T03:04:05.000Z', call: 'a', status: 0, end: 'client-gone' },
  {},
];
const ALL = [...RECORDS, ...ODD];

await t.test('OCSF 1.8.0: attributes, types, enums, profiles and what each object requires', async (t) => {
  const classes = new Set<unknown>();
  for (const record of ALL) {
    for (const text of texts('ocsf', record)) {
      const message = JSON.parse(text) as Json;
      classes.add(message['class_uid']);
      t.strictSame(problemsOf(message), [], text.slice(0, 300));
    }
  }
  t.strictSame(classes, new Set([6003, 2004, 4001, 0]), 'every class was seen');
});

await t.test('OCSF: the table sees what is wrong', async (t) => {
  const good = JSON.parse(texts('ocsf', base)[0]!) as Json;
  const wrong: readonly [Json, RegExp][] = [
    [{ ...good, nonsense: 1 }, /nonsense/],
    [{ ...good, time: 'now' }, /time/],
    [{ ...good, activity_id: 7, type_uid: 600307 }, /activity_id/],
    [{ ...good, type_uid: 1 }, /type_uid/],
    [{ ...good, actor: { user: {} } }, /actor.user/],
    [{ ...good, src_endpoint: { ip: 'nowhere' } }, /src_endpoint.ip/],
    [{ ...good, firewall_rule: { version: 'p1' } }, /firewall_rule/],
    [{ ...good, osint: [] }, /osint/],
    [Object.fromEntries(Object.entries(good).filter(([key]) => key !== 'api')), /api/],
  ];
  for (const [message, pattern] of wrong) t.match(problemsOf(message).join('\n'), pattern);
});

// ---- ECS

const HOLDS: Readonly<Record<EcsType, (value: unknown) => boolean>> = {
  keyword: (value) => typeof value === 'string' && value !== '',
  match_only_text: (value) => typeof value === 'string',
  long: (value) => Number.isSafeInteger(value),
  ip: (value) => typeof value === 'string' && isIP(value) > 0 && !value.includes('%'),
  date: (value) => typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value),
};

function ecsProblems(document: Json): string[] {
  const problems: string[] = [];
  const walk = (value: Json, path: string): void => {
    for (const [key, one] of Object.entries(value)) {
      const name = `${path}${key}`;
      if (name === 'breakwater') continue;
      if (typeof one === 'object' && one !== null && !Array.isArray(one)) {
        walk(one as Json, `${name}.`);
        continue;
      }
      const field = ECS.fields[name];
      if (field === undefined) problems.push(`${name} is no field of ECS that is known here`);
      else if (field.array !== Array.isArray(one)) problems.push(`${name} array: ${field.array}`);
      else {
        for (const item of [one].flat()) {
          if (!HOLDS[field.type](item)) problems.push(`${name}: ${JSON.stringify(item)} is no ${field.type}`);
          if (field.values?.includes(item as string) === false)
            problems.push(`${name}: ${String(item)} is not listed`);
        }
      }
    }
  };
  walk(document, '');
  const { category = [], type = [] } = document['event'] as { category?: string[]; type?: string[] };
  for (const one of category) {
    if (!type.some((name) => ECS.types[one]?.includes(name))) {
      problems.push(`event.category ${one} expects none of ${type.join(', ')}`);
    }
  }
  for (const name of ['@timestamp', 'ecs', 'event', 'message']) {
    if (document[name] === undefined) problems.push(`${name} is missing`);
  }
  return problems;
}

await t.test('ECS 8.17: names, types, arrays, listed values, types that go with the category', async (t) => {
  for (const record of ALL) {
    const [text = ''] = texts('ecs', record);
    t.strictSame(ecsProblems(JSON.parse(text) as Json), [], text.slice(0, 300));
  }
  const good = JSON.parse(texts('ecs', base)[0]!) as Json;
  for (const [wrong, pattern] of [
    [{ ...good, source: { ip: 'fe80::1%eth0' } }, /source.ip/],
    [{ ...good, source: { port: '80' } }, /source.port/],
    [{ ...good, event: { ...(good['event'] as Json), kind: 'thing' } }, /event.kind/],
    [
      { ...good, event: { ...(good['event'] as Json), type: ['creation'], category: ['network'] } },
      /expects/,
    ],
    [{ ...good, tags: 'one' }, /tags/],
    [{ ...good, verdict: 'deny' }, /verdict/],
  ] as const) {
    t.match(ecsProblems(wrong).join('\n'), pattern);
  }
});

// ---- lines

await t.test('CEF 0: header escapes, keys of the dictionary, types and lengths', async (t) => {
  for (const record of ALL) {
    const [text = ''] = texts('cef', record);
    const { header, fields } = readCef(text);
    t.equal(header[0], 'CEF:0');
    t.match(header[6], /^(\d|10)$/, 'severity');
    t.notOk([...fields.values()].includes(''), 'nothing is empty');
    for (const key of fields.keys()) {
      const label = /^(cs\d|c6a\d|flexString\d)$/.test(key);
      if (label) t.ok(fields.get(`${key}Label`), `${key} has its label`);
      if (key.endsWith('Label')) t.ok(fields.has(key.slice(0, -5)), `${key} labels something`);
    }
  }
  const [cut = ''] = texts('cef', ODD[0]!);
  t.equal(readCef(cut).fields.get('externalId')?.length, 40);
  t.equal(readCef(cut).fields.get('flexString1'), ODD[0]!['id'], 'the whole id is there');
  const odd = { ...base, operation: 'a|b\\c', sources: ['k=v x=y'], reason: 'r\nsrc=6.6.6.6' };
  const { header, fields } = readCef(texts('cef', { ...odd, verdict: 'deny' })[0]!);
  t.equal(header[5], 'a|b\\c denied');
  t.equal(fields.get('cs3'), 'k=v x=y');
  t.match(fields.get('msg'), 'r\nsrc=6.6.6.6');
  for (const wrong of [
    'CEF:0|a|b|c|d|e|11|rt=1',
    'CEF:0|a|b|c|d|e|1',
    'CEF:0|a|b|c|d|e|1|dst=2001:db8::1',
    'CEF:0|a|b|c|d|e|1|colour=red',
    `CEF:0|a|b|c|d|e|1|msg=${long}`,
    'CEF:0|a|b|c|d|e|1|msg=a=b',
    'CEF:0|a|b|c|d|e|1|spt=99999',
    'CEF:0|a|b|c|\\d|e|1|spt=9',
  ]) {
    t.throws(() => readCef(wrong), wrong.slice(0, 80));
  }
});

await t.test('LEEF 2.0: header, delimiter, keys of the guide with their types', async (t) => {
  for (const record of ALL) {
    const { header, fields } = readLeef(texts('leef', record)[0]!);
    t.strictSame([header[0], header[5]], ['LEEF:2.0', '^']);
    for (const key of ['devTime', 'devTimeFormat', 'cat', 'sev']) t.ok(fields.get(key), key);
  }
  for (const wrong of [
    'LEEF:2.0|a|b|c|d|^|sev=0',
    'LEEF:2.0|a|b|c|d|^|sev=1^sev=2',
    'LEEF:2.0|a|b|c|d|^|src=nowhere',
    'LEEF:2.0|a|b|c||^|sev=1',
    'LEEF:1.0|a|b|c|d|^|sev=1',
    'LEEF:2.0|a|b|c|d|^|sev=1^devTime=yesterday',
    'LEEF:2.0|a|b|c|d|^|identHostName=x',
  ]) {
    t.throws(() => readLeef(wrong), wrong);
  }
});

await t.test('GELF 1.1: reserved fields and additional ones', async (t) => {
  for (const record of ALL) {
    const message = JSON.parse(texts('gelf', record)[0]!) as Json;
    const { version, host, short_message, full_message, timestamp, level, ...additional } = message;
    t.equal(version, '1.1');
    t.equal(host, sender.host);
    t.ok(typeof short_message === 'string' && short_message !== '', 'short_message');
    t.type(full_message, 'string');
    t.type(timestamp, 'number');
    t.ok([0, 1, 2, 3, 4, 5, 6, 7].includes(level as number), 'level');
    for (const [key, value] of Object.entries(additional)) {
      t.match(key, /^_[\w.-]+$/);
      t.not(key, '_id');
      t.ok(typeof value === 'string' || typeof value === 'number', key);
    }
  }
});

await t.test('RFC 5424: what the syslog sink sends, by the grammar', async (t) => {
  for (const host of ['guard.example', 'h\u00f6st \n', '']) {
    for (const format of ['breakwater', 'cef', 'ocsf'] as const) {
      for (const record of ALL) {
        for (const message of formatRecord(format, record, sender)) {
          for (const id of [message.id, 'a"b]c\\d']) {
            const sent = syslogMessage({ ...message, id, seq: 4711 }, { host, facility: 13 });
            const { priority, time, data, text } = readSyslog(sent);
            t.equal(Math.floor(priority / 8), 13, 'facility');
            if (message.time > 0) t.equal(Date.parse(time), message.time);
            t.strictSame(data, { 'breakwater@32473': { id, seq: '4711' } });
            t.equal(text, message.text);
          }
        }
      }
    }
  }
  for (const wrong of [
    '<200>1 - h a - m - x',
    '<013>1 - h a - m - x',
    '<13>1 2026-13-02T03:04:05Z h a - m - x',
    '<13>1 2026-01-02T03:04:05.1234567Z h a - m - x',
    '<13>1 - h a - m x',
    '<13>1 - h a - m [a b="]"] x',
    '<13>1 - h a - m [a b="c" b x',
    '<13>1 - h\u00f6st a - m - x',
  ]) {
    t.throws(() => readSyslog(wrong), wrong);
  }
});

// ---- texts chosen by an attacker

const PARTS = [
  '\r\n',
  '\n',
  '\0',
  '|',
  '=',
  '\\',
  '^',
  '"',
  ']',
  '\u202e',
  '\ud800',
  '\u{1f433}',
  ' src=6.6.6.6',
  'x',
];
const chosen = fc.oneof(
  fc.array(fc.constantFrom(...PARTS), { maxLength: 12 }).map((parts) => parts.join('')),
  fc.constantFrom(...PARTS).map((part) => part.repeat(2_000)),
  fc.constantFrom(
    'fe80::1%eth0',
    '::ffff:10.0.0.1',
    '2001:db8::1',
    '10.0.0.1',
    '010.0.0.1',
    '2026-01-02',
    '-1',
  ),
);

await t.test('whatever texts a record holds, it keeps to the rules of every format', async () => {
  fc.assert(
    fc.property(fc.constantFrom(...RECORDS), chosen, fc.integer(), (record, text, number) => {
      const spoil = (value: unknown): unknown => {
        if (typeof value === 'string') return text;
        if (typeof value === 'number') return number;
        if (Array.isArray(value)) return value.map(spoil);
        if (typeof value !== 'object' || value === null) return value;
        return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, spoil(inner)]));
      };
      const { event, verdict, time, id } = record;
      // What the guard alone writes.
      const evil = { ...(spoil(record) as Json), event, verdict, time, id };
      const problems = [
        ...texts('ocsf', evil).flatMap((one) => problemsOf(JSON.parse(one) as Json)),
        ...texts('ecs', evil).flatMap((one) => ecsProblems(JSON.parse(one) as Json)),
      ];
      if (problems.length > 0) throw new Error(problems.join('; '));
      readCef(texts('cef', evil)[0]!);
      readLeef(texts('leef', evil)[0]!);
      for (const message of formatRecord('gelf', evil, sender)) {
        readSyslog(syslogMessage({ ...message, seq: 1 }, { host: text, facility: 13 }));
      }
    }),
    { numRuns: 1_000 },
  );
});
