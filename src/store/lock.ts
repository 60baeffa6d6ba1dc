import { readFileSync, rmSync, writeFileSync } from 'node:fs';

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
