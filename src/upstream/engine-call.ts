import type { Readable } from 'node:stream';
import type { Socket } from 'node:net';

/** What one request towards the engine is made of: rendered from a `Call`, nothing else. */
export interface EngineRequest {
  readonly method: string;
  readonly target: string;
  /** Flat list of names and values. Framing and connection headers are written by this room. */
  readonly headers: readonly string[];
  /**
   * A text is sent as UTF-8 with its length; a stream with `length` when it is known, else chunked. A stream stays the
   * caller's: it is read, never destroyed.
   */
  readonly body: string | Readable | undefined;
  /** Content-Length of a stream, 0 for one without a body; undefined for none (no body, or chunked). */
  readonly length?: number | undefined;
  /** Protocol to upgrade to (`tcp`, `h2c`, `websocket`), or `""`. */
  readonly upgrade: string;
  /** Longest wait for the response head, and between two pieces of a body, in ms; 0 waits for ever (streams). */
  readonly timeout: number;
  /** It only reads, and its answer ends: equal ones that are asked for at the same time may be answered together. */
  readonly shared?: boolean;
}

/**
 * What becomes of a request: `onHeaders`, any number of `onData`, then exactly one of `onComplete`, `onError`; or
 * `onUpgrade` alone. Nothing more is called after an abort.
 */
export interface EngineHandler {
  /**
   * @param headers flat list of names and values as received (latin1), hop-by-hop ones included.
   * @param length bytes of body to come; -1 when that is not known.
   * @param resume goes on after an `onData` that returned false.
   */
  onHeaders(status: number, headers: string[], length: number, resume: () => void): void;
  /** The piece is the handler's to keep. False stops reading from the engine until `resume`. */
  onData(piece: Buffer): boolean;
  onComplete(): void;
  /** `code` is the reason: `ENGINE_*` of `EngineError`, or the system's. An error of the request body comes as it is. */
  onError(error: Error): void;
  /** The engine switched protocols (101): the connection is the handler's; it is paused, early bytes put back on it. */
  onUpgrade?(status: number, headers: string[], socket: Socket): void;
}

/** Closes the engine's side of a call at once. Does nothing when the call is over. */
export type Abort = () => void;

/** Takes requests to the engine. */
export interface Dispatcher {
  /** Sends one request. Never throws: what goes wrong goes to `onError`. Calls nothing before it has returned. */
  dispatch(request: EngineRequest, handler: EngineHandler): Abort;
}

/**
 * - `ENGINE_ANSWER`: the answer is not well-formed HTTP/1.1.
 * - `ENGINE_CUT`: the connection ended before the answer was complete.
 * - `ENGINE_TIMEOUT`, `ENGINE_CONNECT_TIMEOUT`: it took too long.
 * - `ENGINE_REQUEST`: the request cannot be written as HTTP/1.1.
 * - `ENGINE_CLOSED`: the guard is stopping.
 */
export type EngineErrorCode =
  | 'ENGINE_ANSWER'
  | 'ENGINE_CUT'
  | 'ENGINE_TIMEOUT'
  | 'ENGINE_CONNECT_TIMEOUT'
  | 'ENGINE_REQUEST'
  | 'ENGINE_CLOSED';

export class EngineError extends Error {
  readonly code: EngineErrorCode;

  constructor(code: EngineErrorCode, message: string) {
    super(message);
    this.name = 'EngineError';
    this.code = code;
  }
}
