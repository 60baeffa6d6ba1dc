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
