import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { formatRecord } from '../../src/audit/formats/format.js';
import type { RecordFormat } from '../../src/base/audit-names.js';
import { RECORDS } from './records.js';
import { fieldsOf } from '../support/json-fields.js';
import { playSiemScenes } from '../support/siem-scenes.js';
import { readCef, readLeef } from './rules-lines.js';

// docs/reference/siem-formats.md and audit-events.md name every field that is written.

const page = (name: string): string =>
  readFileSync(fileURLToPath(new URL(`../../../docs/reference/${name}`, import.meta.url)), 'utf8');
const docs = page('siem-formats.md');
const sections = new Map(
  docs
    .split(/^## /m)
    .slice(1)
    .map((section) => [section.slice(0, section.indexOf('\n')), section] as const),
);
const scenes = await playSiemScenes();
const records = [...RECORDS, ...Object.values(scenes).flatMap((scene) => scene.records)];
const texts = (format: RecordFormat): string[] =>
  records.flatMap((record) =>
    formatRecord(format, record, { version: '1', host: 'h' }).map(({ text }) => text),
  );
const paths = (format: RecordFormat): Set<string> =>
  new Set(texts(format).flatMap((text) => fieldsOf(JSON.parse(text))));

await t.test('breakwater: every field, with its type', async (t) => {
  const section = page('audit-events.md');
  const types = { text: 'string', number: 'number', boolean: 'boolean', list: 'object', object: 'object' };
  const rows = new Map<string, Set<string>>();
  for (const [, name = '', type = ''] of section.matchAll(/^\| `(\w+)` +\| (\w+) +\|/gm)) {
    rows.set(name, (rows.get(name) ?? new Set()).add(types[type as keyof typeof types]));
  }
  for (const record of records) {
    for (const [name, value] of Object.entries(record)) t.ok(rows.get(name)?.has(typeof value), name);
  }
  for (const path of new Set(records.flatMap(fieldsOf))) {
    const [first = '', ...rest] = path.split('.');
    if (['facts', 'params'].includes(first)) continue;
    for (const name of rest) t.ok(section.includes(`\`${name}\``), path);
  }
});

await t.test('ecs, gelf, ocsf: every field', async (t) => {
  const isLeaf = (path: string, all: Set<string>): boolean =>
    ![...all].some((other) => other.startsWith(`${path}.`));
  const ecs = paths('ecs');
  for (const path of ecs) {
    if (path.startsWith('breakwater.') || !isLeaf(path, ecs)) continue;
    t.ok(sections.get('ecs')?.includes(`\`${path}\``), path);
  }
  for (const path of paths('gelf')) t.ok(sections.get('gelf')?.includes(`\`${path}\``), path);
  for (const path of paths('ocsf')) {
    if (!path.includes('.')) t.ok(sections.get('ocsf')?.includes(`\`${path}\``), path);
  }
});

await t.test('cef, leef: every key', async (t) => {
  const keys = new Set(texts('cef').flatMap((text) => [...readCef(text).fields.keys()]));
  for (const key of keys) {
    if (!key.endsWith('Label')) t.ok(sections.get('cef')?.includes(`\`${key}\``), key);
  }
  const attributes = new Set(texts('leef').flatMap((text) => [...readLeef(text).fields.keys()]));
  for (const key of attributes) t.ok(sections.get('leef')?.includes(`\`${key}\``), key);
});

await t.test('severity: the table says what the code does', async (t) => {
  const rows = [...(sections.get('Severity') ?? '').matchAll(/^\| (.+?) +\| (\d+) +\|$/gm)];
  const documented = new Set(rows.map(([, , severity]) => Number(severity)));
  const seen = new Set(
    records
      .flatMap((record) => formatRecord('cef', record, { version: '1', host: 'h' }))
      .map((one) => one.severity),
  );
  for (const severity of seen) t.ok(documented.has(severity), String(severity));
  const severityOf = (name: keyof typeof scenes, event: string): number => {
    const record = scenes[name].records.find((one) => one['event'] === event)!;
    return formatRecord('cef', record, { version: '1', host: 'h' })[0]!.severity;
  };
  for (const [name, event, severity, words] of [
    ['usual journal', 'segment', 0, 'segment'],
    ['ordinary', 'decision', 1, 'decision: allow;'],
    ['old records removed', 'journal', 2, 'all of them delivered'],
    ['outbound notice', 'egress', 4, 'outbound notice'],
    ['build by nobody', 'decision', 5, 'deny without hazards'],
    ['journal torn by a crash', 'journal', 5, 'repaired after a crash'],
    ['journal recovered, nothing lost', 'journal', 5, 'written late'],
    ['indicator that only alerts', 'decision', 6, 'with an indicator, or a sequence'],
    ['privileged', 'decision', 7, 'deny for hazards'],
    ['sequence:probing that only alerts', 'decision', 6, 'or a sequence, that only alerts'],
    ['sequence:probing', 'decision', 9, 'with an indicator or a sequence'],
    ['alert of denials', 'alert', 7, 'alert: `denied`'],
    ['alert of unreadable requests', 'alert', 6, 'alert: `unreadable`'],
    ['alert of an indicator', 'alert', 9, 'every other alert'],
    ['alert of a sequence', 'alert', 9, 'every other alert'],
    ['alert of outbound attempts', 'alert', 9, 'every other alert'],
    ['alert of a trail that fails', 'alert', 9, 'every other alert'],
    ['outbound attempt', 'egress', 8, 'that was blocked'],
    ['undelivered records removed', 'journal', 8, 'removed undelivered'],
    ['indicator in a command', 'decision', 9, 'deny with an indicator'],
    ['outbound sweep', 'egress', 9, 'sweep'],
    ['journal tampered with', 'journal', 9, 'damaged record'],
  ] as const) {
    t.equal(severityOf(name, event), severity, name);
    t.ok(
      rows.some(([, text = '', number]) => text.includes(words) && Number(number) === severity),
      words,
    );
  }
});
