import {
  emptyTree,
  locateDockerfile,
  placeEntry,
  show,
  MAX_AMBIGUITIES,
  type Compression,
  type ContextEntry,
  type ContextReading,
  type FileNode,
} from '../../docker/build-context.js';
import { Refusal } from '../../docker/refusal.js';
import { openBatch } from './batch.js';
import { renderEntry } from './render.js';
import { TarReader, type EntrySink, type RawEntry } from './tar-reader.js';

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

/** Observes the unambiguous entries of a build context. Names are byte strings (latin1). */
export interface ContextWatch {
  /** `link`: target of a symbolic or hard link, else empty. */
  entry(path: string, link: string): void;
  /** A regular file begins; its data follows, then `done`. */
  file(path: string, size: number): void;
  data(piece: Buffer): void;
  done(): void;
}

export interface RewriteOptions {
  /** The `dockerfile=` parameter; empty when absent. */
  readonly dockerfile: string;
  readonly limits: ContextLimits;
  /** Sees each clear entry and the data of files, for indicators. */
  readonly watch?: ContextWatch | undefined;
}

const KINDS: Readonly<Record<string, ContextEntry['kind']>> = {
  '0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '5': 'directory',
};
const REFUSED_TYPES: Readonly<Record<string, string>> = {
  '3': 'a character device',
  '4': 'a block device',
  // dockerd would wait for ever to read a Dockerfile that is one.
  '6': 'a FIFO',
  S: 'a sparse file',
};
/** The first bytes of a compressed file, as a name: dockerd would try to decompress the rewritten tar. */
const MAGIC_NAME = /^(?:BZh|\x1f\x8b\x08|\xfd7zXZ\0|\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18)/;

/** Contents of files that may turn out to be the Dockerfile, within a budget of memory. */
class DockerfileCandidates {
  readonly #dockerfile: string;
  readonly #limit: number;
  /** Bytes that may still be kept of files that only a link could make the Dockerfile. */
  #budget: number;
  /** The file that is being read. */
  #current: { readonly node: FileNode; readonly data: Buffer; filled: number } | undefined;

  /** @param dockerfile its name, a byte string; `limit`: its largest size. */
  constructor(dockerfile: string, limit: number) {
    this.#dockerfile = dockerfile;
    this.#limit = limit;
    this.#budget = 4 * limit;
  }

  begin(path: string, node: FileNode, size: number): void {
    this.#current = this.#isKept(path, size)
      ? { node, data: Buffer.allocUnsafeSlow(size), filled: 0 }
      : undefined;
  }

  add(piece: Buffer): void {
    const current = this.#current;
    if (current !== undefined) current.filled += piece.copy(current.data, current.filled);
  }

  end(): void {
    if (this.#current !== undefined) this.#current.node.content = this.#current.data;
    this.#current = undefined;
  }

  #isKept(path: string, size: number): boolean {
    if (size > this.#limit) return false;
    if (path === this.#dockerfile || path === 'Dockerfile' || path === 'dockerfile') return true;
    // Which files links lead to is known only later: small ones are kept while there is room, likely ones first.
    const isLikely = /(?:docker|container)file/i.test(path);
    if (size > (isLikely ? this.#budget : Math.min(64 * 1024, this.#budget - this.#limit))) return false;
    this.#budget -= size + 64;
    return true;
  }
}

/** Rewrites a tar archive: bytes of any tar in, a tar of its clear entries out. No streams, no clock. */
export class TarRewriter implements EntrySink {
  readonly #limits: ContextLimits;
  readonly #watch: ContextWatch | undefined;
  /** Name of the Dockerfile, a byte string. */
  readonly #dockerfile: string;
  readonly #reader = new TarReader(this);
  readonly #tree = emptyTree();
  readonly #ambiguities: string[] = [];
  readonly #batch = openBatch();
  readonly #candidates: DockerfileCandidates;
  #entries = 0;
  /** Bytes of files, and of names and link targets. */
  #bytes = 0;
  #nameBytes = 0;
  #isFirst = true;
  /** Bytes of padding after the file that is being read. */
  #padding = 0;

  constructor({ limits, watch, dockerfile }: RewriteOptions) {
    this.#limits = limits;
    this.#watch = watch;
    this.#dockerfile = Buffer.from(dockerfile, 'utf8').toString('latin1');
    this.#candidates = new DockerfileCandidates(this.#dockerfile, limits.dockerfile);
  }

  /** @throws Refusal 400 when dockerd could not read the archive either, 413 when it is too large. */
  feed(chunk: Buffer): void {
    this.#reader.feed(chunk);
  }

  /** The input is complete. @throws Refusal 400 when it stops in the middle. */
  end(): void {
    this.#reader.end();
  }

  /** What there is to write since the last call; the caller's to keep. */
  take(): Buffer[] {
    return this.#batch.take();
  }

  /** Records that something has two readings. */
  addAmbiguity(reason: string): void {
    const reasons = this.#ambiguities;
    if (reasons.length < MAX_AMBIGUITIES && !reasons.includes(reason)) reasons.push(reason);
  }

  reading(compression: Compression): ContextReading {
    const dockerfile = this.#findDockerfile();
    const [entries, bytes] = [this.#entries, this.#bytes];
    return { form: 'tar', dockerfile, entries, bytes, compression, ambiguities: this.#ambiguities };
  }

  entry(raw: RawEntry): boolean {
    this.#count(raw);
    const kind = KINDS[raw.type];
    const reason = ambiguityOf(raw, kind, this.#limits.path);
    if (reason !== undefined || kind === undefined) {
      this.addAmbiguity(`${reason ?? 'an entry'}: ${show(raw.name)}`);
      return false;
    }
    const link = kind === 'symlink' || kind === 'hardlink' ? raw.link : '';
    const placed = placeEntry(this.#tree, { kind, name: raw.name, link, size: raw.size });
    const { entries } = this.#limits;
    if (this.#tree.nodes > entries) throw tooLarge(`it has more than ${entries} names`);
    if ('root' in placed) return false;
    if ('ambiguity' in placed) {
      this.addAmbiguity(placed.ambiguity);
      return false;
    }
    const { path, node } = placed;
    this.#watch?.entry(path, placed.link);
    this.#write(raw, kind, path, placed.link);
    if (kind !== 'file' || node.kind !== 'file') return false;
    this.#watch?.file(path, raw.size);
    this.#bytes += raw.size;
    this.#padding = (512 - (raw.size % 512)) % 512;
    this.#candidates.begin(path, node, raw.size);
    return true;
  }

  data(piece: Buffer): void {
    this.#batch.add(piece);
    this.#watch?.data(piece);
    this.#candidates.add(piece);
  }

  done(): void {
    if (this.#padding > 0) this.#batch.room(this.#padding);
    this.#watch?.done();
    this.#candidates.end();
  }

  #count(raw: RawEntry): void {
    const { entries } = this.#limits;
    this.#entries += 1;
    this.#nameBytes += raw.name.length + raw.link.length + 16;
    if (this.#entries > entries) throw tooLarge(`it has more than ${entries} entries`);
    if (this.#nameBytes > NAMES_LIMIT) {
      throw tooLarge(`its names are longer than ${NAMES_LIMIT} bytes together`);
    }
  }

  #write(raw: RawEntry, kind: ContextEntry['kind'], path: string, link: string): void {
    const { size, uid, gid, mtime, xattrs } = raw;
    const mode = raw.mode & 0o7777;
    const name = this.#isFirst && MAGIC_NAME.test(path) ? `./${path}` : path;
    this.#isFirst = false;
    renderEntry({ kind, path, link, size, mode, uid, gid, mtime, xattrs }, name, this.#batch.room);
  }

  #findDockerfile(): ContextReading['dockerfile'] {
    const found = locateDockerfile(this.#tree, this.#dockerfile);
    if (found.kind === 'refused') this.addAmbiguity(found.reason);
    if (found.kind !== 'file') return undefined;
    const { node, path } = found;
    if (found.left)
      this.addAmbiguity('the Dockerfile is behind a symbolic link that leads out of the context');
    if (node.content !== undefined) {
      return { path: Buffer.from(path, 'latin1').toString(), content: node.content };
    }
    const { dockerfile } = this.#limits;
    if (node.size > dockerfile) this.addAmbiguity(`the Dockerfile is larger than ${dockerfile} bytes`);
    else this.addAmbiguity(`the Dockerfile is a link to a file that came before it: ${show(path)}`);
    return undefined;
  }
}

/** Why an entry has no one clear reading; undefined when it has. */
function ambiguityOf(
  raw: RawEntry,
  kind: ContextEntry['kind'] | undefined,
  longest: number,
): string | undefined {
  if (raw.ambiguity !== undefined) return raw.ambiguity;
  if (kind === undefined) return REFUSED_TYPES[raw.type] ?? `an entry of the unknown type ${show(raw.type)}`;
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
