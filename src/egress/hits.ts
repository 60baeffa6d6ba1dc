import { embeddedIpv4, toWords, type Address } from '../base/address.js';
import { isWithin } from '../base/network.js';
import type { Hit, IndicatorIndex } from '../intel/indicator.js';
import { RESERVED_NETWORKS } from './elements.js';

/** The IPv4 address inside of an IPv6 address (mapped, NAT64), since traffic to both goes to the same host. */
export function plainAddress(address: Address): Address {
  const embedded = address.family === 6 ? embeddedIpv4(toWords(address.value)) : undefined;
  return embedded === undefined ? address : { family: 4, value: embedded };
}

/**
 * The indicator that lists an address.
 *
 * INVARIANT: none for a reserved address: a feed that lists private ranges or loopback must not stop local traffic.
 */
export function hitOfAddress(address: Address, index: IndicatorIndex): Hit | undefined {
  const plain = plainAddress(address);
  const hit = plain.family === 4 ? index.ipv4(plain.value) : index.ipv6(...toWords(plain.value));
  return hit === undefined || isWithin(plain, RESERVED_NETWORKS) ? undefined : hit;
}
