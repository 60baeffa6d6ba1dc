import { readlinkSync, statSync } from 'node:fs';
import { readlink, realpath } from 'node:fs/promises';
import { release } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { Refusal } from '../docker/refusal.js';

/** Most paths of one call, and the longest wait for a file system that hangs (ms). */
const MAX_PATHS = 256;
const LOOKUP_TIMEOUT_MS = 2_000;
/** As Linux has it: links that are followed for one path. */
const MAX_LINKS = 40;

/**
 * Where the file system of the engine's host is for this process: at this directory, read-only is enough; undefined where it
 * cannot be seen, because the engine is on another host, or this process has a view of its own.
 */
export type HostRoot = string | undefined;

/**
 * Numbers that Linux gives to the mount namespace in which a host starts: a fixed one since 6.18, one of the first two of the
 * dynamic ones before. Others may have those since.
 */
const FIXED_NAMESPACE = 'mnt:[4026531832]';
const FIRST_NAMESPACES = ['mnt:[4026531840]', 'mnt:[4026531841]'];

/**
 * Finds out whether this process sees the file system of the engine's host: the engine is on a unix socket, and this process
 * is in the mount namespace of the host. A container, or a service with PrivateTmp, has one of its own.
 *
 * @param configured `upstream.hostRoot`; null for "not at all", undefined for "find out".
 * @throws Error when that is no directory.
 */
export function openHostRoot(url: string, configured: string | null | undefined): HostRoot {
  if (configured === null) return undefined;
  if (configured === undefined) return url.startsWith('unix:') && isHostNamespace() ? '/' : undefined;
  const found = statSync(configured, { throwIfNoEntry: false });
  if (found?.isDirectory() !== true) throw new Error(`upstream.hostRoot ${configured} is no directory`);
  return configured;
}

function isHostNamespace(): boolean {
  const own = namespaceOf('self');
  if (own === FIXED_NAMESPACE) return true;
  const [major = 0, minor = 0] = release().split('.').map(Number);
  const mayBeDynamic = major < 6 || (major === 6 && minor < 18);
  return mayBeDynamic && FIRST_NAMESPACES.includes(own);
}

function namespaceOf(process: string): string {
  try {
    return readlinkSync(`/proc/${process}/ns/mnt`);
  } catch {
    return '';
  }
}

/**
 * Where host paths lead when their symbolic links are followed: a bind of `/srv/ci/cache` is a bind of `/etc` when it is a
 * link. Of a path that does not exist yet, the part that does is resolved; the engine would make the rest.
 *
 * The file system can change between this and the mount: a permitted directory must not be writable for those whom
 * the policy is there to hold back (SECURITY.md).
 *
 * @param root where the host's file system is; links are followed as they would be on the host, never out of it.
 * @returns only the paths that lead elsewhere. Rejects with Refusal 403 when there are too many, 503 when it takes too long.
 */
export async function resolveHostPaths(
  paths: readonly string[],
  root: string,
): Promise<Readonly<Record<string, string>>> {
  if (paths.length > MAX_PATHS) {
    throw new Refusal(403, 'host-paths', `a call may name at most ${MAX_PATHS} host paths`);
  }
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () =>
        reject(new Refusal(503, 'host-paths', 'the host paths of the call could not be looked up in time')),
      LOOKUP_TIMEOUT_MS,
    );
  });
  try {
    const found = paths.map(root === '/' ? resolve : (path) => resolveBelow(path, root));
    const resolved = await Promise.race([Promise.all(found), late]);
    const elsewhere = Object.create(null) as Record<string, string>;
    for (const [n, path] of paths.entries()) if (resolved[n] !== path) elsewhere[path] = resolved[n]!;
    return elsewhere;
  } finally {
    clearTimeout(timer);
  }
}

async function resolve(path: string): Promise<string> {
  let existing = path;
  let rest = '';
  for (;;) {
    try {
      return join(await realpath(existing), rest);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Links in a circle, or no right to look: the engine cannot be held to a path that cannot be resolved.
      if (code !== 'ENOENT' && code !== 'ENOTDIR') throw unresolved(path, code);
      if (existing === '/' || existing === '.') return path;
      rest = join(basename(existing), rest);
      existing = dirname(existing);
    }
  }
}

/**
 * The same below a directory that stands for the root. Name by name, because the kernel would follow a link to `/etc` to
 * the /etc of this process.
 */
async function resolveBelow(path: string, root: string): Promise<string> {
  const todo = path.split('/').reverse();
  const done: string[] = [];
  let links = 0;
  for (let name = todo.pop(); name !== undefined; name = todo.pop()) {
    if (name === '' || name === '.') continue;
    if (name === '..') {
      done.pop();
      continue;
    }
    let target: string;
    try {
      target = await readlink(join(root, ...done, name));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Something else than a link, or nothing yet.
      if (code !== 'EINVAL' && code !== 'ENOENT' && code !== 'ENOTDIR') throw unresolved(path, code);
      done.push(name);
      continue;
    }
    links += 1;
    if (links > MAX_LINKS) throw unresolved(path, 'ELOOP');
    if (target.startsWith('/')) done.length = 0;
    todo.push(...target.split('/').reverse());
  }
  return `/${done.join('/')}`;
}

const unresolved = (path: string, code = ''): Refusal =>
  new Refusal(
    403,
    'host-paths',
    `the host path ${JSON.stringify(path.slice(0, 200))} cannot be looked up (${code})`,
  );
