import { Refusal } from '../../docker/refusal.js';

// Reads one tar header block as Go's archive/tar does (reader.go `readHeader`, strconv.go), because that is what
// dockerd reads with. Where Go gives an error, so does this; where Go guesses, `ambiguity` says so.

export const BLOCK = 512;

export interface Header {
  /** The type flag as a character; NUL for the oldest archives. */
  readonly type: string;
  /** Byte strings (latin1). */
  readonly name: string;
  readonly link: string;
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  /** Old GNU sparse: whether a block with more of the map follows. */
  readonly extended: boolean;
  /** Why this header has two readings. */
  readonly ambiguity: string | undefined;
}

export function broken(what: string): Refusal {
  return new Refusal(400, 'context-broken', `the build context is not a readable tar archive: ${what}`);
}

export function isZeroBlock(block: Buffer): boolean {
  // The first byte is nearly always a name.
  if (block[0] !== 0) return false;
  for (let at = 1; at < BLOCK; at++) if (block[at] !== 0) return false;
  return true;
}

/** @param block 512 bytes that are not all zero. @throws Refusal 400. */
export function parseHeader(block: Buffer): Header {
  checkSum(block);
  const magic = block.toString('latin1', 257, 263);
  const type = String.fromCharCode(block[156]!);
  let name = text(block, 0, 100);
  let ambiguity: string | undefined;
  const gnu = magic === 'ustar ' && block[263] === 0x20 && block[264] === 0;
  if (magic === 'ustar\0' || gnu) {
    // Not used, but a number that cannot be read makes the header unreadable for dockerd.
    number(block, 329, 8);
    number(block, 337, 8);
    if (gnu) {
      // Go takes the fields of two times for a path prefix when they hold no number; other readers do not.
      if (!isTime(block, 345) || !isTime(block, 357)) ambiguity = 'a GNU header with a path prefix';
    } else {
      const star = block.toString('latin1', 508, 512) === 'tar\0';
      const prefix = text(block, 345, star ? 131 : 155);
      if (prefix !== '') name = `${prefix}/${name}`;
    }
  }
  const size = number(block, 124, 12);
  if (size < 0) throw broken('an entry has a negative size');
  return {
    type,
    name,
    link: text(block, 157, 100),
    size,
    mode: number(block, 100, 8),
    uid: number(block, 108, 8),
    gid: number(block, 116, 8),
    mtime: number(block, 136, 12),
    extended: type === 'S' && block[482] !== 0,
    ambiguity,
  };
}

/** Historic writers summed signed bytes; Go takes either sum. */
function checkSum(block: Buffer): void {
  let unsigned = 8 * 0x20;
  for (let at = 0; at < 148; at++) unsigned += block[at]!;
  for (let at = 156; at < BLOCK; at++) unsigned += block[at]!;
  const said = octal(block, 148, 8);
  if (said === unsigned) return;
  let signed = unsigned;
  for (let at = 0; at < BLOCK; at++) if ((at < 148 || at >= 156) && block[at]! > 0x7f) signed -= 256;
  if (said !== signed) throw broken('a header has a wrong checksum');
}

function text(block: Buffer, at: number, length: number): string {
  const end = block.indexOf(0, at);
  return block.toString('latin1', at, end === -1 || end > at + length ? at + length : end);
}

/** Octal digits, or base-256 when the first bit is set (two's complement, big-endian). */
function number(block: Buffer, at: number, length: number): number {
  const first = block[at]!;
  if ((first & 0x80) === 0) return octal(block, at, length);
  const invert = (first & 0x40) === 0 ? 0 : 0xff;
  let value = 0;
  for (let i = 0; i < length; i++) {
    let byte = block[at + i]! ^ invert;
    if (i === 0) byte &= 0x7f;
    value = value * 256 + byte;
    if (value > Number.MAX_SAFE_INTEGER) throw broken('a number in a header is too large');
  }
  return invert === 0 ? value : -value - 1;
}

function octal(block: Buffer, at: number, length: number): number {
  let start = at;
  let end = at + length;
  while (start < end && (block[start] === 0 || block[start] === 0x20)) start += 1;
  while (end > start && (block[end - 1] === 0 || block[end - 1] === 0x20)) end -= 1;
  let value = 0;
  for (let i = start; i < end; i++) {
    const digit = block[i]! - 0x30;
    // Digits, a NUL, then anything: the NUL ends the number.
    if (block[i] === 0) break;
    if (digit < 0 || digit > 7) throw broken('a number in a header is not octal');
    value = value * 8 + digit;
    if (value > Number.MAX_SAFE_INTEGER) throw broken('a number in a header is too large');
  }
  return value;
}

function isTime(block: Buffer, at: number): boolean {
  if (block[at] === 0) return true;
  try {
    number(block, at, 12);
    return true;
  } catch {
    return false;
  }
}
