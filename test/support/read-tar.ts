/** A second, naive reader for what the guard writes: ustar with PAX records, nothing else, no end-of-archive needed. */
export interface PlainEntry {
  readonly path: string;
  readonly type: string;
  readonly link: string;
  readonly mode: number;
  readonly uid: number;
  readonly mtime: number;
  readonly data: string;
}

export function readPlainTar(bytes: Buffer): { entries: PlainEntry[]; rest: Buffer } {
  const entries: PlainEntry[] = [];
  let at = 0;
  let pax = new Map<string, string>();
  while (at + 512 <= bytes.length && bytes[at] !== 0) {
    const text = (from: number, length: number): string =>
      bytes.toString('latin1', at + from, at + from + length).split('\0', 1)[0]!;
    const octal = (from: number, length: number): number => Number.parseInt(text(from, length), 8);
    if (text(257, 6) !== 'ustar') throw new Error(`not ustar at ${at}`);
    if (text(345, 155) !== '') throw new Error(`a prefix at ${at}`);
    const type = text(156, 1);
    const size = pax.has('size') ? Number(pax.get('size')) : octal(124, 12);
    const data = bytes.toString('latin1', at + 512, at + 512 + size);
    if (type === 'x') {
      pax = new Map();
      for (let rest = data; rest !== '';) {
        const length = Number.parseInt(rest, 10);
        const record = /^\d+ ([^=]+)=([^]*)\n$/.exec(rest.slice(0, length));
        if (record === null) throw new Error(`a bad record at ${at}`);
        pax.set(record[1]!, record[2]!);
        rest = rest.slice(length);
      }
    } else {
      entries.push({
        path: (pax.get('path') ?? text(0, 100)).replace(/\/$/, ''),
        type,
        link: pax.get('linkpath') ?? text(157, 100),
        mode: octal(100, 8),
        uid: Number(pax.get('uid') ?? octal(108, 8)),
        mtime: Number(pax.get('mtime') ?? octal(136, 12)),
        data,
      });
      pax = new Map();
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return { entries, rest: bytes.subarray(at) };
}
