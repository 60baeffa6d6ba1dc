import { VERSION_DIFFERENCES } from '../../docker/catalogue/api-versions.js';
import { PARAMETER_COSTS } from '../../docker/catalogue/parameter-costs.js';
import { OPERATIONS } from '../../docker/catalogue.js';
import { quotasSchema } from '../../policy/quotas-schema.js';
import { redactSchema } from '../../policy/redact-schema.js';
import { rewriteSchema } from '../../policy/rewrite-schema.js';
import { policyFileSchema } from '../../policy/schema.js';
import { keysTable } from './config-page.js';
import { code, table } from './markdown.js';

/** The generated parts of docs/reference/policy.md. */
export const policyParts = (): ReadonlyMap<string, string> =>
  new Map([
    ['file', keysTable(policyFileSchema, '', ['sources.*.limits', 'rules[].rewrite', 'rules[].redact'])],
    ['limits', keysTable(quotasSchema, '')],
    ['rewrite', keysTable(rewriteSchema, '')],
    ['redact', keysTable(redactSchema, '')],
  ]);

/** The generated parts of docs/reference/operations.md. */
export function operationsParts(): ReadonlyMap<string, string> {
  const sets = [...new Set(OPERATIONS.flatMap((operation) => operation.sets))].sort();
  const members = (set: string): string[] =>
    OPERATIONS.filter((operation) => operation.sets.some((member) => member === set)).map(({ id }) =>
      code(id),
    );
  return new Map([
    [
      'sets',
      table(
        ['set', 'operations'],
        sets.map((set) => [code(`@${set}`), members(set).join(', ')]),
      ),
    ],
    [
      'operations',
      table(
        ['operation', 'request', 'sets', 'API', 'answer'],
        OPERATIONS.map(({ id, method, path, sets: own, since, until, response, writes }) => [
          code(id),
          code(`${method} ${path}`),
          own.map((set) => code(`@${set}`)).join(', '),
          until === undefined ? `1.${since} –` : `1.${since} – 1.${until}`,
          `${response}${writes ? ', writes' : ''}`,
        ]),
      ),
    ],
    [
      'parameters',
      table(
        ['parameter', 'what its largest value costs the engine'],
        Object.entries(PARAMETER_COSTS).map(([name, cost]) => [code(name), cost]),
      ),
    ],
    [
      'versions',
      table(
        ['operations', 'before', 'what engines do', 'what the guard reads'],
        VERSION_DIFFERENCES.map(({ operations: own, before, engine, guard, reading }) => [
          own.map(code).join(', '),
          `1.${before}`,
          engine,
          `${guard}: ${reading}`,
        ]),
      ),
    ],
  ]);
}
