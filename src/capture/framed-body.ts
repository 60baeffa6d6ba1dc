import { Readable } from 'node:stream';
import type { Socket } from 'node:net';
import { Refusal } from '../docker/refusal.js';

export type BodyFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' };

/** Longest chunk-size line, and all trailer lines together, in bytes. */
const LINE_LIMIT = 4096;

/**
 * The body of a request that came with an `Upgrade` header. node:http hands such a request over with its body
 * still unparsed on the socket, so that `POST /containers/create` + `Upgrade: tcp` would walk past every check if
 * it were not framed here. RFC 9112 section 6 and 7.1, strict: CRLF only, chunk extensions are skipped.
 *
 * After `end`, everything beyond the body has been put back on the socket (early stdin of a hijacked call).
 * Emits `error` with a `Refusal` when the framing is wrong or the socket ends first.
 */
export function framedBody(socket: Socket, head: Buffer, framing: BodyFraming): Readable {
  if (framing.kind === 'none') {
    if (head.length > 0) socket.unshift(head);
    return Readable.from([]);
  }
  const step = framing.kind === 'length' ? lengthSteps(framing.length) : chunkedSteps();
  let done = false;
  const onData = (chunk: Buffer): void => {
    let rest: Buffer | undefined;
    try {
      rest = step(chunk, (piece) => {
        if (!body.push(piece)) socket.pause();
      });
    } catch (error) {
      body.destroy(error as Error);
      return;
    }
    if (rest !== undefined) {
      done = true;
      detach();
      socket.pause();
      if (rest.length > 0) socket.unshift(rest);
      body.push(null);
    }
  };
  const onCut = (): void => {
    body.destroy(new Refusal(400, 'body-cut', 'the request body ended before it was complete'));
  };
  const detach = (): void => {
    socket.off('data', onData).off('end', onCut).off('close', onCut);
  };
  const body = new Readable({
    read() {
      if (!done) socket.resume();
    },
    destroy(error, callback) {
      detach();
      socket.pause();
      callback(error);
    },
  });
  // INVARIANT: a client that disconnects after its request was refused must not end the process: the body has no reader
  // then, and its error would be unhandled.
  body.on('error', () => {});
  socket.on('data', onData).on('end', onCut).on('close', onCut);
  socket.pause();
  // Even an empty head: a length of 0 is complete at once.
  process.nextTick(() => {
    if (!body.destroyed) onData(head);
  });
  return body;
}

type FrameReader = (chunk: Buffer, push: (piece: Buffer) => void) => Buffer | undefined;

function lengthSteps(length: number): FrameReader {
  let left = length;
  return (chunk, push) => {
    const take = Math.min(left, chunk.length);
    left -= take;
    if (take > 0) push(chunk.subarray(0, take));
    return left === 0 ? chunk.subarray(take) : undefined;
  };
}

function chunkedSteps(): FrameReader {
  let state: 'size' | 'data' | 'data-end' | 'trailer' = 'size';
  let left = 0;
  let line = '';
  let trailers = 0;
  const bad = (what: string): never => {
    throw new Refusal(400, 'chunk-framing', `the chunked request body is malformed: ${what}`);
  };
  return (chunk, push) => {
    let at = 0;
    while (at < chunk.length) {
      if (state === 'data') {
        const take = Math.min(left, chunk.length - at);
        push(chunk.subarray(at, at + take));
        at += take;
        left -= take;
        if (left === 0) state = 'data-end';
        continue;
      }
      const newline = chunk.indexOf(10, at);
      const stop = newline === -1 ? chunk.length : newline + 1;
      line += chunk.toString('latin1', at, stop);
      at = stop;
      if (line.length > LINE_LIMIT) bad('a line is too long');
      if (newline === -1) continue;
      if (!line.endsWith('\r\n')) bad('a line does not end in CRLF');
      const text = line.slice(0, -2);
      line = '';
      if (/[\r\n\0]/.test(text)) bad('a control character in a line');
      if (state === 'data-end') {
        if (text !== '') bad('a chunk is longer than its size says');
        state = 'size';
      } else if (state === 'size') {
        const size = /^([0-9a-fA-F]{1,13})(?:[ \t]*;.*)?$/.exec(text)?.[1];
        if (size === undefined) return bad('a chunk size is not a hexadecimal number');
        left = Number.parseInt(size, 16);
        state = left === 0 ? 'trailer' : 'data';
      } else {
        if (text === '') return chunk.subarray(at);
        // Trailers are dropped: dockerd reads none.
        trailers += text.length;
        if (trailers > LINE_LIMIT) bad('too many trailers');
      }
    }
    return undefined;
  };
}
