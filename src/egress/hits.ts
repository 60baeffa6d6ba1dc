import { embeddedIpv4, toWords, type Address } from '../base/address.js';
import { isWithin } from '../base/network.js';
import type { Hit, IndicatorIndex } from '../intel/indicator.js';
import { RESERVED_NETWORKS } from './elements.js';

/** An IPv6 address that stands for an IPv4 one leads where that one does. */
export function plainAddress(address: Address): Address {
  const embedded = address.family === 6 ? embeddedIpv4(toWords(address.value)) : undefined;
  return embedded === undefined ? address : { family: 4, value: embedded };
}

/**
 * What is listed of an address.
 *
 * INVARIANT: nothing, where it is reserved: a list that names private ranges or loopback stops nobody's own traffic.
 */
export function hitOfAddress(address: Address, index: IndicatorIndex): Hit | undefined {
  const plain = plainAddress(address);
  const hit = plain.family === 4 ? index.ipv4(plain.value) : index.ipv6(...toWords(plain.value));
  return hit === undefined || isWithin(plain, RESERVED_NETWORKS) ? undefined : hit;
}
