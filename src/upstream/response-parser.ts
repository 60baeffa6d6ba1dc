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

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const TEXT = '[\\t\\x20-\\x7e\\x80-\\xff]*';
/** A whole head: no NUL or other control byte, no bare CR or LF, no folded line, no blank before a colon. */
const HEAD = new RegExp(`^HTTP/1\\.[01] [1-5][0-9]{2}(?: ${TEXT})?(?:\\r\\n${TOKEN}:${TEXT})*$`);
const TRAILER = new RegExp(`^${TOKEN}:${TEXT}$`);
const CHUNK_SIZE = new RegExp(`^([0-9a-fA-F]{1,13})(?:[ \\t]*;${TEXT})?$`);
const CLOSE = /(?:^|,)[ \t]*close[ \t]*(?:,|$)/i;

const CR = 13;
const LF = 10;

/** What the next byte is part of; `done`: the answer is complete; `upgrade`: it is a 101 that was asked for. */
export type Phase =
  'head' | 'length' | 'size' | 'chunk' | 'chunk-end' | 'trailer' | 'close' | 'done' | 'upgrade';

const bad = (what: string): never => {
  throw new EngineError('ENGINE_ANSWER', `the engine's answer is malformed: ${what}`);
};

/** The lines of a head after the first one, and what they say of the body. */
interface Headers {
  /** Names and values in turn. */
  readonly headers: string[];
  /** Bytes of the body; -1 when no header says so. */
  readonly length: number;
  readonly isChunked: boolean;
  readonly keepsAlive: boolean;
}

/** @throws EngineError when two readings of the framing are possible. */
function readHeaders(head: string, isOldVersion: boolean): Headers {
  const headers: string[] = [];
  let length = -1;
  let isChunked = false;
  let keepsAlive = !isOldVersion;
  for (let from = head.indexOf('\r\n'); from !== -1;) {
    from += 2;
    const next = head.indexOf('\r\n', from);
    const colon = head.indexOf(':', from);
    const name = head.slice(from, colon);
    const value = head.slice(colon + 1, next === -1 ? head.length : next).trim();
    headers.push(name, value);
    from = next;
    switch (name.length) {
      case 14:
        if (name.toLowerCase() !== 'content-length') break;
        if (length !== -1) bad('it has two lengths');
        if (!/^[0-9]{1,15}$/.test(value)) bad('its Content-Length is not a number');
        length = Number(value);
        break;
      case 17:
        if (name.toLowerCase() !== 'transfer-encoding') break;
        if (isChunked || isOldVersion || value.toLowerCase() !== 'chunked')
          bad('its Transfer-Encoding is not "chunked"');
        isChunked = true;
        break;
      case 10:
        if (name.toLowerCase() === 'connection' && CLOSE.test(value)) keepsAlive = false;
    }
  }
  if (isChunked && length !== -1) bad('it has a length and is chunked');
  return { headers, length, isChunked, keepsAlive };
}

/**
 * Reads the answers of one connection, one after the other (RFC 9112). Strict, because two readings of one answer
 * would let a response pose as two; bounded, because the peer decides how much it sends.
 */
export class ResponseParser {
  /** May the connection take another request after this answer? */
  keep = true;
  phase: Phase = 'done';
  readonly #sink: AnswerSink;
  /** It answers a HEAD request. */
  #isBodiless = false;
  /** Switching protocols was asked for. */
  #wantsUpgrade = false;
  #interim = 0;
  /** Bytes left of the body or of the chunk. */
  #left = 0;
  /** The start of a head that did not end in one read. */
  #held: Buffer | undefined;
  #heldLength = 0;
  /** The start of a line that did not end in one read. */
  #line = '';
  /** Bytes of trailers so far. */
  #trailers = 0;

  constructor(sink: AnswerSink) {
    this.#sink = sink;
  }

  /** Expects the next answer. `isBodiless`: it answers a HEAD request. */
  begin(isBodiless: boolean, wantsUpgrade: boolean): void {
    this.phase = 'head';
    this.keep = true;
    this.#isBodiless = isBodiless;
    this.#wantsUpgrade = wantsUpgrade;
    this.#interim = 0;
  }

  /**
   * @returns how many bytes belong to this answer; fewer than given only when it is over.
   * @throws EngineError `ENGINE_ANSWER` when the answer is malformed.
   */
  feed(data: Buffer): number {
    let at = 0;
    while (at < data.length && this.phase !== 'done' && this.phase !== 'upgrade') {
      switch (this.phase) {
        case 'head':
          at = this.#readHead(data, at);
          break;
        case 'length':
        case 'chunk':
        case 'close': {
          const stop = this.phase === 'close' ? data.length : Math.min(data.length, at + this.#left);
          this.#left -= stop - at;
          this.#sink.onData(at === 0 && stop === data.length ? data : data.subarray(at, stop));
          if (this.#left === 0 && this.phase !== 'close')
            this.phase = this.phase === 'length' ? 'done' : 'chunk-end';
          at = stop;
          break;
        }
        case 'chunk-end':
          if (this.#line === '' && data[at] === CR && data[at + 1] === LF) {
            at += 2;
            this.phase = 'size';
            break;
          }
          at = this.#readLine(data, at);
          break;
        case 'size':
        case 'trailer':
          at = this.#readLine(data, at);
      }
    }
    return at;
  }

  /** The connection ended. True when that completes the answer, which then has no other end. */
  end(): boolean {
    if (this.phase !== 'close') return false;
    this.phase = 'done';
    return true;
  }

  /** @returns the position after the head, or after all of `data` when the head goes on. */
  #readHead(data: Buffer, at: number): number {
    if (this.#heldLength === 0) {
      const end = data.indexOf('\r\n\r\n', at, 'latin1');
      if (end !== -1 && end - at <= HEAD_LIMIT) {
        this.#parseHead(data.toString('latin1', at, end));
        return end + 4;
      }
    }
    const held = (this.#held ??= Buffer.allocUnsafeSlow(HEAD_LIMIT + 4));
    const before = this.#heldLength;
    const filled = before + data.copy(held, before, at);
    const end = held.subarray(0, filled).indexOf('\r\n\r\n', Math.max(0, before - 3), 'latin1');
    if (end === -1) {
      if (filled === held.length) bad('its head is too long');
      // A head with bare line feeds would never end, and a silent one may be waited for without limit.
      refuseBareLineFeed(held.subarray(0, filled), before);
      this.#heldLength = filled;
      return data.length;
    }
    const head = held.toString('latin1', 0, end);
    this.#held = undefined;
    this.#heldLength = 0;
    this.#parseHead(head);
    return at + end + 4 - before;
  }

  #parseHead(head: string): void {
    if (!HEAD.test(head)) bad('its head cannot be read');
    const status = Number(head.slice(9, 12));
    const {
      headers,
      isChunked,
      keepsAlive,
      length: announced,
    } = readHeaders(head, head.charCodeAt(7) === 0x30);
    this.keep = keepsAlive;
    if (status < 200) return this.#startInterim(status, headers);
    const hasBody = !this.#isBodiless && status !== 204 && status !== 304;
    const length = hasBody ? announced : 0;
    if (hasBody && isChunked) this.phase = 'size';
    else if (length > 0) this.phase = 'length';
    else if (length === 0) this.phase = 'done';
    else {
      this.phase = 'close';
      this.keep = false;
    }
    this.#left = length;
    this.#sink.onHeaders(status, headers, length);
  }

  /** 101 ends the HTTP of this connection; the others come before the answer itself, and are dropped. */
  #startInterim(status: number, headers: string[]): void {
    if (status === 101) {
      if (!this.#wantsUpgrade) bad('it switches protocols unasked');
      this.phase = 'upgrade';
      this.keep = false;
      this.#sink.onHeaders(status, headers, 0);
    } else if (++this.#interim > INTERIM_LIMIT) bad('too many interim answers');
  }

  /** The lines around chunks: CRLF only (RFC 9112 section 7.1). */
  #readLine(data: Buffer, at: number): number {
    const newline = data.indexOf(LF, at);
    const stop = newline === -1 ? data.length : newline + 1;
    if (this.#line.length + stop - at > LINE_LIMIT) bad('a chunk line is too long');
    this.#line += data.toString('latin1', at, stop);
    if (newline === -1) return stop;
    if (!this.#line.endsWith('\r\n')) bad('a chunk line does not end in CRLF');
    const text = this.#line.slice(0, -2);
    this.#line = '';
    this.#endLine(text);
    return stop;
  }

  #endLine(text: string): void {
    if (this.phase === 'chunk-end') {
      if (text !== '') bad('a chunk is longer than its size');
      this.phase = 'size';
    } else if (this.phase === 'size') {
      const size = CHUNK_SIZE.exec(text)?.[1] ?? bad('a chunk size is not a hexadecimal number');
      this.#left = Number.parseInt(size, 16);
      this.phase = this.#left === 0 ? 'trailer' : 'chunk';
    } else if (text === '') {
      this.#trailers = 0;
      this.phase = 'done';
    } else {
      // Dropped: no client of the guard was promised any.
      this.#trailers += text.length;
      if (this.#trailers > HEAD_LIMIT || !TRAILER.test(text)) bad('a trailer cannot be read');
    }
  }
}

function refuseBareLineFeed(data: Buffer, from: number): void {
  for (let at = data.indexOf(LF, from); at !== -1; at = data.indexOf(LF, at + 1)) {
    if (data[at - 1] !== CR) bad('its head has a bare line feed');
  }
}
