import type { IndicatorAction } from './indicator.js';
import { EXEMPT, MAX_CLASSES } from './index-layout.js';

/** What entries of an index have in common with many others. */
export interface EntryClass {
  readonly feed: string;
  readonly action: IndicatorAction;
  readonly confidence: number;
  readonly threat: string;
  readonly port: number;
}

/**
 * Different threats and ports that are kept for one feed. The attack: a feed with a new threat name in each of its
 * million entries. From there on its entries lose these two, and nothing else.
 */
const MAX_CLASSES_OF_FEED = 4096;

export interface ClassTable {
  /** The number of a class; new ones are added. @throws Error when there are more than can be numbered. */
  numberOf(entry: EntryClass): number;
  get(number: number): EntryClass;
  /** Below 0 when class `a` wins over `b` for the same value: exempt, then blocked, then the higher confidence, then names. */
  compare(a: number, b: number): number;
  /** The same for prefixes, where between action and confidence the longer prefix wins. */
  compareRanks(a: number, b: number): number;
  all(): readonly EntryClass[];
}

const NO_FEED: EntryClass = { feed: '', action: 'alert', confidence: 0, threat: '', port: 0 };

export function classTable(): ClassTable {
  const classes: EntryClass[] = [];
  // EXEMPT is the class 0.
  classes[EXEMPT] = NO_FEED;
  const feeds = new Map<string, Map<string, number>>();

  const file = (known: Map<string, number>, key: string, entry: EntryClass): number => {
    const found = known.get(key);
    if (found !== undefined) return found;
    if (classes.length >= MAX_CLASSES)
      throw new Error('the feeds have more kinds of entries than an index can distinguish');
    const { feed, action, confidence, threat, port } = entry;
    classes.push({ feed, action, confidence, threat, port });
    known.set(key, classes.length - 1);
    return classes.length - 1;
  };
  const compare = (a: number, b: number): number => {
    if (a === b) return 0;
    if (a === EXEMPT) return -1;
    if (b === EXEMPT) return 1;
    const [x, y] = [classes[a]!, classes[b]!];
    return strength(y) - strength(x) || tie(x, y);
  };
  return {
    numberOf(entry) {
      let known = feeds.get(entry.feed);
      if (known === undefined) feeds.set(entry.feed, (known = new Map<string, number>()));
      const plain = `${entry.action} ${entry.confidence}`;
      const key = `${plain} ${entry.port} ${entry.threat}`;
      const found = known.get(key);
      if (found !== undefined) return found;
      if (known.size < MAX_CLASSES_OF_FEED) return file(known, key, entry);
      return file(known, plain, { ...entry, threat: '', port: 0 });
    },
    get: (number) => classes[number] ?? NO_FEED,
    compare,
    compareRanks(a, b) {
      const [x, y] = [a & (MAX_CLASSES - 1), b & (MAX_CLASSES - 1)];
      if (x === EXEMPT || y === EXEMPT) return compare(x, y);
      const [p, q] = [classes[x]!, classes[y]!];
      if (p.action !== q.action) return p.action === 'block' ? -1 : 1;
      return (b >>> 24) - (a >>> 24) || compare(x, y);
    },
    all: () => classes,
  };
}

function strength({ action, confidence }: EntryClass): number {
  return (action === 'block' ? 1000 : 0) + confidence;
}

function tie(x: EntryClass, y: EntryClass): number {
  return order(x.feed, y.feed) || order(x.threat, y.threat) || x.port - y.port;
}

function order(x: string, y: string): number {
  return x < y ? -1 : x > y ? 1 : 0;
}
