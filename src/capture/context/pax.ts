import { broken } from './header.js';

/** What PAX records (POSIX pax, Go archive/tar `parsePAX`) say about the next entry. Byte strings (latin1). */
export interface PaxRecords {
  readonly path?: string;
  readonly linkpath?: string;
  readonly size?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Seconds since 1970, fraction dropped: image layers have whole seconds. */
  readonly mtime?: number;
  /** Extended attributes to keep: `user.*` only. */
  readonly xattrs: ReadonlyMap<string, string>;
  /** All keys, for what only matters by its presence. */
  readonly keys: ReadonlySet<string>;
  readonly ambiguity: string | undefined;
}

const XATTR = 'SCHILY.xattr.';

/** @throws Refusal 400 where Go would fail, or where the record is not in its plain form. */
export function parsePax(data: Buffer): PaxRecords {
  const values = new Map<string, string>();
  let ambiguity: string | undefined;
  let at = 0;
  while (at < data.length) {
    const blank = data.indexOf(0x20, at);
    if (blank === -1 || blank - at > 7) throw broken('a PAX record has no length');
    const length = decimal(data.toString('latin1', at, blank));
    const end = at + length;
    if (end > data.length || end <= blank + 1 || data[end - 1] !== 0x0a)
      throw broken('a PAX record has a wrong length');
    const equals = data.indexOf(0x3d, blank + 1);
    if (equals === -1 || equals >= end - 1 || equals === blank + 1) throw broken('a PAX record has no key');
    const key = data.toString('latin1', blank + 1, equals);
    if (key.includes('\0')) throw broken('a PAX key has a NUL byte');
    if (values.has(key)) ambiguity = `the PAX key ${key.slice(0, 40)} comes twice`;
    values.set(key, data.toString('latin1', equals + 1, end - 1));
    at = end;
  }
  const xattrs = new Map<string, string>();
  for (const [key, value] of values) {
    if (key.startsWith('GNU.sparse.')) ambiguity = 'a sparse file';
    // POSIX: an empty value takes the record back; Go keeps what the header says; others use the empty name.
    if (value === '' && USED.has(key)) ambiguity = `an empty PAX record ${key}`;
    if (!key.startsWith(XATTR)) continue;
    const name = key.slice(XATTR.length);
    if (name.startsWith('user.') && name.length > 5 && name.length <= 255) xattrs.set(name, value);
    // File capabilities, overlayfs marks, ACLs, labels: power that no mode bit shows.
    else if (/^(security|trusted|system|user)\./.test(name) || name === '') {
      ambiguity = `the extended attribute ${name.slice(0, 60)}`;
    }
    // Linux knows no other name spaces: dockerd ignores those (com.apple.…).
  }
  const text = (key: string): string | undefined => {
    const value = values.get(key);
    if (value?.includes('\0')) throw broken(`the PAX record ${key} has a NUL byte`);
    return value === '' ? undefined : value;
  };
  const number = (key: string): number | undefined => {
    const value = values.get(key);
    return value === undefined || value === '' ? undefined : decimal(value);
  };
  const path = text('path');
  const linkpath = text('linkpath');
  const size = number('size');
  const uid = number('uid');
  const gid = number('gid');
  const mtime = time(values.get('mtime'));
  return {
    ...(path === undefined ? {} : { path }),
    ...(linkpath === undefined ? {} : { linkpath }),
    ...(size === undefined ? {} : { size }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(mtime === undefined ? {} : { mtime }),
    xattrs,
    keys: new Set(values.keys()),
    ambiguity,
  };
}

const USED: ReadonlySet<string> = new Set(['path', 'linkpath', 'size', 'uid', 'gid', 'mtime']);

function decimal(text: string): number {
  if (!/^\d{1,16}$/.test(text)) throw broken('a number in a PAX record is not a plain decimal');
  const value = Number(text);
  if (value > Number.MAX_SAFE_INTEGER) throw broken('a number in a PAX record is too large');
  return value;
}

function time(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  const match = /^(-?\d{1,15})(?:\.\d{0,30})?$/.exec(text);
  if (match === null) throw broken('a time in a PAX record is not a number');
  return Number(match[1]);
}
