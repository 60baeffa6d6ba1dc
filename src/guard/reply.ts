import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { BodyFraming } from '../capture/framed-body.js';
import type { Refusal } from '../docker/refusal.js';
import type { End } from './outcome.js';

/** What a client was sent in place of an answer. */
export interface Refused {
  readonly status: number;
  readonly bytes: number;
}

/** Events for the writer of an answer. */
export interface ReplyEvents {
  /** The client takes more again, after `write` returned false. */
  onDrain(): void;
  /** The call must end now: the client has left, or the guard stops. */
  onCut(end: End): void;
  /** The operation ends when the client closes its half of the connection. */
  readonly endsWithInput: boolean;
}

/**
 * The way back to the client. A call answers through it, whatever carried the call: a request of HTTP (`HttpReply`), one
 * whose connection may become a raw stream (`HijackReply`), a stream of a gRPC session (`StreamReply`).
 *
 * One of `refuse`, `sendWhole`, `begin` … `end`, and `takeConnection` ends it; `cut` ends it badly.
 */
export interface Reply {
  /** The client may still read an answer. */
  readonly isOpen: boolean;
  /** The head of an answer is on its way. */
  readonly hasBegun: boolean;
  /** False while more was written than the client has taken; see `ReplyEvents.onDrain`. */
  readonly takesMore: boolean;
  /** What the carrier found wrong with a request that is still being read: the reason why its reading fails. */
  readonly unreadable: Refusal | undefined;
  /**
   * INVARIANT: one decision a call. Once it is on record nothing puts another one there, and what is wrong with the rest of
   * a request is no reason any more.
   */
  isDecided: boolean;
  /** Sets the writer of the answer; undefined when it has none. */
  listen(events: ReplyEvents | undefined): void;
  /** Answers with an error in the words of the carrier; when an answer has begun already, that is cut. */
  refuse(refusal: Refusal, call: string): Refused;
  /** A small answer as a whole, with one write. @param headers flat list of names and values. */
  sendWhole(status: number, headers: readonly string[], body: readonly Buffer[]): void;
  /** The head of an answer; it is sent at once, for a stream may be silent for long. */
  begin(status: number, headers: readonly string[]): void;
  write(piece: Buffer): void;
  end(): void;
  /** INVARIANT: an answer that is cut never looks complete. */
  cut(): void;
  /**
   * What the client sends behind its request, when it has asked for the connection to become a raw stream; else undefined.
   * Nothing behind the request is read as anything else from here on.
   */
  streamBehind(framing: BodyFraming): Readable | undefined;
  /** The connection itself, to write a raw stream to; only where `streamBehind` is defined. */
  takeConnection(): Socket;
}
