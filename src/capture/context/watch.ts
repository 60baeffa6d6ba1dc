import { createHash, hash, type Hash } from 'node:crypto';
import { decodeVariants, textBudget } from '../../docker/shell-text.js';
import type { TextBudget } from '../../docker/shell-command.js';
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
/** What decoding shell scripts may write in one context. Those that fill more than a window are not decoded. */
const DECODED = 8 * 1024 ** 2;

const ALGORITHMS: ReadonlyMap<number, string> = new Map([
  [32, 'md5'],
  [40, 'sha1'],
  [64, 'sha256'],
  [128, 'sha512'],
]);

export interface IndicatorWatch extends ContextWatch {
  readonly matches: readonly IndicatorMatch[];
  /** There were more matches than are listed, or a text that could not be searched to its end. */
  readonly truncated: boolean;
}

/**
 * Looks for indicators in names, link targets and text files, and for the hashes of all files, in constant memory.
 * A file of text is searched up to `limits.file`, the context up to `limits.total`; hashes are made of every file that
 * is not empty, in the lengths that the index has.
 *
 * @returns undefined when nothing is listed: then nothing is to be watched.
 */
export function watchIndicators(
  index: IndicatorIndex,
  limits: WatchLimits = WATCH_LIMITS,
): IndicatorWatch | undefined {
  const { counts } = index;
  const addresses = counts.ipv4 + counts.ipv6 + counts.domain + counts.url;
  const algorithms =
    counts.hash === 0 ? [] : index.hashLengths.flatMap((length) => ALGORITHMS.get(length) ?? []);
  if (addresses + counts.hash === 0) return undefined;
  const matches: IndicatorMatch[] = [];
  const seen = new Set<string>();
  const window = Buffer.allocUnsafeSlow(WINDOW);
  const budget: TextBudget = { left: DECODED };
  let truncated = false;
  let left = limits.total;
  /** Of the file that goes by. */
  let path = '';
  let size = 0;
  let hashes: Hash[] = [];
  let taken = 0;
  let filled = 0;
  let state: 'probe' | 'text' | 'rest' = 'rest';

  const note = (hit: Hit, value: string, where: string): void => {
    const key = `${hit.indicator} ${where}`;
    if (seen.has(key)) return;
    seen.add(key);
    if (matches.length < MAX_MATCHES) matches.push({ hit, value, where });
    else truncated = true;
  };
  const search = (text: string, where: string): void => {
    const found = scanText(text, index, where);
    for (const { hit, value } of found.matches) note(hit, value, where);
    if (found.truncated) truncated = true;
  };
  const where = (): string => `context file ${utf8(path)}`;
  const lookUp = (hex: string): void => {
    const hit = index.hash(hex);
    if (hit !== undefined) note(hit, hex, where());
  };

  /** Searches what is in the window; what may go on stays in it, unless the file is over. */
  const flush = (last: boolean): void => {
    if (state === 'probe') {
      state = window.subarray(0, Math.min(filled, PROBE)).includes(0) ? 'rest' : 'text';
      if (state === 'rest') return;
    }
    const end = last ? filled : cutBefore(window, filled);
    const text = window.toString('utf8', 0, end);
    search(text, where());
    if (last && filled === size && isScript(path, text)) {
      // Each has its own bound too: one small script must not write what is meant for all.
      const own = textBudget(text.length);
      const most = Math.min(own.left, budget.left);
      own.left = most;
      const { variants } = decodeVariants(text, () => undefined, own);
      budget.left -= most - own.left;
      for (const variant of variants) if (variant !== text) search(variant, where());
    }
    window.copyWithin(0, end, filled);
    filled -= end;
  };
  const takeText = (piece: Buffer): void => {
    for (let at = 0; at < piece.length && state !== 'rest';) {
      const length = Math.min(piece.length - at, window.length - filled, limits.file - taken, left);
      piece.copy(window, filled, at, at + length);
      at += length;
      filled += length;
      taken += length;
      left -= length;
      if (taken === limits.file || left === 0) {
        flush(true);
        state = 'rest';
      } else if (filled === window.length) flush(false);
    }
  };

  return {
    matches,
    get truncated() {
      return truncated;
    },
    entry(name, link) {
      if (truncated || addresses === 0) return;
      search(utf8(name), `context file ${utf8(name)}`);
      if (link !== '') search(utf8(link), `context file ${utf8(name)}`);
    },
    file(name, length) {
      path = name;
      size = length;
      hashes = [];
      taken = 0;
      filled = 0;
      state = truncated || addresses === 0 || left === 0 || length === 0 ? 'rest' : 'probe';
    },
    data(piece) {
      if (piece.length === size) {
        for (const algorithm of algorithms) lookUp(hash(algorithm, piece));
      } else {
        if (hashes.length === 0) hashes = algorithms.map((algorithm) => createHash(algorithm));
        for (const hash of hashes) hash.update(piece);
      }
      if (state !== 'rest') takeText(piece);
    },
    done() {
      for (const hash of hashes) lookUp(hash.digest('hex'));
      hashes = [];
      if (state !== 'rest') flush(true);
      state = 'rest';
    },
  };
}

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
