import { statSync } from 'node:fs';
import { hostname } from 'node:os';
import type { RecordFormat } from '../base/audit-names.js';
import { readPublicKey, type Checkpoint } from '../audit/checkpoint.js';
import { formatRecord } from '../audit/formats/format.js';
import { escapeUnseen } from '../audit/event-line.js';
import type { TrailEvent } from '../audit/trail.js';
import { readCheckpoint, verifyJournal, type Verification } from '../audit/verify.js';
import { readNamedFile } from '../store/named-files.js';
import { VERSION } from './version.js';

// The command line has no door into the trail but this one.
export { readTrail, type TrailEvent } from '../audit/trail.js';

/** @throws Error naming the path when there is nothing that could be read. */
export function requireTrail(path: string): void {
  try {
    statSync(path);
  } catch (error) {
    throw new Error(`${path}: cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

/** An event as a line of JSON that can be shown in a terminal. */
export const jsonLine = (event: TrailEvent): string => escapeUnseen(JSON.stringify(event));

/** The lines that an event becomes in a format, without their ends. */
export function formatLines(format: RecordFormat, event: TrailEvent, host = hostname()): string[] {
  return formatRecord(format, event, { version: VERSION, host }).map(({ text }) => text);
}

/**
 * Verifies a journal.
 *
 * @param keyFile public key that signed its checkpoints.
 * @param shippedFile what was kept elsewhere: JSON lines, of which the checkpoints count.
 * @throws Error naming the file that cannot be read or used.
 */
export async function verifyTrail(
  directory: string,
  { keyFile, shippedFile }: { readonly keyFile?: string; readonly shippedFile?: string },
): Promise<Verification> {
  if (!statSync(directory).isDirectory()) {
    throw new Error(`${directory}: a plain file has no chain to verify; name the directory of a journal`);
  }
  return verifyJournal(directory, {
    ...(keyFile === undefined ? {} : { key: readPublicKey(keyFile) }),
    ...(shippedFile === undefined ? {} : { shipped: readShipped(shippedFile) }),
  });
}

function readShipped(file: string): Checkpoint[] {
  const found = readNamedFile('the shipped records', file)
    .toString()
    .split('\n')
    .flatMap((line) => {
      try {
        return readCheckpoint(JSON.parse(line) as TrailEvent) ?? [];
      } catch {
        return [];
      }
    });
  if (found.length === 0) throw new Error(`${file}: there is no checkpoint in it`);
  return found;
}
