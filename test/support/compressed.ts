import { readFileSync } from 'node:fs';
import * as zlib from 'node:zlib';
import type { Compression } from '../../src/docker/build-context.js';
import { file, tar } from './tar.js';

/**
 * Archives compressed by bzip2 1.0.8, xz 5.4 and zstd 1.5, which Node 20 cannot write. A name's first word tells the
 * archive (`ARCHIVES`), the rest what is special: the checksum, the filter, the level.
 */
export function compressed(name: string): Buffer {
  return readFileSync(new URL(`../../../test/fixtures/compressed/${name}`, import.meta.url));
}

const DOCKERFILE = file('Dockerfile', 'FROM scratch\nLABEL winner=A\n');

export const ARCHIVES: Readonly<Record<'small' | 'large' | 'noise', Buffer>> = {
  small: tar(DOCKERFILE),
  /** Text, a repetition and a long run. */
  large: tar(DOCKERFILE, file('words', words()), file('runs', `${'ab'.repeat(3000)}${'z'.repeat(70_000)}`)),
  /** What cannot be compressed is stored. */
  noise: tar(DOCKERFILE, file('noise', noise())),
};

/** Node reads zstd from 22.15 on; elsewhere the guard refuses it. */
export const hasZstd = 'createZstdDecompress' in zlib;

/** What a client is told about bzip2, and about zstd where Node cannot read it. */
export const BZIP2_REFUSED = /compressed with bzip2, which is not read here: compress it with gzip instead/;
export const ZSTD_REFUSED = /zstd contexts need Node 22\.15 or newer; use gzip/;

type Sample = readonly [name: string, compression: Compression, of: keyof typeof ARCHIVES];

const ZSTD: readonly Sample[] = [
  ['small.zst', 'zstd', 'small'],
  ['small-unchecked.zst', 'zstd', 'small'],
  ['large.zst', 'zstd', 'large'],
  ['large-19.zst', 'zstd', 'large'],
  ['noise.zst', 'zstd', 'noise'],
];

/** Those that are refused for their compression, with what is said. */
export const REFUSED: readonly (readonly [name: string, compression: Compression, reason: RegExp])[] = [
  ['small.bz2', 'bzip2', BZIP2_REFUSED],
  ['large.bz2', 'bzip2', BZIP2_REFUSED],
  ['noise.bz2', 'bzip2', BZIP2_REFUSED],
  ['bomb.bz2', 'bzip2', BZIP2_REFUSED],
  ...(hasZstd ? [] : ZSTD.map(([name, compression]) => [name, compression, ZSTD_REFUSED] as const)),
];

/** Those that are read, by the archive that is in them. */
export const READ: readonly Sample[] = [
  ['small.xz', 'xz', 'small'],
  ['small-sha256.xz', 'xz', 'small'],
  ['small-unchecked.xz', 'xz', 'small'],
  ['large.xz', 'xz', 'large'],
  ['large-crc32.xz', 'xz', 'large'],
  ['large-blocks.xz', 'xz', 'large'],
  ['large-lc1lp3pb0.xz', 'xz', 'large'],
  ['noise.xz', 'xz', 'noise'],
  ...(hasZstd ? ZSTD : []),
];

function words(): string {
  const list = 'alpha beta gamma delta epsilon run copy add from label shell'.split(' ');
  let text = '';
  for (let x = 1; text.length < 20_000;) {
    // In floating point, as it was when the fixtures were made.
    x = (x * 1103515245 + 12345) & 0x7fffffff;
    text += `${list[(x >> 16) % list.length]}${(x >> 8) % 7 === 0 ? '\n' : ' '}${(x >> 20) % 97}`;
  }
  return text;
}

function noise(): Buffer {
  const out = Buffer.alloc(3000);
  let x = 7;
  for (let i = 0; i < out.length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    out[i] = x >>> 16;
  }
  return out;
}
