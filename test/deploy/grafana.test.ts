import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { HTTP_KINDS } from '../../src/audit/sinks/http-kinds.js';
import type { SinkConfig } from '../../src/audit/sinks/sink.js';
import { renderMetrics } from '../../src/app/metrics.js';
import { Metrics } from '../../src/guard/guard.js';
import { indexOf } from '../support/indicators.js';
import { labelsOf, readLogQl, type LogQl } from '../support/logql.js';
import { playSiemScenes } from '../support/siem-scenes.js';

// Every query of the dashboard over the lines of real records: it finds some, and each field it names is there.

interface Target {
  readonly expr: string;
  readonly datasource: { readonly type: string; readonly uid: string };
  readonly legendFormat?: string;
  readonly queryType?: string;
}
interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly datasource?: { readonly uid: string };
  readonly targets?: readonly Target[];
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
}
interface Variable {
  readonly name: string;
  readonly type: string;
  readonly query: unknown;
}

const file = new URL('../../../deploy/siem/grafana/breakwater.json', import.meta.url);
const dashboard = JSON.parse(readFileSync(fileURLToPath(file), 'utf8')) as {
  readonly uid: string;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly Variable[] };
};
const targets = dashboard.panels.flatMap(({ title, targets: all = [] }) =>
  all.map((target) => [title, target] as const),
);
const lines = Object.values(await playSiemScenes()).flatMap((scene) => scene.lines);

/** Labels of the streams that the Loki sink makes. */
const body = HTTP_KINDS.loki.body([], { labels: {} } as unknown as SinkConfig, 'guard.example');
const { streams } = JSON.parse(body) as { streams: { stream: Record<string, string> }[] };
const stream = streams[0]!.stream;

await t.test('every query of Loki finds something, by fields that are there', async (t) => {
  const loki = targets.filter(([, { datasource }]) => datasource.type === 'loki');
  t.ok(loki.length > 20);
  for (const [title, { expr, legendFormat = '', queryType }] of loki) {
    const query: LogQl = readLogQl(expr);
    for (const [name, pattern] of query.selector) {
      const value = stream[name];
      t.ok(value !== undefined && (pattern === '$host' || pattern === value), `${title}: {${name}}`);
    }
    const found = lines.map((line) => labelsOf(query, line)).filter((labels) => labels !== undefined);
    t.ok(found.length > 0, `${title}: finds something`);
    t.ok(found.length < lines.length, `${title}: does not find everything`);
    for (const name of [...query.extracts, ...query.by]) {
      t.ok(
        found.some((labels) => (labels[name] ?? '') !== ''),
        `${title}: ${name} has a value somewhere`,
      );
    }
    const shown = [...legendFormat.matchAll(/\{\{\s*(\w+)\s*\}\}/g)].map(([, name]) => name!);
    for (const name of shown) t.ok(query.by.includes(name), `${title}: legend ${name}`);
    for (const name of query.used) t.ok(query.extracts.includes(name), `${title}: .${name}`);
    t.equal(queryType, expr.includes('$__range') ? 'instant' : 'range', title);
  }
});

await t.test('a text of a client is in no count', async (t) => {
  const forged = JSON.stringify({
    v: 1,
    event: 'outcome',
    end: '"event":"decision","verdict":"deny","hazards":["',
  });
  for (const [title, { expr }] of targets.filter(([, { datasource }]) => datasource.type === 'loki')) {
    t.equal(labelsOf(readLogQl(expr), forged), undefined, title);
  }
});

await t.test('every metric is one of the guard', async (t) => {
  const metrics = new Metrics();
  metrics.decision('SystemPing', 'allow', 'allowed');
  const { text } = await renderMetrics(metrics, {
    callsOpen: 0,
    policyRevision: '',
    policyLoadedAt: 0,
    policyHealthy: true,
    auditLines: 0,
    auditFailures: 0,
    auditHealthy: true,
    bufferedBytes: 0,
    sinks: [{ name: 'siem', type: 'loki', delivered: 1, behind: 2, dropped: 0, refused: 0, error: '' }],
    feeds: [],
    indicators: { index: indexOf([]), revision: '' },
    version: '0',
  });
  const samples = text.split('\n').filter((line) => line.startsWith('breakwater_'));
  const prometheus = targets.filter(([, { datasource }]) => datasource.type === 'prometheus');
  t.ok(prometheus.length >= 4);
  for (const [title, { expr, legendFormat = '' }] of prometheus) {
    const [name = ''] = /breakwater_\w+/.exec(expr) ?? [];
    const sample = samples.find((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
    t.ok(sample, `${title}: ${name}`);
    const [, label] = /\{\{(\w+)\}\}/.exec(legendFormat) ?? [];
    if (label !== undefined) t.match(sample, `${label}="`, `${title}: ${label}`);
  }
});

await t.test('data sources are variables, ids are unique, nothing covers anything', async (t) => {
  const variables = new Map(dashboard.templating.list.map((one) => [one.name, one]));
  t.match(variables.get('loki'), { type: 'datasource', query: 'loki' });
  t.match(variables.get('prometheus'), { type: 'datasource', query: 'prometheus' });
  for (const [title, { datasource, expr }] of targets) {
    t.equal(datasource.uid, `\${${datasource.type}}`, title);
    const named = [...expr.matchAll(/\$(\w+)/g)].map(([, name]) => name!);
    for (const name of named) t.ok(name.startsWith('__') || variables.has(name), `${title}: $${name}`);
  }
  t.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length);
  for (const { title, gridPos: a, id } of dashboard.panels) {
    t.ok(a.x + a.w <= 24, title);
    const over = dashboard.panels.filter(
      ({ id: other, gridPos: b }) =>
        other !== id && a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h,
    );
    t.strictSame(over, [], title);
  }
});
