import type { HttpSinkType } from '../../base/audit-names.js';
import type { Outcome, Outgoing, SinkConfig } from './sink.js';
import { TAKEN } from './sink.js';

/** How a receiver wants messages, and what its answer means. */
export interface HttpKind {
  /** Appended to a URL without a path. */
  readonly path: string;
  readonly contentType: string;
  /** The word before the token in `Authorization`. */
  readonly scheme: string;
  /** One post takes so many bytes; 0: no limit of its own. */
  readonly limit: number;
  body(messages: readonly Outgoing[], config: SinkConfig, host: string): string;
  /** Reads the answer to a post that went well. @throws Error when it is not the answer of such a receiver. */
  readOutcome?(answer: string, messages: readonly Outgoing[]): Outcome;
}

const isJson = (config: SinkConfig): boolean => config.format !== 'cef' && config.format !== 'leef';
/** The record as JSON: as it stands, or as a JSON text. */
const value = (message: Outgoing, config: SinkConfig): string =>
  isJson(config) ? message.text : JSON.stringify(message.text);
const array = (messages: readonly Outgoing[], config: SinkConfig): string =>
  `[${messages.map((message) => value(message, config)).join(',')}]`;

export const HTTP_KINDS: Readonly<Record<HttpSinkType, HttpKind>> = {
  'splunk-hec': {
    path: '/services/collector/event',
    contentType: 'application/json',
    scheme: 'Splunk',
    limit: 0,
    body: (messages, config, host) =>
      messages
        .map((message) => {
          const head = JSON.stringify({
            time: message.time / 1000,
            host,
            source: 'breakwater',
            sourcetype: `breakwater:${config.format}`,
            ...(config.index === '' ? {} : { index: config.index }),
          });
          return `${head.slice(0, -1)},"event":${value(message, config)}}`;
        })
        .join('\n'),
  },
  elasticsearch: {
    path: '/_bulk',
    contentType: 'application/x-ndjson',
    scheme: 'ApiKey',
    limit: 0,
    // `create` with the id: a duplicate is refused with 409, so each record is stored once.
    body: (messages, config) =>
      messages
        .map(
          (message) =>
            `${JSON.stringify({ create: { _index: config.index || 'breakwater-audit', _id: message.id } })}\n${message.text}\n`,
        )
        .join(''),
    readOutcome: readBulkOutcome,
  },
  loki: {
    path: '/loki/api/v1/push',
    contentType: 'application/json',
    scheme: 'Bearer',
    limit: 0,
    body: (messages, config, host) =>
      JSON.stringify({
        streams: [
          {
            stream: { service_name: 'breakwater', host, ...config.labels },
            // Nanoseconds as a text: a number would lose its last digits.
            values: messages.map((message) => [`${message.time}000000`, message.text]),
          },
        ],
      }),
  },
  otlp: {
    path: '/v1/logs',
    contentType: 'application/json',
    scheme: 'Bearer',
    limit: 0,
    body: (messages, _config, host) =>
      JSON.stringify({
        resourceLogs: [
          {
            resource: { attributes: [attribute('service.name', 'breakwater'), attribute('host.name', host)] },
            scopeLogs: [
              {
                scope: { name: 'breakwater.audit' },
                logRecords: messages.map((message) => ({
                  timeUnixNano: `${message.time}000000`,
                  severityNumber: otlpSeverity(message.severity),
                  body: { stringValue: message.text },
                  attributes: [attribute('log.record.uid', message.id)],
                })),
              },
            ],
          },
        ],
      }),
    readOutcome(answer) {
      const { partialSuccess } = parse(answer === '' ? '{}' : answer);
      const { rejectedLogRecords, errorMessage } = Object(partialSuccess) as Record<string, unknown>;
      const count = Number(rejectedLogRecords ?? 0);
      // The protocol says not to send them again, and does not say which.
      return count > 0
        ? { ...TAKEN, unnamed: { count, reason: short(errorMessage ?? 'no reason given') } }
        : TAKEN;
    },
  },
  sentinel: {
    path: '',
    contentType: 'application/json',
    scheme: 'Bearer',
    // The Logs Ingestion API takes 1 MB.
    limit: 1_000_000,
    body: array,
  },
  webhook: {
    path: '',
    contentType: 'application/json',
    scheme: 'Bearer',
    limit: 0,
    body: (messages, config) =>
      config.body === 'array'
        ? array(messages, config)
        : messages.map((message) => `${value(message, config)}\n`).join(''),
  },
};

/** Severity 0 to 10 as a severityNumber of OTLP: 9 INFO, 13 WARN, 17 ERROR. */
export const otlpSeverity = (severity: number): number => (severity >= 7 ? 17 : severity >= 4 ? 13 : 9);

const attribute = (key: string, text: string): object => ({ key, value: { stringValue: text } });
export const short = (reason: unknown): string =>
  (typeof reason === 'string' ? reason : (JSON.stringify(reason) ?? '')).replace(/\s+/g, ' ').slice(0, 300);

/** @throws Error when it is no JSON object. */
export function parse(answer: string): Record<string, unknown> {
  let found: unknown;
  try {
    found = JSON.parse(answer);
  } catch {
    found = undefined;
  }
  if (typeof found !== 'object' || found === null) throw new Error(`answered with no JSON: ${short(answer)}`);
  return found as Record<string, unknown>;
}

function readBulkOutcome(answer: string, messages: readonly Outgoing[]): Outcome {
  const { items } = parse(answer);
  if (!Array.isArray(items) || items.length !== messages.length) {
    throw new Error('answered with another number of items than were sent');
  }
  const refused = new Map<Outgoing, string>();
  const again = new Map<Outgoing, string>();
  messages.forEach((message, index) => {
    const { create } = Object(items[index]) as Record<string, unknown>;
    const { status, error } = Object(create) as Record<string, unknown>;
    const code = Number(status);
    if ((code >= 200 && code < 300) || code === 409) return;
    const isFinal = code >= 400 && code < 500 && ![401, 403, 404, 408, 429].includes(code);
    (isFinal ? refused : again).set(message, `${code} ${short(error ?? '')}`);
  });
  return { refused, again };
}
