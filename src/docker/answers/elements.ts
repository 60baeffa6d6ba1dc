import { MAX_DEPTH, finishScan, startScan, anyValue } from '../json-scan.js';
import type { JsonValue } from '../../base/json.js';
import { Refusal } from '../refusal.js';
import { renderJson } from '../render.js';
import { JsonTokens, type JsonVisitor } from './json-tokens.js';
import { AnswerError, NOTHING, type AnswerTransform } from './transform.js';

export interface ElementLimits {
  /** Most bytes of one element as it stands. */
  readonly element: number;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();
const COMMA = encoder.encode(',');

/**
 * Passes on those elements of the top-level array of an answer that are to be kept, as they stand; one is held at a
 * time. The answer is one JSON value, and must be an array (or null, which Go writes for an empty one).
 */
export function filterElements(
  keep: (element: JsonValue) => boolean,
  limits: ElementLimits,
): AnswerTransform {
  return new ElementFilter(keep, limits);
}

/** Reads a whole answer, changes it and writes it anew: for small answers whose parts depend on each other. */
export function rewriteWhole(edit: (value: JsonValue) => JsonValue, limit: number): AnswerTransform {
  const held = new HeldBytes(limit, 'the answer');
  return {
    feed(piece) {
      held.add(piece);
      return NOTHING;
    },
    end() {
      if (held.length === 0) return NOTHING;
      return encoder.encode(`${renderJson(edit(parse(held.take())))}\n`);
    },
  };
}

/** Holds one element of the array at a time. */
class ElementFilter implements AnswerTransform, JsonVisitor {
  readonly #keep: (element: JsonValue) => boolean;
  readonly #tokens = new JsonTokens(this, 'one');
  readonly #element: HeldBytes;
  #isInArray = false;
  #passed = 0;
  #piece: Uint8Array = NOTHING;
  #out: Uint8Array[] = [];
  /** First byte of the piece that is neither passed on, held nor left out. */
  #from = 0;

  constructor(keep: (element: JsonValue) => boolean, limits: ElementLimits) {
    this.#keep = keep;
    this.#element = new HeldBytes(limits.element, 'one element of its list');
  }

  feed(piece: Uint8Array): Uint8Array {
    this.#piece = piece;
    this.#from = 0;
    this.#tokens.feed(piece);
    const rest = piece.subarray(this.#from);
    if (this.#isInArray) this.#element.add(rest);
    else this.#out.push(rest);
    const out = concat(this.#out);
    this.#out = [];
    this.#piece = NOTHING;
    return out;
  }

  end(): Uint8Array {
    this.#tokens.end();
    return NOTHING;
  }

  onValue(byte: number, depth: number): void {
    if (depth === 0 && byte !== 0x5b && byte !== 0x6e) throw new AnswerError('its JSON value is not a list');
  }

  onOpen(at: number, _isObject: boolean, depth: number): void {
    if (depth > 1) return;
    this.#out.push(this.#piece.subarray(this.#from, at + 1));
    this.#from = at + 1;
    this.#isInArray = true;
  }

  onNextItem(at: number, depth: number): void {
    if (depth > 1) return;
    this.#finishElement(at);
    this.#from = at + 1;
  }

  onClose(at: number, depth: number): void {
    if (depth > 1) return;
    this.#finishElement(at);
    this.#from = at;
    this.#isInArray = false;
  }

  onStringStart(): void {}

  onStringEnd(): void {}

  onDocumentEnd(): void {}

  /** An empty array has one that is blank. */
  #finishElement(end: number): void {
    this.#element.add(this.#piece.subarray(this.#from, end));
    if (this.#element.length === 0) return;
    const bytes = this.#element.take();
    if (isBlank(bytes) || !this.#keep(parse(bytes))) return;
    if (this.#passed > 0) this.#out.push(COMMA);
    this.#out.push(bytes);
    this.#passed += 1;
  }
}

/** Bytes up to a limit. */
class HeldBytes {
  length = 0;
  readonly #limit: number;
  readonly #what: string;
  #pieces: Uint8Array[] = [];

  /** @param what they are, for the error. */
  constructor(limit: number, what: string) {
    this.#limit = limit;
    this.#what = what;
  }

  /** @throws AnswerError beyond the limit. */
  add(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.length += piece.length;
    if (this.length > this.#limit) throw new AnswerError(`${this.#what} is larger than ${this.#limit} bytes`);
    this.#pieces.push(piece.slice());
  }

  take(): Uint8Array {
    const bytes = concat(this.#pieces);
    this.#pieces = [];
    this.length = 0;
    return bytes;
  }
}

function parse(bytes: Uint8Array): JsonValue {
  try {
    const scan = startScan(utf8.decode(bytes), MAX_DEPTH);
    const value = anyValue(scan, false);
    finishScan(scan);
    return value;
  } catch (error) {
    // What the reader says of it may quote it.
    const why = error instanceof Refusal ? error.code : 'not UTF-8';
    throw new AnswerError(`it is not valid JSON: ${why}`);
  }
}

function concat(pieces: readonly Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  let length = 0;
  for (const piece of pieces) length += piece.length;
  if (length === 0) return NOTHING;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
const isBlank = (bytes: Uint8Array): boolean => bytes.every(isSpace);
