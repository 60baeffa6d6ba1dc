import { hazardsDocument } from '../../hazards/document.js';
import { auditParts } from './audit-page.js';
import { cliParts } from './cli-page.js';
import { configParts } from './config-page.js';
import { fill } from './markdown.js';
import { metricsParts } from './metrics-page.js';
import { operationsParts, policyParts } from './policy-page.js';
import { siemParts } from './siem-page.js';

/** What the generators need from outside. */
export interface PageSources {
  /** The text of a page below docs/reference as it is now. */
  readonly read: (page: string) => string;
  /** What `breakwater ARGUMENTS` prints. */
  readonly help: (args: readonly string[]) => string;
}

/**
 * The pages of docs/reference as they should be, by name: their generated parts are written anew, the rest is as it is.
 * `npm run docs` writes them, and a test holds them fresh.
 */
export async function referencePages({ read, help }: PageSources): Promise<ReadonlyMap<string, string>> {
  const parts: readonly (readonly [page: string, parts: ReadonlyMap<string, string>])[] = [
    ['config.md', configParts()],
    ['policy.md', policyParts()],
    ['operations.md', operationsParts()],
    ['cli.md', cliParts(help)],
    ['audit-events.md', auditParts()],
    ['siem-formats.md', siemParts()],
    ['metrics.md', await metricsParts()],
  ];
  return new Map([
    ['hazards.md', hazardsDocument()],
    ...parts.map(([page, made]): [string, string] => [page, fill(read(page), made)]),
  ]);
}
