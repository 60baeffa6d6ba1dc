import * as zlib from 'node:zlib';
import type { Compression } from '../../docker/build-context.js';
import { Refusal } from '../../docker/refusal.js';
import { append, left, openInput, type Reading } from './decode/input.js';
import { outOfMemory, WindowShare } from './decode/memory.js';
import { closeXz, decodeXz, openXz } from './decode/xz.js';
import { readFrames } from './decode/zstd-frames.js';
import { broken } from './header.js';

/**
 * What dockerd takes the body for, by its first 10 bytes (moby pkg/archive `DetectCompression`).
 *
 * It decodes gzip with Go's compress/gzip or the program `unpigz`, where several members are one stream; bzip2 with
 * compress/bzip2; xz with the program `xz -d -c -q`, where several streams are one and zeros may stand between them;
 * zstd, from 23.0 on, with klauspost/compress, where several frames are one stream and skippable ones are passed over.
 */
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

/** Compressed bytes that may wait; decoders that need more at once say so. */
const WAITING = 64 * 1024;

/**
 * Decodes xz in steps of about a millisecond each, one for each turn of the event loop, so that other calls are served
 * meanwhile; none while no output is wanted.
 */
class StepDecoder implements Decoder {
  readonly #events: DecoderEvents;
  readonly #input = openInput();
  /** Undefined while the decoder is being loaded. */
  #decoding: Reading<void, Buffer | 'turn'> | undefined;
  #next: NodeJS.Immediate | undefined;
  #wanted = false;
  #hungry = true;
  #over = false;

  constructor(events: DecoderEvents) {
    this.#events = events;
    openXz().then(
      (decoder) => {
        if (this.#over) return closeXz(decoder);
        this.#decoding = decodeXz(this.#input, decoder);
        this.#schedule();
      },
      (error: Error) => this.#fail(error),
    );
  }

  #fail(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#events.error(error);
  }

  #schedule(): void {
    if (!this.#wanted || this.#over || this.#decoding === undefined) return;
    if (!this.#hungry || this.#input.over) this.#next ??= setImmediate(() => this.#step(this.#decoding!));
  }

  #step(decoding: Reading<void, Buffer | 'turn'>): void {
    this.#next = undefined;
    if (this.#over || !this.#wanted) return;
    const before = this.ready();
    let result: IteratorResult<Buffer | 'more' | 'turn', void>;
    try {
      result = decoding.next();
    } catch (error) {
      return this.#fail(error as Error);
    }
    if (result.done === true) {
      this.#over = true;
      return this.#events.end(false);
    }
    this.#hungry = result.value === 'more';
    if (typeof result.value !== 'string') this.#events.data(result.value);
    if (!before && this.ready()) this.#events.ready();
    this.#schedule();
  }

  write(chunk: Buffer): void {
    append(this.#input, chunk);
    this.#hungry = false;
    this.#schedule();
  }

  end(): void {
    this.#input.over = true;
    this.#schedule();
  }

  flow(wanted: boolean): void {
    this.#wanted = wanted;
    this.#schedule();
  }

  ready(): boolean {
    return this.#hungry || left(this.#input) < WAITING;
  }

  destroy(): void {
    this.#over = true;
    clearImmediate(this.#next);
    // Its window is given back.
    this.#decoding?.return();
  }
}

/** Output of node:zlib at once, bytes. */
const OUTPUT = 128 * 1024;

function readable(format: string, code: string | undefined): Refusal {
  if (code === 'ZSTD_error_memory_allocation') return outOfMemory();
  return broken(`the ${format} data ${code === 'Z_BUF_ERROR' ? 'stops in the middle' : 'is damaged'}`);
}

/** A decoder of node:zlib, which works in threads of its own. */
class ZlibDecoder implements Decoder {
  readonly #stream: zlib.Gunzip;
  readonly #events: DecoderEvents;
  /** Bytes of input. */
  #given = 0;
  #full = false;
  #complete = false;
  #decoded = false;

  constructor(format: string, stream: zlib.Gunzip, events: DecoderEvents) {
    this.#stream = stream;
    this.#events = events;
    stream.on('data', events.data);
    stream.on('drain', () => {
      this.#full = false;
      events.ready();
    });
    stream.on('end', () => {
      this.#decoded = true;
      this.#full = false;
      this.#finish();
      events.ready();
    });
    stream.on('error', ({ code }: NodeJS.ErrnoException) => events.error(readable(format, code)));
  }

  #finish(): void {
    if (this.#complete && this.#decoded) this.#events.end(this.#stream.bytesWritten !== this.#given);
  }

  write(chunk: Buffer): void {
    this.#given += chunk.length;
    // Bytes after the end are only counted.
    if (!this.#decoded && !this.#stream.write(chunk)) this.#full = true;
  }

  end(): void {
    this.#complete = true;
    this.#stream.end();
    this.#finish();
  }

  flow(wanted: boolean): void {
    if (wanted) this.#stream.resume();
    else this.#stream.pause();
  }

  ready(): boolean {
    return !this.#full;
  }

  destroy(): void {
    this.#stream.destroy();
  }
}

function openGzip(events: DecoderEvents): Decoder {
  const gunzip = zlib.createGunzip({ chunkSize: OUTPUT, flush: zlib.constants.Z_NO_FLUSH });
  return new ZlibDecoder('gzip', gunzip, events);
}

/** What node:zlib has from Node 22.15 on; its types for Node 20 lack it. */
interface ZstdSupport {
  createZstdDecompress?(options: {
    chunkSize: number;
    params: Readonly<Record<number, number>>;
  }): zlib.Gunzip;
}
const ZSTD = zlib as ZstdSupport;
/** `ZSTD_d_windowLogMax`: the power of two that `WINDOW_LIMIT` is. */
const ZSTD_PARAMS = { 100: 26 };

/** Whether this Node reads zstd. */
export const HAS_ZSTD = ZSTD.createZstdDecompress !== undefined;

/** Gives node:zlib one frame at a time, since it would stop after the first. */
class ZstdDecoder implements Decoder {
  readonly #input = openInput();
  readonly #share = new WindowShare();
  readonly #frames = readFrames(this.#input, (bytes) => (this.#window = Math.max(this.#window, bytes)));
  readonly #events: DecoderEvents;
  readonly #stream: ZlibDecoder;
  #window = 0;
  /** Bytes of output. */
  #produced = 0;

  constructor(stream: zlib.Gunzip, events: DecoderEvents) {
    this.#events = events;
    this.#stream = new ZlibDecoder('zstd', stream, {
      ...events,
      data: (piece) => this.#onData(piece),
      end: (rest) => {
        this.#share.close();
        events.end(rest);
      },
      error: (error) => this.#fail(error),
    });
  }

  #onData(piece: Buffer): void {
    this.#produced += piece.length;
    try {
      this.#share.grow(Math.min(this.#window, this.#produced));
    } catch (error) {
      return this.#fail(error as Error);
    }
    this.#events.data(piece);
  }

  #fail(error: Error): void {
    this.destroy();
    this.#events.error(error);
  }

  /** Gives on what there is. @returns whether it can be decoded. */
  #advance(): boolean {
    let pieces: Buffer[] = [];
    try {
      for (;;) {
        const { done, value } = this.#frames.next();
        if (value instanceof Buffer) {
          pieces.push(value);
          continue;
        }
        if (pieces.length > 0) this.#stream.write(Buffer.concat(pieces));
        pieces = [];
        if (done === true || value === 'more') return true;
      }
    } catch (error) {
      this.#fail(error as Error);
      return false;
    }
  }

  write(chunk: Buffer): void {
    append(this.#input, chunk);
    this.#advance();
  }

  end(): void {
    this.#input.over = true;
    if (this.#advance()) this.#stream.end();
  }

  flow(wanted: boolean): void {
    this.#stream.flow(wanted);
  }

  ready(): boolean {
    return this.#stream.ready();
  }

  destroy(): void {
    this.#stream.destroy();
    this.#share.close();
  }
}

function openZstd(events: DecoderEvents): Decoder {
  const stream = ZSTD.createZstdDecompress?.({ chunkSize: OUTPUT, params: ZSTD_PARAMS });
  if (stream !== undefined) return new ZstdDecoder(stream, events);
  throw unsupported(
    `the build context is compressed with zstd: zstd contexts need Node 22.15 or newer; use gzip (this is Node ${process.versions.node})`,
  );
}

/** @throws Refusal 415 for a compression that is not read here. */
export function openDecoder(compression: Exclude<Compression, ''>, events: DecoderEvents): Decoder {
  return DECODERS[compression](events);
}

/**
 * Why bzip2 is refused: no client makes it, and there is no maintained package that reads it in a stream and notices data
 * that stops in the middle.
 */
const DECODERS: Readonly<Record<Exclude<Compression, ''>, (events: DecoderEvents) => Decoder>> = {
  gzip: openGzip,
  bzip2: () => {
    throw unsupported(
      'the build context is compressed with bzip2, which is not read here: compress it with gzip instead (`tar -cz`)',
    );
  },
  xz: (events) => new StepDecoder(events),
  zstd: openZstd,
};

const unsupported = (reason: string): Refusal => new Refusal(415, 'context-compression', reason);
