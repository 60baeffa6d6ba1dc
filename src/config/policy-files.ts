import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { PolicyFile, PolicyProblem } from '../policy/compile.js';

/** Largest policy file that is read, in bytes; a device or an endless file is no policy. */
const MAX_FILE_BYTES = 16 * 2 ** 20;

const SCHEMA_SUFFIX = '.schema.json';

/** `*.json` of a directory, but not JSON Schemas, and nothing hidden (`..data` of Kubernetes, editors' files). */
function isPolicyName(name: string): boolean {
  return name.endsWith('.json') && !name.endsWith(SCHEMA_SUFFIX) && !name.startsWith('.');
}

/** The files that the paths stand for, each once: files as given, directories by their `*.json`, sorted. */
async function listFiles(paths: readonly string[], problems: PolicyProblem[]): Promise<string[]> {
  const names = new Set<string>();
  for (const path of paths) {
    const report = (message: string): void => void problems.push({ file: path, pointer: '', message });
    try {
      if (!(await stat(path)).isDirectory()) {
        names.add(path);
        continue;
      }
      const found = (await readdir(path)).filter(isPolicyName).sort();
      if (found.length === 0) report('the directory holds no policy file (*.json)');
      for (const name of found) names.add(join(path, name));
    } catch (error) {
      report(`cannot be read: ${(error as Error).message}`);
    }
  }
  if (paths.length === 0) problems.push({ file: '', pointer: '', message: 'no policy file was named' });
  return [...names];
}

/**
 * Reads policy files and directories. Never throws: what cannot be read is a problem, and with any problem the
 * files are no policy.
 */
export async function readPolicyFiles(
  paths: readonly string[],
): Promise<{ files: PolicyFile[]; problems: PolicyProblem[] }> {
  const problems: PolicyProblem[] = [];
  const files: PolicyFile[] = [];
  for (const name of await listFiles(paths, problems)) {
    const report = (message: string): void => void problems.push({ file: name, pointer: '', message });
    try {
      const stats = await stat(name);
      if (!stats.isFile()) report('is not a regular file');
      else if (stats.size > MAX_FILE_BYTES)
        report(`has ${stats.size} bytes; at most ${MAX_FILE_BYTES} are read`);
      else if (name.endsWith(SCHEMA_SUFFIX))
        report('is a JSON Schema and no policy: leave it out, or name the directory');
      else files.push({ name, text: await readUtf8(name) });
    } catch (error) {
      report(`cannot be read: ${(error as Error).message}`);
    }
  }
  return { files, problems };
}

/** Bytes that are not UTF-8 would otherwise silently become U+FFFD. */
async function readUtf8(name: string): Promise<string> {
  const bytes = await readFile(name);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Error('it is not UTF-8 text');
  }
}

/**
 * What the paths look like now, for noticing changes. Links are followed, so a swapped link (Kubernetes ConfigMap
 * `..data`, an editor's rename) shows as another inode or change time.
 */
export async function signPolicyFiles(paths: readonly string[]): Promise<string> {
  const names = await listFiles(paths, []);
  const lines = await Promise.all(
    names.map((name) =>
      stat(name, { bigint: true }).then(
        (s) => `${name}\0${s.dev}:${s.ino}:${s.size}:${s.mtimeNs}:${s.ctimeNs}`,
        (error: NodeJS.ErrnoException) => `${name}\0${error.code}`,
      ),
    ),
  );
  return lines.join('\n');
}
