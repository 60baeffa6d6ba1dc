import { EngineError } from './engine-call.js';

/** Longest response head, and most trailer bytes. */
export const HEAD_LIMIT = 64 * 1024;
/** Longest chunk-size or trailer line. */
export const LINE_LIMIT = 4 * 1024;
/** Most interim answers (1xx) before the real one. */
const INTERIM_LIMIT = 16;

/** Where the pieces of one answer go. */
export interface AnswerSink {
  /** `length`: bytes of body to come, -1 when that is not known. */
  onHeaders(status: number, headers: string[], length: number): void;
  /** A view into what was fed. */
  onData(piece: Buffer): void;
}

/** `more`: the answer goes on; `done`: it is complete; `upgrade`: a 101 that was asked for. */
export type AnswerState = 'more' | 'done' | 'upgrade';

/**
 * Reads the answers of one connection, one after the other (RFC 9112). Strict, because two readings of one answer
 * would let a response pose as two; bounded, because the peer decides how much it sends.
 */
export interface ResponseParser {
  /** Expects the next answer. `bodiless`: it answers a HEAD request. */
  begin(bodiless: boolean, upgrade: boolean): void;
  /**
   * @returns how many bytes belong to this answer; fewer than given only when it is over.
   * @throws EngineError `ENGINE_ANSWER` when the answer is malformed.
   */
  feed(data: Buffer): number;
  /** The connection ended. True when that completes the answer, which then has no other end. */
  end(): boolean;
  readonly state: AnswerState;
  /** May the connection take another request after this answer? */
  readonly keep: boolean;
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const TEXT = '[\\t\\x20-\\x7e\\x80-\\xff]*';
/** A whole head: no NUL or other control byte, no bare CR or LF, no folded line, no blank before a colon. */
const HEAD = new RegExp(`^HTTP/1\\.[01] [1-5][0-9]{2}(?: ${TEXT})?(?:\\r\\n${TOKEN}:${TEXT})*$`);
const TRAILER = new RegExp(`^${TOKEN}:${TEXT}$`);
const CHUNK_SIZE = new RegExp(`^([0-9a-fA-F]{1,13})(?:[ \\t]*;${TEXT})?$`);
const CLOSE = /(?:^|,)[ \t]*close[ \t]*(?:,|$)/i;

const CR = 13;
const LF = 10;

/** What the next byte is part of. */
type Place = 'head' | 'length' | 'size' | 'chunk' | 'chunk-end' | 'trailer' | 'close' | 'over';

const bad = (what: string): never => {
  throw new EngineError('ENGINE_ANSWER', `the engine's answer is malformed: ${what}`);
};

export function responseParser(sink: AnswerSink): ResponseParser {
  let place: Place = 'over';
  let state: AnswerState = 'done';
  let keep = true;
  let bodiless = false;
  let upgrade = false;
  let interim = 0;
  /** Bytes left of the body or of the chunk. */
  let left = 0;
  /** The start of a head that did not end in one read. */
  let held: Buffer | undefined;
  let heldLength = 0;
  /** The start of a line that did not end in one read. */
  let line = '';
  let trailers = 0;

  /** @returns the position after the head, or after all of `data` when the head goes on. */
  const readHead = (data: Buffer, at: number): number => {
    if (heldLength === 0) {
      const end = data.indexOf('\r\n\r\n', at, 'latin1');
      if (end !== -1 && end - at <= HEAD_LIMIT) {
        parseHead(data.toString('latin1', at, end));
        return end + 4;
      }
    }
    held ??= Buffer.allocUnsafeSlow(HEAD_LIMIT + 4);
    const before = heldLength;
    const filled = before + data.copy(held, before, at);
    const end = held.subarray(0, filled).indexOf('\r\n\r\n', Math.max(0, before - 3), 'latin1');
    if (end === -1) {
      if (filled === held.length) bad('its head is too long');
      // A head with bare line feeds would never end, and a silent one may be waited for without limit.
      refuseBareLineFeed(held.subarray(0, filled), before);
      heldLength = filled;
      return data.length;
    }
    const head = held.toString('latin1', 0, end);
    held = undefined;
    heldLength = 0;
    parseHead(head);
    return at + end + 4 - before;
  };

  const parseHead = (head: string): void => {
    if (!HEAD.test(head)) bad('its head cannot be read');
    const status = Number(head.slice(9, 12));
    const oldVersion = head.charCodeAt(7) === 0x30;
    const headers: string[] = [];
    let length = -1;
    let chunked = false;
    keep = !oldVersion;
    for (let from = head.indexOf('\r\n'); from !== -1;) {
      from += 2;
      const next = head.indexOf('\r\n', from);
      const colon = head.indexOf(':', from);
      const name = head.slice(from, colon);
      const value = head.slice(colon + 1, next === -1 ? head.length : next).trim();
      from = next;
      headers.push(name, value);
      switch (name.length) {
        case 14:
          if (name.toLowerCase() !== 'content-length') break;
          if (length !== -1) bad('it has two lengths');
          if (!/^[0-9]{1,15}$/.test(value)) bad('its Content-Length is not a number');
          length = Number(value);
          break;
        case 17:
          if (name.toLowerCase() !== 'transfer-encoding') break;
          if (chunked || oldVersion || value.toLowerCase() !== 'chunked')
            bad('its Transfer-Encoding is not "chunked"');
          chunked = true;
          break;
        case 10:
          if (name.toLowerCase() === 'connection' && CLOSE.test(value)) keep = false;
      }
    }
    if (chunked && length !== -1) bad('it has a length and is chunked');

    if (status < 200) {
      if (status === 101) {
        if (!upgrade) bad('it switches protocols unasked');
        place = 'over';
        state = 'upgrade';
        keep = false;
        sink.onHeaders(status, headers, 0);
      } else if (++interim > INTERIM_LIMIT) {
        bad('too many interim answers');
      }
      return;
    }
    if (bodiless || status === 204 || status === 304) length = 0;
    else if (chunked) place = 'size';
    else if (length > 0) place = 'length';
    else if (length === -1) {
      place = 'close';
      keep = false;
    }
    left = length;
    if (length === 0) complete();
    sink.onHeaders(status, headers, length);
  };

  const complete = (): void => {
    place = 'over';
    state = 'done';
  };

  const readBody = (data: Buffer, at: number): number => {
    const stop = place === 'close' ? data.length : Math.min(data.length, at + left);
    left -= stop - at;
    sink.onData(at === 0 && stop === data.length ? data : data.subarray(at, stop));
    if (left === 0 && place === 'length') complete();
    else if (left === 0 && place === 'chunk') place = 'chunk-end';
    return stop;
  };

  /** The lines around chunks: CRLF only (RFC 9112 section 7.1). */
  const readLine = (data: Buffer, at: number): number => {
    const newline = data.indexOf(LF, at);
    const stop = newline === -1 ? data.length : newline + 1;
    if (line.length + stop - at > LINE_LIMIT) bad('a chunk line is too long');
    line += data.toString('latin1', at, stop);
    if (newline === -1) return stop;
    if (!line.endsWith('\r\n')) bad('a chunk line does not end in CRLF');
    const text = line.slice(0, -2);
    line = '';
    if (place === 'chunk-end') {
      if (text !== '') bad('a chunk is longer than its size');
      place = 'size';
    } else if (place === 'size') {
      const size = CHUNK_SIZE.exec(text)?.[1];
      if (size === undefined) return bad('a chunk size is not a hexadecimal number');
      left = Number.parseInt(size, 16);
      place = left === 0 ? 'trailer' : 'chunk';
    } else if (text === '') {
      trailers = 0;
      complete();
    } else {
      // Dropped: nobody behind the guard was promised any.
      trailers += text.length;
      if (trailers > HEAD_LIMIT || !TRAILER.test(text)) bad('a trailer cannot be read');
    }
    return stop;
  };

  return {
    begin(isBodiless, wantsUpgrade) {
      place = 'head';
      state = 'more';
      keep = true;
      bodiless = isBodiless;
      upgrade = wantsUpgrade;
      interim = 0;
    },
    feed(data) {
      let at = 0;
      while (at < data.length && place !== 'over') {
        switch (place) {
          case 'head':
            at = readHead(data, at);
            break;
          case 'length':
          case 'chunk':
          case 'close':
            at = readBody(data, at);
            break;
          case 'chunk-end':
            if (line === '' && data[at] === CR && data[at + 1] === LF) {
              at += 2;
              place = 'size';
              break;
            }
            at = readLine(data, at);
            break;
          case 'size':
          case 'trailer':
            at = readLine(data, at);
        }
      }
      return at;
    },
    end() {
      if (place !== 'close') return false;
      complete();
      return true;
    },
    get state() {
      return state;
    },
    get keep() {
      return keep;
    },
  };
}

function refuseBareLineFeed(data: Buffer, from: number): void {
  for (let at = data.indexOf(LF, from); at !== -1; at = data.indexOf(LF, at + 1)) {
    if (data[at - 1] !== CR) bad('its head has a bare line feed');
  }
}
