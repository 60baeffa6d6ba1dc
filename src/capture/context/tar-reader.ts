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
  readonly ambiguity: string | undefined;
}

export interface EntrySink {
  /** @returns whether the data is wanted; if not, neither `data` nor `done` is called for this entry. */
  entry(entry: RawEntry): boolean;
  /** A part of the data, a view of what was fed. */
  data(piece: Buffer): void;
  done(): void;
  /** Something about the archive, not about one entry, that has two readings. */
  addAmbiguity(reason: string): void;
}

/** Largest PAX header or GNU long name, bytes: as in Go (archive/tar `maxSpecialFileSize`). */
const META_LIMIT = 1024 * 1024;
/** Types without data, whatever their size field says (archive/tar `isHeaderOnlyType`). */
const NO_DATA = '123456';

interface Pending {
  pax: PaxRecords | undefined;
  name: string | undefined;
  link: string | undefined;
  ambiguity: string | undefined;
}

type State = 'header' | 'meta' | 'map' | 'data' | 'pad' | 'zero' | 'end';

/**
 * Reads a tar archive in pieces of any size, with Go's semantics (archive/tar reader.go `next`). It holds at most one
 * block, or one PAX header, at a time.
 *
 * Why not the `tar` package: it applies a global header's path and size, which Go ignores, merges names and types its
 * own way, and does not report what is ambiguous about a header, which is what has to be judged here.
 */
export class TarReader {
  readonly #sink: EntrySink;
  #state: State = 'header';
  /** A block that came in several pieces, and how much of it is there. */
  readonly #partial = Buffer.alloc(BLOCK);
  #filled = 0;
  /** Bytes left of the data or the padding, and the padding after the data. */
  #left = 0;
  #pad = 0;
  /** The sink wants the data. */
  #isWanted = false;
  /** A PAX header or GNU long name that is being read. */
  #meta: { readonly type: string; readonly data: Buffer } | undefined;
  /** PAX records and long names for the entry that follows. */
  #pending: Pending | undefined;
  #hasTrailingData = false;

  constructor(sink: EntrySink) {
    this.#sink = sink;
  }

  /** @throws Refusal 400 when dockerd could not read the archive either. */
  feed(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      const state = this.#state;
      if (state === 'data' || state === 'meta' || state === 'pad') at = this.#readBody(chunk, at);
      else if (state === 'end') return this.#readTrailing(chunk, at);
      else at = this.#readBlock(chunk, at);
    }
  }

  /** The input is complete. @throws Refusal 400 when it stops in the middle. */
  end(): void {
    const state = this.#state;
    // Go takes missing padding and missing end blocks, nothing else.
    const isCut = state === 'data' || state === 'meta' || state === 'map' || this.#filled > 0;
    if (isCut && state !== 'end') throw broken('it stops in the middle of an entry');
    this.#dropPending('a PAX header or long name without an entry');
  }

  #readBody(chunk: Buffer, at: number): number {
    const length = Math.min(this.#left, chunk.length - at);
    if (this.#state === 'meta') {
      const { data } = this.#meta!;
      chunk.copy(data, data.length - this.#left, at, at + length);
    } else if (this.#state === 'data' && this.#isWanted) this.#sink.data(chunk.subarray(at, at + length));
    this.#left -= length;
    if (this.#left === 0) {
      if (this.#state === 'pad') this.#state = 'header';
      else this.#endBody();
    }
    return at + length;
  }

  #readTrailing(chunk: Buffer, at: number): void {
    if (this.#hasTrailingData || isZero(chunk, at)) return;
    this.#hasTrailingData = true;
    this.#sink.addAmbiguity('data after the end of the archive');
  }

  /** A header, or a block of a sparse map. */
  #readBlock(chunk: Buffer, at: number): number {
    const before = this.#filled;
    const block = this.#takeBlock(chunk, at);
    if (block === undefined) return chunk.length;
    this.#filled = 0;
    // Old GNU sparse maps: the last byte that is used says whether another block of the map follows.
    if (this.#state !== 'map') this.#readHeader(block);
    else if (block[504] === 0) this.#startBody(this.#left, 'data');
    return at + BLOCK - before;
  }

  #takeBlock(chunk: Buffer, at: number): Buffer | undefined {
    if (this.#filled === 0 && chunk.length - at >= BLOCK) return chunk.subarray(at, at + BLOCK);
    const length = Math.min(BLOCK - this.#filled, chunk.length - at);
    chunk.copy(this.#partial, this.#filled, at, at + length);
    this.#filled += length;
    return this.#filled === BLOCK ? this.#partial : undefined;
  }

  #readHeader(block: Buffer): void {
    if (isZeroBlock(block)) {
      this.#dropPending('a PAX header or long name without an entry');
      this.#state = this.#state === 'zero' ? 'end' : 'zero';
      return;
    }
    if (this.#state === 'zero') throw broken('one block of zeros in the middle');
    const raw = parseHeader(block);
    if (raw.type === 'x' || raw.type === 'g' || raw.type === 'L' || raw.type === 'K') {
      return this.#startMeta(raw);
    }
    const entry = merge(raw, this.#pending);
    this.#pending = undefined;
    this.#isWanted = this.#sink.entry(entry);
    if (raw.extended) {
      this.#left = entry.size;
      this.#state = 'map';
    } else this.#startBody(entry.size, 'data');
  }

  #startMeta({ type, size, ambiguity }: Header): void {
    if (size > META_LIMIT) throw broken('a PAX header or long name is too large');
    if (ambiguity !== undefined) this.#sink.addAmbiguity(ambiguity);
    this.#meta = { type, data: Buffer.alloc(size) };
    this.#startBody(size, 'meta');
  }

  #startBody(size: number, state: 'data' | 'meta'): void {
    this.#left = size;
    this.#pad = (BLOCK - (size % BLOCK)) % BLOCK;
    this.#state = state;
    if (size === 0) this.#endBody();
  }

  #endBody(): void {
    if (this.#meta !== undefined) {
      const { type, data } = this.#meta;
      this.#meta = undefined;
      if (type === 'g') this.#readGlobalHeader(data);
      else this.#applyMeta(type, data);
    } else if (this.#isWanted) this.#sink.done();
    this.#left = this.#pad;
    this.#state = this.#left === 0 ? 'header' : 'pad';
  }

  /** dockerd ignores them, other readers apply them to all that follows; `git archive` writes a comment. */
  #readGlobalHeader(data: Buffer): void {
    const { keys, ambiguity } = parsePax(data);
    const unknownKey = [...keys].find((key) => key !== 'comment');
    if (unknownKey !== undefined)
      this.#sink.addAmbiguity(`a global PAX header with ${unknownKey.slice(0, 40)}`);
    if (ambiguity !== undefined) this.#sink.addAmbiguity(`a global PAX header with ${ambiguity}`);
    this.#dropPending('a global PAX header between an entry and its PAX header');
  }

  #applyMeta(type: string, data: Buffer): void {
    const pending = (this.#pending ??= {
      pax: undefined,
      name: undefined,
      link: undefined,
      ambiguity: undefined,
    });
    if (type === 'x') {
      if (pending.pax !== undefined) pending.ambiguity = 'two PAX headers';
      pending.pax = parsePax(data);
      return;
    }
    const end = data.indexOf(0);
    const key = type === 'L' ? 'name' : 'link';
    if (pending[key] !== undefined) pending.ambiguity = 'two GNU long names';
    pending[key] = data.toString('latin1', 0, end === -1 ? data.length : end);
  }

  /** The records apply to no entry: none follows. */
  #dropPending(reason: string): void {
    if (this.#pending !== undefined) this.#sink.addAmbiguity(reason);
    this.#pending = undefined;
  }
}

function merge(raw: Header, pending: Pending | undefined): RawEntry {
  const pax = pending?.pax;
  // A GNU long name beats a PAX path in Go; in others it is the other way round.
  const name = pending?.name || (pax?.path ?? raw.name);
  const link = pending?.link || (pax?.linkpath ?? raw.link);
  const size = pax?.size ?? raw.size;
  let ambiguity = raw.ambiguity ?? pending?.ambiguity ?? pax?.ambiguity;
  if (pending?.name !== undefined && (pax?.path !== undefined || pending.name === ''))
    ambiguity ??= 'two long names';
  if (pending?.link !== undefined && (pax?.linkpath !== undefined || pending.link === '')) {
    ambiguity ??= 'two long link targets';
  }
  let type = raw.type;
  // The oldest archives mark a directory by a slash only.
  if (type === '\0') type = name.endsWith('/') ? '5' : '0';
  const bare = NO_DATA.includes(type);
  if (bare && size !== 0) ambiguity ??= 'an entry of a type without data that has a size';
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
    ambiguity,
  };
}

const NO_XATTRS: ReadonlyMap<string, string> = new Map();

function isZero(chunk: Buffer, from: number): boolean {
  for (let at = from; at < chunk.length; at++) if (chunk[at] !== 0) return false;
  return true;
}
