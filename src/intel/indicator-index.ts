import { formatPrefix, maskWord } from '../base/network.js';
import {
  BLOCK,
  checksum,
  CLASS_BITS,
  EXEMPT,
  HASH_LENGTHS,
  hasBit,
  HEAD,
  HEAD_WORDS,
  hashKey,
  MAGIC,
  mix,
  MAX_CLASSES,
  packHex,
  SECTIONS,
  slotOf,
  step,
  TYPES,
  VERSION,
  type Section,
} from './index-layout.js';
import type { Hit, IndicatorIndex, IndicatorType } from './indicator.js';
import { hashText, isRecord, recordClass } from './text-table.js';

/** Nothing is listed. */
export const EMPTY_INDEX: IndicatorIndex = {
  counts: { ipv4: 0, ipv6: 0, domain: 0, url: 0, hash: 0 },
  hashLengths: [],
  ipv4: () => undefined,
  ipv6: () => undefined,
  domain: () => undefined,
  url: () => undefined,
  urlHost: () => false,
  hash: () => undefined,
  ranges4: () => [],
  ranges6: () => [],
};

const NOT_FOUND = -1;
const MAX_NAME_LENGTH = 253;
const HEX = /^[0-9a-f]+$/;

/**
 * Opens an index that `buildIndex` made, here or in an earlier life. Nothing is copied: the buffer must stay as it is.
 *
 * @param options `verified`: the checksum was verified already, or the buffer never left this process; the checksum is
 *   what costs time (some 20 ms for 80 MB), the rest none.
 * @throws Error when the buffer is damaged or no index of this version; its message says which.
 */
export function openIndex(
  buffer: ArrayBuffer,
  options: { readonly verified?: boolean } = {},
): IndicatorIndex {
  const { words, views } = readLayout(buffer, options.verified !== true);
  const { from4, to4, rank4, top4, from6, to6, rank6, lastLabels, domainNames, urlHosts } = views.words;
  const key = hashKey([words[HEAD.seed]!, words[HEAD.seed + 1]!]);
  const classAt = classReader(views);
  const domains = { slots: views.words.domainSlots, text: views.bytes.domainText };
  const urls = { slots: views.words.urlSlots, text: views.bytes.urlText };
  const hashes = { slots: views.words.hashSlots, text: views.bytes.hashText };
  const counts = Object.fromEntries(TYPES.map((type, i) => [type, words[HEAD.counts + i]!]));
  const hashLengths = HASH_LENGTHS.filter((_, i) => (words[HEAD.lengths]! & (1 << i)) !== 0);

  const hitOf = (type: IndicatorType, indicator: string, entryClass: number): Hit => {
    const { feed, action, confidence, threat, port } = classAt(entryClass);
    return { type, indicator, action, feed, confidence, threat, port };
  };
  const hit4 = (address: number, rank: number): Hit => {
    const bits = rank >>> CLASS_BITS;
    const prefix = formatPrefix({ family: 4, address: maskWord(address, bits), bits });
    return hitOf('ipv4', prefix, rank & (MAX_CLASSES - 1));
  };
  const hit6 = (address: readonly number[], rank: number): Hit => {
    const bits = rank >>> CLASS_BITS;
    const [a, b, c, d] = address.map((word, i) => maskWord(word, bits - 32 * i));
    return hitOf(
      'ipv6',
      formatPrefix({ family: 6, words: [a!, b!, c!, d!], bits }),
      rank & (MAX_CLASSES - 1),
    );
  };
  /** Below 0: the IPv6 range starts above the address. */
  const compare6 = (ends: Uint32Array, range: number, a: number, b: number, c: number, d: number): number => {
    const at = range * 4;
    return a - ends[at]! || b - ends[at + 1]! || c - ends[at + 2]! || d - ends[at + 3]!;
  };
  const findText = (table: Table, text: string, end: number): number => {
    if (table.slots.length === 0) return NOT_FOUND;
    const [first, tag] = hashText(key, text, end);
    return probe(table, first, tag, text, 0, end);
  };

  return {
    counts: counts as Record<IndicatorType, number>,
    hashLengths,
    ipv4(address) {
      if (rank4.length === 0) return undefined;
      const half = address >>> 16;
      // The last range that starts at or below the address; one that starts in this half, or the one before.
      let low = top4[half]!;
      let high = top4[half + 1]!;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (from4[middle]! <= address) low = middle + 1;
        else high = middle;
      }
      return low > 0 && to4[low - 1]! >= address ? hit4(address, rank4[low - 1]!) : undefined;
    },
    ipv6(a, b, c, d) {
      let low = 0;
      let high = rank6.length;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (compare6(from6, middle, a, b, c, d) >= 0) low = middle + 1;
        else high = middle;
      }
      return low > 0 && compare6(to6, low - 1, a, b, c, d) <= 0
        ? hit6([a, b, c, d], rank6[low - 1]!)
        : undefined;
    },
    domain(name) {
      const end = name.length;
      if (domains.slots.length === 0 || end === 0 || end > MAX_NAME_LENGTH) return undefined;
      let { a, b } = key;
      let best = NOT_FOUND;
      let from = 0;
      let labels = 0;
      for (let at = end - 1; at >= -1; at--) {
        const code = at === -1 ? 0x2e : name.charCodeAt(at);
        if (code === 0x2e) {
          const tag = mix(b);
          if (labels++ === 0 && !hasBit(lastLabels, tag)) return undefined;
          const found = hasBit(domainNames, tag) ? probe(domains, mix(a), tag, name, at + 1, end) : NOT_FOUND;
          if (found === EXEMPT) return undefined;
          // The longer name comes later and wins, unless it is alerted on and a shorter one blocked.
          if (
            found > 0 &&
            (best < 0 || classAt(best).action === 'alert' || classAt(found).action === 'block')
          ) {
            best = found;
            from = at + 1;
          }
        }
        a = step(a, code, key.timesA);
        b = step(b, code, key.timesB);
      }
      return best < 0 ? undefined : hitOf('domain', name.slice(from), best);
    },
    url(url) {
      const exact = findText(urls, url, url.length);
      const query = url.indexOf('?');
      const plain = query === -1 ? NOT_FOUND : findText(urls, url, query);
      if (exact === EXEMPT || plain === EXEMPT) return undefined;
      if (
        plain > 0 &&
        (exact < 0 || (classAt(exact).action === 'alert' && classAt(plain).action === 'block'))
      ) {
        return hitOf('url', url.slice(0, query), plain);
      }
      return exact < 0 ? undefined : hitOf('url', url, exact);
    },
    urlHost: (host) => urlHosts.length > 0 && hasBit(urlHosts, hashText(key, host)[1]),
    hash(hex) {
      if (!hashLengths.some((length) => length === hex.length) || !HEX.test(hex)) return undefined;
      const packed = packHex(hex);
      const found = findText(hashes, packed, packed.length);
      return found > 0 ? hitOf('hash', hex, found) : undefined;
    },
    *ranges4() {
      for (let at = 0; at < rank4.length; at++) {
        const from = from4[at]!;
        yield { from, to: to4[at]!, hit: hit4(from, rank4[at]!) };
      }
    },
    *ranges6() {
      const big = (ends: Uint32Array, at: number): bigint =>
        ends.subarray(at * 4, at * 4 + 4).reduce((sum, word) => (sum << 32n) | BigInt(word), 0n);
      for (let at = 0; at < rank6.length; at++) {
        const hit = hit6([...from6.subarray(at * 4, at * 4 + 4)], rank6[at]!);
        yield { from: big(from6, at), to: big(to6, at), hit };
      }
    },
  };
}

interface Table {
  readonly slots: Uint32Array;
  readonly text: Uint8Array;
}

/**
 * The class of a text in a table, NOT_FOUND when it is not there.
 * INVARIANT: a fingerprint alone finds nothing; the text itself is compared.
 */
function probe(table: Table, first: number, tag: number, text: string, from: number, to: number): number {
  const { slots } = table;
  const count = slots.length >>> 1;
  let at = slotOf(first, count);
  for (let tried = 0; tried < count; tried++) {
    const place = slots[2 * at + 1]!;
    if (place === 0) return NOT_FOUND;
    if (slots[2 * at] === tag && isRecord(table.text, place - 1, text, from, to))
      return recordClass(table.text, place - 1);
    at = at + 1 === count ? 0 : at + 1;
  }
  return NOT_FOUND;
}

interface Views {
  readonly words: Readonly<Record<Section, Uint32Array>>;
  readonly bytes: Readonly<Record<Section, Uint8Array>>;
}

/** Sections that are bytes and may have any length. */
const BYTES = new Set<Section>(['domainText', 'urlText', 'hashText', 'strings']);

function readLayout(buffer: ArrayBuffer, verify: boolean): { words: Uint32Array; views: Views } {
  const damaged = (what: string): Error => new Error(`the index of indicators is damaged: ${what}`);
  if (buffer.byteLength < 4 * HEAD_WORDS || buffer.byteLength % 4 !== 0)
    throw damaged(`it has ${buffer.byteLength} bytes`);
  const words = new Uint32Array(buffer);
  if (words[HEAD.magic] !== MAGIC) throw new Error('this is no index of indicators');
  if (words[HEAD.version] !== VERSION) {
    throw new Error(
      `the index of indicators is of version ${words[HEAD.version]}; this program reads version ${VERSION}`,
    );
  }
  if (words[HEAD.bytes] !== buffer.byteLength) {
    throw damaged(`it has ${buffer.byteLength} bytes, and was written with ${words[HEAD.bytes]}`);
  }
  if (verify) {
    const [a, b] = checksum(words);
    if (a !== words[HEAD.checksum] || b !== words[HEAD.checksum + 1]) throw damaged('its checksum is wrong');
  }
  const views: { words: Partial<Record<Section, Uint32Array>>; bytes: Partial<Record<Section, Uint8Array>> } =
    {
      words: {},
      bytes: {},
    };
  SECTIONS.forEach((section, i) => {
    const [at, length] = [words[HEAD.sections + 2 * i]!, words[HEAD.sections + 2 * i + 1]!];
    if (at % 4 !== 0 || at + length > buffer.byteLength || (length % 4 !== 0 && !BYTES.has(section))) {
      throw damaged(`its section ${section} lies outside of it`);
    }
    views.bytes[section] = new Uint8Array(buffer, at, length);
    views.words[section] = new Uint32Array(buffer, at, length >>> 2);
  });
  return { words, views: views as Views };
}

type ClassOf = Pick<Hit, 'action' | 'feed' | 'confidence' | 'threat' | 'port'>;

/** Reads classes when they are needed, and keeps them: a large table must not delay the opening. */
function classReader({ words, bytes }: Views): (entryClass: number) => ClassOf {
  const { classes, stringAt } = words;
  const known: ClassOf[] = [];
  const text = (at: number): string =>
    new TextDecoder().decode(bytes.strings.subarray(stringAt[at] ?? 0, stringAt[at + 1] ?? 0));
  return (entryClass) => {
    const found = known[entryClass];
    if (found !== undefined) return found;
    const word = classes[entryClass * 3 + 2] ?? 0;
    return (known[entryClass] = {
      feed: text(classes[entryClass * 3] ?? 0),
      threat: text(classes[entryClass * 3 + 1] ?? 0),
      action: (word & BLOCK) !== 0 ? 'block' : 'alert',
      confidence: (word >>> 16) & 0x7f,
      port: word & 0xffff,
    });
  };
}
