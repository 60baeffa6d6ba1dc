import { connect, type Socket } from 'node:net';

/** Where to send to. */
export type RawTarget = { readonly port: number } | { readonly path: string };

/** Ends our half of the connection, as `shutdown(SHUT_WR)` does. */
export const FIN = Symbol('fin');
/** Resets the connection (RST). */
export const RESET = Symbol('reset');

/**
 * Bytes (strings are latin-1: one character, one byte), a pause in milliseconds, something to wait for, or what to do to
 * the connection.
 */
export type Part = string | Uint8Array | number | (() => Promise<unknown>) | typeof FIN | typeof RESET;

export interface RawAnswer {
  readonly status: number;
  /** Lower-case names; a repeated header is joined with a comma. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** The body ended as its framing says, or runs until the connection ends and that was a clean end. */
  readonly complete: boolean;
}

export interface Conversation {
  readonly bytes: Buffer;
  /** Latin-1. */
  readonly text: string;
  readonly answers: readonly RawAnswer[];
  /** `end`: closed cleanly by the other side; `reset`; `open`: still open when we had seen enough or time was up. */
  readonly closed: 'end' | 'reset' | 'open';
  /** True when neither the answers nor an end had come in time. */
  readonly timedOut: boolean;
  readonly ms: number;
}

export interface TalkOptions {
  /** Number of whole answers to wait for; default 1, 0 waits for the end of the connection alone. */
  readonly answers?: number;
  /** How long to listen for more after the last expected answer (ms). */
  readonly linger?: number;
  /** Upper bound for everything (ms). */
  readonly timeout?: number;
  /** The answer with this index is to a HEAD request: it has no body. */
  readonly headAt?: number;
}

/** Sends exact bytes and collects what comes back, bounded in time. Never rejects. */
export function talk(
  target: RawTarget,
  parts: readonly Part[],
  options: TalkOptions = {},
): Promise<Conversation> {
  const { answers = 1, linger = 25, timeout = 5_000, headAt = -1 } = options;
  return new Promise((resolve) => {
    const started = performance.now();
    const chunks: Buffer[] = [];
    let closed: Conversation['closed'] = 'open';
    let settling: NodeJS.Timeout | undefined;
    const socket = connect({ ...target, allowHalfOpen: true });
    const finish = (timedOut: boolean): void => {
      clearTimeout(limit);
      clearTimeout(settling);
      socket.removeAllListeners();
      socket.on('error', () => {});
      socket.destroy();
      const bytes = Buffer.concat(chunks);
      resolve({
        bytes,
        text: bytes.toString('latin1'),
        answers: parseAnswers(bytes, headAt, closed === 'end'),
        closed,
        timedOut,
        ms: performance.now() - started,
      });
    };
    const limit = setTimeout(() => finish(true), timeout);
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      if (answers === 0) return;
      const got = parseAnswers(Buffer.concat(chunks), headAt, false);
      if (got.filter(({ complete }) => complete).length < answers) return;
      clearTimeout(settling);
      settling = setTimeout(() => finish(false), linger);
    });
    socket.on('end', () => {
      closed = 'end';
      finish(false);
    });
    socket.on('error', () => {
      closed = 'reset';
      finish(false);
    });
    socket.on('close', () => finish(false));
    void play(socket, parts, () => finish(false));
  });
}

async function play(socket: Socket, parts: readonly Part[], onReset: () => void): Promise<void> {
  socket.setNoDelay(true);
  for (const part of parts) {
    if (socket.destroyed) return;
    if (typeof part === 'number') await new Promise((resolve) => setTimeout(resolve, part));
    else if (typeof part === 'function') await part();
    else if (part === FIN) socket.end();
    else if (part === RESET) {
      socket.resetAndDestroy();
      onReset();
    } else {
      socket.write(typeof part === 'string' ? Buffer.from(part, 'latin1') : part);
      // One write, one segment, as far as that can be had.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

/** Takes apart what a server sent; 1xx answers other than 101 are left out, and after a 101 the rest is its body. */
export function parseAnswers(bytes: Buffer, headAt = -1, ended = false): RawAnswer[] {
  const answers: RawAnswer[] = [];
  let at = 0;
  while (at < bytes.length) {
    const end = bytes.indexOf('\r\n\r\n', at);
    if (end === -1) break;
    const lines = bytes.toString('latin1', at, end).split('\r\n');
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(lines[0] ?? '')?.[1] ?? 0);
    const headers: Record<string, string> = {};
    for (const line of lines.slice(1)) {
      const colon = line.indexOf(':');
      const name = line.slice(0, colon).toLowerCase();
      const value = line.slice(colon + 1).trim();
      headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
    }
    at = end + 4;
    if (status >= 100 && status < 200 && status !== 101) continue;
    const { body, next, complete } = takeBody(bytes, at, status, headers, answers.length === headAt, ended);
    answers.push({ status, headers, body, complete });
    at = next;
  }
  return answers;
}

function takeBody(
  bytes: Buffer,
  at: number,
  status: number,
  headers: Readonly<Record<string, string>>,
  isHead: boolean,
  ended: boolean,
): { body: Buffer; next: number; complete: boolean } {
  const rest = bytes.subarray(at);
  if (status === 101) return { body: rest, next: bytes.length, complete: true };
  if (isHead || status === 204 || status === 304) return { body: Buffer.alloc(0), next: at, complete: true };
  if (headers['transfer-encoding'] === 'chunked') {
    const parsed = dechunk(bytes, at);
    return parsed ?? { body: rest, next: bytes.length, complete: false };
  }
  const length = headers['content-length'];
  if (length === undefined) return { body: rest, next: bytes.length, complete: ended };
  const next = at + Number(length);
  return { body: bytes.subarray(at, next), next, complete: bytes.length >= next };
}

/** A whole chunked body without extensions or trailers, or undefined when it is not all there. */
export function dechunk(
  bytes: Buffer,
  from: number,
): { body: Buffer; next: number; complete: true } | undefined {
  const pieces: Buffer[] = [];
  for (let at = from; ;) {
    const line = bytes.indexOf('\r\n', at);
    if (line === -1) return undefined;
    const size = Number.parseInt(bytes.toString('latin1', at, line), 16);
    const end = line + 2 + size;
    if (bytes.length < end + 2) return undefined;
    if (size === 0) return { body: Buffer.concat(pieces), next: end + 2, complete: true };
    pieces.push(bytes.subarray(line + 2, end));
    at = end + 2;
  }
}
