import { formatPrefix, parsePrefix } from '../base/network.js';
import { PLAIN, readHost } from './canonical-host.js';
import { canonicalUrl } from './canonical-url.js';
import { refang } from './formats/refang.js';
import type { IndicatorType } from './indicator.js';

export { readHost } from './canonical-host.js';

const HASH = /^(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{128})$/;

/**
 * The canonical value (see indicator.ts) of what a feed or a user calls an indicator of that type. Addresses are read
 * strictly here: `010.1.1.1` or `1.2` in a list has no clear reading. `*.` and a dot in front of a domain are left out,
 * and so is the algorithm in front of a digest.
 *
 * @returns undefined when it is none, or one of another type.
 */
export function canonicalIndicator(type: IndicatorType, text: string): string | undefined {
  const value = text.trim();
  switch (type) {
    case 'ipv4':
    case 'ipv6': {
      const prefix = parsePrefix(value.replace(/^\[(.*)\]$/, '$1'));
      const family = type === 'ipv4' ? 4 : 6;
      return prefix?.family === family ? formatPrefix(prefix) : undefined;
    }
    case 'domain': {
      const host = readHost(value.replace(/^(?:\*?\.)+/, ''));
      return host?.kind === 'domain' && PLAIN.test(host.name) ? host.name : undefined;
    }
    case 'url':
      return canonicalUrl(value);
    case 'hash': {
      const hex = value.replace(/^(?:md5|sha-?1|sha-?256|sha-?512):/i, '').toLowerCase();
      return HASH.test(hex) ? hex : undefined;
    }
  }
}

/** What a text without a type says; defanged (`hxxp`, `[.]`) or not. Its value is `canonicalIndicator(type, refang(text))`. */
export function guessType(text: string): IndicatorType | undefined {
  return readIndicator(text)?.type;
}

/** Type and canonical value of a text without a type: a hash, an address or prefix, a domain, or else a URL. */
export function readIndicator(text: string): { type: IndicatorType; value: string } | undefined {
  const plain = refang(text.trim());
  for (const type of ['hash', 'ipv4', 'ipv6', 'domain', 'url'] as const) {
    const value = canonicalIndicator(type, plain);
    if (value !== undefined) return { type, value };
  }
  return undefined;
}
