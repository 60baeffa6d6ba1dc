import type { IndicatorMatch } from '../intel/indicator.js';
import { text } from './json-text.js';

const MOST_INDICATORS = 50;

/** Members of an event, with the comma behind them. Of more than are listed, `indicatorCount` says how many there were. */
export function indicators(sightings: readonly IndicatorMatch[]): string {
  const shown = sightings.slice(0, MOST_INDICATORS).map(({ hit, value, where }) => {
    const { indicator, type, feed, confidence, threat, action } = hit;
    return (
      `{"indicator":${text(indicator)},"type":${text(type)},"feed":${text(feed)},"confidence":${confidence},` +
      `"threat":${text(threat)},"action":"${action}","where":${text(where)},"value":${text(value)}}`
    );
  });
  const count = sightings.length > MOST_INDICATORS ? `"indicatorCount":${sightings.length},` : '';
  return `"indicators":[${shown.join(',')}],${count}`;
}
