import { BLOCK, broken, isZeroBlock, parseHeader, type Header } from './header.js';
import { parsePax, type PaxRecords } from './pax.js';

/** An entry as the archive has it: its header, with the PAX records and GNU long names before it applied. */
export interface RawEntry {
  readonly type: string;
  readonly name: string;
  readonly link: string;
  /** Bytes of data that follow; 0 for the types without data. */
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
  readonly xattrs: ReadonlyMap<string, string>;
  /** Why it has two readings. */
  readonly odd: string | undefined;
}

export interface EntrySink {
  /** @returns whether the data is wanted; if not, neither `data` nor `done` is called for this entry. */
  entry(entry: RawEntry): boolean;
  /** A part of the data, a view of what was fed. */
  data(piece: Buffer): void;
  done(): void;
  /** Something about the archive, not about one entry, that has two readings. */
  unclear(reason: string): void;
}

export interface EntryReader {
  /** @throws Refusal 400 when dockerd could not read the archive either. */
  feed(chunk: Buffer): void;
  /** The input is complete. @throws Refusal 400 when it stops in the middle. */
  end(): void;
}

/** Largest PAX header or GNU long name, bytes: as in Go (archive/tar `maxSpecialFileSize`). */
const META_LIMIT = 1024 * 1024;
/** Types without data, whatever their size field says (archive/tar `isHeaderOnlyType`). */
const NO_DATA = '123456';

interface Pending {
  pax: PaxRecords | undefined;
  name: string | undefined;
  link: string | undefined;
  odd: string | undefined;
}

type State = 'header' | 'meta' | 'map' | 'data' | 'pad' | 'zero' | 'end';

/**
 * Reads a tar archive in pieces of any size, with Go's semantics (archive/tar reader.go `next`). It holds at most one
 * block, or one PAX header, at a time.
 *
 * Why not the `tar` package: it applies a global header's path and size, which Go ignores, merges names and types its
 * own way, and gives no sight of what was strange about a header, which is what has to be judged here.
 */
export function readEntries(sink: EntrySink): EntryReader {
  const partial = Buffer.alloc(BLOCK);
  let filled = 0;
  let state: State = 'header';
  let left = 0;
  let pad = 0;
  let wanted = false;
  let meta: { readonly type: string; readonly data: Buffer } | undefined;
  let pending: Pending | undefined;
  let trailing = false;

  const take = (chunk: Buffer, at: number): Buffer | undefined => {
    if (filled === 0 && chunk.length - at >= BLOCK) return chunk.subarray(at, at + BLOCK);
    const length = Math.min(BLOCK - filled, chunk.length - at);
    chunk.copy(partial, filled, at, at + length);
    filled += length;
    return filled === BLOCK ? partial : undefined;
  };

  const body = (size: number, next: 'data' | 'meta'): void => {
    left = size;
    pad = (BLOCK - (size % BLOCK)) % BLOCK;
    state = next;
    if (left === 0) bodyDone();
  };

  const bodyDone = (): void => {
    if (meta !== undefined) {
      const { type, data } = meta;
      meta = undefined;
      applyMeta(type, data);
    } else if (wanted) {
      sink.done();
    }
    left = pad;
    state = left === 0 ? 'header' : 'pad';
  };

  const applyMeta = (type: string, data: Buffer): void => {
    if (type === 'g') {
      // dockerd ignores them, other readers apply them to all that follows; `git archive` writes a comment.
      const { keys, odd } = parsePax(data);
      const other = [...keys].find((key) => key !== 'comment');
      if (other !== undefined) sink.unclear(`a global PAX header with ${other.slice(0, 40)}`);
      if (odd !== undefined) sink.unclear(`a global PAX header with ${odd}`);
      if (pending !== undefined) sink.unclear('a global PAX header between an entry and its PAX header');
      pending = undefined;
      return;
    }
    pending ??= { pax: undefined, name: undefined, link: undefined, odd: undefined };
    if (type === 'x') {
      if (pending.pax !== undefined) pending.odd = 'two PAX headers';
      pending.pax = parsePax(data);
    } else {
      const end = data.indexOf(0);
      const text = data.toString('latin1', 0, end === -1 ? data.length : end);
      const key = type === 'L' ? 'name' : 'link';
      if (pending[key] !== undefined) pending.odd = 'two GNU long names';
      pending[key] = text;
    }
  };

  const header = (block: Buffer): void => {
    if (isZeroBlock(block)) {
      if (pending !== undefined) sink.unclear('a PAX header or long name without an entry');
      pending = undefined;
      state = state === 'zero' ? 'end' : 'zero';
      return;
    }
    if (state === 'zero') throw broken('one block of zeros in the middle');
    const raw = parseHeader(block);
    if (raw.type === 'x' || raw.type === 'g' || raw.type === 'L' || raw.type === 'K') {
      if (raw.size > META_LIMIT) throw broken('a PAX header or long name is too large');
      if (raw.odd !== undefined) sink.unclear(raw.odd);
      meta = { type: raw.type, data: Buffer.alloc(raw.size) };
      body(raw.size, 'meta');
      return;
    }
    const entry = merge(raw, pending);
    pending = undefined;
    wanted = sink.entry(entry);
    if (raw.extended) {
      left = entry.size;
      state = 'map';
    } else {
      body(entry.size, 'data');
    }
  };

  return {
    feed(chunk) {
      let at = 0;
      while (at < chunk.length) {
        if (state === 'data' || state === 'meta' || state === 'pad') {
          const length = Math.min(left, chunk.length - at);
          if (state === 'meta') chunk.copy(meta!.data, meta!.data.length - left, at, at + length);
          else if (state === 'data' && wanted) sink.data(chunk.subarray(at, at + length));
          at += length;
          left -= length;
          if (left > 0) return;
          if (state === 'pad') state = 'header';
          else bodyDone();
        } else if (state === 'end') {
          if (trailing || isZero(chunk, at)) return;
          trailing = true;
          sink.unclear('data after the end of the archive');
          return;
        } else {
          const before = filled;
          const block = take(chunk, at);
          if (block === undefined) return;
          at += BLOCK - before;
          filled = 0;
          // Old GNU sparse maps: the last byte that is used says whether another block of the map follows.
          if (state !== 'map') header(block);
          else if (block[504] === 0) body(left, 'data');
        }
      }
    },
    end() {
      // Go takes missing padding and missing end blocks, nothing else.
      if (state === 'data' || state === 'meta' || state === 'map' || filled > 0) {
        if (state !== 'end') throw broken('it stops in the middle of an entry');
      }
      if (pending !== undefined) sink.unclear('a PAX header or long name without an entry');
    },
  };
}

function merge(raw: Header, pending: Pending | undefined): RawEntry {
  const pax = pending?.pax;
  // A GNU long name beats a PAX path in Go; in others it is the other way round.
  const name = pending?.name || (pax?.path ?? raw.name);
  const link = pending?.link || (pax?.linkpath ?? raw.link);
  const size = pax?.size ?? raw.size;
  let odd = raw.odd ?? pending?.odd ?? pax?.odd;
  if (pending?.name !== undefined && (pax?.path !== undefined || pending.name === ''))
    odd ??= 'two long names';
  if (pending?.link !== undefined && (pax?.linkpath !== undefined || pending.link === '')) {
    odd ??= 'two long link targets';
  }
  let type = raw.type;
  // The oldest archives mark a directory by a slash only.
  if (type === '\0') type = name.endsWith('/') ? '5' : '0';
  const bare = NO_DATA.includes(type);
  if (bare && size !== 0) odd ??= 'an entry of a type without data that has a size';
  return {
    type,
    name,
    link,
    size: bare ? 0 : size,
    mode: raw.mode,
    uid: pax?.uid ?? raw.uid,
    gid: pax?.gid ?? raw.gid,
    mtime: pax?.mtime ?? raw.mtime,
    xattrs: pax?.xattrs ?? NO_XATTRS,
    odd,
  };
}

const NO_XATTRS: ReadonlyMap<string, string> = new Map();

function isZero(chunk: Buffer, from: number): boolean {
  for (let at = from; at < chunk.length; at++) if (chunk[at] !== 0) return false;
  return true;
}
