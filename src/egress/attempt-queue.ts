import { chown, chmod, mkdir, open, readdir, readFile, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { formatNotice } from './attempts.js';

/** A queue on disk of lines for the guard, in segments that it deletes when it has read them. */
export interface AttemptQueue {
  /**
   * Appends lines, each with its line end. When the queue is full they are dropped and counted; a notice reports the number once there is room again.
   *
   * @throws Error when the directory cannot be written.
   */
  append(lines: readonly string[]): Promise<void>;
  /** How many lines were dropped since the last time. */
  takeDropped(): number;
  close(): Promise<void>;
}

const SEGMENT = /^(\d{8})\.jsonl$/;
/** The queue has at most this many segments, so that the guard frees room in small steps. */
const SEGMENTS = 16;

/**
 * @param options.maxSize bytes of all segments together.
 * @param options.group may read and delete: name or number. Without one, the process's own group.
 * @throws Error when the directory cannot be made, or there is no such group.
 */
export async function openAttemptQueue(options: {
  readonly directory: string;
  readonly group?: string;
  readonly maxSize: number;
}): Promise<AttemptQueue> {
  const { directory, maxSize } = options;
  const gid = options.group === undefined ? undefined : await groupId(options.group);
  await mkdir(directory, { recursive: true, mode: 0o770 });
  // The reader deletes segments and keeps its place in a file here. Whatever the umask is; the guard may have made it.
  await setAccess(directory, 0o770).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPERM') throw error;
  });
  let number = (await segments(directory)).at(-1)?.number ?? 0;
  let file: FileHandle | undefined;
  let size = 0;
  let dropped = 0;
  let unreported = 0;
  let turn: Promise<unknown> = Promise.resolve();

  async function setAccess(path: string, mode: number): Promise<void> {
    await chmod(path, mode);
    if (gid !== undefined) await chown(path, -1, gid);
  }

  const next = async (): Promise<FileHandle> => {
    await file?.close();
    const path = join(directory, `${String(++number).padStart(8, '0')}.jsonl`);
    size = 0;
    // `ax`: an existing file is never appended to.
    file = await open(path, 'ax', 0o640);
    await setAccess(path, 0o640);
    return file;
  };

  const used = async (): Promise<number> => {
    let sum = 0;
    for (const { name } of await segments(directory)) {
      sum += (await stat(join(directory, name)).catch(() => ({ size: 0 }))).size;
    }
    return sum;
  };

  const write = async (lines: readonly string[]): Promise<void> => {
    const missing =
      unreported === 0 ? [] : [formatNotice(`${unreported} lines were dropped while the queue was full`)];
    const text = Buffer.from([...missing, ...lines].join(''));
    if ((await used()) + text.length > maxSize) {
      dropped += lines.length;
      unreported += lines.length;
      return;
    }
    let target = file;
    if (target === undefined || size > maxSize / SEGMENTS) target = await next();
    // One write: the reader never finds a line that stays incomplete.
    await target.writeFile(text);
    size += text.length;
    unreported = 0;
  };

  return {
    append(lines) {
      if (lines.length === 0) return turn as Promise<void>;
      const result = turn.then(() => write(lines));
      turn = result.catch(() => undefined);
      return result;
    },
    takeDropped() {
      const count = dropped;
      dropped = 0;
      return count;
    },
    async close() {
      await turn;
      await file?.close();
    },
  };
}

async function segments(directory: string): Promise<{ readonly name: string; readonly number: number }[]> {
  return (await readdir(directory))
    .flatMap((name) => {
      const match = SEGMENT.exec(name);
      return match === null ? [] : [{ name, number: Number(match[1]) }];
    })
    .sort((a, b) => a.number - b.number);
}

async function groupId(group: string): Promise<number> {
  if (/^\d{1,9}$/.test(group)) return Number(group);
  const line = (await readFile('/etc/group', 'utf8'))
    .split('\n')
    .find((entry) => entry.startsWith(`${group}:`));
  if (line === undefined) throw new Error(`there is no group "${group}" on this host`);
  return Number(line.split(':')[2]);
}
