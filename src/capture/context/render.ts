import { BLOCK } from './header.js';

/** Everything of an entry that dockerd uses. Names are byte strings (latin1). */
export interface RewrittenEntry {
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

/** The fields of a header block. */
interface HeaderFields {
  name: string;
  type: string;
  link: string;
  size: number;
  mode: number;
  uid: number;
  gid: number;
  mtime: number;
}

/**
 * The blocks before an entry's data: a ustar header, after PAX records for what it cannot hold. User and group names
 * and times of access are left out: dockerd's builder never looks at them.
 *
 * @param room gives as many zeroed bytes as are asked for, to be filled
 */
export function renderEntry(entry: RewrittenEntry, name: string, room: (size: number) => Buffer): void {
  const { kind, link, size, mode, uid, gid, mtime, xattrs } = entry;
  const isDirectory = kind === 'directory';
  const path = isDirectory ? `${name}/` : name;
  const fields: HeaderFields = { name: path, type: TYPES[kind], link, size, mode, uid, gid, mtime };
  if (xattrs.size === 0 && fits(fields)) return writeHeader(room(BLOCK), 0, fields);
  const pax = moveToPax(fields, isDirectory) + xattrRecords(xattrs);
  const blocks = Math.ceil(pax.length / BLOCK);
  const out = room((2 + blocks) * BLOCK);
  writeHeader(out, 0, { ...PAX_HEADER, size: pax.length });
  out.write(pax, BLOCK, 'latin1');
  writeHeader(out, (1 + blocks) * BLOCK, fields);
}

const PAX_HEADER: HeaderFields = {
  name: 'PaxHeaders/entry',
  type: 'x',
  link: '',
  size: 0,
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtime: 0,
};

const fits = ({ name, link, size, uid, gid, mtime }: HeaderFields): boolean =>
  size <= OCTAL_11 &&
  uid <= OCTAL_7 &&
  gid <= OCTAL_7 &&
  mtime >= 0 &&
  mtime <= OCTAL_11 &&
  PLAIN.test(name) &&
  PLAIN.test(link);

/** Takes out of the fields what they cannot hold. @returns PAX records that say it. */
function moveToPax(fields: HeaderFields, isDirectory: boolean): string {
  let pax = '';
  if (!PLAIN.test(fields.name)) {
    pax += record('path', fields.name);
    fields.name = isDirectory ? 'see-pax-path/' : 'see-pax-path';
  }
  if (!PLAIN.test(fields.link)) {
    pax += record('linkpath', fields.link);
    fields.link = 'see-pax-linkpath';
  }
  for (const [key, max] of NUMBERS) {
    const value = fields[key];
    if (value >= 0 && value <= max) continue;
    pax += record(key, String(value));
    fields[key] = 0;
  }
  return pax;
}

/** Numbers that an octal field may not hold. */
const NUMBERS = [
  ['size', OCTAL_11],
  ['uid', OCTAL_7],
  ['gid', OCTAL_7],
  ['mtime', OCTAL_11],
] as const;

function xattrRecords(xattrs: ReadonlyMap<string, string>): string {
  let pax = '';
  for (const [key, value] of xattrs) pax += record(`SCHILY.xattr.${key}`, value);
  return pax;
}

/** `length key=value\n`, where the length counts its own digits. */
function record(key: string, value: string): string {
  const rest = key.length + value.length + 3;
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  return `${length} ${key}=${value}\n`;
}

function writeHeader(out: Buffer, at: number, fields: HeaderFields): void {
  out.write(fields.name, at, 'latin1');
  writeOctal(out, at + 100, 7, fields.mode);
  writeOctal(out, at + 108, 7, fields.uid);
  writeOctal(out, at + 116, 7, fields.gid);
  writeOctal(out, at + 124, 11, fields.size);
  writeOctal(out, at + 136, 11, fields.mtime);
  out.write(fields.type, at + 156, 'latin1');
  out.write(fields.link, at + 157, 'latin1');
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
