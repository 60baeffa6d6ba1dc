import type { ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { ignoreErrors } from '../base/socket-errors.js';
import type { BodyFraming } from '../capture/framed-body.js';
import type { Refusal } from '../docker/refusal.js';
import type { Refused, Reply, ReplyEvents } from './reply.js';

/** Status codes of gRPC (grpc/statuscodes.md), by the HTTP status that a refusal has. */
const GRPC_STATUS: Readonly<Record<number, number>> = {
  400: 3,
  401: 16,
  403: 7,
  404: 5,
  408: 4,
  409: 10,
  413: 8,
  415: 3,
  429: 8,
  500: 13,
  502: 14,
  503: 14,
  504: 4,
};
const GRPC_UNKNOWN = 2;

/**
 * The answer on one stream of a gRPC session over HTTP/2. A refusal is a status of gRPC in the trailers, with one
 * readable line: a HTTP status would make clients fall back to something else instead of showing the reason.
 */
export class StreamReply implements Reply {
  isDecided = false;
  readonly unreadable: Refusal | undefined = undefined;
  readonly #stream: ServerHttp2Stream;
  #events: ReplyEvents | undefined;

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream;
    // A stream that is reset, by either side, fails with an error.
    ignoreErrors(stream);
  }

  get isOpen(): boolean {
    return !this.#stream.destroyed && this.#stream.writable;
  }

  get hasBegun(): boolean {
    return this.#stream.headersSent;
  }

  get takesMore(): boolean {
    return !this.#stream.writableNeedDrain;
  }

  listen(events: ReplyEvents | undefined): void {
    if (this.#events !== undefined) this.#stream.off('close', this.#onClose).off('drain', this.#onDrain);
    this.#events = events;
    if (events !== undefined) this.#stream.on('close', this.#onClose).on('drain', this.#onDrain);
  }

  readonly #onClose = (): void => this.#events?.onCut('client-gone');
  readonly #onDrain = (): void => this.#events?.onDrain();

  refuse(refusal: Refusal, call: string): Refused {
    const stream = this.#stream;
    if (!this.isOpen) return { status: 0, bytes: 0 };
    if (stream.headersSent) {
      this.cut();
      return { status: Number(stream.sentHeaders?.[':status'] ?? 0), bytes: 0 };
    }
    const message = `breakwater: ${refusal.message} (call ${call})`;
    // Trailers alone, in the form that gRPC has for a call that has no answer: one frame with everything.
    stream.respond(
      {
        ':status': 200,
        'content-type': 'application/grpc',
        'grpc-status': String(GRPC_STATUS[refusal.status] ?? GRPC_UNKNOWN),
        'grpc-message': percentEncoded(message),
      },
      { endStream: true },
    );
    return { status: refusal.status, bytes: 0 };
  }

  sendWhole(status: number, headers: readonly string[], body: readonly Buffer[]): void {
    this.begin(status, headers);
    for (const piece of body) this.#stream.write(piece);
    this.end();
  }

  begin(status: number, headers: readonly string[]): void {
    const fields: Record<string, string | string[]> = {};
    for (let i = 0; i + 1 < headers.length; i += 2) {
      const name = headers[i]!.toLowerCase();
      // The only one that the guard adds itself; HTTP/2 has no such header, and node throws.
      if (name === 'connection') continue;
      const before = fields[name];
      fields[name] = before === undefined ? headers[i + 1]! : [before, headers[i + 1]!].flat();
    }
    this.#stream.respond({ ...fields, ':status': status });
  }

  write(piece: Buffer): void {
    this.#stream.write(piece);
  }

  end(): void {
    this.#stream.end();
  }

  cut(): void {
    // `close` would send the end of the stream before the reset; after an error node sends RST_STREAM INTERNAL_ERROR alone.
    this.#stream.destroy(new Error('the answer was cut'));
  }

  streamBehind(_framing: BodyFraming): Readable | undefined {
    return undefined;
  }

  takeConnection(): Socket {
    throw new Error('the client did not ask for the connection');
  }
}

/** The `grpc-message` of gRPC over HTTP/2: UTF-8, everything but printable ASCII as `%XX`. */
function percentEncoded(text: string): string {
  let encoded = '';
  for (const byte of Buffer.from(text)) {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}
