import { randomBytes } from 'node:crypto';
import type { FeedSource } from '../intel/feed-source.js';
import { readExceptions } from '../intel/exceptions.js';
import { buildIndex, type Listed } from '../intel/index-build.js';
import { parsePrefix } from '../base/network.js';
import type { Indicator } from '../intel/indicator.js';
import { admit, type AdmitOptions } from '../intel/reserved.js';
import { copyDirectory, readMeta } from './copy.js';
import { importedAt, readImports, type Imports } from './imports.js';
import { readMetas, writeIndexFile, type BuildInput } from './index-file.js';
import { readCopy, type CopyReading } from './read-copy.js';
import { readWarninglists, type Warned } from './warninglists.js';

export interface BuildJob {
  readonly kind: 'build';
  readonly input: BuildInput;
  /** Feeds that are not in the index in force: the build may go on without them when their copy is damaged. */
  readonly absent: readonly string[];
}

export interface BuildOutcome {
  /** Of the index that was written; empty when none was, because the copy of a feed was damaged that is in force. */
  readonly revision: string;
  readonly feeds: readonly FeedBuild[];
  /** What is wrong with a list that the config names. */
  readonly problems: readonly string[];
  /** When the next indicator expires (ms since 1970); 0 for never. */
  readonly nextExpiry: number;
}

/** What became of the indicators of one feed. */
export interface FeedBuild {
  readonly name: string;
  readonly listed: number;
  /** Below the minimum confidence. */
  readonly unsure: number;
  readonly expired: number;
  /** Reserved, too wide, allowed, or never to be blocked. */
  readonly refused: number;
  /** Up to five of these. */
  readonly refusals: readonly string[];
  /** Of the listed ones: only alerted on, because a warninglist has them. */
  readonly downgraded: number;
  /** Why its copy could not be used. */
  readonly error: string;
}

const REFUSALS = 5;
/**
 * Shares of all addresses that the prefixes of one feed may list together: a quarter of IPv4, a quarter of what is given
 * out of IPv6 (2000::/3). The attack: the whole internet in prefixes that are narrow enough one by one.
 */
const WIDEST_SHARE = { 4: 1 / 4, 6: 1 / 32 } as const;

/**
 * Builds the index from the last good copies and writes it to disk, whole.
 * INVARIANT: a copy that cannot be read takes nothing out of an index that is in force.
 */
export async function buildIndexFile({ input, absent }: BuildJob): Promise<BuildOutcome> {
  const now = Math.floor(Date.now() / 1000);
  const metas = await readMetas(input);
  const warned = await readWarninglists(input.warninglists);
  const readings: Reading[] = [];
  for (const source of input.sources) readings.push(await openReading(input.state, source, now));
  const exceptions = {
    allow: readExceptions(input.allow).exceptions,
    neverBlock: readExceptions(input.neverBlock).exceptions,
  };
  const expiry = { next: 0 };
  const outcome = (revision: string): BuildOutcome => ({
    revision,
    feeds: readings.map(({ tally }) => tally),
    problems: warned.problems,
    nextExpiry: expiry.next * 1000,
  });
  const lost = (): boolean =>
    readings.some(({ tally }) => tally.error !== '' && !absent.includes(tally.name));
  if (lost()) return outcome('');

  const listed = function* (): Generator<Listed> {
    for (const reading of readings) yield* listedOf(reading, exceptions, now, expiry, warned);
  };
  // Random for each build: a feed cannot be crafted whose entries all collide.
  const seed = randomBytes(8);
  const buffer = buildIndex(listed(), {
    seed: [seed.readUInt32LE(0), seed.readUInt32LE(4)],
    // A listed prefix around an excepted address is admitted, without that address.
    exempt: [...exceptions.allow.values, ...exceptions.neverBlock.values],
  });
  for (const { copy, tally } of readings) tally.error ||= copy?.report().failure ?? '';
  if (lost()) return outcome('');
  return outcome(await writeIndexFile(input, metas, buffer, expiry.next * 1000));
}

/** A feed that is being built in; without `copy` when it has none. */
interface Reading {
  readonly source: FeedSource;
  readonly copy: CopyReading | undefined;
  readonly imports: Imports;
  /** First import, where nothing better is known: seconds since 1970. */
  readonly fetchedAt: number;
  readonly tally: { -readonly [K in keyof FeedBuild]: FeedBuild[K] } & { refusals: string[] };
}

async function openReading(state: string, source: FeedSource, now: number): Promise<Reading> {
  const tally = {
    name: source.name,
    listed: 0,
    unsure: 0,
    expired: 0,
    refused: 0,
    refusals: [],
    downgraded: 0,
  };
  const directory = copyDirectory(state, source.name);
  const imports = await readImports(directory);
  try {
    const meta = await readMeta(state, source.name);
    const copy = meta === undefined ? undefined : await readCopy(source, directory, meta.files, now);
    const fetchedAt = Math.floor((meta?.fetchedAt ?? 0) / 1000);
    return { source, copy, imports, fetchedAt, tally: { ...tally, error: '' } };
  } catch (error) {
    return {
      source,
      copy: undefined,
      imports,
      fetchedAt: 0,
      tally: { ...tally, error: (error as Error).message },
    };
  }
}

/** The indicators of one feed that go into the index. */
function* listedOf(
  { source, copy, imports, fetchedAt, tally }: Reading,
  exceptions: Omit<AdmitOptions, 'allowReserved'>,
  now: number,
  expiry: { next: number },
  warned: Warned,
): Generator<Listed> {
  const options = { ...exceptions, allowReserved: source.allowReserved };
  const ttl = Math.floor(source.ttl / 1000);
  const expires = (indicator: Indicator): number => {
    if (indicator.expires > 0 || ttl === 0) return indicator.expires;
    return (indicator.lastSeen || importedAt(imports, indicator) || fetchedAt) + ttl;
  };
  const share = { 4: 0, 6: 0 };
  for (const indicator of copy?.indicators ?? []) {
    const confidence = indicator.confidence ?? source.confidence;
    if (confidence < source.minConfidence) {
      tally.unsure++;
      continue;
    }
    const until = expires(indicator);
    if (until !== 0 && until <= now) {
      tally.expired++;
      continue;
    }
    const reason = admit(indicator, options) ?? takeShare(share, indicator);
    if (reason !== undefined) {
      tally.refused++;
      if (tally.refusals.length < REFUSALS) tally.refusals.push(`${indicator.value} ${reason}`);
      continue;
    }
    if (until !== 0) expiry.next = expiry.next === 0 ? until : Math.min(expiry.next, until);
    const common = source.action === 'block' && warned.has(indicator);
    if (common) tally.downgraded++;
    tally.listed++;
    const { type, value, threat, port } = indicator;
    yield {
      type,
      value,
      threat,
      port,
      confidence,
      feed: source.name,
      action: common ? 'alert' : source.action,
    };
  }
}

/** Adds a prefix to what its feed lists; why not, when that would be too much. */
function takeShare(share: { 4: number; 6: number }, { type, value }: Indicator): string | undefined {
  if ((type !== 'ipv4' && type !== 'ipv6') || !value.includes('/')) return undefined;
  const prefix = parsePrefix(value);
  if (prefix === undefined) return 'is not canonical';
  const { family, bits } = prefix;
  const more = share[family] + 2 ** -bits;
  if (more > WIDEST_SHARE[family]) return `and the prefixes before it would list too much of IPv${family}`;
  share[family] = more;
  return undefined;
}
