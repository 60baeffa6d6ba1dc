import { realpath } from 'node:fs/promises';
import { dirname, join, basename } from 'node:path';
import { Refusal } from '../docker/refusal.js';

/** Most paths of one call, and the longest wait for a file system that hangs (ms). */
const MAX_PATHS = 256;
const LOOKUP_TIMEOUT_MS = 2_000;

/**
 * Where host paths lead when their symbolic links are followed, for a guard on the engine's own host: a bind of
 * `/srv/ci/cache` is a bind of `/etc` when it is a link. Of a path that does not exist yet, the part that
 * does is resolved; the engine would make the rest.
 *
 * The file system can change between this and the mount: a permitted directory must not be writable for those whom
 * the policy is there to hold back (SECURITY.md).
 *
 * @returns only the paths that lead elsewhere. Rejects with Refusal 403 when there are too many, 503 when it takes too long.
 */
export async function resolveHostPaths(paths: readonly string[]): Promise<Readonly<Record<string, string>>> {
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
    const resolved = await Promise.race([Promise.all(paths.map(resolve)), late]);
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
      if (code !== 'ENOENT' && code !== 'ENOTDIR') {
        throw new Refusal(
          403,
          'host-paths',
          `the host path ${JSON.stringify(path.slice(0, 200))} cannot be looked up (${code})`,
        );
      }
      if (existing === '/' || existing === '.') return path;
      rest = join(basename(existing), rest);
      existing = dirname(existing);
    }
  }
}
