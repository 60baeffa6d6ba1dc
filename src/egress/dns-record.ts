export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  MX: 15,
  AAAA: 28,
  SRV: 33,
  DNAME: 39,
  OPT: 41,
  SVCB: 64,
  HTTPS: 65,
} as const;

export const HEADER = 12;
export const CLASS_IN = 1;
const ODD = /[^A-Za-z0-9_-]/;
const ODD_ALL = /[^A-Za-z0-9_-]/g;

/** One resource record; its data lies between `data` and `end`. */
export interface DnsRecord {
  readonly owner: string;
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  readonly ttlAt: number;
  readonly data: number;
  readonly end: number;
}

/** @returns undefined where it does not fit into the message. */
export function readRecord(message: Buffer, at: number): DnsRecord | undefined {
  const name = readName(message, at, true);
  if (name === undefined || name.end + 10 > message.length) return undefined;
  const data = name.end + 10;
  const end = data + message.readUInt16BE(name.end + 8);
  if (end > message.length) return undefined;
  return {
    owner: name.name,
    type: message.readUInt16BE(name.end),
    class: message.readUInt16BE(name.end + 2),
    ttl: message.readUInt32BE(name.end + 4),
    ttlAt: name.end + 4,
    data,
    end,
  };
}

/** What records lead to. */
export interface Found {
  readonly names: string[];
  readonly ipv4: number[];
  readonly ipv6: bigint[];
}

/** Bytes before the name in the data of a record. */
const NAME_AT: Readonly<{ [type: number]: number }> = {
  [TYPE.CNAME]: 0,
  [TYPE.DNAME]: 0,
  [TYPE.MX]: 2,
  [TYPE.SRV]: 6,
};

/** Collects what a record leads to. @returns false when its data is not what its type says. */
export function readData(message: Buffer, record: DnsRecord, found: Found): boolean {
  const { type, data, end } = record;
  if (record.class !== CLASS_IN) return true;
  if (type === TYPE.A) {
    if (end - data !== 4) return false;
    found.ipv4.push(message.readUInt32BE(data));
    return true;
  }
  if (type === TYPE.AAAA) {
    if (end - data !== 16) return false;
    found.ipv6.push(readIpv6(message, data));
    return true;
  }
  if (type === TYPE.SVCB || type === TYPE.HTTPS) return readService(message, data, end, found);
  const before = NAME_AT[type];
  if (before === undefined) return true;
  const name = readName(message, data + before, true);
  if (name === undefined || name.end !== end) return false;
  if (name.name !== '') found.names.push(name.name);
  return true;
}

function readIpv6(message: Buffer, at: number): bigint {
  return (message.readBigUInt64BE(at) << 64n) | message.readBigUInt64BE(at + 8);
}

/** RFC 9460 section 2.2: priority, target, then parameters in ascending order; 4 and 6 are address hints. */
function readService(message: Buffer, data: number, end: number, found: Found): boolean {
  const target = data + 2 <= end ? readName(message, data + 2, false) : undefined;
  if (target === undefined || target.end > end) return false;
  if (target.name !== '') found.names.push(target.name);
  let last = -1;
  for (let at = target.end; at < end;) {
    if (at + 4 > end) return false;
    const key = message.readUInt16BE(at);
    const length = message.readUInt16BE(at + 2);
    const value = at + 4;
    at = value + length;
    if (key <= last || at > end) return false;
    last = key;
    const width = key === 4 ? 4 : key === 6 ? 16 : 0;
    if (width === 0) continue;
    if (length === 0 || length % width !== 0) return false;
    for (let hint = value; hint < at; hint += width) {
      if (width === 4) found.ipv4.push(message.readUInt32BE(hint));
      else found.ipv6.push(readIpv6(message, hint));
    }
  }
  return true;
}

/**
 * Reads a name. Pointers lead backwards only, so that reading always ends; a name has 255 bytes at most.
 *
 * @returns not `plain` where a label has other bytes than letters, digits, hyphen and underscore: they stand as `?`, so
 * that a dot inside a label does not make two names look like one, and the listed parents of such a name are still seen.
 */
export function readName(
  message: Buffer,
  start: number,
  pointers: boolean,
): { readonly name: string; readonly plain: boolean; readonly end: number } | undefined {
  const labels: string[] = [];
  let plain = true;
  let length = 1;
  let end: number | undefined;
  let at = start;
  let limit = start;
  for (;;) {
    const head = message[at];
    if (head === undefined) return undefined;
    if (head === 0) {
      return { name: labels.join('.'), plain, end: end ?? at + 1 };
    }
    if ((head & 0xc0) === 0xc0) {
      const low = message[at + 1];
      if (!pointers || low === undefined) return undefined;
      const goal = ((head & 0x3f) << 8) | low;
      // Strictly before everything read so far of this name: no loops.
      if (goal >= limit || goal < HEADER) return undefined;
      end ??= at + 2;
      at = goal;
      limit = goal;
      continue;
    }
    length += head + 1;
    if ((head & 0xc0) !== 0 || length > 255 || at + 1 + head > message.length) return undefined;
    const label = message.toString('latin1', at + 1, at + 1 + head);
    if (ODD.test(label)) plain = false;
    labels.push(plain ? label.toLowerCase() : label.toLowerCase().replace(ODD_ALL, '?'));
    at += head + 1;
  }
}
