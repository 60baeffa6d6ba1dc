import { gzipSync } from 'node:zlib';
import { compressed, hasZstd } from './compressed.js';
import { dir, END, file, hardlink, longName, pax, paxRecord, symlink, tar, tarEntries } from './tar.js';

/**
 * Build contexts with more than one conceivable reading, and their harmless neighbours. In each, Dockerfiles that
 * differ only in a label tell which one was used: `A`, `B` … What dockerd does with each is measured by
 * test/e2e/context.test.ts.
 */
export interface ContextCase {
  readonly name: string;
  readonly body: Buffer;
  /** The `dockerfile=` parameter. */
  readonly dockerfile?: string;
  /** A word of the expected reason; absent: the context is clear. */
  readonly ambiguity?: string;
  /** Which Dockerfile wins in the reading; '' none. */
  readonly winner: string;
  /** The reader refuses the body altogether, with this status. */
  readonly broken?: 400 | 415;
  /** Not to be sent to dockerd as it is: it would hang. */
  readonly hangs?: true;
  /** Some engines refuse the body as it is (zstd came with 23.0; 26.1 minds odd attributes). All build the fresh tar. */
  readonly someRefuse?: true;
}

export const dockerfile = (label: string): string => `FROM scratch\nLABEL winner=${label}\n`;
const A = dockerfile('A');
const B = dockerfile('B');
const df = (label = 'A'): ReturnType<typeof file> => file('Dockerfile', dockerfile(label));
const LONG = `${'d'.repeat(60)}/${'e'.repeat(60)}/${'f'.repeat(60)}`;

const clear = (name: string, body: Buffer, winner = 'A', dockerfile?: string): ContextCase => ({
  name,
  body,
  winner,
  ...(dockerfile === undefined ? {} : { dockerfile }),
});
const odd = (
  name: string,
  ambiguity: string,
  body: Buffer,
  winner = 'A',
  dockerfile?: string,
): ContextCase => ({ ...clear(name, body, winner, dockerfile), ambiguity });
const broken = (name: string, body: Buffer): ContextCase => ({ name, body, winner: '', broken: 400 });
/** A compression that is not read, whatever is in it. */
const unsupported = (name: string, body: Buffer): ContextCase => ({ ...broken(name, body), broken: 415 });
/** Where Node cannot read zstd, it is refused. */
const zstd = (one: ContextCase): ContextCase =>
  hasZstd ? { ...one, someRefuse: true } : unsupported(one.name, one.body);

const EMPTY_BZIP2 = Buffer.from('425a683917724538509000000000', 'hex');
const EMPTY_ZSTD = Buffer.from('28b52ffd2000010000', 'hex');
const SKIPPABLE = Buffer.from('5a2a4d1803000000616263', 'hex');

export const CASES: readonly ContextCase[] = [
  // Ordinary contexts.
  clear('one file', tar(df())),
  clear('with a tree', tar(df(), dir('src/'), file('src/a', 'x'.repeat(1000)), file('b', 'y'.repeat(512)))),
  clear('names with ./ and the directory itself', tar(dir('./'), file('./Dockerfile', A), file('./x', '1'))),
  clear('directory named after its files', tar(file('src/a', '1'), dir('src'), df())),
  clear('directory twice', tar(dir('src'), dir('./src/'), df())),
  clear('GNU long names', tar(df(), longName(LONG), file(LONG.slice(0, 100), '1', { magic: 'gnu' }))),
  clear('a Dockerfile with a GNU long name', tar(longName(LONG), file('x', A, { magic: 'gnu' })), 'A', LONG),
  clear('a Dockerfile with a PAX name', tar(pax({ path: LONG }), file('x', A)), 'A', LONG),
  clear('PAX name beats the header', tar(file('x', B), pax({ path: 'Dockerfile' }), file('y', A))),
  clear('ustar prefix', tar(df('B'), file('Dockerfile', A, { prefix: 'a' })), 'B'),
  clear('ustar prefix, asked for', tar(df('B'), file('Dockerfile', A, { prefix: 'a' })), 'A', 'a/Dockerfile'),
  clear('star prefix', tar(file('Dockerfile', A, { prefix: 'a', magic: 'star' })), 'A', 'a/Dockerfile'),
  clear('v7 header, prefix without meaning', tar(file('Dockerfile', A, { prefix: 'a', magic: 'v7' }))),
  clear('old type flag', tar(file('Dockerfile', A, { type: '\0', magic: 'v7' }), dir('d/', { type: '\0' }))),
  clear('name of exactly 100 bytes', tar(df(), file('n'.repeat(100), '1'))),
  clear('git archive', tar(pax({ comment: 'c'.repeat(40) }, 'g'), df())),
  clear(
    'PAX times and unknown keys',
    tar(pax({ mtime: '1700000000.123', atime: '1', 'LIBARCHIVE.creationtime': '1' }), df()),
  ),
  clear('PAX size', tar(pax({ size: String(A.length) }), file('Dockerfile', A, { size: 0 }))),
  clear('large user numbers', tar(pax({ uid: '3000000000', gid: '3000000000' }), df())),
  clear('the largest user and group numbers', tar(pax({ uid: '4294967294', gid: '4294967294' }), df())),
  // 0xffffffff is -1 for chown: "leave it as it is".
  odd(
    'a user number that means none',
    'user or group',
    tar(df(), pax({ uid: '4294967295' }), file('x', '1')),
  ),
  odd(
    'a group number that means none',
    'user or group',
    tar(df(), pax({ gid: '4294967295' }), file('x', '1')),
  ),
  odd('a user number past 32 bits', 'user or group', tar(df(), pax({ uid: '4294967296' }), file('x', '1'))),
  odd('a group number past 32 bits', 'user or group', tar(df(), pax({ gid: '4294967296' }), file('x', '1'))),
  odd(
    'a user number below 0',
    'user or group',
    tar(df(), file('x', '1', { patch: { 108: Buffer.alloc(8, 0xff) } })),
  ),
  clear('time before 1970', tar(pax({ mtime: '-5.5' }), df())),
  clear('base-256 size', tar(file('Dockerfile', A, { patch: { 124: base256(A.length) } }))),
  clear(
    'size with blanks',
    tar(file('Dockerfile', A, { patch: { 124: `      ${A.length.toString(8)} \0\0\0\0`.slice(0, 12) } })),
  ),
  clear(
    'signed checksum',
    tar(file(Buffer.from('e9e9e92e747874', 'hex'), '1', { checksum: 'signed' }), df()),
  ),
  clear('unsigned checksum of high bytes', tar(file(Buffer.from('e9e9e92e747874', 'hex'), '1'), df())),
  clear(
    'long name that is not UTF-8',
    tar(pax({ path: Buffer.concat([Buffer.alloc(120, 0xe9), Buffer.from('x')]) }), file('x', '1'), df()),
  ),
  clear('UTF-8 name', tar(file('ä/ö.txt', '1'), df())),
  clear(
    'blanks, newlines and quotes in names',
    tar(file('a b\n"c".txt', '1'), file(' Dockerfile', B), file('Dockerfile\n', B), df()),
  ),
  clear('user attributes', tar(pax({ 'SCHILY.xattr.user.note': 'x' }), file('f', '1'), df())),
  {
    ...clear(
      'attributes that Linux does not know',
      tar(
        pax({ 'SCHILY.xattr.com.apple.provenance': '\x01', 'LIBARCHIVE.xattr.com.apple.provenance': 'AQ' }),
        file('f', '1'),
        df(),
      ),
    ),
    someRefuse: true,
  },
  clear('AppleDouble beside it', tar(file('._Dockerfile', B), df())),
  clear('set-uid file', tar(file('s', '1', { mode: 0o4755 }), df())),
  clear('mode with type bits', tar(file('Dockerfile', A, { mode: 0o100644 }), dir('d', { mode: 0o40755 }))),
  clear('absolute name', tar(file('/Dockerfile', A))),
  clear('many slashes', tar(file('.//./Dockerfile', A))),
  clear(
    'an old GNU header with times',
    tar(file('Dockerfile', A, { magic: 'gnu', patch: { 345: '14000000000\x0014000000000\0' } })),
  ),
  // End of the archive.
  clear('no end blocks', tarEntries(df())),
  clear('one end block', Buffer.concat([tarEntries(df()), Buffer.alloc(512)])),
  clear('many end blocks', Buffer.concat([tar(df()), Buffer.alloc(8192)])),
  clear('a ragged end', Buffer.concat([tar(df()), Buffer.alloc(100)])),
  clear('no padding at the end', tarEntries({ ...df(), unpadded: true })),
  odd('another archive after the end', 'after the end', Buffer.concat([tar(df()), tar(df('B'))])),
  odd('bytes after the end', 'after the end', Buffer.concat([tar(df()), Buffer.from('x')])),
  broken('one block of zeros, then more', Buffer.concat([tarEntries(df()), Buffer.alloc(512), tar(df('B'))])),
  broken('one block of zeros, then a part', Buffer.concat([tarEntries(df()), Buffer.alloc(700)])),
  broken('cut in the data', tar(df()).subarray(0, 520)),
  broken('cut in the header', tar(df()).subarray(0, 400)),
  // Which Dockerfile.
  clear('no Dockerfile', tar(file('x', A)), ''),
  clear('nothing at all', Buffer.alloc(0), ''),
  clear('only the end', END, ''),
  clear('lower case', tar(file('dockerfile', A))),
  clear('both cases', tar(file('dockerfile', B), df())),
  clear('other cases', tar(file('DOCKERFILE', B), file('DockerFile', B), df())),
  clear('lower case is no fall-back for a parameter', tar(file('dockerfile', A)), '', './Dockerfile'),
  clear('parameter', tar(df('B'), file('x/y', A)), 'A', 'x/y'),
  clear('parameter with dots', tar(df('B'), dir('a'), file('x', A)), 'A', 'a/.././x'),
  clear('absolute parameter', tar(df('B'), file('x', A)), 'A', '/x'),
  clear('parameter with a slash at the end', tar(df()), 'A', 'Dockerfile/'),
  clear('parameter in UTF-8', tar(df('B'), file('ö', A)), 'A', 'ö'),
  odd('parameter that leaves', 'leads out', tar(df()), '', '../Dockerfile'),
  odd('parameter that leaves and comes back', 'leads out', tar(df()), '', 'a/../../Dockerfile'),
  odd('parameter is a directory', 'is a directory', tar(df(), dir('d')), '', 'd'),
  odd('Dockerfile is a directory', 'is a directory', tar(dir('Dockerfile'), file('dockerfile', A)), ''),
  odd('parameter below a file', 'below a file', tar(df()), '', 'Dockerfile/x'),
  clear(
    'excluded by .dockerignore',
    tar(file('.dockerignore', 'Dockerfile\n.dockerignore\n'), df(), file('dockerfile', B)),
  ),
  clear('everything excluded by .dockerignore', tar(file('.dockerignore', '*\n'), df())),
  clear(
    'as the CLI does for -f -',
    tar(file('.dockerignore', '.dockerfile.0123456789\n'), df('B'), file('.dockerfile.0123456789', A)),
    'A',
    '.dockerfile.0123456789',
  ),
  // The same path twice.
  odd('twice', 'twice', tar(df(), df('B'))),
  odd('twice with ./', 'twice', tar(df(), file('./Dockerfile', B))),
  odd('twice with slashes', 'twice', tar(df(), file('././/Dockerfile', B))),
  odd('twice, absolute', 'twice', tar(df(), file('/Dockerfile', B))),
  odd('twice by PAX name', 'twice', tar(df(), pax({ path: 'Dockerfile' }), file('x', B))),
  odd('twice by GNU long name', 'twice', tar(df(), longName('Dockerfile'), file('x', B, { magic: 'gnu' }))),
  odd('twice by prefix', 'twice', tar(df(), file('Dockerfile', B, { prefix: '.' }))),
  odd('replaced by a link', 'twice', tar(df(), file('b', B), symlink('./Dockerfile', 'b'))),
  odd('a link replaced', 'twice', tar(file('b', B), symlink('Dockerfile', 'b'), df()), 'B'),
  odd('a directory replaced', 'twice', tar(file('d/Dockerfile', A), file('d', B)), 'A', 'd/Dockerfile'),
  odd('a file replaced by a directory', 'twice', tar(df(), dir('Dockerfile'))),
  odd('name with ..', '..', tar(df(), file('a/../Dockerfile', B))),
  odd('name that leaves', '..', tar(df(), file('../Dockerfile', B))),
  odd('absolute name that leaves', '..', tar(df(), file('/../Dockerfile', B))),
  // Links.
  clear('symbolic link', tar(symlink('Dockerfile', 'x'), file('x', A))),
  clear('symbolic link, later', tar(file('x', A), symlink('Dockerfile', 'x'))),
  clear('absolute symbolic link', tar(symlink('Dockerfile', '/x'), file('x', A))),
  clear('chain of links', tar(symlink('Dockerfile', 'a'), symlink('a', 'b/../c'), dir('b'), file('c', A))),
  clear('link through a missing name', tar(symlink('Dockerfile', 'no/../x'), file('x', A))),
  clear('link through a file', tar(symlink('Dockerfile', 'x/../x'), file('x', A))),
  clear('dangling link falls back', tar(symlink('Dockerfile', 'no'), file('dockerfile', A))),
  clear('dangling link', tar(symlink('Dockerfile', 'no')), ''),
  clear(
    'directory link in the parameter',
    tar(df('B'), file('real/Dockerfile', A), symlink('ci', 'real')),
    'A',
    'ci/Dockerfile',
  ),
  clear('directory link to itself', tar(df(), symlink('d', '.')), 'A', 'd/d/Dockerfile'),
  clear(
    'parent of a directory link',
    tar(
      df('B'),
      file('r/s/x', B),
      file('r/Dockerfile', A),
      symlink('l', 'r/s'),
      symlink('m', 'l/../Dockerfile'),
    ),
    'A',
    'm',
  ),
  clear(
    'dots in the parameter are text',
    tar(df(), file('r/s/x', B), file('r/Dockerfile', B), symlink('l', 'r/s')),
    'A',
    'l/../Dockerfile',
  ),
  odd('link that leaves', 'out of the context', tar(symlink('Dockerfile', '../../x'), file('x', A))),
  odd('loop', 'too many', tar(symlink('Dockerfile', 'x'), symlink('x', 'Dockerfile')), ''),
  odd(
    'through a directory link',
    'below a symbolic link',
    tar(df(), symlink('d', '.'), file('d/Dockerfile', B)),
  ),
  odd(
    'through a directory link by PAX',
    'below a symbolic link',
    tar(df(), symlink('d', '.'), pax({ path: 'd/Dockerfile' }), file('x', B)),
  ),
  odd('empty link', 'link to nothing', tar(df(), { ...symlink('l', ''), link: '' })),
  clear('hard link', tar(file('x', A), hardlink('Dockerfile', 'x'))),
  clear('hard link with ./', tar(file('x', A), hardlink('./Dockerfile', './/x'))),
  clear('absolute hard link', tar(file('x', A), hardlink('Dockerfile', '/x'))),
  odd('hard link to a later file', 'hard link', tar(hardlink('Dockerfile', 'x'), file('x', A)), ''),
  odd(
    'hard link to a link',
    'hard link',
    tar(file('x', A), symlink('l', 'x'), hardlink('Dockerfile', 'l')),
    '',
  ),
  odd(
    'hard link through a directory link',
    'hard link',
    tar(file('x', A), symlink('d', '.'), hardlink('Dockerfile', 'd/x')),
    '',
  ),
  odd('hard link that leaves', '..', tar(df(), hardlink('h', '../etc/passwd'))),
  odd('hard link over the Dockerfile', 'twice', tar(df(), file('x', B), hardlink('Dockerfile', 'x'))),
  odd('link entry with a size', 'has a size', tar(df(), { ...hardlink('h', 'Dockerfile'), size: 512 })),
  odd('directory with a size', 'has a size', tar(df(), dir('d', { size: 512 }))),
  clear('link target in PAX', tar(file('x', A), pax({ linkpath: 'x' }), symlink('Dockerfile', 'y'))),
  clear(
    'GNU long link target',
    tar(df('B'), file(`${LONG.slice(0, 90)}/x`, A), longName(`${LONG.slice(0, 90)}/x`, 'K'), {
      ...symlink('l', 'y'),
      magic: 'gnu',
    }),
    'A',
    'l',
  ),
  // Types.
  { ...odd('FIFO', 'FIFO', tar({ name: 'Dockerfile', type: '6' }), ''), hangs: true },
  odd('device', 'device', tar(df(), { name: 'null', type: '3' })),
  odd('contiguous file', 'unknown type', tar(df(), file('x', B, { type: '7' }))),
  odd('a letter as type', 'unknown type', tar(df(), file('x', B, { type: 'Z' }))),
  odd(
    'Solaris extended header',
    'unknown type',
    tar({ ...pax({ path: 'Dockerfile' }), type: 'X' }, file('x', A)),
    '',
  ),
  odd('file with the name of a directory', 'name of a directory', tar(df(), file('x/', '1'))),
  odd(
    'old GNU sparse',
    'sparse',
    tar(
      df(),
      file('Dockerfile', B, {
        type: 'S',
        magic: 'gnu',
        patch: { 386: octal(0) + octal(B.length), 483: octal(B.length) },
      }),
    ),
  ),
  odd(
    'PAX sparse',
    'sparse',
    tar(
      df(),
      pax({
        'GNU.sparse.major': '0',
        'GNU.sparse.minor': '1',
        'GNU.sparse.name': 'Dockerfile',
        'GNU.sparse.realsize': String(B.length),
        'GNU.sparse.map': `0,${B.length}`,
      }),
      file('x', B),
    ),
  ),
  odd('whiteout', 'whiteout', tar(df(), file('.wh.x', ''))),
  // PAX and GNU names.
  odd('global PAX path', 'global PAX', tar(pax({ path: 'x' }, 'g'), df())),
  odd('global PAX size', 'global PAX', tar(pax({ size: '0' }, 'g'), df())),
  odd('two PAX headers', 'two PAX', tar(df(), pax({ path: 'a' }), pax({ path: 'Dockerfile' }), file('x', B))),
  odd(
    'the key twice',
    'comes twice',
    tar(
      df(),
      { ...pax({}), data: Buffer.concat([paxRecord('path', 'a'), paxRecord('path', 'Dockerfile')]) },
      file('x', B),
    ),
  ),
  odd('empty PAX path', 'empty PAX', tar(df(), pax({ path: '' }), file('x', B))),
  odd(
    'PAX and GNU name',
    'two long names',
    tar(df(), pax({ path: 'x' }), longName('Dockerfile'), file('y', B)),
  ),
  odd('two GNU names', 'two GNU', tar(df(), longName('x'), longName('Dockerfile'), file('y', B))),
  odd('PAX, then global', 'between', tar(pax({ path: 'x' }), pax({ comment: 'c' }, 'g'), df())),
  odd('PAX header without an entry', 'without an entry', tar(df(), pax({ path: 'x' }))),
  odd('GNU header with a prefix', 'prefix', tar(df(), file('Dockerfile', B, { magic: 'gnu', prefix: 'a' }))),
  odd(
    'file capability',
    'security.capability',
    tar(df(), pax({ 'SCHILY.xattr.security.capability': '\x01\0\0\x02' }), file('s', '1')),
  ),
  odd(
    'overlay attribute',
    'trusted.overlay',
    tar(df(), pax({ 'SCHILY.xattr.trusted.overlay.opaque': 'y' }), dir('d')),
  ),
  broken('PAX path with a NUL', tar(pax({ path: 'Dockerfile\0x' }), df())),
  broken('PAX record too long', tar({ ...pax({}), data: '99 path=x\n' }, df())),
  broken('PAX record without newline', tar({ ...pax({}), data: '9 path=x ' }, df())),
  broken('PAX size is negative', tar(pax({ size: '-1' }), df())),
  broken('PAX size is no number', tar(pax({ size: '1e1' }), df())),
  broken('negative base-256 size', tar(file('x', '', { patch: { 124: Buffer.alloc(12, 0xff) } }), df())),
  broken('size is no number', tar(file('Dockerfile', A, { patch: { 124: '0000000003x\0' } }))),
  broken('wrong checksum', tar(file('x', '1', { checksum: 'wrong' }), df())),
  broken('text', Buffer.from(A)),
  broken('text of a block', Buffer.from(`${A}${'#'.repeat(1024 - A.length)}`)),
  broken('larger than the body', tar(file('Dockerfile', A, { size: 100_000_000 }))),
  // Compression.
  clear('gzip', gzipSync(tar(df()))),
  clear(
    'several gzip members',
    Buffer.concat([gzipSync(tar(df()).subarray(0, 300)), gzipSync(tar(df()).subarray(300))]),
  ),
  clear('a first name like bzip2', tar(file('./BZh', '1'), df())),
  odd('bytes after gzip', 'compressed data', Buffer.concat([gzipSync(tar(df())), Buffer.alloc(100)])),
  unsupported('bzip2', compressed('large.bz2')),
  unsupported('several bzip2 streams', Buffer.concat([compressed('small.bz2'), EMPTY_BZIP2])),
  unsupported('bzip2, then zeros', Buffer.concat([compressed('small.bz2'), Buffer.alloc(512)])),
  unsupported('bzip2 cut', compressed('large.bz2').subarray(0, 80)),
  unsupported('bzip2 damaged', Buffer.from(`BZh91AY&SY${'x'.repeat(2000)}`, 'latin1')),
  clear('xz', compressed('large.xz')),
  clear('xz with several blocks', compressed('large-blocks.xz')),
  clear('xz with SHA-256', compressed('small-sha256.xz')),
  clear('xz with padding', Buffer.concat([compressed('small.xz'), Buffer.alloc(512)])),
  broken('xz with a filter', compressed('large-x86.xz')),
  broken('xz cut', compressed('large.xz').subarray(0, 80)),
  broken('xz damaged', Buffer.concat([Buffer.from('fd377a585a000004', 'hex'), Buffer.alloc(2000, 1)])),
  zstd(clear('zstd', compressed('large.zst'))),
  zstd(clear('zstd after a skippable frame', Buffer.concat([SKIPPABLE, compressed('small.zst')]))),
  zstd(clear('zstd of two frames', Buffer.concat([compressed('small.zst'), EMPTY_ZSTD]))),
  zstd(broken('zstd cut', compressed('large.zst').subarray(0, 80))),
  zstd(broken('zstd damaged', Buffer.concat([Buffer.from('28b52ffd', 'hex'), Buffer.alloc(2000, 1)]))),
  broken('gzip cut', gzipSync(tar(df())).subarray(0, 80)),
  broken('gzip damaged', damaged(gzipSync(tar(df())))),
  broken('gzip in gzip', gzipSync(gzipSync(tar(df())))),
];

function octal(value: number): string {
  return `${value.toString(8).padStart(11, '0')}\0`;
}

function base256(value: number): Buffer {
  const out = Buffer.alloc(12);
  out[0] = 0x80;
  out.writeUInt32BE(value, 8);
  return out;
}

function damaged(bytes: Buffer): Buffer {
  bytes[bytes.length - 6]! ^= 0xff;
  return bytes;
}
