import { chmodSync, chownSync, existsSync, lstatSync, readFileSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import type { ListenConfig } from '../config/config.js';

/**
 * Binds a server to the address of a listener: a unix socket with mode and group, or a port. A host without IPv6 gets
 * 0.0.0.0 for [::].
 *
 * @returns the URL it is bound to, with the real port. Rejects with an Error that names the address.
 */
export async function bind(
  server: Server,
  config: Pick<ListenConfig, 'name' | 'url' | 'mode' | 'group'>,
  url: URL,
  warn: (message: string) => void,
): Promise<string> {
  if (url.protocol === 'unix:') {
    const path = decodeURIComponent(url.pathname);
    // Before there is anything that would have to be closed again.
    const group = config.group === undefined ? undefined : groupId(config.group, config.url);
    // Node says "permission denied" of this.
    if (!existsSync(dirname(path))) {
      throw new Error(
        `cannot listen on ${config.url}: there is no directory ${dirname(path)}; make it first`,
      );
    }
    await clearStaleSocket(path);
    // No client may connect between bind and chmod.
    const mask = process.umask(0o177);
    try {
      await listening(server, { path }, config.url);
    } finally {
      process.umask(mask);
    }
    try {
      if (group !== undefined) chownSync(path, process.getuid?.() ?? 0, group);
      chmodSync(path, Number.parseInt(config.mode ?? '0660', 8));
    } catch (error) {
      // Else it would go on listening, and keep a process alive that did not start.
      server.close();
      throw new Error(
        `cannot listen on ${config.url}: its group "${config.group}" and mode cannot be set: ${(error as Error).message}; is this user in the group?`,
        { cause: error },
      );
    }
    return config.url;
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = Number(url.port === '' ? (url.protocol === 'tls:' ? 2376 : 2375) : url.port);
  try {
    await listening(server, { host, port }, config.url);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (host !== '::' || (code !== 'EAFNOSUPPORT' && code !== 'EADDRNOTAVAIL')) throw error;
    warn(`listener ${config.name}: this host has no IPv6, listening on 0.0.0.0 instead of [::]`);
    await listening(server, { host: '0.0.0.0', port }, config.url);
  }
  const address = server.address();
  if (address === null || typeof address === 'string') return config.url;
  const shown = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return `${url.protocol}//${shown}:${address.port}`;
}

function listening(
  server: Server,
  where: { path: string } | { host: string; port: number },
  url: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      const wrapped: NodeJS.ErrnoException = new Error(`cannot listen on ${url}: ${error.message}`);
      if (error.code !== undefined) wrapped.code = error.code;
      reject(wrapped);
    };
    server.once('error', onError);
    server.listen(where, () => {
      server.off('error', onError);
      resolve();
    });
  });
}

/** A socket file without a listener is left over from an earlier run; anything else is not ours to remove. */
async function clearStaleSocket(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket())
    throw new Error(`cannot listen on unix://${path}: the path exists and is not a socket`);
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', () => resolve(false));
  });
  if (alive) throw new Error(`cannot listen on unix://${path}: another process is listening there`);
  rmSync(path, { force: true });
}

/** @throws Error when there is no such group. */
function groupId(group: string, url: string): number {
  if (/^\d+$/.test(group)) return Number(group);
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${group}:`));
  if (line === undefined)
    throw new Error(`cannot listen on ${url}: there is no group "${group}" on this host`);
  return Number(line.split(':')[2]);
}
