import { getPublicSuffix } from 'tldts';
import { formatPrefix, overlap, parsePrefix, type Prefix } from '../base/network.js';
import { readUrl } from './canonical-url.js';
import type { Exceptions } from './exceptions.js';
import type { Indicator } from './indicator.js';

/**
 * Addresses that no feed can list: they are on this host, in its network, or no single host's. The networks for documentation
 * are not among them, blocking them cuts nothing off. (IANA special-purpose address registries, RFC 6890.)
 */
const RESERVED: readonly (readonly [prefix: string, what: string])[] = [
  ['0.0.0.0/8', 'this network'],
  ['10.0.0.0/8', 'private (RFC 1918)'],
  ['100.64.0.0/10', 'shared by carriers (RFC 6598)'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local'],
  ['172.16.0.0/12', 'private (RFC 1918)'],
  ['192.0.0.0/24', 'for protocols (RFC 6890)'],
  ['192.168.0.0/16', 'private (RFC 1918)'],
  ['198.18.0.0/15', 'for benchmarks (RFC 2544)'],
  ['224.0.0.0/4', 'multicast'],
  ['240.0.0.0/4', 'reserved, and broadcast'],
  ['::/8', 'unspecified, loopback, or IPv4 in disguise'],
  ['100::/64', 'discarded (RFC 6666)'],
  ['fc00::/7', 'unique local (RFC 4193)'],
  ['fe80::/10', 'link-local'],
  ['fec0::/10', 'site-local'],
  ['ff00::/8', 'multicast'],
];

const PREFIXES = RESERVED.map(([text, what]) => ({ prefix: parsePrefix(text)!, what }));

/** Names of this host and this network. A public suffix of one label, such as `localhost`, is refused as such. */
const LOCAL_NAMES = [
  'localhost',
  'localdomain',
  'local',
  'internal',
  'home.arpa',
  'in-addr.arpa',
  'ip6.arpa',
];

/** Wider prefixes would cut off a part of the world. */
const WIDEST = { 4: 8, 6: 19 } as const;

export interface AdmitOptions {
  /** What the user allows. */
  readonly allow: Exceptions;
  /** What must stay reachable: the engine, resolvers, hosts of feeds and SIEM. */
  readonly neverBlock: Exceptions;
  /** For a list that one wrote oneself: it may list reserved addresses, local names and public suffixes. */
  readonly allowReserved: boolean;
}

/**
 * Whether a feed may list an indicator. What is only in part excepted, a prefix around an allowed address, is admitted: give
 * the exceptions to `buildIndex` as well, which takes them out of it.
 *
 * @returns undefined when it may; else why not, to stand behind the value: `198.51.100.7 is allowed by the config`.
 */
export function admit(
  indicator: Pick<Indicator, 'type' | 'value'>,
  options: AdmitOptions,
): string | undefined {
  const reason = tooMuch(indicator, options.allowReserved);
  if (reason !== undefined) return reason;
  if (options.allow.covers(indicator)) return 'is allowed by the config';
  if (options.neverBlock.covers(indicator)) return 'must never be blocked';
  return undefined;
}

function tooMuch(
  { type, value }: Pick<Indicator, 'type' | 'value'>,
  allowReserved: boolean,
): string | undefined {
  switch (type) {
    case 'hash':
      return undefined;
    case 'ipv4':
    case 'ipv6': {
      const prefix = parsePrefix(value);
      if (prefix === undefined) return 'is not canonical';
      if (prefix.bits < WIDEST[prefix.family]) return `is wider than /${WIDEST[prefix.family]}`;
      return allowReserved ? undefined : reservedPrefix(prefix);
    }
    case 'domain':
      return allowReserved ? undefined : reservedName(value);
    case 'url': {
      const host = readUrl(value)?.host;
      if (host === undefined) return 'is not canonical';
      if (allowReserved) return undefined;
      if (host.kind === 'domain') return localName(host.name);
      return reservedPrefix(
        host.kind === 'ipv4'
          ? { family: 4, address: host.address, bits: 32 }
          : { family: 6, words: host.words, bits: 128 },
      );
    }
  }
}

function reservedPrefix(prefix: Prefix): string | undefined {
  for (const { prefix: reserved, what } of PREFIXES) {
    if (overlap(prefix, reserved)) return `is ${what}, in ${formatPrefix(reserved)}`;
  }
  return undefined;
}

function localName(name: string): string | undefined {
  const local = LOCAL_NAMES.find((suffix) => name === suffix || name.endsWith(`.${suffix}`));
  return local === undefined ? undefined : `is a local name, in ${local}`;
}

/** Public suffixes include those under which companies give names to everyone, such as `github.io`: a name below it is one site. */
function reservedName(name: string): string | undefined {
  const suffix = getPublicSuffix(name, {
    allowPrivateDomains: true,
    extractHostname: false,
    validateHostname: false,
  });
  return suffix === name ? 'is a public suffix' : localName(name);
}
