import { lookup } from 'node:dns/promises';
import type { IndicatorIndex } from '../intel/indicator.js';
import { parseAddress } from '../base/address.js';
import { hitOfAddress } from './hits.js';
import type { Finding, Resolver } from './resolver.js';

/** Resolver.lookUp for a gateway without `egress.dns`: the host's own way to resolve names. */
export async function systemLookUp(name: string, index: IndicatorIndex): ReturnType<Resolver['lookUp']> {
  const listed = index.domain(name);
  if (listed !== undefined) return { addresses: [], findings: [{ hit: listed, name, address: '' }] };
  const addresses = (await lookup(name, { all: true })).map(({ address }) => address);
  const findings = addresses.flatMap((text): Finding[] => {
    const address = parseAddress(text);
    const hit = address === undefined ? undefined : hitOfAddress(address, index);
    return hit === undefined ? [] : [{ hit, name, address: text }];
  });
  return { addresses, findings };
}
