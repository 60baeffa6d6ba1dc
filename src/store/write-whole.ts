import { randomBytes } from 'node:crypto';
import { closeSync, fchmodSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

// The file is written under another name, synced and renamed: after a crash there is either the old one or the new one,
// and readers never see a part. Without the sync of the directory a loss of power may bring the old one back.

/** A file that appears under its name when all of it is there. */
export interface WholeFile {
  append(data: string | Uint8Array): Promise<void>;
  /** Puts it in its place, on the disk. */
  commit(): Promise<void>;
  /** Takes it away; does nothing after a commit. */
  discard(): Promise<void>;
}

/**
 * Begins a file that replaces `path` when it is committed.
 *
 * @param mode octal permissions, whatever the umask says; default: for the owner alone.
 */
export async function openWhole(path: string, mode = 0o600): Promise<WholeFile> {
  const temporary = temporaryName(path);
  const file = await open(temporary, 'wx', mode);
  return {
    append: (data) => file.appendFile(data),
    async commit() {
      await file.chmod(mode);
      await file.sync();
      await file.close();
      await rename(temporary, path);
      await syncDirectory(dirname(path));
    },
    async discard() {
      await file.close();
      await rm(temporary, { force: true });
    },
  };
}

/** Writes a file as a whole. @param mode as in openWhole. */
export async function writeWhole(path: string, data: string | Uint8Array, mode = 0o600): Promise<void> {
  const file = await openWhole(path, mode);
  try {
    await file.append(data);
    await file.commit();
  } finally {
    await file.discard();
  }
}

/** As writeWhole, synchronously: for what happens before the event loop starts. */
export function writeWholeSync(path: string, data: string | Uint8Array, mode = 0o600): void {
  const temporary = temporaryName(path);
  const file = openSync(temporary, 'wx', mode);
  try {
    try {
      fchmodSync(file, mode);
      writeFileSync(file, data);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncDirectorySync(dirname(path));
}

/** Makes created, renamed and removed names of a directory survive a loss of power. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

export function syncDirectorySync(path: string): void {
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

const temporaryName = (path: string): string => `${path}.${randomBytes(6).toString('hex')}.tmp`;
