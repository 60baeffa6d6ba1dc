import { RECORD_FIELDS } from '../../audit/event-fields.js';
import { code, table } from './markdown.js';

/** The generated part of docs/reference/audit-events.md. */
export const auditParts = (): ReadonlyMap<string, string> =>
  new Map([
    [
      'fields',
      RECORD_FIELDS.map(({ title, fields }) => {
        const rows = Object.entries(fields).map(([name, [type, meaning]]) => [code(name), type, meaning]);
        return `${title}:\n\n${table(['field', 'type', 'meaning'], rows)}`;
      }).join('\n\n'),
    ],
  ]);
