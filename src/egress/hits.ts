import { embeddedIpv4 } from '../intel/canonical-address.js';
import type { Hit, IndicatorIndex } from '../intel/indicator.js';
import type { parseAddress } from '../policy/cidr.js';
import { isWithin, wordsOf } from './addresses.js';
import { RESERVED_NETWORKS } from './elements.js';

/** An address as parseAddress reads it. */
export type Address = NonNullable<ReturnType<typeof parseAddress>>;

/** An IPv6 address that stands for an IPv4 one leads where that one does. */
export function plainAddress(address: Address): Address {
  const embedded = address.family === 6 ? embeddedIpv4(wordsOf(address.value)) : undefined;
  return embedded === undefined ? address : { family: 4, value: embedded };
}

/**
 * What is listed of an address.
 *
 * INVARIANT: nothing, where it is reserved: a list that names private ranges or loopback stops nobody's own traffic.
 */
export function hitOfAddress(address: Address, index: IndicatorIndex): Hit | undefined {
  const plain = plainAddress(address);
  const hit = plain.family === 4 ? index.ipv4(plain.value) : index.ipv6(...wordsOf(plain.value));
  return hit === undefined || isWithin(plain, RESERVED_NETWORKS) ? undefined : hit;
}
