import { block } from './markdown.js';

/**
 * The generated part of docs/reference/cli.md.
 *
 * @param help prints what `breakwater ARGUMENTS` prints.
 */
export function cliParts(help: (args: readonly string[]) => string): ReadonlyMap<string, string> {
  // A new version alone does not make the page stale.
  const usage = help(['--help']).replace(/^breakwater \S+:/, 'breakwater VERSION:');
  const names = [...usage.matchAll(/^ {2}([a-z]+) /gm)].map(([, name = '']) => name);
  const commands = names.map((name) => `## breakwater ${name}\n\n${block(help([name, '--help']))}`);
  return new Map([['commands', [block(usage), ...commands].join('\n\n')]]);
}
