import type { Config } from '../config/config.js';
import { readSnapshot, type IntelSnapshot } from '../feeds/index-file.js';
import { feedStatus, pullFeeds, type PullOptions, type PullResult } from '../feeds/pull.js';
import type { FeedStatus } from '../feeds/status.js';
import { parsePrefix } from '../base/network.js';
import { readHost } from '../intel/canonical-host.js';
import type { Hit, IndicatorIndex } from '../intel/indicator.js';
import { ownHosts } from './feeds.js';

/** `breakwater feeds pull`: refreshes feeds and builds the index as the guard would. */
export async function pullConfigured(
  config: Config,
  options: Omit<PullOptions, 'neverBlock'>,
): Promise<PullResult> {
  return pullFeeds(config.feeds, { ...options, neverBlock: ownHosts(config) });
}

/** `breakwater feeds list`: how the feeds are doing, from what is on disk. */
export async function listConfigured(
  config: Config,
): Promise<{ feeds: FeedStatus[]; index: IntelSnapshot | undefined }> {
  return { feeds: await feedStatus(config.feeds), index: await readSnapshot(config.feeds.state) };
}

/** What the index on disk says about a text. */
export interface LookUp {
  /** Canonical. */
  readonly type: string;
  readonly value: string;
  readonly revision: string;
  readonly hits: readonly Hit[];
}

/**
 * `breakwater feeds lookup`: what the index on disk says; undefined when there is none. A URL is listed also where its
 * host is.
 *
 * @throws Error when the index is damaged.
 */
export async function lookUp(
  config: Config,
  { type, value }: Pick<Hit, 'type'> & { value: string },
): Promise<LookUp | undefined> {
  const snapshot = await readSnapshot(config.feeds.state);
  if (snapshot === undefined) return undefined;
  const { index, revision } = snapshot;
  return { type, value, revision, hits: [...hitsOf(index, type, value)] };
}

function* hitsOf(index: IndicatorIndex, type: string, value: string): Generator<Hit> {
  if (type === 'hash') yield* some(index.hash(value));
  else if (type === 'url') {
    yield* some(index.url(value));
    const host = readHost(value.replace(/[/?].*$/s, '').replace(/:\d+$/, ''));
    if (host?.kind === 'domain') yield* some(index.domain(host.name));
    else if (host?.kind === 'ipv4') yield* some(index.ipv4(host.address));
    else if (host !== undefined) yield* some(index.ipv6(...host.words));
  } else if (type === 'domain') yield* some(index.domain(value));
  else {
    const prefix = parsePrefix(value);
    if (prefix?.family === 6) yield* some(index.ipv6(...prefix.words));
    else if (prefix !== undefined) yield* inPrefix(index, prefix.address, prefix.bits);
  }
}

const some = (hit: Hit | undefined): Hit[] => (hit === undefined ? [] : [hit]);
/** Hits shown for a prefix. */
const MAX_HITS = 20;

/** Everything listed inside a prefix. */
function* inPrefix(index: IndicatorIndex, address: number, bits: number): Generator<Hit> {
  if (bits === 32) {
    yield* some(index.ipv4(address));
    return;
  }
  const end = address + 2 ** (32 - bits);
  let shown = 0;
  for (const { from, to, hit } of index.ranges4()) {
    if (from >= end || shown >= MAX_HITS) return;
    if (to < address) continue;
    shown++;
    yield hit;
  }
}
