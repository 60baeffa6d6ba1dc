import {
  emptyTree,
  locateDockerfile,
  placeEntry,
  show,
  UNCLEAR_LIMIT,
  type Compression,
  type ContextEntry,
  type ContextReading,
  type FileNode,
} from '../../docker/build-context.js';
import { Refusal } from '../../docker/refusal.js';
import { openBatch } from './batch.js';
import { readEntries, type EntryReader, type RawEntry } from './entries.js';
import { renderEntry } from './render.js';

export interface ContextLimits {
  /** Most bytes after decompression. */
  readonly inflated: number;
  /** Most entries, and most names in the tree. */
  readonly entries: number;
  /** Largest Dockerfile, bytes. */
  readonly dockerfile: number;
  /** Longest name or link target, bytes. */
  readonly path: number;
  /** Most bytes that one compressed byte may become, once `RATIO_FROM` bytes were inflated. Default: no limit. */
  readonly ratio?: number;
}

export const CONTEXT_LIMITS: ContextLimits = {
  inflated: 4 * 1024 ** 3,
  entries: 500_000,
  dockerfile: 1024 ** 2,
  path: 4096,
};

/** Most bytes of names and link targets together: they stay in memory until the verdict. */
const NAMES_LIMIT = 64 * 1024 ** 2;

/** Looks on while the clear entries of a build context go by. Names are byte strings (latin1). */
export interface ContextWatch {
  /** `link`: target of a symbolic or hard link, else empty. */
  entry(path: string, link: string): void;
  /** A regular file begins; its data follows, then `done`. */
  file(path: string, size: number): void;
  data(piece: Buffer): void;
  done(): void;
}

export interface FreshOptions {
  /** The `dockerfile=` parameter; empty when absent. */
  readonly dockerfile: string;
  readonly limits: ContextLimits;
  /** Sees each clear entry and the data of files, for indicators. */
  readonly watch?: ContextWatch | undefined;
}

export interface FreshWriter extends EntryReader {
  unclear(reason: string): void;
  /** What there is to write since the last call; the caller's to keep. */
  readonly take: () => Buffer[];
  reading(compression: Compression): ContextReading;
}

const KINDS: Readonly<Record<string, ContextEntry['kind']>> = {
  '0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '5': 'directory',
};
const ODD_TYPES: Readonly<Record<string, string>> = {
  '3': 'a character device',
  '4': 'a block device',
  // dockerd would wait for ever to read a Dockerfile that is one.
  '6': 'a FIFO',
  S: 'a sparse file',
};
/** The first bytes of a compressed file, as a name: dockerd would try to decompress the fresh tar. */
const MAGIC_NAME = /^(?:BZh|\x1f\x8b\x08|\xfd7zXZ\0|\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18)/;

/** Entries in, fresh tar out: no streams, no clock. */
export function writeFresh(options: FreshOptions): FreshWriter {
  const { limits, watch } = options;
  const wanted = Buffer.from(options.dockerfile, 'utf8').toString('latin1');
  const tree = emptyTree();
  const reasons: string[] = [];
  const batch = openBatch();
  let entries = 0;
  let bytes = 0;
  let names = 0;
  let first = true;
  /** What may still be kept of files that could turn out to be the Dockerfile through a link. */
  let budget = 4 * limits.dockerfile;
  let left = 0;
  let kept: { readonly node: FileNode; readonly data: Buffer; filled: number } | undefined;

  const unclear = (reason: string): void => {
    if (reasons.length < UNCLEAR_LIMIT && !reasons.includes(reason)) reasons.push(reason);
  };
  const keeps = (path: string, size: number): boolean => {
    if (size > limits.dockerfile) return false;
    if (path === wanted || path === 'Dockerfile' || path === 'dockerfile') return true;
    // Which files links lead to is known only later: small ones are kept while there is room, likely ones first.
    const likely = /(?:docker|container)file/i.test(path);
    if (size > (likely ? budget : Math.min(64 * 1024, budget - limits.dockerfile))) return false;
    budget -= size + 64;
    return true;
  };

  const onEntry = (raw: RawEntry): boolean => {
    entries += 1;
    names += raw.name.length + raw.link.length + 16;
    if (entries > limits.entries) throw tooLarge(`it has more than ${limits.entries} entries`);
    if (names > NAMES_LIMIT) throw tooLarge(`its names are longer than ${NAMES_LIMIT} bytes together`);
    const kind = KINDS[raw.type];
    const reason = oddEntry(raw, kind, limits.path);
    if (reason !== undefined || kind === undefined) {
      unclear(`${reason ?? 'an entry'}: ${show(raw.name)}`);
      return false;
    }
    const link = kind === 'symlink' || kind === 'hardlink' ? raw.link : '';
    const placed = placeEntry(tree, { kind, name: raw.name, link, size: raw.size });
    if (tree.nodes > limits.entries) throw tooLarge(`it has more than ${limits.entries} names`);
    if ('root' in placed) return false;
    if ('unclear' in placed) {
      unclear(placed.unclear);
      return false;
    }
    const { path, node } = placed;
    watch?.entry(path, placed.link);
    const name = first && MAGIC_NAME.test(path) ? `./${path}` : path;
    first = false;
    const { size, uid, gid, mtime, xattrs } = raw;
    const mode = raw.mode & 0o7777;
    renderEntry({ kind, path, link: placed.link, size, mode, uid, gid, mtime, xattrs }, name, batch.room);
    if (kind !== 'file' || node.kind !== 'file') return false;
    watch?.file(path, raw.size);
    bytes += raw.size;
    left = (512 - (raw.size % 512)) % 512;
    kept = keeps(path, raw.size) ? { node, data: Buffer.allocUnsafeSlow(raw.size), filled: 0 } : undefined;
    return true;
  };

  const entryReader = readEntries({
    entry: onEntry,
    data(piece) {
      batch.add(piece);
      watch?.data(piece);
      if (kept !== undefined) kept.filled += piece.copy(kept.data, kept.filled);
    },
    done() {
      if (left > 0) batch.room(left);
      watch?.done();
      if (kept !== undefined) kept.node.content = kept.data;
      kept = undefined;
    },
    unclear,
  });

  return {
    feed: (chunk) => entryReader.feed(chunk),
    end: () => entryReader.end(),
    unclear,
    take: batch.take,
    reading(compression) {
      const found = locateDockerfile(tree, wanted);
      let dockerfile: ContextReading['dockerfile'];
      if (found.kind === 'refused') unclear(found.reason);
      if (found.kind === 'file') {
        const { node, path } = found;
        if (found.left) unclear('the Dockerfile is behind a symbolic link that leads out of the context');
        if (node.content !== undefined) {
          dockerfile = { path: Buffer.from(path, 'latin1').toString(), content: node.content };
        } else if (node.size > limits.dockerfile) {
          unclear(`the Dockerfile is larger than ${limits.dockerfile} bytes`);
        } else {
          unclear(`the Dockerfile is a link to a file that came before it: ${show(path)}`);
        }
      }
      return { form: 'tar', dockerfile, entries, bytes, compression, unclear: reasons };
    },
  };
}

function oddEntry(
  raw: RawEntry,
  kind: ContextEntry['kind'] | undefined,
  longest: number,
): string | undefined {
  if (raw.odd !== undefined) return raw.odd;
  if (kind === undefined) return ODD_TYPES[raw.type] ?? `an entry of the unknown type ${show(raw.type)}`;
  if (raw.name.length > longest || raw.link.length > longest) return `a name longer than ${longest} bytes`;
  if (raw.link.includes('\0')) return 'a NUL byte in a link';
  if (raw.uid < 0 || raw.uid > 0xfffffffe || raw.gid < 0 || raw.gid > 0xfffffffe) {
    return 'a user or group number that does not exist';
  }
  return undefined;
}

export function tooLarge(what: string): Refusal {
  return new Refusal(413, 'context-too-large', `the build context is refused: ${what}`);
}
