/** Tar archives for tests: well-formed by default, with every field open to abuse. */

export interface TarEntry {
  readonly name: string | Buffer;
  readonly type?: string;
  readonly data?: string | Buffer;
  readonly link?: string | Buffer;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  /** What the size field says; default: the length of the data. */
  readonly size?: number;
  readonly prefix?: string;
  /** Default ustar. */
  readonly magic?: 'ustar' | 'gnu' | 'v7' | 'star';
  /** Raw bytes over the header, by offset, before the checksum is made. */
  readonly patch?: Readonly<Record<number, string | Buffer>>;
  /** How the checksum is made; default unsigned. */
  readonly checksum?: 'unsigned' | 'signed' | 'wrong';
  /** No padding after the data. */
  readonly unpadded?: boolean;
}

export const END: Buffer = Buffer.alloc(1024);

export function tarHeader(entry: TarEntry): Buffer {
  const out = Buffer.alloc(512);
  const put = (value: string | Buffer, at: number, length: number): void => {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value;
    bytes.copy(out, at, 0, Math.min(bytes.length, length));
  };
  const octal = (value: number, at: number, length: number): void =>
    put(value.toString(8).padStart(length - 1, '0'), at, length);
  put(entry.name, 0, 100);
  octal(entry.mode ?? 0o644, 100, 8);
  octal(entry.uid ?? 0, 108, 8);
  octal(entry.gid ?? 0, 116, 8);
  octal(entry.size ?? bytesOf(entry).length, 124, 12);
  octal(entry.mtime ?? 0, 136, 12);
  put(entry.type ?? '0', 156, 1);
  put(entry.link ?? '', 157, 100);
  const magic = entry.magic ?? 'ustar';
  if (magic === 'gnu') put('ustar  \0', 257, 8);
  else if (magic !== 'v7') put('ustar\x0000', 257, 8);
  if (magic === 'star') put('tar\0', 508, 4);
  put(entry.prefix ?? '', 345, 155);
  for (const [at, value] of Object.entries(entry.patch ?? {})) put(value, Number(at), 512);
  return sealHeader(out, entry.checksum);
}

/** Makes the checksum of a header anew. */
export function sealHeader(block: Buffer, kind: TarEntry['checksum'] = 'unsigned'): Buffer {
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of block) sum += kind === 'signed' && byte > 127 ? byte - 256 : byte;
  if (kind === 'wrong') sum += 1;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

function bytesOf(entry: TarEntry): Buffer {
  return Buffer.from(entry.data ?? '');
}

export function pad(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}

/** Entries without end-of-archive. */
export function tarEntries(...entries: readonly (TarEntry | Buffer)[]): Buffer {
  return Buffer.concat(
    entries.map((entry) => {
      if (Buffer.isBuffer(entry)) return entry;
      const data = bytesOf(entry);
      return Buffer.concat([tarHeader(entry), entry.unpadded === true ? data : pad(data)]);
    }),
  );
}

export function tar(...entries: readonly (TarEntry | Buffer)[]): Buffer {
  return Buffer.concat([tarEntries(...entries), END]);
}

export function file(
  name: string | Buffer,
  data: string | Buffer = '',
  rest: Partial<TarEntry> = {},
): TarEntry {
  return { name, data, ...rest };
}
export function dir(name: string | Buffer, rest: Partial<TarEntry> = {}): TarEntry {
  return { name, type: '5', mode: 0o755, ...rest };
}
export function symlink(name: string | Buffer, link: string | Buffer): TarEntry {
  return { name, type: '2', link };
}
export function hardlink(name: string | Buffer, link: string | Buffer): TarEntry {
  return { name, type: '1', link };
}
/** A PAX header (`x`, or `g` for a global one) before the next entry. */
export function pax(records: Readonly<Record<string, string | Buffer>>, type = 'x'): TarEntry {
  return {
    name: 'PaxHeaders/x',
    type,
    data: Buffer.concat(Object.entries(records).map(([k, v]) => paxRecord(k, v))),
  };
}
export function paxRecord(key: string, value: string | Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from('\n')]);
  let length = body.length + 1;
  while (String(length).length + body.length !== length) length = String(length).length + body.length;
  return Buffer.concat([Buffer.from(String(length)), body]);
}
/** A GNU long name (`L`) or long link target (`K`) before the next entry. */
export function longName(name: string, type = 'L'): TarEntry {
  return { name: '././@LongLink', type, data: `${name}\0`, magic: 'gnu' };
}
