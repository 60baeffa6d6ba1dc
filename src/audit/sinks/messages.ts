import { readRecord } from '../chain.js';
import { formatRecord, type FormatName, type Sender } from '../formats/format.js';
import { parseMembers } from '../journal-files.js';
import type { ReadRecord } from './reader.js';
import type { Outgoing } from './sink.js';

/** A record of the journal as messages to a receiver. */
export function messagesOf({ line, after }: ReadRecord, format: FormatName, sender: Sender): Outgoing[] {
  const { seq, hash, members } = readRecord(line)!;
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
