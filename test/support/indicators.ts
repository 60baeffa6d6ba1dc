import { buildIndex } from '../../src/intel/index-build.js';
import type { IndicatorAction, IndicatorIndex, IndicatorType } from '../../src/intel/indicator.js';
import { openIndex } from '../../src/intel/indicator-index.js';

/** One canonical value and its type. */
export type Entry = readonly [IndicatorType, string];

/** An index of these values, as a feed named `c2` with confidence 90 would give it. */
export function indexOf(entries: readonly Entry[], action: IndicatorAction = 'block'): IndicatorIndex {
  const listed = entries.map(([type, value]) => ({
    type,
    value,
    confidence: 90,
    firstSeen: 0,
    lastSeen: 0,
    expires: 0,
    threat: 'miner',
    port: 0,
    feed: 'c2',
    action,
  }));
  return openIndex(buildIndex(listed, { seed: [1, 2] }));
}
