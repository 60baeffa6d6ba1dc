import { constants, createGunzip } from 'node:zlib';
import type { Compression } from '../../docker/build-context.js';
import { decodeBzip2 } from './decode/bzip2.js';
import { append, left, openInput, type Decoding, type Input } from './decode/input.js';
import { decodeXz } from './decode/xz.js';
import { decodeZstd } from './decode/zstd.js';
import { broken } from './header.js';

/** What dockerd takes the body for, by its first 10 bytes (moby pkg/archive `DetectCompression`). */
export function detectCompression(head: Buffer): Compression {
  const starts = (...bytes: number[]): boolean => bytes.every((byte, at) => head[at] === byte);
  if (starts(0x1f, 0x8b, 0x08)) return 'gzip';
  if (starts(0x42, 0x5a, 0x68)) return 'bzip2';
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) return 'xz';
  if (starts(0x28, 0xb5, 0x2f, 0xfd)) return 'zstd';
  // A zstd skippable frame; 20.10 knows no zstd and would read a tar here, whose header this cannot be.
  if ((head[0] ?? 0) >> 4 === 5 && starts(head[0]!, 0x2a, 0x4d, 0x18)) return 'zstd';
  return '';
}

export interface DecoderEvents {
  /** Uncompressed bytes. */
  readonly data: (piece: Buffer) => void;
  /** The decoder can take more again. */
  readonly ready: () => void;
  /** All was decompressed; `rest`: there was more input than compressed data. */
  readonly end: (rest: boolean) => void;
  readonly error: (error: Error) => void;
}

export interface Decoder {
  write(chunk: Buffer): void;
  end(): void;
  /** Whether output is wanted now. */
  flow(wanted: boolean): void;
  /** Whether input is wanted now. */
  ready(): boolean;
  destroy(): void;
}

type Decode = (input: Input) => Decoding;
const DECODERS = { bzip2: decodeBzip2, xz: decodeXz, zstd: decodeZstd } satisfies Partial<
  Record<Compression, Decode>
>;

export function openDecoder(compression: Exclude<Compression, ''>, events: DecoderEvents): Decoder {
  return compression === 'gzip' ? openGzip(events) : openSteps(DECODERS[compression], events);
}

/** Compressed bytes that may wait; decoders that need more at once say so. */
const WAITING = 64 * 1024;

/**
 * Runs a decoder in steps of about a millisecond each, one for each turn of the event loop, so that other calls are
 * served meanwhile; none while no output is wanted.
 */
function openSteps(decode: Decode, events: DecoderEvents): Decoder {
  const input = openInput();
  const decoding = decode(input);
  let next: NodeJS.Immediate | undefined;
  let wanted = false;
  let hungry = true;
  let over = false;
  const ready = (): boolean => hungry || left(input) < WAITING;
  const schedule = (): void => {
    if (wanted && !over && (!hungry || input.over)) next ??= setImmediate(step);
  };
  const step = (): void => {
    next = undefined;
    if (over || !wanted) return;
    const before = ready();
    let result: IteratorResult<Buffer | 'more' | 'turn', void>;
    try {
      result = decoding.next();
    } catch (error) {
      over = true;
      return events.error(error as Error);
    }
    if (result.done === true) {
      over = true;
      return events.end(false);
    }
    hungry = result.value === 'more';
    if (typeof result.value !== 'string') events.data(result.value);
    if (!before && ready()) events.ready();
    schedule();
  };
  return {
    write(chunk) {
      append(input, chunk);
      hungry = false;
      schedule();
    },
    end() {
      input.over = true;
      schedule();
    },
    flow(now) {
      wanted = now;
      schedule();
    },
    ready,
    destroy() {
      over = true;
      clearImmediate(next);
      // Its window is given back.
      decoding.return();
    },
  };
}

/** Several gzip members one after the other are one stream, for Go as for zlib. */
function openGzip(events: DecoderEvents): Decoder {
  const gunzip = createGunzip({ chunkSize: 128 * 1024, flush: constants.Z_NO_FLUSH });
  let given = 0;
  let full = false;
  let complete = false;
  let inflated = false;
  const finish = (): void => {
    if (complete && inflated) events.end(gunzip.bytesWritten !== given);
  };
  gunzip.on('data', events.data);
  gunzip.on('drain', () => {
    full = false;
    events.ready();
  });
  gunzip.on('end', () => {
    inflated = true;
    full = false;
    finish();
    events.ready();
  });
  gunzip.on('error', (error: NodeJS.ErrnoException) =>
    events.error(
      broken(error.code === 'Z_BUF_ERROR' ? 'the gzip data stops in the middle' : 'the gzip data is damaged'),
    ),
  );
  return {
    write(chunk) {
      given += chunk.length;
      // Bytes after the end are only counted.
      if (!inflated && !gunzip.write(chunk)) full = true;
    },
    end() {
      complete = true;
      gunzip.end();
      finish();
    },
    flow(wanted) {
      if (wanted) gunzip.resume();
      else gunzip.pause();
    },
    ready: () => !full,
    destroy() {
      gunzip.destroy();
    },
  };
}
