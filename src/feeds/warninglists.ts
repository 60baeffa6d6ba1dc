import { readIndicator } from '../intel/canonical.js';
import { parsePrefix } from '../base/network.js';
import { buildIndex, type Listed } from '../intel/index-build.js';
import { openIndex } from '../intel/indicator-index.js';
import type { Hit, Indicator, IndicatorIndex, IndicatorType } from '../intel/indicator.js';
import { readBounded } from './collect-file.js';

/** Addresses and names in common use: feeds that list them are usually wrong. */
export interface Warned {
  has(indicator: Indicator): boolean;
  /** Lists that cannot be used, and why. */
  readonly problems: readonly string[];
}

const MAX_FILE_BYTES = 64 * 2 ** 20;
/** Kinds of MISP warninglists that name things; `substring` and `regex` describe them, and are not used. */
const KINDS: Readonly<Record<string, 'whole' | 'exact'>> = {
  cidr: 'whole',
  hostname: 'whole',
  string: 'exact',
};

/**
 * Reads MISP warninglists. An entry of kind `hostname` or `cidr` covers what is below it, one of kind `string` itself.
 * Never throws: without a list, more is blocked, not less.
 */
export async function readWarninglists(paths: readonly string[]): Promise<Warned> {
  const entries: Record<'whole' | 'exact', Listed[]> = { whole: [], exact: [] };
  const problems: string[] = [];
  for (const path of paths) {
    try {
      const file = await readBounded(path, MAX_FILE_BYTES, undefined);
      const { kind, values } = readList(file?.bytes.toString() ?? '');
      for (const value of values) {
        const read = readIndicator(value);
        if (read !== undefined) entries[kind].push(listed(read));
      }
    } catch (error) {
      problems.push(`warninglist ${path}: ${(error as Error).message}`);
    }
  }
  // No secret seed is needed: these lists are the user's own.
  const whole = openIndex(buildIndex(entries.whole, { seed: [1, 2] }));
  const exact = openIndex(buildIndex(entries.exact, { seed: [1, 2] }));
  const ranges = [[...whole.ranges4()], [...exact.ranges4()]];
  const names = [...entries.whole, ...entries.exact].filter(({ type }) => type === 'domain');
  const parents = new Set(names.flatMap(({ value }) => above(value)));
  return {
    problems,
    has(indicator) {
      const { type, value } = indicator;
      if (type === 'ipv4' && value.includes('/')) return ranges.some((some) => overlaps(some, value));
      // A domain covers its subdomains, so one that is above a listed name is just as much in use.
      if (type === 'domain' && parents.has(value)) return true;
      return find(whole, indicator) || find(exact, indicator, true);
    },
  };
}

function readList(text: string): { kind: 'whole' | 'exact'; values: string[] } {
  const { type, list } = JSON.parse(text) as { type?: unknown; list?: unknown };
  const kind = typeof type === 'string' && Object.hasOwn(KINDS, type) ? KINDS[type] : undefined;
  if (kind === undefined) {
    throw new Error(
      `its type is ${JSON.stringify(type) ?? 'missing'}; usable are ${Object.keys(KINDS).join(', ')}`,
    );
  }
  if (!Array.isArray(list)) throw new Error('it has no "list"');
  return { kind, values: list.filter((item): item is string => typeof item === 'string') };
}

function listed({ type, value }: Pick<Indicator, 'type' | 'value'>): Listed {
  return { type, value, threat: '', port: 0, feed: '', action: 'alert', confidence: 100 };
}

/** Names above a name, without top-level domains. */
function above(name: string): string[] {
  const labels = name.split('.');
  return labels.slice(1, -1).map((_, at) => labels.slice(at + 1).join('.'));
}

function find(index: IndicatorIndex, { type, value }: Indicator, exact = false): boolean {
  const hit = lookUp(index, type, value);
  return hit !== undefined && (!exact || hit.indicator === value);
}

function lookUp(index: IndicatorIndex, type: IndicatorType, value: string): Hit | undefined {
  if (type === 'domain') return index.domain(value);
  if (type === 'url') return index.url(value);
  if (type === 'hash') return index.hash(value);
  const prefix = parsePrefix(value);
  if (prefix === undefined) return undefined;
  return prefix.family === 4 ? index.ipv4(prefix.address) : index.ipv6(...prefix.words);
}

function overlaps(ranges: readonly { from: number; to: number }[], value: string): boolean {
  const prefix = parsePrefix(value);
  if (prefix?.family !== 4) return false;
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranges[middle]!.to < prefix.address) low = middle + 1;
    else high = middle;
  }
  const first = ranges[low];
  return first !== undefined && first.from < prefix.address + 2 ** (32 - prefix.bits);
}
