import { formatIpv4, formatIpv6 as formatWords } from '../intel/canonical-address.js';
import type { Network } from '../policy/cidr.js';

/** A 128-bit number as RFC 5952 text. */
export function formatIpv6(value: bigint): string {
  return formatWords(wordsOf(value));
}

/** The four unsigned 32-bit words of a 128-bit number, for IndicatorIndex.ipv6. */
export function wordsOf(value: bigint): [number, number, number, number] {
  const word = (shift: bigint): number => Number((value >> shift) & 0xffffffffn);
  return [word(96n), word(64n), word(32n), word(0n)];
}

/** First and last address of a network. */
export function boundsOf(network: Network): { readonly from: bigint; readonly to: bigint } {
  const from = BigInt(network.value);
  const full = network.family === 4 ? 32 : 128;
  return { from, to: from + (1n << BigInt(full - network.bits)) - 1n };
}

/** Is the address (as parsed by parseAddress) in one of the networks? */
export function isWithin(
  address: { readonly family: 4 | 6; readonly value: number | bigint },
  networks: readonly Network[],
): boolean {
  const value = BigInt(address.value);
  return networks.some((network) => {
    if (network.family !== address.family) return false;
    const { from, to } = boundsOf(network);
    return from <= value && value <= to;
  });
}

/** CIDR text, made from numbers. */
export function formatNetwork(network: Network): string {
  const address = network.family === 4 ? formatIpv4(network.value) : formatIpv6(network.value);
  return `${address}/${network.bits}`;
}
