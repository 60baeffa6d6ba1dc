import { MAX_DEPTH } from '../json-scan.js';
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
import { AnswerError } from './transform.js';

/** What a reader of JSON finds. Positions are those of bytes in the piece that is being read. */
export interface JsonVisitor {
  /** A value begins with this byte, at this depth (0: a document). Its own event follows. */
  onValue?(byte: number, depth: number): void;
  /** A string or a key begins with the quote at `at`. */
  onStringStart(at: number, isKey: boolean): void;
  /** It ends with the quote at `at`. */
  onStringEnd(at: number, isKey: boolean): void;
  /** An object or array begins with the bracket at `at`; `depth` is that of what it holds, from 1 on. */
  onOpen(at: number, isObject: boolean, depth: number): void;
  /** The comma at `at` ends an element of an array. */
  onNextItem(at: number, depth: number): void;
  /** It ends with the bracket at `at`. */
  onClose(at: number, depth: number): void;
  /** A document is complete. */
  onDocumentEnd(): void;
}

/**
 * Reads JSON (RFC 8259) in UTF-8 that comes in pieces, one byte after the other; cuts between pieces make no difference.
 * Memory is bounded by the depth, time is linear in what is fed.
 *
 * Strict, because a reader more lenient than this one could find a value where this one saw none: anything else, or
 * what is nested deeper than 512 levels, is an error. Nothing at all is fine.
 */
export class JsonTokens {
  /** The string being read has at least one character. */
  hasText = false;
  /** It has an escape or a byte beyond ASCII. */
  hasEscapes = false;
  /** It is the key of a member. */
  isKey = false;
  readonly #visitor: JsonVisitor;
  /** Any number of documents one after another, as streams have them; else one. */
  readonly #isStream: boolean;
  #mode = BETWEEN;
  #documents = 0;
  /** After an error nothing more can be read. */
  #isBroken = false;
  #depth = 0;
  /** By depth: is the open container an object? */
  readonly #objects: boolean[] = [];
  #piece: Uint8Array = new Uint8Array(0);
  #at = 0;
  /** Bytes left of a character of UTF-8, or digits of an escape; and the bounds of the next one. */
  #left = 0;
  #lower = 0x80;
  #upper = 0xbf;
  /** `true`, `false` or `null`, and how much of it was read. */
  #word = '';
  #wordAt = 0;

  constructor(visitor: JsonVisitor, documents: 'one' | 'many') {
    this.#visitor = visitor;
    this.#isStream = documents === 'many';
  }

  /** The next byte belongs to a string. */
  get isInString(): boolean {
    return this.#mode >= STRING && this.#mode <= UTF8;
  }

  /** @throws AnswerError when it is no JSON; nothing can be fed after that. */
  feed(piece: Uint8Array): void {
    if (this.#isBroken) throw new AnswerError('it is not valid JSON');
    this.#isBroken = true;
    this.#piece = piece;
    this.#at = 0;
    while (this.#at < piece.length) this.#step(piece[this.#at]!);
    this.#isBroken = false;
  }

  /** @throws AnswerError when it ended too early */
  end(): void {
    if (this.#isBroken) throw new AnswerError('it is not valid JSON');
    if (this.#mode >= ZERO && this.#depth === 0) this.#endValue();
    if (this.#mode !== BETWEEN) throw new AnswerError('it ends in the middle of its JSON value');
  }

  #step(byte: number): void {
    const mode = this.#mode;
    if (mode >= MINUS) return this.#readNumber(byte);
    if (mode >= STRING) {
      if (mode === STRING) this.#readString();
      else if (mode === WORD) this.#readWord(byte);
      else this.#readCharacter(byte);
    } else if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) this.#at += 1;
    else this.#readStructure(byte);
  }

  /** A byte between values. */
  #readStructure(byte: number): void {
    switch (this.#mode) {
      case BETWEEN:
        return this.#startDocument(byte);
      case FIRST_ITEM:
        return byte === 0x5d ? this.#close(byte) : this.#startValue(byte);
      case VALUE:
        return this.#startValue(byte);
      case FIRST_KEY:
        return byte === 0x7d ? this.#close(byte) : this.#startKey(byte);
      case NEXT_KEY:
        return this.#startKey(byte);
      case COLON:
        if (byte !== 0x3a) notJson('a key without a colon');
        this.#mode = VALUE;
        this.#at += 1;
        return;
      default:
        return byte === 0x2c ? this.#startNext() : this.#close(byte);
    }
  }

  #startDocument(byte: number): void {
    if (!this.#isStream && this.#documents > 0) throw new AnswerError('something follows its JSON value');
    // RFC 7464: `application/json-seq` begins each document with this byte.
    if (byte === 0x1e && this.#isStream) this.#at += 1;
    else this.#startValue(byte);
  }

  #startNext(): void {
    if (this.#objects[this.#depth - 1] === true) this.#mode = NEXT_KEY;
    else {
      this.#mode = VALUE;
      this.#visitor.onNextItem(this.#at, this.#depth);
    }
    this.#at += 1;
  }

  #startKey(byte: number): void {
    if (byte !== 0x22) notJson('something else where a key belongs');
    this.#startString(true);
  }

  #startValue(byte: number): void {
    this.#visitor.onValue?.(byte, this.#depth);
    if (byte === 0x22) return this.#startString(false);
    if (byte === 0x7b || byte === 0x5b) return this.#open(byte === 0x7b);
    if (byte === 0x2d) this.#mode = MINUS;
    else if (byte === 0x30) this.#mode = ZERO;
    else if (byte > 0x30 && byte <= 0x39) this.#mode = DIGITS;
    else {
      this.#word = WORDS.get(byte) ?? notJson('something else where a value belongs');
      this.#wordAt = 1;
      this.#mode = WORD;
    }
    this.#at += 1;
  }

  #endValue(): void {
    if (this.#depth > 0) {
      this.#mode = AFTER_VALUE;
      return;
    }
    this.#mode = BETWEEN;
    this.#documents += 1;
    this.#visitor.onDocumentEnd();
  }

  #open(isObject: boolean): void {
    if (this.#depth === MAX_DEPTH) throw new AnswerError(`it is nested deeper than ${MAX_DEPTH} levels`);
    this.#objects[this.#depth] = isObject;
    this.#depth += 1;
    this.#mode = isObject ? FIRST_KEY : FIRST_ITEM;
    this.#visitor.onOpen(this.#at, isObject, this.#depth);
    this.#at += 1;
  }

  #close(byte: number): void {
    const depth = this.#depth;
    if (depth === 0 || byte !== (this.#objects[depth - 1] === true ? 0x7d : 0x5d)) {
      notJson('brackets that do not match');
    }
    this.#visitor.onClose(this.#at, depth);
    this.#depth = depth - 1;
    this.#at += 1;
    this.#endValue();
  }

  #startString(isKey: boolean): void {
    this.#mode = STRING;
    this.isKey = isKey;
    this.hasText = this.hasEscapes = false;
    this.#visitor.onStringStart(this.#at, isKey);
    this.#at += 1;
  }

  #endString(): void {
    const { isKey } = this;
    this.#visitor.onStringEnd(this.#at, isKey);
    this.#at += 1;
    if (!isKey) return this.#endValue();
    this.#mode = COLON;
    // The usual next byte, without a turn of its own.
    if (this.#piece[this.#at] !== 0x3a) return;
    this.#mode = VALUE;
    this.#at += 1;
  }

  #readString(): void {
    const piece = this.#piece;
    const { length } = piece;
    const start = this.#at;
    let at = start;
    while (at < length && PLAIN[piece[at]!] === 1) at++;
    if (at > start) this.hasText = true;
    this.#at = at;
    if (at === length) return;
    const byte = piece[at]!;
    if (byte === 0x22) return this.#endString();
    this.hasText = this.hasEscapes = true;
    if (byte === 0x5c) this.#mode = ESCAPE;
    else if (byte < 0x20) notJson('a control character in a string');
    else this.#startUtf8(byte);
    this.#at += 1;
  }

  /** RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
  #startUtf8(byte: number): void {
    if (byte < 0xc2 || byte > 0xf4) notJson('text that is not UTF-8');
    this.#lower = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80;
    this.#upper = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf;
    this.#left = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    this.#mode = UTF8;
  }

  /** A byte of an escape or of a character beyond ASCII. */
  #readCharacter(byte: number): void {
    this.#at += 1;
    if (this.#mode === ESCAPE) {
      if (byte === 0x75) {
        this.#mode = HEX;
        this.#left = 4;
      } else if (ESCAPES.has(byte)) this.#mode = STRING;
      else notJson('an unknown escape in a string');
      return;
    }
    if (this.#mode === HEX) {
      if (!isHex(byte)) notJson('an escape without its four digits');
    } else {
      if (byte < this.#lower || byte > this.#upper) notJson('text that is not UTF-8');
      this.#lower = 0x80;
      this.#upper = 0xbf;
    }
    this.#left -= 1;
    if (this.#left === 0) this.#mode = STRING;
  }

  #readWord(byte: number): void {
    if (byte !== this.#word.charCodeAt(this.#wordAt)) notJson('something else where a value belongs');
    this.#wordAt += 1;
    this.#at += 1;
    if (this.#wordAt === this.#word.length) this.#endValue();
  }

  #readNumber(byte: number): void {
    const next = afterNumberByte(this.#mode, byte);
    if (next === ENDED) return this.#endValue();
    this.#mode = next;
    this.#at += 1;
  }
}
