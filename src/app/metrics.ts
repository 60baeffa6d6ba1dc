import type * as PromClient from 'prom-client';
import type { Counter, Gauge, Registry } from 'prom-client';
import type { SinkStatus } from '../audit/sinks/delivery.js';
import type { IntelSnapshot } from '../feeds/index-file.js';
import type { FeedStatus } from '../feeds/status.js';
import type { Metrics } from '../guard/guard.js';

/** Loaded at the first scrape: a guard without scrapes does not need it. */
type Client = Pick<typeof PromClient, 'Counter' | 'Gauge' | 'Registry'>;

export interface LiveFigures {
  /** Calls on their way now, streams included. */
  readonly callsOpen: number;
  readonly policyRevision: string;
  readonly policyLoadedAt: number;
  readonly policyHealthy: boolean;
  readonly auditLines: number;
  readonly auditFailures: number;
  readonly auditHealthy: boolean;
  readonly bufferedBytes: number;
  readonly sinks: readonly SinkStatus[];
  readonly feeds: readonly FeedStatus[];
  readonly indicators: IntelSnapshot;
  readonly version: string;
}

/** What the guard has counted, as Prometheus text exposition, and its media type. */
export async function renderMetrics(
  { decisions, outcomes, clientErrors, overLimits, reloads, connections, bytes }: Metrics,
  live: LiveFigures,
): Promise<{ readonly text: string; readonly contentType: string }> {
  // The default export is there in a bundle as well, where a package in CommonJS has no other.
  const { default: client } = await import('prom-client');
  const registry = new client.Registry();
  const counter = (name: string, help: string, labelNames: string[] = []): Counter =>
    new client.Counter({ name: `breakwater_${name}`, help, labelNames, registers: [registry] });
  const gauge = (name: string, help: string, value: number, labels: Record<string, string> = {}): void =>
    new client.Gauge({
      name: `breakwater_${name}`,
      help,
      labelNames: Object.keys(labels),
      registers: [registry],
    }).set(labels, value);

  const calls = counter('decisions_total', 'Calls decided', ['operation', 'verdict', 'code']);
  for (const [operation, byCode] of decisions) {
    for (const [key, count] of byCode) {
      const [verdict = '', code = 'allowed'] = key.split(' ');
      calls.inc({ operation: operation === '' ? 'unreadable' : operation, verdict, code }, count);
    }
  }
  const ends = counter('outcomes_total', 'Calls ended', ['end', 'status']);
  for (const [key, count] of outcomes) {
    const [end = '', status = '2xx'] = key.split(' ');
    ends.inc({ end, status }, count);
  }
  const errors = counter('client_errors_total', 'Connections cut before a request was whole', ['reason']);
  for (const [reason, count] of clientErrors) errors.inc({ reason }, count);
  const limited = counter(
    'rate_limited_total',
    'Calls over a rate limit: refused, slowed down, or observed',
    ['source', 'limit'],
  );
  for (const [key, count] of overLimits) {
    const [source = '', limit = ''] = key.split(' ');
    limited.inc({ source, limit }, count);
  }
  const loads = counter('policy_reloads_total', 'Policy reloads', ['result']);
  loads.inc({ result: 'ok' }, reloads.ok);
  loads.inc({ result: 'failed' }, reloads.failed);
  counter('connections_accepted_total', 'Connections accepted').inc(connections.accepted);
  counter('connections_dropped_total', 'Connections refused at limits.connections').inc(connections.dropped);
  counter('received_bytes_total', 'Body bytes from clients').inc(bytes.in);
  counter('sent_bytes_total', 'Body bytes to clients').inc(bytes.out);
  counter('audit_lines_total', 'Audit lines written').inc(live.auditLines);
  counter('audit_failures_total', 'Audit lines that could not be written').inc(live.auditFailures);
  gauge('connections_open', 'Connections open now', connections.open);
  gauge('calls_open', 'Calls on their way now, streams included', live.callsOpen);
  gauge('buffered_body_bytes', 'Request bodies held in memory now', live.bufferedBytes);
  gauge('audit_healthy', '1 when the last audit write worked', Number(live.auditHealthy));
  gauge(
    'policy_healthy',
    '1 when the newest policy is in force, 0 when the last good one is',
    Number(live.policyHealthy),
  );
  gauge('policy_loaded_timestamp_seconds', 'When the policy in force was loaded', live.policyLoadedAt / 1000);
  gauge('policy_info', 'Policy in force', 1, { revision: live.policyRevision });
  renderFeeds(client, registry, live);
  renderSinks(client, registry, live);
  gauge('build_info', 'Breakwater build', 1, { version: live.version, node: process.versions.node });
  gauge('resident_memory_bytes', 'Resident set size', process.memoryUsage.rss());
  return { text: await registry.metrics(), contentType: registry.contentType };
}

function renderSinks(client: Client, registry: Registry, { sinks }: LiveFigures): void {
  const gauge = (name: string, help: string): Gauge =>
    new client.Gauge({ name: `breakwater_sink_${name}`, help, labelNames: ['sink'], registers: [registry] });
  const figures = {
    delivered: gauge('delivered', 'Number of the last record that the receiver has confirmed'),
    behind: gauge('behind', 'Records of the audit journal that the receiver has not confirmed'),
    dropped: gauge('dropped', 'Records that were gone before they were delivered'),
    refused: gauge('refused', 'Records that the receiver refused for good'),
  };
  const failing = gauge('failing', '1 when the last attempt failed');
  for (const { name: sink, error, ...status } of sinks) {
    for (const key of Object.keys(figures) as (keyof typeof figures)[])
      figures[key].set({ sink }, status[key]);
    failing.set({ sink }, Number(error !== ''));
  }
}

function renderFeeds(client: Client, registry: Registry, { feeds, indicators }: LiveFigures): void {
  const gauge = (name: string, help: string, labelNames: string[]): Gauge =>
    new client.Gauge({ name: `breakwater_${name}`, help, labelNames, registers: [registry] });
  const listed = gauge('indicators', 'Indicators in force', ['type']);
  for (const [type, count] of Object.entries(indicators.index.counts)) listed.set({ type }, count);
  gauge('indicators_info', 'Index in force', ['revision']).set({ revision: indicators.revision }, 1);
  const entries = gauge('feed_indicators', 'Indicators of the last good copy of a feed', ['feed']);
  const age = gauge('feed_age_seconds', 'Since a feed last answered well', ['feed']);
  const stale = gauge('feed_stale', '1 when a feed did not answer well for three refresh intervals', [
    'feed',
  ]);
  const failing = gauge('feed_failing', '1 when the last attempt on a feed failed', ['feed']);
  for (const { name: feed, ...status } of feeds) {
    entries.set({ feed }, status.indicators);
    if (status.hasData) age.set({ feed }, Math.max(0, Date.now() - status.checkedAt) / 1000);
    stale.set({ feed }, Number(status.stale));
    failing.set({ feed }, Number(status.error !== ''));
  }
}
