import { anyValue } from '../json-any.js';
import { DEEPEST, finishScan, startScan } from '../json-scan.js';
import type { JsonValue } from '../../base/json-value.js';
import { Refusal } from '../refusal.js';
import { renderJson } from '../render-json.js';
import { editJson } from './edit-json.js';
import { UNTOUCHED } from './place.js';
import { AnswerError, chain, NOTHING, type AnswerTransform } from './transform.js';

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
  return chain(editJson(UNTOUCHED, { documents: 'one' }), pickElements(keep, limits));
}

/** A whole answer, read, changed and written anew: for small ones whose parts depend on each other. */
export function rewriteWhole(edit: (value: JsonValue) => JsonValue, limit: number): AnswerTransform {
  const held = collector(limit, 'the answer');
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

/** For what is known to be one valid JSON value: where its elements begin and end can be told without reading them. */
function pickElements(keep: (element: JsonValue) => boolean, limits: ElementLimits): AnswerTransform {
  const element = collector(limits.element, 'one element of its list');
  let depth = 0;
  let inString = false;
  let escaped = false;
  let first = true;
  let passed = 0;

  const finishElement = (out: Uint8Array[]): void => {
    if (element.length === 0) return;
    const bytes = element.take();
    if (isBlank(bytes) || !keep(parse(bytes))) return;
    if (passed > 0) out.push(COMMA);
    out.push(bytes);
    passed += 1;
  };

  return {
    feed(piece) {
      const out: Uint8Array[] = [];
      /** First byte of the element in hand that is not yet held, or -1 outside of the array. */
      let from = depth > 0 ? 0 : -1;
      let outside = depth > 0 ? piece.length : 0;
      for (let at = 0; at < piece.length; at++) {
        const byte = piece[at]!;
        if (inString) {
          if (escaped) escaped = false;
          else if (byte === 0x5c) escaped = true;
          else if (byte === 0x22) inString = false;
          continue;
        }
        if (byte === 0x22) inString = true;
        if (first && !isSpace(byte)) {
          first = false;
          if (byte !== 0x5b && byte !== 0x6e) throw new AnswerError('its JSON value is not a list');
        }
        if (byte === 0x5b || byte === 0x7b) {
          depth += 1;
          if (depth > 1) continue;
          out.push(piece.subarray(outside, at + 1));
          from = at + 1;
        } else if (byte === 0x5d || byte === 0x7d) {
          depth -= 1;
          if (depth > 0) continue;
          element.add(piece.subarray(from, at));
          finishElement(out);
          from = -1;
          outside = at;
        } else if (byte === 0x2c && depth === 1) {
          element.add(piece.subarray(from, at));
          finishElement(out);
          from = at + 1;
        }
      }
      if (from >= 0) element.add(piece.subarray(from));
      else out.push(piece.subarray(outside));
      return concat(out);
    },
    end: () => NOTHING,
  };
}

/** Bytes up to a limit. */
function collector(limit: number, what: string) {
  let pieces: Uint8Array[] = [];
  let length = 0;
  return {
    get length(): number {
      return length;
    },
    add(piece: Uint8Array): void {
      if (piece.length === 0) return;
      length += piece.length;
      if (length > limit) throw new AnswerError(`${what} is larger than ${limit} bytes`);
      pieces.push(piece.slice());
    },
    take(): Uint8Array {
      const bytes = concat(pieces);
      pieces = [];
      length = 0;
      return bytes;
    },
  };
}

function parse(bytes: Uint8Array): JsonValue {
  try {
    const scan = startScan(utf8.decode(bytes), DEEPEST);
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
