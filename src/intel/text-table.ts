import type { ClassTable } from './class-table.js';
import { growing } from './growing.js';
import { EXEMPT, mix, RECORD_HEAD, slotOf, step, type HashKey } from './index-layout.js';

/** A table of texts with a class each, while it is being built. Texts are of characters below 256. */
export interface TextTable {
  add(text: string, entryClass: number): void;
  /** Texts that are listed, that is: of another class than EXEMPT. */
  listed(): number;
  /** The second hashes of all texts. */
  tags(): Uint32Array;
  slots(): Uint32Array;
  text(): Uint8Array;
}

/** Slots per text in the finished table: a miss then reads three or four neighbouring slots. */
const SPACE = 1.5;
const MAX_TEXT_LENGTH = 0xffff;

/** The two hashes of a text, from its end to its start; the same as the pass over a domain makes them. */
export function hashText(key: HashKey, text: string, end = text.length): readonly [number, number] {
  let { a, b } = key;
  for (let at = end - 1; at >= 0; at--) {
    const code = text.charCodeAt(at);
    a = step(a, code, key.timesA);
    b = step(b, code, key.timesB);
  }
  return [mix(a), mix(b)];
}

/** Whether the record at a place is a text's part from `from` to `to`. */
export function isRecord(bytes: Uint8Array, place: number, text: string, from: number, to: number): boolean {
  const length = to - from;
  if (bytes[place + 3]! + bytes[place + 4]! * 256 !== length) return false;
  const start = place + RECORD_HEAD;
  for (let at = 0; at < length; at++) if (bytes[start + at] !== text.charCodeAt(from + at)) return false;
  return true;
}

export function recordClass(bytes: Uint8Array, place: number): number {
  return bytes[place]! | (bytes[place + 1]! << 8) | (bytes[place + 2]! << 16);
}

export function textTable(key: HashKey, classes: ClassTable): TextTable {
  const firsts = growing();
  const tags = growing();
  const places = growing();
  let bytes = new Uint8Array(16 * 1024);
  let used = 0;
  let exempt = 0;
  /** Number of an entry + 1 by hash; a power of two, at most half full. */
  let map = new Int32Array(2048);

  const find = (text: string, first: number, tag: number): number => {
    const [allTags, allPlaces] = [tags.view(), places.view()];
    let at = first & (map.length - 1);
    for (;;) {
      const entry = map[at]! - 1;
      if (entry === -1) return -1 - at;
      if (allTags[entry] === tag && isRecord(bytes, allPlaces[entry]!, text, 0, text.length)) return entry;
      at = (at + 1) & (map.length - 1);
    }
  };
  const grow = (): void => {
    map = new Int32Array(map.length * 2);
    firsts.view().forEach((first, entry) => {
      let at = first & (map.length - 1);
      while (map[at] !== 0) at = (at + 1) & (map.length - 1);
      map[at] = entry + 1;
    });
  };
  const setClass = (place: number, entryClass: number): void => {
    bytes[place] = entryClass;
    bytes[place + 1] = entryClass >>> 8;
    bytes[place + 2] = entryClass >>> 16;
  };

  return {
    add(text, entryClass) {
      if (text.length > MAX_TEXT_LENGTH) throw new RangeError('a listed value is too long');
      const [first, tag] = hashText(key, text);
      const found = find(text, first, tag);
      if (found >= 0) {
        const place = places.view()[found]!;
        const before = recordClass(bytes, place);
        if (classes.compare(entryClass, before) >= 0) return;
        if (entryClass === EXEMPT) exempt++;
        setClass(place, entryClass);
        return;
      }
      map[-1 - found] = firsts.length + 1;
      if (used + RECORD_HEAD + text.length > bytes.length) {
        const larger = new Uint8Array(bytes.length * 2 + text.length);
        larger.set(bytes);
        bytes = larger;
      }
      firsts.push(first);
      tags.push(tag);
      places.push(used);
      setClass(used, entryClass);
      bytes[used + 3] = text.length;
      bytes[used + 4] = text.length >>> 8;
      used += RECORD_HEAD;
      for (let at = 0; at < text.length; at++) bytes[used++] = text.charCodeAt(at);
      if (entryClass === EXEMPT) exempt++;
      if (firsts.length * 2 > map.length) grow();
    },
    listed: () => firsts.length - exempt,
    tags: () => tags.view(),
    slots() {
      const count = Math.ceil(firsts.length * SPACE);
      const slots = new Uint32Array(count * 2);
      const [allTags, allPlaces] = [tags.view(), places.view()];
      firsts.view().forEach((first, entry) => {
        let at = slotOf(first, count);
        while (slots[2 * at + 1] !== 0) at = at + 1 === count ? 0 : at + 1;
        slots[2 * at] = allTags[entry]!;
        slots[2 * at + 1] = allPlaces[entry]! + 1;
      });
      return slots;
    },
    text: () => bytes.subarray(0, used),
  };
}
