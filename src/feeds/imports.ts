import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Indicator } from '../intel/indicator.js';
import { writeWhole } from '../store/write-whole.js';

/**
 * When each indicator of a feed was first imported, for feeds that do not say when they last saw it: their
 * TTL counts from then. An indicator is a 53-bit fingerprint; two that share one share the earlier time, which costs nothing.
 */
export interface Imports {
  readonly prints: Float64Array;
  /** Seconds since 1970. */
  readonly times: Float64Array;
}

const FILE = 'imports.bin';
const MAGIC = 0x62776931;
const NONE: Imports = { prints: new Float64Array(0), times: new Float64Array(0) };

/** What is known about a feed; nothing where the file is missing or damaged: its indicators are then new. */
export async function readImports(directory: string): Promise<Imports> {
  const file = await readFile(join(directory, FILE)).catch(() => Buffer.alloc(0));
  if (file.length < 8 || (file.length - 8) % 16 !== 0 || file.readUInt32BE(0) !== MAGIC) return NONE;
  const count = (file.length - 8) / 16;
  // A copy: views of 8-byte numbers need their place in memory aligned.
  const numbers = new Float64Array(new Uint8Array(file.subarray(8)).buffer);
  return { prints: numbers.subarray(0, count), times: numbers.subarray(count) };
}

/** The first import of an indicator in seconds since 1970; undefined when it is not known. */
export function importedAt(imports: Imports, indicator: Indicator): number | undefined {
  const { prints, times } = imports;
  const wanted = fingerprint(indicator);
  let low = 0;
  let high = prints.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (prints[middle]! < wanted) low = middle + 1;
    else high = middle;
  }
  return prints[low] === wanted ? times[low] : undefined;
}

/** Keeps the times of indicators that are known, takes `now` for those that are new, and forgets the others. */
export function renewImports(imports: Imports, indicators: readonly number[], now: number): Imports {
  const prints = Float64Array.from(indicators).sort();
  const times = new Float64Array(prints.length).fill(now);
  for (let old = 0, next = 0; old < imports.prints.length && next < prints.length;) {
    if (imports.prints[old]! < prints[next]!) old++;
    else if (imports.prints[old]! > prints[next]!) next++;
    else times[next++] = imports.times[old]!;
  }
  return { prints, times };
}

export async function writeImports(directory: string, { prints, times }: Imports): Promise<void> {
  const data = Buffer.alloc(8 + 16 * prints.length);
  data.writeUInt32BE(MAGIC, 0);
  data.set(new Uint8Array(prints.buffer, prints.byteOffset, prints.byteLength), 8);
  data.set(new Uint8Array(times.buffer, times.byteOffset, times.byteLength), 8 + prints.byteLength);
  await writeWhole(join(directory, FILE), data);
}

/** Two FNV-1a hashes over type and value, 53 bits of them. */
export function fingerprint({ type, value }: Pick<Indicator, 'type' | 'value'>): number {
  const text = `${type} ${value}`;
  let a = 0x811c9dc5;
  let b = 0x01000193;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    a = Math.imul(a ^ unit, 0x01000193);
    b = Math.imul(b ^ unit, 0x85ebca6b);
  }
  return (a >>> 0) * 2 ** 21 + (b >>> 11);
}
