import IPCIDR from 'ip-cidr';
import { parseAddress } from '../base/address.js';
import { networkOf, type Network } from '../base/network.js';

const MAPPED = 0xffffn << 32n;

/**
 * Reads `10.0.0.0/8`, `2001:db8::/32` or a single address, normalised: host bits are cleared and a range inside
 * `::ffff:0:0/96` becomes the IPv4 range it stands for, because that is how client addresses come.
 */
export function parseNetwork(text: string): Network | undefined {
  const [address = '', length, ...more] = text.split('/');
  const parsed = parseAddress(address);
  if (parsed === undefined || more.length > 0) return undefined;
  const full = address.includes(':') ? 128 : 32;
  if (length !== undefined && !/^(0|[1-9]\d{0,2})$/.test(length)) return undefined;
  if (!IPCIDR.isValidCIDR(`${address}/${length ?? full}`)) return undefined;
  const bits = length === undefined ? full : Number(length);
  if (bits > full) return undefined;
  if (parsed.family === 6 || full === 32) return networkOf(parsed, bits);
  // ip-cidr drops the length of a mapped range (it reads ::ffff:10.0.0.0/104 as one host), so this one is ours.
  if (bits >= 96) return networkOf(parsed, bits - 96);
  return networkOf({ family: 6, value: MAPPED | BigInt(parsed.value) }, bits);
}
