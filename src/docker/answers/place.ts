import { foldKey } from '../json-scan.js';

/**
 * What becomes of a string. A text: it is replaced, and its value is never kept. A function: gets the decoded value, and
 * returns the new one, or undefined when it stays as it is, byte for byte. The empty string always stays.
 */
export type Edit = string | ((text: string) => string | undefined);

/** A place in a JSON document, and what becomes of what stands there. Places may be recursive. */
export interface Place {
  /** For strings; undefined: they stay. */
  edit: Edit | undefined;
  /** Where the elements of an array are that stands here. */
  items: Place;
  /** Where the members of an object are that stands here: by key, folded as `foldKey` does; else `other`. */
  keys: ReadonlyMap<string, Place>;
  /** A function is called with the key as it stands, `""` for a key that is too long. */
  other: Place | ((key: string) => Place);
}

const NO_KEYS: ReadonlyMap<string, Place> = new Map();

/** Nothing is changed, at any depth. */
export const UNTOUCHED: Place = everywhere(undefined);

/** Every string at any depth is edited, in objects and arrays alike. */
export function everywhere(edit: Edit | undefined): Place {
  const place: Partial<Place> = { edit, keys: NO_KEYS };
  place.items = place.other = place as Place;
  return place as Place;
}

/** The same rules at any depth: members with these keys (in any case) are at these places, all others here again. */
export function recursive(keys: Readonly<Record<string, Place>>): Place {
  const place = everywhere(undefined);
  place.keys = folded(keys);
  return place;
}

function folded(keys: Readonly<Record<string, Place>>): Map<string, Place> {
  return new Map(Object.entries(keys).map(([key, place]) => [foldKey(key), place]));
}
