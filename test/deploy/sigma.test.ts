import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { TECHNIQUES } from '../../src/audit/formats/techniques.js';
import { HAZARD_KINDS, HAZARDS, type HazardKind } from '../../src/hazards/catalogue.js';
import { DETECTIONS } from '../support/detections.js';
import { fieldsOf } from '../support/json-fields.js';
import { playSiemScenes } from '../support/siem-scenes.js';
import { readSigma, type Fields } from '../support/sigma.js';

const folder = fileURLToPath(new URL('../../../deploy/siem/sigma/', import.meta.url));
const RULES = new Map(
  readdirSync(folder).map((name) => [
    name.replace(/\.yml$/, ''),
    readSigma(readFileSync(folder + name, 'utf8')),
  ]),
);
const scenes = await playSiemScenes();

await t.test('each rule fires on its attack, and on nothing else', async (t) => {
  t.strictSame([...RULES.keys()].sort(), Object.keys(DETECTIONS).sort(), 'every rule is tried');
  for (const [name, { matches }] of RULES) {
    const fired = Object.entries(scenes).filter(([, { records }]) =>
      records.some((record) => matches(record)),
    );
    t.strictSame(fired.map(([scene]) => scene).sort(), [...(DETECTIONS[name] ?? [])].sort(), name);
  }
});

await t.test('near misses', async (t) => {
  const [call] = scenes['privileged'].records as [Fields];
  const [outbound] = scenes['outbound attempt'].records as [Fields];
  const build = { ...call, operation: 'ImageBuild', hazards: [] };
  const misses: readonly [string, Fields][] = [
    ['create-privileged', { ...call, hazards: ['bind:/srv/privileged', 'annotation:privileged'] }],
    ['create-privileged', { ...call, hazards: 'none', reason: 'privileged' }],
    ['create-privileged', { ...call, event: 'outcome' }],
    ['mount-docker-socket', { ...call, hazards: ['bind:docker-socket'] }],
    ['build-remote-context', { ...build, hazards: ['remote-contexts', 'opaque:remote-context:x'] }],
    ['build-remote-context', { ...build, operation: 'ContainerCreate', hazards: ['remote-context:x'] }],
    ['build-untrusted-source', { ...build, code: 'hazard' }],
    ['build-untrusted-source', { ...build, operation: 'ImageCreate', code: 'source' }],
    ['build-download', { ...build, verdict: 'allow', hazards: ['download:https://mirror.example/x'] }],
    ['sequence-build-and-run', { ...call, hazards: ['sequence:build-and-run-not', 'sequence:'] }],
    ['sequence-probing', { ...call, hazards: ['sequence:exec-spread'] }],
    ['sequence-probing', { ...call, hazards: [], sequences: [{ sequence: 'exec-spread', action: 'alert' }] }],
    [
      'sequence-probing',
      { ...call, event: 'outcome', sequences: [{ sequence: 'probing', action: 'alert' }] },
    ],
    ['audit-failed', { event: 'alert', kind: 'denied' }],
    ['indicator-call', { ...call, hazards: ['extra-host:indicator:1'], indicators: [] }],
    ['indicator-outbound', { ...outbound, indicator: '' }],
    ['indicator-outbound', { ...outbound, kind: 'notice' }],
    ['journal-tampered', { event: 'journal', kind: 'removed', undelivered: 0 }],
    ['journal-tampered', { event: 'journal', kind: 'repaired', torn: 9 }],
    ['journal-tampered', { event: 'decision', kind: 'removed', undelivered: 4 }],
  ];
  for (const [name, record] of misses) t.notOk(RULES.get(name)?.matches(record), name);
});

await t.test('what every rule has, and fields that are there', async (t) => {
  const known = new Set(Object.values(scenes).flatMap(({ records }) => records.flatMap(fieldsOf)));
  for (const [name, rule] of RULES) {
    t.match(rule.id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/, name);
    t.strictSame(rule.logsource, { product: 'breakwater', service: 'audit' });
    t.ok(['low', 'medium', 'high', 'critical'].includes(rule.level), `${name}: ${rule.level}`);
    t.equal(rule.status, 'stable');
    t.match(rule.date, /^\d{4}-\d\d-\d\d$/);
    t.ok(rule.falsepositives.length > 0, `${name}: false positives`);
    for (const field of [...rule.fields, ...rule.looksAt]) t.ok(known.has(field), `${name}: field ${field}`);
    const techniques = rule.tags.filter((tag) => tag.startsWith('attack.t1'));
    t.ok(techniques.length > 0 && techniques.length < rule.tags.length, `${name}: tactic and technique`);
    t.equal(rule.references.length, techniques.length);
    for (const tag of techniques) {
      const id = tag.slice('attack.'.length).toUpperCase();
      t.ok(TECHNIQUES[id] !== undefined || id === 'T1070', `${name}: ${id}`);
    }
  }
  t.equal(new Set([...RULES.values()].map(({ id }) => id)).size, RULES.size, 'every id once');
});

await t.test('a rule for a hazard has the techniques of the catalogue', async (t) => {
  for (const [name, kind, argument = ''] of [
    ['create-privileged', 'privileged'],
    ['mount-docker-socket', 'docker-socket'],
    ['build-remote-context', 'remote-context'],
    ['indicator-call', 'indicator'],
    ...Object.keys(HAZARD_KINDS.get('sequence')!.titleBy!).map(
      (sequence) => [`sequence-${sequence}`, 'sequence', sequence] as const,
    ),
  ] as const) {
    const found = (HAZARDS as readonly HazardKind[]).find((hazard) => hazard.kind === kind)!;
    const attack = found.attackBy?.[argument] ?? found.attack ?? '';
    const tags = attack.split(' ').map((id) => `attack.${id.toLowerCase()}`);
    t.strictSame(
      tags.filter((tag) => RULES.get(name)?.tags.includes(tag) !== true),
      [],
      name,
    );
  }
});

await t.test('the reader of rules is strict', async (t) => {
  const good = readFileSync(`${folder}create-privileged.yml`, 'utf8');
  for (const [from, to] of [
    ['condition: selection', 'condition: selection and missing'],
    ['condition: selection', 'condition: selection or'],
    ['hazards:', 'hazards|fuzzy:'],
    ['level:', 'levels:'],
    ['    event: decision', '    event: []'],
    ['title:', 'title: twice\ntitle:'],
  ] as const) {
    t.throws(() => readSigma(good.replace(from, to)), `${from} → ${to}`);
  }
});
