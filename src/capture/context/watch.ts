import { createHash, hash, type Hash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { decodeVariants, textBudget } from '../../docker/shell-text.js';
import { CALL_WORK } from '../../base/work.js';
import type { Hit, IndicatorIndex, IndicatorMatch } from '../../intel/indicator.js';
import { scanText } from '../../intel/scan.js';
import type { ContextWatch } from './rewrite.js';

export interface WatchLimits {
  /** Bytes of a text file that are searched, from its start. */
  readonly file: number;
  /** Bytes of all text files together. */
  readonly total: number;
}

export const WATCH_LIMITS: WatchLimits = { file: 1024 ** 2, total: 256 * 1024 ** 2 };

/** More are not listed: the rest of the context is then not searched. */
const MAX_MATCHES = 256;
/** Text is searched in pieces of this many bytes, cut where no address can go on. */
const WINDOW = 64 * 1024;
/** Longest URL that is looked for, and some more. */
const MAX_URL_LENGTH = 4 * 1024;
/** A file with a NUL byte in its beginning is no text. */
const PROBE = 1024;
/** Bytes of text, and hashes of files, that are kept to be looked up once more. */
const MAX_KEPT_TEXT = 4 * 1024 ** 2;
const MAX_KEPT_HASHES = 65_536;
/** Searched without letting other calls go on (characters). */
const SLICE = 128 * 1024;
/** What decoding shell scripts may write in one context. Those that fill more than a window are not decoded. */
const DECODED = 8 * 1024 ** 2;

const ALGORITHMS: ReadonlyMap<number, string> = new Map([
  [32, 'md5'],
  [40, 'sha1'],
  [64, 'sha256'],
  [128, 'sha512'],
]);

/** What was found of a context. */
export interface WatchFindings {
  readonly matches: readonly IndicatorMatch[];
  /** There were more matches than are listed, or a text that could not be searched to its end. */
  readonly truncated: boolean;
}

export interface IndicatorWatch extends ContextWatch, WatchFindings {
  /**
   * What another index finds in the context, when other indicators came into force while it arrived. What was not kept
   * of it is not searched, and sets `truncated`.
   */
  searchAgain(index: IndicatorIndex): Promise<WatchFindings>;
}

/** May so many bytes be kept in memory until the call is over? */
export type Keep = (bytes: number) => boolean;

/** Of a context that nothing was looked for in. */
export const UNSEARCHED: WatchFindings = Object.freeze({ matches: Object.freeze([]), truncated: true });

/**
 * Looks for indicators in names, link targets and text files, and for the hashes of all files, in constant memory.
 * A file of text is searched up to `limits.file`, the context up to `limits.total`; hashes are made of every file that
 * is not empty, in the lengths that the index has.
 *
 * @param keep asked for each text and hash that would be kept for `searchAgain`.
 * @returns undefined when nothing is listed: then nothing is to be watched.
 */
export function watchIndicators(
  index: IndicatorIndex,
  limits: WatchLimits = WATCH_LIMITS,
  keep: Keep = () => true,
): IndicatorWatch | undefined {
  const { counts } = index;
  return listsAddresses(index) || counts.hash > 0 ? new IndexWatch(index, limits, keep) : undefined;
}

const listsAddresses = ({ counts: { ipv4, ipv6, domain, url } }: IndicatorIndex): boolean =>
  ipv4 + ipv6 + domain + url > 0;

const algorithmsOf = ({ counts, hashLengths }: IndicatorIndex): readonly string[] =>
  counts.hash === 0 ? [] : hashLengths.flatMap((length) => ALGORITHMS.get(length) ?? []);

/** A piece of a context in which something may be found: a text, or the hash of a file. */
interface Kept {
  readonly text: string;
  readonly where: string;
  readonly isHash: boolean;
}

/** What one index finds in the pieces of a context. */
class Findings implements WatchFindings {
  readonly matches: IndicatorMatch[] = [];
  truncated = false;
  readonly #index: IndicatorIndex;
  readonly #seen = new Set<string>();

  constructor(index: IndicatorIndex) {
    this.#index = index;
  }

  search(text: string, where: string): void {
    const found = scanText(text, this.#index, where);
    for (const { hit, value } of found.matches) this.#note(hit, value, where);
    if (found.truncated) this.truncated = true;
  }

  lookUp(hex: string, where: string): void {
    const hit = this.#index.hash(hex);
    if (hit !== undefined) this.#note(hit, hex, where);
  }

  #note(hit: Hit, value: string, where: string): void {
    const key = `${hit.indicator} ${where}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    if (this.matches.length < MAX_MATCHES) this.matches.push({ hit, value, where });
    else this.truncated = true;
  }
}

/** The pieces of a context, as far as there is room for them. */
class Pieces {
  readonly all: Kept[] = [];
  /** Some were not kept. */
  isPartial = false;
  readonly #keep: Keep;
  #text = 0;
  #hashes = 0;

  constructor(keep: Keep) {
    this.#keep = keep;
  }

  add(text: string, where: string, isHash: boolean): void {
    if (this.isPartial) return;
    if (isHash) this.#hashes += 1;
    else this.#text += text.length;
    const hasRoom = this.#text <= MAX_KEPT_TEXT && this.#hashes <= MAX_KEPT_HASHES;
    if (hasRoom && this.#keep(text.length)) this.all.push({ text, where, isHash });
    else this.isPartial = true;
  }
}

/** Watches the entries of one context for what an index lists. */
class IndexWatch implements IndicatorWatch {
  readonly #findings: Findings;
  readonly #pieces: Pieces;
  readonly #limits: WatchLimits;
  /** Addresses, names or URLs are listed: text is searched. */
  readonly #searches: boolean;
  readonly #algorithms: readonly string[];
  readonly #window = Buffer.allocUnsafeSlow(WINDOW);
  /** For decoding. */
  #decodable = DECODED;
  /** Bytes of text that may still be searched. */
  #left: number;
  // Of the file that goes by:
  #path = '';
  #size = 0;
  #hashes: Hash[] = [];
  /** Bytes that were searched, or are in the window. */
  #taken = 0;
  #filled = 0;
  #state: 'probe' | 'text' | 'rest' = 'rest';

  constructor(index: IndicatorIndex, limits: WatchLimits, keep: Keep) {
    this.#findings = new Findings(index);
    this.#pieces = new Pieces(keep);
    this.#limits = limits;
    this.#searches = listsAddresses(index);
    this.#left = limits.total;
    this.#algorithms = algorithmsOf(index);
  }

  get matches(): readonly IndicatorMatch[] {
    return this.#findings.matches;
  }

  get truncated(): boolean {
    return this.#findings.truncated;
  }

  async searchAgain(index: IndicatorIndex): Promise<WatchFindings> {
    const findings = new Findings(index);
    const isSearchable =
      (this.#searches || !listsAddresses(index)) &&
      algorithmsOf(index).every((algorithm) => this.#algorithms.includes(algorithm));
    findings.truncated = !isSearchable || this.truncated || this.#pieces.isPartial;
    let searched = 0;
    for (const { text, where, isHash } of this.#pieces.all) {
      if (isHash) findings.lookUp(text, where);
      else findings.search(text, where);
      searched += text.length;
      if (searched < SLICE) continue;
      searched = 0;
      await setImmediate();
    }
    return findings;
  }

  entry(name: string, link: string): void {
    if (this.truncated || !this.#searches) return;
    const where = placeOf(name);
    this.#search(utf8(name), where);
    if (link !== '') this.#search(utf8(link), where);
  }

  file(name: string, length: number): void {
    this.#path = name;
    this.#size = length;
    this.#hashes = [];
    this.#taken = 0;
    this.#filled = 0;
    const isSkipped = this.truncated || !this.#searches || this.#left === 0 || length === 0;
    this.#state = isSkipped ? 'rest' : 'probe';
  }

  data(piece: Buffer): void {
    if (piece.length === this.#size) {
      for (const algorithm of this.#algorithms) this.#lookUp(hash(algorithm, piece));
    } else {
      if (this.#hashes.length === 0)
        this.#hashes = this.#algorithms.map((algorithm) => createHash(algorithm));
      for (const hash of this.#hashes) hash.update(piece);
    }
    if (this.#state !== 'rest') this.#takeText(piece);
  }

  done(): void {
    for (const hash of this.#hashes) this.#lookUp(hash.digest('hex'));
    this.#hashes = [];
    if (this.#state !== 'rest') this.#flush(true);
    this.#state = 'rest';
  }

  #takeText(piece: Buffer): void {
    for (let at = 0; at < piece.length && this.#state !== 'rest';) {
      const space = this.#window.length - this.#filled;
      const length = Math.min(piece.length - at, space, this.#limits.file - this.#taken, this.#left);
      piece.copy(this.#window, this.#filled, at, at + length);
      at += length;
      this.#filled += length;
      this.#taken += length;
      this.#left -= length;
      if (this.#taken === this.#limits.file || this.#left === 0) {
        this.#flush(true);
        this.#state = 'rest';
      } else if (this.#filled === this.#window.length) this.#flush(false);
    }
  }

  /** Searches what is in the window; what may go on stays in it, unless the file is over. */
  #flush(last: boolean): void {
    const window = this.#window;
    if (this.#state === 'probe') {
      this.#state = window.subarray(0, Math.min(this.#filled, PROBE)).includes(0) ? 'rest' : 'text';
      if (this.#state === 'rest') return;
    }
    const end = last ? this.#filled : cutBefore(window, this.#filled);
    const text = window.toString('utf8', 0, end);
    this.#search(text, placeOf(this.#path));
    if (last && this.#filled === this.#size && isScript(this.#path, text)) this.#searchDecoded(text);
    window.copyWithin(0, end, this.#filled);
    this.#filled -= end;
  }

  #searchDecoded(script: string): void {
    // Each has its own bound too: one small script must not write what is meant for all.
    const own = textBudget(script.length, { left: CALL_WORK });
    const most = Math.min(own.left, this.#decodable);
    own.left = most;
    const { variants } = decodeVariants(script, () => undefined, own);
    this.#decodable -= most - own.left;
    for (const variant of variants) if (variant !== script) this.#search(variant, placeOf(this.#path));
  }

  #search(text: string, where: string): void {
    this.#pieces.add(text, where, false);
    this.#findings.search(text, where);
  }

  #lookUp(hex: string): void {
    const where = placeOf(this.#path);
    this.#pieces.add(hex, where, true);
    this.#findings.lookUp(hex, where);
  }
}

const placeOf = (name: string): string => `context file ${utf8(name)}`;

function utf8(name: string): string {
  return Buffer.from(name, 'latin1').toString();
}

/** The place up to which a text can be searched: behind its last blank, or what cannot stand in an address. */
function cutBefore(window: Buffer, filled: number): number {
  const from = filled - MAX_URL_LENGTH;
  for (let at = filled; at > from; at--) if (window[at - 1]! <= 0x20) return at;
  for (let at = filled; at > from; at--) if (BREAKS.has(window[at - 1]!)) return at;
  return from;
}

const BREAKS = new Set(Buffer.from(`"'<>(){}|,;`));

function isScript(path: string, text: string): boolean {
  return text.startsWith('#!') || /\.(?:ba|da|a|z|k)?sh$/.test(path);
}
