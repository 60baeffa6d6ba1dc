import { setTimeout as sleep } from 'node:timers/promises';
import type { EgressConfig } from '../config/egress-config.js';
import { formatNotice, openAttempts } from '../egress/attempts.js';
import { collectElements, RESERVED_NETWORKS, type Elements } from '../egress/elements.js';
import { hitOfAddress } from '../egress/hits.js';
import { openAnswerHistory, sweepFlows, type AnswerHistory } from '../egress/history.js';
import { openIndexFile, type IndexFile } from '../egress/index-file.js';
import { ownAddresses } from '../egress/networks.js';
import { openPacketFilter, type Flow, type PacketFilter } from '../egress/packet-filter.js';
import { openAttemptQueue, type AttemptQueue } from '../egress/attempt-queue.js';
import { EMPTY_INDEX } from '../intel/indicator-index.js';
import type { IndicatorIndex } from '../intel/indicator.js';
import { parseAddress } from '../base/address.js';
import { formatNetwork, isWithin, type Network } from '../base/network.js';
import { parseNetwork } from '../policy/cidr.js';
import { startServices } from './egress-services.js';
import { countElements, openStatusFile, type EgressStatus, type StatusFile } from './egress-status.js';

/** The small privileged process that blocks on the wire. */
export interface EgressProcess {
  /** Stops listening; what is in the table stays in force, the redirection of DNS queries ends. */
  stop(): Promise<void>;
}

/** The rules are written anew after so many polls. */
const ASSERT_POLLS = 5;
/** An index that nft did not take is tried again after so long. */
const RETRY_INTERVAL_MS = 10_000;

/**
 * Blocks until it is stopped: loads the table, listens, watches index and table, writes attempts down.
 *
 * @param warn takes what an operator should know, one line each.
 * @throws Error when the table cannot be loaded, an address not be listened on, or the queue of attempts not be written.
 */
export async function startEgress(
  config: EgressConfig,
  warn: (message: string) => void,
): Promise<EgressProcess> {
  const queue = await openAttemptQueue(config.attempts);
  const egress = new Egress(config, queue, warn);
  try {
    await egress.start();
  } catch (error) {
    await queue.close();
    throw error;
  }
  return egress;
}

class Egress implements EgressProcess {
  readonly #config: EgressConfig;
  readonly #warn: (message: string) => void;
  readonly #queue: AttemptQueue;
  readonly #attempts = openAttempts();
  readonly #answers: AnswerHistory;
  readonly #filter: PacketFilter;
  readonly #file: IndexFile;
  readonly #statusFile: StatusFile;
  readonly #since = new Date().toISOString();
  /** For the queue of attempts, at the next write. */
  #notices: string[] = [];
  /** In force: the index, what the table lists of it, and the addresses that are never listed, as a text. */
  #index: IndicatorIndex = EMPTY_INDEX;
  #elements: Elements | undefined;
  #exempt = '';
  /** When the index in force was loaded; empty: none is. */
  #loaded = '';
  /** Read, but not in force yet: why not, and when it is tried again. */
  #pending: IndicatorIndex | undefined;
  #refusal = '';
  #retryAt = 0;
  #polls = 0;
  /** Addresses of this host, read once for each poll. */
  #own = { at: Number.NEGATIVE_INFINITY, list: [] as readonly Network[] };
  /** Lines written and dropped, and how often the table was put back. */
  readonly #counts = { attempts: 0, dropped: 0, restored: 0 };
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #stopServices: () => Promise<void> = () => Promise.resolve();

  constructor(config: EgressConfig, queue: AttemptQueue, warn: (message: string) => void) {
    this.#config = config;
    this.#queue = queue;
    this.#warn = warn;
    this.#answers = openAnswerHistory(config.history.keep);
    this.#filter = openPacketFilter(config);
    this.#file = openIndexFile(config.state);
    this.#statusFile = openStatusFile(config);
  }

  /** @throws Error when the table cannot be loaded, an address not be listened on, or the queue of attempts not be written. */
  async start(): Promise<void> {
    const first = await this.#readIndex();
    // Before the table: a redirection to where nothing listens would take DNS away from every container.
    this.#stopServices = await startServices({
      config: this.#config,
      filter: this.#filter,
      attempts: this.#attempts,
      answers: this.#answers,
      index: () => this.#index,
      own: () => this.#ownAddresses(),
    });
    try {
      await this.#enforce(first ?? EMPTY_INDEX, this.#neverBlocked());
      if (first !== undefined) this.#loaded = new Date().toISOString();
      await this.#poll();
    } catch (error) {
      await this.#stopServices();
      throw error;
    }
    this.#running = everyNow(this.#config.poll, () => this.#poll(), this.#stopping.signal, this.#warn);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    try {
      if (this.#config.dns !== null) await this.#filter.endRedirection();
      this.#count((await this.#filter.poll()).flows);
      await this.#writeDown();
    } finally {
      await this.#stopServices();
      await this.#queue.close();
      await this.#statusFile.remove();
    }
  }

  async #poll(): Promise<void> {
    // Counted before the index changes: refusals are reported with the index that caused them.
    const { flows, restored } = await this.#filter.poll();
    this.#count(flows);
    if (restored) {
      this.#counts.restored += 1;
      this.#notice(`the nftables table ${this.#config.table} was gone; it is back`);
    } else {
      this.#polls += 1;
      if (this.#polls % ASSERT_POLLS === 0) await this.#filter.assert();
    }
    await this.#reload();
    await this.#writeDown();
    await this.#statusFile.write(this.#status());
  }

  #count(flows: readonly Flow[]): void {
    for (const { source, destination, protocol, port, packets, last } of flows) {
      const address = parseAddress(destination);
      const hit = address === undefined ? undefined : hitOfAddress(address, this.#index);
      const blocks = this.#config.mode === 'block' && (hit === undefined || hit.action === 'block');
      const via = hit === undefined ? 'policy' : 'address';
      const found = { source, destination, name: '', protocol, port, hit };
      const action = blocks ? 'blocked' : 'observed';
      this.#attempts.add({ kind: 'attempt', action, via, ...found }, packets, last);
    }
  }

  /** Puts another index, or other addresses that are never blocked, in force. */
  async #reload(): Promise<void> {
    const read = await this.#readIndex();
    if (read !== undefined) this.#retryAt = 0;
    this.#pending = read ?? this.#pending;
    const next = this.#pending;
    const exempt = this.#neverBlocked();
    if (next === undefined && describe(exempt) === this.#exempt) return;
    if (performance.now() < this.#retryAt) return;
    const before = this.#index;
    try {
      await this.#enforce(next ?? before, exempt);
    } catch (error) {
      return this.#postpone(error as Error);
    }
    this.#pending = undefined;
    this.#refusal = '';
    if (next !== undefined) await this.#noteLoaded(before, next);
  }

  /** @returns undefined: no other one; a damaged or missing file changes nothing. */
  async #readIndex(): Promise<IndicatorIndex | undefined> {
    try {
      return await this.#file.read();
    } catch (error) {
      const stays = this.#loaded === '' ? 'none' : 'the last good one';
      this.#notice(`index not read, ${stays} is in force: ${(error as Error).message}`);
      return undefined;
    }
  }

  /** INVARIANT: what is in force stays in force until the new index is. */
  async #enforce(next: IndicatorIndex, exempt: readonly Network[]): Promise<void> {
    const elements = collectElements(next, this.#config.mode, exempt);
    await this.#filter.load(elements);
    this.#elements = elements;
    this.#index = next;
    this.#exempt = describe(exempt);
  }

  #postpone(error: Error): void {
    const message = `the new index is not in force, the last one stays: ${error.message}`;
    if (message !== this.#refusal) this.#notice(message);
    this.#refusal = message;
    this.#retryAt = performance.now() + RETRY_INTERVAL_MS;
  }

  /** Says so, and looks for what is listed now in what was answered and sent before. */
  async #noteLoaded(before: IndicatorIndex, next: IndicatorIndex): Promise<void> {
    const { block, alert } = countElements(this.#elements);
    this.#notice(`index loaded: ${block} addresses and ranges blocked, ${alert} reported`);
    if (this.#loaded !== '') {
      this.#answers.sweep(before, next, this.#attempts);
      sweepFlows(await this.#filter.history(), before, next, this.#attempts);
    }
    this.#loaded = new Date().toISOString();
  }

  #neverBlocked(): readonly Network[] {
    const { dns, neverBlock } = this.#config;
    const upstream = (dns?.upstream ?? []).flatMap(({ host }) => parseNetwork(host) ?? []);
    // Reserved ones are spared anyway; the bridges that come and go with the engine's networks are nothing new then.
    const own = ownAddresses().filter((network) => !isWithin(network, RESERVED_NETWORKS));
    return [...neverBlock, ...upstream, ...own];
  }

  #ownAddresses(): readonly Network[] {
    const now = performance.now();
    if (now - this.#own.at > this.#config.poll) this.#own = { at: now, list: ownAddresses() };
    return this.#own.list;
  }

  #notice(message: string): void {
    this.#warn(message);
    this.#notices.push(formatNotice(message));
  }

  async #writeDown(): Promise<void> {
    const more = this.#attempts.takeDropped();
    if (more > 0) {
      this.#notices.push(formatNotice(`${more} more attempts of this interval are not reported one by one`));
    }
    const lines = this.#attempts.take();
    this.#counts.attempts += lines.length;
    const all = [...this.#notices, ...lines];
    this.#notices = [];
    await this.#queue.append(all);
    const lost = this.#queue.takeDropped();
    this.#counts.dropped += lost;
    if (lost > 0) {
      this.#warn(`the queue of attempts ${this.#config.attempts.directory} is full: ${lost} lines dropped`);
    }
  }

  #status(): EgressStatus {
    const { mode, table, dns, gateway, networks } = this.#config;
    const [since, loaded] = [this.#since, this.#loaded];
    return {
      ...{ pid: process.pid, mode, table, since, loaded },
      listed: this.#index.counts,
      elements: countElements(this.#elements),
      dns: place(dns),
      gateway: place(gateway),
      networks: networks.length,
      ...this.#counts,
    };
  }
}

/** Runs the work again and again, with a pause; a failure is said once and tried again. */
async function everyNow(
  pause: number,
  work: () => Promise<void>,
  signal: AbortSignal,
  warn: (message: string) => void,
): Promise<void> {
  let failing = '';
  while (!signal.aborted) {
    await sleep(pause, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    try {
      await work();
      failing = '';
    } catch (error) {
      const { message } = error as Error;
      if (message !== failing) warn(message);
      failing = message;
    }
  }
}

function place(
  service: { readonly listen: { readonly host: string; readonly port: number } } | null,
): string {
  return service === null ? '' : `${service.listen.host}:${service.listen.port}`;
}

function describe(networks: readonly Network[]): string {
  return networks.map(formatNetwork).join(' ');
}
