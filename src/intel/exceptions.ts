import { maskWord, parsePrefix, type Prefix } from '../base/network.js';
import { formatHost } from './canonical-host.js';
import { readIndicator } from './canonical.js';
import { readUrl } from './canonical-url.js';
import type { Indicator } from './indicator.js';

/** A set of values that are exceptions from what feeds say: an allowlist, a warninglist. */
export interface Exceptions {
  /** Its values, canonical; for `exempt` of `buildIndex`. */
  readonly values: readonly Pick<Indicator, 'type' | 'value'>[];
  /** Whether all of an indicator is excepted: by a wider prefix, a parent domain, the host of a URL, or as it is. */
  covers(indicator: Pick<Indicator, 'type' | 'value'>): boolean;
}

/**
 * Reads addresses, prefixes, domains (meant with their subdomains), URLs and hashes, each in any spelling.
 *
 * @returns the exceptions, and the texts that are none of these.
 */
export function readExceptions(texts: Iterable<string>): { exceptions: Exceptions; unreadable: string[] } {
  const values: Pick<Indicator, 'type' | 'value'>[] = [];
  const unreadable: string[] = [];
  const plain = new Set<string>();
  const domains = new Set<string>();
  /** By length: the first words of prefixes. */
  const prefixes: Readonly<Record<4 | 6, Map<number, Set<number | string>>>> = { 4: new Map(), 6: new Map() };
  for (const text of texts) {
    const value = readIndicator(text);
    if (value === undefined) {
      unreadable.push(text);
      continue;
    }
    values.push(value);
    if (value.type === 'domain') domains.add(value.value);
    else if (value.type === 'url' || value.type === 'hash') plain.add(value.value);
    else {
      const prefix = parsePrefix(value.value)!;
      const known = prefixes[prefix.family].get(prefix.bits) ?? new Set();
      prefixes[prefix.family].set(prefix.bits, known.add(keyOf(prefix, prefix.bits)));
    }
  }
  const coversPrefix = (prefix: Prefix): boolean => {
    for (const [bits, known] of prefixes[prefix.family]) {
      if (bits <= prefix.bits && known.has(keyOf(prefix, bits))) return true;
    }
    return false;
  };
  const coversDomain = (name: string): boolean => {
    for (let from = 0; ;) {
      if (domains.has(name.slice(from))) return true;
      const dot = name.indexOf('.', from);
      if (dot === -1) return false;
      from = dot + 1;
    }
  };
  const coversHost = (host: string): boolean => {
    const prefix = parsePrefix(host);
    return prefix === undefined ? coversDomain(host) : coversPrefix(prefix);
  };
  const exceptions: Exceptions = {
    values,
    covers({ type, value }) {
      switch (type) {
        case 'ipv4':
        case 'ipv6':
        case 'domain':
          return coversHost(value);
        case 'hash':
          return plain.has(value);
        case 'url': {
          const url = readUrl(value);
          return plain.has(value) || (url !== undefined && coversHost(formatHost(url.host)));
        }
      }
    },
  };
  return { exceptions, unreadable };
}

function keyOf(prefix: Prefix, bits: number): number | string {
  if (prefix.family === 4) return maskWord(prefix.address, bits);
  return prefix.words.map((word, i) => maskWord(word, bits - 32 * i)).join(' ');
}
