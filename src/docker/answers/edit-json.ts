import { HeldString, decodeString } from './held-string.js';
import { JsonTokens, type JsonVisitor } from './json-tokens.js';
import { mayHave, openMembers } from './members.js';
import type { Edit, Place } from './place.js';
import { NOTHING, type AnswerTransform } from './transform.js';

/** Longest string that is given to a function to be edited, in bytes as it stands; a longer one is replaced. */
const MAX_EDITED_LENGTH = 64 * 1024;
/** What a longer one is replaced by. */
const TOO_LONG = '<redacted>';
/** Longest key that is compared, in bytes as it stands: no key of the API comes near, all spelled in escapes. */
const MAX_KEY_LENGTH = 4 * 1024;

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
const QUOTE = encoder.encode('"');
const EMPTY = encoder.encode('""');
const quoted = (text: string): Uint8Array => encoder.encode(JSON.stringify(text));

/**
 * Edits strings of a JSON text while it passes, by where they stand; every other byte stays as it is: numbers, blanks,
 * escapes, the order and number of members. Cuts between pieces make no difference. Memory is bounded whatever is
 * fed, time is linear in it. What `JsonTokens` does not read is an error.
 */
export function editJson(root: Place, { documents }: EditOptions): AnswerTransform {
  return new JsonEditor(root, documents);
}

class JsonEditor implements AnswerTransform, JsonVisitor {
  readonly #tokens: JsonTokens;
  readonly #root: Place;
  /** Where the next value stands, and by depth, where the open containers do. */
  #place: Place;
  readonly #places: Place[] = [];
  #depth = 0;
  readonly #findMember = openMembers();
  #role = COPY;
  /** What of the string came with earlier pieces, for the roles HOLD and KEY. */
  readonly #held = new HeldString();
  #piece: Uint8Array = NOTHING;
  /** First byte of the piece that is not yet passed on. */
  #from = 0;
  /** First byte of the string that is not yet held. */
  #span = 0;
  #out: Uint8Array = NOTHING;
  #outLength = 0;
  /** The piece cannot be passed on as it is. */
  #isChanged = false;
  /** Fixed replacements are few, and made over and over. */
  readonly #constants = new Map<string, Uint8Array>();

  constructor(root: Place, documents: 'one' | 'many') {
    this.#root = this.#place = root;
    this.#tokens = new JsonTokens(this, documents);
  }

  feed(piece: Uint8Array): Uint8Array {
    const tokens = this.#tokens;
    this.#piece = piece;
    this.#span = this.#outLength = 0;
    const isSuppressed = tokens.isInString && (this.#role === DROP || this.#role === HOLD);
    this.#from = isSuppressed ? piece.length : 0;
    this.#isChanged = isSuppressed;
    tokens.feed(piece);
    if (tokens.isInString && (this.#role === HOLD || this.#role === KEY)) this.#hold(piece.length);
    this.#piece = NOTHING;
    if (!this.#isChanged) return piece;
    if (this.#from < piece.length) this.#pass(piece.subarray(this.#from));
    const result = this.#out.subarray(0, this.#outLength);
    this.#out = NOTHING;
    return result;
  }

  end(): Uint8Array {
    this.#tokens.end();
    return NOTHING;
  }

  onStringStart(at: number, isKey: boolean): void {
    const { edit } = this.#place;
    if (isKey) this.#role = KEY;
    else this.#role = edit === undefined ? COPY : typeof edit === 'string' ? DROP : HOLD;
    this.#held.clear();
    this.#span = at + 1;
    if (this.#role === DROP || this.#role === HOLD) this.#passUntil(at);
  }

  onStringEnd(at: number, isKey: boolean): void {
    if (isKey) this.#place = this.#memberPlace(this.#places[this.#depth - 1]!, at);
    else if (this.#role !== COPY) {
      this.#passEdited(this.#place.edit!, at);
      this.#from = at + 1;
    }
  }

  onOpen(_at: number, isObject: boolean, depth: number): void {
    this.#places[depth - 1] = this.#place;
    this.#depth = depth;
    if (!isObject) this.#place = this.#place.items;
  }

  onNextItem(_at: number, depth: number): void {
    this.#place = this.#places[depth - 1]!.items;
  }

  onClose(_at: number, depth: number): void {
    this.#depth = depth - 1;
  }

  onDocumentEnd(): void {
    this.#place = this.#root;
  }

  #memberPlace({ keys, other }: Place, at: number): Place {
    if (keys.size === 0 && typeof other !== 'function') return other;
    if (typeof other !== 'function' && !this.#tokens.hasEscapes) {
      const length = at - this.#span;
      const isWhole = this.#held.length === 0 && !this.#held.isTooLong;
      if (isWhole && length > 0 && !mayHave(keys, length, this.#piece[this.#span]!)) return other;
    }
    const key = this.#stringText(at) ?? '';
    const named = keys.size === 0 ? undefined : this.#findMember(keys, key);
    if (named !== undefined) return named;
    return typeof other === 'function' ? other(key) : other;
  }

  #passEdited(edit: Edit, at: number): void {
    if (!this.#tokens.hasText) return this.#pass(EMPTY);
    if (typeof edit === 'string') return this.#pass(this.#constant(edit));
    const text = this.#stringText(at);
    const edited = text === undefined ? TOO_LONG : edit(text);
    if (edited !== undefined) return this.#pass(quoted(edited));
    this.#pass(QUOTE);
    this.#pass(this.#held.length > 0 ? this.#held.bytes : this.#piece.subarray(this.#span, at));
    this.#pass(QUOTE);
  }

  #constant(text: string): Uint8Array {
    let bytes = this.#constants.get(text);
    if (bytes === undefined) this.#constants.set(text, (bytes = quoted(text)));
    return bytes;
  }

  /** The string that ends at `end`, decoded; undefined when it is too long. */
  #stringText(end: number): string | undefined {
    const { hasEscapes } = this.#tokens;
    const held = this.#held;
    if (held.length > 0 || held.isTooLong) {
      this.#hold(end);
      return held.isTooLong ? undefined : decodeString(held.bytes, 0, held.length, hasEscapes);
    }
    if (end - this.#span > this.#maxLength()) return undefined;
    return decodeString(this.#piece, this.#span, end, hasEscapes);
  }

  #hold(end: number): void {
    this.#held.add(this.#piece, this.#span, end, this.#maxLength());
  }

  #maxLength(): number {
    return this.#role === KEY ? MAX_KEY_LENGTH : MAX_EDITED_LENGTH;
  }

  /** Passes on what stands before `end`; from there on, nothing. */
  #passUntil(end: number): void {
    this.#isChanged = true;
    if (this.#from < end) this.#pass(this.#piece.subarray(this.#from, end));
    this.#from = this.#piece.length;
  }

  #pass(bytes: Uint8Array): void {
    const length = this.#outLength + bytes.length;
    if (length > this.#out.length) {
      const larger = new Uint8Array(Math.max(length, this.#out.length * 2, this.#piece.length + 1024));
      larger.set(this.#out.subarray(0, this.#outLength));
      this.#out = larger;
    }
    this.#out.set(bytes, this.#outLength);
    this.#outLength = length;
  }
}
