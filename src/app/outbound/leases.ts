import { LRUCache } from 'lru-cache';
import { atMost } from '../../base/bounded.js';

/** A container as reports name it. */
export interface ContainerIdentity {
  /** 64 hexadecimal digits. */
  readonly id: string;
  readonly name: string;
  /** As it was asked for: a reference, or an image id. */
  readonly image: string;
}

interface Lease {
  readonly container: ContainerIdentity;
  readonly network: string;
  /** Milliseconds since 1970. */
  readonly from: number;
  to: number;
}

/**
 * Which container had which address when. Addresses are used again within seconds, so "the container that has it now" would name
 * the wrong one for everything that is over by the time it is reported.
 */
export interface Leases {
  open(address: string, network: string, container: ContainerIdentity, at: number): void;
  /** The container left the network; without one, all its networks. */
  close(container: string, network: string | undefined, at: number): void;
  /**
   * Who had the address in that time, give or take `slack`; of several the latest. Milliseconds, since 1970.
   */
  holder(address: string, first: number, last: number, slack: number): ContainerIdentity | undefined;
}

const ADDRESSES = 65_536;
/** Containers that had one address, the newest first. */
const PER_ADDRESS = 32;
export function openLeases(): Leases {
  const byAddress = new LRUCache<string, Lease[]>(atMost(ADDRESSES));
  const byContainer = new LRUCache<string, Lease[]>(atMost(ADDRESSES));
  return {
    open(address, network, container, at) {
      const leases = byAddress.get(address) ?? [];
      const current = leases[0];
      if (current?.container.id === container.id && current.to === Infinity) return;
      // An event was missed: the address now belongs to this container, so the earlier lease has ended.
      if (current !== undefined && current.to === Infinity) current.to = at;
      const lease = { container, network, from: at, to: Infinity };
      byAddress.set(address, [lease, ...leases.slice(0, PER_ADDRESS - 1)]);
      byContainer.set(container.id, [...(byContainer.get(container.id) ?? []).slice(-PER_ADDRESS), lease]);
    },
    close(container, network, at) {
      for (const lease of byContainer.get(container) ?? []) {
        if (lease.to === Infinity && (network === undefined || lease.network === network)) lease.to = at;
      }
    },
    holder(address, first, last, slack) {
      return byAddress.get(address)?.find(({ from, to }) => from - slack <= last && first <= to + slack)
        ?.container;
    },
  };
}
