import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { formatRecord } from '../../src/audit/formats/format.js';
import { counted, syslogMessage } from '../../src/audit/sinks/frames.js';
import { RECORDS } from '../audit/records.js';
import { DETECTIONS } from '../support/detections.js';
import { playSiemScenes } from '../support/siem-scenes.js';
import { fieldNames, readConf, readSearch, strptime } from '../support/splunk.js';

const folder = fileURLToPath(new URL('../../../deploy/siem/splunk/breakwater/default/', import.meta.url));
const conf = (name: string): ReturnType<typeof readConf> =>
  readConf(readFileSync(`${folder}${name}.conf`, 'utf8'));
const scenes = await playSiemScenes();
const stanza = (name: string): Readonly<Record<string, string>> => conf('props').get(name) ?? {};
const sender = { version: '1.2.3', host: 'guard.example' };
const lines = [
  ...RECORDS.filter(({ seq }) => seq !== undefined).map((record) => {
    // As the journal has it: `v` stands behind the hash, and the time behind the event.
    const { seq, hash, v, event, time, ...rest } = record;
    return JSON.stringify({ seq, hash, v, event, time, ...rest });
  }),
  ...Object.values(scenes).flatMap((scene) => scene.lines),
];
/** Names as Splunk gives them to JSON: lists end in `{}`. */
const known = new Set(
  lines.flatMap((line) => fieldNames(JSON.parse(line))).concat('_time', 'sourcetype', 'host', 'hazard_kind'),
);

await t.test('records: one line is one event, with its own time', async (t) => {
  const props = stanza('breakwater:breakwater');
  const broken = `${lines.join('\n')}\n`
    .split(new RegExp(props['LINE_BREAKER']!))
    .filter((_, n) => n % 2 === 0);
  t.strictSame(broken.slice(0, -1), lines, 'LINE_BREAKER');
  for (const line of lines) {
    const found = new RegExp(props['TIME_PREFIX']!).exec(line);
    t.equal(found?.index, 0, 'TIME_PREFIX');
    const from = found?.[0].length ?? 0;
    const text = line.slice(from, from + Number(props['MAX_TIMESTAMP_LOOKAHEAD']));
    const { time } = JSON.parse(line) as { time: string };
    t.equal(strptime(text, props['TIME_FORMAT']!), Date.parse(time), line.slice(0, 100));
    t.ok(Buffer.byteLength(line) < Number(props['TRUNCATE']));
  }
  t.match(props, { SHOULD_LINEMERGE: 'false', TZ: 'UTC', KV_MODE: 'json' });
});

await t.test('a time that a client wrote is not taken for the time of the record', async (t) => {
  const prefix = new RegExp(stanza('breakwater:breakwater')['TIME_PREFIX']!);
  const forged =
    '{"v":1,"event":"decision","reason":"{\\"v\\":1,\\"event\\":\\"x\\",\\"time\\":\\"2001","time":"2026';
  t.equal(prefix.exec(forged), null);
  t.equal(prefix.exec(`x${lines[0]}`), null);
});

await t.test('lines with the header of RFC 5424 lose it, and nothing else', async (t) => {
  const props = stanza('breakwater:syslog');
  const [, pattern = '', put = ''] = /^s\/(.*)\/(.*)\/$/.exec(props['SEDCMD-header'] ?? '') ?? [];
  t.equal(put, '');
  for (const line of lines) {
    const record = JSON.parse(line) as Record<string, unknown>;
    const [message] = formatRecord('breakwater', record, sender);
    for (const id of [message!.id, 'a"] {"b\\c']) {
      const sent = syslogMessage({ ...message!, id, seq: 1, text: line }, { host: 'guard', facility: 13 });
      for (const one of [sent, counted(sent)]) {
        t.equal(one.replace(new RegExp(pattern), ''), line);
        const from = new RegExp(props['TIME_PREFIX']!).exec(one)?.[0].length ?? 0;
        const text = one.slice(from, from + Number(props['MAX_TIMESTAMP_LOOKAHEAD']));
        t.equal(strptime(text, props['TIME_FORMAT']!), message!.time);
      }
    }
  }
  t.equal(props['rename'], 'breakwater:breakwater', 'searched like the others');
});

await t.test('fields of CIM are made of fields that are there', async (t) => {
  const made = new Set<string>();
  for (const [key, expression] of Object.entries(stanza('breakwater:breakwater'))) {
    if (!key.startsWith('EVAL-')) continue;
    made.add(key.slice('EVAL-'.length));
    const bare = expression.replace(/"[^"]*"/g, '""');
    const quoted = [...bare.matchAll(/'([^']*)'/g)].map(([, name]) => name!);
    const words = bare.replace(/'[^']*'/g, '').match(/[a-z_]+(?![a-z_(])\b(?!\()/gi) ?? [];
    const names = words.filter((word) => !/^(AND|OR|NOT)$/.test(word));
    for (const name of [...quoted, ...names]) t.ok(known.has(name), `${key}: ${name}`);
    t.equal((bare.match(/\(/g) ?? []).length, (bare.match(/\)/g) ?? []).length, `${key}: brackets`);
  }
  // Of the data models Change, Intrusion Detection, Network Traffic and Alerts.
  const wanted =
    'action src src_port dest dest_port transport user command object object_category change_type status result ids_type category signature severity description type vendor_product';
  for (const name of wanted.split(' ')) t.ok(made.has(name), name);
});

await t.test('every saved search fires on its attack, and on nothing else', async (t) => {
  const searches = new Map(
    [...conf('savedsearches')].map(([title, settings]) => [settings['description']!, { title, settings }]),
  );
  t.strictSame([...searches.keys()].sort(), Object.keys(DETECTIONS).sort());
  for (const [name, { title, settings }] of searches) {
    t.match(title, /^Breakwater: /);
    const [base = '', ...commands] = settings['search']!.split(' | ');
    const search = readSearch(base);
    const fired = Object.entries(scenes).filter(([, { records }]) =>
      records.some((one) => search.matches(one)),
    );
    t.strictSame(fired.map(([scene]) => scene).sort(), [...DETECTIONS[name]!].sort(), title);
    for (const field of search.fields) t.ok(known.has(field), `${title}: ${field}`);
    t.equal(commands.length, 1);
    const [word, ...shown] = commands[0]!.split(' ').map((one) => one.replaceAll('"', ''));
    t.equal(word, 'table');
    for (const field of shown) t.ok(known.has(field), `${title}: ${field}`);
    t.equal(settings['enableSched'], '0', 'off until somebody wants it');
    t.match(settings, { 'dispatch.earliest_time': '-6m@m', 'dispatch.latest_time': '-1m@m' });
  }
});

await t.test('event types match, and have the tags of their data models', async (t) => {
  const types = conf('eventtypes');
  const records = Object.values(scenes).flatMap((scene) => scene.records);
  for (const [name, settings] of types) {
    const search = readSearch(settings['search']!);
    t.ok(
      records.some((record) => search.matches(record)),
      `${name} has events`,
    );
    t.notOk(
      records.every((record) => search.matches(record)),
      `${name} is not everything`,
    );
    for (const field of search.fields) t.ok(known.has(field), `${name}: ${field}`);
  }
  for (const [name, tags] of conf('tags')) {
    t.ok(types.has(name.replace('eventtype=', '')), name);
    for (const [tag, value] of Object.entries(tags)) {
      t.match(tag, /^(change|ids|attack|network|communicate|alert)$/);
      t.equal(value, 'enabled');
    }
  }
});
