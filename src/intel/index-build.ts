import { parsePrefix } from '../base/network.js';
import { classTable, type ClassTable } from './class-table.js';
import { growing } from './growing.js';
import {
  BLOCK,
  checksum,
  EXEMPT,
  HASH_LENGTHS,
  HEAD,
  HEAD_WORDS,
  hashKey,
  LAST_LABELS,
  MAX_INDEX_BYTES,
  MAGIC,
  packHex,
  SECTIONS,
  setBit,
  TYPES,
  VERSION,
  type Section,
} from './index-layout.js';
import type { Indicator, IndicatorAction, IndicatorType } from './indicator.js';
import { prefixList, rankOf, toRanges, type Ranges } from './prefix-table.js';
import { hashText, textTable } from './text-table.js';

/** What an index needs to know of an indicator; its value is canonical. */
export type Listed = Pick<Indicator, 'type' | 'value' | 'threat' | 'port'> & {
  readonly feed: string;
  readonly action: IndicatorAction;
  readonly confidence: number;
};

export interface BuildOptions {
  /** Two random numbers below 2^32, new ones for each build, so that no attacker can prepare values that collide. */
  readonly seed: readonly [number, number];
  /**
   * Canonical values that no look-up finds, even if they are listed: addresses and prefixes are cut out of the ranges, domains
   * cover their subdomains and win over listed parents, URLs and hashes are meant exactly.
   */
  readonly exempt?: Iterable<Exempt>;
}

export type Exempt = Pick<Indicator, 'type' | 'value'>;

/**
 * Builds an index for `openIndex`. Takes about 100 bytes an indicator while it runs, and reads `listed` once.
 *
 * Where a value is listed several times, and where prefixes or domains lie inside each other, the strongest wins:
 * `block` before `alert`, then the most specific prefix or domain, then the higher confidence, then names in
 * alphabetical order. The order of `listed` does not matter.
 *
 * @throws RangeError on a value that is not canonical.
 */
export function buildIndex(listed: Iterable<Listed>, options: BuildOptions): ArrayBuffer {
  const key = hashKey(options.seed);
  const classes = classTable();
  const prefixes = { ipv4: prefixList(1), ipv6: prefixList(4) };
  const texts = {
    domain: textTable(key, classes),
    url: textTable(key, classes),
    hash: textTable(key, classes),
  };
  const urlHosts = growing();
  const lastLabels = new Uint32Array(LAST_LABELS / 32);
  let lengths = 0;

  const add = ({ type, value }: Exempt, entryClass: number): void => {
    if (type === 'ipv4' || type === 'ipv6') {
      const prefix = parsePrefix(value);
      if (prefix?.family !== (type === 'ipv4' ? 4 : 6)) throw notCanonical(type, value);
      const words = prefix.family === 4 ? [prefix.address] : prefix.words;
      words.forEach((word, i) => prefixes[type].words[i]!.push(word));
      prefixes[type].ranks.push(rankOf(prefix.bits, entryClass));
      return;
    }
    if (type === 'hash') {
      const length = HASH_LENGTHS.findIndex((hashLength) => hashLength === value.length);
      if (length === -1 || !/^[0-9a-f]+$/.test(value)) throw notCanonical(type, value);
      if (entryClass !== EXEMPT) lengths |= 1 << length;
      texts.hash.add(packHex(value), entryClass);
      return;
    }
    if (!(type === 'url' ? URL_TEXT : DOMAIN_TEXT).test(value)) throw notCanonical(type, value);
    if (type === 'url') urlHosts.push(hashText(key, hostOf(value))[1]);
    else setBit(lastLabels, hashText(key, value.slice(value.lastIndexOf('.') + 1))[1]);
    texts[type].add(value, entryClass);
  };
  for (const entry of listed) add(entry, classes.numberOf(entry));
  for (const entry of options.exempt ?? []) add(entry, EXEMPT);

  const four = toRanges(prefixes.ipv4, classes);
  const six = toRanges(prefixes.ipv6, classes);
  const counts = {
    ipv4: four.listed,
    ipv6: six.listed,
    domain: texts.domain.listed(),
    url: texts.url.listed(),
    hash: texts.hash.listed(),
  };
  const sections: Record<Section, () => ArrayBufferView> = {
    from4: () => four.from,
    to4: () => four.to,
    rank4: () => four.rank,
    top4: () => topOf(four),
    from6: () => six.from,
    to6: () => six.to,
    rank6: () => six.rank,
    domainSlots: () => texts.domain.slots(),
    domainText: () => texts.domain.text(),
    urlSlots: () => texts.url.slots(),
    urlText: () => texts.url.text(),
    hashSlots: () => texts.hash.slots(),
    hashText: () => texts.hash.text(),
    lastLabels: () => lastLabels,
    domainNames: () => filterOf(texts.domain.tags()),
    urlHosts: () => filterOf(urlHosts.view()),
    ...classSections(classes),
  };
  return write(sections, { seed: options.seed, counts, lengths });
}

const URL_TEXT = /^[!-~]*[^/]\/[!-~]*$/;
const DOMAIN_TEXT = /^[!-.0-~]{1,253}$/;

function notCanonical(type: IndicatorType, value: string): RangeError {
  return new RangeError(
    `${JSON.stringify(value.slice(0, 80))} is not the canonical value of an indicator of type ${type}`,
  );
}

/** Host of a canonical URL, without port and brackets. */
function hostOf(url: string): string {
  if (url.startsWith('[')) return url.slice(1, url.indexOf(']'));
  const origin = url.slice(0, url.indexOf('/'));
  const colon = origin.indexOf(':');
  return colon === -1 ? origin : origin.slice(0, colon);
}

/** For each upper half of an address, how many ranges start below it; one more for the end. Empty where nothing is listed. */
function topOf({ from }: Ranges): Uint32Array {
  if (from.length === 0) return new Uint32Array(0);
  const top = new Uint32Array(0x10001);
  for (const address of from) top[(address >>> 16) + 1]!++;
  for (let half = 0; half < 0x10000; half++) top[half + 1]! += top[half]!;
  return top;
}

/** A filter with room for all tags: of eight others, one at most is taken for one of these. */
function filterOf(tags: Uint32Array): Uint32Array {
  let bits = 1024;
  while (bits < tags.length * 8) bits *= 2;
  const filter = new Uint32Array(bits / 32);
  for (const tag of tags) setBit(filter, tag);
  return filter;
}

/** Classes as words (feed, threat, action and confidence and port), strings once each. */
function classSections(
  classes: ClassTable,
): Record<'classes' | 'stringAt' | 'strings', () => ArrayBufferView> {
  const strings = new Map<string, number>();
  const number = (text: string): number => {
    const found = strings.get(text) ?? strings.size;
    strings.set(text, found);
    return found;
  };
  const words = classes
    .all()
    .flatMap(({ feed, action, confidence, threat, port }) => [
      number(feed),
      number(threat),
      (action === 'block' ? BLOCK : 0) | (confidence << 16) | port,
    ]);
  const encoded = [...strings.keys()].map((text) => new TextEncoder().encode(text));
  const at = new Uint32Array(encoded.length + 1);
  encoded.forEach((bytes, i) => (at[i + 1] = at[i]! + bytes.length));
  const all = new Uint8Array(at.at(-1)!);
  encoded.forEach((bytes, i) => all.set(bytes, at[i]));
  return { classes: () => Uint32Array.from(words), stringAt: () => at, strings: () => all };
}

function write(
  sections: Readonly<Record<Section, () => ArrayBufferView>>,
  head: { seed: readonly [number, number]; counts: Readonly<Record<IndicatorType, number>>; lengths: number },
): ArrayBuffer {
  const views = SECTIONS.map((section) => sections[section]());
  let bytes = HEAD_WORDS * 4;
  const places = views.map((view) => {
    const place = bytes;
    bytes += Math.ceil(view.byteLength / 4) * 4;
    return place;
  });
  if (bytes > MAX_INDEX_BYTES)
    throw new RangeError(`the index would have ${bytes} bytes; at most ${MAX_INDEX_BYTES} can be written`);
  const buffer = new ArrayBuffer(bytes);
  const words = new Uint32Array(buffer);
  views.forEach((view, i) => {
    new Uint8Array(buffer).set(new Uint8Array(view.buffer, view.byteOffset, view.byteLength), places[i]);
    words.set([places[i]!, view.byteLength], HEAD.sections + 2 * i);
  });
  words.set([MAGIC, VERSION, bytes], HEAD.magic);
  words.set(head.seed, HEAD.seed);
  words.set(
    TYPES.map((type) => head.counts[type]),
    HEAD.counts,
  );
  words[HEAD.lengths] = head.lengths;
  words.set(checksum(words), HEAD.checksum);
  return buffer;
}
