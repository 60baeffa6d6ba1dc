import { OPERATIONS } from '../../docker/catalogue.js';
import type { SinkStatus } from '../../audit/sinks/delivery.js';
import type { FeedStatus } from '../../feeds/status.js';
import { Metrics } from '../../guard/guard.js';
import { EMPTY_INDEX } from '../../intel/indicator-index.js';
import { renderMetrics, type LiveFigures } from '../metrics.js';
import { code, table } from './markdown.js';

const FEED: FeedStatus = {
  ...{ name: 'f', url: '', type: 'list', format: 'list', action: 'block', indicators: 0, built: undefined },
  ...{
    fetchedAt: 0,
    checkedAt: 0,
    nextAt: 0,
    stale: false,
    hasData: true,
    rejected: 0,
    problems: [],
    error: '',
  },
};
const SINK: SinkStatus = {
  ...{ name: 's', type: 'syslog', delivered: 0, behind: 0, dropped: 0, refused: 0, error: '' },
};

/** One of everything, so that a scrape shows every metric with its labels. */
const LIVE: LiveFigures = {
  ...{ callsOpen: 0, policyRevision: '', policyLoadedAt: 0, policyHealthy: true, version: '' },
  ...{ auditLines: 0, auditFailures: 0, auditHealthy: true, bufferedBytes: 0 },
  sinks: [SINK],
  feeds: [FEED],
  indicators: { index: EMPTY_INDEX, revision: '' },
};

/** The generated part of docs/reference/metrics.md, read from a scrape. */
export async function metricsParts(): Promise<ReadonlyMap<string, string>> {
  const metrics = new Metrics();
  metrics.decision(OPERATIONS[0]!.id, 'allow', 'allowed');
  metrics.outcome('complete', 200);
  metrics.clientError('timeout');
  metrics.overLimit('ci', 'calls');
  return new Map([['metrics', metricsTable((await renderMetrics(metrics, LIVE)).text)]]);
}

/** A table of what a scrape in Prometheus' text format says: HELP and TYPE of each metric, and its labels. */
export function metricsTable(scrape: string): string {
  const types = new Map([...scrape.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name, type]) => [name, type]));
  const rows = [...scrape.matchAll(/^# HELP (\w+) (.*)$/gm)].map(([, name = '', help = '']) => {
    const labels = new RegExp(`^${name}\\{(.*)\\} `, 'm').exec(scrape)?.[1] ?? '';
    const names = [...labels.matchAll(/(\w+)="/g)].map(([, label = '']) => code(label));
    return [code(name), types.get(name) ?? '', names.join(', '), help];
  });
  return table(['metric', 'type', 'labels', 'meaning'], rows);
}
