import { readFile, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { EgressConfig } from '../config/egress-config.js';
import { collectElements, type Elements } from '../egress/elements.js';
import { openIndexFile } from '../egress/index-file.js';
import { ownAddresses } from '../egress/networks.js';
import { isTableThere, openPacketFilter, removeTable } from '../egress/packet-filter.js';
import { writeWhole } from '../store/write-whole.js';
import { EMPTY_INDEX } from '../intel/indicator-index.js';
import type { IndicatorType } from '../intel/indicator.js';

/** What is in force: printed by `egress show`, kept in `status.json` in the directory of attempts. */
export interface EgressStatus {
  readonly pid: number;
  readonly mode: 'block' | 'alert';
  readonly table: string;
  readonly since: string;
  /** When the index that is in force was read; empty: none was. */
  readonly loaded: string;
  readonly listed: Readonly<Record<IndicatorType, number>>;
  readonly elements: ElementCounts;
  readonly dns: string;
  readonly gateway: string;
  readonly networks: number;
  /** Attempts reported since the start. */
  readonly attempts: number;
  /** Lines that were dropped because the queue was full. */
  readonly dropped: number;
  /** How often the table was gone and was put back. */
  readonly restored: number;
}

/** Elements of the table: addresses and ranges that are blocked, or only reported. */
export interface ElementCounts {
  readonly block: number;
  readonly alert: number;
  /** Listed ranges of which something reserved, own or exempt was left out. */
  readonly spared: number;
}

const STATUS = 'status.json';
/** A process that has not touched its status for this many polls and milliseconds has ended. */
const ALIVE_POLLS = 5;
const ALIVE_MS = 5_000;

/** Keeps `status.json` current. Its modification time shows that the process lives: process ids mean nothing across containers. */
export interface StatusFile {
  write(status: EgressStatus): Promise<void>;
  remove(): Promise<void>;
}

export function openStatusFile(config: EgressConfig): StatusFile {
  const path = join(config.attempts.directory, STATUS);
  let shown = '';
  return {
    async write(status) {
      const text = `${JSON.stringify(status)}\n`;
      // If the file was removed, it is written again.
      if (text === shown && (await touch(path))) return;
      await writeWhole(path, text, 0o640);
      shown = text;
    },
    remove: () => rm(path, { force: true }),
  };
}

/** @returns false when the file is not there. */
async function touch(path: string): Promise<boolean> {
  const now = new Date();
  try {
    await utimes(path, now, now);
    return true;
  } catch {
    return false;
  }
}

/** How many elements there are, by what is done with them. */
export function countElements(elements: Elements | undefined): ElementCounts {
  if (elements === undefined) return { block: 0, alert: 0, spared: 0 };
  const size = (elements: { singles: ArrayLike<unknown>; ranges: ArrayLike<unknown> }): number =>
    elements.singles.length + elements.ranges.length / 2;
  const { block4, block6, alert4, alert6, spared } = elements;
  return { block: size(block4) + size(block6), alert: size(alert4) + size(alert6), spared };
}

/** Loads the table once, without the redirection of DNS: no resolver listens then. */
export async function applyEgress(config: EgressConfig): Promise<ElementCounts> {
  // Two that change one table would take each other's ranges away.
  await refuseWhileRunning(config, 'holds the table');
  const index = await openIndexFile(config.state).read();
  const elements = collectElements(index ?? EMPTY_INDEX, config.mode, [
    ...config.neverBlock,
    ...ownAddresses(),
  ]);
  await openPacketFilter({ ...config, dns: null }).load(elements);
  return countElements(elements);
}

/** What is in force; `status` undefined where no process runs. */
export interface EgressView {
  readonly table: string;
  readonly present: boolean;
  readonly status: EgressStatus | undefined;
}

export async function viewEgress(config: EgressConfig): Promise<EgressView> {
  const present = await isTableThere(config.table);
  return { table: config.table, present, status: await runningStatus(config) };
}

/**
 * Takes the table away.
 *
 * @returns whether there was one.
 * @throws Error when a process runs that would put it back.
 */
export async function removeEgress(config: EgressConfig): Promise<boolean> {
  await refuseWhileRunning(config, 'would put the table back');
  return removeTable(config.table);
}

async function refuseWhileRunning(config: EgressConfig, why: string): Promise<void> {
  const status = await runningStatus(config);
  if (status === undefined) return;
  throw new Error(`process ${status.pid} (breakwater egress run) ${why}: stop it first`);
}

async function runningStatus(config: EgressConfig): Promise<EgressStatus | undefined> {
  const path = join(config.attempts.directory, STATUS);
  try {
    const { mtimeMs } = await stat(path);
    if (Date.now() - mtimeMs > ALIVE_POLLS * config.poll + ALIVE_MS) return undefined;
    const status = JSON.parse(await readFile(path, 'utf8')) as EgressStatus;
    return status.table === config.table ? status : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
  }
}
