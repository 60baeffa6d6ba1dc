import type { IndicatorMatch } from '../intel/indicator.js';
import { text } from './json-text.js';

const MAX_INDICATORS = 50;

/** Members of an event, with the comma behind them. Of more than are listed, `indicatorCount` says how many there were. */
export function indicators(matches: readonly IndicatorMatch[]): string {
  const shown = matches.slice(0, MAX_INDICATORS).map(({ hit, value, where }) => {
    const { indicator, type, feed, confidence, threat, action } = hit;
    return (
      `{"indicator":${text(indicator)},"type":${text(type)},"feed":${text(feed)},"confidence":${confidence},` +
      `"threat":${text(threat)},"action":"${action}","where":${text(where)},"value":${text(value)}}`
    );
  });
  const count = matches.length > MAX_INDICATORS ? `"indicatorCount":${matches.length},` : '';
  return `"indicators":[${shown.join(',')}],${count}`;
}
