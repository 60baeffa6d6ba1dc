import { setTimeout as sleep } from 'node:timers/promises';
import type { EgressConfig } from '../config/egress-config.js';
import { formatNotice, openAttempts } from '../egress/attempts.js';
import { collectElements, RESERVED_NETWORKS, type Elements } from '../egress/elements.js';
import { hitOfAddress } from '../egress/hits.js';
import { openAnswerHistory, sweepFlows } from '../egress/history.js';
import { openIndexFile } from '../egress/index-file.js';
import { ownAddresses } from '../egress/networks.js';
import { openPacketFilter, type Flow } from '../egress/packet-filter.js';
import { openSpool } from '../egress/spool.js';
import { EMPTY_INDEX } from '../intel/indicator-index.js';
import type { IndicatorIndex } from '../intel/indicator.js';
import { parseAddress } from '../base/address.js';
import { formatNetwork, isWithin, type Network } from '../base/network.js';
import { parseNetwork } from '../policy/cidr.js';
import { startServices } from './egress-services.js';
import { countElements, openStatusFile, type EgressStatus } from './egress-status.js';

/** The small privileged process that blocks on the wire. */
export interface EgressProcess {
  /** Stops listening; what is in the table stays in force, the redirection of DNS queries ends. */
  stop(): Promise<void>;
}

/** The rules are written anew after so many polls. */
const ASSERT_EVERY = 5;
/** An index that nft did not take is tried again after so long (milliseconds). */
const RETRY = 10_000;

/**
 * Blocks until it is stopped: loads the table, listens, watches index and table, writes attempts down.
 *
 * @param warn takes what an operator should know, one line each.
 * @throws Error when the table cannot be loaded, an address not be listened on, or the spool not be written.
 */
export async function startEgress(
  config: EgressConfig,
  warn: (message: string) => void,
): Promise<EgressProcess> {
  const spool = await openSpool(config.attempts);
  const attempts = openAttempts();
  const answers = openAnswerHistory(config.history.keep);
  const filter = openPacketFilter(config);
  const file = openIndexFile(config.state);
  const statusFile = openStatusFile(config);
  const since = new Date().toISOString();
  let notices: string[] = [];
  let index: IndicatorIndex = EMPTY_INDEX;
  let elements: Elements | undefined;
  let exempt = '';
  let loaded = '';
  let told = 0;
  let dropped = 0;
  let restored = 0;

  const notice = (message: string): void => {
    warn(message);
    notices.push(formatNotice(message));
  };

  /** @returns undefined: no other one; a damaged or missing file changes nothing. */
  const readIndex = async (): Promise<IndicatorIndex | undefined> => {
    try {
      return await file.read();
    } catch (error) {
      const stays = loaded === '' ? 'none' : 'the last good one';
      notice(`index not read, ${stays} is in force: ${(error as Error).message}`);
      return undefined;
    }
  };

  const spareNow = (): readonly Network[] => {
    const upstream = (config.dns?.upstream ?? []).flatMap(({ host }) => parseNetwork(host) ?? []);
    // Reserved ones are spared anyway; the bridges that come and go with the engine's networks are nothing new then.
    const own = ownAddresses().filter((one) => !isWithin(one, RESERVED_NETWORKS));
    return [...config.neverBlock, ...upstream, ...own];
  };

  /** INVARIANT: what is in force stays in force until the new index is. */
  const enforce = async (next: IndicatorIndex, spare: readonly Network[]): Promise<void> => {
    const wanted = collectElements(next, config.mode, spare);
    await filter.load(wanted);
    elements = wanted;
    index = next;
    exempt = describe(spare);
  };

  /** Read, but not in force yet. */
  let pending: IndicatorIndex | undefined;
  let refusal = '';
  let retryAt = 0;
  const reload = async (): Promise<void> => {
    const read = await readIndex();
    if (read !== undefined) retryAt = 0;
    pending = read ?? pending;
    const spare = spareNow();
    if (pending === undefined && describe(spare) === exempt) return;
    if (performance.now() < retryAt) return;
    const next = pending;
    const before = index;
    try {
      await enforce(next ?? index, spare);
    } catch (error) {
      const message = `the new index is not in force, the last one stays: ${(error as Error).message}`;
      if (message !== refusal) notice(message);
      refusal = message;
      retryAt = performance.now() + RETRY;
      return;
    }
    pending = undefined;
    refusal = '';
    if (next === undefined) return;
    const { block, alert } = countElements(elements);
    notice(`index loaded: ${block} addresses and ranges blocked, ${alert} reported`);
    if (loaded !== '') {
      answers.sweep(before, next, attempts);
      sweepFlows(await filter.history(), before, next, attempts);
    }
    loaded = new Date().toISOString();
  };

  const count = ({ source, destination, protocol, port, packets, last }: Flow): void => {
    const address = parseAddress(destination);
    const hit = address === undefined ? undefined : hitOfAddress(address, index);
    const blocks = config.mode === 'block' && (hit === undefined || hit.action === 'block');
    const via = hit === undefined ? 'policy' : 'address';
    const found = { source, destination, name: '', protocol, port, hit };
    const action = blocks ? 'blocked' : 'observed';
    attempts.add({ kind: 'attempt', action, via, ...found }, packets, last);
  };

  const writeDown = async (): Promise<void> => {
    const more = attempts.takeDropped();
    if (more > 0)
      notices.push(formatNotice(`${more} more attempts of this interval are not told one by one`));
    const lines = attempts.take();
    told += lines.length;
    const all = [...notices, ...lines];
    notices = [];
    await spool.append(all);
    const lost = spool.takeDropped();
    dropped += lost;
    if (lost > 0) warn(`the spool ${config.attempts.directory} is full: ${lost} lines dropped`);
  };

  const status = (): EgressStatus => ({
    ...{ pid: process.pid, mode: config.mode, table: config.table, since, loaded },
    listed: index.counts,
    elements: countElements(elements),
    dns: place(config.dns),
    gateway: place(config.gateway),
    networks: config.networks.length,
    ...{ attempts: told, dropped, restored },
  });

  let polls = 0;
  const poll = async (): Promise<void> => {
    // Counted before the index changes: what was refused by the old one is told with it.
    const counted = await filter.poll();
    counted.flows.forEach(count);
    if (counted.restored) {
      restored++;
      notice(`the nftables table ${config.table} was gone; it is back`);
    } else if (++polls % ASSERT_EVERY === 0) await filter.assert();
    await reload();
    await writeDown();
    await statusFile.write(status());
  };

  let own = { at: Number.NEGATIVE_INFINITY, list: [] as readonly Network[] };
  const ownNow = (): readonly Network[] => {
    if (performance.now() - own.at > config.poll) own = { at: performance.now(), list: ownAddresses() };
    return own.list;
  };
  const first = await readIndex();
  // Before the table: a redirection to nobody would take DNS away from every container.
  const parts = { config, filter, attempts, answers, index: () => index, own: ownNow };
  const stopServices = await startServices(parts).catch(async (error: unknown) => {
    await spool.close();
    throw error;
  });
  try {
    await enforce(first ?? EMPTY_INDEX, spareNow());
    if (first !== undefined) loaded = new Date().toISOString();
    await poll();
  } catch (error) {
    await stopServices();
    await spool.close();
    throw error;
  }

  const stopping = new AbortController();
  const running = everyNow(config.poll, poll, stopping.signal, warn);
  return {
    async stop() {
      stopping.abort();
      await running;
      try {
        if (config.dns !== null) await filter.endRedirection();
        (await filter.poll()).flows.forEach(count);
        await writeDown();
      } finally {
        await stopServices();
        await spool.close();
        await statusFile.remove();
      }
    },
  };
}

/** Runs the work again and again, with a pause; a failure is told once and tried again. */
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
