import { hash } from 'node:crypto';

/**
 * The hash chain of the journal. A record is one line:
 *
 *     {"seq":17,"hash":"<64 hex digits>","v":1,"event":"decision", …}
 *
 * with hash = SHA-256 over the previous record's hash, a line end, and the record's own line without its hash member.
 * To change, remove, insert or swap a record, an attacker has to rewrite every later record and every checkpoint.
 */

/** What the first record of a journal follows. */
export const GENESIS = '0'.repeat(64);

/** The head of a chain: its last record. */
export interface Head {
  /** Sequence number of the last record; 0 before the first. */
  readonly seq: number;
  readonly hash: string;
}

/** One record as it stands in the journal. */
export interface ChainedRecord extends Head {
  /** The members behind `seq` and `hash`, with the closing brace: `"v":1, … }`. */
  readonly members: string;
}

/**
 * @param event one JSON object and a line end, see formatEvent.
 * @returns the record's line, line end included, and the new head.
 */
export function chain(head: Head, event: string): { readonly line: string; readonly head: Head } {
  const seq = head.seq + 1;
  const members = event.slice(1, -1);
  const own = digest(head.hash, seq, members);
  return { line: `{"seq":${seq},"hash":"${own}",${members}\n`, head: { seq, hash: own } };
}

const digest = (previous: string, seq: number, members: string): string =>
  hash('sha256', `${previous}\n{"seq":${seq},${members}`, 'hex');

const RECORD = /^\{"seq":([1-9]\d{0,15}),"hash":"([0-9a-f]{64})",(?=")/;

/** Reads a line (without its end) as a record; undefined when it is none. The hash is not checked. */
export function readRecord(line: string): ChainedRecord | undefined {
  const found = RECORD.exec(line);
  if (found === null || !line.endsWith('}')) return undefined;
  return { seq: Number(found[1]), hash: found[2]!, members: line.slice(found[0].length) };
}

/** Does the record follow the one with that hash, unchanged? */
export function follows(previous: string, { seq, hash: own, members }: ChainedRecord): boolean {
  return digest(previous, seq, members) === own;
}
