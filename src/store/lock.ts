import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';

/** Start time of a process in kernel ticks: it distinguishes two processes that had the same id. Linux only. */
function began(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}

/**
 * Keeps other processes from writing the same files. A lock that a killed process left is taken over.
 *
 * @param inUse the message of the error when a running process holds the lock.
 * @returns the function that releases it.
 * @throws Error naming the process that holds it.
 */
export function lockFile(file: string, inUse: (pid: string) => string): () => void {
  const own = `${process.pid} ${began(process.pid)}`;
  for (let tries = 0; ; tries++) {
    try {
      writeFileSync(file, own, { flag: 'wx', mode: 0o600 });
      return () => rmSync(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || tries > 0) throw error;
    }
    const held = readFileSync(file, 'latin1');
    const [pid = '', start = ''] = held.split(' ');
    if (held !== own && start !== '' && began(Number(pid)) === start) {
      throw new Error(`${file}: ${inUse(pid)}`);
    }
    rmSync(file, { force: true });
  }
}

const LOCK_NAME = 'guard.lock';
/** Longest path of a unix socket, bytes. */
const MAX_SOCKET_PATH = 100;

/**
 * Holds a directory for this process. The lock is a socket that the process listens on: it ends with its process, whatever
 * ends that, and is seen from other containers that share the directory, where process ids mean nothing.
 *
 * @returns the function that lets it go.
 * @throws Error with the code `EBUSY` when another process holds it, with another code when the file system takes no sockets.
 */
export async function holdDirectory(directory: string): Promise<() => void> {
  const fd = openSync(directory, 'r');
  const path = join(directory, LOCK_NAME);
  // Through the open directory any path is short enough.
  const address = Buffer.byteLength(path) <= MAX_SOCKET_PATH ? path : `/proc/self/fd/${fd}/${LOCK_NAME}`;
  try {
    let server = await listen(address);
    if (server === undefined) {
      if (await isHeld(address))
        throw Object.assign(new Error(`${path} is held by another process`), { code: 'EBUSY' });
      rmSync(path, { force: true });
      server = await listen(address);
      if (server === undefined)
        throw Object.assign(new Error(`${path} is held by another process`), { code: 'EBUSY' });
    }
    server.unref();
    const held = server;
    return () => {
      held.close();
      closeSync(fd);
    };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Undefined where there is such a file already. */
function listen(path: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined);
      else reject(error);
    });
    server.listen({ path }, () => resolve(server));
  });
}

/** Only a refused connection says that nobody holds it: one that may not be opened is somebody's. */
function isHeld(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', ({ code }: NodeJS.ErrnoException) =>
      resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT'),
    );
  });
}
