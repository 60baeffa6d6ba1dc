import { readFileSync, statSync } from 'node:fs';
import { readPublicKey, type Checkpoint } from '../audit/checkpoint.js';
import { readTrail, type TrailEvent } from '../audit/trail.js';
import { readCheckpoint, verifyJournal, type Verification } from '../audit/verify.js';

export type { TrailEvent } from '../audit/trail.js';
export type { Verification } from '../audit/verify.js';

/** See readTrail. */
export function followTrail(path: string, follow?: AbortSignal): AsyncGenerator<TrailEvent | undefined> {
  return readTrail(path, follow);
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
  const found = readFileSync(file, 'utf8')
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
