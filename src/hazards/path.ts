/**
 * Cleans a slash-separated path as Go's path.Clean does (path/path.go): no `.`, no `//`, `..` resolved without
 * looking at the file system, `"."` for nothing. The daemon cleans bind sources so before it mounts them.
 */
export function cleanPath(path: string): string {
  const rooted = path.startsWith('/');
  const kept: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') kept.push(part);
    else if (kept.length > 0 && kept.at(-1) !== '..') kept.pop();
    else if (!rooted) kept.push('..');
  }
  const joined = kept.join('/');
  return rooted ? `/${joined}` : joined || '.';
}

const SOCKET_NAMES = new Set([
  'docker.sock',
  'containerd.sock',
  'podman.sock',
  'crio.sock',
  'buildkitd.sock',
  'dockershim.sock',
  'cri-dockerd.sock',
]);

// Directories in which engines keep their sockets: mounting one of them, or a directory above, gives access to the socket.
const SOCKET_PLACES = ['/run', '/run/docker', '/run/containerd', '/run/podman', '/run/crio', '/run/buildkit'];

/**
 * May this cleaned host path hold the socket of a container engine? True for sockets by name, for the directories
 * they live in and all above them (`/`, `/run`, `/var`, `/var/run`), per-user ones (`/run/user/1000`), and for
 * `/proc`, through which `/proc/1/root` is the whole host again.
 */
export function mayHoldEngineSocket(path: string): boolean {
  // /var/run is /run on every current distribution.
  const place = path === '/var' ? '/run' : path.startsWith('/var/run') ? path.slice(4) : path;
  if (place === '/' || place === '/proc' || place.startsWith('/proc/')) return true;
  if (SOCKET_PLACES.includes(place) || /^\/run\/user(\/[^/]*)?$/.test(place)) return true;
  return SOCKET_NAMES.has(place.slice(place.lastIndexOf('/') + 1));
}
