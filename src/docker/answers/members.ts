import { foldKey } from '../json-scan.js';
import type { Place } from './place.js';

/** Keys that are remembered, for each map of keys; those longer than any of the API are no key of a place. */
const MAX_FOLDS = 512;
const MAX_FOLDED_LENGTH = 128;

/**
 * Finds the place of a member by its key. The same few keys come over and over: where they lead is remembered by their
 * spelling, for as long as the returned function lives.
 */
export function openMembers(): (keys: Place['keys'], key: string) => Place | undefined {
  const seen = new Map<Place['keys'], Map<string, Place | undefined>>();
  let seenKeys: Place['keys'] | undefined;
  let seenHere = new Map<string, Place | undefined>();
  return (keys, key) => {
    if (key.length > MAX_FOLDED_LENGTH) return undefined;
    if (keys !== seenKeys) {
      seenKeys = keys;
      seenHere = seen.get(keys) ?? new Map<string, Place | undefined>();
      seen.set(keys, seenHere);
    }
    const known = seenHere.get(key);
    if (known !== undefined || seenHere.has(key)) return known;
    if (seenHere.size >= MAX_FOLDS) seenHere.clear();
    const found = keys.get(foldKey(key));
    seenHere.set(key, found);
    return found;
  };
}

const filters = new WeakMap<Place['keys'], Uint8Array>();
const FILTER_LENGTHS = 64;

/** By length and first letter: may the map have such a key? Most keys of an answer are not in it. */
export function mayHave(keys: Place['keys'], length: number, first: number): boolean {
  let filter = filters.get(keys);
  if (filter === undefined) {
    filter = new Uint8Array(FILTER_LENGTHS * 32);
    for (const key of keys.keys()) filter[filterIndex(key.length, key.charCodeAt(0))] = 1;
    filters.set(keys, filter);
  }
  return filter[filterIndex(length, first)] === 1;
}

/** The five low bits of a letter are the same in capitals. */
const filterIndex = (length: number, first: number): number =>
  Math.min(length, FILTER_LENGTHS - 1) * 32 + (first & 31);
