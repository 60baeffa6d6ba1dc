import { lookup as resolveName, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { overlap, parsePrefix, type Prefix } from '../base/network.js';
import { readHost } from '../intel/canonical-host.js';

/** Where requests for one feed may go. */
export interface Reach {
  /** Host of the URL in the config: the only one that may have an address that is not public. */
  readonly host: string;
  /** That host may have a private address. */
  readonly internal: boolean;
}

const prefixes = (texts: readonly string[]): Prefix[] => texts.map((text) => parsePrefix(text)!);

/** This host, its link, groups; and metadata services outside of these (AWS, Alibaba, Oracle, Azure). */
const LOCAL = prefixes([
  ...['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '192.0.0.0/24', '198.18.0.0/15', '224.0.0.0/3'],
  ...['::/127', 'fe80::/9', 'ff00::/8', 'fd00:ec2::254/128', '100.100.100.200/32', '168.63.129.16/32'],
]);
const PRIVATE = prefixes(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7']);

type Kind = 'public' | 'private' | 'local';

/** What kind an address is. IPv4 in an IPv6 coat (mapped, NAT64, 6to4) is what it is underneath. */
function kindOf(text: string): Kind {
  const host = readHost(text.includes(':') ? `[${text}]` : text);
  if (host === undefined || host.kind === 'domain') return 'local';
  const address: Prefix =
    host.kind === 'ipv4'
      ? { family: 4, address: host.address, bits: 32 }
      : { family: 6, words: host.words, bits: 128 };
  if (LOCAL.some((prefix) => overlap(prefix, address))) return 'local';
  return PRIVATE.some((prefix) => overlap(prefix, address)) ? 'private' : 'public';
}

const bare = (hostname: string): string => hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
const isLocalName = (name: string): boolean => name === 'localhost' || name.endsWith('.localhost');

/**
 * Why a request may not go to a URL; undefined when it may. A name is looked at again when it is resolved.
 * The attack: a feed that redirects to 127.0.0.1, into the network, or to a metadata service that hands out credentials.
 */
export function refuseUrl(url: URL, reach: Reach): string | undefined {
  const host = bare(url.hostname);
  if (host === bare(reach.host)) return undefined;
  if (isIP(host) === 0 ? !isLocalName(host) : kindOf(host) === 'public') return undefined;
  return `${url.host} is not a public address; only a host that the configured URL names may be`;
}

/**
 * A resolver for connections that leaves out addresses to which the feed may not lead.
 * The attack: a name that points to a public address when it is checked and to 127.0.0.1 when it is connected to. Here
 * the address that is checked is the one that is connected to.
 */
export function guardedLookup(reach: Reach): LookupFunction {
  return (hostname, options, callback) => {
    resolveName(hostname, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
      if (error !== null) {
        callback(error, options.all === true ? [] : '', 0);
        return;
      }
      const own = bare(hostname) === bare(reach.host);
      const allowed = addresses.filter(({ address }) => {
        const kind = kindOf(address);
        return (
          kind === 'public' || (own && (kind === 'private' ? reach.internal : isLocalName(bare(hostname))))
        );
      });
      const first = allowed[0];
      if (first === undefined) {
        const found = addresses[0]?.address ?? 'nothing';
        const remedy =
          own && kindOf(found) === 'private' ? '; if it is meant to be, say "internal": true' : '';
        callback(new Error(`${hostname} has the address ${found}, which is not public${remedy}`), [], 0);
      } else if (options.all === true) callback(null, allowed);
      else callback(null, first.address, first.family);
    });
  };
}
