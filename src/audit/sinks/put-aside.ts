import { appendFile, stat } from 'node:fs/promises';
import { timestamp } from '../json-text.js';
import type { Outgoing } from './sink.js';

/** Above that, what is refused is counted only; the journal has the records. */
const LIMIT = 64 * 2 ** 20;

/** Keeps what a receiver refuses for good, in a file of JSON lines beside the journal. @throws Error */
export async function putAside(
  path: string,
  refused: readonly { readonly message: Outgoing; readonly reason: string }[],
): Promise<void> {
  const { size } = await stat(path).catch(() => ({ size: 0 }));
  if (size > LIMIT) return;
  const lines = refused.map(({ message: { seq, id, text }, reason }) =>
    JSON.stringify({ time: timestamp(), seq, id, reason, text }),
  );
  await appendFile(path, `${lines.join('\n')}\n`, { mode: 0o600 });
}
