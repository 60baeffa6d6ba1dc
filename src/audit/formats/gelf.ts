import { plain } from './cef.js';
import type { Summary } from './summary.js';

/** GELF 1.1: additional fields begin with `_`, hold text or numbers, and `_id` is not allowed. */
export function toGelf(summary: Summary, host: string): object {
  const fields: Readonly<Record<string, string | number>> = {
    event_id: summary.id,
    seq: summary.seq,
    kind: summary.kind,
    verdict: summary.verdict,
    call: summary.call,
    operation: summary.operation,
    method: summary.method,
    sources: summary.sources.join(' '),
    client: summary.address,
    user: summary.user,
    hazards: summary.hazards.join(' '),
    sequences: summary.sequences.map(({ name }) => name).join(' '),
    techniques: summary.techniques.map(({ id }) => id).join(' '),
    indicators: summary.indicators.map(({ indicator }) => indicator).join(' '),
    rule: summary.rule,
    code: summary.code,
    image: summary.image,
    container: summary.container.name,
    destination: summary.destination.name || summary.destination.address,
    destination_port: summary.destination.port,
    count: summary.count,
  };
  const additional = Object.entries(fields).filter(([, value]) => value !== '' && value !== 0);
  return {
    version: '1.1',
    host,
    short_message: plain(summary.message || summary.name),
    full_message: JSON.stringify(summary.event),
    timestamp: summary.time / 1000,
    level: syslogSeverity(summary.severity),
    ...Object.fromEntries(additional.map(([key, value]) => [`_${key}`, value])),
  };
}

/** Severity 0 to 10 in syslog's words (RFC 5424 section 6.2.1): Informational 6, Notice 5, Warning 4, Error 3, Critical 2. */
export function syslogSeverity(severity: number): number {
  return [6, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2][severity] ?? 6;
}
