import { randomBytes } from 'node:crypto';
import { syslogSeverity } from '../formats/gelf.js';
import type { Outgoing } from './sink.js';

/** Who sends, for the headers of syslog. */
export interface Origin {
  readonly host: string;
  readonly facility: number;
}

/** Most that a UDP datagram takes over IPv4. */
const DATAGRAM = 65_507;
/** GELF 1.1: a chunk has a head of 12 bytes; this many bytes pass any path without fragments. */
const CHUNK = 1_420 - 12;
const MAX_CHUNKS = 128;

/** A SD-PARAM's value (RFC 5424, 6.3.3): `"`, `\` and `]` are escaped. */
const sdValue = (value: string): string => value.replace(/["\\\]]/g, '\\$&');
/** What a header field may hold: printable ASCII. */
const token = (value: string, most: number): string =>
  value.replace(/[^\x21-\x7e]/g, '?').slice(0, most) || '-';

/**
 * One RFC 5424 message. The time is the record's own; the id stands in the structured data. No byte order mark: parsers of
 * JSON and CEF stumble over it. 32473 is the enterprise number for examples (RFC 5612): Breakwater has none.
 */
export function syslogMessage(message: Outgoing, { host, facility }: Origin): string {
  const priority = facility * 8 + syslogSeverity(message.severity);
  const time = message.time === 0 ? '-' : new Date(message.time).toISOString();
  const data = `[breakwater@32473 id="${sdValue(message.id)}" seq="${message.seq}"]`;
  return `<${priority}>1 ${time} ${token(host, 255)} breakwater - audit ${data} ${message.text}`;
}

/** Octet counting (RFC 6587, 3.4.1): a line end inside of a message ends nothing. */
export function counted(message: string): string {
  return `${Buffer.byteLength(message)} ${message}`;
}

/** The datagrams of a message; a text when it does not go into any. */
export function syslogDatagrams(text: string): Buffer[] | string {
  const bytes = Buffer.from(text);
  return bytes.length > DATAGRAM ? `${bytes.length} bytes are more than a datagram takes` : [bytes];
}

/** The datagrams of a GELF message, chunked where it is long; a text when it is too long. */
export function gelfDatagrams(text: string): Buffer[] | string {
  const bytes = Buffer.from(text);
  if (bytes.length <= CHUNK + 12) return [bytes];
  const count = Math.ceil(bytes.length / CHUNK);
  if (count > MAX_CHUNKS) return `${bytes.length} bytes are more than ${MAX_CHUNKS} chunks of GELF take`;
  const id = randomBytes(8);
  return Array.from({ length: count }, (_, index) =>
    Buffer.concat([
      Buffer.from([0x1e, 0x0f]),
      id,
      Buffer.from([index, count]),
      bytes.subarray(index * CHUNK, (index + 1) * CHUNK),
    ]),
  );
}
