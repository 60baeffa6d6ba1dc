import { RECORD_FORMATS } from '../../base/audit-names.js';
import { syslogSeverity } from '../../audit/formats/gelf.js';
import { ocsfSeverity } from '../../audit/formats/ocsf.js';
import { otlpSeverity } from '../../audit/sinks/http-kinds.js';
import { code, table } from './markdown.js';

const OCSF = ['', 'Informational', 'Low', 'Medium', 'High', 'Critical'];
const SYSLOG = ['', '', 'Critical', 'Error', 'Warning', 'Notice', 'Informational'];
const OTLP: Readonly<Record<number, string>> = { 9: 'INFO', 13: 'WARN', 17: 'ERROR' };

/** The generated parts of docs/reference/siem-formats.md; a test holds the others against what is written. */
export const siemParts = (): ReadonlyMap<string, string> =>
  new Map([
    ['formats', `The formats are ${RECORD_FORMATS.map(code).join(', ')}.`],
    ['severities', severityTable()],
  ]);

/** What each format makes of a severity, one row for neighbours that are the same. */
function severityTable(): string {
  const groups: { from: number; to: number; readonly words: readonly string[] }[] = [];
  for (let severity = 0; severity <= 10; severity++) {
    const words = wordsOf(severity);
    const last = groups.at(-1);
    if (last !== undefined && last.words.join() === words.join()) last.to = severity;
    else groups.push({ from: severity, to: severity, words });
  }
  return table(
    ['severity', 'OCSF `severity_id`', 'syslog, GELF `level`', 'OTLP'],
    groups.map(({ from, to, words }) => [from === to ? String(from) : `${from} to ${to}`, ...words]),
  );
}

function wordsOf(severity: number): string[] {
  const ocsf = ocsfSeverity(severity);
  const syslog = syslogSeverity(severity);
  const otlp = otlpSeverity(severity);
  return [`${ocsf} ${OCSF[ocsf]}`, `${syslog} ${SYSLOG[syslog]}`, `${otlp} ${OTLP[otlp]}`];
}
