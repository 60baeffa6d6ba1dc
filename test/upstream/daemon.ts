import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import t, { type Test } from 'tap';
import { openEngine, type Engine, type EngineOptions } from '../../src/upstream/engine.js';
import type { EngineRequest } from '../../src/upstream/engine-call.js';

export const directory = mkdtempSync(join(tmpdir(), 'bw-engine-'));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));
export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export async function until(check: () => boolean, ms = 2_000): Promise<boolean> {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(5)) if (check()) return true;
  return check();
}

/** One connection as the daemon sees it. */
export interface Seen {
  readonly socket: Socket;
  /** All bytes that came, latin1. */
  text: string;
  bytes: number;
  ended: boolean;
  closed: boolean;
}

/** Has the guard let go of it? */
export const over = ({ ended, closed }: Seen): boolean => ended || closed;

export type Behave = (seen: Seen, chunk: Buffer, nth: number) => void;

export interface Daemon {
  readonly url: string;
  readonly seen: Seen[];
  readonly engine: Engine;
}

let count = 0;

/** A daemon with scripted answers, and an engine that speaks to it. Both go away with the test. */
export async function startDaemon(
  t: Test,
  behave: Behave,
  options: { tls?: TlsOptions; scheme?: string; engine?: Partial<EngineOptions> } = {},
): Promise<Daemon> {
  const seen: Seen[] = [];
  const onSocket = (socket: Socket): void => {
    const one: Seen = { socket, text: '', bytes: 0, ended: false, closed: false };
    seen.push(one);
    socket.on('data', (chunk: Buffer) => {
      one.bytes += chunk.length;
      if (one.bytes < 1_000_000) one.text += chunk.toString('latin1');
      behave(one, chunk, seen.length - 1);
    });
    socket
      .on('end', () => (one.ended = true))
      .on('close', () => (one.closed = true))
      .on('error', () => {});
  };
  const server: Server =
    options.tls === undefined
      ? createServer({ allowHalfOpen: true }, onSocket)
      : createTlsServer({ ...options.tls, allowHalfOpen: true }, onSocket);
  const path = join(directory, `${count++}.sock`);
  const where = options.scheme === undefined ? { path } : { host: '127.0.0.1', port: 0 };
  await new Promise<void>((resolve) => server.listen(where, resolve));
  server.on('tlsClientError', () => {});
  const address = server.address();
  const url =
    typeof address === 'string'
      ? `unix://${path}`
      : `${options.scheme}://localhost:${(address as AddressInfo).port}`;
  const engine = openEngine({ url, connectTimeout: 2_000, ...options.engine });
  t.teardown(async () => {
    await engine.destroy();
    for (const { socket } of seen) socket.destroy();
    server.close();
  });
  return { url, seen, engine };
}

export interface Outcome {
  status: number;
  headers: string[];
  length: number;
  body: Buffer;
  /** `complete`, `upgrade`, or the error's code. */
  end: string;
  error: Error | undefined;
  socket: Socket | undefined;
  calls: string[];
}

export interface Running extends PromiseLike<Outcome> {
  readonly abort: () => void;
  readonly resume: () => void;
  readonly so: Outcome;
}

export const GET: EngineRequest = {
  method: 'GET',
  target: '/x',
  headers: ['Host', 'docker'],
  body: undefined,
  upgrade: '',
  timeout: 0,
};
export const POST: EngineRequest = { ...GET, method: 'POST', length: 0 };
export const ok = (body: string, more = ''): string =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${more}\r\n${body}`;

/** @param take what `onData` answers. */
export function call(engine: Engine, request: EngineRequest, take: () => boolean = () => true): Running {
  const so: Outcome = {
    status: 0,
    headers: [],
    length: 0,
    body: Buffer.alloc(0),
    end: '',
    error: undefined,
    socket: undefined,
    calls: [],
  };
  const pieces: Buffer[] = [];
  let resume = (): void => {};
  let abort = (): void => {};
  const done = new Promise<Outcome>((resolve) => {
    const finish = (end: string): void => {
      so.calls.push(end);
      so.end = end;
      so.body = Buffer.concat(pieces);
      resolve(so);
    };
    abort = engine.dispatch(request, {
      onHeaders(status, headers, length, resumeEngine) {
        so.calls.push('headers');
        Object.assign(so, { status, headers, length });
        resume = resumeEngine;
      },
      onData(piece) {
        pieces.push(piece);
        so.body = piece;
        return take();
      },
      onComplete: () => finish('complete'),
      onError(error) {
        so.error = error;
        finish((error as NodeJS.ErrnoException).code ?? error.message);
      },
      onUpgrade(status, headers, socket) {
        Object.assign(so, { status, headers, socket });
        finish('upgrade');
      },
    });
  });
  return { so, abort: () => abort(), resume: () => resume(), then: done.then.bind(done) };
}

export const answerWith =
  (text: string): Behave =>
  (seen) =>
    void seen.socket.write(text, 'latin1');
