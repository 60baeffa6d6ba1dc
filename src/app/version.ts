import { readFileSync } from 'node:fs';

/** The version of package.json, two levels above the built file's room. */
export const VERSION: string = (
  JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;
