import { parseDuration } from '../base/units.js';
import { formatIpv4, formatIpv6, parseAddress } from '../base/address.js';
import { LRUCache } from 'lru-cache';
import { atMost } from '../base/bounded.js';
import type { Elements } from './elements.js';
import { runNft, type NftResult } from './nft.js';
import {
  changes,
  emptySide,
  FLOW_SETS,
  nameSet,
  NOTHING,
  rangesDiffer,
  SEEN_SETS,
  skeleton,
  wholeTable,
  withoutRedirection,
  type RulesetOptions,
  type Side,
} from './ruleset.js';

/** Packets to one destination that were refused or noted, as nftables counts them. */
export interface Flow {
  readonly source: string;
  readonly destination: string;
  /** `tcp`, `udp`, `icmp` …, or a number. */
  readonly protocol: string;
  /** 0 where the protocol has none. */
  readonly port: number;
  /** Packets since the last poll. */
  readonly packets: number;
  /** When the last packet was, milliseconds since 1970. */
  readonly last: number;
}

/** The table in the kernel, and what it is meant to be. All methods may reject with nft's words. */
export interface PacketFilter {
  /** Puts what is listed in force; only the difference, where the table is there. */
  load(elements: Elements): Promise<void>;
  /** What was counted since the last time; puts the table back when it is gone. */
  poll(): Promise<{ readonly flows: readonly Flow[]; readonly restored: boolean }>;
  /** Writes the rules anew: a rule that was taken out is back. */
  assert(): Promise<void>;
  /** All flows in memory, for a sweep. */
  history(): Promise<Flow[]>;
  /** Lets a network with default deny reach addresses for some seconds. */
  allow(network: number, addresses: readonly string[], seconds: number): Promise<void>;
  /** Before the resolver stops. */
  endRedirection(): Promise<void>;
}

/** Addresses behind allowed names that are kept, for the case that the table has to be made again. */
const MAX_ALLOWED = 65_535;
/** Sets without ports are read every so many polls: each reading is a process. */
const PORTLESS_POLLS = 5;

/** Nothing is changed before the first `load`. */
export function openPacketFilter(options: RulesetOptions): PacketFilter {
  return new NftTable(options);
}

/** An address that a network with default deny may reach for a while. */
interface AllowedAddress {
  readonly network: number;
  readonly address: string;
  /** Milliseconds since 1970. */
  readonly until: number;
}

class NftTable implements PacketFilter {
  readonly #options: RulesetOptions;
  /** What is in force. */
  #loaded: Elements | undefined;
  /** Where the ranges are. */
  #side: Side = 0;
  #queue: Promise<unknown> = Promise.resolve();
  #polls = 0;
  readonly #counters = new FlowCounters();
  readonly #allowed = new LRUCache<string, AllowedAddress>(atMost(MAX_ALLOWED));

  constructor(options: RulesetOptions) {
    this.#options = options;
  }

  load(elements: Elements): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#loaded !== undefined && (await this.#change(this.#loaded, elements))) return;
      // The first time, or when something else has changed the table: all of it.
      await this.#replace(elements);
    });
  }

  poll(): Promise<{ readonly flows: readonly Flow[]; readonly restored: boolean }> {
    return this.#inTurn(async () => {
      const flows = await this.#collect();
      if (flows !== undefined || this.#loaded === undefined) return { flows: flows ?? [], restored: false };
      await this.#replace(this.#loaded);
      return { flows: [], restored: true };
    });
  }

  assert(): Promise<void> {
    return this.#inTurn(async () => {
      const result = await runNft(['-f', '-'], [skeleton(this.#options)]);
      if (!result.ok && this.#loaded !== undefined) await this.#replace(this.#loaded);
    });
  }

  history(): Promise<Flow[]> {
    return this.#inTurn(async () => {
      const sets = await Promise.all(FLOW_SETS.map((set) => this.#read(set)));
      return sets.flatMap((flows) => flows ?? []);
    });
  }

  allow(network: number, addresses: readonly string[], seconds: number): Promise<void> {
    const until = Date.now() + seconds * 1000;
    const news = addresses.filter((address) => {
      const known = this.#allowed.get(`${network} ${address}`);
      // Refreshed at half time, so that a busy name does not cost a process each time it is asked for.
      return known === undefined || known.until - Date.now() < seconds * 500;
    });
    if (news.length === 0) return Promise.resolve();
    return this.#inTurn(async () => {
      await this.#addAllowed(network, news, seconds);
      for (const address of news) this.#allowed.set(`${network} ${address}`, { network, address, until });
    });
  }

  endRedirection(): Promise<void> {
    return this.#inTurn(async () =>
      must(await runNft(['-f', '-'], [withoutRedirection(this.#options.table)]), 'the redirection stays'),
    );
  }

  /** One command at a time: nft takes the whole table for its own while it works. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  async #replace(elements: Elements): Promise<void> {
    const options = this.#options;
    const { table } = options;
    // The rules with nothing listed first: a rule that this kernel does not know must not take the old table away.
    must(await runNft(['-c', '-f', '-'], wholeTable(options, NOTHING)), 'the rules are refused');
    // INVARIANT: while the table is replaced another one refuses the same: ranges of a new table count a moment late.
    const checked = { ...options, table: substitute(table), dns: null, gateway: null, networks: [] };
    const replaces = await isTableThere(table);
    if (replaces)
      must(await runNft(['-f', '-'], wholeTable(checked, elements)), 'the table cannot be replaced');
    must(await runNft(['-f', '-'], wholeTable(options, elements)), 'the table cannot be loaded');
    if (replaces) must(await runNft(['-f', '-'], [removal(checked.table)]), 'a table is left over');
    this.#loaded = elements;
    this.#side = 0;
    this.#counters.clear();
    const now = Date.now();
    for (const { network, address, until } of this.#allowed.values()) {
      if (until > now) await this.#addAllowed(network, [address], Math.ceil((until - now) / 1000));
    }
  }

  /** @returns false when the table is not what it was meant to be. */
  async #change(old: Elements, now: Elements): Promise<boolean> {
    const { table } = this.#options;
    const side = this.#side;
    const moves = rangesDiffer(old, now);
    if (!(await runNft(['-f', '-'], changes(table, old, now, side))).ok) return false;
    if (moves) {
      if (!(await runNft(['-f', '-'], [emptySide(table, side)])).ok) return false;
      this.#side = side === 0 ? 1 : 0;
    }
    this.#loaded = now;
    return true;
  }

  async #addAllowed(network: number, addresses: readonly string[], seconds: number): Promise<void> {
    const lines = addresses.flatMap((text) => {
      const address = parseAddress(text);
      if (address === undefined) return [];
      const { family } = address;
      const element = family === 4 ? formatIpv4(address.value) : formatIpv6(address.value);
      const set = `inet ${this.#options.table} ${nameSet(network, family)}`;
      // Adding alone would leave the time of an element that is there as it is.
      return [
        `add element ${set} { ${element} }\n`,
        `delete element ${set} { ${element} }\n`,
        `add element ${set} { ${element} timeout ${seconds}s }\n`,
      ];
    });
    must(await runNft(['-f', '-'], lines), 'an allowed address cannot be added');
  }

  /** @returns undefined when there is no such set. */
  async #read(set: string): Promise<Flow[] | undefined> {
    // The time that results is slightly too early, never too late: a container may end right after its attempt.
    const now = Date.now();
    const result = await runNft(['list', 'set', 'inet', this.#options.table, set]);
    if (result.ok) return parseFlows(result.stdout, now);
    // Anything else says nothing about the table.
    if (!result.message.includes('No such file or directory')) throw new Error(result.message);
    return undefined;
  }

  /** @returns undefined when the table is not there. */
  async #collect(): Promise<Flow[] | undefined> {
    const flows: Flow[] = [];
    const sets = this.#polls % PORTLESS_POLLS === 0 ? SEEN_SETS : SEEN_SETS.slice(0, 2);
    this.#polls += 1;
    for (const set of sets) {
      const counted = await this.#read(set);
      if (counted === undefined) return undefined;
      for (const flow of this.#counters.since(set, counted)) flows.push(flow);
    }
    return flows;
  }
}

/** Packets counted so far, so that the next reading yields the new ones. */
class FlowCounters {
  /** By set and flow. */
  readonly #packets = new Map<string, number>();

  clear(): void {
    this.#packets.clear();
  }

  /** @returns the flows of a set with packets since the last time, and how many. */
  since(set: string, counted: readonly Flow[]): Flow[] {
    const keys = new Set<string>();
    const flows: Flow[] = [];
    for (const flow of counted) {
      const key = `${set} ${flow.source} ${flow.destination} ${flow.protocol} ${flow.port}`;
      keys.add(key);
      const before = this.#packets.get(key) ?? 0;
      this.#packets.set(key, flow.packets);
      // Fewer than before: the element went away and came again.
      const packets = flow.packets < before ? flow.packets : flow.packets - before;
      if (packets > 0) flows.push({ ...flow, packets });
    }
    for (const key of this.#packets.keys()) {
      if (key.startsWith(`${set} `) && !keys.has(key)) this.#packets.delete(key);
    }
    return flows;
  }
}

/** Name of the table that stands in while the one is replaced. */
function substitute(table: string): string {
  return `${table}_next`;
}

/** Works for a table that is not there, too. */
function removal(table: string): string {
  return `add table inet ${table}\ndelete table inet ${table}\n`;
}

/** Takes the table away. @returns whether there was one. @throws Error when nft cannot. */
export async function removeTable(table: string): Promise<boolean> {
  const there = await isTableThere(table);
  must(
    await runNft(['-f', '-'], [`add table inet ${table}\ndelete table inet ${table}\n`]),
    'the table stays',
  );
  return there;
}

/** Cheap however much the table holds: `list table` would fetch every element, for half a minute at a million. */
export async function isTableThere(table: string): Promise<boolean> {
  const result = await runNft(['list', 'chains', 'inet']);
  must(result, 'the tables cannot be listed');
  return new RegExp(`^table inet ${table} \\{`, 'm').test(result.ok ? result.stdout : '');
}

function must(result: NftResult, what: string): void {
  if (!result.ok) throw new Error(`${what}: ${result.message}`);
}

const ELEMENT =
  /(?:\{|,)\s+(?<source>[0-9a-f.:]+) \. (?<destination>[0-9a-f.:]+) \. (?<protocol>[a-z0-9-]+)(?: \. (?<port>\d+))?(?<rest>(?: [a-z0-9]+)*)/g;

/**
 * Reads `nft list set`. Its text, not its JSON: there the times are whole seconds, and in one second an address may
 * have had three holders. The remaining timeout of an element gives the time of its last packet.
 *
 * @param now milliseconds since 1970.
 */
export function parseFlows(text: string, now: number): Flow[] {
  const timeout = span(/^\s*timeout (\S+)$/m.exec(text)?.[1]);
  return [...text.matchAll(ELEMENT)].map(({ groups }) => {
    const { source = '', destination = '', protocol = '', port, rest = '' } = groups!;
    const left = span(/ expires (\S+)/.exec(rest)?.[1]);
    const own = / timeout (\S+)/.exec(rest)?.[1];
    return {
      source,
      destination,
      protocol,
      port: Number(port ?? 0),
      packets: Number(/ packets (\d+)/.exec(rest)?.[1] ?? 1),
      last: now - Math.max(0, (own === undefined ? timeout : span(own)) - left),
    };
  });
}

/** `9m59s512ms` in milliseconds; nothing is 0. */
function span(text = ''): number {
  let sum = 0;
  for (const [part] of text.matchAll(/\d+(?:ms|[dhms])/g)) sum += parseDuration(part)!;
  return sum;
}
