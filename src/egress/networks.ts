import { networkInterfaces } from 'node:os';
import { parseAddress } from '../base/address.js';
import { isWithin, type Network } from '../base/network.js';
import { parseNetwork } from '../policy/cidr.js';

/** Networks and names that may be reached: canonical names, with their subdomains. */
export interface Allow {
  readonly networks: readonly Network[];
  readonly names: readonly string[];
}

/** A network with default deny. */
export interface DenyNetwork {
  readonly bridge?: string;
  readonly subnet?: Network;
  readonly allow: Allow;
}

/** Finds the network of an address. */
export interface NetworkFinder {
  /** Index in the list; undefined: none of them. */
  of(client: string): number | undefined;
}

/** The interfaces are read at most this often. */
const REFRESH_INTERVAL_MS = 500;

/** A bridge has the networks of its own addresses; they may come and go with the engine's networks. */
export function findNetworks(networks: readonly DenyNetwork[]): NetworkFinder {
  let at = Number.NEGATIVE_INFINITY;
  let interfaces = new Map<string, Network[]>();
  const look = (): void => {
    interfaces = interfaceNetworks();
    at = performance.now();
  };
  return {
    of(client) {
      if (networks.length === 0) return undefined;
      const address = parseAddress(client);
      if (address === undefined) return undefined;
      const isKnown = (): boolean => [...interfaces.values()].some((own) => isWithin(address, own));
      // A bridge shows up with its first container, whose first packet must not find it unknown.
      if (performance.now() - at > REFRESH_INTERVAL_MS || !isKnown()) look();
      const index = networks.findIndex(({ bridge, subnet }) =>
        isWithin(address, bridge === undefined ? [subnet!] : (interfaces.get(bridge) ?? [])),
      );
      return index < 0 ? undefined : index;
    },
  };
}

function interfaceNetworks(): Map<string, Network[]> {
  const found = new Map<string, Network[]>();
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    found.set(
      name,
      (addresses ?? []).flatMap(({ cidr }) => parseNetwork(cidr?.replace(/%[^/]*/, '') ?? '') ?? []),
    );
  }
  return found;
}

/** The host's own addresses, each as a network of one. */
export function ownAddresses(): Network[] {
  return Object.values(networkInterfaces()).flatMap((addresses) =>
    (addresses ?? []).flatMap(({ address }) => parseNetwork(address.replace(/%.*/, '')) ?? []),
  );
}

/** Is the name one of the list, or below one? */
export function isNameAllowed(name: string, { names }: Allow): boolean {
  return names.some((listed) => name === listed || name.endsWith(`.${listed}`));
}
