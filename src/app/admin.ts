import { createServer, type Server, type ServerResponse } from 'node:http';
import { ignoreSocketErrors } from '../base/socket-errors.js';
import { bind } from './bind.js';
import { feedsHealth, withoutData } from './feeds.js';
import { VERSION } from './version.js';
import type { Sinks } from '../audit/sinks/sinks.js';
import type { Guard } from '../guard/guard.js';
import { renderMetrics } from './metrics.js';

/** Longest wait for the engine's answer behind `/readyz` (ms). */
const READY_TIMEOUT_MS = 3_000;

/**
 * `/healthz`: the process works, which policy and which indicators are in force (`degraded` while the newest policy does
 * not load, a feed is stale or a receiver of the audit journal fails). `/readyz`: a real ping of the engine, the audit trail can be written, and every feed has
 * data where that is required. `/metrics`: Prometheus text.
 *
 * @throws Error when the address cannot be bound.
 */
export async function openAdmin(
  guard: AdminGuard,
  address: string,
): Promise<{ url: string; server: Server }> {
  const url = new URL(address);
  const server = ignoreSocketErrors(
    createServer(
      { headersTimeout: 5_000, requestTimeout: 10_000, maxHeaderSize: 8192 },
      (request, response) => {
        const path = (request.url ?? '').split('?', 1)[0];
        const page = request.method === 'GET' || request.method === 'HEAD' ? PAGES[path ?? ''] : undefined;
        if (page === undefined) {
          send(response, 404, 'application/json', '{"message":"try /healthz, /readyz or /metrics"}');
          return;
        }
        page(guard, response).catch((error: Error) => {
          send(response, 500, 'application/json', JSON.stringify({ message: error.message }));
        });
      },
    ),
  );
  server.maxConnections = 64;
  // A socket that a killed guard left is in the way of no other one.
  const bound = await bind(server, { name: 'admin', url: address }, url, (message) =>
    guard.log.warn(message),
  );
  return { url: bound.replace(/^tcp:/, 'http:'), server };
}

/** A guard, and who sends its audit journal on; undefined without `audit.sinks`. */
export interface AdminGuard extends Guard {
  readonly sinks: Sinks | undefined;
}

type Page = (guard: AdminGuard, response: ServerResponse) => Promise<void>;

const PAGES: Readonly<Record<string, Page>> = {
  '/healthz': async (guard, response) => {
    const { policy, revision, loadedAt } = guard.policy.current;
    const error = guard.policy.lastError();
    const stale = guard.feeds.status().some((feed) => feed.stale);
    const sinks = guard.sinks?.status() ?? [];
    const failing = sinks.some((sink) => sink.error !== '');
    const healthy = error === undefined && guard.audit.stats.healthy && !stale && !failing;
    sendJson(response, 200, {
      status: healthy ? 'ok' : 'degraded',
      version: VERSION,
      policy: { revision, loadedAt, files: policy.files, rules: policy.rules, error: error ?? null },
      audit: guard.audit.stats,
      sinks,
      feeds: feedsHealth(guard.feeds),
    });
  },
  '/readyz': async (guard, response) => {
    const problems: string[] = [];
    if (guard.admission.isClosed) problems.push('the guard is shutting down');
    if (!guard.audit.stats.healthy) problems.push('the audit trail cannot be written');
    await guard.engine
      .ping(READY_TIMEOUT_MS)
      .catch((error: Error) => problems.push(`engine ${guard.config.upstream.url}: ${error.message}`));
    const missing = withoutData(guard.feeds.status());
    if (guard.config.feeds.required) problems.push(...missing);
    const notes = guard.config.feeds.required ? [] : missing;
    const ready = problems.length === 0;
    sendJson(response, ready ? 200 : 503, { ready, problems, notes });
  },
  '/metrics': async (guard, response) => {
    const { revision, loadedAt } = guard.policy.current;
    const { text, contentType } = await renderMetrics(guard.metrics, {
      callsOpen: guard.admission.open,
      policyRevision: revision,
      policyLoadedAt: loadedAt.getTime(),
      policyHealthy: guard.policy.lastError() === undefined,
      auditLines: guard.audit.stats.lines,
      auditFailures: guard.audit.stats.failures,
      auditHealthy: guard.audit.stats.healthy,
      bufferedBytes: guard.budget.used,
      sinks: guard.sinks?.status() ?? [],
      feeds: guard.feeds.status(),
      indicators: guard.feeds.store.current,
      version: VERSION,
    });
    send(response, 200, contentType, text);
  },
};

function sendJson(response: ServerResponse, status: number, value: object): void {
  send(response, status, 'application/json', `${JSON.stringify(value)}\n`);
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}
