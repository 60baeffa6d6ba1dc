import { appendFile, stat } from 'node:fs/promises';
import { readRecord } from '../chain.js';
import { formatRecord, type Sender } from '../formats/format.js';
import { parseMembers } from '../journal-files.js';
import type { ReadRecord } from './reader.js';
import type { Outgoing, SinkConfig } from './sink.js';

/** Every record says first what it is, see formatEvent; read without the rest of it. */
const eventOf = (members: string): string => /^"v":1,"event":"([a-z]+)"/.exec(members)?.[1] ?? '';

/** A record of the journal as messages to a receiver; none when it is not for this one. */
export function messagesOf(
  { line, after }: ReadRecord,
  { format, events }: Pick<SinkConfig, 'format' | 'events'>,
  sender: Sender,
): Outgoing[] {
  const { seq, hash, members } = readRecord(line)!;
  if (events !== undefined && !events.includes(eventOf(members))) return [];
  // As it stands: what a receiver gets can be checked against the chain.
  if (format === 'breakwater') {
    const event = parseMembers(members) ?? {};
    const [message] = formatRecord('breakwater', { seq, hash, ...event }, sender);
    return [{ ...message!, id: message!.id || `${after.hash}`, seq, text: line }];
  }
  return formatRecord(format, { seq, hash, ...parseMembers(members) }, sender).map((message) => ({
    ...message,
    seq,
  }));
}

/** Above that, what is refused is counted only; the journal has the records. */
const MAX_REFUSED_BYTES = 64 * 2 ** 20;

/** Keeps what a receiver refuses for good, in a file of JSON lines beside the journal. @throws Error */
export async function putAside(
  path: string,
  refused: readonly { readonly message: Outgoing; readonly reason: string }[],
): Promise<void> {
  const { size } = await stat(path).catch(() => ({ size: 0 }));
  if (size > MAX_REFUSED_BYTES) return;
  const time = new Date().toISOString();
  const lines = refused.map(({ message: { seq, id, text }, reason }) =>
    JSON.stringify({ time, seq, id, reason, text }),
  );
  await appendFile(path, `${lines.join('\n')}\n`, { mode: 0o600 });
}
