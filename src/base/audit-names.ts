/*
 * Names around the audit trail that stand in the configuration, on the command line and in the records themselves.
 */

/** The formats of records; `breakwater` is the record as it stands. */
export const RECORD_FORMATS = ['breakwater', 'ocsf', 'ecs', 'cef', 'leef', 'gelf'] as const;
export type RecordFormat = (typeof RECORD_FORMATS)[number];

/** The events of a journal. */
export const RECORD_EVENTS = [
  'decision',
  'outcome',
  'egress',
  'alert',
  'checkpoint',
  'segment',
  'journal',
] as const;

/** Receivers that are reached by HTTP, and all of them. */
export const HTTP_SINKS = ['splunk-hec', 'elasticsearch', 'loki', 'otlp', 'sentinel', 'webhook'] as const;
export type HttpSinkType = (typeof HTTP_SINKS)[number];
export const SINKS = ['syslog', 'gelf', ...HTTP_SINKS, 'file', 'stdout'] as const;
export type SinkType = (typeof SINKS)[number];
