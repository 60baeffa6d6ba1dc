import { CLASS_IN, HEADER, readData, readName, readRecord, TYPE } from './dns-record.js';

/**
 * The DNS wire format (RFC 1035, 6891, 9460), as far as a forwarder must understand it, and strict: a message that has
 * two readings has none. Each function is linear in the length of the message and never throws.
 */

export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;

/** Records of one message; a full-size one of the smallest records has fewer than 6,000. */
const MAX_RECORDS = 4_096;
/** Questions about everything, or for whole zones. */
const REFUSED_TYPES: ReadonlySet<number> = new Set([249, 250, 251, 252, 253, 254, 255]);

/** A client's question. */
export interface Query {
  readonly id: number;
  /** Lower-case, without a trailing dot; empty for the root. */
  readonly name: string;
  readonly type: number;
  /** The question as the client wrote it: some compare its letters. */
  readonly question: Buffer;
  /** RD and CD, as they stand in the header's third and fourth byte. */
  readonly recursion: boolean;
  readonly checkingDisabled: boolean;
  /** Undefined: no EDNS. */
  readonly edns: { readonly size: number; readonly dnssec: boolean } | undefined;
}

export type QueryResult =
  | { readonly ok: true; readonly query: Query }
  /** Answer with the code; undefined: it is not even a question, drop it. */
  | { readonly ok: false; readonly code: number | undefined };

/** Reads a client's message. */
export function readQuery(message: Buffer): QueryResult {
  const drop: QueryResult = { ok: false, code: undefined };
  if (message.length < HEADER) return drop;
  const flags = message.readUInt16BE(2);
  // A response sent to a server is an attempt to make two servers talk to each other.
  if ((flags & 0x8000) !== 0) return drop;
  const refuse = (code: number): QueryResult => ({ ok: false, code });
  if ((flags & 0x7800) !== 0) return refuse(RCODE.NOTIMP);
  const additional = message.readUInt16BE(10);
  if (
    message.readUInt16BE(4) !== 1 ||
    message.readUInt16BE(6) !== 0 ||
    message.readUInt16BE(8) !== 0 ||
    additional > 1
  ) {
    return refuse(RCODE.FORMERR);
  }
  const name = readName(message, HEADER, false);
  if (name === undefined || name.end + 4 > message.length) return refuse(RCODE.FORMERR);
  const type = message.readUInt16BE(name.end);
  if (message.readUInt16BE(name.end + 2) !== CLASS_IN || REFUSED_TYPES.has(type))
    return refuse(RCODE.REFUSED);
  if (!name.plain) return refuse(RCODE.REFUSED);
  let at = name.end + 4;
  const question = message.subarray(HEADER, at);
  let edns: Query['edns'];
  if (additional === 1) {
    const record = readRecord(message, at);
    if (record === undefined || record.type !== TYPE.OPT || record.owner !== '') return refuse(RCODE.FORMERR);
    // Its class is the size, its TTL has the version and the DO bit (RFC 6891 section 6.1.3).
    if (((record.ttl >>> 16) & 0xff) !== 0) return refuse(RCODE.FORMERR);
    edns = { size: Math.max(512, record.class), dnssec: (record.ttl & 0x8000) !== 0 };
    at = record.end;
  }
  if (at !== message.length) return refuse(RCODE.FORMERR);
  return {
    ok: true,
    query: {
      id: message.readUInt16BE(0),
      name: name.name,
      type,
      question,
      recursion: (flags & 0x0100) !== 0,
      checkingDisabled: (flags & 0x0010) !== 0,
      edns,
    },
  };
}

/** The question written anew, for a resolver further on. Client options (cookies, client subnet) stay here. */
export function writeQuery(id: number, query: Query, size: number): Buffer {
  const head = Buffer.alloc(HEADER);
  head.writeUInt16BE(id, 0);
  head.writeUInt16BE(0x0100 | (query.checkingDisabled ? 0x0010 : 0), 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(query.edns === undefined ? 0 : 1, 10);
  const parts = [head, query.question];
  if (query.edns !== undefined) parts.push(opt(size, query.edns.dnssec, Buffer.alloc(0)));
  return Buffer.concat(parts);
}

/** A question of our own. */
export function makeQuery(name: string, type: number): Query {
  const labels = name
    .split('.')
    .map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, 'latin1'));
  const end = Buffer.from([0, type >> 8, type & 255, 0, CLASS_IN]);
  const question = Buffer.concat([...labels, end]);
  return { id: 0, name, type, question, recursion: true, checkingDisabled: false, edns: undefined };
}

/**
 * An answer without records. With `blocked`, an EDNS client gets the extended error 15 (RFC 8914).
 */
export function writeRefusal(query: Query, code: number, blocked = false): Buffer {
  const head = Buffer.alloc(HEADER);
  head.writeUInt16BE(query.id, 0);
  head.writeUInt16BE(
    0x8080 | (query.recursion ? 0x0100 : 0) | (query.checkingDisabled ? 0x0010 : 0) | code,
    2,
  );
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(query.edns === undefined ? 0 : 1, 10);
  const parts = [head, query.question];
  if (query.edns !== undefined) {
    const extended = blocked ? Buffer.from([0, 15, 0, 2, 0, 15]) : Buffer.alloc(0);
    parts.push(opt(1232, query.edns.dnssec, extended));
  }
  return Buffer.concat(parts);
}

/** An answer to a message that was not understood: nothing of it but its id. */
export function writeError(message: Buffer, code: number): Buffer {
  const head = Buffer.alloc(HEADER);
  message.copy(head, 0, 0, 2);
  head.writeUInt16BE(0x8080 | code, 2);
  return head;
}

function opt(size: number, dnssec: boolean, options: Buffer): Buffer {
  const head = Buffer.from([
    0,
    0,
    TYPE.OPT,
    size >> 8,
    size & 255,
    0,
    0,
    dnssec ? 0x80 : 0,
    0,
    0,
    options.length,
  ]);
  return Buffer.concat([head, options]);
}

/** What a resolver's answer says. */
export interface Response {
  readonly bytes: Buffer;
  readonly code: number;
  readonly truncated: boolean;
  /** Names that the answer leads to: CNAME, DNAME, MX, SRV, SVCB, HTTPS. */
  readonly names: readonly string[];
  readonly ipv4: readonly number[];
  readonly ipv6: readonly bigint[];
  /** Where the TTLs stand, without the one of OPT, which is none. */
  readonly ttlAt: readonly number[];
  /** Seconds: the smallest, and for an answer without records what its SOA says; 0 without either. */
  readonly ttl: number;
}

/**
 * Reads the answer to a question. @returns undefined for what is none to it: another id or question, or not to be read
 * to its last byte.
 */
export function readResponse(message: Buffer, id: number, query: Query): Response | undefined {
  if (message.length < HEADER || message.readUInt16BE(0) !== id) return undefined;
  const flags = message.readUInt16BE(2);
  if ((flags & 0x8000) === 0 || (flags & 0x7800) !== 0 || message.readUInt16BE(4) !== 1) return undefined;
  const truncated = (flags & 0x0200) !== 0;
  const name = readName(message, HEADER, false);
  if (name === undefined || !name.plain || name.name !== query.name || name.end + 4 > message.length)
    return undefined;
  const tail = query.question.length - 4;
  if (message.compare(query.question, tail, tail + 4, name.end, name.end + 4) !== 0) return undefined;
  const code = flags & 0x000f;
  const found = { names: [] as string[], ipv4: [] as number[], ipv6: [] as bigint[], ttlAt: [] as number[] };
  const answers = message.readUInt16BE(6);
  const records = answers + message.readUInt16BE(8) + message.readUInt16BE(10);
  // A cut message is asked for again over TCP; nothing of it is used.
  if (truncated) return { bytes: message, code, truncated, ...found, ttl: 0 };
  if (records > MAX_RECORDS) return undefined;
  let at = name.end + 4;
  let ttl = Number.POSITIVE_INFINITY;
  for (let index = 0; index < records; index++) {
    const record = readRecord(message, at);
    if (record === undefined || !readData(message, record, found)) return undefined;
    at = record.end;
    if (record.type === TYPE.OPT) continue;
    found.ttlAt.push(record.ttlAt);
    // RFC 2181 section 8: a TTL with its highest bit set is 0.
    if (index < answers || answers === 0) ttl = Math.min(ttl, record.ttl > 0x7fffffff ? 0 : record.ttl);
  }
  if (at !== message.length) return undefined;
  return { bytes: message, code, truncated, ...found, ttl: Number.isFinite(ttl) ? ttl : 0 };
}

/** An answer for one client: its id, its letters, its flags, and TTLs that are older by some seconds. */
export function writeResponse(response: Response, query: Query, age: number): Buffer {
  const bytes = Buffer.from(response.bytes);
  bytes.writeUInt16BE(query.id, 0);
  query.question.copy(bytes, HEADER);
  // QR, RA, RD and CD as asked, AD and the code as answered; never AA.
  const kept = response.bytes.readUInt16BE(2) & 0x002f;
  bytes.writeUInt16BE(
    0x8080 | (query.recursion ? 0x0100 : 0) | (query.checkingDisabled ? 0x0010 : 0) | kept,
    2,
  );
  for (const at of response.ttlAt) bytes.writeUInt32BE(Math.max(0, bytes.readUInt32BE(at) - age), at);
  return bytes;
}
