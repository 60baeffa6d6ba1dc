/**
 * What a classic build's context is: a tree of names, built entry by entry as dockerd's extraction would build it
 * (moby pkg/archive `Unpack`, builder/remotecontext), and the choice of the file that is the Dockerfile
 * (builder/remotecontext/detect.go, moby/sys/symlink `FollowSymlinkInScope`).
 *
 * Names are byte strings: one character per byte (latin1), so that a name that is not UTF-8 stays what it is.
 */

export interface ContextReading {
  /** How the body was understood. dockerd's classic builder knows only `tar`; it never reads a bare Dockerfile. */
  readonly form: 'tar' | 'dockerfile';
  /** The Dockerfile that dockerd would use: its cleaned path and bytes; undefined when there is none. */
  readonly dockerfile: { readonly path: string; readonly content: Uint8Array } | undefined;
  readonly entries: number;
  /** Bytes of file data. */
  readonly bytes: number;
  readonly compression: Compression;
  /** Why the context has no single clear reading, one sentence each, at most `MAX_AMBIGUITIES`. */
  readonly ambiguities: readonly string[];
}

export type Compression = '' | 'gzip' | 'bzip2' | 'xz' | 'zstd';

/** Most reasons kept in `ContextReading.ambiguities`. */
export const MAX_AMBIGUITIES = 20;

/** An entry of the archive with its meaning; anything that is not one of these four kinds is ambiguous. */
export interface ContextEntry {
  readonly kind: 'file' | 'directory' | 'symlink' | 'hardlink';
  /** As the archive has it. */
  readonly name: string;
  /** Target of a symlink or hard link, else empty. */
  readonly link: string;
  readonly size: number;
}

export interface DirectoryNode {
  readonly kind: 'directory';
  readonly children: Map<string, ContextNode>;
}
export interface FileNode {
  readonly kind: 'file';
  readonly size: number;
  /** Set once the data was read, if it was kept. */
  content: Uint8Array | undefined;
}
export interface SymlinkNode {
  readonly kind: 'symlink';
  readonly target: string;
}
export type ContextNode = DirectoryNode | FileNode | SymlinkNode;

export interface ContextTree {
  readonly root: DirectoryNode;
  /** Names in the tree, directories that no entry named included. */
  nodes: number;
}

export type Placed =
  | {
      /** Cleaned path without leading or trailing slash. */ readonly path: string;
      readonly link: string;
      readonly node: ContextNode;
    }
  | { readonly ambiguity: string }
  /** The context's own directory (`./`): dockerd ignores the entry. */
  | { readonly root: true };

export function emptyTree(): ContextTree {
  return { root: { kind: 'directory', children: new Map() }, nodes: 0 };
}

/** Longest name of one path component that Linux file systems take, bytes (NAME_MAX). */
const COMPONENT_LIMIT = 255;

/**
 * Puts an entry into the tree, or says why it has no single clear meaning; the tree is then as before. A path may
 * come once only, except that a directory may be named again: dockerd would let the later entry replace the earlier,
 * so what is built would depend on which of the two a reader uses.
 */
export function placeEntry(tree: ContextTree, entry: ContextEntry): Placed {
  const parts = cleanParts(entry.name);
  if (typeof parts === 'string') return { ambiguity: `${parts}: ${show(entry.name)}` };
  const last = parts.pop();
  if (last === undefined) {
    if (entry.kind === 'directory' && entry.name !== '' && !entry.name.startsWith('/')) return { root: true };
    return { ambiguity: `an entry that would replace the context's own directory: ${show(entry.name)}` };
  }
  // Everything is checked before the first name is added.
  let parent: DirectoryNode | undefined = tree.root;
  for (const part of parts) {
    const next: ContextNode | undefined = parent.children.get(part);
    if (next === undefined) {
      parent = undefined;
      break;
    }
    // A write through `d -> .` lands on another path than its name says (`d/Dockerfile` is the Dockerfile).
    if (next.kind === 'symlink') return { ambiguity: `an entry below a symbolic link: ${show(entry.name)}` };
    if (next.kind === 'file') return { ambiguity: `an entry below a file: ${show(entry.name)}` };
    parent = next;
  }
  const earlier = parent?.children.get(last);
  if (earlier !== undefined && !(earlier.kind === 'directory' && entry.kind === 'directory')) {
    return { ambiguity: `a path that comes twice: ${show(entry.name)}` };
  }
  if (entry.kind === 'file' && entry.name.endsWith('/')) {
    return { ambiguity: `a file with the name of a directory: ${show(entry.name)}` };
  }
  const node = earlier ?? newNode(tree, entry);
  if (typeof node === 'string') return { ambiguity: `${node}: ${show(entry.name)} -> ${show(entry.link)}` };
  if (earlier === undefined) {
    let at = tree.root;
    for (const part of parts) {
      let next = at.children.get(part);
      if (next === undefined) {
        next = { kind: 'directory', children: new Map() };
        at.children.set(part, next);
        tree.nodes += 1;
      }
      at = next as DirectoryNode;
    }
    at.children.set(last, node);
    tree.nodes += 1;
  }
  parts.push(last);
  const link = entry.kind === 'hardlink' ? (cleanParts(entry.link) as string[]).join('/') : entry.link;
  return { path: parts.join('/'), link, node };
}

function newNode(tree: ContextTree, entry: ContextEntry): ContextNode | string {
  switch (entry.kind) {
    case 'directory':
      return { kind: 'directory', children: new Map() };
    case 'file':
      return { kind: 'file', size: entry.size, content: undefined };
    case 'symlink':
      return entry.link === '' ? 'a symbolic link to nothing' : { kind: 'symlink', target: entry.link };
    case 'hardlink': {
      const parts = cleanParts(entry.link);
      if (typeof parts === 'string') return `${parts} in a hard link`;
      let at: ContextNode | undefined = tree.root;
      for (const part of parts) at = at?.kind === 'directory' ? at.children.get(part) : undefined;
      return at?.kind === 'file' ? at : 'a hard link to something that is not an earlier regular file';
    }
  }
}

/** The components of a name as Go's `filepath.Clean` leaves them, or why they are not clear. */
function cleanParts(name: string): string[] | string {
  if (name.includes('\0')) return 'a NUL byte in a name';
  const parts: string[] = [];
  for (const part of name.split('/')) {
    if (part === '' || part === '.') continue;
    parts.push(part);
    if (part === '..') return 'a name with `..`';
    if (part.length > COMPONENT_LIMIT) return 'a name that no file system takes';
    // The mark for a deleted file in image layers and in some storage drivers.
    if (part.startsWith('.wh.')) return 'the name of a whiteout';
  }
  return parts;
}

export type Located =
  | { readonly kind: 'file'; readonly path: string; readonly node: FileNode; readonly left: boolean }
  | { readonly kind: 'missing' }
  | { readonly kind: 'refused'; readonly reason: string };

/**
 * The Dockerfile that dockerd would open.
 * @param parameter the `dockerfile=` parameter; empty means `Dockerfile`. Only for exactly `Dockerfile` is the
 *   lower-case name a fall-back, and only when nothing is there, not when it cannot be read.
 */
export function locateDockerfile(tree: ContextTree, parameter: string): Located {
  const wanted = parameter === '' ? 'Dockerfile' : parameter;
  const found = follow(tree, wanted);
  return found.kind === 'missing' && wanted === 'Dockerfile' ? follow(tree, 'dockerfile') : found;
}

const MISSING = { kind: 'missing' } as const;
/** moby/sys/symlink: most links followed. */
const LINK_LIMIT = 255;

function follow(tree: ContextTree, path: string): Located {
  if (path.includes('\0')) return { kind: 'refused', reason: 'the dockerfile parameter has a NUL byte' };
  // The parameter is cleaned as text first: `d/../Dockerfile` is `Dockerfile` even if `d` is a link.
  const clean: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') clean.push(part);
    else if (clean.pop() === undefined) {
      return { kind: 'refused', reason: 'the dockerfile parameter leads out of the context' };
    }
  }
  const todo = clean.reverse();
  const names: string[] = [];
  const nodes: (ContextNode | undefined)[] = [tree.root];
  let links = 0;
  let left = false;
  let work = 0;
  for (let part = todo.pop(); part !== undefined; part = todo.pop()) {
    work += 1;
    if (part === '' || part === '.') continue;
    if (part === '..') {
      // In the scope of the context's directory, as in a chroot; also out of files and of names that do not exist.
      if (names.pop() === undefined) left = true;
      else nodes.pop();
      continue;
    }
    const at = nodes[nodes.length - 1];
    if (at?.kind === 'file') return { kind: 'refused', reason: 'the Dockerfile is looked for below a file' };
    const node = at?.kind === 'directory' ? at.children.get(part) : undefined;
    if (node?.kind !== 'symlink') {
      names.push(part);
      nodes.push(node);
      continue;
    }
    links += 1;
    // Bounded by work as well: 255 links of 4 KiB each would be a million steps.
    if (links > LINK_LIMIT || work > 100_000) {
      return { kind: 'refused', reason: 'the Dockerfile is behind too many symbolic links' };
    }
    if (node.target.startsWith('/')) {
      names.length = 0;
      nodes.length = 1;
    }
    todo.push(...node.target.split('/').reverse());
  }
  const node = nodes[nodes.length - 1];
  if (node === undefined) return MISSING;
  if (node.kind !== 'file') return { kind: 'refused', reason: 'the Dockerfile is a directory' };
  return { kind: 'file', path: names.join('/'), node, left };
}

/** A name for people: printable ASCII, short. */
export function show(name: string): string {
  const text = name.length > 120 ? `${name.slice(0, 117)}...` : name;
  return `"${text.replace(/[^ -~]|["\\]/g, (c) => (c === '"' || c === '\\' ? `\\${c}` : `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`))}"`;
}
