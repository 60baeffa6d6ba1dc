import { readFileSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { readPublicKey, type Checkpoint } from '../audit/checkpoint.js';
import { formatRecord, type FormatName } from '../audit/formats/format.js';
import { escapeUnseen } from '../audit/json-text.js';
import { readTrail, type TrailEvent } from '../audit/trail.js';
import { readCheckpoint, verifyJournal, type Verification } from '../audit/verify.js';
import { VERSION } from './version.js';

export { FORMATS, type FormatName } from '../audit/formats/format.js';
export { readTrail, type TrailEvent, type TrailLine, type TrailOptions } from '../audit/trail.js';
export type { Verification } from '../audit/verify.js';

/** The events of a trail one by one, see readTrail; undefined for a line that is none. */
export async function* followTrail(
  path: string,
  follow?: AbortSignal,
): AsyncGenerator<TrailEvent | undefined> {
  for await (const lines of readTrail(path, follow === undefined ? {} : { follow })) {
    for (const { event } of lines) yield event;
  }
}

/** An event as a line of JSON that can be shown in a terminal. */
export const jsonLine = (event: TrailEvent): string => escapeUnseen(JSON.stringify(event));

/** The lines that an event becomes in a format, without their ends. */
export function formatLines(format: FormatName, event: TrailEvent, host = hostname()): string[] {
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
