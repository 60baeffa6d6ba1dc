import { DEEPEST } from '../json-scan.js';
import {
  AFTER_VALUE,
  BETWEEN,
  COLON,
  DIGITS,
  ENDED,
  ESCAPE,
  ESCAPES,
  FIRST_ITEM,
  FIRST_KEY,
  HEX,
  MINUS,
  NEXT_KEY,
  PLAIN,
  STRING,
  UTF8,
  VALUE,
  WORD,
  WORDS,
  ZERO,
  afterNumberByte,
  isHex,
  notJson,
} from './json-states.js';
import { mayHave, openMembers } from './members.js';
import type { Edit, Place } from './place.js';
import { AnswerError, NOTHING, type AnswerTransform } from './transform.js';

/** Longest string that is given to a function to be edited, in bytes as it stands; a longer one is replaced. */
const LONGEST_EDITED = 64 * 1024;
/** What a longer one is replaced by. */
const TOO_LONG = '<redacted>';
/** Longest key that is compared, in bytes as it stands: no key of the API comes near, all spelled in escapes. */
const LONGEST_KEY = 4 * 1024;

export interface EditOptions {
  /** `one`: a single JSON value. `many`: any number of them, as streams have them (events). */
  readonly documents: 'one' | 'many';
}

// What becomes of the string that is being read.
const COPY = 0;
const DROP = 1;
const HOLD = 2;
const KEY = 3;

const encoder = new TextEncoder();
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Edits strings of a JSON text while it passes, by where they stand; every other byte stays as it is: numbers, blanks,
 * escapes, the order and number of members. Cuts between pieces make no difference. Memory is bounded whatever is
 * fed, time is linear in it.
 *
 * Strict, because a reader more lenient than this one could find a value where this one saw none: anything that is
 * no JSON (RFC 8259) in UTF-8, or is nested deeper than 512 levels, is an error. Nothing at all is fine.
 */
export function editJson(root: Place, { documents }: EditOptions): AnswerTransform {
  let mode = BETWEEN;
  let documentsRead = 0;
  let broken = false;
  let place = root;
  let depth = 0;
  /** By depth: where the open containers are, and whether they are objects. */
  const places: Place[] = [];
  const objects: boolean[] = [];

  let role = COPY;
  /** The string being read has at least one character, an escape or a byte beyond ASCII. */
  let filled = false;
  let escaped = false;
  /** What of the string came with earlier pieces, for the roles HOLD and KEY. */
  let held = NOTHING;
  let heldLength = 0;
  let tooLong = false;
  let left = 0;
  let lower = 0x80;
  let upper = 0xbf;
  let word = '';
  let wordAt = 0;

  // Of the piece in hand.
  let piece: Uint8Array = NOTHING;
  let at = 0;
  /** First byte that is not yet passed on. */
  let from = 0;
  /** First byte of the string that is not yet held. */
  let span = 0;
  let out = NOTHING;
  let outLength = 0;
  let changed = false;

  const pass = (bytes: Uint8Array): void => {
    const length = outLength + bytes.length;
    if (length > out.length) {
      const larger = new Uint8Array(Math.max(length, out.length * 2, piece.length + 1024));
      larger.set(out.subarray(0, outLength));
      out = larger;
    }
    out.set(bytes, outLength);
    outLength = length;
  };

  /** Passes on what stands before `end`; from there on, nothing. */
  const passUntil = (end: number): void => {
    changed = true;
    if (from < end) pass(piece.subarray(from, end));
    from = piece.length;
  };

  const hold = (end: number): void => {
    const length = heldLength + end - span;
    const limit = role === KEY ? LONGEST_KEY : LONGEST_EDITED;
    if (tooLong || length > limit) {
      tooLong = true;
      return;
    }
    if (length > held.length) {
      const larger = new Uint8Array(Math.min(LONGEST_EDITED, Math.max(length, held.length * 2, 256)));
      larger.set(held.subarray(0, heldLength));
      held = larger;
    }
    held.set(piece.subarray(span, end), heldLength);
    heldLength = length;
  };

  /** The string that ends at `end`, decoded; undefined when it is too long. */
  const stringText = (end: number): string | undefined => {
    let bytes = piece;
    let first = span;
    let last = end;
    if (heldLength > 0 || tooLong) {
      hold(end);
      if (tooLong) return undefined;
      [bytes, first, last] = [held, 0, heldLength];
    } else if (last - first > (role === KEY ? LONGEST_KEY : LONGEST_EDITED)) {
      return undefined;
    }
    if (escaped) {
      const text = utf8.decode(bytes.subarray(first, last));
      return text.includes('\\') ? (JSON.parse(`"${text}"`) as string) : text;
    }
    if (last - first > 64) return utf8.decode(bytes.subarray(first, last));
    let text = '';
    for (let i = first; i < last; i++) text += String.fromCharCode(bytes[i]!);
    return text;
  };

  const startString = (newRole: number): void => {
    role = newRole;
    mode = STRING;
    filled = escaped = tooLong = false;
    heldLength = 0;
    span = at + 1;
    if (role === DROP || role === HOLD) passUntil(at);
    at += 1;
  };

  const endString = (): void => {
    if (role === KEY) {
      place = memberPlace(places[depth - 1]!);
      mode = COLON;
      at += 1;
      // The usual next byte, without a turn of its own.
      if (piece[at] !== 0x3a) return;
      mode = VALUE;
      at += 1;
      return;
    }
    if (role !== COPY) {
      passEdited(place.edit!);
      from = at + 1;
    }
    endValue();
    at += 1;
  };

  const lookUp = openMembers();
  const memberPlace = ({ keys, other }: Place): Place => {
    if (keys.size === 0 && typeof other !== 'function') return other;
    if (typeof other !== 'function' && heldLength === 0 && !escaped && !tooLong) {
      const length = at - span;
      if (length > 0 && !mayHave(keys, length, piece[span]!)) return other;
    }
    const key = stringText(at) ?? '';
    const named = keys.size === 0 ? undefined : lookUp(keys, key);
    if (named !== undefined) return named;
    return typeof other === 'function' ? other(key) : other;
  };

  /** Fixed replacements are few, and made over and over. */
  const constants = new Map<string, Uint8Array>();
  const constant = (text: string): Uint8Array => {
    let bytes = constants.get(text);
    if (bytes === undefined) constants.set(text, (bytes = quoted(text)));
    return bytes;
  };

  const passEdited = (edit: Edit): void => {
    if (!filled) return pass(QUOTES);
    if (typeof edit === 'string') return pass(constant(edit));
    const text = stringText(at);
    const edited = text === undefined ? TOO_LONG : edit(text);
    if (edited !== undefined) return pass(quoted(edited));
    pass(QUOTE);
    pass(heldLength > 0 ? held.subarray(0, heldLength) : piece.subarray(span, at));
    pass(QUOTE);
  };

  const endValue = (): void => {
    if (depth > 0) {
      mode = AFTER_VALUE;
      return;
    }
    mode = BETWEEN;
    documentsRead += 1;
    place = root;
  };

  const open = (isObject: boolean): void => {
    if (depth === DEEPEST) throw new AnswerError(`it is nested deeper than ${DEEPEST} levels`);
    places[depth] = place;
    objects[depth] = isObject;
    depth += 1;
    if (isObject) {
      mode = FIRST_KEY;
    } else {
      place = place.items;
      mode = FIRST_ITEM;
    }
    at += 1;
  };

  const close = (byte: number): void => {
    if (depth === 0 || byte !== (objects[depth - 1] === true ? 0x7d : 0x5d))
      notJson('brackets that do not match');
    depth -= 1;
    at += 1;
    endValue();
  };

  const startValue = (byte: number): void => {
    if (byte === 0x22) {
      const { edit } = place;
      startString(edit === undefined ? COPY : typeof edit === 'string' ? DROP : HOLD);
      return;
    }
    if (byte === 0x7b || byte === 0x5b) return open(byte === 0x7b);
    if (byte === 0x2d) mode = MINUS;
    else if (byte === 0x30) mode = ZERO;
    else if (byte > 0x30 && byte <= 0x39) mode = DIGITS;
    else {
      word = WORDS.get(byte) ?? notJson('something else where a value belongs');
      wordAt = 1;
      mode = WORD;
    }
    at += 1;
  };

  const readString = (): void => {
    const { length } = piece;
    const start = at;
    let i = at;
    while (i < length && PLAIN[piece[i]!] === 1) i++;
    if (i > start) filled = true;
    at = i;
    if (i === length) return;
    const byte = piece[i]!;
    if (byte === 0x22) return endString();
    filled = true;
    escaped = true;
    if (byte === 0x5c) mode = ESCAPE;
    else if (byte < 0x20) notJson('a control character in a string');
    else startUtf8(byte);
    at += 1;
  };

  /** RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
  const startUtf8 = (byte: number): void => {
    if (byte < 0xc2 || byte > 0xf4) notJson('text that is not UTF-8');
    lower = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80;
    upper = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf;
    left = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    mode = UTF8;
  };

  const step = (): void => {
    const byte = piece[at]!;
    if (mode >= MINUS) {
      const next = afterNumberByte(mode, byte);
      if (next === ENDED) return endValue();
      mode = next;
      at += 1;
      return;
    }
    switch (mode) {
      case STRING:
        return readString();
      case ESCAPE:
        if (byte === 0x75) [mode, left] = [HEX, 4];
        else if (ESCAPES.has(byte)) mode = STRING;
        else notJson('an unknown escape in a string');
        at += 1;
        return;
      case HEX:
        if (!isHex(byte)) notJson('an escape without its four digits');
        left -= 1;
        if (left === 0) mode = STRING;
        at += 1;
        return;
      case UTF8:
        if (byte < lower || byte > upper) notJson('text that is not UTF-8');
        [lower, upper] = [0x80, 0xbf];
        left -= 1;
        if (left === 0) mode = STRING;
        at += 1;
        return;
      case WORD:
        if (byte !== word.charCodeAt(wordAt)) notJson('something else where a value belongs');
        wordAt += 1;
        at += 1;
        if (wordAt === word.length) endValue();
        return;
      default:
    }
    if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) {
      at += 1;
      return;
    }
    switch (mode) {
      case BETWEEN:
        if (documents === 'one' && documentsRead > 0)
          throw new AnswerError('something follows its JSON value');
        // RFC 7464: `application/json-seq` begins each document with this byte.
        if (byte === 0x1e && documents === 'many') at += 1;
        else startValue(byte);
        return;
      case FIRST_ITEM:
        if (byte === 0x5d) return close(byte);
        return startValue(byte);
      case VALUE:
        return startValue(byte);
      case FIRST_KEY:
        if (byte === 0x7d) return close(byte);
        if (byte !== 0x22) notJson('something else where a key belongs');
        return startString(KEY);
      case NEXT_KEY:
        if (byte !== 0x22) notJson('something else where a key belongs');
        return startString(KEY);
      case COLON:
        if (byte !== 0x3a) notJson('a key without a colon');
        mode = VALUE;
        at += 1;
        return;
      default:
        if (byte !== 0x2c) return close(byte);
        if (objects[depth - 1] === true) {
          mode = NEXT_KEY;
        } else {
          place = places[depth - 1]!.items;
          mode = VALUE;
        }
        at += 1;
    }
  };

  const inString = (): boolean => mode >= STRING && mode <= UTF8;

  return {
    feed(next) {
      if (broken) throw new AnswerError('it is not valid JSON');
      broken = true;
      piece = next;
      at = span = outLength = 0;
      out = NOTHING;
      const suppressed = inString() && (role === DROP || role === HOLD);
      from = suppressed ? piece.length : 0;
      changed = suppressed;
      while (at < piece.length) step();
      if (inString() && (role === HOLD || role === KEY)) hold(piece.length);
      broken = false;
      piece = NOTHING;
      if (!changed) return next;
      if (from < next.length) pass(next.subarray(from));
      const result = out.subarray(0, outLength);
      out = NOTHING;
      return result;
    },
    end() {
      if (broken) throw new AnswerError('it is not valid JSON');
      if (mode >= ZERO && depth === 0) endValue();
      if (mode !== BETWEEN) throw new AnswerError('it ends in the middle of its JSON value');
      return NOTHING;
    },
  };
}

const QUOTE = encoder.encode('"');
const QUOTES = encoder.encode('""');

const quoted = (text: string): Uint8Array => encoder.encode(JSON.stringify(text));
