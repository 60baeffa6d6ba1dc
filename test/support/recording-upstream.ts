import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dechunk } from './raw.js';

/** One request as it came over a connection to the engine. */
export interface Arrived {
  /** Method and target: `GET /v1.41/containers/json`. */
  readonly call: string;
  /** As they came, in order. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  body: Buffer;
  /** The body has come as a whole. */
  complete: boolean;
  /** Bytes behind the request that came before it was answered: nobody may send any. */
  early: Buffer;
  /** What came over the connection after a 101. */
  stream: Buffer;
  /** The engine's side of the connection has been closed or reset. */
  gone: boolean;
}

/** What the engine does when a request has come. */
export type Behaviour = (request: Arrived, socket: Socket) => void;

/** An engine that records every byte. */
export interface RecordingUpstream {
  url: string;
  /** Called when a request is whole. */
  behave: Behaviour;
  /** Called when only the head is there; true when it has dealt with the request. */
  onHead: ((request: Arrived, socket: Socket) => boolean) | undefined;
  /** Questions of the guard's own since the last `forget`: no call of a client. */
  readonly questions: readonly Arrived[];
  /** All other requests since the last `forget`, in the order of their heads. */
  readonly requests: readonly Arrived[];
  /** Every byte since the last `forget`, latin-1. */
  raw(): string;
  /** Connections open now. */
  open(): number;
  forget(): void;
  close(): Promise<void>;
}

/** `{"ok":true}` with this status, by Content-Length. */
export function json(status = 200, text = '{"ok":true}'): Behaviour {
  return (request, socket) => {
    const head = `HTTP/1.1 ${status} X\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n`;
    socket.write(request.call.startsWith('HEAD ') ? head : head + text);
  };
}

/** Answers 101 to a request with an Upgrade header (after `delay` ms) and echoes; others get `json()`. */
export function echo(delay = 0): Behaviour {
  return (request, socket) => {
    if (!wantsUpgrade(request)) {
      json()(request, socket);
      return;
    }
    setTimeout(() => {
      if (socket.destroyed) return;
      tunnels.add(socket);
      socket.write(
        'HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n',
      );
    }, delay);
  };
}

/** The guard writes clients' calls anew, without their User-Agent. */
const isQuestion = ({ headers }: Arrived): boolean =>
  headers.some(([name, value]) => name === 'User-Agent' && value === 'breakwater');

function wantsUpgrade(request: Arrived): boolean {
  return request.headers.some(([name]) => name.toLowerCase() === 'upgrade');
}

/** Connections that have become raw streams. */
const tunnels = new WeakSet<Socket>();

/** Exact bytes, then nothing, the end of the connection, or a reset of it. */
export function bytes(text: string, then: 'open' | 'end' | 'reset' = 'open'): Behaviour {
  return (_request, socket) => {
    socket.write(Buffer.from(text, 'latin1'), () => {
      if (then === 'end') socket.end();
      // What was written must be on its way before the reset, or the kernel drops it.
      if (then === 'reset') setTimeout(() => socket.resetAndDestroy(), 30);
    });
  };
}

export const hang: Behaviour = () => {};
export const reset: Behaviour = (_request, socket) => void socket.resetAndDestroy();

/** Starts the engine on a unix socket of its own, or on a free port (a unix socket cannot be reset). */
export async function startRecordingUpstream(where: 'unix' | 'tcp' = 'unix'): Promise<RecordingUpstream> {
  const directory = mkdtempSync(join(tmpdir(), 'bw-upstream-'));
  const path = join(directory, 'engine.sock');
  const live = new Set<Socket>();
  let requests: Arrived[] = [];
  let questions: Arrived[] = [];
  let raw: Buffer[] = [];
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    live.add(socket);
    socket.on('error', () => {});
    const connection: Connection = { pending: Buffer.alloc(0), request: undefined };
    socket.on('close', () => {
      live.delete(socket);
      if (connection.request !== undefined) connection.request.gone = true;
    });
    socket.on('end', () => socket.end());
    socket.on('data', (chunk: Buffer) => {
      raw.push(chunk);
      take(upstream, connection, socket, chunk, (request) =>
        (isQuestion(request) ? questions : requests).push(request),
      );
    });
  });
  const upstream: RecordingUpstream = {
    url: '',
    behave: json(),
    onHead: undefined,
    get questions() {
      return questions;
    },
    get requests() {
      return requests;
    },
    raw: () => Buffer.concat(raw).toString('latin1'),
    open: () => live.size,
    forget() {
      requests = [];
      questions = [];
      raw = [];
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of live) socket.destroy();
        server.close(() => {
          rmSync(directory, { recursive: true, force: true });
          resolve();
        });
      }),
  };
  await new Promise<void>((resolve) => {
    if (where === 'unix') server.listen(path, resolve);
    else server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  upstream.url =
    address === null || typeof address === 'string' ? `unix://${path}` : `tcp://127.0.0.1:${address.port}`;
  return upstream;
}

interface Connection {
  pending: Buffer;
  request: Arrived | undefined;
}

function take(
  upstream: RecordingUpstream,
  connection: Connection,
  socket: Socket,
  chunk: Buffer,
  arrived: (request: Arrived) => void,
): void {
  const { request } = connection;
  if (tunnels.has(socket) && request !== undefined) {
    request.stream = Buffer.concat([request.stream, chunk]);
    socket.write(chunk);
    return;
  }
  if (request?.complete === true && wantsUpgrade(request)) {
    request.early = Buffer.concat([request.early, chunk]);
    return;
  }
  connection.pending = Buffer.concat([connection.pending, chunk]);
  if (request === undefined || request.complete) {
    const end = connection.pending.indexOf('\r\n\r\n');
    if (end === -1) return;
    const next = parseHead(connection.pending.toString('latin1', 0, end));
    connection.pending = connection.pending.subarray(end + 4);
    connection.request = next;
    arrived(next);
    if (upstream.onHead?.(next, socket) === true) return;
  }
  const current = connection.request!;
  if (!takeBody(connection, current)) return;
  current.early = connection.pending;
  upstream.behave(current, socket);
}

function parseHead(text: string): Arrived {
  const [line = '', ...rest] = text.split('\r\n');
  const [method, target, version] = line.split(' ');
  return {
    call: version === 'HTTP/1.1' ? `${method} ${target}` : `not HTTP/1.1: ${line}`,
    headers: rest.map((field) => {
      const colon = field.indexOf(':');
      return [field.slice(0, colon), field.slice(colon + 1).trim()];
    }),
    body: Buffer.alloc(0),
    complete: false,
    early: Buffer.alloc(0),
    stream: Buffer.alloc(0),
    gone: false,
  };
}

function takeBody(connection: Connection, request: Arrived): boolean {
  const field = (name: string): string | undefined =>
    request.headers.find(([key]) => key.toLowerCase() === name)?.[1];
  if (field('transfer-encoding') === 'chunked') {
    const whole = dechunk(connection.pending, 0);
    if (whole === undefined) {
      request.body = connection.pending;
      return false;
    }
    request.body = whole.body;
    connection.pending = connection.pending.subarray(whole.next);
  } else {
    const length = Number(field('content-length') ?? 0);
    request.body = connection.pending.subarray(0, length);
    if (connection.pending.length < length) return false;
    connection.pending = connection.pending.subarray(length);
  }
  request.complete = true;
  return true;
}
