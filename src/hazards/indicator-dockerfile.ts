import type { DockerfileReading } from '../docker/dockerfile/model.js';
import { scan, searchText, type Search } from './indicator-search.js';

const lenient = new TextDecoder();

/**
 * Looks for indicators in a Dockerfile: every line as it stands, comments and stages that are not built too; every
 * instruction with its continuations joined, its variables substituted, and decoded; where it has no clear reading, the
 * whole text decoded as one.
 */
export function searchDockerfile(search: Search, content: Uint8Array, reading: DockerfileReading): void {
  const text = lenient.decode(content);
  for (const [at, line] of text.split('\n').entries()) {
    if (search.truncated) return;
    scan(search, line, `Dockerfile line ${at + 1}`);
  }
  if (!reading.clear) {
    searchText(search, text, 'Dockerfile', 'command');
    return;
  }
  const triggers = new Set<number>();
  for (const { text, line, variable } of reading.steps) {
    searchText(search, text, `Dockerfile line ${line}`, 'command', variable);
    if (/^onbuild\b/i.test(text)) triggers.add(line);
  }
  // A trigger runs with the variables of the stages that are built on its own.
  for (const { commands } of reading.stages) {
    for (const { args, line, variable } of commands) {
      if (!triggers.has(line)) continue;
      searchText(search, args.join(' '), `Dockerfile line ${line}`, 'command', variable);
    }
  }
}
