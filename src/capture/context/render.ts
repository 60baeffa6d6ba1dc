import { BLOCK } from './header.js';

/** Everything of an entry that dockerd uses. Names are byte strings (latin1). */
export interface FreshEntry {
  readonly kind: 'file' | 'directory' | 'symlink' | 'hardlink';
  /** Cleaned, without a trailing slash. */
  readonly path: string;
  readonly link: string;
  readonly size: number;
  /** Permission bits with set-uid, set-gid, sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
  readonly xattrs: ReadonlyMap<string, string>;
}

const TYPES = { file: '0', hardlink: '1', symlink: '2', directory: '5' } as const;

/** Bytes of a header that are not zero: it has no prefix. */
const HEADER = 345;

/** Largest numbers of the octal fields. */
const OCTAL_7 = 0o7777777;
const OCTAL_11 = 0o77777777777;
/** A name that the old header can say without a prefix: ASCII, at most 100 bytes. */
const PLAIN = /^[\x01-\x7f]{0,100}$/;

export const ZEROS: Buffer = Buffer.alloc(1024);

/**
 * The blocks before an entry's data: a ustar header, after PAX records for what it cannot hold. User and group names
 * and times of access are left out: dockerd's builder never looks at them.
 *
 * @param room gives as many zeroed bytes as are asked for, to be filled
 */
export function renderEntry(entry: FreshEntry, name: string, room: (size: number) => Buffer): void {
  const records: string[] = [];
  const add = (key: string, value: string): void => void records.push(record(key, value));
  let { link, size, uid, gid, mtime } = entry;
  let plain = entry.kind === 'directory' ? `${name}/` : name;
  if (!PLAIN.test(plain)) {
    add('path', plain);
    plain = entry.kind === 'directory' ? 'see-pax-path/' : 'see-pax-path';
  }
  if (!PLAIN.test(link)) {
    add('linkpath', link);
    link = 'see-pax-linkpath';
  }
  if (size > OCTAL_11) {
    add('size', String(size));
    size = 0;
  }
  if (uid > OCTAL_7) {
    add('uid', String(uid));
    uid = 0;
  }
  if (gid > OCTAL_7) {
    add('gid', String(gid));
    gid = 0;
  }
  if (mtime < 0 || mtime > OCTAL_11) {
    add('mtime', String(mtime));
    mtime = 0;
  }
  for (const [key, value] of entry.xattrs) add(`SCHILY.xattr.${key}`, value);
  const type = TYPES[entry.kind];
  if (records.length === 0) {
    writeHeader(room(BLOCK), 0, plain, type, link, size, entry.mode, uid, gid, mtime);
    return;
  }
  const pax = records.join('');
  const blocks = Math.ceil(pax.length / BLOCK);
  const out = room((2 + blocks) * BLOCK);
  writeHeader(out, 0, 'PaxHeaders/entry', 'x', '', pax.length, 0o644, 0, 0, 0);
  out.write(pax, BLOCK, 'latin1');
  writeHeader(out, (1 + blocks) * BLOCK, plain, type, link, size, entry.mode, uid, gid, mtime);
}

/** `length key=value\n`, where the length counts its own digits. */
function record(key: string, value: string): string {
  const rest = key.length + value.length + 3;
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  return `${length} ${key}=${value}\n`;
}

function writeHeader(
  out: Buffer,
  at: number,
  name: string,
  type: string,
  link: string,
  size: number,
  mode: number,
  uid: number,
  gid: number,
  mtime: number,
): void {
  out.write(name, at, 'latin1');
  writeOctal(out, at + 100, 7, mode);
  writeOctal(out, at + 108, 7, uid);
  writeOctal(out, at + 116, 7, gid);
  writeOctal(out, at + 124, 11, size);
  writeOctal(out, at + 136, 11, mtime);
  out.write(type, at + 156, 'latin1');
  out.write(link, at + 157, 'latin1');
  out.write('ustar\x0000', at + 257, 'latin1');
  writeOctal(out, at + 329, 7, 0);
  writeOctal(out, at + 337, 7, 0);
  let sum = 8 * 0x20;
  for (let i = at; i < at + HEADER; i++) sum += out[i]!;
  writeOctal(out, at + 148, 6, sum);
  out[at + 155] = 0x20;
}

function writeOctal(out: Buffer, at: number, digits: number, value: number): void {
  let rest = value;
  for (let i = at + digits - 1; i >= at; i--) {
    out[i] = 0x30 + (rest % 8);
    rest = Math.floor(rest / 8);
  }
}
