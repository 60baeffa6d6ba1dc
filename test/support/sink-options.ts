import type { SinkConfig } from '../../src/audit/sinks/sink.js';

/** A sink that waits for nothing longer than it must; a test says the rest. */
export const SINK: Omit<SinkConfig, 'url'> = {
  name: 'siem',
  type: 'syslog',
  format: 'breakwater',
  headers: {},
  tls: {},
  batch: { records: 500, bytes: 512 * 1024, interval: 5 },
  timeout: 5_000,
  retry: { min: 20, max: 200 },
  confirm: { records: 2_000, interval: 200, settle: 1_000 },
  facility: 13,
  index: '',
  acknowledge: false,
  labels: {},
  body: 'array',
};
