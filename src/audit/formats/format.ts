import type { RecordFormat } from '../../base/audit-names.js';
import { escapeUnseen } from '../event-line.js';
import { toCef, toLeef } from './cef.js';
import { toEcs } from './ecs.js';
import { toGelf } from './gelf.js';
import { toOcsf } from './ocsf.js';
import { summarize, type Summary, type TrailEvent } from './summary.js';

/** Who sends: what formats say of the sender. */
export interface Sender {
  /** Version of Breakwater. */
  readonly version: string;
  readonly host: string;
}

/** A record in a format of a SIEM. */
export interface Message {
  /** Stable: the same whenever the same record is sent. */
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** 0 to 10. */
  readonly severity: number;
  /** One line: JSON, or the format's own. */
  readonly text: string;
}

type Formatter = (summary: Summary, sender: Sender) => readonly string[];

const line = (value: object): string => escapeUnseen(JSON.stringify(value));

/** The formats by name. */
const FORMATTERS: Readonly<Record<RecordFormat, Formatter>> = {
  breakwater: ({ event }) => [line(event)],
  ocsf: (summary, { version }) => toOcsf(summary, version).map(line),
  ecs: (summary, { version }) => [line(toEcs(summary, version))],
  cef: (summary, { version }) => [toCef(summary, version)],
  leef: (summary, { version }) => [toLeef(summary, version)],
  gelf: (summary, { host }) => [line(toGelf(summary, host))],
};

/** A record as messages of a format: mostly one; OCSF has a finding for each indicator and each sequence besides. */
export function formatRecord(format: RecordFormat, event: TrailEvent, sender: Sender): Message[] {
  const summary = summarize(event);
  const { id, time, severity } = summary;
  return FORMATTERS[format](summary, sender).map((text, index) => ({
    id: index === 0 ? id : `${id}.f${index}`,
    time,
    severity,
    text,
  }));
}
